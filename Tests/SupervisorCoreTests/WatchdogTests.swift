import Simulation
import Testing

@testable import SupervisorCore

/// Heartbeats, and rule I4.
struct WatchdogTests {
    private func watched(_ name: String, replicas: Int = 1) -> ServiceSpec {
        service(name, .notify, replicas: replicas) { $0.liveness.watchdog = .seconds(30) }
    }

    private func running(_ services: ServiceSpec...) throws -> World {
        var world = World(.of(services))
        try world.start()
        try world.settle()
        for id in world.shim.ids { try world.sayReady(id.description) }
        return world
    }

    /// Lets time pass, with a heartbeat of these instances every ten seconds.
    private func pass(_ world: inout World, seconds: Int, beating: [String]) throws {
        for _ in 0..<(seconds / 10) {
            try world.advance(by: .seconds(10))
            for id in beating { try world.say(id) { $0.watchdog = .alive } }
        }
    }

    @Test func `a heartbeat that stops ends the worker by SIGABRT, and backs off for watchdog`() throws {
        var world = try running(watched("a"))
        try pass(&world, seconds: 100, beating: ["a/0"])
        #expect(world.kind("a/0") == .ready)
        // Ten seconds longer than its period, in which others may show that they fail too.
        try world.advance(by: .seconds(39))
        #expect(world.kind("a/0") == .ready)
        try world.advance(by: .seconds(1))
        #expect(world.kind("a/0") == .stopping)
        #expect(world.pending("a/0") == [.abort])
        try world.end("a/0", .signal(.abort, coreDumped: true))
        #expect(world.record("a/0")?.lastExit?.cause == .watchdog)
        #expect(world.record("a/0")?.restartsByCause == [.watchdog: 1])
    }

    @Test func `a heartbeat costs no timer`() throws {
        var world = try running(watched("a"))
        let timer = try #require(world.timer("a/0"))
        try world.say("a/0") { $0.watchdog = .alive }
        #expect(world.effects.isEmpty)
        #expect(world.timer("a/0") == timer)
    }

    @Test func `nobody is restarted for health in the first minute`() throws {
        var world = try running(watched("a"))
        try world.advance(by: .seconds(59))
        #expect(world.kind("a/0") == .ready)
        #expect(world.instanceStatus("a/0")?.state == .degraded)
        #expect(world.instanceStatus("a/0")?.live == false)
        #expect(world.notes.contains { $0.contains("suppressed") && $0.contains("I4") })
        try world.advance(by: .seconds(31))
        #expect(world.kind("a/0") == .stopping)
    }

    @Test func `a late heartbeat that comes back is forgiven`() throws {
        var world = try running(watched("a"))
        try world.advance(by: .seconds(40))
        #expect(world.record("a/0")?.run?.heartbeatLate == true)
        try world.say("a/0") { $0.watchdog = .alive }
        #expect(world.record("a/0")?.run?.heartbeatLate == false)
        #expect(world.instanceStatus("a/0")?.state == .healthy)
        try pass(&world, seconds: 200, beating: ["a/0"])
        #expect(world.kind("a/0") == .ready)
    }

    @Test func `a service is restarted for health once in ten minutes`() throws {
        var world = try running(watched("a"))
        try world.advance(by: .seconds(90))
        #expect(world.kind("a/0") == .stopping)
        try world.end("a/0", .signal(.abort, coreDumped: false))
        try world.advance(by: .seconds(1))
        try world.sayReady("a/0")
        try world.advance(by: .seconds(500))
        #expect(world.kind("a/0") == .ready)
        #expect(world.instanceStatus("a/0")?.reason == "gives no heartbeat")
        try world.advance(by: .seconds(130))
        #expect(world.kind("a/0") == .stopping)
    }

    @Test func `one restart for health at a time, and three in ten minutes on a node`() throws {
        let names = ["a/0", "b/0", "c/0", "d/0"]
        var world = try running(watched("a"), watched("b"), watched("c"), watched("d"))
        try pass(&world, seconds: 70, beating: names)
        // One after the other: those that fail together are another matter (rule I5).
        for (position, name) in names.enumerated() {
            let others = names.filter { $0 != name }
            try pass(&world, seconds: 60, beating: others)
            let expected: StateKind = position < 3 ? .stopping : .ready
            #expect(world.kind(name) == expected)
            if expected == .ready { break }
            try world.end(name, .signal(.abort, coreDumped: false))
            try world.advance(by: .seconds(1))
            try world.sayReady(name)
            try pass(&world, seconds: 70, beating: names)
        }
        #expect(world.machine.node.healthRestarts.count == 3)
        #expect(world.machine.suppressions(ofService: 3, .i4) > 0)
    }

    @Test func `instances of two services that fail together are not restarted, and one is tried later`() throws {
        let names = ["a/0", "b/0"]
        let quick = { (name: String) in service(name, .notify) { $0.liveness.watchdog = .seconds(10) } }
        var world = try running(quick("a"), quick("b"))
        try pass(&world, seconds: 70, beating: names)
        try pass(&world, seconds: 400, beating: [])
        #expect(world.kind("a/0") == .ready && world.kind("b/0") == .ready)
        #expect(world.machine.node.hold != nil)
        try pass(&world, seconds: 260, beating: [])
        #expect(names.count { world.kind($0) == .stopping } == 1)
        #expect(world.machine.node.healthRestarts.count == 1)
    }

    @Test func `with report, a heartbeat that stops is only shown`() throws {
        var spec = watched("a")
        spec.liveness.action = .report
        var world = try running(spec)
        try world.advance(by: .seconds(3_600))
        #expect(world.kind("a/0") == .ready)
        #expect(world.status("a")?.state == .degraded)
    }

    @Test func `a worker that says trigger is late at once, and restarted when it has been for long enough`() throws {
        var world = try running(watched("a"))
        try pass(&world, seconds: 70, beating: ["a/0"])
        try world.say("a/0") { $0.watchdog = .trigger }
        #expect(world.record("a/0")?.run?.heartbeatLate == true)
        try world.advance(by: .seconds(29))
        #expect(world.kind("a/0") == .ready)
        try world.advance(by: .seconds(1))
        #expect(world.kind("a/0") == .stopping)
    }

    @Test func `a worker may change its period, or ask for none, where one is configured`() throws {
        var world = try running(watched("a"), service("b"))
        try pass(&world, seconds: 60, beating: ["a/0"])
        try world.say("a/0") { $0.watchdogUsec = 200_000_000 }
        try world.advance(by: .seconds(209))
        #expect(world.kind("a/0") == .ready)
        try world.say("a/0") { $0.watchdogUsec = 0 }
        #expect(world.timer("a/0") == nil)
        try world.advance(by: .seconds(3_600))
        #expect(world.kind("a/0") == .ready)
        try world.say("b/0") { $0.watchdogUsec = 1 }
        #expect(world.timer("b/0") == nil)
    }

    @Test func `restarts for health count over the death of the daemon, and a heartbeat gets a new period`() throws {
        var world = try running(watched("a", replicas: 2))
        try pass(&world, seconds: 60, beating: ["a/0", "a/1"])
        try world.advance(by: .seconds(29))
        try world.daemonDies()
        try pass(&world, seconds: 30, beating: ["a/1"])
        #expect(world.kind("a/0") == .ready && world.kind("a/1") == .ready)
        try pass(&world, seconds: 10, beating: ["a/1"])
        #expect([world.kind("a/0"), world.kind("a/1")] == [.stopping, .ready])
        try world.daemonDies()
        #expect(world.machine.node.healthRestarts.count == 1)
        try world.advance(by: .seconds(120))
        #expect(world.kind("a/1") == .ready)
    }
}
