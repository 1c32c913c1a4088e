import Glibc
import LinuxPlatform
import ShimProtocol
import SupervisorCore
import Testing

/// The real shim in a process of its own, and a connection to it as the daemon has one.
final class ShimHarness {
    struct Unexpected: Error, CustomStringConvertible {
        var description: String
    }

    let directory: TemporaryDirectory
    let environment: [String]
    let stateDirectory: String?
    private(set) var pid: Int32 = 0
    private(set) var socket: SharedDescriptor?
    private var pending: [ShimReport] = []
    private var pendingDescriptors: [SharedDescriptor] = []
    let output: (read: SharedDescriptor, write: SharedDescriptor)

    static let forced = ["EIDER_CONTAINMENT=session"]

    /// The shim that was built beside the tests.
    static var program: String {
        get throws {
            let own = try ExecutableLocation.current()
            for directory in [own, CommandLine.arguments[0]] + CommandLine.arguments {
                var parts = directory.split(separator: "/", omittingEmptySubsequences: false)
                while parts.popLast() != nil, !parts.isEmpty {
                    let path = parts.joined(separator: "/") + "/eider-shim"
                    if FileKind.isExecutable(path) { return path }
                }
            }
            throw Unexpected(description: "eider-shim is not beside the tests (\(own), \(CommandLine.arguments))")
        }
    }

    init(session: Bool = false, in directory: TemporaryDirectory? = nil, state: String? = nil) throws {
        stateDirectory = state
        self.directory = try directory ?? TemporaryDirectory()
        environment = session ? Self.forced : []
        output = try FileDescriptors.pipe()
        try launch()
        try connect()
    }

    deinit {
        socket = nil
        guard pid > 0 else { return }
        // Whatever is left ends with the next shim of this directory, and that one by itself.
        Glibc.kill(pid, SIGKILL)
        _ = reap()
        if let cleaner = try? launchAgain() {
            Glibc.kill(cleaner, SIGTERM)
            pid = cleaner
            _ = reap()
        }
    }

    private func launchAgain() throws -> Int32 {
        try launch()
        try connect()
        return pid
    }

    func launch() throws {
        pid = try launch(in: directory.path, errors: 2)
    }

    /// Starts a shim for a runtime directory, and this harness's state directory; its words go to `errors`.
    func launch(in runtimeDirectory: String, errors: Int32) throws -> Int32 {
        var start = ProgramStart(
            arguments: [try Self.program, "--runtime-directory", runtimeDirectory]
                + (stateDirectory.map { ["--state-directory", $0] } ?? [])
        )
        start.environment = environment
        let null = try FileDescriptors.open("/dev/null", flags: O_RDWR)
        start.descriptors = [null.rawValue, errors, errors]
        guard case .running(let pid) = start.start() else { throw Unexpected(description: "cannot start the shim") }
        return pid
    }

    /// Waits for the shim's end; nil when it does not end in time.
    func reap(within seconds: Double = 15) -> ExitStatus? {
        var status: ExitStatus?
        _ = eventually(within: seconds) {
            status = ChildProcess.reap(pid)?.status
            return status != nil
        }
        if status != nil { pid = 0 }
        return status
    }

    func kill(_ signal: Int32) { Glibc.kill(pid, signal) }

    // MARK: The connection

    /// Connects and takes the listing, `listed` left out.
    @discardableResult
    func connect(at path: String? = nil) throws -> [ShimReport] {
        let path = path ?? directory.file("shim.sock")
        pending = []
        pendingDescriptors = []
        var opened: SharedDescriptor?
        let isThere = eventually(within: 15) {
            opened = try? UnixSocket.connect(.sequentialPacket, path: path).shared()
            return opened != nil
        }
        guard isThere, let opened else { throw Unexpected(description: "the shim does not listen") }
        socket = opened
        send(.hello(version: shimProtocolVersion, daemonPid: getpid()))
        var listing: [ShimReport] = []
        while true {
            let report = try next()
            if report == .listed { break }
            listing.append(report)
        }
        if !listing.contains(.held("output")) { hold("output", output.write) }
        return listing
    }

    /// Descriptors that came with the listing, in order.
    var descriptors: [SharedDescriptor] { pendingDescriptors }

    func disconnect() { socket = nil }

    func send(_ requests: ShimRequest...) {
        guard let socket else { return }
        do {
            _ = try Packet.send(requests.flatMap(\.frame), on: socket.rawValue, nonblocking: false)
        } catch {
            Issue.record("cannot send to the shim: \(error)")
        }
    }

    func hold(_ name: HeldName, _ descriptor: SharedDescriptor) {
        guard let socket else { return }
        do {
            _ = try Packet.send(
                ShimRequest.hold(name).frame,
                descriptors: [descriptor.rawValue],
                on: socket.rawValue,
                nonblocking: false
            )
        } catch {
            Issue.record("cannot send to the shim: \(error)")
        }
    }

    /// The next report.
    func next(within seconds: Double = 20) throws -> ShimReport {
        if !pending.isEmpty { return pending.removeFirst() }
        guard let socket else { throw Unexpected(description: "not connected") }
        var events = try EventQueue()
        try events.add(socket.rawValue, token: 0)
        _ = try events.wait(nanoseconds: Int64(seconds * 1e9))
        switch try Packet.receive(on: socket.rawValue, limit: 1 << 20) {
        case .nothing: throw Unexpected(description: "the shim says nothing")
        case .closed: throw Unexpected(description: "the shim has closed the connection")
        case .packet(let packet):
            guard let reports = ShimCodec.reports(in: packet.bytes) else {
                throw Unexpected(description: "malformed packet")
            }
            pending += reports
            pendingDescriptors += packet.descriptors
            return try next(within: seconds)
        }
    }

    /// The next report for which `select` answers something; those passed over stay for later.
    func next<Value>(within seconds: Double = 20, _ select: (ShimReport) -> Value?) throws -> Value {
        let deadline = MonotonicClock.now().advanced(by: .seconds(seconds))
        var passed: [ShimReport] = []
        defer { pending = passed + pending }
        while true {
            let left = deadline.since(MonotonicClock.now()).inSeconds
            let report = try next(within: max(0.001, left))
            if let value = select(report) { return value }
            passed.append(report)
        }
    }

    // MARK: Words

    /// A launch of a shell script.
    func shell(_ script: String, _ name: String = "auth/0", _ generation: Generation = 1) -> LaunchRequest {
        program(["/bin/sh", "-c", script], name, generation)
    }

    func program(_ arguments: [String], _ name: String = "auth/0", _ generation: Generation = 1) -> LaunchRequest {
        let id = InstanceID(name) ?? InstanceID(service: name, index: 0)
        return LaunchRequest(instance: id, generation: generation, arguments: arguments, output: "output")
    }

    /// Starts it and answers its pid.
    @discardableResult
    func start(_ launch: LaunchRequest) throws -> Int32 {
        send(.start(launch))
        return try next { report -> Result<Int32, Unexpected>? in
            switch report {
            case .started(launch.instance, launch.generation, let pid, _, _): .success(pid)
            case .startFailed(launch.instance, _, let failure): .failure(Unexpected(description: "\(failure)"))
            default: nil
            }
        }.get()
    }

    /// How a start fails.
    func failure(of launch: LaunchRequest) throws -> SpawnFailure {
        send(.start(launch))
        return try next {
            if case .startFailed(launch.instance, launch.generation, let failure) = $0 { failure } else { nil }
        }
    }

    func exit(of launch: LaunchRequest) throws -> (status: ExitStatus, treeGone: Bool) {
        try next {
            if case .exited(launch.instance, launch.generation, let status, _, _, _, let gone) = $0 {
                (status, gone)
            } else {
                nil
            }
        }
    }

    func waitForTreeGone(_ launch: LaunchRequest) throws {
        let isGone: Bool = try next { $0 == .treeGone(launch.instance, launch.generation) ? true : nil }
        #expect(isGone)
    }
}
