import Simulation
import Testing

@testable import SupervisorCore

/// Restarts for health by probes, and every rule before them (I3 to I6, I10, pressure).
struct LivenessTests {
    private func probed(_ name: String, replicas: Int = 1, _ change: (inout ServiceSpec) -> Void = { _ in })
        -> ServiceSpec
    {
        service(name, replicas: replicas) { service in
            service.liveness.probe = ServiceSpec.Probe(method: .tcp(address: "h:1"))
            change(&service)
        }
    }

    /// Ready for long enough, with probes that run and pass.
    private func running(_ services: ServiceSpec...) throws -> World {
        var world = World(.of(services))
        world.probesRun = true
        try world.start()
        try world.advance(by: .seconds(100))
        return world
    }

    private func fail(_ world: inout World, _ ids: String...) {
        for id in ids { world.finds(id, .liveness, .failure("answered 500")) }
    }

    private func stopping(_ world: World) -> [String] {
        world.machine.instances.map(\.id.description).filter { world.kind($0) == .stopping }
    }

    @Test func `one that fails alone is restarted after three failures over thirty seconds`() throws {
        var world = try running(probed("a", replicas: 2), probed("b"))
        fail(&world, "a/0")
        try world.advance(by: .seconds(29))
        let shown = try world.seenInstance("a/0")
        #expect(shown.ready && shown.state == .degraded && !shown.live, "liveness never routes")
        #expect(shown.reason == "fails its liveness probe: answered 500")
        #expect(shown.suppressions.map(\.text) == ["it has failed for less than 30s (I4)"])
        #expect(stopping(world).isEmpty)
        try world.advance(by: .seconds(10))
        #expect(stopping(world) == ["a/0"])
        #expect(world.pending("a/0") == [.terminate])
        try world.end("a/0", .code(0))
        #expect(world.record("a/0")?.lastExit?.cause == .liveness)
        #expect(world.record("a/0")?.restartsByCause == [.liveness: 1])
    }

    @Test func `a single success begins the row anew`() throws {
        var world = try running(probed("a"))
        for _ in 0..<20 {
            fail(&world, "a/0")
            try world.advance(by: .seconds(25))
            world.finds("a/0", .liveness, .success)
            try world.advance(by: .seconds(5))
        }
        #expect(world.process("a/0")?.signalsSent == 0)
    }

    @Test func `what cannot be run is never a failure`() throws {
        var world = try running(probed("a"))
        for obstacle in ProbeObstacle.allCases {
            world.finds("a/0", .liveness, .unknown(obstacle, "no"))
            try world.advance(by: .seconds(300))
        }
        #expect(world.process("a/0")?.signalsSent == 0)
        #expect(try world.seenInstance("a/0").live)
    }

    @Test func `with report, or a policy that would not start it again, nothing is restarted`() throws {
        for change: (inout ServiceSpec) -> Void in [
            { $0.liveness.action = .report }, { $0.restart.policy = .never },
        ] {
            var world = try running(probed("a", change))
            fail(&world, "a/0")
            try world.advance(by: .seconds(3_600))
            #expect(world.process("a/0")?.signalsSent == 0)
            #expect(try world.seenInstance("a/0").suppressions.map(\.rule) == [.report])
            #expect(world.machine.suppressions(ofService: 0, .report) == 1, "once, however long")
            world.finds("a/0", .liveness, .success)
            try world.advance(by: .seconds(60))
            #expect(try world.seenInstance("a/0").suppressions.isEmpty)
        }
    }

    // MARK: I3

    @Test func `the last with a fresh heartbeat stays, whatever its probe says`() throws {
        let spec = service("a", .notify, replicas: 2) { service in
            service.liveness.watchdog = .seconds(30)
            service.liveness.probe = ServiceSpec.Probe(method: .tcp(address: "h:1"))
        }
        var world = World(.of([spec]))
        world.probesRun = true
        try world.start()
        try world.settle()
        for id in ["a/0", "a/1"] { try world.sayReady(id) }
        let beat = { (world: inout World, seconds: Int, ids: [String]) in
            for _ in 0..<(seconds / 10) {
                try world.advance(by: .seconds(10))
                for id in ids { try world.say(id) { $0.watchdog = .alive } }
            }
        }
        try beat(&world, 100, ["a/0", "a/1"])
        try world.ask(stop: "a/1")
        fail(&world, "a/0")
        try beat(&world, 600, ["a/0"])
        #expect(world.process("a/0")?.signalsSent == 0)
        #expect(try world.seenInstance("a/0").suppressions.map(\.rule) == [.i3])
        // Its heartbeat lost, it serves nothing: it may go.
        try world.advance(by: .seconds(40))
        #expect(stopping(world) == ["a/0", "a/1"])
    }

    @Test func `the only one that gives no heartbeat may go, though it is ready`() throws {
        var world = try running(
            probed("a") { $0.readiness = ServiceSpec.Probe(method: .tcp(address: "h:1")) }
        )
        fail(&world, "a/0")
        try world.advance(by: .seconds(60))
        #expect(stopping(world) == ["a/0"])
    }

    @Test func `before it was ready nothing is held against it, nor against others`() throws {
        let slow = { (service: inout ServiceSpec) in
            service.readiness = ServiceSpec.Probe(method: .tcp(address: "h:1"))
        }
        var world = World(.of([probed("a", replicas: 2, slow), probed("b")]))
        world.probesRun = true
        world.finds("a/0", nil, .failure("down"))
        world.finds("a/1", nil, .failure("down"))
        try world.start()
        try world.advance(by: .seconds(300))
        #expect(world.watched("a/0") == [.readiness])
        #expect(world.nodeStatus().hold == nil)
        fail(&world, "b/0")
        try world.advance(by: .seconds(60))
        #expect(stopping(world) == ["b/0"])
    }

    // MARK: I5

    @Test func `when two services fail together nothing is restarted, until one is tried`() throws {
        var world = try running(probed("a"), probed("b"), probed("c"))
        fail(&world, "a/0", "b/0")
        try world.advance(by: .seconds(590))
        #expect(stopping(world).isEmpty)
        #expect(world.nodeStatus().hold == "correlated")
        #expect(world.notes.contains { $0.contains("node hold: instances of 2 services failed within 1m") })
        #expect(try world.seenInstance("a/0").suppressions.map(\.rule) == [.i5])
        try world.advance(by: .seconds(40))
        #expect(stopping(world).count == 1, "an experiment")
        let tried = stopping(world)[0]
        try world.end(tried, .code(0))
        world.finds(tried, .liveness, .success)
        // It helps: two minutes later the other may follow.
        try world.advance(by: .seconds(100))
        #expect(stopping(world).isEmpty)
        try world.advance(by: .seconds(40))
        #expect(stopping(world).count == 1)
        #expect(stopping(world) != [tried])
    }

    @Test func `an experiment that does not help is not repeated for ten minutes`() throws {
        var world = try running(probed("a"), probed("b"))
        fail(&world, "a/0", "b/0")
        var restarts: [MonotonicInstant] = []
        for _ in 0..<(3_600 / 5) {
            try world.advance(by: .seconds(5))
            for id in stopping(world) {
                restarts.append(world.now)
                try world.end(id, .code(0))
            }
        }
        #expect((4...6).contains(restarts.count), "\(restarts.count) in an hour")
        for (first, second) in zip(restarts, restarts.dropFirst()) { #expect(second.since(first) >= .seconds(595)) }
    }

    @Test func `all replicas of one service are together, too, and the hold ends two minutes after the last`() throws {
        var world = try running(probed("a", replicas: 2))
        fail(&world, "a/0", "a/1")
        try world.advance(by: .seconds(60))
        #expect(world.nodeStatus().hold == "correlated")
        #expect(stopping(world).isEmpty)
        world.finds("a/0", .liveness, .success)
        world.finds("a/1", .liveness, .success)
        try world.advance(by: .seconds(100))
        #expect(world.nodeStatus().hold == "correlated")
        try world.daemonDies()
        #expect(world.nodeStatus().hold == "correlated", "it outlives the daemon")
        try world.advance(by: .seconds(40))
        #expect(world.nodeStatus().hold == nil)
        #expect(world.shim.node?.hold == nil)
    }

    @Test func `failures a minute apart are not together`() throws {
        var world = try running(probed("a"), probed("b"))
        fail(&world, "a/0")
        try world.advance(by: .seconds(45))
        #expect(stopping(world) == ["a/0"])
        try world.end("a/0", .code(0))
        world.finds("a/0", .liveness, .success)
        try world.advance(by: .seconds(60))
        fail(&world, "b/0")
        try world.advance(by: .seconds(45))
        #expect(stopping(world) == ["b/0"])
        #expect(world.nodeStatus().hold == nil)
    }

    // MARK: I4

    @Test func `one in progress, until its successor is ready`() throws {
        let slow = { (service: inout ServiceSpec) in
            service.readiness = ServiceSpec.Probe(method: .tcp(address: "h:1"))
            service.startupTimeout = .seconds(200)
        }
        var world = try running(probed("a", slow), probed("b"))
        world.finds("a/0", nil, .failure("down"))
        try world.advance(by: .seconds(50))
        #expect(stopping(world) == ["a/0"])
        try world.end("a/0", .code(0))
        world.finds("a/0", .liveness, .success)
        try world.advance(by: .seconds(70))
        fail(&world, "b/0")
        try world.advance(by: .seconds(60))
        #expect(stopping(world).isEmpty)
        #expect(
            try world.seenInstance("b/0").suppressions.map(\.text) == [
                "another instance is being restarted for health (I4)"
            ]
        )
        world.finds("a/0", nil, .success)
        try world.advance(by: .seconds(20))
        #expect(stopping(world) == ["b/0"])
    }

    // MARK: Pressure

    @Test func `while the whole host is short of something, it waits and says so`() throws {
        var world = try running(probed("a"))
        var pressure = PressureReading()
        pressure.cpuSome = 95
        world.pressure = pressure
        fail(&world, "a/0")
        try world.advance(by: .seconds(600))
        #expect(stopping(world).isEmpty)
        let waits = try world.seenInstance("a/0").suppressions
        #expect(waits.map(\.text) == ["the whole host is short of processor (pressure 95%)"])
        #expect(world.machine.suppressions(ofService: 0, .pressure) == 1)
        world.pressure = PressureReading()
        try world.advance(by: .seconds(5))
        #expect(stopping(world) == ["a/0"])
    }

    @Test func `it waits ten minutes at most: it may be what the host is short by`() throws {
        var world = try running(probed("a"))
        var pressure = PressureReading()
        pressure.memoryFull = 99
        world.pressure = pressure
        fail(&world, "a/0")
        try world.advance(by: .seconds(600))
        #expect(stopping(world).isEmpty)
        try world.advance(by: .seconds(60))
        #expect(stopping(world) == ["a/0"])
    }

    @Test func `a heartbeat that is late waits for the pressure, too`() throws {
        var world = World(.of([service("a", .notify) { $0.liveness.watchdog = .seconds(30) }]))
        var pressure = PressureReading()
        pressure.memoryFull = 50
        world.pressure = pressure
        try world.start()
        try world.settle()
        try world.sayReady("a/0")
        try world.advance(by: .seconds(600))
        #expect(world.process("a/0")?.signalsSent == 0)
        world.pressure = nil
        try world.advance(by: .seconds(30))
        #expect(world.pending("a/0") == [.abort], "no word from the kernel is no pressure")
    }
}
