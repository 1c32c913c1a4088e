import Simulation
import SupervisorCore

extension FleetSpec {
    /// A small fleet of every kind of service, by `generator`.
    static func random(_ generator: inout SeededGenerator) -> FleetSpec {
        var spec = FleetSpec()
        spec.limits.concurrentStarts = generator.pick(1...4)
        spec.drain = .withoutNotice
        let names = ["a", "b", "c", "d", "e", "f"]
        for position in 0..<generator.pick(1...names.count) {
            var service = ServiceSpec(name: names[position], command: ["/bin/x"])
            service.kind = generator.pick(ServiceSpec.Kind.allCases) ?? .simple
            service.replicas = generator.chance(10) ? 0 : generator.pick(1...3)
            service.critical = generator.chance(20)
            service.after = names[..<position].filter { _ in generator.chance(30) }
            service.restart.policy = generator.pick(ServiceSpec.Restart.Policy.allCases) ?? .always
            if generator.chance(70) { service.restart.policy = .always }
            service.restart.successExitCodes = generator.chance(20) ? [0, 3] : [0]
            service.restart.backoffJitter = generator.pick([0, 0.2, 1]) ?? 0
            service.restart.backoffInitial = generator.pick([.zero, .milliseconds(500), .seconds(2)]) ?? .zero
            service.breaker.mode = generator.chance(40) ? .auto : .disabled
            service.breaker.crashThreshold = generator.pick(1...5)
            service.breaker.waitDurationInOpenState = .seconds(generator.pick(1...20))
            service.restart.stableAfter = generator.pick([.seconds(1), .seconds(60)]) ?? .zero
            service.startupTimeout = .seconds(generator.pick(1...30))
            service.stopGracePeriod = .seconds(generator.pick(1...20))
            if generator.chance(40) {
                service.liveness.watchdog = .seconds(generator.pick(1...60))
            }
            service.liveness.action = generator.chance(80) ? .restart : .report
            if generator.chance(50) { service.readiness = probe(&generator) }
            if generator.chance(40) { service.liveness.probe = probe(&generator) }
            if service.kind == .simple, generator.chance(30) { service.startupProbe = probe(&generator) }
            spec.services.append(service)
        }
        return spec
    }

    private static func probe(_ generator: inout SeededGenerator) -> ServiceSpec.Probe {
        var probe = ServiceSpec.Probe(method: .tcp(address: "127.0.0.1:1"))
        probe.period = .seconds(generator.pick(1...20))
        probe.timeout = .seconds(generator.pick(1...5))
        probe.successThreshold = generator.pick(1...3)
        probe.failureThreshold = generator.pick(1...4)
        return probe
    }

    /// The same fleet with one service more or less, or with other replicas.
    func changed(_ generator: inout SeededGenerator) -> FleetSpec {
        var spec = self
        if spec.services.isEmpty || generator.chance(30) {
            var added = ServiceSpec(name: "z\(generator.pick(0...9))", command: ["/bin/z"])
            // Only after the first ones, so that there is never a circle.
            added.after = spec.services.map(\.name).filter { $0 < "b" }
            spec.services.removeAll { $0.name == added.name }
            spec.services.append(added)
        } else {
            let position = generator.pick(0...spec.services.count - 1)
            if generator.chance(50) {
                spec.services.remove(at: position)
            } else {
                spec.services[position].replicas = generator.pick(0...3)
            }
        }
        return spec
    }
}
