// Values. Arrays and inline tables call back to `value`, no deeper than `nesting`.
extension TOMLParser {
    mutating func value(depth: Int) throws(SyntaxError) -> ConfigurationNode {
        if depth > Self.nesting { throw refusal("cannot use values nested more than \(Self.nesting) deep") }
        try count()
        let location = location()
        guard let byte, !Self.endsScalar(byte) else { throw unexpected("a value is missing here") }
        let value: ConfigurationValue
        switch byte {
        case UInt8(ascii: "\""):
            value = .string(try starts(with: "\"\"\"") ? multilineBasicString() : basicString())
        case UInt8(ascii: "'"):
            value = .string(try starts(with: "'''") ? multilineLiteralString() : literalString())
        case UInt8(ascii: "["): value = try array(at: location, depth: depth)
        case UInt8(ascii: "{"): value = .table(try inlineTable(at: location, depth: depth))
        default: value = try scalar()
        }
        return ConfigurationNode(value: value, location: location)
    }

    /// A number, boolean, date or time. The word is taken up to what can only come after a value, blanks included,
    /// since a date may hold one, and since what is wrong is best shown whole.
    private mutating func scalar() throws(SyntaxError) -> ConfigurationValue {
        let location = location()
        let start = position
        while let byte, !Self.endsScalar(byte) { position += 1 }
        var word = bytes[start..<position]
        while let last = word.last, last == UInt8(ascii: " ") || last == UInt8(ascii: "\t") { word.removeLast() }
        switch TOMLScalar.read(word) {
        case .value(let value): return value
        case .tooLarge:
            let shown = Quoting.shown(String(decoding: word, as: UTF8.self))
            throw mistake("\(shown) does not fit into 64 bits", at: location)
        case .none:
            let shown = Quoting.shown(String(decoding: word, as: UTF8.self))
            throw mistake("\(shown) is no value of TOML; a text needs quotes", at: location)
        }
    }

    private static func endsScalar(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: ","), UInt8(ascii: "]"), UInt8(ascii: "}"), UInt8(ascii: "#"), UInt8(ascii: "\n"),
            UInt8(ascii: "\r"):
            true
        default: false
        }
    }

    private mutating func array(at start: SourceLocation, depth: Int) throws(SyntaxError) -> ConfigurationValue {
        position += 1
        var elements: [ConfigurationNode] = []
        while true {
            try skipBlankLines()
            if byte == UInt8(ascii: "]") { break }
            if byte == nil { throw mistake("the array from line \(start.line) on is not closed; a ] is missing") }
            elements.append(try value(depth: depth + 1))
            try skipBlankLines()
            if byte == UInt8(ascii: "]") { break }
            if byte == nil { throw mistake("the array from line \(start.line) on is not closed; a ] is missing") }
            guard byte == UInt8(ascii: ",") else { throw unexpected("a comma or ] is missing here") }
            position += 1
        }
        position += 1
        return .array(elements)
    }

    /// The table is a tree of its own while it is read: nothing outside can add to it.
    private mutating func inlineTable(at start: SourceLocation, depth: Int) throws(SyntaxError) -> ConfigurationTable {
        var tree = TOMLTree(location: start)
        position += 1
        skipBlanks()
        if byte == UInt8(ascii: "}") {
            position += 1
            return tree.table()
        }
        while true {
            try refuseNewline()
            try keyAndValue(in: TOMLTree.root, of: &tree, depth: depth)
            skipBlanks()
            if byte == UInt8(ascii: "}") { break }
            try refuseNewline()
            guard byte == UInt8(ascii: ",") else { throw unexpected("a comma or } is missing here") }
            position += 1
            skipBlanks()
            if byte == UInt8(ascii: "}") { throw mistake("no comma stands before the } of an inline table") }
        }
        position += 1
        return tree.table()
    }

    private mutating func refuseNewline() throws(SyntaxError) {
        let text = "an inline table stands on one line; close it with }, or write a table with a header"
        if byte == nil || byte == UInt8(ascii: "#") || starts(with: "\n") || starts(with: "\r\n") {
            throw mistake(text)
        }
    }
}
