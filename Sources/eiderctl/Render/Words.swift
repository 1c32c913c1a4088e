/// Times for people.
enum TimeText {
    /// Seconds since 1970 of `2026-11-21T08:13:44.120Z`; nil when it is not such a time.
    ///
    /// Days from the civil calendar by Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    static func seconds(_ text: String) -> Double? {
        let fields = text.split(whereSeparator: { "-T:Z".contains($0) })
        guard fields.count == 6, text.hasSuffix("Z"), let year = Int(fields[0]), let month = Int(fields[1]),
            let day = Int(fields[2]), let hour = Int(fields[3]), let minute = Int(fields[4]),
            let second = Double(fields[5]), (0...9999).contains(year), (1...12).contains(month),
            (1...31).contains(day), (0...23).contains(hour), (0...59).contains(minute), (0..<61).contains(second)
        else { return nil }
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
        return Double(days * 86_400 + hour * 3600 + minute * 60) + second
    }

    /// `250ms`, `4.2s`, `4m 11s`, `6d 2h`.
    static func brief(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds < 1e10 else { return "?" }
        let milliseconds = Int(max(0, seconds) * 1000)
        if milliseconds == 0 { return "0s" }
        if milliseconds < 1000 { return "\(milliseconds)ms" }
        let whole = milliseconds / 1000
        if whole < 10, milliseconds % 1000 >= 100 { return "\(whole).\(milliseconds % 1000 / 100)s" }
        if whole < 60 { return "\(whole)s" }
        if whole < 3600 { return pair(whole / 60, "m", whole % 60, "s") }
        if whole < 86_400 { return pair(whole / 3600, "h", whole % 3600 / 60, "m") }
        return pair(whole / 86_400, "d", whole % 86_400 / 3600, "h")
    }

    private static func pair(_ high: Int, _ highUnit: String, _ low: Int, _ lowUnit: String) -> String {
        low == 0 ? "\(high)\(highUnit)" : "\(high)\(highUnit) \(low)\(lowUnit)"
    }

    /// The time from `earlier` to `now`, both RFC 3339; `?` where one cannot be read.
    static func span(_ earlier: String?, _ now: String?) -> String {
        guard let earlier = earlier.flatMap(seconds), let now = now.flatMap(seconds) else { return "?" }
        return brief(now - earlier)
    }

    /// `08:13:44` of `2026-11-21T08:13:44.120Z`.
    static func clock(_ text: String) -> String {
        guard let start = text.firstIndex(of: "T") else { return text }
        return String(text[text.index(after: start)...].prefix(8))
    }

    /// `2026-11-21T08:13:44Z`: without the fraction.
    static func whole(_ text: String) -> String {
        guard let dot = text.firstIndex(of: ".") else { return text }
        return text[..<dot] + "Z"
    }
}

/// Text within columns.
enum Columns {
    /// `text` in lines of at most `width` columns, broken at spaces where there are some.
    static func wrap(_ text: String, _ width: Int) -> [String] {
        let width = max(width, 10)
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ") {
            if !line.isEmpty, line.count + 1 + word.count > width {
                lines.append(line)
                line = ""
            }
            line += line.isEmpty ? String(word) : " " + word
            while line.count > width {
                lines.append(String(line.prefix(width)))
                line = String(line.dropFirst(width))
            }
        }
        if !line.isEmpty || lines.isEmpty { lines.append(line) }
        return lines
    }

    /// At most `width` columns, with `…` for what was cut.
    static func clip(_ text: String, _ width: Int) -> String {
        text.count <= width ? text : String(text.prefix(max(0, width - 1))) + "…"
    }

    static func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    static func padLeft(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }

    /// Without what moves the cursor or changes the colours of a terminal: the text comes from workers and callers.
    static func printable(_ text: String, keepingTabs: Bool = false) -> String {
        if text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) }) { return text }
        var clean = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x09 where !keepingTabs: clean.append(contentsOf: "    ".unicodeScalars)
            case 0..<0x09, 0x0A..<0x20, 0x7F...0x9F: clean.append("?")
            default: clean.append(scalar)
            }
        }
        return String(clean)
    }
}

/// Colours, where the terminal has them.
struct Style {
    var colours: Bool

    func state(_ state: String, _ text: String? = nil) -> String {
        let text = text ?? state
        switch state {
        case "healthy", "closed": return paint("32", text)
        case "stopped", "drained", "disabled", "metrics-only": return paint("2", text)
        case "failed", "unhealthy", "breaker-open", "open", "forced-open": return paint("31", text)
        default: return paint("33", text)
        }
    }

    func bold(_ text: String) -> String { paint("1", text) }
    func dim(_ text: String) -> String { paint("2", text) }

    private func paint(_ code: String, _ text: String) -> String {
        colours ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
    }
}
