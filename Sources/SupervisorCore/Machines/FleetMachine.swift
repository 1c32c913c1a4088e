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
        /// Its instances, by index.
        var slots: [Int]
        /// An `after` on it is satisfied.
        var satisfied = false
        var publicState: PublicState = .starting
        var since: MonotonicInstant
        var probes = PerProbe(ProbeCounts())
        /// Actions that were not taken, by the rule that kept them from it (rule I10).
        var suppressions: [SuppressionRule: UInt64] = [:]
    }

    let nodeName: String
    let concurrentStarts: Int
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
    let observationWindow: Duration
    var nodeTimer: InstanceMachine.Timer?
    var nodeTimerNumber: UInt64 = 0
    var node = RememberedNode()
    var nodeState: PublicState = .starting
    var shimPresent = false
    /// It is there, but it does not answer.
    var shimSilent = false
    var adopted = false
    var operations: [Operation] = []
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

    /// - Parameter seed: of the generator that draws the jitter.
    public init(spec: FleetSpec, now: MonotonicInstant, seed: UInt64) {
        nodeName = spec.node.name
        concurrentStarts = max(1, spec.limits.concurrentStarts)
        generator = SeededGenerator(seed: seed)
        let windows = spec.services.compactMap { InstancePolicy($0).observationWindow }
        let window = windows.max() ?? HealthLimits.windowMost
        observationWindow = min(max(window, HealthLimits.windowLeast), HealthLimits.windowMost)
        node.since = now
        var indexOf: [String: Int] = [:]
        for (index, service) in spec.services.enumerated() { indexOf[service.name] = index }
        for service in spec.services {
            let policy = InstancePolicy(service)
            var slots: [Int] = []
            for id in service.instanceIDs {
                slotOf[id] = instances.count
                slots.append(instances.count)
                instances.append(InstanceMachine(id: id, service: services.count, policy: policy, now: now))
            }
            let after = service.after.compactMap { indexOf[$0] }
            services.append(
                Service(name: service.name, after: after, critical: service.critical, slots: slots, since: now)
            )
        }
        waitingCount = instances.count
        dirty = Array(repeating: true, count: services.count)
        dirtyList = Array(services.indices)
    }

    // MARK: The door

    /// Takes one event and answers the effects, in the order in which they must happen.
    public mutating func handle(_ event: Event, at now: MonotonicInstant) -> [Effect] {
        var turn = Turn(now: now, generator: generator)
        apply(event, &turn)
        schedule(&turn)
        concludeFirstStart(&turn)
        // Before an operator is told that it is done.
        if intentsMoved {
            intentsMoved = false
            turn.act(.saveIntents(presentIntents))
        }
        settleOperations(&turn)
        concludeShutdown(&turn)
        if adopted {
            fitHold(&turn)
            fitNodeTimer(&turn)
        }
        generator = turn.generator
        return turn.effects + turn.notes
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
            update(id, generation, &turn) { $0.notified(message, &$1) }
            if message.watchdog == .trigger { watchdogTriggered(id, generation, &turn) }
        case .probed(let key, let outcome): probed(key, outcome, &turn)
        case .pressureMeasured(let reading): pressureMeasured(reading, &turn)
        case .disturbed(let disturbance): disturbed(disturbance, &turn)
        case .timerFired(let token):
            timerFired(token, &turn)
        case .commanded(let operation, let command, let caller):
            carryOut(command, as: operation, by: caller, &turn)
        case .probersSeen, .connectionsCounted, .reconfigured, .noticeSkipped: break
        case .shimSilenceChanged(let isSilent):
            shimSilent = isSilent
            let text = isSilent ? "does not answer: nothing can be started or ended now" : "answers again"
            turn.note(nil, "shim-silence", "the shim \(text)")
        case .shutdownRequested(let by):
            beginShutdown(by: by, &turn)
        case .shutdownHastened:
            beginShutdown(by: "SIGQUIT", &turn)
            shutdownHastened = true
            if adopted { shutDownInstances(&turn) }
        }
    }

    /// What operators asked for, of instances that are configured.
    var presentIntents: Intents {
        var intents = Intents()
        intents.stops = instances.compactMap { $0.service == nil ? nil : $0.memory.stopIntent }
        intents.drains = node.drains.filter { $0.purpose == .maintenance }
        intents.scales = node.scales
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
        if adopted { shutDownInstances(&turn) }
    }

    mutating func shutDownInstances(_ turn: inout Turn) {
        for slot in instances.indices {
            update(slot: slot, &turn) { $0.beginShutdown(&$1) }
            if shutdownHastened { update(slot: slot, &turn) { $0.endNow(&$1) } }
        }
    }

    private mutating func concludeShutdown(_ turn: inout Turn) {
        guard node.shutdownBy != nil, adopted, !shutdownFinished else { return }
        if instances.contains(where: { $0.state.hasProcess }) { return }
        shutdownFinished = true
        markAllDirty()
        turn.act(.finishShutdown)
    }
}
