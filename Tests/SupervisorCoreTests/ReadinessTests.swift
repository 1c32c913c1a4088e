import Simulation
import Testing

@testable import SupervisorCore

/// What a worker that is probed may be given, and what readiness must not do (I2, I8, I9).
struct ReadinessTests {
    private func probed(_ name: String, replicas: Int = 1, _ change: (inout ServiceSpec) -> Void = { _ in })
        -> ServiceSpec
    {
        service(name, replicas: replicas) { service in
            service.readiness = ServiceSpec.Probe(method: .tcp(address: "h:1"))
            change(&service)
        }
    }

    /// Everything passes once.
    private func running(_ services: ServiceSpec...) throws -> World {
        var world = World(.of(services))
        try world.start()
        try world.settle()
        for id in world.shim.ids where !world.watched(id.description).isEmpty {
            try world.probe(id.description, .readiness, .success)
        }
        return world
    }

    private func fail(_ world: inout World, _ id: String, times: Int = 3) throws {
        for _ in 0..<times { try world.probe(id, .readiness, .failure("answered 503")) }
    }

    private func pass(_ world: inout World, _ id: String, times: Int = 2) throws {
        for _ in 0..<times { try world.probe(id, .readiness, .success) }
    }

    @Test func `the first success is enough, and until then it is starting`() throws {
        var world = try World.running(probed("a"), service("b", after: ["a"]))
        #expect(world.kind("a/0") == .ready && world.watched("a/0") == [.readiness])
        #expect(try world.seenInstance("a/0").state == .starting)
        #expect(try world.seen("a").state == .starting)
        #expect(world.kind("b/0") == .waiting, "ready is what its after waits for")
        #expect(!world.machine.node.firstStartFinished)
        try fail(&world, "a/0", times: 5)
        #expect(try world.seenInstance("a/0").reason == "waits for its readiness probe: answered 503")
        try pass(&world, "a/0", times: 1)
        #expect(try world.seenInstance("a/0").state == .healthy)
        #expect(world.kind("b/0") == .ready)
        #expect(world.machine.node.firstStartFinished)
    }

    @Test func `failures in a row take it out, successes in a row bring it back, and nothing else happens`() throws {
        var world = try running(probed("a", replicas: 2))
        let starts = world.shim.starts
        try fail(&world, "a/0", times: 2)
        try pass(&world, "a/0", times: 1)
        try fail(&world, "a/0", times: 2)
        #expect(try world.seenInstance("a/0").ready)
        try fail(&world, "a/0", times: 1)
        let out = try world.seenInstance("a/0")
        #expect(!out.ready && out.state == .unhealthy && out.reason == "fails its readiness probe: answered 503")
        #expect(try world.seen("a").state == .degraded && world.seen("a").routable)
        try pass(&world, "a/0", times: 1)
        #expect(try !world.seenInstance("a/0").ready)
        try fail(&world, "a/0", times: 1)
        try pass(&world, "a/0", times: 1)
        #expect(try !world.seenInstance("a/0").ready, "two in a row are asked for")
        try pass(&world, "a/0", times: 1)
        #expect(try world.seenInstance("a/0").ready)
        #expect(world.shim.starts == starts && world.process("a/0")?.signalsSent == 0)
    }

    @Test func `one that does not pass in its time is shown and kept`() throws {
        var world = try World.running(probed("a") { $0.startupTimeout = .seconds(30) })
        let start = try world.ask(start: "a")
        try fail(&world, "a/0")
        try world.advance(by: .seconds(29))
        #expect(world.results[start] == nil)
        try world.advance(by: .seconds(1))
        let late = try world.seenInstance("a/0")
        #expect(late.state == .unhealthy)
        #expect(late.reason == "has not passed its readiness probe within 30s: answered 503")
        #expect(try world.seen("a").state == .unhealthy)
        #expect(world.kind("a/0") == .ready && world.process("a/0")?.signalsSent == 0)
        #expect(world.machine.node.firstStartFinished)
        guard case .failed(let text)? = world.results[start] else { throw ShadowViolation("\(world.results)") }
        #expect(text.contains("a/0 has not passed its readiness probe within 30s (answered 503)"))
        try pass(&world, "a/0", times: 1)
        #expect(try world.seenInstance("a/0").state == .healthy)
        #expect(world.timer("a/0") == nil)
    }

    @Test func `an unknown changes nothing, and is shown when it goes on`() throws {
        var world = try running(probed("a"))
        try fail(&world, "a/0", times: 2)
        for _ in 0..<2 { try world.probe("a/0", .readiness, .unknown(.spawn, "no process")) }
        #expect(try world.seenInstance("a/0").state == .healthy)
        try world.probe("a/0", .readiness, .unknown(.spawn, "no process"))
        let shown = try world.seenInstance("a/0")
        #expect(shown.ready && shown.state == .degraded && shown.reason == "cannot be probed: no process")
        try fail(&world, "a/0", times: 1)
        #expect(try !world.seenInstance("a/0").ready, "the row was not broken")
        let counts = world.machine.probeCounts(ofService: 0).readiness
        #expect((counts.successes, counts.failures, counts.unknowns) == (1, 3, 3))
    }

    @Test func `results of an earlier run, or of no probe, are dropped and counted`() throws {
        var world = try running(probed("a"), service("b"))
        let old = ProbeKey(instance: World.id("a/0"), generation: 1, kind: .readiness)
        try world.end("a/0")
        try world.settle()
        let before = world.machine.staleCallbacks
        for _ in 0..<3 { try world.send(.probed(old, .failure("x"))) }
        try world.probe("a/0", .liveness, .failure("x"))
        try world.probe("b/0", .readiness, .failure("x"))
        #expect(world.machine.staleCallbacks == before + 5)
    }

    @Test func `probes are run while it is ready, at phases of their own`() throws {
        var world = try World.running(probed("a", replicas: 3) { $0.restart.backoffInitial = .seconds(2) })
        let phases = world.prober.watches.values.map(\.at)
        #expect(Set(phases).count == 3)
        #expect(phases.allSatisfy { $0.since(world.now) >= .zero && $0.since(world.now) < .seconds(1) })
        try world.end("a/0")
        #expect(world.watched("a/0").isEmpty && world.prober.watches.count == 2)
        try world.ask(stop: "a/1")
        #expect(world.watched("a/1").isEmpty)
        try world.say("a/2") { $0.stopping = true }
        #expect(world.watched("a/2").isEmpty, "what is leaving is not judged")
        try world.sayReady("a/2")
        #expect(world.watched("a/2") == [.readiness])
    }

    @Test func `a startup probe says when a simple service is ready`() throws {
        let spec = service("a") { service in
            service.startupProbe = ServiceSpec.Probe(method: .tcp(address: "h:1"))
            service.readiness = ServiceSpec.Probe(method: .tcp(address: "h:1"))
            service.startupTimeout = .seconds(20)
        }
        var world = try World.running(spec)
        #expect(world.kind("a/0") == .starting && world.watched("a/0") == [.startup])
        try world.probe("a/0", .startup, .failure("refused"))
        try world.probe("a/0", .startup, .success)
        #expect(world.kind("a/0") == .ready && world.watched("a/0") == [.readiness])
        try world.end("a/0")
        try world.advance(by: .seconds(1))
        #expect(world.kind("a/0") == .starting)
        try world.advance(by: .seconds(20))
        #expect(world.kind("a/0") == .stopping, "it was not ready in time")
    }

    // MARK: Over the daemon's death

    @Test func `what was decided stays, and is decided anew by new results`() throws {
        var world = try running(probed("a", replicas: 2))
        try fail(&world, "a/0")
        try world.daemonDies()
        #expect(try !world.seenInstance("a/0").ready && world.seenInstance("a/1").ready)
        #expect(world.watched("a/0") == [.readiness] && world.watched("a/1") == [.readiness])
        try fail(&world, "a/1", times: 2)
        try world.daemonDies()
        try fail(&world, "a/1", times: 1)
        #expect(try world.seenInstance("a/1").ready, "a row begins anew")
        try pass(&world, "a/0")
        #expect(try world.seenInstance("a/0").ready)
    }

    @Test func `a daemon that learns of a probe changes nothing until that has failed`() throws {
        var world = try World.running(service("a"))
        try world.daemonDies(successor: .of([probed("a")]))
        #expect(try world.seenInstance("a/0").ready)
        try fail(&world, "a/0")
        #expect(try !world.seenInstance("a/0").ready)
        try world.daemonDies(successor: .of([service("a")]))
        #expect(try world.seenInstance("a/0").ready, "nobody asks any more")
        try world.daemonDies(successor: .of([probed("a")]))
        try world.ask(restart: "a")
        try world.end("a/0")
        #expect(try world.seenInstance("a/0").state == .starting)
        try world.daemonDies(successor: .of([service("a")]))
        #expect(try world.seenInstance("a/0").ready, "nothing keeps it waiting")
    }

    // MARK: I8

    private func flap(_ world: inout World, _ id: String, times: Int) throws {
        for _ in 0..<times {
            try fail(&world, id)
            try pass(&world, id)
        }
    }

    @Test func `one that flaps is kept out while another is ready, and comes back when it was steady`() throws {
        var world = try running(probed("a", replicas: 2))
        try flap(&world, "a/0", times: 3)
        let held = try world.seenInstance("a/0")
        #expect(!held.ready && held.state == .unhealthy)
        #expect(held.reason == "is flapping, and another instance stands in for it (I8)")
        #expect(held.suppressions.map(\.rule) == [.i8])
        #expect(world.machine.suppressions(ofService: 0, .i8) > 0)
        #expect(world.notes.contains { $0.contains("a/0 flapping") })
        try world.advance(by: .seconds(590))
        #expect(try !world.seenInstance("a/0").ready)
        try world.advance(by: .seconds(15))
        #expect(try world.seenInstance("a/0").ready)
        #expect(try world.seenInstance("a/0").suppressions.isEmpty)
    }

    @Test func `the only one is kept in while it flaps, and not when it is down`() throws {
        var world = try running(probed("a"))
        try flap(&world, "a/0", times: 2)
        try fail(&world, "a/0")
        let held = try world.seenInstance("a/0")
        #expect(held.ready && held.state == .degraded)
        #expect(held.reason == "is flapping, and nobody stands in for it (I8)")
        #expect(try world.seen("a").routable)
        // A minute is no gap any more, however few probes fit into it.
        try world.advance(by: .seconds(59))
        try fail(&world, "a/0", times: 1)
        #expect(try world.seenInstance("a/0").ready)
        try world.advance(by: .seconds(1))
        try fail(&world, "a/0", times: 1)
        #expect(try !world.seenInstance("a/0").ready)
        try pass(&world, "a/0", times: 1)
        #expect(try world.seenInstance("a/0").ready, "held in as soon as it passes")
    }

    @Test func `a hold outlives the daemon`() throws {
        var world = try running(probed("a", replicas: 2))
        try flap(&world, "a/0", times: 3)
        try world.daemonDies()
        #expect(try !world.seenInstance("a/0").ready)
        try world.advance(by: .seconds(605))
        #expect(try world.seenInstance("a/0").ready)
    }

    // MARK: I9

    private func failAll(_ world: inout World, times: Int) throws {
        for _ in 0..<times {
            for id in world.shim.ids { try world.probe(id.description, .readiness, .failure("timeout")) }
        }
    }

    @Test func `when every check fails at once, states stand still for one window, and then are believed`() throws {
        var world = try running(probed("a", replicas: 2), probed("b", replicas: 2))
        try failAll(&world, times: 1)
        #expect(world.notes.contains { $0.contains("node frozen: ") && $0.contains("(I9)") })
        #expect(world.nodeStatus().hold == "frozen")
        try failAll(&world, times: 4)
        #expect(try world.seen("a").ready == 2, "frozen")
        #expect(try world.seenInstance("a/0").suppressions.map(\.rule) == [.i9])
        #expect(world.machine.freezes == 1)
        try world.advance(by: .seconds(17))
        #expect(world.nodeStatus().hold == nil)
        try failAll(&world, times: 1)
        #expect(try world.seen("a").ready == 0 && world.seen("b").ready == 0)
        #expect(world.machine.freezes == 1, "it is not impossible twice")
    }

    @Test func `few checks, or one service, may well fail at once`() throws {
        var world = try running(probed("a", replicas: 5))
        try failAll(&world, times: 3)
        #expect(try world.seen("a").ready == 0)
        world = try running(probed("a"), probed("b", replicas: 2))
        try failAll(&world, times: 3)
        #expect(try world.seen("b").ready == 0)
        #expect(world.machine.freezes == 0)
    }

    @Test func `a start that fails everywhere is no impossible measurement`() throws {
        var world = try World.running(probed("a", replicas: 2), probed("b", replicas: 2))
        try failAll(&world, times: 5)
        #expect(world.machine.freezes == 0)
    }

    @Test(arguments: [
        Disturbance.clockJumped(by: .seconds(3_600)), .clockJumped(by: .seconds(-3_600)), .loopStalled(.seconds(5)),
        .checkerStalled(.seconds(4)),
    ])
    func `after a disturbance nothing changes for one window`(_ disturbance: Disturbance) throws {
        var world = try running(probed("a", replicas: 2))
        let before = try world.seen("a")
        try world.send(.disturbed(disturbance))
        #expect(try world.seen("a") == before)
        try fail(&world, "a/0", times: 5)
        #expect(try world.seenInstance("a/0").ready)
        try pass(&world, "a/0", times: 1)
        try world.advance(by: .seconds(17))
        #expect(try world.seenInstance("a/0").suppressions.isEmpty)
        #expect(world.nodeStatus().hold == nil)
        try fail(&world, "a/0")
        #expect(try !world.seenInstance("a/0").ready)
    }

    @Test func `a disturbance that goes on is one freeze`() throws {
        var world = try running(probed("a"))
        for second in 2..<30 {
            try world.send(.disturbed(.checkerStalled(.seconds(second))))
            try world.advance(by: .seconds(1))
        }
        #expect(world.machine.freezes == 1)
        #expect(world.notes.count { $0.contains("node frozen") } == 1)
        try world.advance(by: .seconds(17))
        #expect(world.nodeStatus().hold == nil)
    }
}
