/// Public types and functions say what they mean.
///
/// Left out, because another comment covers them: initializers, properties, operators, types nested in a documented
/// one, what a protocol requires, and the overloads of a function of the same file that has a comment.
enum DocumentationRules {
    private static let types: Set<Substring> = ["struct", "enum", "class", "actor", "protocol", "typealias"]
    private static let modifiers: Set<Substring> = [
        "public", "static", "final", "mutating", "nonmutating", "override", "nonisolated", "indirect", "borrowing",
        "consuming", "prefix", "postfix", "infix", "open",
    ]
    /// Of the standard library's and NIO's protocols.
    private static let wellKnown: Set<String> = ["hash", "next", "makeIterator", "encode", "makeAsyncIterator"]

    private struct Declaration {
        var name: String
        var isType: Bool
    }

    /// - Parameter prescribed: names that the project's own protocols require, which are documented there.
    static func check(_ source: SourceText, prescribed: Set<String>) -> [Violation] {
        guard source.path.hasPrefix("Sources/") else { return [] }
        var documented = wellKnown.union(prescribed)
        return source.code.indices.compactMap { index in
            guard let declared = declaration(source.code[index]) else { return nil }
            if hasComment(source, above: index) {
                if !declared.isType { documented.insert(declared.name) }
                return nil
            }
            let isNested = source.code[index].hasPrefix(" ")
            if declared.isType ? isNested : documented.contains(declared.name) { return nil }
            return Violation(
                path: source.path,
                line: index + 1,
                text: "\(declared.name) has no documentation comment"
            )
        }
    }

    /// Names of the functions that protocols of these files require.
    static func requirements(_ sources: [SourceText]) -> Set<String> {
        var names: Set<String> = []
        for source in sources {
            var inProtocol = false
            for line in source.code {
                if line.hasPrefix("}") { inProtocol = false }
                if !line.hasPrefix(" "), line.split(separator: " ").contains("protocol") { inProtocol = true }
                let words = line.split(whereSeparator: { " (<".contains($0) })
                guard inProtocol, let place = words.firstIndex(of: "func"), place + 1 < words.count else { continue }
                names.insert(String(words[place + 1]))
            }
        }
        return names
    }

    /// A public type or function that a line declares and that may need a comment.
    private static func declaration(_ line: String) -> Declaration? {
        let words = line.split(whereSeparator: { " (:{".contains($0) }).filter { !$0.hasPrefix("@") }
        guard words.contains("public") || words.contains("open") else { return nil }
        let rest = words.drop { modifiers.contains($0) }
        guard let keyword = rest.first, let word = rest.dropFirst().first else { return nil }
        let name = String(word.prefix { $0 != "<" })
        if types.contains(keyword) { return Declaration(name: name, isType: true) }
        guard keyword == "func", name.first?.isLetter == true else { return nil }
        return Declaration(name: name, isType: false)
    }

    private static func hasComment(_ source: SourceText, above index: Int) -> Bool {
        var line = index - 1
        while line >= 0 {
            let text = source.lines[line].drop { $0 == " " }
            if text.hasPrefix("///") { return true }
            if !text.hasPrefix("@") { return false }
            line -= 1
        }
        return false
    }
}
