import Simulation
import Testing

@testable import SupervisorCore

/// Every state meets every event. What changes is written down below; everything else must leave the state as it is.
/// The world checks the rules, the books and the documented successors at each step.
struct StateTableTests {
    /// A way into each state, by real events only.
    enum Situation: CaseIterable {
        case stopped, finished, stoppedWithFleet, waiting, queued, unanswered, doomed, starting, ready, running
        case stopping, killing, remains, backoff, completed, failed
    }

    enum Happening: CaseIterable {
        case started, startFailed, exitedWell, crashed, crashedLeavingTree, treeGone, treeRemained
        case saidReady, saidStopping, saidReloading, heartbeat, trigger, extended
        case timer, oldTimer
        case askedStart, askedStop, askedRestart, askedSignal
        case shimLost, shimReplaced, shimReconnected, takeover, shutdown, hastened
    }

    static let a = InstanceID(service: "a", index: 0)
    static let b = InstanceID(service: "b", index: 0)

    /// The state that follows where it is another.
    static let changes: [Situation: [Happening: StateKind]] = {
        let down: [Happening: StateKind] = [.askedStop: .stopped, .shutdown: .stopped, .hastened: .stopped]
        let up: [Happening: StateKind] = [.askedStart: .starting, .askedRestart: .starting]
        let ends: [Happening: StateKind] = [
            .exitedWell: .backoff, .crashed: .backoff, .crashedLeavingTree: .stopping, .askedStop: .stopping,
            .askedRestart: .stopping, .shutdown: .stopping, .hastened: .stopping, .shimReplaced: .starting,
        ]
        let anew: [Happening: StateKind] = [.exitedWell: .starting, .crashed: .starting, .shimReplaced: .starting]
        return [
            .stopped: up,
            .finished: up,
            .stoppedWithFleet: [:],
            .waiting: down,
            // The other one, that had the place, queues behind it.
            .queued: down.merging([.shimReplaced: .starting]) { $1 },
            .unanswered: ends.merging([.saidReady: .ready, .timer: .stopping]) { $1 },
            // What is to happen to a process only shows that there is none: the answer is read first.
            .doomed: [
                .startFailed: .backoff, .started: .backoff, .exitedWell: .backoff, .crashed: .backoff,
                .crashedLeavingTree: .backoff, .treeGone: .backoff, .saidReady: .backoff, .saidStopping: .backoff,
                .saidReloading: .backoff, .heartbeat: .backoff, .trigger: .backoff, .extended: .backoff,
                .timer: .stopping, .askedStop: .stopping, .askedRestart: .stopping, .shutdown: .stopping,
                .hastened: .stopping,
            ],
            .starting: ends.merging([.saidReady: .ready, .timer: .stopping]) { $1 },
            // Its watchdog may not restart it in the first minute (rule I4).
            .ready: ends.merging([.saidStopping: .running]) { $1 },
            .running: ends.merging([.saidReady: .ready]) { $1 },
            .stopping: anew,
            .killing: anew,
            .remains: [.treeGone: .starting, .shimReplaced: .starting],
            .backoff: down.merging(up) { $1 }.merging([.timer: .starting]) { $1 },
            .completed: down.merging([.askedRestart: .starting]) { $1 },
            .failed: down.merging(up) { $1 },
        ]
    }()

    @Test(arguments: Situation.allCases)
    func `every state answers every event`(situation: Situation) throws {
        let origin = try Self.reach(situation)
        let before = StateKind(try #require(origin.state(Self.a)))
        for happening in Happening.allCases {
            var world = origin
            do {
                try Self.apply(happening, to: &world)
                try world.publish()
                let after = StateKind(try #require(world.state(Self.a)))
                let expected = Self.changes[situation]?[happening] ?? before
                #expect(after == expected, "\(situation) \(happening)")
            } catch {
                Issue.record("\(situation) \(happening): \(error)")
            }
        }
    }

    @Test(arguments: Situation.allCases)
    func `a callback of another generation is dropped and counted`(situation: Situation) throws {
        let origin = try Self.reach(situation)
        let instance = try #require(origin.slot(Self.a))
        let generation = instance.generation
        // In a state without process, the last run's own generation is stale too.
        let stale = instance.state.hasProcess ? [generation &- 1, generation &+ 1] : [generation, generation &+ 1]
        for generation in stale {
            for event in Self.callbacks(generation) {
                var world = origin
                try world.send(event)
                #expect(world.machine.staleCallbacks == origin.machine.staleCallbacks + 1, "\(situation) \(event)")
                #expect(world.slot(Self.a) == instance, "\(situation) \(event)")
                #expect(world.effects.isEmpty, "\(situation) \(event)")
            }
        }
    }

    @Test func `a callback for an instance that nobody knows is dropped and counted`() throws {
        var world = try Self.reach(.ready)
        let count = world.machine.staleCallbacks
        let ghost = InstanceID(service: "ghost", index: 0)
        try world.send(.treeGone(ghost, 1))
        try world.send(.timerFired(TimerToken(instance: ghost, purpose: .backoff, number: 1)))
        #expect(world.machine.staleCallbacks == count + 2)
    }

    // MARK: Situations

    private static func fleet(_ situation: Situation) -> FleetSpec {
        var spec = FleetSpec()
        spec.drain = .withoutNotice
        var first = ServiceSpec(name: "a", command: ["/bin/a"])
        first.kind = .notify
        first.restart.backoffJitter = 0
        first.liveness.watchdog = .seconds(30)
        var second = ServiceSpec(name: "b", command: ["/bin/b"])
        second.kind = .notify
        switch situation {
        case .waiting: first.after = ["b"]
        case .queued:
            spec.limits.concurrentStarts = 1
            spec.services = [second, first]
            return spec
        case .finished: (first.kind, first.restart.policy) = (.simple, .never)
        case .failed: first.restart.policy = .never
        case .completed: first.kind = .oneshot
        case .stopped, .stoppedWithFleet, .unanswered, .doomed, .starting, .ready, .running, .stopping, .killing,
            .remains, .backoff:
            break
        }
        spec.services = [first, second]
        return spec
    }

    private static func reach(_ situation: Situation) throws -> World {
        var world = World(fleet(situation))
        if situation == .doomed { world.shim.startFault = SpawnFailure(stage: .execute, errno: 2, path: "/bin/a") }
        try world.start()
        if situation == .unanswered || situation == .doomed { return world }
        try world.settle()
        switch situation {
        case .waiting, .queued, .starting, .unanswered, .doomed: break
        case .completed, .finished: try end(&world, .code(0))
        case .failed: try end(&world, .code(1))
        case .stopped, .stoppedWithFleet, .ready, .running, .stopping, .killing, .remains, .backoff:
            try makeReady(&world)
            try leaveReady(situation, &world)
        }
        return world
    }

    private static func leaveReady(_ situation: Situation, _ world: inout World) throws {
        switch situation {
        case .stopped:
            try world.command(.stop([.instance(a)], reason: nil))
            try end(&world, .code(0))
        case .stoppedWithFleet:
            try world.send(.shutdownRequested(by: "SIGTERM"))
            try end(&world, .code(0))
        case .running: try say(&world) { $0.stopping = true }
        case .stopping: try world.command(.restart([.instance(a)], reason: nil))
        case .killing:
            try world.command(.restart([.instance(a)], reason: nil))
            let timer = try #require(world.timers.timer(of: a))
            world.timers.remove(timer.token)
            world.now = timer.at
            try world.send(.timerFired(timer.token))
        case .remains:
            try world.command(.restart([.instance(a)], reason: nil))
            world.shim.mainEnds(a, .code(0), leaving: 2, at: world.now)
            try world.settle()
        case .backoff: try end(&world, .code(1))
        default: break
        }
    }

    private static func makeReady(_ world: inout World) throws {
        try say(&world) { $0.ready = true }
    }

    private static func say(_ world: inout World, _ change: (inout NotifyMessage) -> Void) throws {
        var message = NotifyMessage()
        change(&message)
        world.shim.say(a, message)
        try world.settle()
    }

    private static func end(
        _ world: inout World,
        _ status: SupervisorCore.ExitStatus,
        leaving children: Int = 0
    ) throws {
        world.shim.mainEnds(a, status, leaving: children, at: world.now)
        try world.settle()
    }

    // MARK: Happenings

    private static func callbacks(_ generation: Generation) -> [Event] {
        [
            .started(a, generation, pid: 7, at: MonotonicInstant(nanoseconds: 1)),
            .startFailed(a, generation, SpawnFailure(stage: .clone, errno: 11, path: "")),
            .exited(a, generation, .code(0), ResourceUsage(), outOfMemory: false, treeGone: true),
            .treeGone(a, generation), .treeRemained(a, generation, count: 1, example: 7),
            .notified(a, generation, NotifyMessage()),
        ]
    }

    private static func apply(_ happening: Happening, to world: inout World) throws {
        let generation = world.slot(a)?.generation ?? 0
        switch happening {
        // An answer that is not outstanding is a second one.
        case .started where world.shim.outbox.isEmpty:
            let pid = world.shim.processes[a]?.pid ?? 7
            try world.send(.started(a, generation, pid: pid, at: world.now))
        case .started, .startFailed: _ = try world.readReport()
        case .exitedWell: try end(&world, .code(0))
        case .crashed: try end(&world, .code(1))
        case .crashedLeavingTree: try end(&world, .code(1), leaving: 2)
        case .treeGone:
            world.shim.childrenEnd(a)
            if try !world.readReport() { try world.send(.treeGone(a, generation)) }
        case .treeRemained: try world.send(.treeRemained(a, generation, count: 1, example: 7))
        case .saidReady: try say(&world) { $0.ready = true }
        case .saidStopping: try say(&world) { $0.stopping = true }
        case .saidReloading: try say(&world) { $0.reloading = true }
        case .heartbeat: try say(&world) { $0.watchdog = .alive }
        case .trigger: try say(&world) { $0.watchdog = .trigger }
        case .extended: try say(&world) { $0.extendTimeout = .seconds(100) }
        case .timer:
            guard let timer = world.timers.timer(of: a) else { return }
            world.timers.remove(timer.token)
            world.now = timer.at
            try world.send(.timerFired(timer.token))
        case .oldTimer: try world.send(.timerFired(TimerToken(instance: a, purpose: .backoff, number: 0)))
        case .askedStart, .askedStop, .askedRestart, .askedSignal: try ask(happening, &world)
        case .shimLost: try world.shimIsLost(replaced: false)
        case .shimReplaced, .shimReconnected:
            try world.shimIsLost(replaced: happening == .shimReplaced)
            try world.shimConnects()
        case .takeover: try world.daemonDies()
        case .shutdown: try world.send(.shutdownRequested(by: "SIGTERM"))
        case .hastened: try world.send(.shutdownHastened)
        }
    }

    private static func ask(_ happening: Happening, _ world: inout World) throws {
        switch happening {
        case .askedStart: try world.command(.start([.instance(a)], reason: nil))
        case .askedStop: try world.command(.stop([.instance(a)], reason: nil))
        case .askedRestart: try world.command(.restart([.instance(a)], reason: nil))
        default: try world.command(.signal(.instance(a), .hangup))
        }
    }
}
