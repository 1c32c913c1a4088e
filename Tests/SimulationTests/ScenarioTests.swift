import Simulation
import SupervisorCore
import Testing

/// What the users lived through, and what must not happen again (research/health-and-drain.md §6, X1–X4).
struct ScenarioTests {
    private static func probe() -> ServiceSpec.Probe { ServiceSpec.Probe(method: .tcp(address: "127.0.0.1:1")) }

    /// 22 services with 44 instances.
    private static func fleet(_ change: (inout ServiceSpec) -> Void) -> FleetSpec {
        var spec = Scenario.users(change)
        spec.services.removeLast()
        return spec
    }

    private static func running(_ fleet: FleetSpec, seed: UInt64 = 1) throws -> Host {
        var host = Host(Scenario(fleet: fleet, hours: 10), seed: seed)
        try host.begin()
        try host.run(seconds: 300)
        return host
    }

    @Test(arguments: Incident.Mode.allCases)
    func `the incident`(mode: Incident.Mode) {
        for seed in UInt64(1)...3 {
            let incident = Incident(mode, seed: seed)
            #expect(incident.failures.isEmpty, "seed \(seed)")
            #expect(incident.mostLive <= 46)
            #expect(incident.restarts <= (mode == .routing ? 0 : 9))
        }
    }

    /// X1. Its million steps are run by the optimised build: `eider-sim incident`.
    @Test func `random results for 44 instances never lead to a process too many`() throws {
        var host = try Self.running(
            Self.fleet { service in
                service.readiness = Self.probe()
                service.liveness.probe = Self.probe()
            }
        )
        try host.findAnything(steps: 50_000)
        #expect(host.mostLive <= 45)
        #expect(host.checker.tally[.readinessFailed] > 0)
        #expect(host.checker.tally[.holdBegan] > 0)
    }

    @Test(arguments: [10, 20, 30])
    func `one worker that stands still for 40 s is acted upon`(watchdog: Int) throws {
        var host = try Self.running(Self.fleet { $0.liveness.watchdog = .seconds(watchdog) })
        let one = try #require(host.instances.first)
        host.freeze(one, until: host.now + 42_000_000_000)
        try host.run(seconds: 41)
        #expect(host.checker.restarts.map(\.service) == [one.service])
        try host.run(seconds: 100)
        #expect(host.status.services.allSatisfy { $0.state == .healthy })
    }

    @Test(arguments: [10, 20, 30])
    func `when all stand still for 40 s, nothing is done, and it is shown`(watchdog: Int) throws {
        var host = try Self.running(Self.fleet { $0.liveness.watchdog = .seconds(watchdog) })
        for instance in host.instances { host.freeze(instance, until: host.now + 40_000_000_000) }
        try host.run(seconds: 38)
        #expect(host.checker.restarts.isEmpty)
        #expect(host.status.node.hold == "correlated")
        try host.run(seconds: 200)
        #expect(host.checker.restarts.isEmpty)
        #expect(host.status.node.hold == nil)
        #expect(host.status.services.allSatisfy { $0.state == .healthy })
    }

    @Test(arguments: [Duration.seconds(3_600), .seconds(-3_600), .seconds(7_200)])
    func `a clock that jumps changes nothing`(jump: Duration) throws {
        var host = try Self.running(
            Self.fleet { service in
                service.readiness = Self.probe()
                service.liveness.probe = Self.probe()
                service.liveness.watchdog = .seconds(30)
            }
        )
        let starts = host.checker.tally.starts
        try host.disturb(.clockJumped(by: jump))
        #expect(host.status.node.hold == "frozen")
        for _ in 0..<12 {
            try host.run(seconds: 10)
            #expect(host.status.services.allSatisfy { $0.state == .healthy && $0.ready == 2 })
        }
        #expect(host.checker.tally.starts == starts)
        #expect(host.status.node.hold == nil)
    }
}
