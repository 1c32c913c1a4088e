import Glibc
public import LinuxPlatform
import Prober
import ShimProtocol
public import SupervisorCore
import Synchronization

/// A daemon that cannot start, or cannot go on. The text begins with "cannot" and says what to do next.
public struct SupervisorError: Error, CustomStringConvertible {
    public var description: String

    init(_ description: String) {
        self.description = description
    }
}

// From nothing to a supervisor that knows what its shim holds; and to its end.
extension Supervisor {
    /// Signals that the daemon reads from a descriptor. They must be blocked before any thread starts.
    public static let signals: [SignalNumber] = [
        .terminate, .interrupt, .quit, .hangup, Signals.child, Signals.user1, Signals.user2,
    ]

    /// Makes a supervisor: threads for logs and disk, and the connection to the shim, which is started where none
    /// runs. Nothing of the fleet is touched before `run`.
    public static func make(
        _ configuration: SupervisorConfiguration,
        shimProgram: String,
        shimIsExternal: Bool,
        log: DaemonLog
    ) throws(SupervisorError) -> Supervisor {
        do {
            let node = configuration.spec.node
            let reactor = try Reactor()
            let mailbox = try Mailbox<SupervisorLetter>()
            let output = try WorkerOutput(stateDirectory: node.stateDirectory, log: log) {
                mailbox.post(.logProblem($0.description))
            }
            let disk = try DiskWorker(store: IntentStore(stateDirectory: node.stateDirectory)) {
                mailbox.post(.warned($0))
            }
            let shims = ShimLauncher(
                program: shimProgram,
                runtimeDirectory: node.runtimeDirectory,
                stateDirectory: node.stateDirectory,
                isExternal: shimIsExternal
            )
            var random = SystemRandomNumberGenerator()
            let supervisor = Supervisor(
                configuration: configuration,
                reactor: reactor,
                output: output,
                shims: shims,
                diskWorker: disk,
                mailbox: mailbox,
                seed: random.next()
            )
            try mailbox.open(on: reactor) { [unowned supervisor] in supervisor.received($0) }
            return supervisor
        } catch {
            throw SupervisorError("\(error)")
        }
    }

    /// Connects to the shim and learns what it holds.
    public func connect() throws(SupervisorError) {
        do {
            let (link, listing, started) = try shims.connect(reactor: reactor)
            if let started { shimPid = started }
            link.onReport = { [unowned self] in received($0) }
            link.onLost = { [unowned self] in lostShim() }
            try link.open()
            self.link = link
            pendingListing = listing
            heldListeners = listing.held.filter { HeldNames.isListener($0.key) }
        } catch {
            throw SupervisorError("\(error)")
        }
    }

    /// Begins supervision: takes over what the shim holds, starts what is not there. Before the edges serve, so that
    /// after the death of a daemon their first answer is about the fleet that runs, not about one that is starting.
    public func prepare(signals: borrowing SignalDescriptor) throws(SupervisorError) {
        let number = signals.rawValue
        do {
            try openNotifySocket()
            try openBreakerSocket()
            try reactor.watch(number) { [unowned self] _ in signalsArrived(number) }
        } catch {
            throw SupervisorError("\(error)")
        }
        reactor.endOfTurn = { [unowned self] in
            calls.turnEnded()
            publish()
        }
        reactor.patience = HealthLimits.disturbance
        reactor.heldUp = { [unowned self] in receive(.disturbed(.loopStalled($0))) }
        if let listing = pendingListing { begin(listing) }
        pendingListing = nil
        // What workers said while no daemon lived comes before the deadlines that passed meanwhile.
        for _ in 0..<NotifyIntake.Limits.budget where !drainNotifySocket() { break }
        publish()
    }

    /// Supervises until the fleet is stopped, the daemon is to be replaced, or nothing works any more. After `prepare`.
    public func run() throws(SupervisorError) -> Ending {
        do {
            if machine.nodeStatus(at: MonotonicClock.now()).firstStartFinished { sayReady() }
            publish()
            // A predecessor's stop may have been finished by what the shim told.
            if let ending { return ending }
            startHeartbeat()
            try reactor.run()
        } catch {
            throw SupervisorError("\(error)")
        }
        return ending ?? .failed("cannot supervise: the loop ended without a reason")
    }

    /// Writes what is left to write: before the process ends or is replaced.
    public func finish() {
        publish()
        if ending == .stopped {
            record(subject: nil, kind: "stopped", "the fleet is stopped")
            FileSystem.remove(configuration.notifySocketPath)
            FileSystem.remove(configuration.breakerSocketPath)
            FileSystem.remove(configuration.spec.control.socket)
            removePassedSocketFiles()
        }
        // Left to the end of the process, as the edges' threads are, and never released: it would stop itself then, by
        // way of libdispatch, which traps where it gets no descriptors.
        _ = Unmanaged.passRetained(prober)
        diskWorker.finish(patience: .seconds(2))
        output.stop()
    }

    /// The start failed: a shim that holds nothing is not left behind.
    public func abandonEmptyShim() {
        if let listing = pendingListing, listing.records.isEmpty { link?.send(.exitWhenEmpty) }
        link?.flush()
        output.stop()
    }

    /// Names in the log what is served and on which address: port 0 took a free one.
    public func announceListening(_ text: String) {
        record(subject: nil, kind: "listening", text)
    }

    // MARK: Signals

    private func signalsArrived(_ descriptor: Int32) {
        while let signal = SignalDescriptor.next(on: descriptor) {
            switch signal {
            case .terminate: beginShutdown(by: signal.description)
            case .interrupt:
                sayStopping()
                receive(.noticeSkipped(by: signal.description))
            case .quit:
                sayStopping()
                receive(.shutdownHastened)
            case .hangup: reloadBySignal()
            case Signals.child: reapChildren()
            case Signals.user1, Signals.user2:
                record(
                    subject: nil,
                    kind: "warning",
                    "\(signal) is ignored: it has no meaning here; see eiderctl --help"
                )
            default: break
            }
        }
    }

    private func beginShutdown(by signal: String) {
        sayStopping()
        receive(.shutdownRequested(by: signal))
    }

    /// Children of the daemon: a shim that it started, and a program that is asked whether it can take over.
    private func reapChildren() {
        while let exit = ChildProcess.reap() {
            if exit.pid == upgrade?.pid {
                upgradeCheckExited(exit.status)
            } else if exit.pid == shimPid {
                shimPid = nil
            }
        }
    }

    // MARK: A shim that goes

    private func lostShim() {
        // A shim whose fleet is stopped goes with our leave.
        if ending != nil { return }
        if shims.isExternal {
            // systemd starts the unit of the shim anew, and this one after it.
            return end(.failed("cannot go on: the shim is gone; its unit starts it anew, and then this daemon"))
        }
        link = nil
        mains = [:]
        pipesHeld = []
        execProbes.shimLost()
        receive(.shimLost)
        publish()
        reconnect()
    }

    /// Losses of the connection within `lossWindow` after which supervision gives up: it is restarted from outside,
    /// and the fleet runs on.
    private static let mostLosses = 5
    private static let lossWindow: Duration = .seconds(10)

    private func reconnect() {
        let now = MonotonicClock.now()
        shimLosses = shimLosses.filter { now.since($0) < Self.lossWindow } + [now]
        if shimLosses.count > Self.mostLosses {
            return end(.failed("cannot go on: the connection to the shim broke \(shimLosses.count) times in a row"))
        }
        do {
            try connect()
            guard let listing = pendingListing else { return }
            pendingListing = nil
            try keepListeners()
            begin(listing)
        } catch {
            end(.failed("\(error)"))
        }
    }
}
