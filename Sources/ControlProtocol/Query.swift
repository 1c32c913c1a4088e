/// The query of a request: `name=value` pairs, percent-decoded, `+` for a space.
struct Query {
    private(set) var parameters: [(name: String, value: String)] = []

    /// - Throws: `ControlError` when it cannot be decoded or has too many parameters.
    init(_ text: Substring) throws(ControlError) {
        for pair in text.split(separator: "&") {
            if parameters.count == RequestLimits.parameters {
                throw ControlError(
                    .badRequest,
                    "cannot take more than \(RequestLimits.parameters) query parameters"
                )
            }
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = try PercentCoding.decode(parts[0], plusIsSpace: true)
            let value = parts.count > 1 ? try PercentCoding.decode(parts[1], plusIsSpace: true) : ""
            parameters.append((name, value))
        }
    }

    func values(_ name: String) -> [String] {
        parameters.filter { $0.name == name }.map(\.value)
    }

    /// The value of a parameter that may be given once.
    func single(_ name: String) throws(ControlError) -> String? {
        let all = values(name)
        if all.count > 1 { throw ControlError(.badRequest, "cannot take the query parameter \(name) more than once") }
        return all.first
    }

    /// `true`, `1`, or nothing after the name; `false` or `0`.
    func flag(_ name: String, default fallback: Bool) throws(ControlError) -> Bool {
        switch try single(name) {
        case nil: return fallback
        case "true", "1", "": return true
        case "false", "0": return false
        case .some(let other):
            throw ControlError(.badRequest, "cannot use \(name)=\"\(other.clipped(40))\"; use true or false")
        }
    }

    func number<Value: FixedWidthInteger>(
        _ name: String,
        in range: ClosedRange<Value>,
        default fallback: Value
    ) throws(ControlError) -> Value {
        guard let text = try single(name) else { return fallback }
        guard let value = Value(text), range.contains(value) else {
            throw ControlError(
                .badRequest,
                "cannot use \(name)=\"\(text.clipped(40))\"; "
                    + "use a number from \(range.lowerBound) to \(range.upperBound)"
            )
        }
        return value
    }

    /// Refuses two names for the same thing in one query.
    func only(oneOf first: String, _ second: String) throws(ControlError) {
        guard values(first).isEmpty || values(second).isEmpty else {
            throw ControlError(.badRequest, "cannot take both \(first) and \(second); use one of them")
        }
    }

    /// Refuses parameters that nothing reads, so that a misspelt one is not ignored.
    func allow(only known: [String]) throws(ControlError) {
        for (name, _) in parameters where !known.contains(name) {
            var text = "cannot use the query parameter \"\(name.clipped(40))\" here"
            if let near = NearestName.find(name, among: known) {
                text += "; did you mean \"\(near)\"?"
            } else {
                text += known.isEmpty ? "; this path takes none" : "; it takes \(known.joined(separator: ", "))"
            }
            throw ControlError(.badRequest, text)
        }
    }
}

/// Percent-encoding of paths and queries (RFC 3986 §2.1).
enum PercentCoding {
    static func decode(_ text: some StringProtocol, plusIsSpace: Bool = false) throws(ControlError) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        var rest = text.utf8.makeIterator()
        while let byte = rest.next() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let high = rest.next().flatMap(hex), let low = rest.next().flatMap(hex) else {
                    throw ControlError(
                        .badRequest,
                        "cannot decode the request: \"%\" must be followed by two hex digits"
                    )
                }
                bytes.append(high << 4 | low)
            case UInt8(ascii: "+") where plusIsSpace: bytes.append(UInt8(ascii: " "))
            default: bytes.append(byte)
            }
        }
        guard let decoded = String(validating: bytes, as: UTF8.self) else {
            throw ControlError(.badRequest, "cannot decode the request: it is not UTF-8")
        }
        return decoded
    }

    private static func hex(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte &- UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte &- UInt8(ascii: "a") &+ 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte &- UInt8(ascii: "A") &+ 10
        default: nil
        }
    }
}

extension String {
    /// At most `limit` characters, with `…` for what was cut.
    func clipped(_ limit: Int) -> String {
        count <= limit ? self : String(prefix(limit)) + "…"
    }
}
