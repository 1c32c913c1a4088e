/// A Swift file, taken apart into what is code, what is comment and what is text in quotes, line by line.
///
/// It knows comments (nested ones too) and string literals with interpolation, several lines and `#`; not regex
/// literals, which this project does not use.
struct SourceText {
    let path: String
    /// As they stand in the file.
    let lines: [String]
    /// With comments and the contents of strings replaced by blanks.
    let code: [String]
    /// With everything but comments replaced by blanks.
    let comments: [String]

    init(path: String, _ text: String) {
        self.path = path
        var lexer = Lexer(Array(text))
        lexer.run()
        lines = Self.split(Array(text))
        code = Self.split(lexer.code)
        comments = Self.split(lexer.comments)
    }

    private static func split(_ characters: [Character]) -> [String] {
        var lines = characters.split(separator: "\n", omittingEmptySubsequences: false).map { String($0) }
        if lines.last == "" { lines.removeLast() }
        return lines
    }

    /// The name at the end of the path.
    var name: String { path.split(separator: "/").last.map { String($0) } ?? path }
}

/// Walks over Swift once, sorting each character.
private struct Lexer {
    private let text: [Character]
    private var position = 0
    var code: [Character] = []
    var comments: [Character] = []

    init(_ text: [Character]) {
        self.text = text
        code.reserveCapacity(text.count)
        comments.reserveCapacity(text.count)
    }

    private enum Kind { case code, comment, literal }

    mutating func run() {
        while position < text.count { takeCode(untilParenthesis: false) }
    }

    private func starts(_ word: String) -> Bool {
        text[position...].starts(with: word)
    }

    private mutating func take(_ count: Int, as kind: Kind) {
        for _ in 0..<count where position < text.count {
            let character = text[position]
            let blank: Character = character == "\n" ? "\n" : " "
            code.append(kind == .code ? character : blank)
            comments.append(kind == .comment ? character : blank)
            position += 1
        }
    }

    /// Code up to the end, or up to the parenthesis that closes an interpolation.
    private mutating func takeCode(untilParenthesis: Bool) {
        var depth = 0
        while position < text.count {
            if starts("//") {
                while position < text.count, text[position] != "\n" { take(1, as: .comment) }
            } else if starts("/*") {
                takeBlockComment()
            } else if let hashes = literalStart() {
                takeLiteral(hashes: hashes)
            } else {
                if untilParenthesis, text[position] == "(" { depth += 1 }
                if untilParenthesis, text[position] == ")" {
                    if depth == 0 { return }
                    depth -= 1
                }
                take(1, as: .code)
            }
        }
    }

    private mutating func takeBlockComment() {
        var depth = 0
        repeat {
            if starts("/*") {
                depth += 1
                take(2, as: .comment)
            } else if starts("*/") {
                depth -= 1
                take(2, as: .comment)
            } else {
                take(1, as: .comment)
            }
        } while depth > 0 && position < text.count
    }

    /// How many `#` stand before the quote of a literal that begins here; nil when none begins.
    private func literalStart() -> Int? {
        var end = position
        while end < text.count, text[end] == "#" { end += 1 }
        return end < text.count && text[end] == "\"" ? end - position : nil
    }

    private mutating func takeLiteral(hashes: Int) {
        let fence = String(repeating: "#", count: hashes)
        take(hashes, as: .literal)
        let quotes = starts("\"\"\"") ? "\"\"\"" : "\""
        take(quotes.count, as: .literal)
        while position < text.count {
            if starts(quotes + fence) {
                take(quotes.count + hashes, as: .literal)
                return
            }
            if starts("\\" + fence + "(") {
                take(hashes + 2, as: .literal)
                takeCode(untilParenthesis: true)
                take(1, as: .literal)
            } else if hashes == 0, starts("\\") {
                take(2, as: .literal)
            } else if quotes.count == 1, starts("\n") {
                return
            } else {
                take(1, as: .literal)
            }
        }
    }
}
