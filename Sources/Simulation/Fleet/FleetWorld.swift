import SupervisorCore

/// A fleet of hosts around the real core, and the store that they share: one seed drives them all. The same seed gives
/// the same run.
package struct FleetWorld {
    let scenario: FleetScenario
    let planted: PlantedFault?
    var random: SeededGenerator
    /// Nanoseconds of the virtual clock.
    package internal(set) var now: Int64 = 1_000_000_000_000
    let startedAt: Int64 = 1_000_000_000_000
    let seed: UInt64
    var queue = DeedQueue()
    var hosts: [FleetHost] = []
    var store = StoreModel()
    package internal(set) var tally = FleetTally()
    package internal(set) var digest = Digest()

    /// Releases that crash, and until when.
    var badUntil: [String: Int64] = [:]
    var releasesMade = 1
    var failingUntil: [String: Int64] = [:]
    var slowUntil: [String: Int64] = [:]
    var callsMade: UInt64 = 0
    /// When the store, or the way to it, was last other than it should be; and when a host last stood still.
    var storeTroubleUntil: Int64 = 0
    /// Until then not every host need have found that a key was lost.
    var keyLostUntil: Int64 = 0
    private var paceAt: Int64 = 0
    private var pace = 0
    var isResting = false
    var isConverged = false
    package internal(set) var journal: [String] = []
    let writesJournal: Bool

    package init(
        _ scenario: FleetScenario,
        seed: UInt64,
        planted: PlantedFault? = nil,
        writesJournal: Bool = false
    ) {
        self.scenario = scenario
        self.seed = seed
        self.planted = planted
        self.writesJournal = writesJournal
        random = SeededGenerator(seed: seed &* 0x9E37_79B9 &+ 177)
        for index in 0..<scenario.hosts {
            var spec = scenario.fleet
            spec.node.name = "h\(index)"
            let ahead = Int64(random.below(1_000_000)) * 1_000_000
            var host = FleetHost("h\(index)", spec, clockAhead: ahead, at: now, seed: seed &+ UInt64(index) << 32)
            host.books.configure(spec)
            hosts.append(host)
        }
        store.offset = 1_700_000_000_000
        storeTroubleUntil = now
    }

    /// A fleet of the swarm.
    package init(seed: UInt64, minutes: Double, planted: PlantedFault? = nil, writesJournal: Bool = false) {
        var generator = SeededGenerator(seed: seed &+ 0xF1EE7)
        for _ in 0..<3 { _ = generator.next() }
        let scenario = FleetScenario.swarm(&generator, minutes: minutes)
        self.init(scenario, seed: generator.next(), planted: planted, writesJournal: writesJournal)
    }

    /// Runs the faults, lets the fleet come to rest, and checks that it is as it should be.
    package mutating func run() throws {
        if scenario.beginsWithoutStore { takeStoreAway(for: time(5, 60)) }
        for index in hosts.indices {
            plan(.daemonBegins(index), after: time(0, 5))
            plan(.call(index), after: time(5, 10))
        }
        plan(.replicate, after: time(0.01, 0.5))
        plan(.look, after: time(5, 6))
        for fault in FleetFault.allCases { planFault(fault) }
        defer { tally.time = now - startedAt }
        try run(until: startedAt + scenario.length)
        try rest()
    }

    /// Runs what is planned until a moment of the virtual clock.
    package mutating func run(until end: Int64) throws {
        while let next = queue.nextAt, next <= end, !isConverged, let (at, deed) = queue.takeNext() {
            now = max(now, at)
            try checkPace(deed)
            try happen(deed)
        }
        if !isConverged { now = max(now, end) }
    }

    /// Nothing spins: however much goes wrong, a fleet has little to do in a millisecond.
    private mutating func checkPace(_ deed: Deed) throws {
        if now / 1_000_000 != paceAt { (paceAt, pace) = (now / 1_000_000, 0) }
        pace += 1
        if pace > 4_000 { throw ShadowViolation("P7: it spins: \(deed)") }
    }

    private mutating func happen(_ deed: Deed) throws {
        switch deed {
        case .daemonBegins(let host): try daemonBegins(host)
        case .timer(let host, let token): try fireTimer(host, token)
        case .report(let host, let epoch): try readReport(host, epoch)
        case .workerReady(let host, let id, let generation): try workerReady(host, id, generation)
        case .workerEnds(let host, let id, let generation, let code): workerEnds(host, id, generation, code)
        case .treeEnds(let host, let id, let generation): treeEnds(host, id, generation)
        case .releases(let host, let epoch, let names): try identifyReleases(host, epoch, names)
        case .resumes(let host): try resume(host)
        case .connects(let host, let session): try connects(host, session)
        case .arrives(let host, let session, let request, let caller):
            try arrives(host, session, request, by: caller)
        case .answered(let host, let session, let number, let reply): try answered(host, session, number, reply)
        case .timesOut(let host, let session, let number): try timesOut(host, session, number)
        case .pushed(let host, let session, let entry):
            if hosts[host].session == session, hosts[host].isLinked { try send(host, .storeSaid(.pushed(entry))) }
        case .replicate:
            plan(.replicate, after: time(0.01, 0.5))
            store.replicate()
        case .splitHeals: try healSplit()
        case .storeReturns: if now >= store.awayUntil { note("Redis is back") }
        case .call(let host): try call(host)
        case .callEnds(let host, let epoch, let call): try callEnds(host, epoch, call)
        case .fault(let fault):
            guard !isResting else { return }
            planFault(fault)
            try strike(fault)
        case .look: try look()
        }
    }

    // MARK: Planning

    mutating func plan(_ deed: Deed, after time: Int64) { queue.plan(deed, at: now + max(0, time)) }

    private mutating func planFault(_ fault: FleetFault) {
        let mean = scenario.meanTime[fault.rawValue]
        if mean > 0 { plan(.fault(fault), after: Int64(Double(mean) * (0.2 + 1.6 * random.unit()))) }
    }

    /// A time between two, in seconds, as nanoseconds.
    mutating func time(_ least: Double, _ most: Double) -> Int64 {
        Int64((least + random.unit() * (most - least)) * 1e9)
    }

    mutating func note(_ text: String) {
        guard writesJournal else { return }
        let milliseconds = (now - startedAt) / 1_000_000
        journal.append("\(milliseconds / 1_000).\(String(milliseconds % 1_000 + 1_000).dropFirst())s \(text)")
    }

    // MARK: The daemons

    /// Tells a daemon, carries out what it answers, and has the rules checked.
    mutating func send(_ host: Int, _ event: Event) throws {
        guard hosts[host].lives else { return }
        if now < hosts[host].pausedUntil { return hosts[host].backlog.append(event) }
        let before = hosts[host].books.statesBefore(event, hosts[host])
        let effects = hosts[host].machine.handle(event, at: hosts[host].instant(now))
        tally.events += 1
        digest.add(now)
        if writesJournal { write(host, effects) }
        // What follows is checked as it was asked for; what is planted comes after it.
        do {
            try hosts[host].books.take(event, effects, hosts[host], before, at: now, &tally)
        } catch {
            note("\(hosts[host].name) \(event)".replacing("SupervisorCore.", with: ""))
            throw ShadowViolation("\(hosts[host].name): \(error)")
        }
        for effect in effects {
            digest.add(effect)
            try carryOut(host, effect)
        }
        if planted == .openingKills, effects.contains(where: { $0.isOpening }) { try killSome(host) }
        planReports(host)
    }

    private mutating func write(_ host: Int, _ effects: [Effect]) {
        for effect in effects {
            switch effect {
            case .record(let subject, let kind, let text):
                note("\(hosts[host].name) [\(subject ?? "node") \(kind)] \(text)")
            default: break
            }
        }
    }

    private mutating func carryOut(_ host: Int, _ effect: Effect) throws {
        let instant = hosts[host].instant(now)
        switch effect {
        case .startTimer(let token, let at):
            try hosts[host].timers.obey(effect)
            plan(.timer(host, token), after: at.nanoseconds - instant.nanoseconds)
        case .cancelTimer: try hosts[host].timers.obey(effect)
        case .spawn(let id, let generation):
            hosts[host].shim.startFault = now < hosts[host].startsFailUntil ? hosts[host].startFault : nil
            try hosts[host].shim.obey(effect, at: instant)
            if hosts[host].shim.startFault == nil { workerBegins(host, id, generation) }
        case .signal(let id, let generation, _, _):
            if planted == .fenceIgnored, hosts[host].books.wasFenced(id) { return }
            try hosts[host].shim.obey(effect, at: instant)
            hosts[host].workers[id]?.isEnding = true
            plan(.workerEnds(host, id, generation, 0), after: time(0.01, 0.3))
        case .endTree(let id, let generation):
            try hosts[host].shim.obey(effect, at: instant)
            plan(.treeEnds(host, id, generation), after: time(0.001, 0.05))
        case .release, .remember, .rememberNode, .rememberBreakers: try hosts[host].shim.obey(effect, at: instant)
        case .saveIntents(let intents):
            // By a clock that all boots share, and through its bytes.
            let kept = intents.moved(by: .nanoseconds(-hosts[host].clockAhead))
            hosts[host].disk = Intents(decoding: kept.encoded()) ?? Intents()
        case .askStore(let request): ask(host, request)
        case .identifyReleases(let names): plan(.releases(host, hosts[host].epoch, names), after: time(0.001, 0.05))
        case .watch, .unwatch, .lookAtProbers, .countConnections, .measurePressure, .record, .finishOperation,
            .announceFirstStart, .finishShutdown:
            break
        }
    }

    mutating func daemonBegins(_ host: Int) throws {
        if hosts[host].lives { return }
        let isFirst = hosts[host].epoch == 0
        hosts[host].epoch += 1
        hosts[host].lives = true
        hosts[host].shim.connectionEnds()
        hosts[host].reportsPlanned = 0
        let epoch = hosts[host].epoch
        let known = hosts[host].spec.services.filter(\.release.isEmpty).map { ($0.name, hosts[host].release(of: $0)) }
        hosts[host].machine = FleetMachine(
            spec: hosts[host].spec,
            now: hosts[host].instant(now),
            seed: seed &+ UInt64(host) << 32 &+ epoch,
            releases: Dictionary(uniqueKeysWithValues: known)
        )
        hosts[host].books.daemonBegins(at: now)
        if !isFirst { tally.count(.takeover) }
        note("\(hosts[host].name): daemon \(epoch) begins")
        let disk = hosts[host].disk.moved(by: .nanoseconds(hosts[host].clockAhead))
        try send(host, .shimConnected(hosts[host].shim.adoption(intents: disk)))
        let said = hosts[host].shim.datagrams
        hosts[host].shim.datagrams = []
        for datagram in said { try send(host, .notified(datagram.instance, datagram.generation, datagram.message)) }
        if hosts[host].spec.breaker.store == .redis { redial(host, isFirst: true) }
    }

    mutating func daemonDies(_ host: Int) {
        guard hosts[host].lives else { return }
        note("\(hosts[host].name): the daemon is killed")
        hosts[host].lives = false
        hosts[host].timers.removeAll()
        hosts[host].backlog = []
        hosts[host].pausedUntil = 0
        hosts[host].isLinked = false
        hosts[host].session += 1
        hosts[host].open = []
        hosts[host].shim.connectionEnds()
        hosts[host].reportsPlanned = 0
        hosts[host].books.daemonDies()
    }

    private mutating func fireTimer(_ host: Int, _ token: TimerToken) throws {
        guard hosts[host].lives, let armed = hosts[host].timers.timer(of: token.instance), armed.token == token,
            armed.at <= hosts[host].instant(now)
        else { return }
        // While it is paused, nothing is due for it.
        if now < hosts[host].pausedUntil { return plan(.timer(host, token), after: hosts[host].pausedUntil - now + 1) }
        hosts[host].timers.remove(token)
        try send(host, .timerFired(token))
    }

    mutating func planReports(_ host: Int) {
        while hosts[host].reportsPlanned < hosts[host].shim.outbox.count {
            hosts[host].reportsPlanned += 1
            plan(.report(host, hosts[host].epoch), after: time(0.0001, 0.003))
        }
    }

    private mutating func readReport(_ host: Int, _ epoch: UInt64) throws {
        guard hosts[host].lives, hosts[host].epoch == epoch, let report = hosts[host].shim.outbox.first else { return }
        hosts[host].shim.outbox.removeFirst()
        hosts[host].reportsPlanned -= 1
        try send(host, report)
    }

    mutating func resume(_ host: Int) throws {
        guard hosts[host].lives, now >= hosts[host].pausedUntil else { return }
        let backlog = hosts[host].backlog
        hosts[host].backlog = []
        for event in backlog { try send(host, event) }
    }

    private mutating func killSome(_ host: Int) throws {
        guard let id = hosts[host].workers.keys.sorted().first, let worker = hosts[host].workers[id] else { return }
        let effects = [Effect.signal(id, worker.generation, .terminate, tree: false)]
        try hosts[host].books.checkSignals(.callsSettled, effects, at: now)
    }
}

extension Effect {
    /// It tells that a breaker has opened.
    var isOpening: Bool {
        if case .record(_, "breaker-open", _) = self { return true }
        return false
    }
}
