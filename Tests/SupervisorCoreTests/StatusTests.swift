import Simulation
import Testing

@testable import SupervisorCore

/// What users see (INTERFACE.md §1), derived from the state.
struct StatusTests {
    private func states(_ world: inout World, _ name: String) -> [PublicState] {
        world.status(name)?.instances.map(\.state) ?? []
    }

    @Test func `each internal state has a public one`() throws {
        var world = try World.running(
            service("ready"),
            service("starting", .notify),
            service("waiting", after: ["starting"]),
            service("queued", .notify),
            service("done", .oneshot),
            service("crashed"),
            service("stopped"),
            service("never") { $0.restart.policy = .never },
            service("finished") { $0.restart.policy = .never },
            service("leaving", .notify),
            concurrentStarts: 9
        )
        try world.end("done/0", .code(0))
        try world.end("crashed/0")
        try world.end("never/0")
        try world.end("finished/0", .code(0))
        try world.ask(stop: "stopped")
        #expect(states(&world, "stopped") == [.stopping])
        try world.end("stopped/0")
        try world.sayReady("leaving/0")
        try world.say("leaving/0") { $0.stopping = true }
        let table: [(String, PublicState, PublicState)] = [
            ("ready", .healthy, .healthy), ("starting", .starting, .starting), ("waiting", .starting, .starting),
            ("done", .healthy, .healthy), ("crashed", .backoff, .unhealthy), ("stopped", .stopped, .stopped),
            ("never", .failed, .unhealthy), ("finished", .stopped, .stopped), ("leaving", .unhealthy, .unhealthy),
        ]
        for (name, instance, service) in table {
            #expect(states(&world, name) == [instance], "\(name)")
            #expect(world.status(name)?.state == service, "\(name)")
            #expect(world.status(name)?.routable == (service == .healthy), "\(name)")
        }
    }

    @Test func `a shim that does not answer degrades the node until it answers`() throws {
        var world = try World.running(service("a"))
        #expect(world.status("a")?.state == .healthy)
        let now = world.now
        #expect(world.machine.nodeStatus(at: now).state == .healthy)
        try world.send(.shimSilenceChanged(isSilent: true))
        let silent = world.machine.nodeStatus(at: now)
        #expect(silent.state == .degraded && silent.ready)
        #expect(silent.reason?.contains("shim does not answer") == true)
        try world.send(.shimSilenceChanged(isSilent: false))
        #expect(world.machine.nodeStatus(at: now).state == .healthy)
    }

    @Test func `a service is degraded while some of what is wanted is missing`() throws {
        var world = try World.running(service("a", replicas: 3))
        try world.end("a/1", .code(7))
        var status = try world.seen("a")
        #expect(status.state == .degraded && status.ready == 2 && status.desired == 3 && status.routable)
        #expect(status.reason == "a/1: exited with code 7")
        #expect(status.instances[1].nextStartAt == world.now.advanced(by: .milliseconds(500)))
        try world.ask(stop: "a/1")
        status = try world.seen("a")
        #expect(status.state == .healthy && status.desired == 2, "what is not wanted is not missing")
    }

    @Test func `a service whose crashes came first is unhealthy, not starting`() throws {
        var world = try World.running(service("a", .notify))
        #expect(world.status("a")?.state == .starting)
        try world.end("a/0")
        try world.advance(by: .seconds(1))
        #expect(world.kind("a/0") == .starting)
        #expect(world.status("a")?.state == .unhealthy)
        try world.sayReady("a/0")
        #expect(world.status("a")?.state == .healthy)
    }

    @Test func `since is when the public state last changed`() throws {
        var world = try World.running(service("a"))
        let ready = try world.seen("a").since
        try world.advance(by: .seconds(5))
        #expect(world.status("a")?.since == ready)
        try world.end("a/0")
        #expect(world.status("a")?.since == world.now)
    }

    @Test func `the node is what its intent and its critical services make of it`() throws {
        var world = try World.running(
            service("edge", .notify) { $0.critical = true },
            service("side"),
            service("slow", .notify)
        )
        #expect(world.nodeStatus().state == .starting)
        #expect(!world.nodeStatus().ready)
        try world.sayReady("slow/0")
        try world.sayReady("edge/0")
        #expect(world.nodeStatus().state == .healthy)
        #expect(world.nodeStatus().ready && world.nodeStatus().firstStartFinished)
        try world.end("side/0")
        #expect(world.nodeStatus().state == .degraded)
        #expect(world.nodeStatus().reason == "side is unhealthy")
        #expect(world.nodeStatus().ready, "the AND of everything would take every node out at once")
        try world.end("edge/0")
        #expect(world.nodeStatus().state == .unhealthy)
        #expect(world.nodeStatus().reason == "critical service edge is unhealthy")
        #expect(!world.nodeStatus().ready)
    }

    @Test func `a service that an operator stopped does not degrade the node, unless it is critical`() throws {
        var world = try World.running(service("a"), service("edge") { $0.critical = true })
        try world.ask(stop: "a")
        try world.end("a/0", .code(0))
        #expect(world.nodeStatus().state == .healthy)
        try world.ask(stop: "edge", reason: "new cable")
        try world.end("edge/0", .code(0))
        #expect(world.nodeStatus().reason == "critical service edge is stopped")
        #expect(world.status("edge")?.reason == "stopped by ada: new cable")
    }

    @Test func `only what changed is published again`() throws {
        var world = try World.running(service("a"), service("b"), service("c", .notify), service("d", after: ["c"]))
        try world.publish()
        #expect(world.machine.takeChangedServices().isEmpty)
        try world.end("b/0")
        #expect(world.machine.takeChangedServices() == [1])
        try world.sayReady("c/0")
        #expect(world.machine.takeChangedServices() == [2, 3])
        try world.send(.shutdownRequested(by: "SIGTERM"))
        #expect(world.machine.takeChangedServices() == [0, 1, 2, 3])
    }

    @Test func `what the worker says is shown`() throws {
        var world = try World.running(service("a"))
        try world.say("a/0") {
            $0.status = "warming up"
            $0.inFlight = 3
        }
        var status = try world.seenInstance("a/0")
        #expect(status.statusText == "warming up" && status.inFlight == 3 && status.live && status.ready)
        #expect(status.pid == world.process("a/0")?.pid)
        try world.say("a/0") { $0.reloading = true }
        #expect(world.instanceStatus("a/0")?.reason == "reloading")
        try world.say("a/0") {
            $0.ready = true
            $0.status = ""
        }
        status = try world.seenInstance("a/0")
        #expect(status.reason == nil && status.statusText == nil)
        try world.end("a/0")
        status = try world.seenInstance("a/0")
        #expect(status.pid == nil && status.startedAt == nil && status.inFlight == nil && !status.live)
        #expect(status.lastExit?.inWords == "exited with code 1")
    }
}
