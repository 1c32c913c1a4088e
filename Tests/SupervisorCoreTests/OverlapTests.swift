import Simulation
import Testing

@testable import SupervisorCore

/// Drains, rolls, scale and reloads that meet each other, and the deaths of daemons between.
struct OverlapTests {
    static func world(_ change: (inout FleetSpec) -> Void = { _ in }) throws -> World {
        var spec = FleetSpec.of([service("a", replicas: 2) { $0.portBase = 9_000 }, service("b", replicas: 2)])
        for index in spec.services.indices { spec.services[index].rolling.minReady = .seconds(1) }
        change(&spec)
        var world = World(spec)
        try world.start()
        try world.settle()
        return world
    }

    private static func drain(
        _ world: inout World,
        _ target: String? = nil,
        _ change: (inout DrainRequest) -> Void = { _ in }
    ) throws -> OperationID {
        var request = DrainRequest(target: target.flatMap { Target($0) })
        change(&request)
        let operation = try world.command(.drain(request))
        try world.settle()
        return operation
    }

    private static func scale(_ world: inout World, _ replicas: Int) throws -> OperationID {
        let operation = try world.command(.scale(service: "a", replicas: replicas, reason: nil))
        try world.settle()
        return operation
    }

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

    private static func undrain(_ world: inout World, _ target: String? = nil) throws {
        try world.command(.undrain(target.flatMap { Target($0) }, reason: nil))
        try world.settle()
    }

    /// Whoever was told to end ends, until nothing moves any more; a second passes between.
    private static func finish(_ world: inout World, _ rounds: Int = 40) throws {
        for _ in 0..<rounds {
            for id in world.shim.ids where world.process("\(id)")?.pendingSignals.isEmpty == false {
                try world.end("\(id)", .code(0))
            }
            try world.advance(by: .seconds(1))
        }
    }

    // MARK: Operations that others overtake

    @Test func `a scale down that is taken back tells whoever waits for it`() throws {
        var world = try Self.world()
        let down = try Self.scale(&world, 1)
        #expect(world.results[down] == nil)
        let up = try Self.scale(&world, 2)
        try Self.finish(&world)
        #expect(world.results[up] == .done)
        #expect(world.results[down] == .failed("a/1 is asked for again"))
        #expect(try world.seen("a").state == .healthy)
    }

    @Test func `a scale up that is taken back tells whoever waits for it`() throws {
        var world = try Self.world { $0.services[0].kind = .notify }
        try world.sayReady("a/0")
        try world.sayReady("a/1")
        let up = try Self.scale(&world, 3)
        let down = try Self.scale(&world, 2)
        try Self.finish(&world)
        #expect(world.results[up] == .failed("a/2 is gone"))
        #expect(world.results[down] == .done)
    }

    @Test func `a reload that is taken back tells whoever waits for it`() throws {
        var world = try Self.world()
        let gone = try Self.reload(&world) { $0.services.removeFirst() }
        #expect(world.results[gone] == nil)
        let back = try Self.reload(&world) { _ in }
        try Self.finish(&world)
        #expect(world.results[back] == .done)
        #expect(world.results[gone] == .failed("a/0 is asked for again\na/1 is asked for again"))
        #expect(try world.seen("a").ready == 2)
    }

    @Test func `a stop of the fleet tells whoever waits for an instance to go`() throws {
        var world = try Self.world()
        let down = try Self.scale(&world, 1)
        try world.send(.shutdownRequested(by: "SIGTERM"))
        try world.settle()
        #expect(world.results[down] == .failed("the fleet is being stopped"))
    }

    @Test func `a reload that takes a drained service away takes its drain away too`() throws {
        var world = try Self.world()
        _ = try Self.drain(&world, "a")
        try Self.finish(&world)
        #expect(try world.seen("a").state == .drained)
        _ = try Self.reload(&world) { $0.services.removeFirst() }
        #expect(world.machine.services.map(\.name) == ["b"])
        #expect(world.machine.node.drains.isEmpty)
        #expect(world.disk.drains.isEmpty)
    }

    @Test func `the drain of an instance that nobody asks for any more is nobody's`() throws {
        var world = try Self.world()
        _ = try Self.drain(&world, "a/1")
        try Self.finish(&world)
        _ = try Self.reload(&world) { $0.services[0].replicas = 1 }
        try Self.finish(&world)
        #expect(world.machine.node.drains.isEmpty)
        #expect(world.disk.drains.isEmpty)
        _ = try Self.reload(&world) { _ in }
        try Self.finish(&world)
        #expect(try world.seen("a").ready == 2, "it is a new one")
    }

    // MARK: Rolls

    @Test func `a roll that is asked for again replaces also what is new already`() throws {
        var world = try Self.world()
        let first = try world.command(.roll(["b"], reason: nil))
        try world.settle()
        try world.end("b/0", .code(0))
        let generation = world.record("b/0")?.generation
        #expect(world.machine.node.rolls.first?.step == .proving(index: 0, until: world.now.advanced(by: .seconds(1))))
        let second = try Self.reload(&world, ["b": "command"]) { _ in }
        try Self.finish(&world)
        #expect(world.results[first] == .done)
        #expect(world.results[second] == .done)
        #expect(world.record("b/0")?.generation == generation.map { $0 + 1 }, "it had the old command")
        #expect(world.record("b/1")?.generation == 2)
    }

    @Test func `a roll asked for again while one leaves does not replace that twice`() throws {
        var world = try Self.world()
        _ = try world.command(.roll(["b"], reason: nil))
        try world.settle()
        let second = try Self.reload(&world, ["b": "command"]) { _ in }
        try Self.finish(&world)
        #expect(world.results[second] == .done)
        #expect(world.record("b/0")?.generation == 2)
        #expect(world.record("b/1")?.generation == 2)
    }

    @Test func `the only instance is replaced again too`() throws {
        var world = try Self.world { $0.services[1].replicas = 1 }
        _ = try world.command(.roll(["b"], reason: nil))
        try world.settle()
        try world.end("b/0", .code(0))
        let second = try Self.reload(&world, ["b": "command"]) { _ in }
        try Self.finish(&world)
        #expect(world.results[second] == .done)
        #expect(world.record("b/0")?.generation == 3)
    }

    @Test func `a roll asked for again while its extra instance goes replaces everything again`() throws {
        var world = try Self.world()
        let first = try world.command(.roll(["a"], reason: nil))
        for _ in 0..<20 where world.machine.node.rolls.first?.step != .removingExtra { try Self.finish(&world, 1) }
        #expect(world.machine.node.rolls.first?.step == .removingExtra)
        let second = try Self.reload(&world, ["a": "command"]) { _ in }
        try Self.finish(&world)
        #expect(world.results[first] == .done)
        #expect(world.results[second] == .done)
        #expect(world.record("a/0")?.generation == 3)
        #expect(world.record("a/1")?.generation == 3)
        #expect(world.shim.ids.count == 4)
    }

    @Test func `a new roll goes on where one that failed holds its extra instance`() throws {
        var world = try Self.world { spec in
            spec.services[0].kind = .notify
            spec.services[0].replicas = 1
            spec.services[0].restart.policy = .never
        }
        try world.sayReady("a/0")
        let first = try world.command(.roll(["a"], reason: nil))
        try world.settle()
        try world.sayReady("a/1")
        try world.advance(by: .seconds(1))
        try world.end("a/0", .code(0))
        try world.end("a/0", .code(1))
        #expect(world.machine.node.rolls.first?.step == .holding)
        #expect(world.results[first] != nil)
        let second = try world.command(.roll(["a"], reason: nil))
        try world.settle()
        #expect(world.kind("a/0") == .starting, "the extra one stands in for it meanwhile")
        try world.sayReady("a/0")
        try Self.finish(&world)
        #expect(world.results[second] == .done)
        #expect(world.shim.ids.map(\.description) == ["a/0", "b/0", "b/1"])
        #expect(world.machine.node.rolls.isEmpty)
    }

    @Test func `a replacement that says it stops has failed`() throws {
        var world = try Self.world { $0.services[1].kind = .notify }
        try world.sayReady("b/0")
        try world.sayReady("b/1")
        let operation = try world.command(.roll(["b"], reason: nil))
        try world.settle()
        try world.end("b/0", .code(0))
        try world.sayReady("b/0")
        try world.say("b/0") { $0.stopping = true }
        #expect(world.kind("b/0") == .running)
        #expect(world.results[operation] != nil)
    }

    @Test func `what cannot be ended stops a roll, and is said of a drain`() throws {
        var world = try Self.world()
        let roll = try world.command(.roll(["b"], reason: nil))
        try world.settle()
        try world.advance(by: .seconds(200))
        world.shim.mainEnds(World.id("b/0"), .signal(.kill, coreDumped: false), leaving: 1, at: world.now)
        try world.settle()
        try world.send(.treeRemained(World.id("b/0"), 1, count: 1, example: 77))
        guard case .failed(let text)? = world.results[roll] else {
            Issue.record("\(world.results[roll] as Any)")
            return
        }
        #expect(text.contains("cannot end 1 process(es) of b/0, such as pid 77"))
        let drain = try Self.drain(&world, "b")
        try Self.finish(&world)
        try world.advance(by: .seconds(200))
        #expect(world.results[drain] != nil)
    }

    @Test(arguments: ["stopped", "drained", "oneshot", "none"])
    func `a roll of what has nothing to replace`(_ what: String) throws {
        var world = try Self.world { spec in
            if what == "oneshot" { spec.services[1].kind = .oneshot }
            if what == "none" { spec.services[1].replicas = 0 }
        }
        if what == "stopped" { try world.ask(stop: "b") }
        if what == "drained" { _ = try Self.drain(&world, "b") }
        if what == "oneshot" {
            try world.end("b/0", .code(0))
            try world.end("b/1", .code(0))
        }
        try Self.finish(&world)
        let operation = try world.command(.roll(["b"], reason: nil))
        try world.settle()
        if what == "drained" {
            let text = "b is drained (by ada); use eiderctl undrain b first"
            #expect(world.results[operation] == .refused(text))
            return
        }
        if what == "oneshot" {
            try world.end("b/0", .code(0))
            try world.advance(by: .seconds(1))
            try world.end("b/1", .code(0))
        }
        try Self.finish(&world, 3)
        #expect(world.results[operation] == .done)
        #expect(world.machine.node.rolls.isEmpty)
    }

    // MARK: Drains of more and of less

    @Test func `what another drain still covers does not come back`() throws {
        var world = try Self.world { $0.drain = DrainSpec() }
        _ = try Self.drain(&world, "a/1") { $0.notice = .fixed(.zero) }
        try Self.finish(&world, 3)
        #expect(world.kind("a/1") == .stopped)
        let starts = world.shim.starts
        _ = try Self.drain(&world, "a")
        try Self.undrain(&world, "a/1")
        #expect(world.kind("a/1") == .stopped)
        #expect(world.shim.starts == starts, "a is being drained: nothing of it is started")
        try Self.undrain(&world, "a")
        #expect(try world.seen("a").ready == 2)
    }

    @Test func `drains of node, service and instance, taken back in every order`() throws {
        let targets: [String?] = [nil, "a", "a/0"]
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
        for wait in [0, 1, 3] {
            for begun in orders {
                for ended in orders {
                    var world = try Self.world { $0.drain = DrainSpec() }
                    for index in begun {
                        _ = try Self.drain(&world, targets[index]) { $0.isForced = true }
                        try Self.finish(&world, wait)
                    }
                    for index in ended { try Self.undrain(&world, targets[index]) }
                    try Self.finish(&world, 3)
                    #expect(world.machine.node.drains.isEmpty)
                    #expect(world.shim.ids.count == 4, "begun \(begun), ended \(ended), \(wait) s between")
                    #expect(world.nodeStatus().state == .healthy)
                    #expect(world.openOperations.isEmpty)
                }
            }
        }
    }

    @Test func `what was to leave at once leaves also where the daemon died over it`() throws {
        for effects in 1..<8 {
            var world = try Self.world { spec in
                spec.drain = DrainSpec()
                spec.services[0].kind = .notify
            }
            world.effectsUntilDeath = effects
            _ = try world.command(.drain(DrainRequest(target: nil)))
            try world.settle()
            #expect(world.kind("a/0") == .stopping, "after \(effects) effects")
            #expect(world.kind("b/0") == .ready, "after \(effects) effects")
        }
    }

    @Test func `SIGINT before the shim is there skips the notice too`() throws {
        var world = World(.of([service("a")]))
        var spec = world.spec
        spec.drain = DrainSpec()
        world = World(spec)
        try world.start()
        try world.settle()
        var next = world
        next.machine = FleetMachine(spec: spec, now: next.now, seed: 9)
        next.timers.removeAll()
        next.connected = false
        next.announcements = 0
        next.shim.connectionEnds()
        try next.send(.noticeSkipped(by: "SIGINT"))
        next.connected = true
        try next.send(.shimConnected(next.shim.adoption(intents: next.disk)))
        try next.settle()
        #expect(next.pending("a/0") == [.terminate])
    }

    @Test func `a drain while the shim is away is done once it is back`() throws {
        var world = try Self.world()
        try world.shimIsLost(replaced: false)
        let operation = try Self.drain(&world) { $0.deadline = .seconds(10) }
        try world.advance(by: .seconds(20))
        #expect(world.results[operation] == nil)
        try world.shimConnects()
        try world.settle()
        for id in world.shim.ids { try world.treeEnds("\(id)") }
        #expect(world.results[operation] != nil)
        #expect(world.nodeStatus().state == .drained)
    }

    @Test func `a shim that was replaced while a node drains starts nothing after the notice`() throws {
        var world = try Self.world()
        _ = try Self.drain(&world)
        try world.advance(by: .seconds(1))
        try world.shimIsLost(replaced: true)
        try world.shimConnects()
        try world.settle()
        #expect(world.shim.ids.isEmpty)
        #expect(world.nodeStatus().state == .drained)
    }

    // MARK: Bad input

    @Test func `what is not there can neither be drained nor rolled nor scaled`() throws {
        var world = try Self.world()
        for target in ["x", "a/2", "x/0"] {
            for operation in [
                try Self.drain(&world, target), try world.command(.undrain(Target(target), reason: nil)),
            ] {
                #expect(world.results[operation] == .unknownTarget(target))
            }
        }
        #expect(world.results[try world.command(.roll(["b", "x"], reason: nil))] == .unknownTarget("x"))
        #expect(world.machine.node.rolls.isEmpty, "nothing was changed")
        let scaled = try world.command(.scale(service: "x", replicas: 1, reason: nil))
        #expect(world.results[scaled] == .unknownTarget("x"))
    }

    @Test func `drains of what is at rest are done at once, and it stays what it is`() throws {
        var world = try Self.world { spec in
            spec.services.append(service("once", .oneshot))
            spec.services.append(service("broken") { $0.restart.policy = .never })
            spec.services.append(service("none", replicas: 0))
        }
        try world.end("once/0", .code(0))
        try world.end("broken/0", .code(1))
        for name in ["once", "broken", "none"] {
            #expect(world.results[try Self.drain(&world, name)] == .done)
            #expect(world.results[try Self.drain(&world, name)] == .done, "said again")
        }
        #expect(world.kind("once/0") == .completed)
        #expect(world.kind("broken/0") == .failed)
        for name in ["once", "broken", "none"] { try Self.undrain(&world, name) }
        #expect(world.kind("once/0") == .completed)
        #expect(world.kind("broken/0") == .failed)
        #expect(world.openOperations.isEmpty)
    }

    @Test(arguments: [0, 1, 3])
    func `a deadline that is shorter than the notice bounds it`(_ seconds: Int) throws {
        var world = try Self.world { $0.drain = DrainSpec() }
        _ = try Self.drain(&world) {
            $0.deadline = .seconds(seconds)
            $0.notice = .fixed(.seconds(60))
        }
        try world.advance(by: .milliseconds(500 * seconds))
        #expect(!world.pending("a/0").isEmpty || world.process("a/0")?.ending == true)
        try world.advance(by: .milliseconds(500 * seconds))
        #expect(world.process("a/0")?.ending == true)
    }

    // MARK: Timers

    @Test func `no timer is in the past after an event`() throws {
        var world = try Self.world()
        _ = try world.command(.roll(["a", "b"], reason: nil))
        _ = try Self.scale(&world, 1)
        for _ in 0..<200 {
            if let at = world.machine.nodeTimer?.deadline { #expect(at > world.now) }
            if let id = world.shim.ids.first(where: { world.process("\($0)")?.pendingSignals.isEmpty == false }) {
                world.shim.mainEnds(id, .code(0), leaving: 0, outOfMemory: false, at: world.now)
            }
            if try world.readReport() { continue }
            if try world.answerLook() { continue }
            if try !world.fireNextTimer() { break }
        }
        #expect(world.machine.node.rolls.isEmpty)
    }

    // MARK: Reload

    @Test func `a startup probe that is configured no more does not keep a start waiting`() throws {
        var world = try Self.world { spec in
            spec.services[1].startupProbe = ServiceSpec.Probe(method: .tcp(address: "127.0.0.1:1"))
        }
        #expect(world.kind("b/0") == .starting)
        _ = try Self.reload(&world) { $0.services[1].startupProbe = nil }
        #expect(world.kind("b/0") == .ready)
        #expect(world.record("b/0")?.restarts == 0)
    }

    @Test func `what came back as another while it was on its way out is replaced`() throws {
        var world = try Self.world()
        try world.say("a/0") { $0.inFlight = 1 }
        _ = try Self.reload(&world) { $0.services.removeFirst() }
        let operation = try Self.reload(&world) { $0.services[0].command = ["/bin/a2"] }
        try world.say("a/0") { $0.inFlight = 0 }
        try Self.finish(&world)
        #expect(world.results[operation] == .done)
        #expect(world.record("a/0")?.generation == 2)
        #expect(world.record("a/1")?.generation == 2)
    }

    @Test func `a reload that takes away what is rolled, scaled and stopped`() throws {
        var world = try Self.world()
        _ = try Self.scale(&world, 3)
        let stop = try world.ask(stop: "a/2")
        try world.end("a/2", .code(0))
        #expect(world.results[stop] == .done)
        let roll = try world.command(.roll(["a"], reason: nil))
        try world.settle()
        let operation = try Self.reload(&world) { $0.services.removeFirst() }
        try Self.finish(&world)
        #expect(world.results[operation] == .done)
        guard case .failed? = world.results[roll] else {
            Issue.record("\(world.results[roll] as Any)")
            return
        }
        #expect(world.machine.services.map(\.name) == ["b"])
        #expect(world.disk == Intents())
        #expect(world.machine.node.rolls.isEmpty && world.machine.node.drains.isEmpty)
        #expect(world.shim.memory.keys.allSatisfy { $0.service == "b" })
    }

    @Test func `back and forth, whatever is under way, ends as configured`() throws {
        for pause in 0..<6 {
            var world = try Self.world()
            try world.say("a/0") { $0.inFlight = 1 }
            for _ in 0..<3 {
                _ = try Self.reload(&world) { $0.services.removeFirst() }
                try Self.finish(&world, pause)
                _ = try Self.reload(&world) { $0.services[0].replicas = 1 }
                try Self.finish(&world, pause)
                _ = try Self.reload(&world) { _ in }
            }
            try world.say("a/0") { $0.inFlight = 0 }
            try Self.finish(&world)
            #expect(world.shim.ids.map(\.description) == ["a/0", "a/1", "b/0", "b/1"], "\(pause) s between")
            #expect(world.openOperations.isEmpty)
            #expect(world.nodeStatus().state == .healthy)
        }
    }

    // MARK: Deaths

    @Test func `a scale survives the daemon at any of its effects`() throws {
        for to in [0, 1, 3] {
            for effects in 0..<40 {
                var world = try Self.world()
                world.effectsUntilDeath = effects
                _ = try world.command(.scale(service: "a", replicas: to, reason: nil))
                try Self.finish(&world)
                let wanted = world.machine.replicas["a"] ?? -1
                #expect(wanted == to || effects == 0, "after \(effects) effects")
                #expect(world.shim.ids.count == wanted + 2, "to \(to), after \(effects) effects")
                #expect(try world.seen("a").desired == wanted)
                #expect(world.machine.node.drains.isEmpty)
            }
        }
    }

    @Test func `a successor of another configuration takes nobody away whom that asks for`() throws {
        var world = try Self.world()
        _ = try Self.scale(&world, 1)
        var spec = world.spec
        spec.services[0].replicas = 3
        try world.daemonDies(successor: spec)
        try Self.finish(&world)
        #expect(try world.seen("a").ready == 3)
        #expect(world.machine.node.drains.isEmpty)
        #expect(world.machine.node.scales.isEmpty)
    }

    @Test func `a successor of another configuration ends a roll in order`() throws {
        var world = try Self.world()
        _ = try world.command(.roll(["a"], reason: nil))
        try world.settle()
        var spec = world.spec
        spec.services[0].replicas = 4
        try world.daemonDies(successor: spec)
        try Self.finish(&world)
        #expect(try world.seen("a").ready == 4)
        #expect(world.machine.node.rolls.isEmpty)
    }

    @Test func `after a reboot scales, stops and drains are as they were`() throws {
        var world = try Self.world()
        _ = try Self.scale(&world, 3)
        try world.ask(stop: "b/1")
        try world.end("b/1", .code(0))
        _ = try Self.drain(&world, "a/2")
        try Self.finish(&world)
        var next = World(world.spec)
        next.disk = world.disk
        try next.start()
        try next.settle()
        #expect(next.shim.ids.map(\.description) == ["a/0", "a/1", "b/0"])
        #expect(try next.seenInstance("a/2").state == .drained)
        #expect(try next.seen("a").desired == 3)
        try Self.undrain(&next, "a/2")
        #expect(next.shim.ids.count == 4)
    }
}
