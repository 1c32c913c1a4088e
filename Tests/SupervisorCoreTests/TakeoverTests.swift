import Simulation
import Testing

@testable import SupervisorCore

/// The daemon dies, and the next one goes on (rule P8). `World.daemonDies` checks what must hold in every case.
struct TakeoverTests {
    @Test func `what runs is not touched, and what was known of it is known`() throws {
        var world = try World.running(service("a", .notify, replicas: 2), service("b", .oneshot))
        try world.sayReady("a/0")
        try world.say("a/0") {
            $0.status = "well"
            $0.inFlight = 7
            $0.reloading = true
        }
        try world.end("b/0", .code(0))
        let before = world.machine.instances.map(\.memory)
        let processes = world.shim.processes
        try world.daemonDies()
        #expect(world.machine.instances.map(\.memory) == before)
        #expect(world.shim.processes == processes)
        #expect(world.shim.outbox.isEmpty)
        try world.sayReady("a/1")
        #expect(world.announcements == 1)
    }

    @Test func `every daemon announces the first start once, also one that came after it`() throws {
        var world = try World.running(service("a"))
        #expect(world.announcements == 1)
        try world.daemonDies()
        #expect(world.announcements == 1)
        #expect(world.nodeStatus().firstStartFinished)
    }

    @Test func `backoff, crashes and deadlines are where they were`() throws {
        var world = try World.running(
            service("a"),
            service("b", .notify) { $0.startupTimeout = .seconds(10) },
            service("c")
        )
        try world.end("a/0")
        try world.ask(restart: "c")
        try world.advance(by: .milliseconds(300))
        try world.daemonDies()
        #expect(world.untilNextStart("a/0") == .milliseconds(200))
        try world.advance(by: .milliseconds(200))
        try world.end("a/0")
        #expect(world.untilNextStart("a/0") == .seconds(1))
        try world.advance(by: .milliseconds(9_500))
        #expect(world.kind("b/0") == .stopping)
        #expect(world.process("c/0")?.ending == false)
        try world.advance(by: .seconds(20))
        #expect(world.process("c/0")?.ending == true)
    }

    @Test func `an exit while no daemon was there counts once, at its own time`() throws {
        var world = try World.running(service("a"))
        let readyAt = world.now
        world.now = readyAt.advanced(by: .seconds(5))
        world.shim.mainEnds(World.id("a/0"), .code(4), at: world.now)
        // A daemon that was away for long does not make a short run a stable one.
        world.now = readyAt.advanced(by: .seconds(500))
        try world.daemonDies()
        #expect(world.kind("a/0") == .backoff)
        #expect(world.record("a/0")?.crashes == 1)
        #expect(world.record("a/0")?.lastExit?.at == readyAt.advanced(by: .seconds(5)))
        try world.daemonDies()
        #expect(world.record("a/0")?.crashes == 1)
        #expect(world.record("a/0")?.restarts == 1)
    }

    @Test func `killed after each effect of a restart, the next daemon finishes it`() throws {
        for effects in 0..<8 {
            var world = try World.running(service("a"))
            world.effectsUntilDeath = effects
            try world.ask(restart: "a")
            #expect(world.epoch == 2)
            let asked = world.kind("a/0") == .stopping
            #expect(asked == (effects > 0))
            if asked { try world.end("a/0", .code(0)) }
            #expect(world.kind("a/0") == .ready)
            #expect(world.shim.starts == (asked ? 2 : 1))
        }
    }

    @Test func `killed at any effect of an exit, the successor starts it once`() throws {
        for effects in 0..<10 {
            var world = try World.running(service("a") { $0.restart.backoffInitial = .zero })
            world.effectsUntilDeath = effects
            try world.end("a/0", .code(1))
            try world.settle()
            #expect(world.kind("a/0") == .ready)
            #expect(world.shim.starts == 2)
            #expect(world.record("a/0")?.restarts == 1)
        }
    }

    @Test func `ready that was read and not yet remembered is read again`() throws {
        for effects in 0..<4 {
            var world = try World.running(service("a", .notify))
            world.effectsUntilDeath = effects
            try world.sayReady("a/0")
            #expect(world.epoch == 2)
            #expect(world.kind("a/0") == .ready)
        }
    }

    @Test func `the stop of the fleet goes on`() throws {
        for effects in 0..<8 {
            var world = try World.running(service("a", replicas: 2), service("b"))
            world.effectsUntilDeath = effects
            try world.send(.shutdownRequested(by: "SIGTERM"))
            if effects == 0 { continue }
            #expect(world.nodeStatus().intent == .stop)
            for id in world.shim.ids { try world.end(id.description, .code(0)) }
            #expect(world.finished)
        }
    }

    @Test func `a stop that is going on is not asked for twice`() throws {
        var world = try World.running(service("a"))
        try world.ask(stop: "a")
        try world.daemonDies()
        try world.daemonDies()
        #expect(world.pending("a/0") == [.terminate], "many programs take a second SIGTERM for a hurry")
        try world.end("a/0", .code(0), leaving: 1)
        try world.daemonDies()
        #expect(world.pending("a/0") == [.terminate])
        try world.advance(by: .seconds(30))
        #expect(world.process("a/0")?.ending == true)
    }

    @Test func `killed between what is remembered and the signal, the next daemon sends it`() throws {
        var world = try World.running(service("a"))
        world.effectsUntilDeath = 1
        try world.ask(stop: "a")
        #expect(world.pending("a/0") == [.terminate])
    }

    // MARK: Intents

    @Test func `intents come from the disk where the shim remembers nothing`() throws {
        let intent = StopIntent(instance: World.id("a/1"), by: "ada", reason: "rest")
        var world = try World.running(service("a", replicas: 2), disk: Intents(stops: [intent]))
        #expect(world.kind("a/0") == .ready)
        #expect(world.state(World.id("a/1")) == .stopped(.intent))
        #expect(world.announcements == 1)
        #expect(world.status("a")?.desired == 1)
        try world.ask(start: "a/1")
        #expect(world.disk.stops.isEmpty)
    }

    @Test func `intents that the predecessor could not write to the disk are written`() throws {
        var world = try World.running(service("a"))
        // Remembered and signalled; then it died.
        world.effectsUntilDeath = 2
        try world.ask(stop: "a")
        #expect(world.disk.stops.map(\.instance) == [World.id("a/0")])
    }

    @Test func `what the shim remembers counts more than the disk`() throws {
        var world = try World.running(service("a"))
        world.disk.stops = [StopIntent(instance: World.id("a/0"), by: "old", reason: nil)]
        try world.daemonDies()
        #expect(world.kind("a/0") == .ready)
        #expect(world.disk.stops.isEmpty)
    }

    // MARK: Another configuration

    @Test func `a process of a service that is no longer configured is stopped, and forgotten`() throws {
        let spec = FleetSpec.of([service("a", replicas: 2), service("b")])
        var world = World(spec)
        try world.start()
        try world.settle()
        try world.daemonDies(successor: .of([service("a")]))
        #expect(world.pending("a/1") == [.terminate] && world.pending("b/0") == [.terminate])
        #expect(world.pending("a/0") == [])
        #expect(world.notes.contains("b/0 leftover: b/0 is no longer configured and is stopped"))
        let deadline = world.timer("b/0")?.at
        try world.advance(by: .seconds(10))
        try world.daemonDies(successor: .of([service("a")]))
        #expect(world.timer("b/0")?.at == deadline, "the stop keeps its deadline")
        #expect(world.pending("b/0") == [.terminate])
        try world.end("b/0", .code(0))
        try world.end("a/1", .code(0))
        #expect(world.shim.ids == [World.id("a/0")])
        #expect(world.shim.memory.keys.sorted() == [World.id("a/0")])
        #expect(world.disk.stops.isEmpty)
        // Configured again, it runs again.
        try world.daemonDies(successor: spec)
        try world.settle()
        #expect(world.kind("b/0") == .ready && world.kind("a/1") == .ready)
    }

    @Test func `a leftover that is configured again while it stops is started when it has ended`() throws {
        let spec = FleetSpec.of([service("a"), service("b")])
        var world = World(spec)
        try world.start()
        try world.settle()
        try world.daemonDies(successor: .of([service("a")]))
        try world.daemonDies(successor: spec)
        #expect(world.kind("b/0") == .stopping)
        try world.end("b/0", .code(0))
        #expect(world.kind("b/0") == .ready)
    }

    @Test func `a leftover does not confuse the books`() throws {
        var world = try World.running(service("old"), service("db", .notify))
        try world.end("db/0")
        // The new fleet waits; the books about that must not count the leftover.
        try world.daemonDies(successor: .of([service("db", .notify), service("api", after: ["db"])]))
        #expect(world.kind("api/0") == .waiting)
        try world.end("old/0", .code(0))
        try world.advance(by: .seconds(1))
        try world.sayReady("db/0")
        #expect(world.kind("api/0") == .ready)
        #expect(world.announcements == 1)
    }

    @Test func `the stop of the fleet waits for leftovers`() throws {
        var world = try World.running(service("a"), service("b"))
        try world.daemonDies(successor: .of([service("a")]))
        try world.send(.shutdownRequested(by: "SIGTERM"))
        try world.end("a/0", .code(0))
        #expect(!world.finished)
        try world.end("b/0", .code(0))
        #expect(world.finished)
    }

    // MARK: Another shim

    @Test func `when the shim was replaced, everything is started again, and nothing is forgotten`() throws {
        var world = try World.running(service("a"), service("b"), service("c"))
        try world.ask(stop: "b")
        try world.end("b/0", .code(0))
        try world.end("c/0")
        try world.shimIsLost(replaced: true)
        #expect(world.instanceStatus("a/0")?.state == .healthy, "until it is known, nothing is said about it")
        try world.shimConnects()
        try world.settle()
        #expect(world.kind("a/0") == .ready && world.kind("b/0") == .stopped && world.kind("c/0") == .backoff)
        #expect(world.record("a/0")?.generation == 2)
        #expect(world.record("a/0")?.crashes == 0)
        #expect(world.record("a/0")?.lastExit?.outcome == .status(.signal(.kill, coreDumped: false)))
        #expect(world.notes.contains { $0.contains("were ended before the start") })
        // The new shim remembers what the old one did.
        try world.daemonDies()
        #expect(world.kind("b/0") == .stopped && world.kind("c/0") == .backoff)
        #expect(world.record("c/0")?.crashes == 1)
    }

    @Test func `a oneshot whose end was seen is not run again because the shim was replaced`() throws {
        var world = try World.running(service("a", .oneshot))
        try world.end("a/0", .code(0), leaving: 1)
        #expect(world.kind("a/0") == .stopping)
        try world.shimIsLost(replaced: true)
        try world.shimConnects()
        #expect(world.kind("a/0") == .completed)
        #expect(world.record("a/0")?.lastExit?.outcome == .status(.code(0)))
    }

    @Test func `what was decided while the connection was broken is done when it stands again`() throws {
        var world = try World.running(service("a"), service("b"))
        try world.shimIsLost(replaced: false)
        try world.ask(stop: "a")
        #expect(world.pending("a/0") == [])
        try world.shimConnects()
        #expect(world.pending("a/0") == [.terminate])
        #expect(world.process("b/0")?.signalsSent == 0)
    }

    // MARK: Damage

    @Test func `a process of which nothing is remembered is left running and counts as ready`() throws {
        var world = try World.running(service("a", .notify), service("b", .oneshot))
        var adoption = try world.shim.adoption(intents: Intents())
        adoption.remembered = Remembered()
        world.machine = FleetMachine(spec: world.spec, now: world.now, seed: 1)
        let effects = world.machine.handle(.shimConnected(adoption), at: world.now)
        #expect(world.kind("a/0") == .ready)
        #expect(world.kind("b/0") == .starting, "a oneshot is not done before it has ended")
        for effect in effects {
            switch effect {
            case .spawn, .signal, .endTree, .release: Issue.record("\(effect)")
            default: break
            }
        }
    }
}
