import Simulation
import Testing

@testable import SupervisorCore

/// What users see of a drain while it goes on.
struct DrainStatusTests {
    /// One service with ports and one without.
    private static func world() throws -> World {
        var spec = FleetSpec.of([service("a", .notify, replicas: 2) { $0.portBase = 9_000 }, service("b")])
        spec.drain = DrainSpec()
        var world = World(spec)
        try world.start()
        try world.settle()
        try world.sayReady("a/0")
        try world.sayReady("a/1")
        return world
    }

    private static func member(_ world: World, _ name: String) throws -> DrainStatus.Member {
        let status = try #require(world.machine.drainStatuses(at: world.now).first)
        return try #require(status.members.first { "\($0.id)" == name })
    }

    @Test func `nobody counts the requests of what has no port`() throws {
        var world = try Self.world()
        world.figures = [TrafficFigure(target: .instance(World.id("a/0")), open: 1, busy: 1, arrived: 0)]
        _ = try world.command(.drain(DrainRequest(target: nil)))
        try world.advance(by: .seconds(1))
        #expect(try Self.member(world, "a/0").inFlight == 1)
        // Of what has a port and no figure there are no connections.
        #expect(try Self.member(world, "a/1").inFlight == 0)
        #expect(try Self.member(world, "b/0").inFlight == nil)
        #expect(try Self.member(world, "b/0").source == nil)
        try world.say("b/0") { $0.inFlight = 4 }
        #expect(try Self.member(world, "b/0").inFlight == 4)
    }

    @Test func `an instance is draining since its drain began, not since it became ready`() throws {
        var world = try Self.world()
        try world.advance(by: .seconds(600))
        let ready = try world.seenInstance("a/0").since
        let began = world.now
        _ = try world.command(.drain(DrainRequest(target: nil)))
        try world.settle()
        #expect(try world.seenInstance("a/0").state == .draining)
        #expect(try world.seenInstance("a/0").since == began)
        _ = try world.command(.undrain(nil, reason: nil))
        #expect(try world.seenInstance("a/0").since == ready)
    }

    @Test func `what ends is seen at once, also when nothing is looked at any more`() throws {
        var world = try Self.world()
        var request = DrainRequest(target: nil)
        request.notice = .fixed(.zero)
        _ = try world.command(.drain(request))
        try world.settle()
        _ = world.machine.takeChangedDrains(at: world.now)
        #expect(world.machine.takeChangedDrains(at: world.now) == nil)
        try world.end("a/0", .code(0))
        let seen = try #require(world.machine.takeChangedDrains(at: world.now)?.drains.first)
        #expect(seen.waitsFor == "a/1 and 1 more to end")
        #expect(seen.members.first?.state == .drained)
    }

    @Test func `what forbids a scale names the way back`() throws {
        var world = try Self.world()
        _ = try world.command(.drain(DrainRequest(target: .service("a"))))
        try world.settle()
        let operation = try world.command(.scale(service: "a", replicas: 3, reason: nil))
        #expect(
            world.results[operation]
                == .refused("a is being drained (by ada); use eiderctl undrain a first")
        )
    }

    @Test func `each wait reads after the words "waits for"`() throws {
        var world = try Self.world()
        world.figures = [TrafficFigure(target: .instance(World.id("a/0")), open: 1, busy: 1, arrived: 1)]
        // Somebody probes, and has understood.
        let identity = ProberSighting.Identity(address: "10.0.0.1", userAgent: "", path: "/", host: "")
        var prober = ProberSighting(identity: identity, target: nil, lastAt: world.now, told: "503")
        (prober.requests, prober.period, prober.outInARow) = (50, .seconds(1), 50)
        world.sightings = [prober]
        _ = try world.command(.drain(DrainRequest(target: nil)))
        try world.settle()
        let text = { (world: World) in world.machine.drainStatuses(at: world.now).first?.waitsFor }
        #expect(text(world) == "load balancers, which have 2s to see it")
        try world.advance(by: .milliseconds(2_600))
        #expect(text(world) == "new connections to cease")
        world.figures = [TrafficFigure(target: .instance(World.id("a/0")), open: 1, busy: 1, arrived: 0)]
        try world.advance(by: .milliseconds(2_600))
        #expect(text(world) == "1 request in flight (a/0)")
    }
}
