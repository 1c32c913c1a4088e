/// Appends values in the fixed little-endian form that `WireReader` takes apart.
///
/// Used between daemon and shim and for what is remembered across a death; both ends are always this code.
public struct WireWriter: Sendable {
    public private(set) var bytes: [UInt8] = []

    public init() {}

    /// Appends an integer, little-endian.
    public mutating func write<Value: FixedWidthInteger>(_ value: Value) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    /// Appends a byte, 1 or 0.
    public mutating func write(_ value: Bool) {
        bytes.append(value ? 1 : 0)
    }

    /// Appends a text as UTF-8, with its length before it.
    public mutating func write(_ value: String) {
        var value = value
        value.withUTF8 { utf8 in
            write(UInt32(truncatingIfNeeded: utf8.count))
            bytes.append(contentsOf: utf8)
        }
    }

    /// Appends bytes, with their count before them.
    public mutating func write(_ value: [UInt8]) {
        write(UInt32(truncatingIfNeeded: value.count))
        bytes.append(contentsOf: value)
    }

    /// Appends a list, with its count before it.
    public mutating func write<Element>(list: [Element], _ each: (inout WireWriter, Element) -> Void) {
        write(UInt32(truncatingIfNeeded: list.count))
        for element in list { each(&self, element) }
    }

    /// Writes what `body` writes, with its length before it, so that a reader can skip it.
    public mutating func framed(_ body: (inout WireWriter) -> Void) {
        let start = bytes.count
        write(UInt32(0))
        body(&self)
        let length = UInt32(truncatingIfNeeded: bytes.count &- start &- 4)
        withUnsafeBytes(of: length.littleEndian) { source in
            for offset in 0..<4 { bytes[start &+ offset] = source[offset] }
        }
    }
}

/// Reads what `WireWriter` wrote. It never traps: past the end, or at a length that cannot be, it answers nil, and
/// from then on always.
public struct WireReader: Sendable {
    private let bytes: ArraySlice<UInt8>
    private var position: Int

    public init(_ bytes: [UInt8]) {
        self.init(bytes[...])
    }

    public init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        self.position = bytes.startIndex
    }

    public var remaining: Int { bytes.endIndex &- position }

    public mutating func read<Value: FixedWidthInteger>(_ type: Value.Type = Value.self) -> Value? {
        let size = Value.bitWidth / 8
        guard let slice = take(size) else { return nil }
        var value: Value = 0
        withUnsafeMutableBytes(of: &value) { $0.copyBytes(from: slice) }
        return Value(littleEndian: value)
    }

    /// Reads a byte as true or false.
    public mutating func readBool() -> Bool? {
        read(UInt8.self).map { $0 != 0 }
    }

    /// Reads a text.
    public mutating func readString() -> String? {
        readBytes().map { String(decoding: $0, as: UTF8.self) }
    }

    /// Reads bytes that were written with their count.
    public mutating func readBytes() -> ArraySlice<UInt8>? {
        guard let count = read(UInt32.self) else { return nil }
        return take(Int(count))
    }

    /// Reads a list by reading each element.
    public mutating func readList<Element>(_ each: (inout WireReader) -> Element?) -> [Element]? {
        guard let count = read(UInt32.self), Int(count) <= remaining else {
            position = bytes.endIndex
            return nil
        }
        var list: [Element] = []
        list.reserveCapacity(Int(count))
        for _ in 0..<count {
            guard let element = each(&self) else { return nil }
            list.append(element)
        }
        return list
    }

    private mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard count >= 0, count <= remaining else {
            position = bytes.endIndex
            return nil
        }
        defer { position &+= count }
        return bytes[position..<(position &+ count)]
    }
}
