// Strings. What needs no change is copied in one piece.
extension TOMLParser {
    /// `'…'`
    mutating func literalString() throws(SyntaxError) -> String {
        let opening = location()
        position += 1
        let start = position
        while let byte, byte != UInt8(ascii: "'") { try checkCharacter(byte, opening) }
        try checkClosed(opening)
        defer { position += 1 }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    /// `"…"`
    mutating func basicString() throws(SyntaxError) -> String {
        let opening = location()
        position += 1
        var text: [UInt8] = []
        var start = position
        while let byte, byte != UInt8(ascii: "\"") {
            if byte == UInt8(ascii: "\\") {
                text += bytes[start..<position]
                try escape(into: &text)
                start = position
            } else {
                try checkCharacter(byte, opening)
            }
        }
        try checkClosed(opening)
        defer { position += 1 }
        if text.isEmpty { return String(decoding: bytes[start..<position], as: UTF8.self) }
        return String(decoding: text + bytes[start..<position], as: UTF8.self)
    }

    /// Steps over one character of a string on one line.
    private mutating func checkCharacter(_ byte: UInt8, _ opening: SourceLocation) throws(SyntaxError) {
        if byte == UInt8(ascii: "\n") || starts(with: "\r\n") { throw notClosed(opening) }
        if Self.isControl(byte) { throw forbiddenControl(byte) }
        position += 1
    }

    private func checkClosed(_ opening: SourceLocation) throws(SyntaxError) {
        if byte == nil { throw notClosed(opening) }
    }

    private func notClosed(_ opening: SourceLocation) -> SyntaxError {
        mistake("the text that begins here is not closed; a quote is missing", at: opening)
    }

    /// `'''…'''`
    mutating func multilineLiteralString() throws(SyntaxError) -> String {
        let opening = location()
        position += 3
        _ = newline()
        var text: [UInt8] = []
        while true {
            guard let byte else { throw notClosed(opening) }
            if starts(with: "'''") { break }
            try multilineCharacter(byte, into: &text)
        }
        closeMultiline(UInt8(ascii: "'"), into: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// `"""…"""`
    mutating func multilineBasicString() throws(SyntaxError) -> String {
        let opening = location()
        position += 3
        _ = newline()
        var text: [UInt8] = []
        while true {
            guard let byte else { throw notClosed(opening) }
            if byte == UInt8(ascii: "\"") && starts(with: "\"\"\"") { break }
            if byte != UInt8(ascii: "\\") {
                try multilineCharacter(byte, into: &text)
            } else if !joinLines() {
                try escape(into: &text)
            }
        }
        closeMultiline(UInt8(ascii: "\""), into: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// Copies one character; every newline becomes a single line feed.
    private mutating func multilineCharacter(_ byte: UInt8, into text: inout [UInt8]) throws(SyntaxError) {
        if newline() {
            text.append(UInt8(ascii: "\n"))
            return
        }
        if Self.isControl(byte) { throw forbiddenControl(byte) }
        text.append(byte)
        position += 1
    }

    /// Three quotes, and up to two before them that belong to the text.
    private mutating func closeMultiline(_ quote: UInt8, into text: inout [UInt8]) {
        position += 3
        var extra = 0
        while byte == quote, extra < 2 {
            text.append(quote)
            position += 1
            extra += 1
        }
    }

    /// A backslash at the end of a line, all blanks and newlines after it; false when there is something else.
    private mutating func joinLines() -> Bool {
        let start = position
        position += 1
        skipBlanks()
        guard newline() else {
            position = start
            return false
        }
        repeat { skipBlanks() } while newline()
        return true
    }

    /// A backslash and what it stands for.
    private mutating func escape(into text: inout [UInt8]) throws(SyntaxError) {
        let location = location()
        position += 1
        let letter = byte
        position += letter == nil ? 0 : 1
        switch letter {
        case UInt8(ascii: "b"): text.append(8)
        case UInt8(ascii: "t"): text.append(9)
        case UInt8(ascii: "n"): text.append(10)
        case UInt8(ascii: "f"): text.append(12)
        case UInt8(ascii: "r"): text.append(13)
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): text.append(letter ?? 0)
        case UInt8(ascii: "u"): try unicode(digits: 4, at: location, into: &text)
        case UInt8(ascii: "U"): try unicode(digits: 8, at: location, into: &text)
        default:
            let advice = "use \\\\ for a backslash, or a text in single quotes"
            throw mistake("this backslash begins no escape sequence; \(advice)", at: location)
        }
    }

    private mutating func unicode(
        digits: Int,
        at location: SourceLocation,
        into text: inout [UInt8]
    ) throws(SyntaxError) {
        var code: UInt32 = 0
        for _ in 0..<digits {
            guard let byte, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 128 else {
                throw mistake("\\\(digits == 4 ? "u" : "U") needs \(digits) hexadecimal digits", at: location)
            }
            code = code << 4 | UInt32(digit)
            position += 1
        }
        // No path, argument or name can hold it, and C would take it for the end.
        if code == 0 { throw refusal("cannot use a NUL character in a text") }
        guard let scalar = Unicode.Scalar(code) else {
            throw mistake("there is no character with this number", at: location)
        }
        text += Array(String(Character(scalar)).utf8)
    }
}
