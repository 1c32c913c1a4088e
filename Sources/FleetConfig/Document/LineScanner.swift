/// Reads a TOML document just closely enough to know which key stands where, and to refuse what no parser should be
/// given: nesting or numbers without a bound, and what makes it abort the process instead of complaining (toml++ states
/// with `assert` that a header has a key, and that a value is there and is not a mere sign). Of other syntax it is no
/// judge; what it cannot follow it skips to the end of the line, and the parser says what is wrong there.
struct LineScanner {
    /// Parts of one dotted key, values within values, and entries of one document.
    static let keyParts = 16
    static let nesting = 32
    static let entryLimit = 500_000

    struct Refusal: Error, Equatable {
        var line: Int
        /// Known where the syntax is wrong.
        var column: Int?
        var text: String
    }

    private let bytes: [UInt8]
    private var position = 0
    private var line = 1
    private var index = LineIndex()

    private init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    static func scan(_ bytes: [UInt8]) throws(Refusal) -> LineIndex {
        var scanner = LineScanner(bytes)
        try scanner.document()
        return scanner.index
    }

    /// Of the next character, from 1.
    private var column: Int { column(of: position) }

    private func column(of position: Int) -> Int {
        let start = bytes[..<position].lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
        return 1 + String(decoding: bytes[start..<position], as: UTF8.self).unicodeScalars.count
    }

    private var byte: UInt8? { position < bytes.count ? bytes[position] : nil }

    private func starts(with text: StaticString) -> Bool {
        text.withUTF8Buffer { bytes[position...].starts(with: $0) }
    }

    private mutating func document() throws(Refusal) {
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
        var table = LineIndex.root
        while true {
            skipBlanks(newlines: true)
            guard let byte else { return }
            if byte == UInt8(ascii: "[") {
                if let header = try header() { table = header }
            } else {
                try keyAndValue(in: table, depth: 0)
            }
            skipLine()
        }
    }

    /// `[a.b]` or `[[a.b]]`: the table that the following keys belong to.
    private mutating func header() throws(Refusal) -> Int? {
        let start = line
        let isArray = starts(with: "[[")
        position += isArray ? 2 : 1
        skipBlanks(newlines: false)
        // The parser takes for granted that a key begins here, and aborts when none does.
        guard let byte, Self.isBare(byte) || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") else {
            let text = "cannot read this as TOML: a table header needs a name, such as [services.auth]"
            throw Refusal(line: line, column: column, text: text)
        }
        guard let keys = try keyPath() else { return nil }
        var table = LineIndex.root
        for (offset, key) in keys.enumerated() {
            table = index.mention(key, in: index.current(table), line: start)
            try checkCount()
            if offset == keys.count - 1 {
                if isArray { return index.addElement(to: table, line: start) }
                index.define(table, line: start)
            }
        }
        return table
    }

    private mutating func keyAndValue(in table: Int, depth: Int) throws(Refusal) {
        let start = line
        guard let keys = try keyPath() else { return }
        var entry = table
        for key in keys {
            entry = index.mention(key, in: entry, line: start)
            try checkCount()
        }
        index.define(entry, line: start)
        skipBlanks(newlines: false)
        guard byte == UInt8(ascii: "=") else { return }
        position += 1
        skipBlanks(newlines: false)
        try value(of: entry, depth: depth + 1)
    }

    /// The parts of a dotted key; nil when there is no key here.
    private mutating func keyPath() throws(Refusal) -> [String]? {
        var keys: [String] = []
        while true {
            skipBlanks(newlines: false)
            guard let key = try keyPart() else { return nil }
            keys.append(key)
            if keys.count > Self.keyParts {
                throw Refusal(line: line, text: "cannot use a key of more than \(Self.keyParts) parts")
            }
            skipBlanks(newlines: false)
            guard byte == UInt8(ascii: ".") else { return keys }
            position += 1
        }
    }

    private mutating func keyPart() throws(Refusal) -> String? {
        switch byte {
        case UInt8(ascii: "\""): return try basicString()
        case UInt8(ascii: "'"): return literalString()
        default:
            let start = position
            while let byte, Self.isBare(byte) { position += 1 }
            return position > start ? String(decoding: bytes[start..<position], as: UTF8.self) : nil
        }
    }

    private static func isBare(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    private mutating func value(of entry: Int, depth: Int) throws(Refusal) {
        if depth > Self.nesting {
            throw Refusal(line: line, text: "cannot use values nested more than \(Self.nesting) deep")
        }
        // The parser takes for granted that a value begins here, and aborts when none does.
        guard let byte, (33...126).contains(byte), !Self.endsScalar(byte) else {
            throw Refusal(line: line, column: column, text: "cannot read this as TOML: a value is missing here")
        }
        switch byte {
        case UInt8(ascii: "\""):
            if starts(with: "\"\"\"") { try multilineString(UInt8(ascii: "\"")) } else { _ = try basicString() }
        case UInt8(ascii: "'"):
            if starts(with: "'''") { try multilineString(UInt8(ascii: "'")) } else { _ = literalString() }
        case UInt8(ascii: "["): try array(entry, depth: depth)
        case UInt8(ascii: "{"): try inlineTable(entry, depth: depth)
        default:
            try scalar()
        }
    }

    private mutating func scalar() throws(Refusal) {
        let start = position
        while let byte, !Self.endsScalar(byte) { position += 1 }
        var word = bytes[start..<position]
        while let last = word.last,
            last == UInt8(ascii: " ") || last == UInt8(ascii: "\t") || last == UInt8(ascii: "\r")
        {
            word.removeLast()
        }
        if ScalarGrammar.accepts(word) { return }
        let shown = Quoting.shown(String(decoding: word, as: UTF8.self))
        let text = "cannot read this as TOML: \(shown) is no value of TOML; a text needs quotes"
        throw Refusal(line: line, column: column(of: start), text: text)
    }

    private static func endsScalar(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: ","), UInt8(ascii: "]"), UInt8(ascii: "}"), UInt8(ascii: "#"), UInt8(ascii: "\n"): true
        default: false
        }
    }

    private mutating func array(_ entry: Int, depth: Int) throws(Refusal) {
        position += 1
        var count = 0
        while true {
            skipBlanks(newlines: true)
            guard let byte else { return }
            if byte == UInt8(ascii: "]") {
                position += 1
                return
            }
            let element = index.mention(String(count), in: entry, line: line)
            index.define(element, line: line)
            try checkCount()
            count += 1
            try value(of: element, depth: depth + 1)
            skipBlanks(newlines: true)
            if self.byte == UInt8(ascii: ",") {
                position += 1
            } else if self.byte != UInt8(ascii: "]") {
                return
            }
        }
    }

    private mutating func inlineTable(_ entry: Int, depth: Int) throws(Refusal) {
        position += 1
        while true {
            // TOML 1.0 wants an inline table on one line; newlines are followed here all the same, so that the
            // lines after a mistake are still counted right.
            skipBlanks(newlines: true)
            guard let byte else { return }
            if byte == UInt8(ascii: "}") {
                position += 1
                return
            }
            let before = position
            try keyAndValue(in: entry, depth: depth)
            skipBlanks(newlines: true)
            if self.byte == UInt8(ascii: ",") {
                position += 1
            } else if self.byte != UInt8(ascii: "}") || position == before {
                return
            }
        }
    }

    private mutating func checkCount() throws(Refusal) {
        if index.entries.count > Self.entryLimit {
            throw Refusal(line: line, text: "cannot use more than \(Self.entryLimit) values in one file")
        }
    }

    private mutating func skipBlanks(newlines: Bool) {
        while let byte {
            switch byte {
            case UInt8(ascii: " "), UInt8(ascii: "\t"): position += 1
            case UInt8(ascii: "\r") where newlines: position += 1
            case UInt8(ascii: "\n") where newlines:
                position += 1
                line += 1
            case UInt8(ascii: "#") where newlines:
                while let byte = self.byte, byte != UInt8(ascii: "\n") { position += 1 }
            default: return
            }
        }
    }

    private mutating func skipLine() {
        while let byte {
            position += 1
            if byte == UInt8(ascii: "\n") {
                line += 1
                return
            }
        }
    }
}

// Strings.
extension LineScanner {
    private mutating func literalString() -> String {
        position += 1
        let start = position
        while let byte, byte != UInt8(ascii: "'"), byte != UInt8(ascii: "\n") { position += 1 }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if byte == UInt8(ascii: "'") { position += 1 }
        return text
    }

    private mutating func basicString() throws(Refusal) -> String {
        position += 1
        var text: [UInt8] = []
        while let byte, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\n") {
            position += 1
            if byte == UInt8(ascii: "\\") {
                try escape(into: &text)
            } else {
                text.append(byte)
            }
        }
        if byte == UInt8(ascii: "\"") { position += 1 }
        return String(decoding: text, as: UTF8.self)
    }

    /// The character after a backslash.
    private mutating func escape(into text: inout [UInt8]) throws(Refusal) {
        guard let byte, byte != UInt8(ascii: "\n") else { return }
        position += 1
        switch byte {
        case UInt8(ascii: "b"): text.append(8)
        case UInt8(ascii: "t"): text.append(9)
        case UInt8(ascii: "n"): text.append(10)
        case UInt8(ascii: "f"): text.append(12)
        case UInt8(ascii: "r"): text.append(13)
        case UInt8(ascii: "u"): try unicode(digits: 4, into: &text)
        case UInt8(ascii: "U"): try unicode(digits: 8, into: &text)
        default: text.append(byte)
        }
    }

    private mutating func unicode(digits: Int, into text: inout [UInt8]) throws(Refusal) {
        let end = min(position + digits, bytes.count)
        let hexadecimal = String(decoding: bytes[position..<end], as: UTF8.self)
        guard hexadecimal.utf8.count == digits, let code = UInt32(hexadecimal, radix: 16),
            let scalar = Unicode.Scalar(code)
        else { return }
        // No path, argument or name can hold it, and C would take it for the end.
        if code == 0 { throw Refusal(line: line, text: "cannot use a NUL character in a text") }
        text += Array(String(Character(scalar)).utf8)
        position = end
    }

    private mutating func multilineString(_ quote: UInt8) throws(Refusal) {
        position += 3
        var quotes = 0
        var ignored: [UInt8] = []
        while let byte {
            position += 1
            if byte == quote {
                quotes += 1
                if quotes == 3 {
                    // Up to two more quotes belong to the text.
                    var extra = 0
                    while self.byte == quote, extra < 2 {
                        position += 1
                        extra += 1
                    }
                    return
                }
                continue
            }
            quotes = 0
            if byte == UInt8(ascii: "\n") { line += 1 }
            if byte == UInt8(ascii: "\\"), quote == UInt8(ascii: "\"") {
                try escape(into: &ignored)
                ignored.removeAll(keepingCapacity: true)
            }
        }
    }
}
