import ArgumentParser

/// Errors of usage in our form: what cannot be done, why, and what to do next.
enum Usage {
    /// What can be said before the parser is asked: a verb that is missing or that there is not.
    ///
    /// - Parameter arguments: as `ArgumentOrder` leaves them.
    static func problem(with arguments: [String]) -> Failure? {
        guard let first = ArgumentOrder.split(arguments).rest.first else {
            // A global option that lacks its value is the parser's to explain.
            if arguments.last == "--socket" { return nil }
            return failure("cannot do anything without a verb; see eiderctl --help")
        }
        if let problem = unknown(first, among: names(of: Root.self), "no such verb") { return problem }
        guard first == "breaker", arguments.count > 1, arguments[0] == first else { return nil }
        return unknown(arguments[1], among: names(of: Breaker.self), "no such verb of breaker")
    }

    /// The parser's message as our errors are.
    ///
    /// Its errors are not public, so they are told by their text; one that is not known stands as it is, behind what
    /// cannot be done.
    static func failure(parsing message: String, _ arguments: [String]) -> Failure {
        let verb = arguments.first.flatMap { names(of: Root.self).contains($0) ? $0 : nil }
        let hint = verb.map { "see eiderctl help \($0)" } ?? "see eiderctl --help"
        if message.hasPrefix("cannot ") { return failure("\(message)\n\(hint)") }
        let quoted = quotations(in: message)
        let text = quoted.first.flatMap { translation(of: message, $0, quoted.dropFirst().first, verb) }
        return failure("\(text ?? fallback(message))\n\(hint)")
    }

    private static func translation(of message: String, _ first: String, _ second: String?, _ verb: String?) -> String?
    {
        let start = message.split(separator: "'", maxSplits: 1).first ?? ""
        switch start {
        case "Unknown option ":
            return "cannot use \(first): there is no such option" + (second.map { "; did you mean \($0)?" } ?? "")
        case "Missing value for ":
            return "cannot use \(name(first)) without a value: it is \(first)"
        case "Missing expected argument ", "Missing one of: ":
            return "cannot carry out \(verb ?? "this"): \(first) is missing"
        case "The value " where second != nil:
            // All values that are not taken as text are numbers.
            return "cannot use \"\(first)\" for \(second ?? ""): it is not a whole number"
        case "The option " where second != nil:
            return "cannot use \(first)=\(second ?? ""): \(first) takes no value"
        case "Can":
            return message.contains("completion script")
                ? "cannot make completions for this shell; use bash, zsh or fish" : nil
        default:
            guard start.hasSuffix("nexpected argument ") || start.hasSuffix("unexpected arguments: ") else {
                return nil
            }
            return "cannot use \"\(first)\": \(verb ?? "eiderctl") takes no more arguments"
        }
    }

    private static func fallback(_ message: String) -> String {
        message.isEmpty ? "cannot understand the arguments" : "cannot understand the arguments: \(message)"
    }

    private static func failure(_ text: String) -> Failure { Failure(.usage, "usage", text) }

    /// What stands between single quotes.
    private static func quotations(in message: String) -> [String] {
        let parts = message.split(separator: "'", omittingEmptySubsequences: false)
        return parts.indices.filter { $0 % 2 == 1 && $0 < parts.count - 1 }.map { String(parts[$0]) }
    }

    /// `-n` of `-n <lines>`.
    private static func name(_ option: String) -> String {
        option.split(separator: " ").first.map(String.init) ?? option
    }

    // MARK: Verbs

    private static func unknown(_ word: String, among verbs: [String], _ why: String) -> Failure? {
        if word.hasPrefix("-") || word == "help" || verbs.contains(word) { return nil }
        let near = Slip.nearest(to: word, among: verbs)
        let next = near.map { "did you mean \($0)?" } ?? "use one of \(verbs.joined(separator: ", "))"
        return failure("cannot use \"\(Columns.printable(word))\": there is \(why); \(next)")
    }

    /// The verbs of a command, in the order of its help.
    static func names(of command: any ParsableCommand.Type) -> [String] {
        let configuration = command.configuration
        let verbs = configuration.groupedSubcommands.flatMap(\.subcommands) + configuration.ungroupedSubcommands
        return verbs.map { $0.configuration.commandName ?? String(describing: $0).lowercased() }
    }
}

/// Finds what somebody probably meant.
enum Slip {
    /// The candidate that is fewest edits away, when that is at most a third of the longer word.
    static func nearest(to word: String, among candidates: [String]) -> String? {
        let near = candidates.map { (name: $0, distance: distance(Array(word.prefix(64)), Array($0))) }
            .min { $0.distance < $1.distance }
        guard let near, near.distance <= max(1, max(word.count, near.name.count) / 3) else { return nil }
        return near.name
    }

    /// Insertions, deletions and replacements that turn one into the other (Levenshtein 1966), by dynamic programming
    /// over one row (Wagner and Fischer 1974).
    private static func distance(_ left: [Character], _ right: [Character]) -> Int {
        var row = Array(0...right.count)
        for (line, letter) in left.enumerated() {
            var diagonal = row[0]
            row[0] = line + 1
            for (column, other) in right.enumerated() {
                let replaced = diagonal + (letter == other ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(replaced, row[column] + 1, diagonal + 1)
            }
        }
        return row[right.count]
    }
}
