import ArgumentParser
import Glibc
import NIOHTTP1

struct Status: Verb {
    static let configuration = CommandConfiguration(abstract: "Show the node, a service or an instance.")

    @OptionGroup var global: GlobalOptions

    @Flag(help: "Show it again every second.")
    var watch = false

    @Argument(help: "What to show; the node by default.", completion: TargetCompletion.kind)
    var target: String?

    func run() throws {
        let uri = URIText.uri("/v1/status", [("target", target)])
        let terminal = Terminal.current
        if !watch {
            try show(client.ask(.GET, uri)) { try render($0, terminal) }
            return
        }
        Interruption.endsQuietly()
        while true {
            try once(uri, terminal)
            _ = poll(nil, 0, 1_000)
        }
    }

    private func once(_ uri: String, _ terminal: Terminal) throws {
        let text: String
        do {
            let answer = try client.ask(.GET, uri)
            text = global.json ? String(decoding: answer, as: UTF8.self) : try render(answer, terminal)
        } catch let failure as Failure where failure.exitCode == .unreachable && terminal.isTerminal {
            // A daemon that is being replaced is back in a moment.
            text = failure.lines
        }
        if terminal.isTerminal, !global.json {
            Output.write("\u{1B}[H\u{1B}[2J" + text)
        } else {
            Output.write(global.json ? text : text + "\n")
        }
    }

    private func render(_ answer: [UInt8], _ terminal: Terminal) throws -> String {
        let status = try JSONText.decode(StatusAnswer.self, answer)
        let renderer = StatusRenderer(
            status: status,
            width: terminal.width,
            style: Style(colours: terminal.colours)
        )
        guard target != nil, let service = status.services.first else { return renderer.node() }
        if target?.contains("/") == true, let instance = service.instances.first { return renderer.card(instance) }
        return renderer.card(service)
    }
}

struct Why: Verb {
    static let configuration = CommandConfiguration(
        abstract: "Say why it is so: last exit, policy, next attempt, what would unblock it."
    )

    @OptionGroup var global: GlobalOptions

    @Argument(help: "What to explain; the node by default.", completion: TargetCompletion.kind)
    var target: String?

    func run() throws {
        let terminal = Terminal.current
        try show(client.ask(.GET, URIText.uri("/v1/why", [("target", target)]))) { answer in
            let why = try JSONText.decode(WhyAnswer.self, answer)
            return WhyRenderer(why: why, width: terminal.width, style: Style(colours: terminal.colours)).render()
        }
    }
}

struct Logs: Verb {
    static let configuration = CommandConfiguration(abstract: "Show what workers printed.")

    @OptionGroup var global: GlobalOptions

    @Flag(name: [.short, .long], help: "Go on with what comes.")
    var follow = false

    @Option(name: [.customShort("n"), .long], help: "Lines of the past.")
    var lines: Int?

    @Argument(help: "Whose; everybody's by default.", completion: TargetCompletion.kind)
    var target: String?

    func run() throws {
        let renderer = LineRenderer(
            onTerminal: Terminal.current.isTerminal,
            style: Style(colours: Terminal.current.colours)
        )
        try streamLines(
            "/v1/logs",
            target,
            lines: lines,
            follow: follow,
            json: global.json,
            client
        ) { renderer.log($0) }
    }
}

struct Events: Verb {
    static let configuration = CommandConfiguration(abstract: "Show what happened.")

    @OptionGroup var global: GlobalOptions

    @Flag(name: [.short, .long], help: "Go on with what comes; the state first.")
    var follow = false

    @Option(name: [.customShort("n"), .long], help: "Events of the past.")
    var lines: Int?

    @Argument(help: "To whom; everything by default.", completion: TargetCompletion.kind)
    var target: String?

    func run() throws {
        let renderer = LineRenderer(
            onTerminal: Terminal.current.isTerminal,
            style: Style(colours: Terminal.current.colours)
        )
        try streamLines(
            "/v1/events",
            target,
            lines: lines,
            follow: follow,
            json: global.json,
            client
        ) { renderer.event($0) }
    }
}

/// Prints the lines of a stream until it ends.
private func streamLines(
    _ path: String,
    _ target: String?,
    lines: Int?,
    follow: Bool,
    json: Bool,
    _ client: DaemonClient,
    _ render: @escaping @Sendable (String) -> String?
) throws {
    if let lines, lines < 0 { throw Failure(.usage, "usage", "cannot show \(lines) lines; use a number from 0") }
    let uri = URIText.uri(
        path,
        [("target", target), ("lines", lines.map(String.init)), ("follow", follow ? "true" : nil)]
    )
    if follow { Interruption.endsQuietly() }
    try client.stream(uri) { line in
        if json {
            Output.line(line)
        } else if let loss = LineRenderer.loss(line) {
            // Not among what the workers said.
            Output.error("eiderctl: \(loss)\n")
        } else if let text = render(line) {
            Output.write(text)
        }
    }
    if follow {
        throw Failure(
            .unreachable,
            "unreachable",
            "cannot follow any longer: the daemon ended the stream; it was stopped or replaced"
        )
    }
}

struct Version: Verb {
    static let configuration = CommandConfiguration(abstract: "Show the versions of this program and of the daemon.")

    @OptionGroup var global: GlobalOptions

    func run() throws {
        if !global.json { Output.line("eiderctl \(eiderctlVersion)") }
        let answer = try JSONText.decode(VersionAnswer.self, client.ask(.GET, "/v1/version"))
        if global.json {
            Output.line(
                "{\"eiderctl\":\(JSONText.quoted(eiderctlVersion)),\"eiderd\":\(JSONText.quoted(answer.version))}"
            )
        } else {
            Output.line("eiderd \(Columns.printable(answer.version))")
        }
    }
}
