/// The whole fleet of one host, as a value: the only door to the core.
///
/// `handle(_:at:)` takes what happened and answers what to do, in order. It has no clock, no I/O and no randomness
/// but a seeded generator among its fields; it can be copied, compared, replayed and simulated. Rules P1–P5 of
/// DESIGN.md are decided here, and I1–I10.
public struct FleetMachine: Sendable, Equatable {
    struct Service: Sendable, Equatable {
        var name: String
        /// Indexes of the services it waits for.
        var after: [Int]
        var critical: Bool
        /// Its instances, by index: those that are wanted, those that are on their way out, and an extra one.
        var slots: [Int]
        /// How many are wanted, and how many the configuration says.
        var replicas: Int
        var configuredReplicas: Int
        /// nil where its instances have no ports.
        var portBase: Int?
        /// Its instances share sockets that are passed to them.
        var hasSockets = false
        var minReady: Duration
        var policy: InstancePolicy
        /// As it was last configured.
        var spec: ServiceSpec
        /// The configuration names it no more: it goes once it is drained.
        var isRemoved = false
        /// Connections to its passed sockets, while it is leaving.
        var traffic = TrafficView()
        /// The release that it is to run, and its breaker's seat.
        var release = ""
        var seat = -1
        var breakerState = BreakerPublicState.closed
        /// An `after` on it is satisfied.
        var satisfied = false
        var publicState: PublicState = .starting
        var since: MonotonicInstant
        var probes = PerProbe(ProbeCounts())
        /// Actions that were not taken, by the rule that kept them from it (rule I10).
        var suppressions: [SuppressionRule: UInt64] = [:]
    }

    let nodeName: String
    var concurrentStarts: Int
    var drainSpec: DrainSpec
    var services: [Service] = []
    /// Every instance, of every service in order, then those that no service asks for any more.
    var instances: [InstanceMachine] = []
    var slotOf: [InstanceID: Int] = [:]
    /// Instances that wait for a place, first come first served.
    var startQueue: [Int] = []
    /// Instances in `starting`.
    var startingCount = 0
    /// Instances in `waiting`.
    var waitingCount = 0
    /// Instances of the first start whose first attempt is not over.
    var firstAttemptsOpen = 0
    /// Instances that are in trouble: see `InstanceMachine.isInTrouble`.
    var troubledCount = 0
    /// Instances whose restart for health waits for a look at the host's pressure.
    var pressureAskedFor: [Int] = []
    /// nil while states may change (rule I9).
    var freeze: Freeze?
    /// What the slowest check of the fleet needs to call a worker failed.
    var observationWindow: Duration
    var nodeTimer: InstanceMachine.Timer?
    var nodeTimerNumber: UInt64 = 0
    var node = RememberedNode()
    var nodeState: PublicState = .starting
    var shimPresent = false
    /// It is there, but it does not answer.
    var shimSilent = false
    var adopted = false
    var operations: [Operation] = []
    var breakers: BreakerMachine
    /// The releases that were identified, by service.
    var releases: [String: RememberedBreakers.Release] = [:]
    var releasesAskedAt: MonotonicInstant
    /// Something is held that another program would set free; as of when breakers last moved.
    var looksForReleases = false
    /// When the breakers are next to be looked at, milliseconds.
    var breakersDeadline: Int64?
    /// What users see of breakers may have changed.
    var breakersMoved = true
    /// What is shared and does not work, as it was last looked at.
    var trouble: String?
    var troubleIsOld = true
    /// What of them was last kept over a reboot.
    var savedBreakers = RememberedBreakers()
    /// Who asks the health ports, and since when that is known.
    var sightings: [ProberSighting] = []
    var sightedAt: MonotonicInstant?
    /// The kernel tells of connections.
    var seesConnections = false
    /// When the shell was last asked to look, and to count where it has not answered yet.
    var lookedAt: MonotonicInstant
    /// A drain has come to where it waits for what is seen.
    var lookIsWanted = false
    var countAskedAt: MonotonicInstant?
    /// What users see of drains and rolling restarts may have changed.
    var drainsMoved = true
    /// Grows when services come or go, so that their indexes mean others.
    public internal(set) var structure: UInt64 = 0
    var generator: SeededGenerator
    /// Services whose public state may have changed since `takeChangedServices`.
    var dirty: [Bool] = []
    var dirtyList: [Int] = []
    /// Services whose `satisfied` may have changed in this turn.
    var dependenciesMoved = false
    var intentsMoved = false
    var shutdownFinished = false
    /// Nobody waits for grace periods any more.
    var shutdownHastened = false
    /// Nobody waits for load balancers any more.
    var noticeSkipped = false

    /// The name of the service at `index`.
    public func serviceName(at index: Int) -> String { services[index].name }

    /// How many instances each service is to have, an operator's scale included.
    public var replicas: [String: Int] {
        Dictionary(services.filter { !$0.isRemoved }.map { ($0.name, $0.replicas) }) { first, _ in first }
    }

    /// How many services there are, also those that are on their way out.
    public var serviceCount: Int { services.count }

    /// Results of the probes of the service at `index`, since this daemon began.
    public func probeCounts(ofService index: Int) -> PerProbe<ProbeCounts> { services[index].probes }

    /// How often `rule` kept something from being done with the service at `index`, since this daemon began.
    public func suppressions(ofService index: Int, _ rule: SuppressionRule) -> UInt64 {
        services[index].suppressions[rule] ?? 0
    }

    /// Services with which something was not done, in order.
    public var suppressedServices: [Int] { services.indices.filter { !services[$0].suppressions.isEmpty } }

    /// How often states were frozen, since this daemon began (rule I9).
    public internal(set) var freezes: UInt64 = 0

    /// Callbacks of an older generation that were dropped (rule P4).
    public internal(set) var staleCallbacks: UInt64 = 0
    /// Starts that failed.
    public internal(set) var spawnFailures: UInt64 = 0

    /// - Parameters:
    ///   - seed: of the generator that draws the jitter.
    ///   - releases: of services, as far as they are identified already; see `Event.releasesIdentified`.
    public init(spec: FleetSpec, now: MonotonicInstant, seed: UInt64, releases: [String: String] = [:]) {
        nodeName = spec.node.name
        concurrentStarts = max(1, spec.limits.concurrentStarts)
        drainSpec = spec.drain
        generator = SeededGenerator(seed: seed)
        breakers = BreakerMachine(spec: spec, now: now, seed: seed)
        releasesAskedAt = now
        observationWindow = Self.observationWindow(spec)
        lookedAt = now
        node.since = now
        services = Self.services(of: spec, now)
        for service in spec.services {
            self.releases[service.name] = releases[service.name].map {
                .init(service: service.name, command: ReleaseName.digest(service.command), release: $0)
            }
        }
        seatServices(now)
        for index in services.indices {
            for member in 0..<services[index].replicas { addMember(member, to: index, now) }
        }
        waitingCount = instances.count
        dirty = Array(repeating: true, count: services.count)
        dirtyList = Array(services.indices)
    }

    static func observationWindow(_ spec: FleetSpec) -> Duration {
        let windows = spec.services.compactMap { InstancePolicy($0).observationWindow }
        let window = windows.max() ?? HealthLimits.windowMost
        return min(max(window, HealthLimits.windowLeast), HealthLimits.windowMost)
    }

    /// The services of a configuration, without instances yet.
    static func services(of spec: FleetSpec, _ now: MonotonicInstant) -> [Service] {
        var indexOf: [String: Int] = [:]
        for (index, service) in spec.services.enumerated() { indexOf[service.name] = index }
        return spec.services.map { service in
            var made = Service(
                name: service.name,
                after: service.after.compactMap { indexOf[$0] },
                critical: service.critical,
                slots: [],
                replicas: max(0, service.replicas),
                configuredReplicas: max(0, service.replicas),
                minReady: service.rolling.minReady,
                policy: InstancePolicy(service),
                spec: service,
                since: now
            )
            made.portBase = service.portBase
            made.hasSockets = !service.sockets.isEmpty
            return made
        }
    }

    // MARK: The door

    /// Takes one event and answers the effects, in the order in which they must happen.
    public mutating func handle(_ event: Event, at now: MonotonicInstant) -> [Effect] {
        var turn = Turn(now: now, generator: generator)
        apply(event, &turn)
        progress(after: event, &turn)
        settleBreakers(&turn)
        schedule(&turn)
        flushBreakers(&turn)
        concludeFirstStart(&turn)
        // Before an operator is told that it is done.
        if intentsMoved {
            intentsMoved = false
            let intents = presentIntents
            savedBreakers = intents.breakers
            turn.act(.saveIntents(intents))
        }
        finishBreakerCommands(&turn)
        settleOperations(&turn)
        concludeShutdown(&turn)
        if adopted {
            fitHold(&turn)
            fitNodeTimer(&turn)
        }
        generator = turn.generator
        return turn.effects + turn.notes
    }

    /// Takes drains and rolling restarts as far as they can go. No probe has a part in a drain (rule I2), and one that
    /// could not be run in nothing (rule I6): what is due by the clock has a timer of its own.
    private mutating func progress(after event: Event, _ turn: inout Turn) {
        switch event {
        case .probed(_, .unknown): break
        case .probed: progressRolls(&turn)
        default:
            progressRolls(&turn)
            progressDrains(&turn)
            // What a drain has finished lets a rolling restart go on.
            progressRolls(&turn)
        }
    }

    private mutating func apply(_ event: Event, _ turn: inout Turn) {
        switch event {
        case .shimConnected(let adoption):
            adopt(adoption, &turn)
        case .shimLost:
            shimPresent = false
            markAllDirty()
            turn.note(
                nil,
                "shim-lost",
                "the connection to the shim is lost: it is sought; where it is gone, a new one first ends what it left"
            )
        case .started(let id, let generation, let pid, let at):
            update(id, generation, &turn) { $0.started(pid: pid, at: at, &$1) }
        case .startFailed(let id, let generation, let failure):
            spawnFailures &+= 1
            update(id, generation, &turn) { $0.startFailed(failure, &$1) }
        case .exited(let id, let generation, let status, let usage, let outOfMemory, let treeGone):
            update(id, generation, &turn) {
                $0.exited(status, usage: usage, outOfMemory: outOfMemory, treeGone: treeGone, &$1)
            }
        case .treeGone(let id, let generation):
            update(id, generation, &turn) { $0.treeGone(&$1) }
        case .treeRemained(let id, let generation, let count, let example):
            update(id, generation, &turn) { $0.treeRemained(count: count, example: example, &$1) }
        case .notified(let id, let generation, let message):
            let before = slotOf[id].flatMap { inFlight($0)?.count }
            update(id, generation, &turn) { $0.notified(message, &$1) }
            if let before, let after = message.inFlight, let slot = slotOf[id] {
                countRise(slot, from: before, to: after)
            }
            if message.watchdog == .trigger { watchdogTriggered(id, generation, &turn) }
        case .probed(let key, let outcome): probed(key, outcome, &turn)
        case .pressureMeasured(let reading): pressureMeasured(reading, &turn)
        case .disturbed(let disturbance): disturbed(disturbance, &turn)
        case .timerFired(let token):
            timerFired(token, &turn)
        case .commanded(let operation, let command, let caller):
            carryOut(command, as: operation, by: caller, &turn)
        case .probersSeen(let sightings): probersSeen(sightings, &turn)
        case .connectionsCounted(let figures): connectionsCounted(figures, &turn)
        case .reconfigured(let operation, let spec, let restarting, let by):
            reconfigure(spec, restarting, as: operation, by: by, &turn)
        case .noticeSkipped(let by):
            beginShutdown(by: by, &turn)
            noticeSkipped = true
            if adopted { skipNotice(&turn) }
        case .storeSaid(let news): breakers.take(news, at: turn.now.milliseconds)
        case .releasesIdentified(let releases): releasesIdentified(releases, &turn)
        case .callsSettled: break
        case .shimSilenceChanged(let isSilent):
            shimSilent = isSilent
            let text = isSilent ? "does not answer: nothing can be started or ended now" : "answers again"
            turn.note(nil, "shim-silence", "the shim \(text)")
        case .shutdownRequested(let by):
            beginShutdown(by: by, &turn)
        case .shutdownHastened:
            beginShutdown(by: "SIGQUIT", &turn)
            shutdownHastened = true
            if adopted { endFleetNow(&turn) }
        }
    }

    /// What operators asked for, of instances that are configured.
    var presentIntents: Intents {
        var intents = Intents()
        intents.stops = instances.compactMap { $0.service == nil ? nil : $0.memory.stopIntent }
        intents.drains = node.drains.filter { $0.purpose == .maintenance }.map(\.asIntent)
        intents.scales = node.scales
        intents.breakers = breakers.remembered(releases: []).durable
        return intents
    }

    // MARK: Updating one instance

    /// Rule P4: what belongs to an older run is dropped and counted.
    private mutating func update(
        _ id: InstanceID,
        _ generation: Generation,
        _ turn: inout Turn,
        _ body: (inout InstanceMachine, inout Turn) -> Void
    ) {
        guard let slot = slotOf[id], instances[slot].generation == generation, instances[slot].state.hasProcess else {
            staleCallbacks &+= 1
            return
        }
        update(slot: slot, &turn, body)
    }

    /// Changes an instance, and everything that hangs on its state: what is remembered (before the acts of the
    /// change), its timer, the queue, the counts, and what is published.
    mutating func update(
        slot: Int,
        _ turn: inout Turn,
        _ body: (inout InstanceMachine, inout Turn) -> Void
    ) {
        let before = instances[slot].memory
        let wasInTrouble = instances[slot].isInTrouble
        let mark = turn.effects.count
        body(&instances[slot], &turn)
        instances[slot].fitTimer(&turn)
        instances[slot].fitProbes(&turn)
        if before != instances[slot].memory {
            turn.effects.insert(.remember(instances[slot].id, instances[slot].worthRemembering), at: mark)
        }
        // After the signal: where the daemon dies before it, the next one sends it.
        if shimPresent, instances[slot].confirmSignal() {
            turn.act(.remember(instances[slot].id, instances[slot].worthRemembering))
        }
        let after = instances[slot].memory
        if before == after { return }
        if let ended = instances[slot].endedRun {
            instances[slot].endedRun = nil
            runEnded(slot, ended, &turn)
        }
        followProbe(slot, turn.now)
        if before.stopIntent != after.stopIntent { intentsMoved = true }
        if !before.firstAttemptOver, after.firstAttemptOver, instances[slot].service != nil { firstAttemptsOpen -= 1 }
        if before.state != after.state { stateChanged(slot, from: before.state, to: after.state) }
        // Being served is what an `after` waits for.
        if before.run?.servingAt != after.run?.servingAt { dependenciesMoved = true }
        markDirty(slot)
        troubleMoved(slot, from: wasInTrouble, &turn)
    }

    private mutating func troubleMoved(_ slot: Int, from wasInTrouble: Bool, _ turn: inout Turn) {
        let isInTrouble = instances[slot].isInTrouble
        if !isInTrouble { instances[slot].restartSuppressed = nil }
        if isInTrouble == wasInTrouble { return }
        troubledCount += isInTrouble ? 1 : -1
        if isInTrouble { correlate(&turn) }
    }

    private mutating func stateChanged(_ slot: Int, from: InstanceState, to: InstanceState) {
        if case .starting = from { startingCount -= 1 }
        if case .starting = to { startingCount += 1 }
        if from == .waiting { waitingCount -= 1 }
        if to == .waiting { waitingCount += 1 }
        // What is started, the scheduler has taken out of the queue already.
        if from == .queued, case .starting = to {} else if from == .queued { startQueue.removeAll { $0 == slot } }
        if to == .queued { startQueue.append(slot) }
        dependenciesMoved = true
    }

    private mutating func markDirty(_ slot: Int) {
        if let service = instances[slot].service { markDirty(service: service) }
    }

    mutating func markDirty(service index: Int) {
        // A drain tells of its instances, also in the phases in which nothing is looked at.
        if !node.drains.isEmpty { drainsMoved = true }
        if dirty[index] { return }
        dirty[index] = true
        dirtyList.append(index)
    }

    mutating func markAllDirty() {
        for index in services.indices { markDirty(service: index) }
    }

    // MARK: Timers

    private mutating func timerFired(_ token: TimerToken, _ turn: inout Turn) {
        guard let id = token.instance else {
            guard nodeTimer?.token == token else { return staleCallbacks &+= 1 }
            nodeTimer = nil
            return nodeTimerFired(&turn)
        }
        guard let slot = slotOf[id], let timer = instances[slot].timer, timer.token == token else {
            staleCallbacks &+= 1
            return
        }
        instances[slot].timer = nil
        switch token.purpose {
        case .startTimeout: update(slot: slot, &turn) { $0.startTimedOut(&$1) }
        case .gracePeriod: update(slot: slot, &turn) { $0.endNow(&$1) }
        case .backoff: update(slot: slot, &turn) { $0.backoffEnded(&$1) }
        case .watchdog: watchdogExpired(slot, &turn)
        case .readinessOverdue: update(slot: slot, &turn) { $0.readinessTimedOut(&$1) }
        case .flapRelease: flapReleased(slot, &turn)
        // The node's own.
        case .node: break
        }
    }

    // MARK: Shutdown

    private mutating func beginShutdown(by: String, _ turn: inout Turn) {
        // Rule P5: absorbing. Whoever asks again changes nothing.
        if node.shutdownBy != nil { return }
        node.shutdownBy = by
        turn.act(.rememberNode(node))
        turn.note(nil, "shutdown", "the fleet is being stopped (\(by))")
        markAllDirty()
        // Before the shim is there, nothing is known of the instances: `adopt` stops them.
        if adopted { beginShutdownDrain(&turn) }
    }

    private mutating func concludeShutdown(_ turn: inout Turn) {
        guard node.shutdownBy != nil, adopted, !shutdownFinished else { return }
        if instances.contains(where: { $0.state.hasProcess }) { return }
        shutdownFinished = true
        markAllDirty()
        breakers.leave(at: turn.now.milliseconds)
        flushBreakers(&turn)
        turn.act(.finishShutdown)
    }
}
