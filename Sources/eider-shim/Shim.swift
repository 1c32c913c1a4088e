import LinuxPlatform
import ShimProtocol
import SupervisorCore

/// The parent of the workers: starts, reaps and signals processes, holds descriptors and a little memory, and decides
/// nothing. One thread; everything that can fail is a report or a line, and nothing can trap.
final class Shim {
    private enum Token: UInt64 {
        case signals = 1
        case fileListener, nameListener, connection
    }

    /// Tokens from here on are pids of main processes that workers have named.
    private static let firstPidToken: UInt64 = 1 << 32
    /// Packets taken before other work is looked at again.
    private static let packetsPerTurn = 64
    /// How often a tree is looked at that outlived its main process.
    private static let treePeriod: Duration = .milliseconds(50)

    let setup: Setup
    private var events: EventQueue
    private let listeners: Listeners
    private var connection: Connection?
    private var watchesWritable = false

    /// Every run that has not been released: at most one for an instance (rule P1).
    var runs: [InstanceID: Run] = [:]
    /// Runs whose main process lives, by its pid.
    var mains: [Int32: Run] = [:]
    /// Runs that have ended and left something, or are being ended.
    var watched: [InstanceID: Run] = [:]
    var held: [HeldName: SharedDescriptor] = [:]
    var memory: [String: [UInt8]] = [:]
    var memorySize = 0
    var isEmptying = false
    /// SIGTERM has come; at this time everything is killed.
    var stop: Stop?
    /// When the trees that are watched are looked at next.
    var nextTreeCheck: MonotonicInstant?
    private var nextFlush: MonotonicInstant?
    var strays = StrayReports()
    /// The least limit on open descriptors that this host has refused.
    var refusedLimit: UInt64?
    private var malformedPackets = 0
    private var hasToldRemains = false

    struct Stop {
        var killAt: MonotonicInstant
        var hasKilled = false
    }

    init(_ setup: Setup) throws(SystemError) {
        events = try EventQueue()
        try events.add(setup.signals.rawValue, token: Token.signals.rawValue)
        listeners = try Listeners(setup)
        self.setup = setup
        watchListeners()
    }

    /// Serves until nothing is left to do; the value is the exit code.
    func run() throws(SystemError) -> Int32 {
        announceReady()
        while true {
            let ready = try events.wait(nanoseconds: timeout())
            // Exits come first: what the daemon asks for meets the state as it is.
            if ready.contains(where: { $0.token == Token.signals.rawValue }) { takeSignals() }
            for event in ready {
                switch Token(rawValue: event.token) {
                case .connection: receive()
                case .fileListener: accept(byName: false)
                case .nameListener: accept(byName: true)
                case .signals: break
                case nil: adoptedEnded(Int32(truncatingIfNeeded: event.token &- Self.firstPidToken))
                }
            }
            runTimers()
            flush()
            if (isEmptying || stop != nil) && runs.isEmpty {
                finish()
                return 0
            }
        }
    }

    /// Tells systemd (`Type=notify`) that the daemon can connect.
    private func announceReady() {
        guard let path = OwnProcess.environment("NOTIFY_SOCKET"), !path.isEmpty else { return }
        OwnProcess.removeEnvironment("NOTIFY_SOCKET")
        do throws(SystemError) {
            let socket = try UnixSocket.unconnected(.datagram)
            _ = try Packet.send(Array("READY=1\n".utf8), on: socket.rawValue, to: path)
        } catch {
            StandardError.line("eider-shim: cannot tell the service manager: \(error)")
        }
    }

    private func takeSignals() {
        var hasChildren = false
        while let arrival = (try? setup.signals.next()) ?? nil {
            if arrival.signal == .terminate { beginStop() } else { hasChildren = true }
        }
        if hasChildren { reap() }
        flush()
    }

    // MARK: Timers

    private func timeout() -> Int64? {
        var next = nextTreeCheck
        if let stop, !stop.hasKilled { next = min(next ?? stop.killAt, stop.killAt) }
        if let nextFlush { next = min(next ?? nextFlush, nextFlush) }
        if let resumesAt = listeners.resumesAt { next = min(next ?? resumesAt, resumesAt) }
        return next.map { $0.since(MonotonicClock.now()).clampedNanoseconds }
    }

    private func runTimers() {
        if let stop, !stop.hasKilled, stop.killAt <= MonotonicClock.now() { killAll() }
        if connection == nil, let due = listeners.resumesAt, due <= MonotonicClock.now() { watchListeners() }
        guard let due = nextTreeCheck, due <= MonotonicClock.now() else { return }
        checkTrees()
    }

    /// Sets the time of the next look at the watched trees: none, as long as there are none.
    func scheduleTreeCheck() {
        if watched.isEmpty {
            nextTreeCheck = nil
            return
        }
        var next = MonotonicClock.now().advanced(by: Self.treePeriod)
        for run in watched.values {
            if let ending = run.ending { next = min(next, ending.nextSweep) }
        }
        nextTreeCheck = next
    }

    func watch(_ process: SharedDescriptor, endOf pid: Int32) -> Bool {
        (try? events.add(process.rawValue, token: Self.firstPidToken &+ UInt64(UInt32(bitPattern: pid)))) != nil
    }

    func unwatch(_ process: SharedDescriptor) {
        events.remove(process.rawValue)
    }

    // MARK: The daemon

    func report(_ report: ShimReport) {
        guard let connection, connection.isGreeted else { return }
        connection.send(report)
    }

    /// What a former shim left, for the first daemon that asks.
    func takeRemains() -> Remains.Outcome {
        if hasToldRemains { return Remains.Outcome() }
        hasToldRemains = true
        return setup.remains
    }

    private func watchListeners() {
        listeners.watch(events, file: Token.fileListener.rawValue, name: Token.nameListener.rawValue)
    }

    private func accept(byName: Bool) {
        guard connection == nil else { return }
        guard let socket = listeners.accept(byName: byName, events) else {
            setup.spare.refill()
            return
        }
        try? UnixSocket.setBuffers(socket.rawValue, send: 1 << 20, receive: 1 << 20)
        let number = socket.rawValue
        let accepted = Connection(socket)
        guard (try? events.add(number, token: Token.connection.rawValue)) != nil else { return }
        // The next daemon waits in the queue until all that this one said has been obeyed.
        listeners.stopWatching(events)
        watchesWritable = false
        connection = accepted
    }

    private func receive() {
        for _ in 0..<Self.packetsPerTurn {
            guard let connection else { return }
            switch connection.receive() {
            case .nothing: return
            case .over(let malformed): return disconnect(malformed: malformed)
            case .requests(let requests, let descriptors):
                var descriptors = descriptors[...]
                for request in requests {
                    guard greet(connection, request) else { return disconnect(malformed: true) }
                    obey(request, &descriptors)
                }
                flush()
            }
        }
    }

    /// Whether the request may come now: `hello` first, and once.
    private func greet(_ connection: Connection, _ request: ShimRequest) -> Bool {
        if case .hello = request {
            guard !connection.isGreeted else { return false }
            connection.isGreeted = true
            listEverything(connection)
            return true
        }
        return connection.isGreeted
    }

    private func disconnect(malformed: Bool) {
        guard let connection else { return }
        if malformed {
            malformedPackets &+= 1
            // The first, and then each power of two: somebody who sends nothing else is not to fill the log.
            if malformedPackets & (malformedPackets &- 1) == 0 {
                StandardError.line(
                    "eider-shim: closed a connection that sent a malformed packet (\(malformedPackets) so far)"
                )
            }
        }
        events.remove(connection.socket.rawValue)
        self.connection = nil
        watchListeners()
    }

    func flush() {
        guard let connection else { return }
        nextFlush = nil
        switch connection.flush() {
        case .done: watchWritable(connection, false)
        case .waiting: watchWritable(connection, true)
        case .busy: nextFlush = MonotonicClock.now().advanced(by: .milliseconds(5))
        case .failed: watchWritable(connection, false)
        }
    }

    private func watchWritable(_ connection: Connection, _ wanted: Bool) {
        if wanted == watchesWritable { return }
        watchesWritable = wanted
        try? events.change(connection.socket.rawValue, token: Token.connection.rawValue, writable: wanted)
    }

    private func finish() {
        flush()
        endOrphans()
        listeners.close()
        setup.ledger.deleteFile()
        if case .cgroup(let containment) = setup.containment { containment.removeAll() }
        for directory in setup.place.directories { FileSystem.remove(directory + "/shim.cgroup") }
    }
}
