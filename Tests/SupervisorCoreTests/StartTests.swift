import Simulation
import Testing

@testable import SupervisorCore

/// From the wish to readiness.
struct StartTests {
    @Test func `a simple service is ready as soon as its program runs`() throws {
        let world = try World.running(service("a"))
        #expect(world.kind("a/0") == .ready)
        #expect(world.announcements == 1)
    }

    @Test func `a notify service is ready when it says so`() throws {
        var world = try World.running(service("a", .notify))
        #expect(world.kind("a/0") == .starting)
        #expect(world.announcements == 0)
        try world.sayReady("a/0")
        #expect(world.kind("a/0") == .ready)
        #expect(world.announcements == 1)
    }

    @Test func `a oneshot is ready when it has ended with success, and stays so`() throws {
        var world = try World.running(service("init", .oneshot), service("app", after: ["init"]))
        #expect(world.kind("app/0") == .waiting)
        try world.end("init/0", .code(0))
        #expect(world.kind("init/0") == .completed)
        #expect(world.kind("app/0") == .ready)
        try world.advance(by: .seconds(3_600))
        #expect(world.kind("init/0") == .completed)
        #expect(world.shim.starts == 2)
    }

    @Test func `a oneshot that leaves a child behind completes when the child is gone`() throws {
        var world = try World.running(service("init", .oneshot))
        try world.end("init/0", .code(0), leaving: 1)
        #expect(world.process("init/0")?.ending == true)
        try world.treeEnds("init/0")
        #expect(world.kind("init/0") == .completed)
    }

    @Test func `a oneshot that says ready is not`() throws {
        var world = try World.running(service("init", .oneshot))
        try world.sayReady("init/0")
        #expect(world.kind("init/0") == .starting)
    }

    // MARK: Order

    @Test func `dependents wait until one instance of what they come after is ready`() throws {
        var world = try World.running(
            service("db", .notify, replicas: 2),
            service("api", after: ["db"]),
            service("web", after: ["api", "db"])
        )
        #expect(world.kind("api/0") == .waiting && world.kind("web/0") == .waiting)
        #expect(world.instanceStatus("api/0")?.reason == "waits for db")
        #expect(world.instanceStatus("web/0")?.reason == "waits for api, db")
        try world.sayReady("db/1")
        #expect(world.kind("db/0") == .starting)
        #expect(world.kind("api/0") == .ready && world.kind("web/0") == .ready)
    }

    @Test func `what runs goes on when what it came after is lost`() throws {
        var world = try World.running(service("db"), service("api", after: ["db"]))
        try world.end("db/0")
        #expect(world.kind("db/0") == .backoff)
        #expect(world.kind("api/0") == .ready)
        try world.end("api/0")
        try world.advance(by: .milliseconds(500))
        #expect(world.kind("api/0") == .ready, "a restart does not wait for others again")
    }

    @Test func `a dependency that an operator stopped is not waited for`() throws {
        var world = try World.running(service("db", .notify), service("api", after: ["db"]))
        try world.ask(stop: "db")
        #expect(world.kind("api/0") == .waiting)
        try world.end("db/0", .code(0))
        #expect(world.kind("db/0") == .stopped)
        #expect(world.kind("api/0") == .ready)
    }

    @Test func `a service without instances is not waited for`() throws {
        let world = try World.running(service("db", replicas: 0), service("api", after: ["db"]))
        #expect(world.kind("api/0") == .ready)
    }

    @Test func `concurrent_starts limits how many are starting, first come first served`() throws {
        var world = try World.running(service("a", .notify, replicas: 5), concurrentStarts: 2)
        let states = { (world: World) in (0..<5).map { world.kind("a/\($0)") } }
        #expect(states(world) == [.starting, .starting, .queued, .queued, .queued])
        #expect(world.instanceStatus("a/2")?.reason == "waits for a free start place")
        try world.sayReady("a/1")
        #expect(states(world) == [.starting, .ready, .starting, .queued, .queued])
        try world.ask(stop: "a/3")
        try world.end("a/0")
        #expect(states(world) == [.backoff, .ready, .starting, .stopped, .starting])
        try world.advance(by: .milliseconds(500))
        #expect(world.kind("a/0") == .queued, "it queues again, behind the others")
    }

    // MARK: What goes wrong

    @Test func `a start that takes too long is ended, and backs off for startup-timeout`() throws {
        var world = try World.running(service("a", .notify) { $0.startupTimeout = .seconds(10) })
        try world.advance(by: .milliseconds(9_999))
        #expect(world.kind("a/0") == .starting)
        try world.advance(by: .milliseconds(1))
        #expect(world.kind("a/0") == .stopping)
        #expect(world.pending("a/0") == [.terminate])
        #expect(world.announcements == 1, "the first start does not wait for it any longer")
        try world.end("a/0", .signal(.terminate, coreDumped: false))
        #expect(world.kind("a/0") == .backoff)
        #expect(world.record("a/0")?.lastExit?.cause == .startupTimeout)
        #expect(world.record("a/0")?.restartsByCause == [.startupTimeout: 1])
    }

    @Test func `a worker may ask for more time, up to a limit`() throws {
        var world = try World.running(service("a", .notify) { $0.startupTimeout = .seconds(10) })
        try world.advance(by: .seconds(9))
        try world.say("a/0") { $0.extendTimeout = .seconds(20) }
        try world.say("a/0") { $0.extendTimeout = .seconds(1) }
        try world.advance(by: .seconds(19))
        #expect(world.kind("a/0") == .starting, "a shorter wish takes nothing away")
        for _ in 0..<200 { try world.say("a/0") { $0.extendTimeout = .seconds(100_000) } }
        #expect(world.timer("a/0")?.at == MonotonicInstant(nanoseconds: 1_000_000_000_000 + 3_610_000_000_000))
    }

    @Test func `a failed start is a crash like any other`() throws {
        var world = World(.of([service("a")]))
        world.shim.startFault = SpawnFailure(stage: .execute, errno: 2, path: "/bin/a")
        try world.start()
        try world.settle()
        for expected in [0.5, 1, 2, 4] {
            #expect(world.untilNextStart("a/0")?.inSeconds == expected)
            #expect(world.instanceStatus("a/0")?.reason == "cannot execute /bin/a: No such file or directory (ENOENT)")
            _ = try world.fireNextTimer()
            try world.settle()
        }
        #expect(world.machine.spawnFailures == 5)
        #expect(world.record("a/0")?.restartsByCause == [.spawn: 5])
        #expect(world.announcements == 1)
        world.shim.startFault = nil
        try world.advance(by: .seconds(8))
        #expect(world.kind("a/0") == .ready)
    }

    @Test func `a start that fails while it is being stopped says why, and is not a stop that hangs`() throws {
        var world = World(.of([service("a", .notify) { $0.startupTimeout = .seconds(1) }]))
        world.shim.startFault = SpawnFailure(stage: .clone, errno: 11, path: "")
        try world.start()
        let timer = try #require(world.timer("a/0"))
        world.timers.remove(timer.token)
        world.now = timer.at
        try world.send(.timerFired(timer.token))
        #expect(world.kind("a/0") == .stopping)
        try world.settle()
        #expect(world.kind("a/0") == .backoff)
        #expect(world.record("a/0")?.lastExit?.cause == .spawn)
    }

    // MARK: The first start

    @Test func `the first start is over when the last first attempt is, and is announced once`() throws {
        var world = try World.running(service("a", .notify), service("b", .notify), service("c", after: ["a"]))
        try world.end("b/0")
        #expect(world.announcements == 0)
        try world.sayReady("a/0")
        #expect(world.announcements == 1)
        try world.advance(by: .seconds(1))
        try world.sayReady("b/0")
        try world.ask(restart: "a")
        #expect(world.announcements == 1)
    }

    @Test func `a first start that is blocked by one that failed for good is over`() throws {
        var world = try World.running(
            service("db") { $0.restart.policy = .never },
            service("api", .notify),
            service("web", after: ["db", "api"]),
            service("ui", after: ["web"])
        )
        #expect(world.announcements == 0)
        try world.end("db/0")
        #expect(world.kind("db/0") == .failed)
        #expect(world.announcements == 0, "api may still become ready")
        try world.sayReady("api/0")
        #expect(world.kind("web/0") == .waiting && world.kind("ui/0") == .waiting)
        #expect(world.announcements == 1)
    }

    @Test func `what waits for one that never came up does not hold up the first start`() throws {
        var world = try World.running(
            service("db", .notify) { $0.restart.policy = .never },
            service("web", after: ["db"]),
            service("ui", after: ["web"])
        )
        try world.end("db/0")
        #expect(world.kind("web/0") == .waiting && world.kind("ui/0") == .waiting)
        #expect(world.announcements == 1)
        #expect(world.instanceStatus("ui/0")?.reason == "waits for web")
        try world.ask(start: "db")
        try world.sayReady("db/0")
        #expect(world.kind("ui/0") == .ready)
    }

    @Test func `an empty fleet has started at once`() throws {
        var world = try World.running()
        #expect(world.announcements == 1)
        #expect(world.nodeStatus().state == .healthy)
    }
}
