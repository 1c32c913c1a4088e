import Simulation
import SupervisorCore
import Testing

/// The checker must be able to fail: wrong effects, made by hand, and the rule that each breaks.
struct CheckerTests {
    private static let a = InstanceID(service: "a", index: 0)
    private static let b = InstanceID(service: "b", index: 0)

    /// Two services, up and ready for a long time, as a checker has seen them; and what becomes of them.
    private struct Story {
        var checker: Checker
        var records: [InstanceID: RememberedInstance] = [:]
        var now: Int64 = 1_000_000_000_000

        init(_ change: (inout ServiceSpec) -> Void = { _ in }) throws {
            var spec = FleetSpec()
            spec.limits.concurrentStarts = 1
            for name in ["a", "b"] {
                var service = ServiceSpec(name: name, command: ["/bin/x"])
                service.kind = .notify
                service.restart.backoffJitter = 0
                service.replicas = 2
                var probe = ServiceSpec.Probe(method: .tcp(address: ""))
                probe.successThreshold = 1
                service.readiness = probe
                service.liveness.probe = probe
                change(&service)
                spec.services.append(service)
            }
            checker = Checker(spec)
            checker.daemonBegins(spec, memory: [:], node: nil, at: now)
            try take(.shimConnected(Adoption()), [.rememberNode(RememberedNode())])
            for id in spec.services.flatMap(\.instanceIDs) { try start(id) }
        }

        private mutating func start(_ id: InstanceID) throws {
            var record = RememberedInstance(state: .queued, since: at)
            try take(.treeGone(id, 0), [.remember(id, record)])
            record.state = .starting(deadline: at.advanced(by: .seconds(60)))
            record.generation = 1
            record.run = RememberedInstance.Run(startedAt: at)
            try take(.treeGone(id, 0), [.remember(id, record), .spawn(id, 1)])
            record.state = .ready
            record.run?.readyAt = at
            record.run?.servingAt = at
            record.run?.readiness = .passing
            let watches = [ProbeKind.readiness, .liveness].map { kind in
                Effect.watch(key(id, kind), ProbePolicy(ServiceSpec.Probe(method: .tcp(address: ""))), firstAt: at)
            }
            records[id] = record
            try take(.started(id, 1, pid: 1, at: at), [.remember(id, record)] + watches)
        }

        var at: MonotonicInstant { MonotonicInstant(nanoseconds: now) }

        func key(_ id: InstanceID, _ kind: ProbeKind) -> ProbeKey {
            ProbeKey(instance: id, generation: 1, kind: kind)
        }

        mutating func pass(_ seconds: Double) { now += Int64(seconds * 1e9) }

        mutating func take(_ event: Event, _ effects: [Effect]) throws {
            try checker.take(event, effects, at: now)
        }

        /// The record of an instance, changed.
        mutating func changed(_ id: InstanceID, _ change: (inout RememberedInstance) -> Void) throws -> Effect {
            var record = try #require(records[id])
            change(&record)
            records[id] = record
            return .remember(id, record)
        }

        /// Its liveness probe fails, by the book: three times and more, for so long.
        mutating func failLiveness(_ id: InstanceID, times: Int = 8) throws {
            for count in 1...times {
                pass(5)
                var effects: [Effect] = []
                if count == 3 {
                    effects = [
                        try changed(id) {
                            $0.run?.livenessFailing = true
                            $0.lastTroubleAt = MonotonicInstant(nanoseconds: 0)
                        }
                    ]
                }
                try take(.probed(key(id, .liveness), .failure("x")), effects)
            }
        }

        /// What a restart for health looks like.
        mutating func restart(_ id: InstanceID) throws -> [Effect] {
            [
                try changed(id) {
                    $0.state = .stopping(InstanceState.Stop(cause: .liveness, graceEnds: nil))
                },
                .signal(id, 1, .terminate, tree: false),
            ]
        }
    }

    /// Runs `body`, which must break the rule.
    private func breaks(_ rule: String, _ body: () throws -> Void) {
        do {
            try body()
            Issue.record("nothing was found, not even \(rule)")
        } catch {
            #expect("\(error)".hasPrefix(rule), "\(error)")
        }
    }

    @Test func `what is right passes`() throws {
        var story = try Story()
        story.pass(100)
        // The other's liveness passes too, so that it is not everything that fails.
        try story.take(.probed(story.key(Self.b, .liveness), .success), [])
        try story.failLiveness(Self.a)
        try story.take(.pressureMeasured(PressureReading()), story.restart(Self.a))
        #expect(story.checker.restarts.count == 1)
    }

    @Test func `I2: readiness that signals, kills or starts`() throws {
        let effects: [Effect] = [
            .signal(Self.a, 1, .terminate, tree: false), .endTree(Self.a, 1), .spawn(Self.a, 2),
            .spawn(Self.b, 2),
        ]
        for effect in effects {
            var story = try Story()
            breaks("I2") { try story.take(.probed(story.key(Self.a, .readiness), .failure("x")), [effect]) }
        }
    }

    @Test func `I3: the last one with a fresh heartbeat is stopped`() throws {
        var story = try Story { service in
            service.liveness.watchdog = .seconds(1_000)
            service.replicas = 1
        }
        story.pass(100)
        try story.failLiveness(Self.a)
        breaks("I3") { try story.take(.pressureMeasured(nil), story.restart(Self.a)) }
    }

    @Test func `I4: within a minute of its readiness, without evidence, and without a look at the pressure`() throws {
        var early = try Story()
        early.pass(1)
        try early.failLiveness(Self.a)
        breaks("I4") { try early.take(.pressureMeasured(nil), early.restart(Self.a)) }
        var hasty = try Story()
        hasty.pass(100)
        try hasty.failLiveness(Self.a, times: 6)
        breaks("I4") { try hasty.take(.pressureMeasured(nil), hasty.restart(Self.a)) }
        var blind = try Story()
        blind.pass(100)
        try blind.failLiveness(Self.a)
        breaks("pressure") { try blind.take(.treeGone(Self.a, 1), blind.restart(Self.a)) }
        var pressed = try Story()
        pressed.pass(100)
        try pressed.failLiveness(Self.a)
        var reading = PressureReading()
        reading.cpuSome = 99
        breaks("pressure") { try pressed.take(.pressureMeasured(reading), pressed.restart(Self.a)) }
    }

    @Test func `report: a service that only reports is restarted`() throws {
        var story = try Story { $0.liveness.action = .report }
        story.pass(100)
        try story.failLiveness(Self.a)
        breaks("report") { try story.take(.pressureMeasured(nil), story.restart(Self.a)) }
    }

    @Test func `I4 and I5: a second restart, and one in a hold`() throws {
        var story = try Story()
        story.pass(100)
        try story.failLiveness(Self.a)
        try story.take(.pressureMeasured(nil), story.restart(Self.a))
        story.pass(100)
        try story.failLiveness(Self.b)
        breaks("I4") { try story.take(.pressureMeasured(nil), story.restart(Self.b)) }
        var held = try Story()
        held.pass(100)
        try held.failLiveness(Self.a, times: 3)
        try held.failLiveness(Self.b)
        breaks("I5") { try held.take(.pressureMeasured(nil), held.restart(Self.b)) }
    }

    @Test func `I6: something follows from what could not be run`() throws {
        var story = try Story()
        let effect = try story.changed(Self.a) { $0.run?.livenessFailing = true }
        breaks("I6") {
            try story.take(.probed(story.key(Self.a, .liveness), .unknown(.spawn, "EAGAIN")), [effect])
        }
        var early = try Story()
        let failing = try early.changed(Self.a) { $0.run?.readiness = .failing }
        breaks("probes") { try early.take(.probed(early.key(Self.a, .readiness), .failure("x")), [failing]) }
    }

    @Test func `I7: too many starts, a backoff that is none, a sibling that is taken down, giving up`() throws {
        var many = try Story()
        var starting = try #require(many.records[Self.a])
        starting.state = .starting(deadline: many.at)
        var other = try #require(many.records[Self.b])
        other.state = .starting(deadline: many.at)
        breaks("I7") {
            for (id, record) in [(Self.a, starting), (Self.b, other)] {
                var queued = record
                queued.state = .queued
                queued.run = nil
                try many.take(.treeGone(id, 1), [.remember(id, queued), .remember(id, record)])
            }
        }
        var quick = try Story()
        let quickNow = quick.at
        let backoff = try quick.changed(Self.a) {
            $0.state = .backoff(until: quickNow.advanced(by: .milliseconds(1)))
            $0.crashes = 1
            $0.run = nil
        }
        breaks("I7") { try quick.take(.treeGone(Self.a, 1), [backoff]) }
        var sibling = try Story()
        breaks("I7") {
            let exit = Event.exited(Self.a, 1, .code(1), ResourceUsage(), outOfMemory: false, treeGone: true)
            try sibling.take(exit, [.signal(Self.b, 1, .terminate, tree: false)])
        }
        var tired = try Story()
        let failed = try tired.changed(Self.a) {
            $0.state = .failed
            $0.run = nil
        }
        breaks("I7") { try tired.take(.treeGone(Self.a, 1), [failed]) }
    }

    @Test func `I8: a hold that is not due, and one that is forgotten`() throws {
        var story = try Story()
        let storyNow = story.at
        let held = try story.changed(Self.a) {
            $0.flaps = FlapDamper(penalty: 3_000, updatedAt: storyNow, isHeld: true)
        }
        breaks("I8") { try story.take(.treeGone(Self.a, 1), [held]) }
    }

    @Test func `I9: a state that changes while states stand still`() throws {
        var story = try Story()
        story.pass(100)
        try story.take(.probed(story.key(Self.b, .liveness), .success), [])
        try story.take(.disturbed(.clockJumped(by: .seconds(60))), [])
        breaks("I9") { try story.failLiveness(Self.a, times: 3) }
    }

    @Test func `P3 and P5: an undocumented state, a wait without a timer, a start after the end`() throws {
        var story = try Story()
        let odd = try story.changed(Self.a) {
            $0.state = .completed
            $0.run = nil
        }
        breaks("a/0 went from ready to completed") { try story.take(.treeGone(Self.a, 1), [odd]) }
        var idle = try Story()
        let idleNow = idle.at
        let backoff = try idle.changed(Self.a) {
            $0.state = .backoff(until: idleNow.advanced(by: .milliseconds(500)))
            $0.crashes = 1
            $0.run = nil
        }
        try idle.take(.treeGone(Self.a, 1), [backoff])
        breaks("P3") { try idle.checker.checkReasons(ShadowTimers(), shimPresent: true) }
        var over = try Story()
        try over.take(.shutdownRequested(by: "SIGTERM"), [])
        breaks("P5") {
            let queued = try over.changed(Self.a) {
                $0.state = .queued
                $0.run = nil
            }
            let overNow = over.at
            let starting = try over.changed(Self.a) {
                $0.state = .starting(deadline: overNow)
                $0.run = RememberedInstance.Run(startedAt: overNow)
            }
            try over.take(.treeGone(Self.a, 1), [queued, starting])
        }
    }

    @Test func `P1 and P2: the shim refuses a twin, and to forget a tree that lives`() throws {
        var shim = ShadowShim()
        let at = MonotonicInstant(nanoseconds: 1)
        var record = RememberedInstance(state: .starting(deadline: at), since: at)
        record.generation = 1
        record.run = RememberedInstance.Run(startedAt: at)
        try shim.obey(.remember(Self.a, record), at: at)
        try shim.obey(.spawn(Self.a, 1), at: at)
        breaks("P1") { try shim.obey(.spawn(Self.a, 1), at: at) }
        record.state = .queued
        record.run = nil
        try shim.obey(.remember(Self.a, record), at: at)
        breaks("P2") { try shim.obey(.release(Self.a, 1), at: at) }
    }
}
