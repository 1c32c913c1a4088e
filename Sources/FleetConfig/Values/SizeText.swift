import SupervisorCore

/// Sizes as configurations write them: `64MiB`, `512MB`, `1GiB`, `100B`, `0`.
public enum SizeText {
    private static let units: [(name: String, bytes: UInt64)] = [
        ("TiB", 1 << 40), ("TB", 1_000_000_000_000), ("GiB", 1 << 30), ("GB", 1_000_000_000), ("MiB", 1 << 20),
        ("MB", 1_000_000), ("KiB", 1 << 10), ("KB", 1000), ("kB", 1000), ("B", 1),
    ]

    /// Reads a whole number of bytes with its unit; nil when `text` is anything else or does not fit in 63 bits.
    public static func parse(_ text: String) -> UInt64? {
        if text == "0" { return 0 }
        let digits = text.utf8.prefix { (48...57).contains($0) }
        let name = String(text.dropFirst(digits.count))
        guard !digits.isEmpty, let number = UInt64(String(Substring(digits))),
            let unit = units.first(where: { $0.name == name })
        else { return nil }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: unit.bytes)
        return overflow || bytes > UInt64(Int64.max) ? nil : bytes
    }

    /// The text with the largest unit that needs no fraction, powers of two first.
    public static func render(_ bytes: UInt64) -> String {
        if bytes == 0 { return "0" }
        for (name, size) in units where name.hasSuffix("iB") && bytes.isMultiple(of: size) {
            return "\(bytes / size)\(name)"
        }
        for (name, size) in units where bytes.isMultiple(of: size) { return "\(bytes / size)\(name)" }
        return "\(bytes)B"
    }
}

extension ValueCodec where Value == UInt64 {
    /// A size in bytes that is not below `minimum`.
    static func size(atLeast minimum: UInt64, example: String) -> ValueCodec {
        let wanted = "a size with a unit (B, KiB, MiB, GiB, KB, MB, GB), such as \"\(example)\""
        return scalar(wanted: wanted, render: { Quoting.string(SizeText.render($0)) }) { value in
            switch value {
            case .integer(let number):
                return .advice("a size needs a unit, such as \"\(max(0, number))B\" or \"\(example)\"")
            case .string(let text):
                if let bytes = SizeText.parse(text) {
                    return bytes >= minimum ? .value(bytes) : .advice("use at least \"\(SizeText.render(minimum))\"")
                }
                if !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }) {
                    return .advice("a size needs a unit, such as \"\(text)B\" or \"\(example)\"")
                }
                return .unsuitable
            default: return .unsuitable
            }
        }
    }
}

extension ValueCodec where Value == SignalNumber {
    static let signal = scalar(
        wanted: "the name of a signal, such as \"SIGTERM\"",
        render: { Quoting.string($0.description) },
        read: { value in
            guard case .string(let text) = value, let first = text.utf8.first, !(48...57).contains(first),
                let signal = SignalNumber(name: text)
            else { return .unsuitable }
            return .value(signal)
        }
    )
}

extension ValueCodec where Value == UInt32 {
    /// File mode bits that new files do not get.
    static let umask = scalar(wanted: "an octal text from \"0000\" to \"0777\", such as \"0022\"") { mask in
        let digits = String(mask, radix: 8)
        return Quoting.string(String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits)
    } read: { value in
        guard case .string(let text) = value, (3...4).contains(text.utf8.count),
            text.utf8.allSatisfy({ (48...55).contains($0) }), let mask = UInt32(text, radix: 8), mask <= 0o777
        else { return .unsuitable }
        return .value(mask)
    }
}
