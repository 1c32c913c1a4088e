import SupervisorCore

/// A host around the real core: kernel, shim, workers, prober, notify socket, disk, clock and operators are models,
/// and one seed drives them all. The same seed gives the same run, to the last effect.
package struct Host {
    package let seed: UInt64
    let scenario: Scenario
    /// What the present daemon runs.
    var spec: FleetSpec
    var random: SeededGenerator
    /// Nanoseconds of the virtual monotonic clock.
    package internal(set) var now: Int64 = 1_000_000_000_000
    let startedAt: Int64 = 1_000_000_000_000
    var queue = EventQueue()
    var shim = ShadowShim()
    var timers = ShadowTimers()
    var prober = ShadowProber()
    var machine: FleetMachine
    package internal(set) var checker: Checker
    package internal(set) var digest = Digest()

    /// Every instance that any configuration asked for, and its program.
    var ids: [InstanceID] = []
    var slotOf: [InstanceID: Int] = [:]
    var workers: [Worker] = []
    var services: [ServiceSpec?] = []

    // The daemon.
    var daemonLives = false
    /// It and the shim can talk.
    var connected = false
    /// Counts the connections.
    var connection: UInt64 = 0
    var epoch: UInt64 = 0
    var reportsPlanned = 0
    var effectsUntilDeath: Int?
    var isDying = false
    var openOperations: [OperationID] = []
    var nextOperation: OperationID = 1
    var finished = false

    // What is wrong with the host. Times are of the virtual clock.
    var proberBrokenUntil: Int64 = 0
    var proberObstacle = ProbeObstacle.busy
    var checkerStalledUntil: Int64 = 0
    var startsFailUntil: Int64 = 0
    var slowUntil: Int64 = 0
    var pressureUntil: Int64 = 0
    /// Workers fail every check until then, those that are yet to be started too.
    var allFailUntil: Int64 = 0
    var diskFullUntil: Int64 = 0
    /// Nobody answers who probes us, and the kernel tells of no connections.
    var looksFailUntil: Int64 = 0
    var balancers: [Balancer] = []
    /// What operators asked for, as the disk keeps it, and what it could not keep yet.
    var disk = Intents()
    var unsaved: Intents?
    /// The faults are over: everything has to come to rest.
    var isResting = false
    var isConverged = false

    /// The most processes that were live at one moment.
    package internal(set) var mostLive = 0
    /// Results of probes that changed nothing, and all others, as the journal shows them.
    package internal(set) var journal: [String] = []
    let writesJournal: Bool

    /// - Parameter writesJournal: whether to keep what happens, in words, for people; it costs most of the time.
    package init(_ scenario: Scenario, seed: UInt64, writesJournal: Bool = false) {
        self.seed = seed
        self.scenario = scenario
        self.writesJournal = writesJournal
        spec = scenario.fleet
        random = SeededGenerator(seed: seed &* 0x9E37_79B9 &+ 77)
        machine = FleetMachine(spec: spec, now: MonotonicInstant(nanoseconds: now), seed: seed)
        checker = Checker(spec)
        learn(spec)
    }

    /// A host of the swarm.
    package init(seed: UInt64, hours: Double, writesJournal: Bool = false) {
        var generator = SeededGenerator(seed: seed)
        // The first numbers of neighbouring seeds should not be neighbours.
        for _ in 0..<3 { _ = generator.next() }
        self.init(.swarm(&generator, hours: hours), seed: generator.next(), writesJournal: writesJournal)
    }

    var instant: MonotonicInstant { MonotonicInstant(nanoseconds: now) }

    /// Gives every instance of a configuration a slot of the world's.
    mutating func learn(_ spec: FleetSpec) {
        for index in services.indices { services[index] = nil }
        for service in spec.services {
            for id in service.instanceIDs {
                place(id, service)
            }
            // Where a rolling restart may have an extra instance.
            if service.portBase != nil { place(InstanceID(service: service.name, index: service.replicas), service) }
        }
    }

    private mutating func place(_ id: InstanceID, _ service: ServiceSpec) {
        if let slot = slotOf[id] {
            services[slot] = service
            return
        }
        slotOf[id] = ids.count
        ids.append(id)
        workers.append(Worker())
        services.append(service)
    }

    // MARK: The run

    /// Runs the faults, lets the fleet come to rest, and checks that it is what was asked for.
    package mutating func run() throws {
        try begin()
        try run(until: startedAt + scenario.length)
        try rest()
        if scenario.shutsDown { try shutDown() }
        checker.tally.time = now - startedAt
    }

    /// The first daemon begins, with an empty shim.
    package mutating func begin() throws {
        plan(.daemonBegins, after: 0)
        plan(.look, after: 20_000_000_000)
        for fault in Fault.allCases { planFault(fault) }
        balancers = scenario.balancers
        if scenario.meanTime[Fault.drains.rawValue] > 0 { plan(.operatorDrains, after: 90_000_000_000) }
        if scenario.meanTime[Fault.operators.rawValue] > 0 { plan(.operatorActs, after: 60_000_000_000) }
    }

    /// Runs what is planned until a moment of the virtual clock.
    package mutating func run(until end: Int64) throws {
        while let next = queue.next, next.at <= end, !finished, !isConverged {
            guard let happening = queue.takeNext() else { return }
            now = max(now, happening.at)
            try happen(happening)
        }
        if !isConverged { now = max(now, end) }
    }

    private mutating func happen(_ happening: Happening) throws {
        let slot = Int(happening.slot)
        switch happening.kind {
        case .timer: try fireTimer(slot < 0 ? nil : ids[slot], happening)
        case .probe: try runProbe(slot, happening)
        case .probeResult: try deliverProbe(slot, happening)
        case .report: try readReport(happening.number)
        case .datagram: try deliverDatagram(slot, happening)
        case .workerUp: workerIsUp(slot, happening.number)
        case .workerBeats: workerBeats(slot, happening.number)
        case .workerEnds: workerEnds(slot, happening.number, Int32(bitPattern: happening.detail))
        case .workerObeys: workerObeys(slot, happening.number)
        case .childrenEnd: childrenEnd(slot, happening.number)
        case .treeEnds: treeEnds(slot, happening.number)
        case .fault:
            guard !isResting, let fault = Fault(rawValue: Int(happening.detail)) else { return }
            planFault(fault)
            try strike(fault)
        case .operatorActs: try operatorActs()
        case .daemonBegins: try daemonBegins()
        case .shimConnects: try shimConnects()
        case .shimSpeaks:
            note("the shim answers again")
            try send(.shimSilenceChanged(isSilent: false))
        case .pressureMeasured: try answerPressure(happening.number)
        case .probersSeen: try answerProbers(happening.number)
        case .connectionsCounted: try answerCount(happening.number)
        case .operatorDrains: try operatorDrains()
        case .workChanges: workChanges(slot, happening.number)
        case .diskHasRoom: saveWhatWasNot()
        case .look: try look()
        }
        planReports()
    }

    // MARK: Planning

    mutating func plan(
        _ kind: Happening.Kind,
        after time: Int64,
        slot: Int = -1,
        number: UInt64 = 0,
        detail: UInt32 = 0
    ) {
        queue.plan(
            Happening(at: now + max(0, time), kind: kind, slot: Int32(slot), detail: detail, number: number)
        )
    }

    mutating func planFault(_ fault: Fault) {
        let mean = scenario.meanTime[fault.rawValue]
        if mean == 0 || fault == .operators || fault == .drains { return }
        let pace = scenario.pace
        let factor = pace.lowerBound + (pace.upperBound - pace.lowerBound) * random.unit()
        plan(.fault, after: Int64(Double(mean) * factor), detail: UInt32(fault.rawValue))
    }

    /// A time between two, in seconds, as nanoseconds.
    mutating func time(_ least: Double, _ most: Double) -> Int64 {
        Int64((least + random.unit() * (most - least)) * 1e9)
    }

    mutating func note(_ text: String) {
        guard writesJournal else { return }
        let milliseconds = (now - startedAt) / 1_000_000
        let fraction = String(milliseconds % 1_000 + 1_000).dropFirst()
        journal.append("\(milliseconds / 1_000).\(fraction)s \(text)")
    }

    // MARK: Looking

    private mutating func look() throws {
        plan(.look, after: isResting ? 15_000_000_000 : time(10, 50))
        guard daemonLives, machine.nodeStatus(at: instant).state != .stopped else { return }
        let processes = shim.processes
        checker.now = now
        if !isDying, connected || !checker.entries.isEmpty {
            try checker.look(
                machine,
                live: { id in processes[id].map { !$0.treeGone } ?? false },
                connected: connected
            )
        }
        try checker.checkSizes(shim.memory, shim.node)
        if timers.armed.count > ids.count + 1 { throw ShadowViolation("P9: \(timers.armed.count) timers") }
        if prober.watches.count > 2 * ids.count { throw ShadowViolation("P9: \(prober.watches.count) watches") }
        if isResting {
            // What operators drained they put back.
            for drain in checker.drains where drain.purpose == .maintenance && connected {
                try ask(.undrain(drain.target, reason: nil))
            }
        }
        if isResting, try isAtRest() { isConverged = true }
    }
}
