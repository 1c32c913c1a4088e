package import SupervisorCore

/// What may go wrong.
package enum Fault: Int, CaseIterable, Sendable {
    case crash, badRelease, hang, readinessFails, livenessFails, flapping, trigger, saysStopping
    case outOfMemory, slowStarts, startsFail, surviveKill, children, lostDatagrams, lateDatagrams, repeatedDatagrams
    case proberBroken, checkerStall, dependencyFails, everythingFails, hostStall, clockStep, suspend, pressure
    case daemonKilled, daemonKilledMidway, shimConnectionLost, shimReplaced, shimSilent, otherConfiguration
    case diskFull, staleCallback, operators
    case drains, looksFail, reboot, balancerGone
}

/// What one seed makes of a host: its fleet, and which faults it has, how often.
package struct Scenario: Sendable {
    package var fleet: FleetSpec
    /// Mean time between two of the kind, nanoseconds; 0: never.
    package var meanTime = [Int64](repeating: 0, count: Fault.allCases.count)
    /// The time between two, as a multiple of the mean.
    package var pace: ClosedRange<Double> = 0.2...1.8
    /// How long the faults go on, nanoseconds.
    package var length: Int64
    /// The fleet is stopped at the end.
    package var shutsDown = false
    /// Who asks the health ports.
    var balancers: [Balancer] = []
    /// Time from the start of a process until it is up.
    package var startTime: ClosedRange<Double> = 0.05...3
    /// Time from a stop signal to the end.
    package var stopTime: ClosedRange<Double> = 0.01...4

    package init(fleet: FleetSpec, hours: Double) {
        self.fleet = fleet
        length = Int64(hours * 3.6e12)
    }

    package mutating func set(_ fault: Fault, every seconds: Double) {
        meanTime[fault.rawValue] = Int64(seconds * 1e9)
    }

    /// A swarm: each seed has some of the faults, at rates of its own.
    ///
    /// Source: Groce et al., "Swarm Testing", ISSTA 2012: leaving features out finds what all of them together hide.
    package static func swarm(_ generator: inout SeededGenerator, hours: Double) -> Scenario {
        if generator.chance(6) { return troubles(&generator, hours: hours) }
        var scenario = Scenario(fleet: fleet(&generator), hours: hours)
        let share = generator.pick([15, 30, 30, 60]) ?? 30
        for fault in Fault.allCases where generator.chance(share) {
            // Evenly over the orders of magnitude from one to sixty minutes.
            let scale: Double = generator.pick([60, 150, 400, 1_000, 3_600] as [Double]) ?? 600
            scenario.set(fault, every: scale * (0.5 + generator.unit()))
        }
        // Where nothing goes wrong, nothing is learned.
        scenario.set(generator.pick(Fault.allCases) ?? .crash, every: 300)
        if generator.chance(20) { scenario.startTime = 0.5...40 }
        if generator.chance(12) {
            // So slow that others fail meanwhile.
            scenario.startTime = 50...115
            scenario.set(.hang, every: 150)
            scenario.set(.livenessFails, every: 150)
            scenario.set(.outOfMemory, every: 900)
            for index in scenario.fleet.services.indices {
                scenario.fleet.services[index].startupTimeout = .seconds(300)
            }
        }
        if generator.chance(20) { scenario.stopTime = 0.01...45 }
        scenario.shutsDown = generator.chance(10)
        if scenario.meanTime[Fault.drains.rawValue] > 0 { drains(&scenario, &generator) }
        return scenario
    }

    /// Whom a drain has to do with.
    private static func drains(_ scenario: inout Scenario, _ generator: inout SeededGenerator) {
        scenario.set(.drains, every: 40 + 200 * generator.unit())
        var drain = DrainSpec()
        drain.noticeMinimum = .seconds(generator.pick(0...5))
        drain.noticeMaximum = drain.noticeMinimum + .seconds(generator.pick([0, 5, 30, 75]) ?? 5)
        drain.deadline = .seconds(generator.pick([5, 20, 60, 120]) ?? 60) + drain.noticeMaximum
        scenario.fleet.drain = drain
        for index in scenario.fleet.services.indices {
            scenario.fleet.services[index].rolling.minReady = .seconds(generator.pick([0, 2, 10, 30]) ?? 10)
            if generator.chance(40) { scenario.fleet.services[index].portBase = 10_000 + 100 * index }
        }
        for _ in 0..<generator.pick(0...4) {
            let service = generator.chance(50) ? nil : generator.pick(scenario.fleet.services)?.name
            let period = Int64(generator.pick([500, 1_000, 5_000, 15_000]) ?? 1_000) * 1_000_000
            let kind = generator.pick(Balancer.Kind.allCases) ?? .plain
            scenario.balancers.append(Balancer(kind: kind, service: service, period: period))
        }
    }

    /// One worker after the other fails, in services that have little else to do: what the budgets are for.
    private static func troubles(_ generator: inout SeededGenerator, hours: Double) -> Scenario {
        var spec = FleetSpec()
        for name in ["a", "b", "c", "d", "e", "f"] {
            var service = ServiceSpec(name: name, command: ["/bin/\(name)"])
            service.breaker.mode = .disabled
            service.kind = .notify
            service.replicas = 2
            service.liveness.watchdog = .seconds(generator.pick([10, 20, 30]) ?? 20)
            service.startupTimeout = .seconds(300)
            spec.services.append(service)
        }
        var scenario = Scenario(fleet: spec, hours: hours)
        scenario.set(.hang, every: 100 + 100 * generator.unit())
        if generator.chance(30) { scenario.set(.daemonKilledMidway, every: 300) }
        if generator.chance(50) {
            // One fails while the one before it is still being started.
            scenario.startTime = 105...115
            scenario.pace = 0.9...1.1
            scenario.set(.hang, every: 85)
        }
        return scenario
    }

    // MARK: Fleets

    private static func fleet(_ generator: inout SeededGenerator) -> FleetSpec {
        let size = generator.pick(0...99)
        if size < 3 { return large(&generator) }
        var spec = FleetSpec()
        spec.limits.concurrentStarts = generator.pick(1...4)
        let names = ["a", "b", "c", "d", "e"]
        let count = size < 60 ? generator.pick(1...2) : generator.pick(2...5)
        for position in 0..<count {
            spec.services.append(service(names[position], after: names[..<position], &generator))
        }
        return spec
    }

    private static func service(
        _ name: String,
        after earlier: ArraySlice<String>,
        _ generator: inout SeededGenerator
    ) -> ServiceSpec {
        var service = ServiceSpec(name: name, command: ["/bin/\(name)"])
        // Drawn beside the others, which stay what they were.
        var coin = generator
        service.breaker.mode = coin.chance(30) ? .auto : .disabled
        service.breaker.crashThreshold = coin.pick(2...5)
        service.breaker.waitDurationInOpenState = .seconds(coin.pick(1...3))
        service.breaker.maxWaitDurationInOpenState = .seconds(10)
        service.kind = generator.pick([.simple, .simple, .notify, .notify, .notify, .oneshot]) ?? .simple
        service.replicas = generator.pick([1, 1, 2, 2, 2, 3]) ?? 1
        service.critical = generator.chance(20)
        service.after = earlier.filter { _ in generator.chance(35) }
        service.restart.policy = generator.pick([.always, .always, .always, .always, .onFailure, .never]) ?? .always
        service.restart.backoffJitter = generator.pick([0, 0.2, 1]) ?? 0
        service.startupTimeout = .seconds(generator.pick([5, 30, 120]) ?? 30)
        service.stopGracePeriod = .seconds(generator.pick([2, 10, 30]) ?? 10)
        service.liveness.action = generator.chance(75) ? .restart : .report
        if service.kind == .oneshot { return service }
        if generator.chance(50) { service.liveness.watchdog = .seconds(generator.pick([10, 20, 30, 60]) ?? 30) }
        if generator.chance(60) { service.readiness = probe(&generator) }
        if generator.chance(50) { service.liveness.probe = probe(&generator) }
        if service.kind == .simple, generator.chance(40) {
            let startup = probe(&generator)
            service.startupProbe = startup
            service.startupTimeout = max(service.startupTimeout, startup.period * 3)
        }
        return service
    }

    private static func probe(_ generator: inout SeededGenerator) -> ServiceSpec.Probe {
        var probe = ServiceSpec.Probe(method: .tcp(address: "127.0.0.1:1"))
        probe.period = .seconds(generator.pick([2, 5, 5, 10, 20]) ?? 5)
        probe.timeout = .seconds(generator.pick([1, 2, 2, 4]) ?? 2)
        probe.successThreshold = generator.pick(1...3)
        probe.failureThreshold = generator.pick([1, 2, 3, 3, 4]) ?? 3
        return probe
    }

    /// The users' fleet: 23 services, 45 processes.
    package static func large(_ generator: inout SeededGenerator) -> FleetSpec {
        users { service in
            service.readiness = probe(&generator)
            if generator.chance(50) { service.liveness.probe = probe(&generator) }
            if generator.chance(50) { service.liveness.watchdog = .seconds(30) }
        }
    }

    /// 23 services with 45 processes, of one kind.
    package static func users(_ change: (inout ServiceSpec) -> Void) -> FleetSpec {
        var spec = FleetSpec()
        for number in 0..<23 {
            var service = ServiceSpec(name: "s\(number / 10)\(number % 10)", command: ["/bin/s"])
            service.breaker.mode = .disabled
            service.kind = .notify
            service.replicas = number == 22 ? 1 : 2
            change(&service)
            spec.services.append(service)
        }
        return spec
    }

    /// The same fleet with one service more or less, or with other replicas.
    package static func changed(_ spec: FleetSpec, _ generator: inout SeededGenerator) -> FleetSpec {
        var spec = spec
        let position = generator.below(spec.services.count)
        if spec.services.count < 2 || generator.chance(30) {
            spec.services.removeAll { $0.name == "z" }
            spec.services.append(service("z", after: [], &generator))
        } else if generator.chance(50) {
            let removed = spec.services.remove(at: position).name
            for index in spec.services.indices { spec.services[index].after.removeAll { $0 == removed } }
        } else {
            spec.services[position].replicas = generator.pick(1...3)
        }
        return spec
    }
}
