import Glibc
public import SupervisorCore

/// What an entry of `sockets` asks Eider to listen on.
public enum PassedSocket: Hashable, Sendable {
    /// A numeric host; a port from 1.
    case tcp(ListenAddress)
    /// The absolute path of a stream socket.
    case unix(String)

    /// Reads `HOST:PORT` or `unix:/PATH`; nil when it is neither. `localhost` is 127.0.0.1; no other name is looked up.
    public init?(_ text: String) {
        if text.hasPrefix("unix:") {
            let path = text.dropFirst("unix:".count)
            guard path.hasPrefix("/"), path.utf8.count > 1 else { return nil }
            self = .unix(String(path))
            return
        }
        guard var address = AddressText.parse(text, ports: 1...65_535) else { return nil }
        if address.host == "localhost" { address.host = "127.0.0.1" }
        guard NumericHost(address.host) != nil else { return nil }
        self = .tcp(address)
    }

    /// The TCP port; nil for a Unix socket.
    public var port: Int? {
        if case .tcp(let address) = self { address.port } else { nil }
    }
}

/// An address as the kernel compares it.
enum NumericHost: Hashable {
    case v4(UInt32)
    /// The sixteen bytes, and the interface after `%`.
    case v6([UInt8], scope: String)

    init?(_ text: String) {
        var v4 = in_addr()
        if inet_pton(AF_INET, text, &v4) == 1 {
            self = .v4(UInt32(bigEndian: v4.s_addr))
            return
        }
        let parts = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false).map { String($0) }
        var bytes = [UInt8](repeating: 0, count: 16)
        guard let address = parts.first, inet_pton(AF_INET6, address, &bytes) == 1 else { return nil }
        self = .v6(bytes, scope: parts.count > 1 ? parts[1] : "")
    }

    private var isEvery: Bool {
        switch self {
        case .v4(let number): number == 0
        case .v6(let bytes, _): bytes.allSatisfy { $0 == 0 }
        }
    }

    /// Whether one port cannot be listened on at both. `[::]` takes IPv4 too where the host is left its default.
    func overlaps(_ other: NumericHost, everyIPv6TakesIPv4: Bool) -> Bool {
        switch (self, other) {
        case (.v4, .v4), (.v6, .v6): self == other || isEvery || other.isEvery
        case (.v6, .v4): everyIPv6TakesIPv4 && isEvery
        case (.v4, .v6): everyIPv6TakesIPv4 && other.isEvery
        }
    }
}
