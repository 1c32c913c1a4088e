import ArgumentParser
import NIOHTTP1

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
                let breakers = try JSONText.decode(BreakersAnswer.self, answer)
                return BreakerRenderer(width: terminal.width, style: Style(colours: terminal.colours)).list(breakers)
            }
        }
    }

    struct Show: Verb {
        static let configuration = CommandConfiguration(abstract: "Show one breaker.")

        @OptionGroup var global: GlobalOptions
        @Argument var name: String

        func run() throws {
            let terminal = Terminal.current
            try show(client.ask(.GET, "/v1/breakers/\(URIText.encode(name))")) { answer in
                let breaker = try JSONText.decode(BreakersAnswer.Breaker.self, answer)
                return BreakerRenderer(width: terminal.width, style: Style(colours: terminal.colours)).card(breaker)
            }
        }
    }

    /// Asks the daemon to change one breaker.
    struct Change: ParsableArguments {
        @Option(help: "Why; shown by breaker show.") var reason: String?
        @Argument var name: String

        func ask(_ what: String, _ verb: some Verb) throws {
            // Whoever sits at a terminal can say why; a script says it by --reason, or not.
            let reason = reason ?? (verb.global.json ? nil : Terminal.question("why? (others are shown it) "))
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
