import Simulation
import Testing

@testable import SupervisorCore

/// The crash-loop breaker of a service on one host, through the whole core.
struct GateTests {
    private func crashing(_ replicas: Int = 1, _ change: (inout ServiceSpec) -> Void = { _ in }) throws -> World {
        try World.running(
            service("a", replicas: replicas) {
                $0.breaker.mode = .auto
                $0.restart.backoffInitial = .milliseconds(100)
                $0.restart.backoffMultiplier = 1
                change(&$0)
            }
        )
    }

    /// Ends `text` as often as it takes to trip the breaker.
    private func crash(_ world: inout World, _ text: String, times: Int = 5) throws {
        for _ in 0..<times {
            try world.end(text)
            try world.advance(by: .milliseconds(200))
        }
    }

    private func breaker(_ world: World) -> BreakerStatus? {
        world.machine.breakersStatus(at: world.now).breakers.first
    }

    @Test func `five crashes within a minute hold the next start, and one probe shows that it still fails`() throws {
        var world = try crashing()
        try crash(&world, "a/0")
        #expect(world.kind("a/0") == .held)
        #expect(world.shim.starts == 5)
        #expect(try world.seen("a").breaker == .open)
        #expect(try world.seenInstance("a/0").state == .breakerOpen)
        let first = try #require(breaker(world)?.retryAt).since(world.now)
        #expect(first > .seconds(7) && first <= .seconds(12), "10 s, give or take a fifth")
        try world.advance(by: first)
        #expect(world.kind("a/0") == .ready)
        #expect(world.shim.starts == 6)
        #expect(breaker(world)?.state == .halfOpen)
        try world.end("a/0")
        try world.advance(by: .seconds(1))
        #expect(world.kind("a/0") == .held)
        let second = try #require(breaker(world)?.retryAt).since(world.now)
        #expect(second > .seconds(14) && second <= .seconds(24), "doubled")
    }

    @Test func `a probe that stays ready for half a minute closes it, and the others start`() throws {
        var world = try crashing(3)
        for index in 0..<3 { try crash(&world, "a/\(index)", times: index == 2 ? 1 : 2) }
        #expect(breaker(world)?.state == .open)
        for index in 0..<3 where world.kind("a/\(index)") == .ready { try world.end("a/\(index)") }
        try world.advance(by: .seconds(13))
        let up = (0..<3).filter { world.kind("a/\($0)") == .ready }
        #expect(up == [0], "one probe")
        try world.advance(by: .seconds(24))
        #expect(breaker(world)?.state == .halfOpen)
        try world.advance(by: .seconds(7))
        #expect(breaker(world)?.state == .closed)
        #expect((0..<3).allSatisfy { world.kind("a/\($0)") == .ready })
    }

    @Test func `what runs is left alone, and is not ended where it could not come back`() throws {
        var world = try crashing(2)
        try crash(&world, "a/0")
        #expect(world.kind("a/0") == .held)
        #expect(world.kind("a/1") == .ready)
        #expect(world.pending("a/1").isEmpty)
        #expect(try world.seen("a").state == .breakerOpen)
        let restart = try world.ask(restart: "a/1")
        guard case .refused(let text)? = world.results[restart] else { return #expect(Bool(false)) }
        #expect(text.contains("eiderctl breaker force-closed service:a@"))
        let start = try world.ask(start: "a/0")
        guard case .failed(let why)? = world.results[start] else { return #expect(Bool(false)) }
        #expect(why.contains("its breaker is open"))
        #expect(world.kind("a/1") == .ready)
    }

    @Test func `an operator opens it, closes it and hands it back`() throws {
        var world = try crashing(2)
        let open = try world.command(.breaker("a", .forceOpen, reason: "bad build"))
        #expect(world.results[open] == .done)
        let seen = try world.seen("a")
        #expect((seen.state, seen.breaker, seen.routable, seen.ready) == (.breakerOpen, .forcedOpen, false, 2))
        #expect(breaker(world)?.reason == "ada: bad build")
        try world.end("a/0")
        try world.advance(by: .seconds(1))
        #expect(world.kind("a/0") == .held)
        _ = try world.command(.breaker("service:a", .auto, reason: nil))
        try world.advance(by: .milliseconds(10))
        // What was forced open must show that it works.
        #expect(world.kind("a/0") == .ready)
        #expect(breaker(world)?.state == .halfOpen)
        try world.end("a/0")
        try world.advance(by: .seconds(1))
        #expect(world.kind("a/0") == .held)
        _ = try world.command(.breaker("a", .forceClosed, reason: nil))
        try world.settle()
        #expect(world.kind("a/0") == .ready)
        #expect(breaker(world)?.state == .forcedClosed)
        let unknown = try world.command(.breaker("b", .reset, reason: nil))
        #expect(world.results[unknown] == .unknownTarget("b"))
    }

    @Test func `what runs shows that its release works, where nobody is to be started`() throws {
        var world = try crashing(2)
        _ = try world.command(.breaker("a", .forceOpen, reason: nil))
        _ = try world.command(.breaker("a", .auto, reason: nil))
        #expect(breaker(world)?.state == .open)
        try world.advance(by: .seconds(31))
        #expect(breaker(world)?.state == .halfOpen)
        try world.advance(by: .seconds(31))
        #expect(breaker(world)?.state == .closed)
        #expect(world.shim.starts == 2, "nothing was started or ended for it")
    }

    @Test func `another release starts at once, and the old one's breaker stays`() throws {
        var world = try crashing(2)
        try crash(&world, "a/0")
        #expect(world.kind("a/0") == .held)
        try world.send(.releasesIdentified(["a": "r2"]))
        try world.settle()
        #expect(world.kind("a/0") == .ready)
        let all = world.machine.breakersStatus(at: world.now).breakers
        #expect(all.map(\.state) == [.closed, .open])
        #expect(all.first?.name == "service:a@r2")
    }

    @Test func `killed at any effect of a probe's start, the successor starts no second one`() throws {
        for effects in 0..<12 {
            var world = try crashing(2)
            try crash(&world, "a/0")
            try world.end("a/1")
            world.effectsUntilDeath = effects
            try world.advance(by: .seconds(20))
            let up = (0..<2).filter { world.process("a/\($0)")?.mainAlive == true }
            #expect(up.count == 1, "\(effects) effects")
        }
    }

    @Test func `releases that are past make room for the next ones`() throws {
        var world = try crashing()
        for release in 0..<50 { try world.send(.releasesIdentified(["a": "r\(release)"])) }
        #expect(world.machine.breakers.seats.count <= 3)
    }

    @Test func `a daemon's death forgets neither crashes nor what is open`() throws {
        var world = try crashing()
        try crash(&world, "a/0", times: 4)
        try world.daemonDies()
        try crash(&world, "a/0", times: 1)
        #expect(world.kind("a/0") == .held)
        let retryAt = breaker(world)?.retryAt
        try world.daemonDies()
        #expect(world.kind("a/0") == .held)
        #expect(breaker(world)?.retryAt == retryAt)
        try world.advance(by: .seconds(13))
        #expect(world.kind("a/0") == .ready)
        // The probe goes on under its lease.
        try world.daemonDies()
        try world.advance(by: .seconds(31))
        #expect(breaker(world)?.state == .closed)
        #expect(world.shim.starts == 6)
    }

    @Test func `a reboot forgets neither what is open nor who forced it`() throws {
        var world = try crashing()
        try crash(&world, "a/0")
        let disk = world.disk
        #expect(disk.breakers.own.first?.register.state == .open)
        let decoded = try #require(Intents(decoding: disk.encoded()))
        #expect(decoded == disk)
        var other = World(world.spec)
        other.disk = disk
        try other.start()
        #expect(other.kind("a/0") == .held)
        _ = try other.command(.breaker("a", .forceClosed, reason: "x"))
        var third = World(world.spec)
        third.disk = other.disk
        try third.start()
        try third.settle()
        #expect(breaker(third)?.state == .forcedClosed)
        #expect(third.kind("a/0") == .ready)
    }

    @Test func `disabled counts nothing, and metrics_only says what it would do`() throws {
        for mode in [ServiceSpec.Breaker.Mode.disabled, .metricsOnly] {
            var world = try crashing { $0.breaker.mode = mode }
            try crash(&world, "a/0", times: 6)
            #expect(world.kind("a/0") == .ready)
            #expect(breaker(world)?.state == (mode == .disabled ? .disabled : .metricsOnly))
            #expect(world.notes.contains { $0.contains("would open") } == (mode == .metricsOnly))
        }
    }

    @Test func `an exit with success that comes too soon is a crash where it is started again`() throws {
        var world = try crashing()
        for _ in 0..<5 {
            try world.end("a/0", .code(0))
            try world.advance(by: .milliseconds(200))
        }
        #expect(world.kind("a/0") == .held)
        var slow = try crashing()
        for _ in 0..<6 {
            try slow.advance(by: .seconds(6))
            try slow.end("a/0", .code(0))
        }
        #expect(slow.kind("a/0") != .held)
    }

    @Test func `a service that nobody wants any more gives its probe back`() throws {
        var world = try crashing()
        try crash(&world, "a/0")
        try world.advance(by: .seconds(13))
        #expect(breaker(world)?.probeHolder != nil)
        _ = try world.ask(stop: "a")
        try world.end("a/0")
        try world.advance(by: .seconds(5))
        #expect(world.kind("a/0") == .stopped)
        #expect(breaker(world)?.probeHolder == nil)
        _ = try world.ask(start: "a")
        try world.advance(by: .seconds(1))
        #expect(world.kind("a/0") == .ready, "the next probe")
    }

    @Test func `a rolling restart ends nothing that its breaker would not let come back`() throws {
        var world = try crashing(2)
        try crash(&world, "a/0")
        let roll = try world.command(.roll(["a"], reason: nil))
        guard case .refused(let text)? = world.results[roll] else { return #expect(Bool(false)) }
        #expect(text.contains("eiderctl breaker force-closed"))
        #expect(world.kind("a/1") == .ready)
        // One that goes on when it opens stops there.
        var other = try crashing(3)
        _ = try other.command(.roll(["a"], reason: nil))
        try other.end("a/0")
        try other.advance(by: .milliseconds(200))
        _ = try other.command(.breaker("a", .forceOpen, reason: nil))
        try other.advance(by: .seconds(60))
        #expect(other.machine.node.rolls.isEmpty)
        #expect((other.kind("a/1"), other.kind("a/2")) == (.ready, .ready))
    }
}
