import FoundationEssentials
import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

/// A fleet under test: a configuration in a directory of its own, and the daemon that runs it.
final class Fleet {
    let directory: TemporaryDirectory
    /// Our child; 0 when it does not run.
    private(set) var daemon: Int32 = 0
    /// Where eiderd and eider-shim are started from.
    var programs = Command.programs
    /// Words before the daemon's: a program that executes it.
    var prefix: [String] = []
    private var configured: [String: String]

    var path: String { directory.path }
    var configuration: String { path + "/eider.toml" }
    var socket: String { path + "/control.sock" }
    var state: String { path + "/state" }
    var log: String { File.text(path + "/daemon.log") }

    /// - Parameters:
    ///   - services: the part of the configuration that is about services; `WORKER` stands for the worker's program
    ///     and `DIR` for the fleet's directory.
    ///   - tables: other settings: `health`, `control`, `limits`, `drain` with their lines, in place of ours. Without
    ///     `drain` nobody has any notice, so that a stop is quick.
    init(_ services: String, _ tables: [String: String] = [:]) throws {
        directory = try TemporaryDirectory()
        configured = tables
        try write(services)
    }

    /// A fleet with a configuration of its own, made with its directory.
    init(text: (String) throws -> String) throws {
        directory = try TemporaryDirectory()
        configured = [:]
        try File.write(text(directory.path), to: configuration)
    }

    func write(_ services: String) throws {
        let text = """
            [node]
            name = "\(configured["name"] ?? "test-host")"
            state_directory = "\(state)"
            runtime_directory = "\(path)/run"
            [health]
            \(configured["health"] ?? "listen = [\"127.0.0.1:0\"]")
            [control]
            socket = "\(socket)"
            \(configured["control"] ?? "")
            [drain]
            \(configured["drain"] ?? "notice_min = \"0s\"\nnotice_max = \"0s\"")
            [limits]
            \(configured["limits"] ?? "concurrent_starts = 64")
            \(configured["breaker"].map { "[breaker]\n\($0)" } ?? "")
            [defaults]
            working_directory = "\(path)"

            """
        let filled = services.replacing("WORKER", with: Command.programs + "/eider-worker").replacing("DIR", with: path)
        try File.write(text + filled, to: configuration)
    }

    deinit {
        // Whatever a failed test left.
        if daemon > 0 {
            kill(daemon, SIGQUIT)
            _ = Command.wait(daemon, .seconds(20))
        }
        for pid in Processes.shims(path) + Processes.ofFleet(path) { kill(pid, SIGKILL) }
    }

    // MARK: The daemon's life

    /// Starts the daemon and does not wait for anything.
    func launch(as user: ServiceSpec.Credentials? = nil) throws {
        daemon = try Command.start(
            prefix + [programs + "/eiderd", "--config", configuration],
            as: user,
            output: path + "/daemon.out",
            errors: path + "/daemon.log"
        )
    }

    /// Starts the daemon, and waits until it answers.
    func start(_ patience: Duration = .seconds(30)) throws {
        try launch()
        guard Deadline(patience).wait({ (try? status()) != nil }) else {
            throw TestFailure("the daemon does not answer:\n\(log)")
        }
    }

    /// Starts the daemon, and waits until all are ready.
    func startAndWait(_ patience: Duration = .seconds(60)) throws {
        try start()
        try waitUntilReady(patience)
    }

    /// Waits until the first start is finished and every instance is ready.
    func waitUntilReady(_ patience: Duration = .seconds(60)) throws {
        try wait("all ready", within: patience) { status in
            status.node.first_start_finished && status.services.allSatisfy { $0.ready == $0.desired }
        }
    }

    /// Waits until the status is as wanted.
    @discardableResult
    func wait(
        _ what: String,
        within patience: Duration = .seconds(20),
        _ isMet: (Status) -> Bool
    ) throws -> Status {
        var last: Status?
        let found = Deadline(patience).poll(every: 5_000) { () -> Status? in
            last = (try? status()) ?? last
            return last.flatMap { isMet($0) ? $0 : nil }
        }
        if let found { return found }
        let states = last?.instances.filter { !$0.ready }.prefix(20).map { "\($0.name) \($0.state) \($0.reason ?? "")" }
        let refused = ((try? HTTP.get("/metrics", port: healthPort()).body) ?? "").split(separator: "\n")
            .filter { $0.hasPrefix("eider_notify_dropped_total") }
        throw TestFailure("\(what): not reached\n\(states ?? [])\n\(refused)\n\(log.suffix(3000))")
    }

    /// Waits until one instance is as wanted.
    @discardableResult
    func wait(
        for name: String,
        _ what: String,
        within patience: Duration = .seconds(20),
        _ isMet: (Status.Instance) -> Bool
    ) throws -> Status.Instance {
        let status = try wait("\(name) \(what)", within: patience) { $0[name].map(isMet) ?? false }
        guard let instance = status[name] else { throw TestFailure("there is no \(name)") }
        return instance
    }

    /// A signal, SIGTERM by default, and the daemon's exit code.
    func stop(_ signal: Int32 = SIGTERM, _ patience: Duration = .seconds(30)) -> Int32 {
        kill(daemon, signal)
        return ended(patience)
    }

    /// Waits for the daemon's end by itself.
    func ended(_ patience: Duration = .seconds(30)) -> Int32 {
        defer { daemon = 0 }
        return Command.wait(daemon, patience)
    }

    /// Stops it, and sees that nothing is left.
    ///
    /// - Parameter signal: SIGINT for those whose load balancers would be waited for.
    func stopAndCheck(
        _ patience: Duration = .seconds(30),
        signal: Int32 = SIGTERM,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let code = stop(signal, patience)
        if code != 0 { Issue.record("exit code \(code)\n\(log.suffix(3000))", sourceLocation: sourceLocation) }
        checkNothingLeft(sourceLocation: sourceLocation)
    }

    func checkNothingLeft(sourceLocation: SourceLocation = #_sourceLocation) {
        // The shim goes after the daemon.
        let gone = Deadline(.seconds(5)).wait { Processes.shims(path).isEmpty }
        #expect(gone, "a shim is left: \(Processes.shims(path))", sourceLocation: sourceLocation)
        let left = Processes.ofFleet(path).map { "\($0) \(Processes.commandLine($0))" }
        #expect(left.isEmpty, "left behind", sourceLocation: sourceLocation)
    }

    /// kill -9 of the daemon.
    func killDaemon() {
        kill(daemon, SIGKILL)
        _ = Command.wait(daemon, .seconds(5))
        daemon = 0
    }

    // MARK: Asking it

    /// eiderctl, as a program.
    func control(_ arguments: String..., as user: ServiceSpec.Credentials? = nil) throws -> Command {
        try Command.run([Command.programs + "/eiderctl", "--socket", socket] + arguments, as: user)
    }

    /// eiderctl, running beside the test.
    func controlling(_ arguments: String...) throws -> Client { try controlling(arguments) }

    func controlling(_ arguments: [String]) throws -> Client {
        let client = try Client()
        try client.start([Command.programs + "/eiderctl", "--socket", socket] + arguments)
        return client
    }

    /// The control socket, asked without eiderctl, which is quicker.
    func ask(_ uri: String, method: String = "GET") throws -> Answer {
        try HTTP.control(uri, socket: socket, method: method)
    }

    func status() throws -> Status { try Self.status(socket) }

    /// The status that a control socket gives, for other threads.
    static func status(_ socket: String) throws -> Status {
        let answer = try HTTP.control("/v1/status", socket: socket)
        guard answer.status == 200 else { throw TestFailure(answer.body) }
        return try JSONDecoder().decode(Status.self, from: Data(answer.body.utf8))
    }

    /// How far the drain of the node is, or that of a service or an instance.
    func drain(_ target: String? = nil) throws -> DrainReport {
        let answer = try ask(target.map { "/v1/services/\($0)/drain" } ?? "/v1/drain")
        guard answer.status == 200 else { throw TestFailure(answer.body) }
        return try JSONDecoder().decode(DrainReport.self, from: Data(answer.body.utf8))
    }

    /// Waits until a drain is as wanted.
    @discardableResult
    func wait(
        forDrain what: String,
        _ target: String? = nil,
        within patience: Duration = .seconds(20),
        _ isMet: (DrainReport) -> Bool
    ) throws -> DrainReport {
        var last: DrainReport?
        let found = Deadline(patience).poll(every: 5_000) { () -> DrainReport? in
            last = (try? drain(target)) ?? last
            return last.flatMap { isMet($0) ? $0 : nil }
        }
        if let found { return found }
        let text = last.map { "\($0)" } ?? ""
        throw TestFailure("the drain is not \(what): \(text)\n\(log.suffix(3000))")
    }

    func instance(_ name: String) throws -> Status.Instance {
        guard let found = try status()[name] else { throw TestFailure("there is no \(name)") }
        return found
    }

    /// The pids of all workers, by instance.
    func pids() throws -> [String: Int32] {
        var pids: [String: Int32] = [:]
        for instance in try status().instances { pids[instance.name] = instance.pid }
        return pids
    }

    func events(_ target: String? = nil, after sequence: UInt64 = 0) throws -> [EventLine] {
        try lines("/v1/events?lines=10000&after=\(sequence)" + (target.map { "&target=\($0)" } ?? ""))
    }

    func output(_ target: String, lines: Int = 10_000) throws -> [OutputLine] {
        try self.lines("/v1/logs?lines=\(lines)&target=\(target)")
    }

    private func lines<Line: Decodable>(_ uri: String) throws -> [Line] {
        let answer = try ask(uri)
        guard answer.status == 200 else { throw TestFailure("\(uri): \(answer.status) \(answer.body)") }
        return answer.body.split(separator: "\n").compactMap {
            try? JSONDecoder().decode(Line.self, from: Data($0.utf8))
        }
    }

    /// Waits for an event whose kind and text fit.
    func event(
        _ kind: String,
        _ text: String = "",
        of target: String? = nil,
        within patience: Duration = .seconds(20)
    ) throws -> EventLine {
        let found = Deadline(patience).poll(every: 10_000) {
            (try? events(target))?.last { $0.kind == kind && (text.isEmpty || $0.text.contains(text)) }
        }
        guard let found else { throw TestFailure("no event \(kind) \(text)\n\(log.suffix(3000))") }
        return found
    }

    /// The port of the health server, from the log: it took a free one.
    func healthPort() throws -> Int { try port(of: "health is served") }

    /// The port of the HAProxy agent.
    func agentPort() throws -> Int { try port(of: "the HAProxy agent is served") }

    private func port(of server: String) throws -> Int {
        let line = try event("listening", server)
        guard let port = line.text.split(separator: ":").last.flatMap({ Int($0) }) else {
            throw TestFailure("no port in: \(line.text)")
        }
        return port
    }

    func shim() throws -> Int32 {
        let shims = Processes.shims(path)
        guard shims.count == 1, let shim = shims.first else { throw TestFailure("shims: \(shims)") }
        return shim
    }

    /// The value of a metric, with its labels as they are written.
    func metric(_ name: String) throws -> Double? {
        let text = try HTTP.get("/metrics", port: healthPort()).body
        return text.split(separator: "\n").first { $0.hasPrefix(name + " ") }
            .flatMap { $0.split(separator: " ").last }.flatMap { Double($0) }
    }
}
