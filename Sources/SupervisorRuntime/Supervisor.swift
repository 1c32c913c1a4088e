import FleetConfig
import LinuxPlatform
import Prober
import ShimProtocol
public import StatusBoard
public import SupervisorCore
import SystemdBridge

/// The shell around the core: turns the world into events, and effects into acts. Lives on the supervision thread.
///
/// A turn: something becomes readable or due, it becomes an event, the core answers effects, they are carried out in
/// order, and what changed is published. Nothing here decides; nothing here waits.
public final class Supervisor {
    var configuration: SupervisorConfiguration
    let reactor: Reactor
    let output: WorkerOutput
    let shims: ShimLauncher
    let diskWorker: DiskWorker
    public let board: StatusBoard
    public let handle: SupervisorHandle
    let launches: LaunchBuilder
    /// Services of the configuration in force, and those it names no more whose instances are still leaving.
    var serviceSpecs: [String: ServiceSpec] = [:]
    /// The structure of the fleet that was last published.
    private var publishedStructure: UInt64 = 0
    /// The reload that is going on.
    var reload: ReloadRequest?
    /// Drains that somebody wants planned, until it is known who probes us.
    var plans: [DrainPlanRequest] = []

    var machine: FleetMachine
    var link: ShimLink?
    /// When the connection to the shim was lost, lately.
    var shimLosses: [MonotonicInstant] = []
    /// The shim that this daemon started, and reaps.
    var shimPid: Int32?
    var notify: NotifyIntake?
    let prober: Prober
    let traffic: TrafficCounter
    let releases: ReleaseReader
    /// Why connections could not be counted, as was last said.
    var saidTrafficProblem: String?
    lazy var execProbes = ExecProbes(reactor: reactor, hands: execHands())
    /// The fleet is stopped; the last exec probes are being ended.
    var finishesWhenProbesAreGone = false
    var saidPressureIsUnknown = false
    var lastWallClockOffset: Int64?
    var timers: [TimerToken: UInt64] = [:]
    var notifyTimer: UInt64?
    /// Main processes, by pid.
    var mains: SenderIdentity.Mains = [:]
    var identity = SenderIdentity(containment: .session)
    /// The shim's pid, whoever started it.
    var shimProcess: Int32 = 0
    /// Instances whose output pipe the shim holds.
    var pipesHeld: Set<InstanceID> = []
    /// What the shim listed, until supervision begins with it.
    var pendingListing: ShimListing?
    /// Listening sockets that the shim held when this daemon connected.
    var heldListeners: [HeldName: SharedDescriptor] = [:]
    /// Listening sockets in use, by the name under which the shim holds them.
    var listeners: [HeldName: SharedDescriptor] = [:]
    var notifySocket: SharedDescriptor?
    var breakerSocket: SharedDescriptor?
    lazy var calls = CallSocket(reactor: reactor, hands: callHands())
    /// Publishes what workers' calls have counted.
    var callsTimer: UInt64?
    /// Why socket files that were removed could not be made anew, as was last said.
    var socketProblems: [String] = []
    /// Runs that ended in this turn: what they still have in their pipes is collected once the acts are on their way.
    var endedRuns: [InstanceID] = []
    var replies: [OperationID: @Sendable (OperationResult) -> Void] = [:]
    var nextOperation: OperationID = 0
    var upgrade: UpgradeCheck?
    var systemd = SystemdState()
    /// Asks the edges for a round trip; they answer by `SupervisorHandle.edgesAnswered`.
    public var askEdges: () -> Void = {}
    /// Asks the edges who probes us; they answer by `SupervisorHandle.probersSeen`.
    public var askProbers: () -> Void = {}
    /// Asks the shared store of breakers; it answers by `SupervisorHandle.storeSaid`.
    public var askStore: (StoreRequest) -> Void = { _ in }
    /// Takes who may use the control socket, where the configuration has changed that.
    public var accessChanged: (ControlSpec) -> Void = { _ in }
    /// Takes a control socket that replaces one whose file was removed, and owns it.
    public var controlRenewed: (Int32) -> Void = { _ in }
    /// Why the loop ended; nil while it runs.
    var ending: Ending?

    /// Why the supervision loop ended.
    public enum Ending: Sendable, Equatable {
        /// The fleet is stopped.
        case stopped
        /// The program on disk is to take this process over.
        case replaced
        /// Supervision cannot go on; the text says why.
        case failed(String)
    }

    init(
        configuration: SupervisorConfiguration,
        reactor: Reactor,
        output: WorkerOutput,
        shims: ShimLauncher,
        diskWorker: DiskWorker,
        mailbox: Mailbox<SupervisorLetter>,
        seed: UInt64
    ) {
        self.configuration = configuration
        self.reactor = reactor
        self.output = output
        self.shims = shims
        self.diskWorker = diskWorker
        let now = MonotonicClock.now()
        releases = ReleaseReader { mailbox.post(.releasesIdentified($0)) }
        machine = FleetMachine(spec: configuration.spec, now: now, seed: seed)
        let fleet = machine.fleetStatus(at: now)
        board = StatusBoard(fleet: fleet, now: now, wallClockOffset: MonotonicClock.wallClockOffset())
        handle = SupervisorHandle(
            spec: configuration.spec,
            logs: output.collector,
            events: output.history,
            mailbox: mailbox
        )
        launches = LaunchBuilder(configuration)
        traffic = TrafficCounter { mailbox.post(.connectionsCounted($0.figures, problem: $0.problem)) }
        prober = Prober(clock: { MonotonicClock.now() }) { mailbox.post(.probed($0)) }
        for service in configuration.spec.services { serviceSpecs[service.name] = service }
    }

    // MARK: Events in, effects out

    /// Gives one event to the core and carries out what it answers.
    func receive(_ event: Event) {
        let effects = machine.handle(event, at: MonotonicClock.now())
        let acts = effects.prefix { if case .record = $0 { false } else { true } }
        for act in acts { carryOut(act) }
        // The acts are on their way before anybody is told of them.
        link?.flush()
        for id in endedRuns { output.collector.flush(instance: id) }
        endedRuns.removeAll(keepingCapacity: true)
        for note in effects[acts.endIndex...] { carryOut(note) }
    }

    private func carryOut(_ effect: Effect) {
        switch effect {
        case .spawn(let id, let generation): spawn(id, generation)
        case .signal(let id, let generation, let signal, let tree):
            link?.send(.signal(id, generation, signal, tree: tree))
        case .endTree(let id, let generation): link?.send(.endTree(id, generation))
        case .release(let id, let generation):
            link?.send(.release(id, generation))
            endedRuns.append(id)
        case .startTimer(let token, let deadline): startTimer(token, at: deadline)
        case .cancelTimer(let token):
            if let timer = timers.removeValue(forKey: token) { reactor.cancel(timer) }
        case .watch(let key, let policy, let firstAt): watch(key, policy, firstAt: firstAt)
        case .unwatch(let key): unwatch(key)
        case .measurePressure: measurePressure()
        case .lookAtProbers: askProbers()
        case .countConnections(let services): countConnections(services)
        case .remember(let id, let memory):
            link?.send(.remember(key: MemoryKeys.instance(id), value: memory?.encoded() ?? []))
        case .rememberNode(let node): link?.send(.remember(key: MemoryKeys.node, value: node.encoded()))
        case .rememberBreakers(let breakers):
            link?.send(.remember(key: MemoryKeys.breakers, value: breakers.encoded()))
        case .askStore(let request): askStore(request)
        case .identifyReleases(let names): identifyReleases(names)
        case .saveIntents(let intents): diskWorker.save(intents)
        case .record(let subject, let kind, let text): record(subject: subject, kind: kind, text)
        case .finishOperation(let operation, let result): finish(operation, result)
        case .announceFirstStart: sayReady()
        case .finishShutdown:
            if execProbes.isEmpty { finishShutdown() } else { finishesWhenProbesAreGone = true }
        }
    }

    /// Answers whoever waits for an operation; nothing where nobody does any more.
    func finish(_ operation: OperationID, _ result: OperationResult) {
        // Whoever is told that it is done, or accepted, finds it so on the board.
        publish()
        // What an operator was told must be known after a reboot, too.
        if let reply = replies.removeValue(forKey: operation) { diskWorker.afterWrites { reply(result) } }
    }

    func finishShutdown() {
        link?.send(.exitWhenEmpty)
        link?.flush()
        end(.stopped)
    }

    /// The configuration of a service; nil for one that is no longer configured.
    func service(_ name: String) -> ServiceSpec? { serviceSpecs[name] }

    private func spawn(_ id: InstanceID, _ generation: Generation) {
        guard let service = service(id.service) else { return }
        holdPipe(of: id, service)
        guard let link else { return }
        do throws(StartProblem) {
            let sockets = try listenerNames(for: service)
            let request = try launches.request(service, index: id.index, generation: generation, sockets: sockets)
            if link.send(.start(request)) { return }
            let failure = SpawnFailure(stage: .prepare, errno: Self.argumentsTooLong, path: "")
            refuse(
                id,
                generation,
                failure,
                "its arguments and environment are longer than \(ShimLimits.packetBytes) bytes"
            )
        } catch {
            refuse(id, generation, error.failure, error.text)
        }
    }

    /// E2BIG.
    private static let argumentsTooLong: Int32 = 7

    /// A start that cannot even be asked for goes the way of every start that fails (rule P3), in a turn of its own.
    private func refuse(_ id: InstanceID, _ generation: Generation, _ failure: SpawnFailure, _ text: String) {
        record(subject: id.description, kind: "warning", "\(id): \(text)")
        reactor.schedule(at: MonotonicClock.now()) { [unowned self] in
            receive(.startFailed(id, generation, failure))
        }
    }

    private func startTimer(_ token: TimerToken, at deadline: MonotonicInstant) {
        timers[token] = reactor.schedule(at: deadline) { [unowned self] in
            timers[token] = nil
            receive(.timerFired(token))
        }
    }

    /// Tells operators: the event history, and the daemon's log.
    func record(subject: String?, kind: String, _ text: String) {
        output.history.append(
            subject: subject,
            kind: kind,
            text: text,
            wallClock: MonotonicClock.now().nanoseconds &+ MonotonicClock.wallClockOffset()
        )
        output.log.log(Self.level(ofEvent: kind), text)
    }

    private static func level(ofEvent kind: String) -> DaemonLog.Level {
        switch kind {
        case "warning", "cannot-end", "strays", "remains-ended", "shim-lost", "log-problem", "upgrade-refused": .warning
        case "breaker-open", "breaker-forced", "breaker-would-open", "probe-lost", "store-down": .warning
        case "start-failed", "failed", "startup-timeout", "watchdog", "exited", "backoff", "suppressed", "held": .notice
        default: .info
        }
    }

    func end(_ ending: Ending) {
        if self.ending == nil { self.ending = ending }
        reactor.stop()
    }

    // MARK: Publishing

    /// Ends a turn: what changed is put on the board.
    func publish() {
        let now = MonotonicClock.now()
        if machine.structure != publishedStructure { return publishEverything(now) }
        let changed = machine.takeChangedServices()
        let services = changed.map { (index: $0, status: machine.status(ofService: $0, at: now)) }
        let node = machine.nodeStatus(at: now)
        let drains = machine.takeChangedDrains(at: now)
        let breakers = machine.takeChangedBreakers(at: now)
        if services.isEmpty, drains == nil, breakers == nil, node == systemd.publishedNode { return }
        systemd.publishedNode = node
        board.publish(
            node: node,
            services: services,
            drains: drains?.drains,
            rolls: drains?.rolls,
            breakers: breakers
        )
        sayStatus(node)
    }

    /// Services came or went: their indexes mean others now.
    private func publishEverything(_ now: MonotonicInstant) {
        publishedStructure = machine.structure
        let names = Set((0..<machine.serviceCount).map { machine.serviceName(at: $0) })
        for name in serviceSpecs.keys.sorted() where !names.contains(name) {
            serviceSpecs[name] = nil
            dropSockets(of: name)
        }
        _ = machine.takeChangedServices()
        _ = machine.takeChangedDrains(at: now)
        _ = machine.takeChangedBreakers(at: now)
        let fleet = machine.fleetStatus(at: now)
        systemd.publishedNode = fleet.node
        board.publish(fleet: fleet)
        sayStatus(fleet.node)
    }
}
