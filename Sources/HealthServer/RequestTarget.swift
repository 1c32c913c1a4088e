/// What the query asks for. Parameters that are not known are ignored.
struct RequestOptions: Equatable {
    var verbose = false
    /// A draining answer is to be 404 (HAProxy's `disable-on-404`).
    var drainAsNotFound = false

    init() {}

    init(query: some Collection<UInt8>) {
        for parameter in query.split(separator: UInt8(ascii: "&")) {
            let parts = parameter.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = parts.first else { continue }
            let value = parts.count > 1 ? String(decoding: parts[1], as: UTF8.self) : nil
            if name.elementsEqual("verbose".utf8) {
                verbose = !["0", "false", "no"].contains(value ?? "")
            } else if name.elementsEqual("drain".utf8) {
                drainAsNotFound = value == "404"
            }
        }
    }
}

/// A request's path where its bytes are not simply those of a route.
enum PathDecoding: Equatable {
    /// The decoded path.
    case path([UInt8])
    /// Decoded, it holds what no route can: a slash inside a segment, a NUL, or bytes that are not UTF-8.
    case impossible
    case malformed

    /// Undoes percent-encoding (RFC 3986 §2.1), once.
    static func decode(_ path: some Collection<UInt8>) -> PathDecoding {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(path.count)
        var possible = true
        var iterator = path.makeIterator()
        while let byte = iterator.next() {
            if byte == UInt8(ascii: "#") { return .malformed }
            guard byte == UInt8(ascii: "%") else {
                decoded.append(byte)
                continue
            }
            guard let high = iterator.next().flatMap(hexValue), let low = iterator.next().flatMap(hexValue) else {
                return .malformed
            }
            let value = high << 4 | low
            if value == 0 || value == UInt8(ascii: "/") { possible = false }
            decoded.append(value)
        }
        guard possible, String(validating: decoded, as: UTF8.self) != nil else { return .impossible }
        return .path(decoded)
    }

    private static func hexValue(_ byte: UInt8) -> UInt8? {
        if byte.isDigit { return byte &- UInt8(ascii: "0") }
        let letter = (byte | 0x20) &- UInt8(ascii: "a")
        return letter < 6 ? letter &+ 10 : nil
    }
}

/// Finds a route by the bytes of a path without making a string of them.
///
/// Open addressing over FNV-1a (Fowler, Noll and Vo), at most half full. Only our own paths are ever entered, so a
/// client cannot make its chains long.
struct PathTable {
    private struct Entry {
        var path: [UInt8]
        var slot: Int
    }

    private var entries: [Entry?]
    private let mask: Int

    /// The first of two equal paths wins.
    init(_ paths: [(path: String, slot: Int)]) {
        var capacity = 16
        while capacity < paths.count * 2 { capacity *= 2 }
        mask = capacity - 1
        entries = Array(repeating: nil, count: capacity)
        for (path, slot) in paths {
            let bytes = Array(path.utf8)
            var position = bytes.withUnsafeBytes { Self.hash($0) } & mask
            while let present = entries[position], present.path != bytes { position = (position &+ 1) & mask }
            if entries[position] == nil { entries[position] = Entry(path: bytes, slot: slot) }
        }
    }

    func slot(for path: UnsafeRawBufferPointer) -> Int? {
        var position = Self.hash(path) & mask
        while let entry = entries[position] {
            if entry.path.elementsEqual(path) { return entry.slot }
            position = (position &+ 1) & mask
        }
        return nil
    }

    private static func hash(_ bytes: UnsafeRawBufferPointer) -> Int {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return Int(truncatingIfNeeded: hash ^ hash >> 32)
    }
}
