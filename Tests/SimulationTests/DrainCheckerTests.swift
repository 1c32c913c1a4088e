import Simulation
import SupervisorCore
import Testing

/// The checker's books on drains and rolling restarts must be able to fail too.
struct DrainCheckerTests {
    private static let a = InstanceID(service: "a", index: 0)

    /// Two services of two, ready, and a daemon that drains them as it is told here.
    private struct Story {
        var checker: Checker
        var node = RememberedNode()
        var now: Int64 = 1_000_000_000_000
        var at: MonotonicInstant { MonotonicInstant(nanoseconds: now) }

        init() throws {
            var spec = FleetSpec()
            spec.limits.concurrentStarts = 100
            for name in ["a", "b"] {
                var service = ServiceSpec(name: name, command: ["/bin/x"])
                service.replicas = 2
                spec.services.append(service)
            }
            checker = Checker(spec)
            checker.daemonBegins(spec, memory: [:], node: nil, at: now)
            try take(.shimConnected(Adoption()), [.rememberNode(node)])
            for id in spec.services.flatMap(\.instanceIDs) {
                var record = RememberedInstance(state: .queued, since: at)
                try take(.treeGone(id, 0), [.remember(id, record)])
                record.state = .starting(deadline: at.advanced(by: .seconds(60)))
                record.generation = 1
                record.run = RememberedInstance.Run(startedAt: at)
                try take(.treeGone(id, 0), [.remember(id, record), .spawn(id, 1)])
                record.state = .ready
                record.run?.readyAt = at
                record.run?.servingAt = at
                try take(.started(id, 1, pid: 1, at: at), [.remember(id, record)])
            }
            now += 100_000_000_000
        }

        mutating func take(_ event: Event, _ effects: [Effect]) throws {
            try checker.take(event, effects, at: now)
        }

        mutating func pass(_ seconds: Double) { now += Int64(seconds * 1e9) }

        /// The node's record, changed, at a turn of its timer.
        mutating func change(_ body: (inout RememberedNode) -> Void, _ effects: [Effect] = []) throws {
            body(&node)
            let timer = Event.timerFired(TimerToken(instance: nil, purpose: .node, number: 1))
            try take(timer, [.rememberNode(node)] + effects)
        }

        mutating func drain(_ target: Target? = nil, _ purpose: Drain.Purpose = .maintenance) throws {
            let drain = Drain(purpose, of: target, by: "x", since: at, deadline: at.advanced(by: .seconds(60)))
            try change { $0.drains.append(drain) }
        }
    }

    private func breaks(_ rule: String, _ body: () throws -> Void) {
        do {
            try body()
            Issue.record("nothing was found, not even \(rule)")
        } catch {
            #expect("\(error)".contains(rule), "\(error)")
        }
    }

    @Test func `what is right passes`() throws {
        var story = try Story()
        try story.drain()
        story.pass(3)
        try story.change { $0.drains[0].phase = .inFlight }
        try story.take(.commanded(1, .undrain(nil, reason: nil), by: "x"), [.rememberNode(RememberedNode())])
        #expect(story.checker.tally[.drainInFlight] == 1)
    }

    @Test func `a drain is not forgotten`() throws {
        var story = try Story()
        try story.drain()
        breaks("is forgotten") { try story.change { $0.drains = [] } }
    }

    @Test func `nor is it by the undrain of another`() throws {
        var story = try Story()
        try story.drain()
        let other = Event.commanded(1, .undrain(.service("a"), reason: nil), by: "x")
        breaks("is forgotten") { try story.take(other, [.rememberNode(RememberedNode())]) }
    }

    @Test func `a drain does not go back`() throws {
        var story = try Story()
        try story.drain()
        story.pass(3)
        try story.change { $0.drains[0].phase = .stopping }
        breaks("went back") { try story.change { $0.drains[0].phase = .inFlight } }
    }

    @Test func `nothing of it is started after its notice`() throws {
        var story = try Story()
        try story.drain(.service("a"))
        story.pass(3)
        try story.change { $0.drains[0].phase = .inFlight }
        breaks("is started") { try story.change({ _ in }, [.spawn(Self.a, 2)]) }
    }

    @Test func `the notice is not shorter than its least`() throws {
        var story = try Story()
        try story.drain()
        story.pass(1.9)
        breaks("shorter than notice_min") { try story.change { $0.drains[0].phase = .inFlight } }
    }

    @Test func `a load balancer that still routes is waited for`() throws {
        var story = try Story()
        try story.drain()
        story.pass(3)
        story.checker.balancersSeen(haveLeft: false, at: story.now)
        breaks("still routes") { try story.change { $0.drains[0].phase = .inFlight } }
    }

    @Test func `who serves is not told to stop before`() throws {
        var story = try Story()
        try story.drain()
        var record = try #require(story.checker.record(of: Self.a))
        record.state = .stopping(InstanceState.Stop(cause: .operator, graceEnds: story.at))
        breaks("is told to stop in the notice") {
            try story.change({ _ in }, [.remember(Self.a, record), .signal(Self.a, 1, .terminate, tree: false)])
        }
    }

    @Test func `the deadline is not passed, and not anticipated`() throws {
        var story = try Story()
        try story.drain()
        story.pass(3)
        try story.change { $0.drains[0].phase = .stopping }
        var early = story
        breaks("before its deadline") { try early.change { $0.drains[0].phase = .enforce } }
        story.pass(59)
        breaks("passes its deadline") { try story.take(.treeGone(Self.a, 0), []) }
    }

    @Test func `a drain is not done while something runs`() throws {
        var story = try Story()
        try story.drain()
        story.pass(3)
        breaks("is done, and") { try story.change { $0.drains[0].phase = .drained } }
    }

    @Test func `a rolling restart takes one at a time, and one instance more`() throws {
        var story = try Story()
        try story.drain(.instance(Self.a), .roll)
        var two = story
        breaks("takes two at once") { try two.drain(.instance(InstanceID(service: "a", index: 1)), .roll) }
        let rolls = ["a", "b"].map { name in
            var roll = Roll(service: name, by: "x", reason: nil, since: story.at, indexes: [0, 1], usesExtra: true)
            roll.step = .addingExtra(after: 0)
            return roll
        }
        breaks("I1") { try story.change { $0.rolls = rolls } }
    }
}
