import ArgumentParser
import Testing

@testable import eiderctl

struct UsageTests {
    /// What standard error says, without the program's name.
    private func message(_ arguments: [String]) throws -> String {
        let arguments = ArgumentOrder.optionsLast(arguments)
        if let problem = Usage.problem(with: arguments) { return problem.message }
        let error = try #require(throws: (any Error).self) {
            var command = try Root.parseAsRoot(arguments)
            try command.run()
        }
        return Usage.failure(parsing: Root.message(for: error), arguments).message
    }

    static let cases: [(String, String)] = [
        ("", "cannot do anything without a verb; see eiderctl --help"),
        ("--json", "cannot do anything without a verb; see eiderctl --help"),
        ("--socket /x", "cannot do anything without a verb; see eiderctl --help"),
        ("statu", #"cannot use "statu": there is no such verb; did you mean status?"#),
        ("stauts --json", #"cannot use "stauts": there is no such verb; did you mean status?"#),
        ("--json undrian a", #"cannot use "undrian": there is no such verb; did you mean undrain?"#),
        (
            "breaker lst",
            #"cannot use "lst": there is no such verb of breaker; did you mean list?"#
        ),
        (
            "breaker frobnicate",
            #"cannot use "frobnicate": there is no such verb of breaker; "#
                + "use one of list, show, force-open, force-closed, auto, reset"
        ),
        (
            "breaker",
            "cannot do anything with breakers without a verb; use list, show, force-open, force-closed, auto or reset\n"
                + "see eiderctl help breaker"
        ),
        ("status --bogus", "cannot use --bogus: there is no such option\nsee eiderctl help status"),
        (
            "status --wath",
            "cannot use --wath: there is no such option; did you mean --watch?\nsee eiderctl help status"
        ),
        ("stop a -z", "cannot use -z: there is no such option\nsee eiderctl help stop"),
        ("--bogus", "cannot use --bogus: there is no such option\nsee eiderctl --help"),
        ("status a b", "cannot use \"b\": status takes no more arguments\nsee eiderctl help status"),
        ("status a b c", "cannot use \"b\": status takes no more arguments\nsee eiderctl help status"),
        ("stop", "cannot carry out stop: <targets> ... is missing\nsee eiderctl help stop"),
        ("signal a", "cannot carry out signal: <signal> is missing\nsee eiderctl help signal"),
        ("logs -n x", "cannot use \"x\" for -n <lines>: it is not a whole number\nsee eiderctl help logs"),
        ("scale a x", "cannot use \"x\" for <replicas>: it is not a whole number\nsee eiderctl help scale"),
        ("logs -n", "cannot use -n without a value: it is -n <lines>\nsee eiderctl help logs"),
        ("status --socket", "cannot use --socket without a value: it is --socket <path>\nsee eiderctl help status"),
        ("status --json=1", "cannot use --json=1: --json takes no value\nsee eiderctl help status"),
        (
            "--generate-completion-script foo",
            "cannot make completions for this shell; use bash, zsh or fish\nsee eiderctl --help"
        ),
    ]

    @Test(arguments: cases.indices) func saysWhatCannotBeDone(index: Int) throws {
        let (arguments, text) = Self.cases[index]
        let words = arguments.split(separator: " ").map(String.init)
        #expect(try message(words) == text)
        #expect(Program.run(words) == 64)
    }

    @Test func anUnknownVerbIsAnsweredWithAllOfThem() throws {
        #expect(
            try message(["frobnicate"])
                == #"cannot use "frobnicate": there is no such verb; use one of status, why, logs, events, version, "#
                + "start, stop, restart, signal, scale, drain, undrain, drain-status, reload, upgrade, breaker"
        )
    }

    @Test func whatTheParserMaySayOneDayStandsBehindCannot() {
        let failure = { Usage.failure(parsing: $0, ["status"]).message }
        #expect(failure("Odd 'thing") == "cannot understand the arguments: Odd 'thing\nsee eiderctl help status")
        #expect(failure("") == "cannot understand the arguments\nsee eiderctl help status")
        #expect(failure("''''") == "cannot understand the arguments: ''''\nsee eiderctl help status")
    }

    @Test func helpIsNoError() {
        for words in [
            ["--help"], ["help"], ["help", "status"], ["status", "--help"], ["--version"], ["breaker", "-h"],
        ] {
            #expect(Program.run(words) == 0)
        }
    }
}
