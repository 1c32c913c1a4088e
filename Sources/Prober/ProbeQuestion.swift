/// What to ask of whom, with placeholders filled in and the text taken apart.
public enum ProbeQuestion: Sendable, Equatable {
    /// `GET path` over HTTP/1.1; `path` includes the query, `authority` is the `Host` field.
    case http(host: String, port: Int, path: String, authority: String)
    /// A TCP connection that is made and closed.
    case tcp(host: String, port: Int)
    /// `grpc.health.v1.Health/Check` for the empty service name, without TLS.
    case grpc(host: String, port: Int)

    /// The longest address or URL that is read, in bytes.
    private static let longestText = 4096

    /// Reads `http://host[:port][/path][?query]`, port 80 where none is given; nil when it is anything else.
    ///
    /// What stands behind `#` is dropped, and bytes outside of ASCII are percent-encoded.
    public init?(httpURL: String) {
        guard httpURL.hasPrefix("http://"), httpURL.utf8.count <= Self.longestText else { return nil }
        let rest = httpURL.dropFirst(7).prefix { $0 != "#" }
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        guard let place = HostAndPort(authority, port: 80),
            let target = Self.encoded(rest[authority.endIndex...])
        else { return nil }
        let path = target.hasPrefix("/") ? target : "/" + target
        self = .http(host: place.host, port: place.port, path: path, authority: Self.hostField(authority))
    }

    /// Reads `host:port`, `127.0.0.1:80` or `[::1]:80`; nil when it is anything else.
    public init?(tcpAddress: String) {
        guard tcpAddress.utf8.count <= Self.longestText, let place = HostAndPort(tcpAddress[...], port: nil) else {
            return nil
        }
        self = .tcp(host: place.host, port: place.port)
    }

    /// Reads an address as `init(tcpAddress:)` does.
    public init?(grpcAddress: String) {
        guard grpcAddress.utf8.count <= Self.longestText, let place = HostAndPort(grpcAddress[...], port: nil) else {
            return nil
        }
        self = .grpc(host: place.host, port: place.port)
    }

    var host: String {
        switch self {
        case .http(let host, _, _, _), .tcp(let host, _), .grpc(let host, _): host
        }
    }

    var port: Int {
        switch self {
        case .http(_, let port, _, _), .tcp(_, let port), .grpc(_, let port): port
        }
    }

    /// Nil where something could end the request line or hide in it.
    private static func encoded(_ target: Substring) -> String? {
        var text = ""
        for byte in target.utf8 {
            switch byte {
            case 0x21...0x7e: text.unicodeScalars.append(UnicodeScalar(byte))
            case 0x80...0xff: text += "%" + String(byte, radix: 16, uppercase: true)
            default: return nil
            }
        }
        return text
    }

    /// The zone of an IPv6 address means something on this host only (RFC 6874).
    private static func hostField(_ authority: Substring) -> String {
        guard let zone = authority.firstIndex(of: "%"), let end = authority.lastIndex(of: "]"), zone < end else {
            return String(authority)
        }
        return String(authority[..<zone] + authority[end...])
    }
}

/// A host's name or numeric address without brackets, and a port from 1.
struct HostAndPort: Equatable {
    var host: String
    var port: Int

    /// - Parameter port: taken where the text gives none; nil asks for one.
    init?(_ text: Substring, port: Int?) {
        var host = text
        var found = port
        let afterAddress = text.hasPrefix("[") ? text.lastIndex(of: "]") ?? text.startIndex : text.startIndex
        if let colon = text[afterAddress...].lastIndex(of: ":") {
            let digits = text[text.index(after: colon)...]
            guard !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
            found = Int(digits)
            host = text[..<colon]
        }
        guard let found, (1...65_535).contains(found) else { return nil }
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard host.contains(":"), host.utf8.allSatisfy(Self.isInIPv6) else { return nil }
        } else {
            guard !host.isEmpty, host.utf8.count <= 253, host.utf8.allSatisfy(Self.isInName) else { return nil }
        }
        self.host = String(host)
        self.port = found
    }

    private static func isInName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    private static func isInIPv6(_ byte: UInt8) -> Bool {
        isInName(byte) || byte == UInt8(ascii: ":") || byte == UInt8(ascii: "%")
    }
}
