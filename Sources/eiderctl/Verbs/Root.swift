import ArgumentParser
import NIOHTTP1

struct Root: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eiderctl",
        abstract: "Look at and steer the workers of this host.",
        discussion: """
            TARGET is SERVICE or SERVICE/INDEX, index from 0; no target means the node.
            --socket PATH and --json go with every verb, before or after it.
            Exit codes: 0 done, 1 failed, 64 usage, 69 daemon unreachable, 77 not permitted,
            78 configuration error.
            """,
        version: "eiderctl \(eiderctlVersion)",
        groupedSubcommands: [
            CommandGroup(
                name: "Look",
                subcommands: [Status.self, Why.self, Logs.self, Events.self, Version.self]
            ),
            CommandGroup(
                name: "Act",
                subcommands: [Start.self, Stop.self, Restart.self, Signal.self, Scale.self]
            ),
            CommandGroup(
                name: "Node",
                subcommands: [Drain.self, Undrain.self, DrainStatus.self, Reload.self, Upgrade.self, Breaker.self]
            ),
        ]
    )

    func run() throws {
        throw ValidationError("cannot do anything without a verb")
    }
}

/// Options of every verb.
struct GlobalOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The daemon's control socket.", valueName: "path"), completion: .file())
    var socket: String?

    @Flag(help: "Answer as JSON.")
    var json = false

    /// By option, by environment, or the usual place.
    var client: DaemonClient {
        DaemonClient(socket: socket ?? environment("EIDER_SOCKET") ?? "/run/eider/control.sock")
    }
}

/// A verb that asks the daemon.
protocol Verb: ParsableCommand {
    var global: GlobalOptions { get }
}

extension Verb {
    var client: DaemonClient { global.client }

    /// Prints the answer: as it came with `--json`, else as `render` puts it.
    func show(_ answer: [UInt8], _ render: ([UInt8]) throws -> String) throws {
        if global.json {
            Output.line(String(decoding: answer, as: UTF8.self))
        } else {
            Output.write(try render(answer))
        }
    }
}

/// Names of services and instances, for completions.
enum TargetCompletion {
    static let kind = CompletionKind.custom { _, _, _ in names() }

    private static func names() -> [String] {
        let client = DaemonClient(socket: environment("EIDER_SOCKET") ?? "/run/eider/control.sock")
        guard let answer = try? client.ask(.GET, "/v1/status"),
            let status = try? JSONText.decode(StatusAnswer.self, answer)
        else { return [] }
        return status.services.flatMap { [$0.name] + $0.instances.map(\.name) }
    }
}
