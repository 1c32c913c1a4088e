import SupervisorCore

/// TCP addresses: `host:port`, `127.0.0.1:8080`, `[::1]:8080`.
enum AddressText {
    static let wanted = "host:port, such as \"127.0.0.1:8080\" or \"[::1]:8080\""

    static func parse(_ text: String, ports: ClosedRange<Int> = 0...65_535) -> ListenAddress? {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...]
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }), let port = Int(digits),
            ports.contains(port)
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]"), host.utf8.count > 2 {
            host = host.dropFirst().dropLast()
            guard host.contains(":"), host.utf8.allSatisfy(isInIPv6) else { return nil }
        } else {
            guard !host.isEmpty, host.utf8.count <= 253, host.utf8.allSatisfy(isInHostName) else { return nil }
        }
        return ListenAddress(host: String(host), port: port)
    }

    private static func isInHostName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    private static func isInIPv6(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: ":"), UInt8(ascii: "."), UInt8(ascii: "%"):
            true
        default: false
        }
    }
}

/// The longest path that a Unix socket's address holds.
let longestSocketPath = 107

extension ValueCodec where Value == ListenAddress {
    static let listenAddress = scalar(
        wanted: AddressText.wanted,
        render: { Quoting.string($0.description) },
        read: { value in
            guard case .string(let text) = value else { return .unsuitable }
            if let address = AddressText.parse(text) { return .value(address) }
            if text.hasPrefix(":") || text.hasPrefix("*:"), let port = text.split(separator: ":").last {
                return .advice("for every address use \(Quoting.string("0.0.0.0:" + port))")
            }
            return .unsuitable
        }
    )
}

extension ValueCodec where Value == String {
    /// An address to connect to; the port is not 0.
    static let peerAddress = text(wanted: "host:port, such as \"redis-0:6379\"") { text in
        AddressText.parse(text, ports: 1...65_535) != nil
    }

    /// Something that Eider listens on for a service.
    static let socket = scalar(
        wanted: "\"host:port\" or \"unix:/path\", such as \"0.0.0.0:9100\"",
        render: Quoting.string,
        read: { value in
            guard case .string(let text) = value else { return .unsuitable }
            if text.hasPrefix("unix:") {
                let path = text.dropFirst(5)
                guard path.hasPrefix("/"), path.utf8.count > 1 else { return .unsuitable }
                return path.utf8.count <= longestSocketPath
                    ? .value(text) : .advice("its path has \(path.utf8.count) bytes and may have \(longestSocketPath)")
            }
            if PassedSocket(text) != nil { return .value(text) }
            return AddressText.parse(text, ports: 1...65_535) == nil
                ? .unsuitable
                : .advice("no name is looked up to listen on: use a numeric host, such as \"0.0.0.0:9100\"")
        }
    )
}
