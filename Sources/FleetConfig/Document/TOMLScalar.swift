/// Booleans, numbers, dates and times of TOML 1.0, each a whole word.
enum TOMLScalar {
    enum Reading {
        case value(ConfigurationValue)
        /// An integer beyond 64 bits.
        case tooLarge
        /// Nothing of the kind.
        case none
    }

    static func read(_ word: ArraySlice<UInt8>) -> Reading {
        guard let first = word.first else { return .none }
        if first == UInt8(ascii: "t"), word.elementsEqual("true".utf8) { return .value(.boolean(true)) }
        if first == UInt8(ascii: "f"), word.elementsEqual("false".utf8) { return .value(.boolean(false)) }
        var number = Number(text: word)
        if let reading = number.read() { return reading }
        return isTime(Array(word)) ? .value(.other("a date or time")) : .none
    }

    /// Follows the grammar from the left; each function answers whether what it names was there.
    private struct Number {
        private var rest: ArraySlice<UInt8>
        /// What was taken, without underscores.
        private var digits = ""

        init(text: ArraySlice<UInt8>) {
            rest = text
        }

        /// nil when the text is not a number.
        mutating func read() -> Reading? {
            if take("0x") { return prefixed(16) }
            if take("0o") { return prefixed(8) }
            if take("0b") { return prefixed(2) }
            if take("-") { digits = "-" } else { _ = take("+") }
            let isNegative = digits == "-"
            if take("inf") { return rest.isEmpty ? .value(.float(isNegative ? -.infinity : .infinity)) : nil }
            if take("nan") { return rest.isEmpty ? .value(.float(.nan)) : nil }
            // No leading zero, except zero itself.
            let leadsWithZero = rest.first == UInt8(ascii: "0")
            let count = takeDigits(10)
            if count == 0 || leadsWithZero && count > 1 { return nil }
            if rest.isEmpty { return Int64(digits).map { .value(.integer($0)) } ?? .tooLarge }
            if take(".") {
                digits += "."
                if takeDigits(10) == 0 { return nil }
            }
            if take("e") || take("E") {
                digits += "e"
                if take("-") { digits += "-" } else { _ = take("+") }
                if takeDigits(10) == 0 { return nil }
            }
            guard rest.isEmpty else { return nil }
            return Double(digits).map { .value(.float($0)) }
        }

        private mutating func prefixed(_ radix: Int) -> Reading? {
            if takeDigits(radix) == 0 || !rest.isEmpty { return nil }
            return Int64(digits, radix: radix).map { .value(.integer($0)) } ?? .tooLarge
        }

        private mutating func take(_ word: StaticString) -> Bool {
            let found = word.withUTF8Buffer { rest.starts(with: $0) }
            if found { rest = rest.dropFirst(word.utf8CodeUnitCount) }
            return found
        }

        /// How many bytes were taken: digits, and underscores between two of them.
        private mutating func takeDigits(_ radix: Int) -> Int {
            var count = 0
            var lastWasDigit = false
            while let byte = rest.first {
                if TOMLScalar.isDigit(byte, radix: radix) {
                    digits.unicodeScalars.append(Unicode.Scalar(byte))
                    lastWasDigit = true
                } else if byte == UInt8(ascii: "_"), lastWasDigit {
                    lastWasDigit = false
                } else {
                    break
                }
                rest = rest.dropFirst()
                count += 1
            }
            return lastWasDigit ? count : 0
        }
    }

    private static func isDigit(_ byte: UInt8, radix: Int = 10) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte) - 48 < radix
        case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"): radix == 16
        default: false
        }
    }

    /// A local date, a local time, or both with or without an offset (RFC 3339, without leap seconds).
    private static func isTime(_ text: [UInt8]) -> Bool {
        guard text.count > 10, text[2] != UInt8(ascii: ":") else { return isDate(text) || isClock(text[...]) }
        guard isDate(Array(text[..<10])) else { return false }
        switch text[10] {
        case UInt8(ascii: "T"), UInt8(ascii: "t"), UInt8(ascii: " "):
            return isClock(text[11...], mayHaveOffset: true)
        default: return false
        }
    }

    private static func isDate(_ text: [UInt8]) -> Bool {
        guard matches(text[...], "dddd-dd-dd") else { return false }
        let (year, month, day) = (number(text[0..<4]), number(text[5..<7]), number(text[8..<10]))
        let isLeapYear = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        switch month {
        case 1, 3, 5, 7, 8, 10, 12: return (1...31).contains(day)
        case 4, 6, 9, 11: return (1...30).contains(day)
        case 2: return (1...(isLeapYear ? 29 : 28)).contains(day)
        default: return false
        }
    }

    private static func isClock(_ text: ArraySlice<UInt8>, mayHaveOffset: Bool = false) -> Bool {
        guard matches(text.prefix(8), "dd:dd:dd"), number(text.prefix(2)) < 24,
            number(text.dropFirst(3).prefix(2)) < 60, number(text.dropFirst(6).prefix(2)) < 60
        else { return false }
        var rest = text.dropFirst(8)
        if rest.first == UInt8(ascii: ".") {
            let fraction = rest.dropFirst().prefix { isDigit($0) }
            if fraction.isEmpty { return false }
            rest = rest.dropFirst(1 + fraction.count)
        }
        if rest.isEmpty { return true }
        guard mayHaveOffset else { return false }
        if matches(rest, "Z") || matches(rest, "z") { return true }
        guard matches(rest, "+dd:dd") || matches(rest, "-dd:dd") else { return false }
        return number(rest.dropFirst().prefix(2)) < 24 && number(rest.suffix(2)) < 60
    }

    /// The number that a few digits are.
    private static func number(_ digits: ArraySlice<UInt8>) -> Int {
        digits.reduce(0) { $0 * 10 + Int($1) - 48 }
    }

    /// `d` stands for a digit, everything else for itself.
    private static func matches(_ text: ArraySlice<UInt8>, _ pattern: StaticString) -> Bool {
        guard text.count == pattern.utf8CodeUnitCount else { return false }
        return pattern.withUTF8Buffer { pattern in
            zip(text, pattern).allSatisfy { $1 == UInt8(ascii: "d") ? isDigit($0) : $0 == $1 }
        }
    }
}
