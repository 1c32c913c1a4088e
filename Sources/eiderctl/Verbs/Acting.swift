import ArgumentParser
import NIOHTTP1

/// Arguments of the verbs that act on targets and wait for the result.
struct ActionArguments: ParsableArguments {
    @Option(help: ArgumentHelp("Why; shown by status and why.", valueName: "text"))
    var reason: String?

    @Flag(name: .customLong("no-wait"), help: "Return once the daemon has accepted it.")
    var noWait = false

    @Argument(help: "Services or instances.", completion: TargetCompletion.kind)
    var targets: [String]
}

struct Start: Verb {
    static let configuration = CommandConfiguration(abstract: "Start services or instances.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var action: ActionArguments

    func run() throws {
        try Action(verb: "start", doing: "starting", done: "started", action).run(global)
    }
}

struct Stop: Verb {
    static let configuration = CommandConfiguration(
        abstract: "Stop services or instances; they stay stopped until they are started."
    )

    @OptionGroup var global: GlobalOptions
    @OptionGroup var action: ActionArguments

    func run() throws {
        try Action(verb: "stop", doing: "stopping", done: "stopped", action).run(global)
    }
}

struct Restart: Verb {
    static let configuration = CommandConfiguration(abstract: "Restart services or instances.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var action: ActionArguments

    @Flag(help: "One instance after the other, none before the one before it is ready.")
    var rolling = false

    func run() throws {
        var action = Action(verb: "restart", doing: "restarting", done: "restarted", action)
        if rolling { action.query.append(("rolling", "true")) }
        try action.run(global)
    }
}

struct Signal: Verb {
    static let configuration = CommandConfiguration(abstract: "Send a signal to the main process.")

    @OptionGroup var global: GlobalOptions

    @Argument(help: "A service or an instance.", completion: TargetCompletion.kind)
    var target: String

    @Argument(help: "SIGHUP, HUP or 1.", completion: .list(["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGKILL"]))
    var signal: String

    func run() throws {
        let path = "/v1/services/\(Targets.path(target))/signal"
        try show(client.ask(.POST, URIText.uri(path, [("signal", signal)]))) { _ in
            "\(target): \(signal.uppercased()) was sent\n"
        }
    }
}

struct Scale: Verb {
    static let configuration = CommandConfiguration(
        abstract: "Change how many instances a service has, until the configuration says another number."
    )

    @OptionGroup var global: GlobalOptions
    @Option(help: ArgumentHelp("Why; shown by events.", valueName: "text")) var reason: String?
    @Flag(name: .customLong("no-wait"), help: "Return once the daemon has accepted it.") var noWait = false
    @Argument(completion: TargetCompletion.kind) var service: String
    @Argument(help: "How many.") var replicas: Int

    func run() throws {
        let uri = URIText.uri(
            "/v1/services/\(Targets.path(service))/scale",
            [("replicas", "\(replicas)"), ("reason", reason), ("wait", noWait ? "false" : nil)]
        )
        let answer = try Waiting(client, "scaling \(service)", [service], waits: !noWait).ask(.POST, uri)
        try show(answer) { _ in
            "\(service): scal\(noWait ? "ing" : "ed") to \(replicas)\(noWait ? " was accepted" : "")\n"
        }
    }
}

enum Targets {
    /// `auth/0` as a path: the parts encoded, the slash between them kept.
    static func path(_ target: String) -> String {
        target.split(separator: "/", omittingEmptySubsequences: false).map { URIText.encode(String($0)) }
            .joined(separator: "/")
    }
}

/// One of start, stop and restart: asks, shows progress, prints a line for each target.
struct Action {
    let verb: String
    let doing: String
    let done: String
    let targets: [String]
    let wait: Bool
    var query: [(name: String, value: String?)]

    init(verb: String, doing: String, done: String, _ arguments: ActionArguments) {
        self.verb = verb
        self.doing = doing
        self.done = done
        targets = arguments.targets
        wait = !arguments.noWait
        query = arguments.targets.map { ("target", $0) }
        query.append(("reason", arguments.reason))
        if arguments.noWait { query.append(("wait", "false")) }
    }

    func run(_ global: GlobalOptions) throws {
        let title = "\(doing) \(targets.joined(separator: ", "))"
        let waiting = Waiting(global.client, title, targets, waits: wait)
        let answer = try waiting.ask(.POST, URIText.uri("/v1/\(verb)", query))
        if global.json {
            Output.line(String(decoding: answer, as: UTF8.self))
        } else {
            for target in targets { Output.line("\(target): " + (wait ? done : "\(doing) was accepted")) }
        }
    }
}

/// Asks for something that takes its time, with progress on terminals.
struct Waiting {
    private let client: DaemonClient
    private let progress: Progress?
    private let waits: Bool

    /// - Parameter targets: whose state the progress shows.
    init(_ client: DaemonClient, _ title: String, _ targets: [String], waits: Bool) {
        self.client = client
        self.waits = waits
        progress = waits && Terminal.current.showsProgress ? Progress(client, title, targets) : nil
    }

    func ask(_ method: HTTPMethod, _ uri: String) throws -> [UInt8] {
        if waits { Interruption.endsWaiting() }
        progress?.start()
        defer { progress?.stop() }
        return try client.ask(method, uri, patient: waits)
    }
}
