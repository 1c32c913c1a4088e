/// Finds a service, and what is meant of it, by the bytes of a path without making a string of them.
///
/// Open addressing over FNV-1a (Fowler, Noll and Vo), at most half full. Only our own names are ever entered, so a
/// client cannot make its chains long.
struct ServiceIndex {
    /// What stands behind a service's name.
    enum Part: Equatable {
        case service, live, ready, startup
        case instance(Int)

        fileprivate init?(_ bytes: UnsafeRawBufferPointer) {
            guard let first = bytes.first else { return nil }
            if first.isDigit {
                guard let index = Self.index(bytes) else { return nil }
                self = .instance(index)
            } else if bytes.elementsEqual("live".utf8) {
                self = .live
            } else if bytes.elementsEqual("ready".utf8) {
                self = .ready
            } else if bytes.elementsEqual("startup".utf8) {
                self = .startup
            } else {
                return nil
            }
        }

        /// A decimal number in its one spelling.
        private static func index(_ bytes: UnsafeRawBufferPointer) -> Int? {
            if bytes.count > 9 || (bytes.count > 1 && bytes.first == UInt8(ascii: "0")) { return nil }
            var value = 0
            for byte in bytes {
                guard byte.isDigit else { return nil }
                value = value &* 10 &+ Int(byte &- UInt8(ascii: "0"))
            }
            return value
        }
    }

    /// All names, one after the other.
    private var names: [UInt8] = []
    /// Where each name ends in `names`.
    private var ends: [UInt32] = []
    /// Indexes of services, plus one; 0 is an empty place.
    private var places: [UInt32]
    private let mask: Int

    /// The first of two equal names wins.
    init(_ services: [String]) {
        var capacity = 16
        while capacity < services.count * 2 { capacity *= 2 }
        mask = capacity - 1
        places = Array(repeating: 0, count: capacity)
        ends.reserveCapacity(services.count)
        names.reserveCapacity(services.reduce(0) { $0 + $1.utf8.count })
        for (index, service) in services.enumerated() {
            var service = service
            names.append(contentsOf: service.utf8)
            ends.append(UInt32(clamping: names.count))
            let free = service.withUTF8 { freePlace(UnsafeRawBufferPointer($0)) }
            if let free { places[free] = UInt32(clamping: index + 1) }
        }
    }

    var count: Int { ends.count }

    func isName(_ text: String, ofServiceAt index: Int) -> Bool {
        ends.indices.contains(index) && name(index).elementsEqual(text.utf8)
    }

    /// The name of a service that was found.
    func text(ofServiceAt index: Int) -> String { String(decoding: name(index), as: UTF8.self) }

    /// The service named by all of `bytes`.
    func service(_ bytes: UnsafeRawBufferPointer) -> Int? {
        var position = Self.hash(bytes) & mask
        while places[position] != 0 {
            let index = Int(places[position]) - 1
            if name(index).elementsEqual(bytes) { return index }
            position = (position &+ 1) & mask
        }
        return nil
    }

    /// Reads `NAME` or `NAME/PART`.
    func find(_ bytes: UnsafeRawBufferPointer) -> (service: Int, part: Part)? {
        if let slash = bytes.lastIndex(of: UInt8(ascii: "/")) {
            let part = Part(UnsafeRawBufferPointer(rebasing: bytes[(slash + 1)...]))
            if let part, let index = service(UnsafeRawBufferPointer(rebasing: bytes[..<slash])) { return (index, part) }
        }
        return service(bytes).map { ($0, .service) }
    }

    private func name(_ index: Int) -> ArraySlice<UInt8> {
        names[(index > 0 ? Int(ends[index - 1]) : 0)..<Int(ends[index])]
    }

    /// Where the name goes; nil when it is there already.
    private func freePlace(_ bytes: UnsafeRawBufferPointer) -> Int? {
        var position = Self.hash(bytes) & mask
        while places[position] != 0 {
            if name(Int(places[position]) - 1).elementsEqual(bytes) { return nil }
            position = (position &+ 1) & mask
        }
        return position
    }

    private static func hash(_ bytes: UnsafeRawBufferPointer) -> Int {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return Int(truncatingIfNeeded: hash ^ hash >> 32)
    }
}
