import Testing

@testable import SupervisorCore

/// What hosts that share their breakers decide together.
struct FleetBreakerTests {
    @Test func `one bad host stops itself, and nobody else`() {
        var fleet = BreakerFleet(3)
        fleet.crash(0, times: 5)
        #expect(fleet.state(0) == .open)
        #expect((fleet.state(1), fleet.state(2)) == (.closed, .closed))
        #expect(fleet.register().state == .closed)
        #expect(fleet.wants(0) == .deny)
        #expect(fleet.wants(1) == .pass)
        #expect(fleet.hosts[1].seats[0].tripped == ["h0"])
    }

    @Test func `half of the hosts open it everywhere`() {
        var fleet = BreakerFleet(3)
        for host in 0..<2 { fleet.crash(host, times: 5) }
        #expect((0..<3).allSatisfy { fleet.state($0) == .open })
        #expect(fleet.register().reason.contains("2 tripped and 0 suspect of 3 hosts: h0,h1"))
        #expect(fleet.wants(2) == .deny)
    }

    @Test func `when nearly all suspect, two crashes each suffice`() {
        var fleet = BreakerFleet(3)
        for host in 0..<3 { fleet.crash(host, times: 2) }
        #expect(fleet.state(0) == .open)
        var two = BreakerFleet(2)
        for host in 0..<2 { two.crash(host, times: 2) }
        #expect(two.state(0) == .closed, "too few to go by a suspicion")
    }

    @Test func `what is a host's own fault never votes`() {
        var fleet = BreakerFleet(2)
        for host in 0..<2 { fleet.crash(host, .ofHost, times: 6) }
        #expect(fleet.register().state == .closed)
        #expect(fleet.count { if case .vote = $0 { true } else { false } } == 0)
        #expect((fleet.state(0), fleet.state(1)) == (.open, .open), "each for itself")
    }

    @Test func `one host at a time probes, and the one whose probe failed lets others go first`() throws {
        var fleet = BreakerFleet(3)
        for host in 0..<3 { fleet.crash(host, times: 2) }
        for host in 0..<3 { #expect(fleet.wants(host) == .deny) }
        fleet.advance(by: 14_000)
        let first = try #require(fleet.holder)
        #expect(fleet.register().state == .halfOpen)
        #expect(fleet.register().leases.map(\.host) == ["h\(first)"])
        for host in 0..<3 where host != first { #expect(fleet.wants(host) == .deny) }
        #expect(fleet.wants(first) == .probe)
        fleet.hosts[first].probeBegan(0, InstanceID(service: "a", index: 0), 7)
        fleet.hosts[first].conclude(0, .failed, "it exited", fleet.now)
        fleet.pump()
        #expect(fleet.register().state == .open)
        #expect(fleet.register().openCount == 2)
        fleet.advance(by: 26_000)
        let second = try #require(fleet.holder)
        #expect(second != first)
    }

    @Test func `a success closes it, and the hosts start one after the other`() throws {
        var fleet = BreakerFleet(5)
        for host in 0..<5 { fleet.crash(host, times: 2) }
        for host in 0..<5 { _ = fleet.wants(host) }
        fleet.advance(by: 14_000)
        let prober = try #require(fleet.holder)
        fleet.hosts[prober].probeBegan(0, InstanceID(service: "a", index: 0), 7)
        fleet.hosts[prober].readyChanged(0, isReady: true, fleet.now)
        fleet.advance(by: 30_500)
        #expect(fleet.register().state == .closed)
        let turns = fleet.hosts.map { $0.seats[0].rampUntil - fleet.now }
        #expect(Set(turns).count > 2)
        #expect(turns.allSatisfy { $0 <= BreakerLimits.recoveryRamp })
        fleet.advance(by: BreakerLimits.recoveryRamp)
        for host in 0..<5 { #expect(fleet.wants(host) == .pass) }
        // It may have been closed too soon: three crashes are enough for a while.
        #expect(fleet.hosts.allSatisfy { $0.seats[0].alertUntil > 0 })
    }

    @Test func `the holder that cannot renew its lease ends its probe before another begins`() throws {
        var fleet = BreakerFleet(2)
        for host in 0..<2 { fleet.crash(host, times: 5) }
        for host in 0..<2 { _ = fleet.wants(host) }
        fleet.advance(by: 14_000)
        let holder = try #require(fleet.holder)
        let run = ProbeHold.Run(instance: InstanceID(service: "a", index: 0), generation: 7)
        fleet.hosts[holder].probeBegan(0, run.instance, run.generation)
        fleet.disconnect(holder)
        fleet.advance(by: 14_600)
        #expect(fleet.hosts[holder].fenced == [run])
        fleet.advance(by: 10_000)
        #expect(fleet.hosts[1 - holder].seats[0].claim.hold != nil)
    }

    @Test func `Redis comes and goes, and nothing opens or closes for it`() {
        var fleet = BreakerFleet(3)
        for host in 0..<3 { fleet.crash(host, times: 2) }
        for host in 0..<3 { fleet.disconnect(host) }
        fleet.advance(by: 5_000)
        #expect((0..<3).allSatisfy { fleet.state($0) == .open })
        #expect(fleet.hosts.allSatisfy { $0.storeState == .island })
        // All of it is lost.
        fleet.store = BreakerLedger()
        for host in 0..<3 { fleet.connect(host) }
        #expect(fleet.register().state == .open, "given back")
        #expect((0..<3).allSatisfy { fleet.state($0) == .open })
        #expect(fleet.hosts.allSatisfy { $0.storeState == .redis })
        #expect(fleet.hosts[0].notes.count { $0.kind == "store-down" } == 1)
        #expect(fleet.hosts[0].notes.count { $0.kind == "store-up" } == 1)
    }

    @Test func `a flush while all are connected is mended by the next sync`() {
        var fleet = BreakerFleet(2)
        for host in 0..<2 { fleet.crash(host, times: 5) }
        let register = fleet.register()
        fleet.store = BreakerLedger()
        fleet.advance(by: 3_000)
        #expect(fleet.register().epoch == register.epoch)
        #expect(fleet.register().state == .open)
    }

    @Test func `a host that is alone after a pause does not open for all`() {
        var fleet = BreakerFleet(3)
        for host in 0..<3 { fleet.disconnect(host) }
        fleet.advance(by: 20_000)
        fleet.connect(0)
        fleet.crash(0, times: 5)
        #expect(fleet.register().state == .closed, "the others may only be late")
        for host in 1..<3 { fleet.connect(host) }
        #expect((fleet.state(1), fleet.state(2)) == (.closed, .closed))
    }

    @Test func `without pushes a change is seen with the next sync`() {
        var fleet = BreakerFleet(3)
        fleet.losesPushes = true
        for host in 0..<2 { fleet.crash(host, times: 5) }
        #expect(fleet.state(2) == .closed)
        fleet.advance(by: 2_500)
        #expect(fleet.state(2) == .open)
    }

    @Test func `in steady state a host says nothing but that it is there`() {
        var fleet = BreakerFleet(2)
        let before = fleet.asked.count
        fleet.advance(by: 60_000)
        let said = fleet.asked[before...]
        #expect(said.allSatisfy { if case .sync = $0.operation { true } else { false } })
        #expect((50...76).contains(said.count), "\(said.count) in a minute by two hosts")
    }

    @Test func `a force reaches all hosts, and outlives a flush`() {
        var fleet = BreakerFleet(2)
        fleet.hosts[0].act(.forceOpen, on: 0, by: "ada", reason: "maintenance", as: 1, at: fleet.now)
        fleet.pump()
        #expect((fleet.state(0), fleet.state(1)) == (.forcedOpen, .forcedOpen))
        #expect(fleet.hosts[0].finished.map(\.0) == [1])
        fleet.store = BreakerLedger()
        fleet.advance(by: 3_000)
        #expect(fleet.store.overrides[fleet.name]?.mode == .forceOpen)
        fleet.hosts[1].act(.auto, on: 0, by: "bob", reason: nil, as: 2, at: fleet.now)
        fleet.pump()
        #expect((fleet.state(0), fleet.state(1)) == (.open, .open), "it must show that it works")
    }
}
