/// Words that do not belong into the code.
enum WordRules {
    struct Forbidden: Sendable {
        var word: String
        var instead: String
        /// Whether the word is forbidden in the file with this path.
        var applies: @Sendable (String) -> Bool
    }

    /// Files whose types vouch for their own thread safety. Each says at the type why it holds.
    static let vouchedFiles: Set<String> = []

    /// Targets with a terminal before them.
    static let executables = ["eiderd", "eiderctl", "eider-worker", "eider-shim", "eider-sim", "eider-bench"]

    static let all: [Forbidden] = [
        Forbidden(word: "try!", instead: "handle the error") { _ in true },
        Forbidden(word: "as!", instead: "use as? and handle nil") { _ in true },
        Forbidden(word: "fatalError", instead: "return an error") { _ in true },
        Forbidden(word: "preconditionFailure", instead: "return an error") { _ in true },
        Forbidden(word: "@unchecked Sendable", instead: "use Mutex or Atomic") { !vouchedFiles.contains($0) },
        Forbidden(word: "nonisolated(unsafe)", instead: "use Mutex or Atomic") { !vouchedFiles.contains($0) },
        Forbidden(word: "Date()", instead: "use the monotonic clock, or the wall clock where it is shown") { _ in true
        },
        Forbidden(word: ".random(", instead: "draw from a seeded generator") { $0.hasPrefix("Sources/") },
        Forbidden(word: "print(", instead: "return the text; executables print") { path in
            path.hasPrefix("Sources/") && !executables.contains { path.hasPrefix("Sources/\($0)/") }
        },
        Forbidden(word: "sleep(", instead: "wait for the event, with a deadline") { path in
            // The helpers that wait with a deadline may have to look again after a moment.
            path.hasPrefix("Tests/") && !path.contains("/Support/")
        },
    ]

    static func check(_ source: SourceText) -> [Violation] {
        let words = all.filter { $0.applies(source.path) }
        return source.code.enumerated().flatMap { index, line in
            words.filter { contains(line, $0.word) }.map { rule in
                Violation(path: source.path, line: index + 1, text: "\(rule.word) is not used here: \(rule.instead)")
            }
        }
    }

    /// Whether `word` stands in the line, not as the end of a longer name. Bytes, because there are many lines.
    static func contains(_ line: String, _ word: String) -> Bool {
        let text = Array(line.utf8)
        let wanted = Array(word.utf8)
        guard let first = wanted.first, text.count >= wanted.count else { return false }
        // `usleep(` and `nanosleep(` are no better than `sleep(`.
        let standsAlone = isNamePart(first) && word != "sleep("
        for start in 0...(text.count - wanted.count) where text[start] == first {
            if standsAlone, start > 0, isNamePart(text[start - 1]) { continue }
            if text[start...].starts(with: wanted) { return true }
        }
        return false
    }

    private static func isNamePart(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: false
        }
    }

    /// What is left to do needs somebody to do it: `TODO(name): …`.
    static func ownerless(_ source: SourceText) -> [Violation] {
        source.comments.enumerated().compactMap { index, line in
            for word in ["TODO", "FIXME"] {
                guard let place = line.firstRange(of: word) else { continue }
                let rest = line[place.upperBound...]
                if rest.hasPrefix("("), !rest.hasPrefix("()") { continue }
                return Violation(
                    path: source.path,
                    line: index + 1,
                    text: "\(word) without an owner; write \(word)(name)"
                )
            }
            return nil
        }
    }
}
