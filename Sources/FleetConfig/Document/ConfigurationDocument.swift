// TOMLKit's own Swift classes never free what they allocate (neither a document nor a string taken from it), so this
// file speaks to the C layer of the same package, frees what can be freed, and is the only one that knows of it.
import CTOML
import Glibc

/// One file's text as a tree of values with their lines.
enum ConfigurationDocument {
    struct SyntaxError: Error, Equatable {
        var line: Int
        var column: Int?
        var text: String
    }

    /// Reads TOML 1.0.
    ///
    /// - Parameters:
    ///   - bytes: Valid UTF-8 without NUL bytes.
    ///   - file: The file's number, for the locations.
    static func parse(_ bytes: [UInt8], file: Int) throws(SyntaxError) -> ConfigurationTable {
        let index: LineIndex
        do {
            index = try LineScanner.scan(bytes)
        } catch {
            throw SyntaxError(line: error.line, column: error.column, text: error.text)
        }
        // Written to by the parser when it fails, and only then.
        let problem = UnsafeMutablePointer<CTOMLParseError>.allocate(capacity: 1)
        defer { problem.deallocate() }
        let terminated = bytes.map { CChar(bitPattern: $0) } + [0]
        guard
            let document = terminated.withUnsafeBufferPointer({ buffer in
                buffer.baseAddress.flatMap { tableCreateFromString($0, problem) }
            })
        else { throw syntaxError(problem.pointee, index) }
        defer { tableClear(document) }
        return TreeReader(index: index, file: file).table(document, entry: LineIndex.root)
    }

    private static func syntaxError(_ problem: CTOMLParseError, _ index: LineIndex) -> SyntaxError {
        var text = String(cString: problem.description)
        free(UnsafeMutableRawPointer(mutating: problem.description))
        // "Error while parsing key-value pair: saw …": only what follows says something to the author of the file.
        if text.hasPrefix("Error while parsing "), let colon = text.firstIndex(of: ":") {
            let what = text[..<colon].dropFirst("Error while parsing ".count)
            text = text[colon...].dropFirst(2) + " (in a \(what))"
        }
        let line = Int(problem.source.begin.line)
        if let first = index.repeated[line], text.hasPrefix("cannot redefine") {
            text += "; it is already defined on line \(first)"
        }
        text = text.hasPrefix("cannot") ? text : "cannot read this as TOML: " + text
        return SyntaxError(line: max(1, line), column: max(1, Int(problem.source.begin.column)), text: text)
    }
}

/// Copies the parser's tree into ours.
private struct TreeReader {
    let index: LineIndex
    let file: Int

    func table(_ table: OpaquePointer, entry: Int) -> ConfigurationTable {
        var result = ConfigurationTable(location: location(entry))
        for (key, number) in orderedKeys(of: table, entry: entry) {
            guard let node = key.withCString({ tableGetNode(table, $0) }) else { continue }
            result.entries.append(ConfigurationTable.Entry(key: key, node: self.node(node, entry: number ?? entry)))
        }
        return result
    }

    /// The keys in the order of the document, with their entries in the index.
    private func orderedKeys(of table: OpaquePointer, entry: Int) -> [(key: String, number: Int?)] {
        let count = tableSize(table)
        let names = tableGetKeys(table)
        var keys: [(key: String, number: Int?)] = []
        keys.reserveCapacity(count)
        for position in 0..<count {
            let key = String(cString: names[position])
            free(UnsafeMutableRawPointer(mutating: names[position]))
            keys.append((key, index.number(of: key, in: entry)))
        }
        free(UnsafeMutableRawPointer(mutating: names))
        return keys.sorted { ($0.number ?? .max) < ($1.number ?? .max) }
    }

    private func node(_ node: OpaquePointer, entry: Int) -> ConfigurationNode {
        ConfigurationNode(value: value(node, entry: entry), location: location(entry))
    }

    private func value(_ node: OpaquePointer, entry: Int) -> ConfigurationValue {
        let type = nodeType(node)
        if type == CTOMLNodeType.table, let table = nodeAsTable(node) {
            return .table(self.table(table, entry: entry))
        }
        if type == CTOMLNodeType.array, let array = nodeAsArray(node) {
            return .array(elements(array, entry: entry))
        }
        if type == CTOMLNodeType.string, let text = nodeAsString(node) {
            defer { free(UnsafeMutableRawPointer(mutating: text)) }
            return .string(String(cString: text))
        }
        if type == CTOMLNodeType.integer, let number = nodeAsInt(node) {
            defer { free(UnsafeMutableRawPointer(mutating: number)) }
            return .integer(number.pointee)
        }
        if type == CTOMLNodeType.floatingPoint, let number = nodeAsDouble(node) {
            defer { free(UnsafeMutableRawPointer(mutating: number)) }
            return .float(number.pointee)
        }
        if type == CTOMLNodeType.boolean, let flag = nodeAsBool(node) {
            defer { free(UnsafeMutableRawPointer(mutating: flag)) }
            return .boolean(flag.pointee)
        }
        return .other("a date or time")
    }

    private func elements(_ array: OpaquePointer, entry: Int) -> [ConfigurationNode] {
        (0..<arraySize(array)).map { position in
            node(arrayGetNode(array, Int64(position)), entry: index.number(of: String(position), in: entry) ?? entry)
        }
    }

    private func location(_ entry: Int) -> SourceLocation {
        SourceLocation(file: file, line: index.entries[entry].line)
    }
}
