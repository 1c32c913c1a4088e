package import SupervisorCore

/// The users' outage: 23 services with 45 processes, whose every check fails for half an hour while starts take 40 s
/// and longer the more there are. Naive checks kept 80 processes running for 40 wanted.
package struct Incident: Sendable {
    /// How much every service leaves to its checks.
    package enum Mode: String, CaseIterable, Sendable {
        /// The default: readiness, which only routes.
        case routing
        /// Liveness with `action = "restart"` everywhere.
        case restarts
    }

    package static let processes = 45
    package static let mostRestarts = 9

    package var mode: Mode
    package var mostLive = 0
    package var restarts = 0
    package var events: UInt64 = 0
    /// What did not hold; empty when all did.
    package var failures: [String] = []

    package init(_ mode: Mode, seed: UInt64) {
        self.mode = mode
        var host = Host(Self.scenario(mode), seed: seed)
        do {
            try host.begin()
            let calm = host.now + 20 * 60_000_000_000
            try host.run(until: calm)
            host.failEverything(until: calm + 30 * 60_000_000_000)
            try host.run(until: calm + 30 * 60_000_000_000)
            restarts = host.checker.restarts.count
            mostLive = host.mostLive
            try host.rest()
        } catch {
            failures.append("\(error)")
        }
        mostLive = max(mostLive, host.mostLive)
        events = host.checker.tally.events
        let limit = mode == .routing ? 0 : Self.mostRestarts
        if restarts > limit { failures.append("\(restarts) restarts for health, not at most \(limit)") }
        if mostLive > Self.processes + 1 { failures.append("\(mostLive) processes, not at most \(Self.processes + 1)") }
        if mostLive < Self.processes { failures.append("only \(mostLive) processes ever lived") }
    }

    /// Random results of every probe of 44 instances, for as many steps: no more than 45 processes ever live.
    package static func anything(steps: Int, seed: UInt64) -> (mostLive: Int, failures: [String]) {
        var fleet = Scenario.users { service in
            let probe = ServiceSpec.Probe(method: .tcp(address: "127.0.0.1:1"))
            service.readiness = probe
            service.liveness.probe = probe
        }
        fleet.services.removeLast()
        var host = Host(Scenario(fleet: fleet, hours: 1), seed: seed)
        var failures: [String] = []
        do {
            try host.begin()
            try host.run(seconds: 120)
            try host.findAnything(steps: steps)
        } catch {
            failures.append("\(error)")
        }
        if host.mostLive > 45 { failures.append("\(host.mostLive) processes, not at most 45") }
        return (host.mostLive, failures)
    }

    private static func scenario(_ mode: Mode) -> Scenario {
        let fleet = Scenario.users { service in
            let probe = ServiceSpec.Probe(method: .tcp(address: "127.0.0.1:1"))
            service.readiness = probe
            if mode == .restarts { service.liveness.probe = probe }
            // 40 s, and with four at once on two processors twice that.
            service.startupTimeout = .seconds(300)
        }
        var scenario = Scenario(fleet: fleet, hours: 0.9)
        scenario.startTime = 40...80
        return scenario
    }
}

extension Host {
    /// Every check of every worker fails until then; whatever is started meanwhile fails too.
    package mutating func failEverything(until end: Int64) {
        for slot in workers.indices {
            workers[slot].readinessFailsUntil = end
            workers[slot].livenessFailsUntil = end
        }
        allFailUntil = end
    }

    /// SIGSTOP: the worker does nothing until then.
    package mutating func freeze(_ id: InstanceID, until end: Int64) {
        if let slot = slotOf[id] { workers[slot].hungUntil = end }
    }

    /// Every instance of the present configuration, in order.
    package var instances: [InstanceID] { ids.indices.filter { services[$0] != nil }.map { ids[$0] } }

    /// Tells the daemon of a disturbance, as the shell does.
    package mutating func disturb(_ disturbance: Disturbance) throws {
        try send(.disturbed(disturbance))
        planReports()
    }

    /// Probes of every instance find anything at all, and time passes between them.
    package mutating func findAnything(steps: Int) throws {
        for _ in 0..<steps {
            try run(until: now + time(0.01, 0.4))
            let keys = prober.watches.count
            if keys == 0 { continue }
            let slot = random.below(ids.count)
            let kind: ProbeKind = random.chance(50) ? .readiness : .liveness
            let key = ProbeKey(instance: ids[slot], generation: workers[slot].generation, kind: kind)
            let outcome: ProbeOutcome =
                switch random.below(10) {
                case 0..<4: .success
                case 9: .unknown(.busy, "not run in time")
                default: .failure("answered 503")
                }
            try send(.probed(key, outcome))
            planReports()
        }
    }

    /// Runs for a while.
    package mutating func run(seconds: Double) throws { try run(until: now + Int64(seconds * 1e9)) }

    /// As users see the fleet.
    package var status: FleetStatus {
        var machine = machine
        return machine.fleetStatus(at: instant)
    }
}
