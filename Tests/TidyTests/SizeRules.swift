/// Sizes that keep a file readable: functions, files and lines.
enum SizeRules {
    static let functionLines = 70
    static let fileLines = 500
    static let testFileLines = 800
    static let columns = 120

    static func longFile(_ source: SourceText) -> [Violation] {
        let limit = source.path.hasPrefix("Tests/") ? testFileLines : fileLines
        if source.lines.count <= limit { return [] }
        return [Violation(path: source.path, line: 0, text: "\(source.lines.count) lines, more than \(limit)")]
    }

    static func longLines(_ source: SourceText) -> [Violation] {
        source.lines.enumerated().filter { $0.element.count > columns }.map { index, line in
            Violation(path: source.path, line: index + 1, text: "\(line.count) columns, more than \(columns)")
        }
    }

    static func longFunctions(_ source: SourceText) -> [Violation] {
        Functions.find(source).filter { $0.lines.count > functionLines }.map { function in
            Violation(
                path: source.path,
                line: function.lines.lowerBound,
                text: "\(function.name) has \(function.lines.count) lines, more than \(functionLines)"
            )
        }
    }
}

/// Finds functions, initializers and computed properties by their braces.
enum Functions {
    struct Function: Equatable {
        var name: String
        /// From the line that declares it to the line of its closing brace, counted from 1.
        var lines: ClosedRange<Int>
    }

    static func find(_ source: SourceText) -> [Function] {
        source.code.indices.compactMap { index in
            guard let start = declaration(source.code[index]) else { return nil }
            guard let end = endOfBody(source.code, line: index, column: start.column) else { return nil }
            return Function(name: start.name, lines: index + 1...end + 1)
        }
    }

    /// The function that a line declares, and where its name begins.
    private static func declaration(_ line: String) -> (name: String, column: Int)? {
        let words = line.split(whereSeparator: { !$0.isLetter && !$0.isNumber && $0 != "_" && $0 != "." && $0 != "@" })
        guard let place = words.firstIndex(where: { ["func", "init", "deinit", "subscript", "var"].contains($0) })
        else {
            return nil
        }
        // Only modifiers and attributes may stand before it; anything else makes it a use.
        let modifiers: Set<Substring> = [
            "public", "private", "fileprivate", "internal", "package", "static", "class", "final", "mutating", "set",
            "nonmutating", "override", "convenience", "required", "nonisolated", "unsafe", "lazy", "borrowing",
            "consuming", "unowned", "weak", "indirect", "isolated", "prefix", "postfix", "infix",
        ]
        let before = words[..<place]
        guard before.allSatisfy({ modifiers.contains($0) || $0.hasPrefix("@") }) else { return nil }
        let keyword = words[place]
        let name = place + 1 < words.endIndex && keyword != "init" ? words[place + 1] : keyword
        return (String(name), line.distance(from: line.startIndex, to: keyword.endIndex))
    }

    /// The line of the brace that closes the body; nil where there is no body.
    private static func endOfBody(_ code: [String], line: Int, column: Int) -> Int? {
        var parentheses = 0
        var braces = 0
        for index in line..<code.count {
            let text = index == line ? Substring(code[index].dropFirst(column)) : code[index][...]
            if index > line, braces == 0, parentheses == 0, declaration(code[index]) != nil { return nil }
            for character in text {
                switch character {
                case "(", "[": parentheses += 1
                case ")", "]": parentheses -= 1
                case "{" where parentheses == 0 || braces > 0: braces += 1
                case "}" where parentheses == 0 || braces > 0:
                    braces -= 1
                    if braces == 0 { return index }
                    if braces < 0 { return nil }
                default: break
                }
            }
        }
        return nil
    }
}
