import Simulation
import Testing

@testable import SupervisorCore

/// Drains of the node, of services and of instances, from the announcement to the way back.
struct DrainTests {
    /// Two replicas with ports and one without, and notices of 2 to 75 s.
    private static func world(_ change: (inout FleetSpec) -> Void = { _ in }) throws -> World {
        var spec = FleetSpec.of([service("a", .notify, replicas: 2) { $0.portBase = 9_000 }, service("b")])
        spec.drain = DrainSpec()
        change(&spec)
        var world = World(spec)
        try world.start()
        try world.settle()
        try world.sayReady("a/0")
        try world.sayReady("a/1")
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

    private static func phase(_ world: World, _ target: String? = nil) -> DrainPhase? {
        world.machine.node.drains.first { $0.target == target.flatMap { Target($0) } }?.phase
    }

    private static func endAll(_ world: inout World) throws {
        for id in world.shim.ids { try world.end("\(id)", .code(0)) }
    }

    // MARK: The phases

    @Test func `a drain goes through its phases, and ends with nothing running`() throws {
        var world = try Self.world()
        let operation = try Self.drain(&world) { $0.reason = "kernel" }
        #expect(Self.phase(world) == .notice)
        #expect(world.nodeStatus().state == .draining)
        #expect(world.nodeStatus().intent == .drain)
        #expect(world.nodeStatus().reason == "by ada: kernel")
        #expect(try world.seen("a").state == .draining)
        #expect(try world.seen("a").routable == false)
        #expect(try world.seenInstance("a/0").state == .draining)
        // Everything is still served.
        #expect(world.kind("a/0") == .ready && world.pending("a/0").isEmpty)
        try world.advance(by: .milliseconds(1_900))
        #expect(Self.phase(world) == .notice)
        try world.advance(by: .milliseconds(200))
        #expect(Self.phase(world) == .stopping)
        #expect(world.pending("a/0") == [.terminate] && world.pending("b/0") == [.terminate])
        #expect(world.results[operation] == nil)
        try Self.endAll(&world)
        #expect(Self.phase(world) == .drained)
        #expect(world.results[operation] == .done)
        #expect(world.nodeStatus().state == .drained)
        #expect(try world.seenInstance("a/1").state == .drained)
        // Nothing is looked at any more: idle costs nothing.
        #expect(world.timers.armed.isEmpty)
        try world.advance(by: .seconds(3_600))
        #expect(world.shim.ids.isEmpty)
    }

    @Test func `a prober that has not understood is waited for, at most for the longest notice`() throws {
        var world = try Self.world()
        world.sightings = [Self.prober(world, out: 0)]
        _ = try Self.drain(&world)
        for _ in 0..<10 {
            world.sightings = [Self.prober(world, out: 0)]
            try world.advance(by: .seconds(1))
        }
        #expect(Self.phase(world) == .notice)
        let status = try #require(world.machine.drainStatuses(at: world.now).first)
        #expect(status.waitsFor?.hasPrefix("10.0.0.1 (x): was not told yet") == true)
        #expect(status.probers.map(\.hasAcknowledged) == [false])
        world.sightings = [Self.prober(world, out: 3)]
        try world.advance(by: .milliseconds(600))
        #expect(Self.phase(world) == .stopping)

        var other = try Self.world()
        _ = try Self.drain(&other)
        for _ in 0..<74 {
            other.sightings = [Self.prober(other, out: 0)]
            try other.advance(by: .seconds(1))
        }
        #expect(Self.phase(other) == .notice)
        other.sightings = [Self.prober(other, out: 0)]
        try other.advance(by: .milliseconds(1_100))
        #expect(Self.phase(other) == .stopping)
    }

    @Test func `new connections make the notice last until two seconds have been quiet`() throws {
        var world = try Self.world()
        let id = Target.instance(World.id("a/0"))
        world.figures = [TrafficFigure(target: id, open: 1, busy: 0, arrived: 1)]
        world.sightings = [Self.prober(world, out: 50)]
        _ = try Self.drain(&world)
        try world.advance(by: .seconds(5))
        #expect(Self.phase(world) == .notice)
        world.figures = [TrafficFigure(target: id, open: 1, busy: 0, arrived: 0)]
        try world.advance(by: .milliseconds(1_700))
        #expect(Self.phase(world) == .notice)
        try world.advance(by: .milliseconds(600))
        #expect(Self.phase(world) == .stopping)
    }

    @Test func `where nobody probes, new connections do not make it longer`() throws {
        var world = try Self.world()
        let id = Target.instance(World.id("a/0"))
        world.figures = [TrafficFigure(target: id, open: 1, busy: 0, arrived: 1)]
        _ = try Self.drain(&world)
        try world.advance(by: .milliseconds(2_100))
        #expect(Self.phase(world) == .stopping)
    }

    @Test(arguments: [true, false])
    func `requests in flight are waited for, whoever counts them`(byWorker: Bool) throws {
        var world = try Self.world()
        let id = Target.instance(World.id("a/0"))
        if byWorker {
            try world.say("a/0") { $0.inFlight = 3 }
        } else {
            world.figures = [TrafficFigure(target: id, open: 5, busy: 3, arrived: 0)]
        }
        _ = try Self.drain(&world)
        try world.advance(by: .seconds(20))
        #expect(Self.phase(world) == .inFlight)
        let member = try #require(world.machine.drainStatuses(at: world.now).first?.members.first)
        #expect(member.inFlight == 3 && member.source == (byWorker ? .worker : .connections))
        if byWorker {
            try world.say("a/0") { $0.inFlight = 0 }
        } else {
            world.figures = [TrafficFigure(target: id, open: 5, busy: 0, arrived: 0)]
        }
        try world.advance(by: .milliseconds(600))
        #expect(Self.phase(world) == .stopping)
    }

    @Test func `a worker that is fed by a queue is told to stop, since it never comes to nothing`() throws {
        var world = try Self.world()
        try world.say("a/0") { $0.inFlight = 2 }
        _ = try Self.drain(&world)
        try world.advance(by: .seconds(3))
        #expect(Self.phase(world) == .inFlight)
        for count: UInt64 in [1, 2, 1, 2, 1, 2] { try world.say("a/0") { $0.inFlight = count } }
        #expect(Self.phase(world) == .stopping)
    }

    @Test func `what does not serve skips the notice`() throws {
        var world = try Self.world { $0.services[0].readiness = ServiceSpec.Probe(method: .tcp(address: "")) }
        try world.probe("a/0", .readiness, .success)
        _ = try Self.drain(&world)
        #expect(world.pending("a/1") == [.terminate])
        #expect(world.pending("a/0").isEmpty)
    }

    // MARK: The deadline

    @Test func `at the deadline what is left is killed, and what it had in hand is listed`() throws {
        var world = try Self.world()
        try world.say("a/0") { $0.inFlight = 2 }
        let operation = try Self.drain(&world) { $0.deadline = .seconds(20) }
        try world.advance(by: .milliseconds(14_900))
        #expect(world.pending("a/0").isEmpty)
        try world.advance(by: .milliseconds(200))
        #expect(world.pending("a/0") == [.terminate])
        try world.say("a/0") { $0.extendTimeout = .seconds(600) }
        try world.end("b/0", .code(0))
        try world.end("a/1", .code(0))
        try world.advance(by: .milliseconds(4_800))
        #expect(world.process("a/0")?.ending == false)
        try world.advance(by: .milliseconds(200))
        #expect(world.process("a/0")?.ending == true)
        try world.treeEnds("a/0")
        #expect(Self.phase(world) == .drained)
        #expect(
            world.results[operation]
                == .deadlineReached("the deadline was reached; killed: a/0 (2 requests in flight)")
        )
    }

    @Test func `said again, a shorter deadline counts and a longer one does not`() throws {
        var world = try Self.world()
        try world.say("a/0") { $0.inFlight = 1 }
        let first = try Self.drain(&world) { $0.deadline = .seconds(60) }
        let second = try Self.drain(&world) { $0.deadline = .seconds(600) }
        try world.advance(by: .seconds(10))
        let third = try Self.drain(&world) { $0.deadline = .seconds(4) }
        try world.advance(by: .seconds(4))
        #expect(world.process("a/0")?.ending == true)
        for id in world.shim.ids { try world.treeEnds("\(id)") }
        for operation in [first, second, third] {
            guard case .deadlineReached? = world.results[operation] else {
                Issue.record("\(String(describing: world.results[operation]))")
                continue
            }
        }
    }

    @Test func `a notice that is given counts as it is, and can be given anew`() throws {
        var world = try Self.world()
        _ = try Self.drain(&world) { $0.notice = .fixed(.seconds(30)) }
        try world.advance(by: .seconds(29))
        #expect(Self.phase(world) == .notice)
        _ = try Self.drain(&world) { $0.notice = .fixed(.zero) }
        #expect(Self.phase(world).map { $0 >= .stopping } == true)
    }

    // MARK: The way back

    @Test func `undrain in the notice touches nobody`() throws {
        var world = try Self.world()
        let drained = try Self.drain(&world)
        let undrained = try world.command(.undrain(nil, reason: nil))
        try world.settle()
        #expect(world.results[undrained] == .done)
        #expect(world.results[drained] == .failed("the drain was taken back by eiderctl undrain"))
        #expect(world.kind("a/0") == .ready && world.shim.starts == 3)
        #expect(world.nodeStatus().state == .healthy)
        #expect(world.disk.drains.isEmpty)
    }

    @Test func `undrain brings back what the drain took, and not what an operator stopped`() throws {
        var world = try Self.world()
        try world.ask(stop: "a/1")
        try world.end("a/1", .code(0))
        _ = try Self.drain(&world)
        try world.advance(by: .seconds(3))
        try world.end("b/0", .code(0))
        // a/0 is still ending: it has to be gone first.
        let operation = try world.command(.undrain(nil, reason: nil))
        try world.settle()
        #expect(world.kind("b/0") == .ready)
        #expect(world.kind("a/0") == .stopping)
        try world.end("a/0", .code(0))
        try world.sayReady("a/0")
        #expect(world.kind("a/0") == .ready)
        #expect(world.kind("a/1") == .stopped)
        #expect(world.results[operation] == .done)
    }

    @Test func `drains of more and of less are taken back on their own`() throws {
        var world = try Self.world()
        _ = try Self.drain(&world, "a")
        _ = try Self.drain(&world)
        try world.advance(by: .seconds(3))
        try Self.endAll(&world)
        let refused = try world.command(.undrain(.instance(World.id("a/0")), reason: nil))
        #expect(world.results[refused] == .refused("the whole node is drained; use eiderctl undrain"))
        try world.command(.undrain(nil, reason: nil))
        try world.settle()
        #expect(world.kind("b/0") == .ready)
        #expect(try world.seen("a").state == .drained)
        #expect(world.kind("a/0") == .stopped)
        try world.command(.undrain(.service("a"), reason: nil))
        try world.settle()
        #expect(world.kind("a/0") == .starting)
    }

    // MARK: What is refused

    @Test func `what is drained is not started by hand`() throws {
        var world = try Self.world()
        _ = try Self.drain(&world, "a")
        let commands = [
            Command.start([.service("a")], reason: nil), .restart([.instance(World.id("a/1"))], reason: nil),
        ]
        for command in commands {
            let operation = try world.command(command)
            #expect(
                world.results[operation]
                    == .refused("a is being drained (by ada); use eiderctl undrain a first")
            )
        }
        let roll = try world.command(.roll(["a"], reason: nil))
        let scale = try world.command(.scale(service: "a", replicas: 5, reason: nil))
        for operation in [roll, scale] {
            guard case .refused? = world.results[operation] else {
                Issue.record("\(String(describing: world.results[operation]))")
                continue
            }
        }
    }

    @Test func `the last ready instance of a service is not drained alone, unless it is forced`() throws {
        var world = try Self.world()
        let lone = try Self.drain(&world, "b/0")
        #expect(
            world.results[lone]
                == .refused("it is the only instance of b; drain b as a whole, or use --force")
        )
        #expect(world.machine.node.drains.isEmpty)
        _ = try Self.drain(&world, "a/0")
        let last = try Self.drain(&world, "a/1")
        guard case .refused(let text)? = world.results[last] else { throw ShadowViolation("not refused") }
        #expect(text.contains("a/0 is draining"))
        _ = try Self.drain(&world, "a/1") { $0.isForced = true }
        #expect(try world.seen("a").state == .draining)
        let unknown = try Self.drain(&world, "nobody")
        #expect(world.results[unknown] == .unknownTarget("nobody"))
    }

    @Test func `a drain of one instance leaves the service in service`() throws {
        var world = try Self.world()
        let operation = try Self.drain(&world, "a/0")
        #expect(try world.seen("a").state == .degraded)
        #expect(try world.seen("a").routable)
        try world.advance(by: .seconds(3))
        try world.end("a/0", .code(0))
        #expect(world.results[operation] == .done)
        #expect(try world.seenInstance("a/0").state == .drained)
        #expect(world.nodeStatus().state == .degraded)
    }

    @Test func `the first start is finished where what it waits for is drained`() throws {
        var world = World(.of([service("a", .notify), service("b", .notify, after: ["a"])]))
        try world.start()
        _ = try Self.drain(&world)
        try Self.endAll(&world)
        #expect(world.announcements == 1)
        #expect(Self.phase(world) == .drained)
    }

    // MARK: Over deaths

    @Test func `a drain survives the daemon at any of its effects`() throws {
        let steps: [(inout World) throws -> Void] = [
            { _ = try Self.drain(&$0) { $0.deadline = .seconds(30) } },
            { try $0.advance(by: .milliseconds(300)) },
            { try $0.advance(by: .seconds(3)) },
            { try $0.say("a/0") { $0.inFlight = 0 } },
            { try $0.advance(by: .seconds(1)) },
            { for _ in 0..<3 { try Self.endAll(&$0) } },
        ]
        for dying in steps.indices {
            for effects in 0..<24 {
                var world = try Self.world()
                try world.say("a/0") { $0.inFlight = 1 }
                for (index, step) in steps.enumerated() {
                    if index == dying { world.effectsUntilDeath = effects }
                    try step(&world)
                }
                world.effectsUntilDeath = nil
                let place = "step \(dying), after \(effects) effects"
                if dying == 0, Self.phase(world) == nil {
                    // It died before it had remembered anything: nobody was told that it was accepted.
                    #expect(world.nodeStatus().intent == .run, "\(place)")
                    continue
                }
                #expect(Self.phase(world) == .drained, "\(place)")
                #expect(world.shim.ids.isEmpty, "\(place)")
                try world.command(.undrain(nil, reason: nil))
                try world.settle()
                #expect(world.kind("b/0") == .ready, "\(place)")
            }
        }
    }

    @Test func `after a reboot what was drained is drained, and starts nothing`() throws {
        var world = try Self.world()
        _ = try Self.drain(&world) { $0.reason = "kernel" }
        var next = World(world.spec)
        next.disk = world.disk
        try next.start()
        try next.settle()
        #expect(next.shim.starts == 0)
        #expect(next.nodeStatus().state == .drained)
        #expect(next.nodeStatus().reason == "by ada: kernel")
        #expect(next.announcements == 1)
        try next.command(.undrain(nil, reason: nil))
        try next.settle()
        #expect(next.kind("b/0") == .ready)
    }

    // MARK: The stop of the fleet

    @Test func `a stop of the fleet waits for the notice and for what is in flight`() throws {
        var world = try Self.world()
        try world.say("a/0") { $0.inFlight = 1 }
        try world.send(.shutdownRequested(by: "SIGTERM"))
        try world.settle()
        try world.advance(by: .milliseconds(1_900))
        #expect(world.pending("b/0").isEmpty)
        let before = world.machine.node
        try world.send(.shutdownRequested(by: "SIGTERM"))
        #expect(world.machine.node == before)
        try world.advance(by: .seconds(4))
        #expect(world.pending("b/0").isEmpty)
        try world.say("a/0") { $0.inFlight = 0 }
        #expect(world.pending("b/0") == [.terminate])
        // Its grace period still bounds a worker.
        try world.advance(by: .seconds(30))
        #expect(world.process("b/0")?.ending == true)
        for id in world.shim.ids { try world.treeEnds("\(id)") }
        #expect(world.finished)
    }

    @Test func `SIGINT skips the notice, whether or not a stop was going on`() throws {
        for isStopping in [true, false] {
            var world = try Self.world()
            if isStopping { try world.send(.shutdownRequested(by: "SIGTERM")) }
            try world.send(.noticeSkipped(by: "SIGINT"))
            try world.settle()
            #expect(world.pending("b/0") == [.terminate])
        }
    }

    @Test func `a stop joins the drain that goes on, and that stays over it`() throws {
        var world = try Self.world()
        _ = try Self.drain(&world)
        try world.advance(by: .seconds(3))
        try Self.endAll(&world)
        try world.send(.shutdownRequested(by: "SIGTERM"))
        #expect(world.finished)
        #expect(world.disk.drains.count == 1)
    }

    private static func prober(_ world: World, out: Int) -> ProberSighting {
        var sighting = ProberSighting(
            identity: .init(address: "10.0.0.1", userAgent: "x", path: "/", host: ""),
            target: nil,
            lastAt: world.now,
            told: out > 0 ? "503" : "200"
        )
        (sighting.requests, sighting.period, sighting.outInARow) = (50, .seconds(1), out)
        return sighting
    }
}
