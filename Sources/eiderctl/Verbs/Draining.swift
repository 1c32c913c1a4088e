import ArgumentParser
import Glibc
import NIOHTTP1

struct Drain: Verb {
    static let configuration = CommandConfiguration(
        abstract: "Take the node, a service or an instance out of service without losing a request.",
        discussion: """
            Load balancers are told first, then what is in flight is waited for, then the workers are stopped. It \
            stays out until eiderctl undrain, over restarts of the daemon and of the host. Said again with a shorter \
            deadline or another notice, it joins the drain that goes on.
            Exit codes: 0 drained, 3 drained, but something was killed at the deadline, 4 refused.
            """
    )

    @OptionGroup var global: GlobalOptions

    @Option(help: ArgumentHelp("The whole drain, kill included, such as 60s.", valueName: "time"))
    var deadline: String?
    @Option(help: ArgumentHelp("How long load balancers are told before: auto, or such as 5s.", valueName: "time"))
    var notice: String?
    @Option(help: ArgumentHelp("Why; shown by status.", valueName: "text")) var reason: String?
    @Flag(help: "Return once the daemon has accepted it.") var detach = false
    @Flag(name: .customLong("dry-run"), help: "Only say what would be done.") var dryRun = false
    @Flag(help: "Even if it takes the last ready instance of a service.") var force = false
    @Argument(help: "The node by default.", completion: TargetCompletion.kind) var target: String?

    func run() throws {
        let uri = URIText.uri(
            DrainPath.path(target),
            [
                ("deadline", deadline), ("notice", notice), ("reason", reason),
                ("dry_run", dryRun ? "true" : nil), ("force", force ? "true" : nil), ("wait", dryRun ? nil : "false"),
            ]
        )
        let answer = try ask(uri)
        if dryRun {
            try show(answer) { DrainRenderer(try planned($0)).plan() }
        } else if detach {
            try show(answer) { _ in "\(target ?? "the node"): the drain was accepted\n" }
        } else {
            try DrainWatch(client, target, json: global.json).untilDrained()
        }
    }

    private func planned(_ bytes: [UInt8]) throws -> DrainAnswer {
        try JSONText.decode(DrainedAnswer.self, bytes).drain
    }

    private func ask(_ uri: String) throws -> [UInt8] {
        do {
            return try client.ask(.POST, uri)
        } catch let failure as Failure {
            throw Self.refusal(failure)
        }
    }

    /// A drain that must not begin has an exit code of its own.
    static func refusal(_ failure: Failure) -> Failure {
        var failure = failure
        if failure.name == "refused" { failure.exitCode = .refused }
        return failure
    }
}

struct Undrain: Verb {
    static let configuration = CommandConfiguration(
        abstract: "Put the node, a service or an instance back into service."
    )

    @OptionGroup var global: GlobalOptions
    @Option(help: ArgumentHelp("Why; shown by events.", valueName: "text")) var reason: String?
    @Flag(name: .customLong("no-wait"), help: "Return once the daemon has accepted it.") var noWait = false
    @Argument(help: "The node by default.", completion: TargetCompletion.kind) var target: String?

    func run() throws {
        let uri = URIText.uri(DrainPath.path(target), [("reason", reason), ("wait", noWait ? "false" : nil)])
        let waiting = Waiting(client, "undraining", target.map { [$0] } ?? [], waits: !noWait)
        let answer = try waiting.ask(.DELETE, uri)
        try show(answer) { _ in "\(target ?? "the node"): \(noWait ? "the undrain was accepted" : "undrained")\n" }
    }
}

struct DrainStatus: Verb {
    static let configuration = CommandConfiguration(
        commandName: "drain-status",
        abstract: "Show how far a drain is, and who still routes to us."
    )

    @OptionGroup var global: GlobalOptions
    @Flag(help: "Show it again every second.") var watch = false
    @Argument(help: "The node by default.", completion: TargetCompletion.kind) var target: String?

    func run() throws {
        let terminal = Terminal.current
        if watch { Interruption.endsQuietly() }
        repeat {
            let answer = try client.ask(.GET, DrainPath.path(target))
            if watch, terminal.isTerminal, !global.json { Output.write("\u{1B}[H\u{1B}[2J") }
            try show(answer) {
                let drain = try JSONText.decode(DrainAnswer.self, $0)
                return DrainRenderer(drain, width: terminal.width, style: Style(colours: terminal.colours)).card()
            }
            if watch { _ = poll(nil, 0, 1_000) }
        } while watch
    }
}

enum DrainPath {
    static func path(_ target: String?) -> String {
        target.map { "/v1/services/\(Targets.path($0))/drain" } ?? "/v1/drain"
    }
}

/// Follows a drain to its end, whatever becomes of the daemon meanwhile.
struct DrainWatch {
    /// How often it is looked at, milliseconds.
    private static let period: CInt = 250
    /// How long a daemon that is being replaced is waited for.
    private static let patience: Duration = .seconds(15)

    private let client: DaemonClient
    private let target: String?
    private let json: Bool
    private let terminal = Terminal.current

    init(_ client: DaemonClient, _ target: String?, json: Bool) {
        self.client = client
        self.target = target
        self.json = json
    }

    private var name: String { target ?? "the node" }

    /// - Throws: `Failure` when the deadline was reached, the drain was taken back, or the daemon is gone.
    func untilDrained() throws {
        Interruption.endsWaiting(isDrain: true)
        var shown = Block()
        var phase: String?
        let clock = ContinuousClock()
        var heardAt = clock.now
        while true {
            do {
                let bytes = try client.ask(.GET, DrainPath.path(target))
                heardAt = clock.now
                let drain = try JSONText.decode(DrainAnswer.self, bytes)
                if drain.state != "draining" {
                    shown.clear()
                    return try finish(drain, bytes)
                }
                if terminal.showsProgress {
                    shown.draw(DrainRenderer(drain, width: min(80, terminal.width)).progress())
                } else if !json, drain.phase != phase {
                    Output.line(DrainRenderer(drain).line())
                }
                phase = drain.phase
            } catch var failure as Failure where failure.exitCode == .unreachable {
                // It is being replaced, or was killed: the next one goes on with the drain.
                if clock.now - heardAt >= Self.patience {
                    shown.clear()
                    failure.message += "\nthe drain of \(name) goes on once a daemon is there again"
                    throw failure
                }
            }
            _ = poll(nil, 0, Self.period)
        }
    }

    private func finish(_ drain: DrainAnswer, _ bytes: [UInt8]) throws {
        if drain.state == "none" {
            throw Failure(.failed, "undrained", "cannot drain \(name): the drain was taken back by eiderctl undrain")
        }
        if json { Output.line(String(decoding: bytes, as: UTF8.self)) }
        if drain.deadlineReached {
            let lost = drain.lost.map { lost in
                let count = lost.inFlight.flatMap { $0 > 0 ? " (\($0) request\($0 == 1 ? "" : "s") in flight)" : nil }
                return "killed: \(lost.name)\(count ?? "")"
            }
            let text =
                "cannot end everything in order: the deadline was reached; \(name) is drained, and this was lost:"
            let next = "give it more time with --deadline, or see why it does not end with eiderctl why TARGET"
            let lines = [text] + lost + [next]
            throw Failure(.deadline, "deadline-reached", lines.joined(separator: "\n"), isPrinted: json)
        }
        if !json { Output.line("\(name): drained") }
    }
}

/// Lines on standard error that are drawn over each other.
struct Block {
    private var lines = 0

    mutating func draw(_ text: [String]) {
        clear()
        Output.error(text.map { $0 + "\n" }.joined())
        lines = text.count
    }

    mutating func clear() {
        if lines > 0 { Output.error("\u{1B}[\(lines)A\u{1B}[J") }
        lines = 0
    }
}
