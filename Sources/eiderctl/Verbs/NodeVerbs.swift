import ArgumentParser
import NIOHTTP1

struct Upgrade: Verb {
    static let configuration = CommandConfiguration(
        abstract: "Replace the running daemon by the program on disk; workers are not touched."
    )

    @OptionGroup var global: GlobalOptions

    func run() throws {
        try show(client.ask(.POST, "/v1/upgrade", patient: true)) { _ in "eiderd: upgraded\n" }
    }
}

struct Breaker: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look at and steer circuit breakers.",
        subcommands: [
            List.self, Show.self, ForceOpen.self, ForceClosed.self, Auto.self, Reset.self,
        ]
    )

    func run() throws {
        throw ValidationError(
            "cannot do anything with breakers without a verb; "
                + "use list, show, force-open, force-closed, auto or reset"
        )
    }

    struct List: Verb {
        static let configuration = CommandConfiguration(abstract: "Show all breakers.")

        @OptionGroup var global: GlobalOptions

        func run() throws {
            let terminal = Terminal.current
            try show(client.ask(.GET, "/v1/breakers")) { answer in
                try Breaker.render(JSONText.decode(BreakersAnswer.self, answer), terminal.width, terminal.colours)
            }
        }
    }

    struct Show: Verb {
        static let configuration = CommandConfiguration(abstract: "Show one breaker.")

        @OptionGroup var global: GlobalOptions
        @Argument var name: String

        func run() throws {
            let terminal = Terminal.current
            var answer = try JSONText.decode(BreakersAnswer.self, client.ask(.GET, "/v1/breakers"))
            // A service's breaker may be named without its release.
            answer.breakers.removeAll { $0.name != name && !$0.name.hasPrefix("\(name)@") }
            guard let breaker = answer.breakers.first else {
                throw Failure(
                    .failed,
                    "not-found",
                    "cannot find a breaker named \"\(name)\"; eiderctl breaker list shows them"
                )
            }
            if global.json {
                let facts = [("name", breaker.name), ("kind", breaker.kind), ("state", breaker.state)]
                let members = facts + [("since", breaker.since)] + (breaker.reason.map { [("reason", $0)] } ?? [])
                let text = members.map { "\"\($0)\":\(JSONText.quoted($1))" }.joined(separator: ",")
                Output.line("{\(text)}")
            } else {
                Output.write(Breaker.render(answer, terminal.width, terminal.colours))
            }
        }
    }

    static func render(_ answer: BreakersAnswer, _ width: Int, _ colours: Bool) -> String {
        if answer.breakers.isEmpty { return "no breakers (store \(answer.store))\n" }
        var table = Table(
            [.init("BREAKER", limit: 48), .init("KIND"), .init("STATE"), .init("SINCE")],
            stateColumn: 2
        )
        for breaker in answer.breakers {
            table.add([breaker.name, breaker.kind, breaker.state, TimeText.whole(breaker.since)])
        }
        return "store \(answer.store)\n\n" + table.render(width: width, Style(colours: colours))
    }

    /// Asks the daemon to change one breaker.
    struct Change: ParsableArguments {
        @Option(help: "Why; shown by breaker show.") var reason: String?
        @Argument var name: String

        func ask(_ what: String, _ verb: some Verb) throws {
            let uri = URIText.uri("/v1/breakers/\(URIText.encode(name))/\(what)", [("reason", reason)])
            try verb.show(verb.client.ask(.POST, uri)) { _ in "\(name): \(what)\n" }
        }
    }

    struct ForceOpen: Verb {
        static let configuration = CommandConfiguration(commandName: "force-open", abstract: "Refuse all calls.")
        @OptionGroup var global: GlobalOptions
        @OptionGroup var change: Change
        func run() throws { try change.ask("force-open", self) }
    }

    struct ForceClosed: Verb {
        static let configuration = CommandConfiguration(commandName: "force-closed", abstract: "Let all calls through.")
        @OptionGroup var global: GlobalOptions
        @OptionGroup var change: Change
        func run() throws { try change.ask("force-closed", self) }
    }

    struct Auto: Verb {
        static let configuration = CommandConfiguration(abstract: "Let the breaker decide again.")
        @OptionGroup var global: GlobalOptions
        @OptionGroup var change: Change
        func run() throws { try change.ask("auto", self) }
    }

    struct Reset: Verb {
        static let configuration = CommandConfiguration(abstract: "Close the breaker and forget its past.")
        @OptionGroup var global: GlobalOptions
        @OptionGroup var change: Change
        func run() throws { try change.ask("reset", self) }
    }
}
