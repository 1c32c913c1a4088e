/// Reads TOML 1.0 (https://toml.io/en/v1.0.0), strictly, into a tree that knows where each key and value stands.
///
/// One pass from left to right. Nesting, parts of a key and the number of values are bounded, so that no input can
/// exhaust the stack or the time of the reader; the first mistake ends the reading.
struct TOMLParser {
    /// Parts of one dotted key, values within values, and values and tables of one document.
    static let keyParts = 16
    static let nesting = 32
    static let entryLimit = 500_000

    struct SyntaxError: Error, Equatable {
        /// From 1.
        var line: Int
        /// From 1, in characters; nil when the matter is more than one place.
        var column: Int?
        var text: String
    }

    /// One part of a dotted key.
    struct Key {
        var text: String
        var location: SourceLocation
    }

    let bytes: [UInt8]
    var position = 0
    private let file: Int
    private var entries = 0
    /// How far lines and columns were counted; it only moves forward, so that counting takes one pass in all.
    private var counted = (position: 0, line: 1, column: 1)

    private init(_ bytes: [UInt8], file: Int) {
        self.bytes = bytes
        self.file = file
        // A byte order mark is no part of the text.
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
            position = 3
            counted.position = 3
        }
    }

    /// Reads a whole document.
    ///
    /// - Parameters:
    ///   - bytes: What is in the file, of whatever kind.
    ///   - file: The file's number, for the locations.
    static func parse(_ bytes: [UInt8], file: Int) throws(SyntaxError) -> ConfigurationTable {
        try checkEncoding(bytes)
        var parser = TOMLParser(bytes, file: file)
        return try parser.document()
    }

    // MARK: Where we are

    var byte: UInt8? { position < bytes.count ? bytes[position] : nil }

    func starts(with text: StaticString) -> Bool {
        text.withUTF8Buffer { bytes[position...].starts(with: $0) }
    }

    /// The place of the next character. Never asked for a place before one that was asked for.
    mutating func location() -> SourceLocation {
        while counted.position < position {
            let byte = bytes[counted.position]
            if byte == UInt8(ascii: "\n") {
                counted.line += 1
                counted.column = 1
            } else if byte & 0xC0 != 0x80 {
                // Bytes that continue a character of UTF-8 are none of their own.
                counted.column += 1
            }
            counted.position += 1
        }
        return SourceLocation(file: file, line: counted.line, column: counted.column)
    }

    // MARK: What is wrong

    /// A mistake at the next character.
    mutating func mistake(_ text: String) -> SyntaxError {
        mistake(text, at: location())
    }

    func mistake(_ text: String, at location: SourceLocation) -> SyntaxError {
        SyntaxError(line: location.line, column: location.column, text: "cannot read this as TOML: " + text)
    }

    /// Something that is TOML, but not for us.
    mutating func refusal(_ text: String) -> SyntaxError {
        SyntaxError(line: location().line, column: nil, text: text)
    }

    /// Something about the character at hand; names it when it cannot be seen.
    mutating func unexpected(_ text: String) -> SyntaxError {
        let isNewline = byte == UInt8(ascii: "\n") || starts(with: "\r\n")
        guard let byte, Self.isControl(byte), !isNewline else { return mistake(text) }
        return forbiddenControl(byte)
    }

    mutating func forbiddenControl(_ byte: UInt8) -> SyntaxError {
        if byte == UInt8(ascii: "\r") { return mistake("a carriage return stands only before a newline") }
        let digits = String(byte, radix: 16, uppercase: true)
        return mistake("control character U+00\(digits.count == 1 ? "0" : "")\(digits) is not allowed here")
    }

    /// Notes one more value or table.
    mutating func count() throws(SyntaxError) {
        entries += 1
        if entries > Self.entryLimit {
            throw refusal("cannot use more than \(Self.entryLimit) values in one file")
        }
    }

    // MARK: The document

    private mutating func document() throws(SyntaxError) -> ConfigurationTable {
        var tree = TOMLTree(location: location())
        var table = TOMLTree.root
        while true {
            try skipBlankLines()
            guard let byte else { return tree.table() }
            if byte == UInt8(ascii: "[") {
                table = try header(&tree)
            } else {
                try keyAndValue(in: table, of: &tree, depth: 0)
            }
            try endOfLine()
        }
    }

    /// `[a.b]` or `[[a.b]]`: the table that the following keys belong to.
    private mutating func header(_ tree: inout TOMLTree) throws(SyntaxError) -> Int {
        let location = location()
        let isArray = starts(with: "[[")
        position += isArray ? 2 : 1
        skipBlanks()
        guard isAtKey else { throw unexpected("a table header needs a name, such as [services.auth]") }
        let keys = try keyPath()
        guard isArray ? starts(with: "]]") : byte == UInt8(ascii: "]") else {
            throw unexpected("a table header ends with \(isArray ? "]]" : "]")")
        }
        position += isArray ? 2 : 1
        do {
            return try tree.open(keys, isArray: isArray, at: location)
        } catch {
            throw SyntaxError(line: location.line, column: location.column, text: error.text)
        }
    }

    mutating func keyAndValue(in table: Int, of tree: inout TOMLTree, depth: Int) throws(SyntaxError) {
        let location = location()
        guard isAtKey else { throw unexpected("a key is missing here") }
        let keys = try keyPath()
        guard byte == UInt8(ascii: "=") else { throw unexpected("a key needs = and a value") }
        position += 1
        skipBlanks()
        let value = try value(depth: depth + 1)
        do {
            try tree.insert(value, at: keys, in: table)
        } catch {
            throw SyntaxError(line: location.line, column: location.column, text: error.text)
        }
    }

    /// A bare or quoted key can only begin so.
    private var isAtKey: Bool {
        guard let byte else { return false }
        return Self.isBare(byte) || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'")
    }

    /// The parts of a dotted key, and the blanks after it.
    private mutating func keyPath() throws(SyntaxError) -> [Key] {
        var keys: [Key] = []
        while true {
            let location = location()
            keys.append(Key(text: try keyPart(), location: location))
            if keys.count > Self.keyParts { throw refusal("cannot use a key of more than \(Self.keyParts) parts") }
            try count()
            skipBlanks()
            guard byte == UInt8(ascii: ".") else { return keys }
            position += 1
            skipBlanks()
        }
    }

    private mutating func keyPart() throws(SyntaxError) -> String {
        switch byte {
        case UInt8(ascii: "\""): return try basicString()
        case UInt8(ascii: "'"): return try literalString()
        default:
            let start = position
            while let byte, Self.isBare(byte) { position += 1 }
            if position == start { throw unexpected("a key is missing here") }
            return String(decoding: bytes[start..<position], as: UTF8.self)
        }
    }

    // MARK: Blanks

    mutating func skipBlanks() {
        while let byte, byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") { position += 1 }
    }

    /// Blanks, newlines and comments.
    mutating func skipBlankLines() throws(SyntaxError) {
        while true {
            skipBlanks()
            if byte == UInt8(ascii: "#") { try comment() }
            if !newline() { return }
        }
    }

    /// What may follow a header, or a key and its value.
    private mutating func endOfLine() throws(SyntaxError) {
        skipBlanks()
        if byte == UInt8(ascii: "#") { try comment() }
        if byte != nil, !newline() { throw unexpected("only a comment may follow on this line") }
    }

    /// Takes a newline; false when there is none.
    mutating func newline() -> Bool {
        switch byte {
        case UInt8(ascii: "\n"): position += 1
        case UInt8(ascii: "\r") where starts(with: "\r\n"): position += 2
        default: return false
        }
        return true
    }

    private mutating func comment() throws(SyntaxError) {
        while let byte, byte != UInt8(ascii: "\n"), !(byte == UInt8(ascii: "\r") && starts(with: "\r\n")) {
            if Self.isControl(byte) { throw forbiddenControl(byte) }
            position += 1
        }
    }

    // MARK: Characters

    static func isBare(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    /// What may stand neither in a comment nor in a string on one line.
    static func isControl(_ byte: UInt8) -> Bool {
        byte < 32 && byte != UInt8(ascii: "\t") || byte == 127
    }

    private static func checkEncoding(_ bytes: [UInt8]) throws(SyntaxError) {
        if let offset = bytes.firstIndex(of: 0) {
            let line = 1 + bytes[..<offset].count { $0 == UInt8(ascii: "\n") }
            throw SyntaxError(line: line, text: "cannot use a NUL byte; is this a text file?")
        }
        if String(validating: bytes, as: UTF8.self) == nil {
            let text = "cannot use text that is not UTF-8; convert the file, for example with iconv"
            throw SyntaxError(line: lineOfInvalidUTF8(bytes), text: text)
        }
    }

    private static func lineOfInvalidUTF8(_ bytes: [UInt8]) -> Int {
        var decoder = UTF8()
        var iterator = bytes.makeIterator()
        var line = 1
        while true {
            switch decoder.decode(&iterator) {
            case .scalarValue("\n"): line += 1
            case .scalarValue: break
            case .emptyInput, .error: return line
            }
        }
    }
}
