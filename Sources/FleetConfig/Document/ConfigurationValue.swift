/// Where a value was written.
struct SourceLocation: Sendable, Hashable, Comparable {
    // There is one for every key and value, so they are small; a file has 4 MiB at most.
    private let storedFile: UInt32
    private let storedLine: UInt32
    private let storedColumn: UInt32
    /// The value came from `[defaults]`, not from the table that it now is in.
    var inherited = false

    init(file: Int, line: Int, column: Int = 0) {
        storedFile = UInt32(truncatingIfNeeded: file)
        storedLine = UInt32(truncatingIfNeeded: line)
        storedColumn = UInt32(truncatingIfNeeded: column)
    }

    /// Which of the files that were read, in the order of reading.
    var file: Int { Int(storedFile) }
    /// From 1; 0 for the file as a whole.
    var line: Int { Int(storedLine) }
    /// From 1, in characters; 0 where it is not known.
    var column: Int { Int(storedColumn) }

    static func < (left: SourceLocation, right: SourceLocation) -> Bool {
        (left.file, left.line, left.column) < (right.file, right.line, right.column)
    }
}

/// What a configuration file holds, free of the parser's own types.
enum ConfigurationValue: Sendable {
    case string(String)
    case integer(Int64)
    case float(Double)
    case boolean(Bool)
    case array([ConfigurationNode])
    case table(ConfigurationTable)
    /// A kind of value that no key takes, such as a date.
    case other(String)

    /// How a diagnostic shows the value: as it would be written, on one line and of bounded length.
    var shown: String {
        switch self {
        case .string(let text): Quoting.shown(text)
        case .integer(let number): String(number)
        case .float(let number): Quoting.number(number)
        case .boolean(let flag): String(flag)
        case .array(let nodes): Self.shown(nodes)
        case .table: "a table"
        case .other(let kind): kind
        }
    }

    private static func shown(_ nodes: [ConfigurationNode]) -> String {
        var parts: [String] = []
        var length = 0
        for node in nodes {
            // An array within an array is not drawn out: depth and length stay bounded.
            let part = if case .array = node.value { "[…]" } else { node.value.shown }
            length += part.utf8.count
            parts.append(length > 80 ? "…" : part)
            if length > 80 { break }
        }
        return "[" + parts.joined(separator: ", ") + "]"
    }
}

/// A value with the place where it stands.
struct ConfigurationNode: Sendable {
    var value: ConfigurationValue
    var location: SourceLocation
}

/// A table whose entries keep the order of the file.
struct ConfigurationTable: Sendable {
    struct Entry: Sendable {
        var key: String
        /// Where the key stands; of a table where it is first mentioned.
        var keyLocation: SourceLocation
        var node: ConfigurationNode
    }

    var entries: [Entry] = []
    /// The header where there is one, else the first key that mentions the table.
    var location: SourceLocation

    subscript(key: String) -> ConfigurationNode? {
        for entry in entries where entry.key == key { return entry.node }
        return nil
    }

    /// The table at `key`; nil when there is none or it is something else.
    func table(_ key: String) -> ConfigurationTable? {
        if case .table(let table)? = self[key]?.value { return table }
        return nil
    }

    /// The value at a path of keys.
    func node(at path: [String]) -> ConfigurationNode? {
        var table = self
        for (position, key) in path.enumerated() {
            guard let node = table[key] else { return nil }
            if position == path.count - 1 { return node }
            guard case .table(let next) = node.value else { return nil }
            table = next
        }
        return nil
    }

    /// Where the value at `path` stands, or the nearest table around the place where it would.
    func location(of path: [String]) -> SourceLocation {
        var table = self
        for key in path {
            guard let node = table[key] else { return table.location }
            guard case .table(let next) = node.value else { return node.location }
            table = next
        }
        return table.location
    }
}
