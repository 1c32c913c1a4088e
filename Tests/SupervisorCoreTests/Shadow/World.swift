import Simulation

@testable import SupervisorCore

/// One host: a daemon (the core, its timers, its connection), a shim, a disk and a clock. Every event goes through
/// `send`, which checks the rules of `Invariants.swift` after it.
struct World {
    let spec: FleetSpec
    let seed: UInt64
    var now = MonotonicInstant(nanoseconds: 1_000_000_000_000)
    var shim = ShadowShim()
    var timers = ShadowTimers()
    var prober = ShadowProber()
    /// While set, probes are run when they are due, and find what `health` says; else only `probe` reports results.
    var probesRun = false
    /// What the prober finds; success where nothing is said.
    var health: [InstanceID: PerProbe<ProbeOutcome>] = [:]
    /// What the kernel says of the host's resources.
    var pressure: PressureReading?
    /// The daemon has asked for the pressure and has not been answered.
    var pressureAsked = false
    /// Who asks the health ports, and the connections to the workers' ports.
    var sightings: [ProberSighting] = []
    var figures: [TrafficFigure]? = []
    var probersAsked = false
    var countAsked = false
    /// What operators asked for, as the disk keeps it.
    var disk = Intents()
    var machine: FleetMachine
    /// The daemon and the shim can talk.
    var connected = false
    /// The shim is told again what it missed, or never knew.
    var catchingUp = false
    /// Counts the daemons.
    var epoch = 0
    /// After how many more effects the daemon is killed; nil leaves it alive.
    var effectsUntilDeath: Int?

    /// Commands that are not finished.
    var openOperations: [OperationID] = []
    var results: [OperationID: OperationResult] = [:]
    var nextOperation: OperationID = 1
    /// How often this daemon has announced the first start.
    var announcements = 0
    /// The fleet was stopped and the shim told to exit.
    var finished = false
    /// The last notes to operators, `subject kind: text`.
    var notes: [String] = []
    /// The effects of the last event.
    var effects: [Effect] = []
    var coverage = Coverage()
    /// The public states as the shell would have published them.
    var published: [ServiceStatus] = []
    var events = 0

    init(_ spec: FleetSpec, seed: UInt64 = 1) {
        self.spec = spec
        self.seed = seed
        machine = FleetMachine(spec: spec, now: now, seed: seed)
    }

    // MARK: Events

    /// Hands an event to the daemon and carries out what it answers. Where `effectsUntilDeath` runs out, the daemon
    /// dies between two effects and the next one takes over.
    mutating func send(_ event: Event) throws {
        if finished { return }
        coverage.count(event, machine, shim)
        events += 1
        effects = machine.handle(event, at: now)
        for effect in effects {
            if let left = effectsUntilDeath {
                if left == 0 {
                    try daemonDies()
                    return
                }
                effectsUntilDeath = left - 1
            }
            try carryOut(effect)
        }
        if effectsUntilDeath != nil {
            try daemonDies()
            return
        }
        // Most probes pass and change nothing; the next event is checked again.
        if effects.isEmpty, case .probed(_, .success) = event { return }
        try checkInvariants()
    }

    private mutating func carryOut(_ effect: Effect) throws {
        switch effect {
        case .startTimer, .cancelTimer: try timers.obey(effect)
        case .spawn, .signal, .endTree, .release, .rememberNode, .rememberBreakers:
            if connected { try shim.obey(effect, at: now) }
        case .remember(let id, let record):
            guard connected else { return }
            if let record, !catchingUp { try checkSuccession(of: id, to: record.state) }
            try shim.obey(effect, at: now)
        case .watch, .unwatch: try prober.obey(effect, at: now)
        case .measurePressure: pressureAsked = true
        case .askStore, .identifyReleases: break
        case .lookAtProbers: probersAsked = true
        case .countConnections: countAsked = true
        case .saveIntents(let intents): disk = intents
        case .record(let subject, let kind, let text):
            if notes.count > 100 { notes.removeFirst(50) }
            notes.append("\(subject ?? "node") \(kind): \(text)")
        case .finishOperation(let operation, let result):
            guard let index = openOperations.firstIndex(of: operation) else {
                throw ShadowViolation("operation \(operation) is finished but not open: \(result)")
            }
            openOperations.remove(at: index)
            results[operation] = result
            if result == .done, machine.presentIntents != disk {
                throw ShadowViolation("an operation is reported as done before its intents are on disk")
            }
        case .announceFirstStart:
            announcements += 1
            if announcements > 1 { throw ShadowViolation("the first start is announced twice") }
        case .finishShutdown:
            if !shim.ids.isEmpty { throw ShadowViolation("the stop is finished with \(shim.ids) left") }
            finished = true
        }
    }

    // MARK: The daemon's life

    /// The first daemon connects to an empty shim.
    mutating func start() throws {
        connected = true
        epoch = 1
        try send(.shimConnected(shim.adoption(intents: disk)))
    }

    /// kill -9, and the next daemon takes over, perhaps of another configuration.
    mutating func daemonDies(successor: FleetSpec? = nil) throws {
        effectsUntilDeath = nil
        if finished { return }
        epoch += 1
        timers.removeAll()
        prober.removeAll()
        pressureAsked = false
        probersAsked = false
        countAsked = false
        shim.connectionEnds()
        openOperations = []
        announcements = 0
        published = []
        if let successor {
            let old = self
            self = World(successor, seed: seed)
            (now, shim, disk, epoch, coverage) = (old.now, old.shim, old.disk, old.epoch, old.coverage)
            (connected, nextOperation, events) = (old.connected, old.nextOperation, old.events)
            (probesRun, health, pressure) = (old.probesRun, old.health, old.pressure)
            (sightings, figures) = (old.sightings, old.figures)
        }
        machine = FleetMachine(spec: spec, now: now, seed: seed &+ UInt64(epoch))
        if !connected { return }
        let before = shim
        coverage.countTakeover(spec, shim)
        try send(.shimConnected(shim.adoption(intents: disk)))
        if successor == nil { try checkTakeover(from: before) }
    }

    /// The connection breaks; the shim lives, or is replaced by an empty one.
    mutating func shimIsLost(replaced: Bool) throws {
        connected = false
        shim.connectionEnds()
        if replaced { shim.isReplaced() }
        try send(.shimLost)
    }

    mutating func shimConnects() throws {
        connected = true
        catchingUp = true
        try send(.shimConnected(shim.adoption(intents: disk)))
        catchingUp = false
    }

    // MARK: Time and reports

    /// Reads one report of the shim; false when there is none.
    mutating func readReport() throws -> Bool {
        guard connected, !finished, let report = shim.outbox.first else { return false }
        shim.outbox.removeFirst()
        try send(report)
        return true
    }

    /// Acts upon one datagram of a worker, then takes it off the socket; false when there is none.
    mutating func readDatagram() throws -> Bool {
        guard connected, !finished, let datagram = shim.datagrams.first else { return false }
        let reader = epoch
        try send(.notified(datagram.instance, datagram.generation, datagram.message))
        // A daemon that died meanwhile has not taken it off; its successor reads it again.
        if epoch == reader, shim.datagrams.first == datagram { shim.datagrams.removeFirst() }
        return true
    }

    /// Answers how short the host is of its resources; false when nobody has asked.
    mutating func answerPressure() throws -> Bool {
        guard pressureAsked, !finished else { return false }
        pressureAsked = false
        try send(.pressureMeasured(pressure))
        return true
    }

    /// Answers who asks the health ports, and how many connections there are; false when nobody has asked.
    mutating func answerLook() throws -> Bool {
        if finished { return false }
        if probersAsked {
            probersAsked = false
            try send(.probersSeen(sightings))
            return true
        }
        guard countAsked else { return false }
        countAsked = false
        try send(.connectionsCounted(figures))
        return true
    }

    /// Runs the probe that is due next, and moves the clock to it; false when there is none.
    mutating func runNextProbe() throws -> Bool {
        guard !finished, let watch = prober.next else { return false }
        now = max(now, watch.at)
        prober.ran(watch.key)
        try send(.probed(watch.key, health[watch.key.instance]?[watch.key.kind] ?? .success))
        return true
    }

    /// Reads everything there is to read.
    mutating func settle() throws {
        var budget = 10_000
        while budget > 0 {
            budget -= 1
            if try readReport() { continue }
            if try readDatagram() { continue }
            if try answerPressure() { continue }
            if try answerLook() { continue }
            return
        }
        throw ShadowViolation("it never settles")
    }

    /// Fires the next timer, and moves the clock to it; false when there is none.
    mutating func fireNextTimer() throws -> Bool {
        guard !finished, let timer = timers.next else { return false }
        now = max(now, timer.at)
        timers.remove(timer.token)
        try send(.timerFired(timer.token))
        return true
    }

    /// Moves the clock, firing what falls due on the way and reading everything in between.
    mutating func advance(by duration: Duration) throws {
        let end = now.advanced(by: duration)
        try settle()
        while !finished {
            let probe = probesRun ? prober.next?.at : nil
            if let timer = timers.next, timer.at <= end, probe.map({ timer.at <= $0 }) ?? true {
                _ = try fireNextTimer()
            } else if let probe, probe <= end {
                _ = try runNextProbe()
            } else {
                break
            }
            try settle()
        }
        now = max(now, end)
    }

    // MARK: Operators

    @discardableResult
    mutating func command(_ command: Command, by caller: String = "ada") throws -> OperationID {
        let operation = nextOperation
        nextOperation += 1
        openOperations.append(operation)
        try send(.commanded(operation, command, by: caller))
        return operation
    }

    // MARK: Looking

    func slot(_ id: InstanceID) -> InstanceMachine? { machine.slotOf[id].map { machine.instances[$0] } }

    func memory(_ id: InstanceID) -> RememberedInstance? { slot(id)?.memory }

    func state(_ id: InstanceID) -> InstanceState? { slot(id)?.state }
}
