import SupervisorCore

/// Who asks the health ports, as the world knows it: what it makes of what it is told is its own business.
struct Balancer: Sendable {
    enum Kind: Sendable, CaseIterable {
        /// Says what state it has us in, and goes elsewhere after three answers.
        case haproxy
        /// Says nothing, and goes elsewhere after three answers.
        case plain
        /// One word is enough.
        case agent
        /// Never goes elsewhere, whatever it is told.
        case stubborn
        /// Asks no more from some moment on.
        case vanishing
        /// Only watches.
        case monitor
    }

    var kind: Kind
    /// nil: the node.
    var service: String?
    /// Nanoseconds.
    var period: Int64
    /// Since when what it asks for is out of service, as it was seen; nil while it is in.
    var outSince: Int64?
    var goneAt: Int64?

    /// Answers that take us out, so far.
    func answers(_ now: Int64) -> Int {
        guard let outSince else { return 0 }
        return Int((min(now, goneAt ?? now) - outSince) / period)
    }

    /// It routes to us no more.
    func hasLeft(_ now: Int64) -> Bool {
        switch kind {
        case .haproxy, .plain: answers(now) >= 3
        case .agent: answers(now) >= 1
        case .stubborn: false
        case .vanishing: goneAt != nil || answers(now) >= 3
        case .monitor: true
        }
    }
}

// Drains, rolling restarts, and the world that they have to do with.
extension Host {
    // MARK: Operators

    /// One of drain, undrain, rolling restart; the same again, now and then.
    mutating func operatorDrains() throws {
        let mean = scenario.meanTime[Fault.drains.rawValue]
        if isResting || mean == 0 { return }
        plan(.operatorDrains, after: Int64(Double(mean) * (0.2 + 1.6 * random.unit())))
        guard daemonLives, let service = random.pick(spec.services) else { return }
        let target: Target? =
            switch random.pick(0...5) {
            case 0..<3: nil
            case 3, 4: .service(service.name)
            default:
                .instance(InstanceID(service: service.name, index: random.below(max(1, service.replicas))))
            }
        switch random.pick(0...9) {
        case 0..<4:
            var request = DrainRequest(target: target)
            if random.chance(50) { request.deadline = .seconds(random.pick(3...90)) }
            if random.chance(20) { request.notice = .fixed(.seconds(random.pick(0...20))) }
            request.isForced = random.chance(40)
            try ask(.drain(request))
        case 4..<8:
            let known = checker.drains.filter { $0.purpose == .maintenance }.map(\.target)
            try ask(.undrain(random.pick(known) ?? target, reason: nil))
        default: try ask(.roll([service.name], reason: nil))
        }
    }

    /// The host goes down with everything on it, and comes up again: only the disk remembers.
    mutating func reboot() {
        guard daemonLives, connected else { return }
        die()
        note("the host is rebooted")
        checker.tally.count(.reboot)
        shim = ShadowShim()
        for slot in workers.indices { workers[slot].begin(0) }
        checker.hostReboots(disk)
    }

    // MARK: Looks

    mutating func answerProbers(_ number: UInt64) throws {
        guard number == epoch, daemonLives else { return }
        if now < looksFailUntil { return }
        var copy = machine
        let status = copy.fleetStatus(at: instant)
        for index in balancers.indices {
            let name = balancers[index].service
            let service = status.services.first { $0.name == name }
            let isIn = name == nil ? status.node.ready : service?.routable == true && service?.state != .draining
            if isIn {
                balancers[index].outSince = nil
            } else if balancers[index].outSince == nil {
                balancers[index].outSince = now
            }
        }
        let hasAllLeft = balancers.allSatisfy { $0.hasLeft(now) }
        checker.balancersSeen(haveLeft: hasAllLeft, at: now)
        try send(.probersSeen(balancers.enumerated().map { sighting($1, $0) }))
    }

    private func sighting(_ balancer: Balancer, _ number: Int) -> ProberSighting {
        let agent = balancer.kind == .monitor ? "Monit/5.33" : ""
        let seen = min(now, balancer.goneAt ?? now)
        var sighting = ProberSighting(
            identity: .init(address: "10.0.0.\(number)", userAgent: agent, path: "/", host: ""),
            target: balancer.service.map { .service($0) },
            lastAt: MonotonicInstant(nanoseconds: seen - (seen - startedAt) % balancer.period),
            told: balancer.outSince == nil ? "200" : "503"
        )
        sighting.period = .nanoseconds(balancer.period)
        sighting.requests = 1_000
        sighting.isAgent = balancer.kind == .agent
        sighting.outInARow = balancer.answers(now)
        if balancer.kind == .haproxy || balancer.kind == .stubborn {
            sighting.haproxyState = balancer.hasLeft(now) ? "DOWN" : "UP"
            sighting.haproxySessions = 0
        }
        return sighting
    }

    mutating func answerCount(_ number: UInt64) throws {
        guard number == epoch, daemonLives else { return }
        if now < looksFailUntil { return try send(.connectionsCounted(nil)) }
        var figures: [TrafficFigure] = []
        for slot in ids.indices where services[slot]?.portBase != nil {
            guard shim.processes[ids[slot]]?.mainAlive == true else { continue }
            let busy = Int(workers[slot].inFlight)
            figures.append(TrafficFigure(target: .instance(ids[slot]), open: busy + 1, busy: busy, arrived: 0))
        }
        try send(.connectionsCounted(figures))
    }

    // MARK: Work

    /// A worker's requests in flight change: while it is drained they only grow fewer, unless a queue feeds it.
    mutating func workChanges(_ slot: Int, _ generation: UInt64) {
        guard isAlive(slot, generation), workers[slot].isUp else { return }
        let isLeaving = checker.drains.contains { $0.covers(ids[slot]) }
        if workers[slot].isNeverDone, !isResting {
            workers[slot].inFlight = max(1, workers[slot].inFlight)
        } else if isLeaving, !workers[slot].isFed {
            workers[slot].inFlight -= min(1, workers[slot].inFlight)
        } else {
            workers[slot].inFlight = UInt64(random.below(4))
        }
        if workers[slot].reports { say(slot, .inFlight) }
        plan(.workChanges, after: isLeaving ? time(0.1, 3) : time(5, 60), slot: slot, number: generation)
    }

    /// What a new process is like.
    mutating func workBegins(_ slot: Int) {
        guard scenario.meanTime[Fault.drains.rawValue] > 0, services[slot]?.kind != .oneshot else { return }
        workers[slot].reports = random.chance(50)
        workers[slot].isFed = workers[slot].reports && random.chance(20)
        workers[slot].isNeverDone = random.chance(8)
        workers[slot].inFlight = UInt64(random.below(3))
        plan(.workChanges, after: time(0.1, 5), slot: slot, number: workers[slot].generation)
    }
}
