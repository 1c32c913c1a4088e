import ArgumentParser
import Glibc

/// The version of this program.
let eiderctlVersion = "0.1.0"

@main
enum Program {
    static func main() {
        // A closed pipe is found by writing to it (Output), so that `eiderctl … | head` ends quietly.
        signal(SIGPIPE, SIG_IGN)
        exit(run(Array(CommandLine.arguments.dropFirst())))
    }

    /// - Returns: the exit code.
    static func run(_ arguments: [String]) -> Int32 {
        let arguments = ArgumentOrder.optionsLast(arguments)
        if let problem = Usage.problem(with: arguments) { return report(problem) }
        var command: any ParsableCommand
        do {
            command = try Root.parseAsRoot(arguments)
        } catch {
            return report(parsing: error, arguments)
        }
        do {
            try command.run()
            return 0
        } catch let failure as Failure {
            if (command as? any Verb)?.global.json == true, !failure.isPrinted { Output.line(JSONText.error(failure)) }
            return report(failure)
        } catch {
            return report(parsing: error, arguments)
        }
    }

    private static func report(_ failure: Failure) -> Int32 {
        Output.error(failure.lines)
        return failure.exitCode.rawValue
    }

    /// What the argument parser has to say: help and the like on standard output, errors in our form.
    private static func report(parsing error: any Error, _ arguments: [String]) -> Int32 {
        if Root.exitCode(for: error) == .success {
            let text = Root.fullMessage(for: error)
            if !text.isEmpty { Output.line(text) }
            return 0
        }
        return report(Usage.failure(parsing: Root.message(for: error), arguments))
    }
}

/// Global options may stand before the verb: `eiderctl --json status`. The parser wants them after it.
enum ArgumentOrder {
    static func optionsLast(_ arguments: [String]) -> [String] {
        let (moved, rest) = split(arguments)
        guard !moved.isEmpty, let verb = rest.first, !verb.hasPrefix("-") else { return arguments }
        let end = rest.firstIndex(of: "--") ?? rest.endIndex
        return rest[..<end] + moved + rest[end...]
    }

    /// The global options at the beginning, and what comes after them.
    static func split(_ arguments: [String]) -> (options: [String], rest: ArraySlice<String>) {
        var moved: [String] = []
        var rest = arguments[...]
        scan: while let next = rest.first {
            switch next {
            case "--json":
                moved.append(next)
                rest = rest.dropFirst()
            case "--socket" where rest.count > 1:
                moved += rest.prefix(2)
                rest = rest.dropFirst(2)
            case _ where next.hasPrefix("--socket="):
                moved.append(next)
                rest = rest.dropFirst()
            default: break scan
            }
        }
        return (moved, rest)
    }
}
