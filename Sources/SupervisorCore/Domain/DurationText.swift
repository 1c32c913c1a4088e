/// Durations as configurations and messages write them: `250ms`, `5s`, `1h30m`, `1.5s`.
public enum DurationText {
    /// Units from large to small, in nanoseconds.
    private static let units: [(name: String, nanoseconds: Int64)] = [
        ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1000),
    ]

    /// The longest duration that is understood: 10,000 hours, over a year.
    public static let longest = Duration.seconds(10_000 * 3600)

    /// Reads one or more numbers with their units, the larger unit first; nil when `text` is anything else.
    public static func parse(_ text: String) -> Duration? {
        var rest = text.utf8[...]
        var total: Int64 = 0
        var nextUnit = 0
        if rest.isEmpty { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { isDigit($0) }
            rest = rest.dropFirst(digits.count)
            var fraction: Substring.UTF8View = rest.prefix(0)
            if rest.first == UInt8(ascii: ".") {
                fraction = rest.dropFirst().prefix { isDigit($0) }
                rest = rest.dropFirst(1 + fraction.count)
                if fraction.isEmpty { return nil }
            }
            let letters = rest.prefix { !isDigit($0) && $0 != UInt8(ascii: ".") }
            rest = rest.dropFirst(letters.count)
            let name = String(Substring(letters))
            guard let unit = units.firstIndex(where: { $0.name == name }), unit >= nextUnit,
                let nanoseconds = scaled(digits, fraction, by: units[unit].nanoseconds)
            else { return nil }
            nextUnit = unit + 1
            let (sum, overflow) = total.addingReportingOverflow(nanoseconds)
            if overflow { return nil }
            total = sum
        }
        let duration = Duration.nanoseconds(total)
        return duration <= longest ? duration : nil
    }

    /// The shortest text that `parse` reads back.
    public static func render(_ duration: Duration) -> String {
        var rest = duration.clampedNanoseconds
        if rest == 0 { return "0s" }
        if rest < 0 { return "-" + render(.nanoseconds(rest == .min ? .max : -rest)) }
        var text = ""
        for (name, nanoseconds) in units where rest >= nanoseconds {
            text += "\(rest / nanoseconds)\(name)"
            rest %= nanoseconds
        }
        return text.isEmpty ? "\(rest)ns" : text
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    private static func scaled(
        _ digits: Substring.UTF8View,
        _ fraction: Substring.UTF8View,
        by unit: Int64
    ) -> Int64? {
        guard !digits.isEmpty, let whole = Int64(String(Substring(digits))) else { return nil }
        let (product, overflow) = whole.multipliedReportingOverflow(by: unit)
        if overflow { return nil }
        var part = Int64(0)
        var weight = unit
        for byte in fraction {
            weight /= 10
            part += Int64(byte - UInt8(ascii: "0")) * weight
        }
        let (sum, carried) = product.addingReportingOverflow(part)
        return carried ? nil : sum
    }
}
