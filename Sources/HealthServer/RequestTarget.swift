/// What the query asks for. Parameters that are not known are ignored.
struct RequestOptions: Equatable {
    var verbose = false
    /// The answer of what is draining or drained is to be 404 (HAProxy's `disable-on-404`).
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
