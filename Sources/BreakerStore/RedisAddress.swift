/// Where a Redis listens.
struct RedisAddress: Hashable, Sendable, CustomStringConvertible {
    var host: String
    var port: Int

    var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// - Parameter fallback: the host that an empty one means; nil where there must be one.
    init?(_ text: some StringProtocol, fallback: String? = nil) {
        // The last colon: an IPv6 address has more, and Redis writes it without brackets.
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
            (1...65_535).contains(port)
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        if host.isEmpty {
            guard let fallback else { return nil }
            self.init(host: fallback, port: port)
        } else {
            guard host.utf8.count <= 255, host.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else { return nil }
            self.init(host: String(host), port: port)
        }
    }
}

/// Which slot of a cluster holds a fleet's keys.
enum HashSlot {
    /// Source: Redis Cluster specification, appendix A: CRC16 as in XMODEM, modulo 16384.
    static func of(tag: String) -> Int64 {
        var crc: UInt16 = 0
        for byte in tag.utf8 {
            crc ^= UInt16(byte) << 8
            for _ in 0..<8 { crc = crc & 0x8000 != 0 ? (crc << 1) ^ 0x1021 : crc << 1 }
        }
        return Int64(crc & 16_383)
    }
}

/// What a node of a cluster says of it: who has the fleet's slot, and who else is there.
struct ClusterView: Equatable, Sendable {
    /// nil while nobody has the slot.
    var owner: RedisAddress?
    /// Primaries and replicas, in the order in which they were told.
    var nodes: [RedisAddress]

    static let nodeLimit = 64

    /// The answer to CLUSTER SLOTS; nil for one that is none.
    ///
    /// - Parameter host: of the node that was asked: it leaves out its own, and that of nodes at the same place.
    init?(_ reply: RESPValue, slot: Int64, askedAt host: String) {
        guard let ranges = reply.array else { return nil }
        nodes = []
        for range in ranges {
            guard let fields = range.array, fields.count >= 3, case .integer(let first) = fields[0],
                case .integer(let last) = fields[1]
            else { return nil }
            for (index, node) in fields.dropFirst(2).enumerated() {
                guard let address = Self.address(node, host) else { continue }
                if index == 0, first <= slot, slot <= last { owner = address }
                if !nodes.contains(address), nodes.count < Self.nodeLimit { nodes.append(address) }
            }
        }
    }

    private static func address(_ node: RESPValue, _ fallback: String) -> RedisAddress? {
        guard let fields = node.array, fields.count >= 2, case .integer(let port) = fields[1] else { return nil }
        let host = fields[0].bytes.map { String(decoding: $0, as: UTF8.self) } ?? ""
        // A node whose name is not known yet.
        if host == "?" { return nil }
        return RedisAddress("\(host):\(port)", fallback: fallback)
    }
}
