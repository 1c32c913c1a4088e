package import SupervisorCore

/// What may go wrong in a fleet of hosts with shared breakers.
package enum FleetFault: Int, CaseIterable, Sendable {
    // The store.
    case failover, splitBrain, flush, keyLost, scriptsFlushed, clockStep, slowAnswers, storeAway, wrongPassword
    case pushesUnreliable
    // One host.
    case partition, daemonKilled, shimReplaced, reboot, hostPaused, hostStopped, startsFail, hostCrashes
    // The subjects.
    case badRelease, releaseDeployed, dependencyFails, dependencySlow
    case operators

    /// It is one of the shared store, or of the way to it.
    var isOfStore: Bool { rawValue <= Self.partition.rawValue }
}

/// What one seed makes of a fleet: its hosts, what they run, and which faults they have, how often.
package struct FleetScenario: Sendable {
    package var hosts = 3
    /// By host: the same but for its name.
    package var fleet = FleetSpec()
    /// Mean time between two of the kind, nanoseconds; 0: never.
    package var meanTime = [Int64](repeating: 0, count: FleetFault.allCases.count)
    /// How long the faults go on, nanoseconds.
    package var length: Int64
    /// One way to the store, seconds.
    var lag: ClosedRange<Double> = 0.0002...0.004
    /// Of a hundred pushes.
    var pushesLost = 0
    /// Redis is away when the hosts begin.
    var beginsWithoutStore = false
    /// Between the calls of one host's workers, seconds.
    var callPause: ClosedRange<Double> = 0.1...1.5
    /// Time from the start of a process until it is ready, seconds.
    var startTime: ClosedRange<Double> = 0.05...3

    package init(minutes: Double) { length = Int64(minutes * 6e10) }

    package mutating func set(_ fault: FleetFault, every seconds: Double) {
        meanTime[fault.rawValue] = Int64(seconds * 1e9)
    }

    /// A swarm: each seed has some of the faults, at rates of its own; see `Scenario.swarm`.
    package static func swarm(_ generator: inout SeededGenerator, minutes: Double) -> FleetScenario {
        var scenario = FleetScenario(minutes: minutes)
        scenario.hosts = generator.pick([1, 2, 2, 3, 3, 3, 4, 5, 7]) ?? 3
        scenario.fleet = spec(&generator, isAlone: scenario.hosts == 1 && generator.chance(50))
        let share = generator.pick([15, 30, 30, 50]) ?? 30
        for fault in FleetFault.allCases where generator.chance(share) {
            let scale: Double = generator.pick([40, 90, 200, 400] as [Double]) ?? 90
            scenario.set(fault, every: scale * (0.5 + generator.unit()))
        }
        // Where nothing fails, no breaker has anything to do.
        let subject: FleetFault = generator.pick([.badRelease, .badRelease, .dependencyFails]) ?? .badRelease
        scenario.set(subject, every: 60 + 90 * generator.unit())
        if generator.chance(40) { scenario.set(.operators, every: 40 + 40 * generator.unit()) }
        if generator.chance(50) { scenario.set(.dependencyFails, every: 60 + 90 * generator.unit()) }
        scenario.pushesLost = generator.pick([0, 0, 10, 100]) ?? 0
        scenario.beginsWithoutStore = generator.chance(15)
        if generator.chance(20) { scenario.lag = 0.001...0.1 }
        if generator.chance(20) { scenario.startTime = 0.5...12 }
        return scenario
    }

    private static func spec(_ generator: inout SeededGenerator, isAlone: Bool) -> FleetSpec {
        var spec = FleetSpec()
        spec.breaker.store = isAlone ? .local : .redis
        spec.limits.concurrentStarts = generator.pick(1...4)
        for name in generator.chance(50) ? ["web"] : ["web", "job"] {
            var service = ServiceSpec(name: name, command: ["/bin/\(name)"])
            service.kind = generator.chance(70) ? .notify : .simple
            service.replicas = generator.pick(1...3)
            service.startupTimeout = .seconds(generator.pick([6, 15, 30]) ?? 15)
            service.stopGracePeriod = .seconds(3)
            service.restart.backoffInitial = .milliseconds(generator.pick([100, 500]) ?? 500)
            service.restart.backoffMax = .seconds(generator.pick([2, 5, 15]) ?? 5)
            service.rolling.minReady = .seconds(1)
            service.breaker.crashThreshold = generator.pick([2, 3, 5]) ?? 5
            service.breaker.crashWindow = .seconds(generator.pick([20, 60]) ?? 60)
            service.breaker.waitDurationInOpenState = .seconds(generator.pick([1, 3, 10]) ?? 10)
            service.breaker.maxWaitDurationInOpenState = .seconds(generator.pick([10, 30, 60]) ?? 30)
            if generator.chance(50) { service.release = "r1" }
            spec.services.append(service)
        }
        for name in ["db", "mail"] {
            var dependency = DependencySpec(name: name)
            dependency.minimumNumberOfCalls = generator.pick([3, 6, 10]) ?? 6
            dependency.slidingWindowSize = .seconds(generator.pick([5, 10, 20]) ?? 10)
            dependency.waitDurationInOpenState = .seconds(generator.pick([1, 3]) ?? 1)
            dependency.permittedNumberOfCallsInHalfOpenState = generator.pick([1, 3, 5]) ?? 3
            spec.dependencies.append(dependency)
        }
        return spec
    }
}

/// A fault planted in the models, not in the core: a checker that does not see it is worth nothing.
package enum PlantedFault: String, CaseIterable, Sendable {
    case quorumIgnored, restoresLost, openExpires, voteForHostCause, gateIgnored, staleResultTaken, probesUnlimited
    case fenceIgnored, syncTellsNothing, connectResets, openingKills, breakersMixed, roundsEndless, opensTwice
    case islandCloses
}
