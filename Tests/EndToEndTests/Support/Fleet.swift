import FoundationEssentials
import Glibc
import LinuxPlatform
import SupervisorCore

/// A fleet under test: a configuration in a directory of its own, and the daemon that runs it.
final class Fleet {
    let directory: TemporaryDirectory
    private(set) var daemon: Int32 = 0
    let worker = Command.programs + "/eider-worker"

    var path: String { directory.path }
    var configuration: String { path + "/eider.toml" }
    var socket: String { path + "/control.sock" }
    var log: String { File.text(path + "/daemon.log") }

    /// - Parameter services: the part of the configuration that is about services; `WORKER` stands for the worker's
    ///   program and `DIR` for the fleet's directory.
    init(_ services: String, limits: String = "concurrent_starts = 64") throws {
        directory = try TemporaryDirectory()
        try write(services, limits: limits)
    }

    func write(_ services: String, limits: String = "concurrent_starts = 64") throws {
        let text = """
            [node]
            name = "test-host"
            state_directory = "\(path)/state"
            runtime_directory = "\(path)/run"
            [health]
            listen = ["127.0.0.1:0"]
            [control]
            socket = "\(socket)"
            [limits]
            \(limits)

            """
        let filled = services.replacing("WORKER", with: worker).replacing("DIR", with: path)
        try File.write(text + filled, to: configuration)
    }

    deinit {
        // Whatever a failed test left: ours, by the fleet's own word and by its directory's name in the command line.
        if daemon > 0 {
            kill(daemon, SIGQUIT)
            _ = Command.wait(daemon, .seconds(20))
        }
        for pid in shims { kill(pid, SIGTERM) }
    }

    /// Starts the daemon, and waits until it answers.
    func start(_ patience: Duration = .seconds(30)) throws {
        daemon = try Command.start(
            [Command.programs + "/eiderd", "--config", configuration], output: path + "/daemon.out",
            errors: path + "/daemon.log")
        guard Deadline(patience).wait({ (try? status()) != nil }) else {
            throw TestFailure("the daemon does not answer:\n\(log)")
        }
    }

    /// Waits until the first start is finished and every instance is ready.
    func waitUntilReady(_ patience: Duration = .seconds(60)) throws {
        let ready = try Deadline(patience).wait(every: 10_000) {
            let status = try? status()
            return status.map { $0.services.allSatisfy { $0.ready == $0.desired } } ?? false
        }
        if !ready { throw TestFailure("the fleet does not become ready:\n\(log.suffix(4000))") }
    }

    /// SIGTERM, and the daemon's exit code.
    func stop(_ patience: Duration = .seconds(30)) -> Int32 {
        kill(daemon, SIGTERM)
        let code = Command.wait(daemon, patience)
        daemon = 0
        return code
    }

    /// kill -9 of the daemon.
    func killDaemon() {
        kill(daemon, SIGKILL)
        _ = Command.wait(daemon, .seconds(5))
        daemon = 0
    }

    func control(_ arguments: String..., patience: Duration = .seconds(60)) throws -> Command {
        try Command.run([Command.programs + "/eiderctl", "--socket", socket] + arguments, patience: patience)
    }

    func status() throws -> Status {
        let answer = try control("--json", "status")
        guard answer.exitCode == 0 else { throw TestFailure(answer.errors) }
        return try JSONDecoder().decode(Status.self, from: Data(answer.output.utf8))
    }

    func instance(_ name: String) throws -> Status.Instance {
        guard let found = try status().services.flatMap(\.instances).first(where: { $0.name == name }) else {
            throw TestFailure("there is no \(name)")
        }
        return found
    }

    /// The pids of every worker, by instance.
    func pids() throws -> [String: Int32] {
        var pids: [String: Int32] = [:]
        for instance in try status().services.flatMap(\.instances) { pids[instance.name] = instance.pid }
        return pids
    }

    /// The shims of this fleet.
    var shims: [Int32] { processes { $0.contains("eider-shim") && $0.contains(path) } }

    /// Processes, but for the daemon and the shim, that carry this fleet's mark.
    var marked: [Int32] {
        let own = Set(shims + [daemon, getpid()])
        return ((try? ProcessTable.pids()) ?? []).filter { pid in
            !own.contains(pid) && ProcessTable.environment(pid).contains("EIDER_TEST_FLEET=\(path)")
        }
    }

    private func processes(_ matches: (String) -> Bool) -> [Int32] {
        ((try? ProcessTable.pids()) ?? []).filter { pid in
            (try? SmallFile.read("/proc/\(pid)/cmdline")).map {
                matches(String(decoding: $0.map { $0 == 0 ? 32 : $0 }, as: UTF8.self))
            } ?? false
        }
    }
}

/// `status --json`, as INTERFACE.md has it.
struct Status: Decodable {
    struct Node: Decodable {
        var name: String
        var state: String
        var intent: String
        var since: String
        var reason: String?
    }

    struct LastExit: Decodable {
        var code: Int32?
        var signal: String?
        var cause: String
        var at: String
    }

    struct Instance: Decodable {
        var name: String
        var state: String
        var reason: String?
        var pid: Int32?
        var ready: Bool
        var restarts: UInt64
        var uptime_seconds: Double?
        var next_start_in_seconds: Double?
        var in_flight: UInt64?
        var last_exit: LastExit?
    }

    struct Service: Decodable {
        var name: String
        var state: String
        var reason: String?
        var ready: Int
        var desired: Int
        var breaker: String
        var instances: [Instance]
    }

    var node: Node
    var services: [Service]
}
