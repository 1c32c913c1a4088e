/// Whether a word is a boolean, number, date or time of TOML 1.0.
///
/// The parser aborts the process on some words that are not, such as a lone sign; it is only given words that are.
enum ScalarGrammar {
    static func accepts(_ word: ArraySlice<UInt8>) -> Bool {
        let text = Array(word)
        if text == Array("true".utf8) || text == Array("false".utf8) { return true }
        var reader = Reader(text)
        return reader.number() || isTime(text)
    }

    /// Follows the grammar from the left; each function answers whether what it names was there.
    private struct Reader {
        private let text: [UInt8]
        private var position = 0

        init(_ text: [UInt8]) {
            self.text = text
        }

        private var byte: UInt8? { position < text.count ? text[position] : nil }
        private var atEnd: Bool { position == text.count }

        mutating func number() -> Bool {
            if take("0x") { return digits(ScalarGrammar.isHexadecimal) && atEnd }
            if take("0o") { return digits { (48...55).contains($0) } && atEnd }
            if take("0b") { return digits { $0 == 48 || $0 == 49 } && atEnd }
            _ = take("+") || take("-")
            if take("inf") || take("nan") { return atEnd }
            let start = position
            guard digits(ScalarGrammar.isDigit) else { return false }
            // No leading zero, except zero itself.
            if text[start] == 48, position - start > 1 { return false }
            if take("."), !digits(ScalarGrammar.isDigit) { return false }
            if take("e") || take("E") {
                _ = take("+") || take("-")
                if !digits(ScalarGrammar.isDigit) { return false }
            }
            return atEnd
        }

        private mutating func take(_ word: StaticString) -> Bool {
            let found = word.withUTF8Buffer { text[position...].starts(with: $0) }
            if found { position += word.utf8CodeUnitCount }
            return found
        }

        /// One or more digits; an underscore may stand between two.
        private mutating func digits(_ isDigit: (UInt8) -> Bool) -> Bool {
            var lastWasDigit = false
            while let byte {
                if isDigit(byte) {
                    lastWasDigit = true
                } else if byte == UInt8(ascii: "_"), lastWasDigit {
                    lastWasDigit = false
                } else {
                    break
                }
                position += 1
            }
            return lastWasDigit
        }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default: false
        }
    }

    /// A local date, a local time, or both with or without an offset. Months and hours are not judged.
    private static func isTime(_ text: [UInt8]) -> Bool {
        if matches(text[...], "dddd-dd-dd") { return true }
        if matches(text.prefix(10), "dddd-dd-dd"), text.count > 11 {
            let separator = text[10]
            guard separator == UInt8(ascii: "T") || separator == UInt8(ascii: "t") || separator == UInt8(ascii: " ")
            else { return false }
            return isClock(text[11...], mayHaveOffset: true)
        }
        return isClock(text[...], mayHaveOffset: false)
    }

    private static func isClock(_ text: ArraySlice<UInt8>, mayHaveOffset: Bool) -> Bool {
        guard matches(text.prefix(8), "dd:dd:dd") else { return false }
        var rest = text.dropFirst(8)
        if rest.first == UInt8(ascii: ".") {
            let fraction = rest.dropFirst().prefix(while: isDigit)
            if fraction.isEmpty { return false }
            rest = rest.dropFirst(1 + fraction.count)
        }
        if rest.isEmpty { return true }
        guard mayHaveOffset else { return false }
        return matches(rest, "Z") || matches(rest, "z") || matches(rest, "+dd:dd") || matches(rest, "-dd:dd")
    }

    /// `d` stands for a digit, everything else for itself.
    private static func matches(_ text: ArraySlice<UInt8>, _ pattern: StaticString) -> Bool {
        guard text.count == pattern.utf8CodeUnitCount else { return false }
        return pattern.withUTF8Buffer { pattern in
            zip(text, pattern).allSatisfy { $1 == UInt8(ascii: "d") ? isDigit($0) : $0 == $1 }
        }
    }
}
