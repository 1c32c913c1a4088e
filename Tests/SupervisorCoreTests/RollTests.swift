import Simulation
import Testing

@testable import SupervisorCore

/// Rolling restarts, scale and reload.
struct RollTests {
    /// `a` has ports, so that an extra instance may run; `b` has none.
    private static func world(_ change: (inout FleetSpec) -> Void = { _ in }) throws -> World {
        var spec = FleetSpec.of(
            [service("a", .notify, replicas: 2) { $0.portBase = 9_000 }, service("b", .notify, replicas: 2)],
            concurrentStarts: 8
        )
        spec.drain = DrainSpec()
        change(&spec)
        var world = World(spec)
        try world.start()
        try world.settle()
        for name in ["a/0", "a/1", "b/0", "b/1"] { try world.sayReady(name) }
        return world
    }

    private static func roll(_ world: inout World, _ names: String...) throws -> OperationID {
        let operation = try world.command(.roll(names, reason: nil))
        try world.settle()
        return operation
    }

    private static func step(_ world: World) -> Roll.Step? { world.machine.node.rolls.first?.step }

    // MARK: Rolls

    @Test func `an extra instance is ready before the first one leaves, and goes at the end`() throws {
        var world = try Self.world()
        let operation = try Self.roll(&world, "a")
        #expect(world.kind("a/2") == .starting && world.kind("a/0") == .ready)
        try world.sayReady("a/2")
        try world.advance(by: .seconds(9))
        #expect(world.pending("a/0").isEmpty)
        for name in ["a/0", "a/1"] {
            try world.advance(by: .seconds(2))
            #expect(world.pending(name) == [.terminate], "\(name)")
            // Never fewer than two that are ready.
            #expect(try world.seen("a").ready >= 2)
            try world.end(name, .code(0))
            try world.sayReady(name)
            #expect(try world.seen("a").ready >= 2)
            try world.advance(by: .seconds(9))
        }
        #expect(world.results[operation] == nil)
        try world.advance(by: .seconds(2))
        #expect(world.pending("a/2") == [.terminate])
        try world.end("a/2", .code(0))
        #expect(world.results[operation] == .done)
        #expect(world.machine.node.rolls.isEmpty && world.machine.node.drains.isEmpty)
        #expect(world.shim.memory[World.id("a/2")] == nil)
        #expect(try world.seen("a").instances.count == 2)
    }

    @Test func `without ports and sockets it is one at a time`() throws {
        var world = try Self.world()
        let operation = try Self.roll(&world, "b")
        #expect(world.pending("b/0") == [.terminate] && world.pending("b/1").isEmpty)
        #expect(world.slot(World.id("b/2")) == nil)
        try world.end("b/0", .code(0))
        try world.sayReady("b/0")
        #expect(world.pending("b/1").isEmpty)
        try world.advance(by: .seconds(11))
        #expect(world.pending("b/1") == [.terminate])
        try world.end("b/1", .code(0))
        try world.sayReady("b/1")
        try world.advance(by: .seconds(11))
        #expect(world.results[operation] == .done)
    }

    @Test func `the first replacement that fails stops it, and says so`() throws {
        var world = try Self.world()
        let operation = try Self.roll(&world, "b")
        try world.end("b/0", .code(0))
        try world.end("b/0", .code(1))
        #expect(
            world.results[operation]
                == .failed("the rolling restart of b has stopped: b/0 exited with code 1; 0 of 2 replaced")
        )
        #expect(world.kind("b/1") == .ready && world.pending("b/1").isEmpty)
        #expect(world.machine.node.rolls.isEmpty)
    }

    @Test func `an extra instance that is not ready in time stops it before anybody left`() throws {
        var world = try Self.world()
        let operation = try Self.roll(&world, "a")
        try world.advance(by: .seconds(121))
        guard case .failed(let text)? = world.results[operation] else { throw ShadowViolation("it goes on") }
        #expect(text.contains("a/2 was not ready within 2m"))
        #expect(world.kind("a/0") == .ready && world.kind("a/1") == .ready)
        try world.end("a/2", .code(0))
        #expect(world.shim.memory[World.id("a/2")] == nil)
        #expect(world.machine.node.rolls.isEmpty)
    }

    @Test func `the extra instance stays while it is the only one that is ready`() throws {
        var world = try Self.world { $0.services[0].replicas = 1 }
        _ = try Self.roll(&world, "a")
        try world.sayReady("a/1")
        try world.advance(by: .seconds(11))
        try world.end("a/0", .code(0))
        try world.end("a/0", .code(1))
        #expect(Self.step(world) == .holding)
        #expect(world.kind("a/1") == .ready)
        try world.advance(by: .seconds(60))
        #expect(world.pending("a/1").isEmpty)
        try world.sayReady("a/0")
        #expect(world.pending("a/1") == [.terminate])
        try world.end("a/1", .code(0))
        #expect(world.machine.node.rolls.isEmpty)
    }

    @Test func `two rolls at once share the one instance that is more than desired`() throws {
        var world = try Self.world { $0.services[1].portBase = 9_100 }
        _ = try Self.roll(&world, "a", "b")
        #expect(world.kind("a/2") == .starting && world.slot(World.id("b/2")) == nil)
        let last = try Self.finish(&world)
        #expect(last <= 5)
        #expect(world.machine.node.rolls.isEmpty)
    }

    /// Lets workers do what they are told until nothing goes on; answers the most that were live at once.
    private static func finish(_ world: inout World) throws -> Int {
        var most = 0
        for _ in 0..<200 where !world.machine.node.rolls.isEmpty || !world.machine.node.drains.isEmpty {
            most = max(most, world.shim.ids.count)
            for id in world.shim.ids {
                if !world.pending("\(id)").isEmpty {
                    try world.end("\(id)", .code(0))
                } else if world.kind("\(id)") == .starting {
                    try world.sayReady("\(id)")
                }
            }
            most = max(most, world.shim.ids.count)
            try world.advance(by: .seconds(1))
        }
        return most
    }

    @Test func `a roll survives the daemon at any of its effects`() throws {
        for dying in 0..<14 {
            for effects in 0..<16 {
                var world = try Self.world { $0.services[0].rolling.minReady = .seconds(1) }
                _ = try Self.roll(&world, "a")
                for _ in 0..<dying {
                    for id in world.shim.ids {
                        if !world.pending("\(id)").isEmpty { try world.end("\(id)", .code(0)) }
                        if world.kind("\(id)") == .starting { try world.sayReady("\(id)") }
                    }
                    try world.advance(by: .milliseconds(500))
                }
                world.effectsUntilDeath = effects
                let most = try Self.finish(&world)
                world.effectsUntilDeath = nil
                #expect(most <= 5)
                #expect(try world.seen("a").ready == 2, "turn \(dying), after \(effects) effects")
                #expect(world.slot(World.id("a/2"))?.state.hasProcess != true)
                #expect(world.machine.node.rolls.isEmpty)
            }
        }
    }

    @Test func `an operator who acts on it by hand ends it`() throws {
        var world = try Self.world()
        let operation = try Self.roll(&world, "a")
        try world.sayReady("a/2")
        try world.ask(stop: "a/1")
        try world.settle()
        guard case .failed? = world.results[operation] else { throw ShadowViolation("it goes on") }
        _ = try Self.finish(&world)
        #expect(world.kind("a/0") == .ready && world.kind("a/1") == .stopped)
        #expect(world.slot(World.id("a/2"))?.service == nil)
    }

    // MARK: Scale

    @Test func `scale adds and takes away at the end, and is remembered`() throws {
        var world = try Self.world()
        let up = try world.command(.scale(service: "a", replicas: 4, reason: "evening"))
        try world.settle()
        #expect(world.results[up] == nil)
        try world.sayReady("a/2")
        try world.sayReady("a/3")
        #expect(world.results[up] == .done)
        #expect(try world.seen("a").desired == 4)
        try world.daemonDies()
        try world.settle()
        #expect(try world.seen("a").desired == 4)
        let down = try world.command(.scale(service: "a", replicas: 1, reason: nil))
        try world.settle()
        #expect(try world.seen("a").desired == 1)
        _ = try Self.finish(&world)
        #expect(world.results[down] == .done)
        #expect(world.shim.ids.map(\.description) == ["a/0", "b/0", "b/1"])
        // After a reboot it is still one.
        var next = World(world.spec)
        next.disk = world.disk
        try next.start()
        try next.settle()
        #expect(next.shim.ids.map(\.description) == ["a/0", "b/0", "b/1"])
        // Until the configuration says another number.
        var spec = world.spec
        spec.services[0].replicas = 3
        try next.daemonDies(successor: spec)
        try next.settle()
        #expect(next.shim.ids.count == 5)
        #expect(next.disk.scales.isEmpty)
    }

    @Test func `scale to nothing and back`() throws {
        var world = try Self.world()
        _ = try world.command(.scale(service: "b", replicas: 0, reason: nil))
        _ = try Self.finish(&world)
        #expect(try world.seen("b").state == .stopped)
        #expect(try world.seen("b").instances.isEmpty)
        _ = try world.command(.scale(service: "b", replicas: 2, reason: nil))
        try world.settle()
        try world.sayReady("b/0")
        try world.sayReady("b/1")
        #expect(try world.seen("b").state == .healthy)
        #expect(world.disk.scales.isEmpty)
    }

    @Test func `one that was on its way out stays when it is wanted again`() throws {
        var world = try Self.world()
        try world.say("a/1") { $0.inFlight = 1 }
        _ = try world.command(.scale(service: "a", replicas: 1, reason: nil))
        try world.settle()
        #expect(try world.seenInstance("a/1").state == .draining)
        let back = try world.command(.scale(service: "a", replicas: 2, reason: nil))
        try world.settle()
        #expect(world.results[back] == .done)
        #expect(world.kind("a/1") == .ready && world.pending("a/1").isEmpty)
        #expect(world.machine.node.drains.isEmpty)
    }

    @Test func `ports that are another service's are not taken`() throws {
        var world = try Self.world { $0.services[1].portBase = 9_003 }
        let operation = try world.command(.scale(service: "a", replicas: 4, reason: nil))
        #expect(
            world.results[operation] == .refused("its ports, to 9003, would meet those of b, from 9003")
        )
        for replicas in [-1, 10_001] {
            let operation = try world.command(.scale(service: "b", replicas: replicas, reason: nil))
            #expect(world.results[operation] == .refused("a service has 0 to 10000 instances"))
        }
    }

    // MARK: Reload

    private static func reload(
        _ world: inout World,
        _ restarting: [String: String] = [:],
        _ change: (inout FleetSpec) -> Void
    ) throws -> OperationID {
        var spec = world.spec
        change(&spec)
        let operation = world.nextOperation
        world.nextOperation += 1
        world.openOperations.append(operation)
        try world.send(.reconfigured(operation, spec, restarting: restarting, by: "ada"))
        try world.settle()
        return operation
    }

    @Test func `a reload touches nothing that it need not`() throws {
        var world = try Self.world()
        let before = world.shim.processes
        let operation = try Self.reload(&world) { $0.services[0].stopGracePeriod = .seconds(7) }
        #expect(world.results[operation] == .done)
        #expect(world.shim.processes == before)
        try world.ask(stop: "a/0")
        try world.advance(by: .seconds(7))
        #expect(world.process("a/0")?.ending == true)
    }

    @Test func `a reload rolls what changed, starts what is new, drains what is gone`() throws {
        var world = try Self.world()
        let generation = world.slot(World.id("b/0"))?.generation
        let operation = try Self.reload(&world, ["b": "command"]) { spec in
            spec.services.removeFirst()
            spec.services.append(service("c"))
        }
        #expect(world.kind("c/0") == .ready)
        #expect(try world.seen("a").state == .draining)
        #expect(try world.seen("a").reason == "the configuration names it no more")
        _ = try Self.finish(&world)
        #expect(world.results[operation] == .done)
        #expect(world.machine.services.map(\.name) == ["b", "c"])
        #expect(world.slot(World.id("b/0"))?.generation == generation.map { $0 + 1 })
        #expect(world.shim.ids.map(\.description) == ["b/0", "b/1", "c/0"])
        #expect(world.shim.memory[World.id("a/0")] == nil)
    }

    @Test func `a service that comes back while it is being drained stays`() throws {
        var world = try Self.world()
        try world.say("a/0") { $0.inFlight = 1 }
        _ = try Self.reload(&world) { $0.services.removeFirst() }
        #expect(try world.seen("a").state == .draining)
        let operation = try Self.reload(&world) { _ in }
        _ = try Self.finish(&world)
        for name in ["a/0", "a/1"] where world.kind(name) == .starting { try world.sayReady(name) }
        #expect(world.results[operation] == .done)
        #expect(try world.seen("a").state == .healthy)
        #expect(try world.seen("a").ready == 2)
    }

    @Test func `a reload that says another number scales, and one that says nothing new leaves a scale alone`() throws {
        var world = try Self.world()
        _ = try world.command(.scale(service: "a", replicas: 3, reason: nil))
        try world.settle()
        try world.sayReady("a/2")
        _ = try Self.reload(&world) { $0.services[1].critical = true }
        #expect(try world.seen("a").desired == 3)
        _ = try Self.reload(&world) { $0.services[0].replicas = 1 }
        _ = try Self.finish(&world)
        #expect(world.shim.ids.map(\.description) == ["a/0", "b/0", "b/1"])
        #expect(world.disk.scales.isEmpty)
    }

    @Test func `a reload while the node is drained starts nothing`() throws {
        var world = try Self.world()
        _ = try world.command(.drain(DrainRequest(target: nil)))
        try world.advance(by: .seconds(3))
        _ = try Self.finishDrain(&world)
        _ = try Self.reload(&world, ["b": "command"]) { $0.services.append(service("c")) }
        try world.advance(by: .seconds(600))
        #expect(world.shim.ids.isEmpty)
        #expect(world.nodeStatus().state == .drained)
        try world.command(.undrain(nil, reason: nil))
        try world.settle()
        #expect(world.kind("c/0") == .ready)
        #expect(world.kind("b/1") == .starting)
    }

    private static func finishDrain(_ world: inout World) throws -> Int {
        for id in world.shim.ids { try world.end("\(id)", .code(0)) }
        return world.shim.ids.count
    }
}
