import Testing

@testable import SupervisorCore

/// What a review has found.
struct ReviewTests {
    private func failure() -> StoreFailure { StoreFailure(kind: .unreachable, text: "cannot reach Redis") }

    private func machine(shared: Bool, _ change: (inout FleetSpec) -> Void = { _ in }) -> BreakerMachine {
        var spec = FleetSpec()
        spec.node.name = "h0"
        spec.breaker.store = shared ? .redis : .local
        change(&spec)
        return BreakerMachine(spec: spec, now: MonotonicInstant(milliseconds: 1_000_000), seed: 1)
    }

    @Test func `what was due is never due again: its timer does not fire for ever`() {
        var host = machine(shared: true)
        host.moved = false
        let due = host.deadline
        #expect(due == 1_002_000)
        host.advance(to: 1_002_000)
        #expect(host.deadline == nil)
        #expect(host.moved, "the fleet works out its timer anew only where something moved")
    }

    @Test func `a dependency that nobody asks for any more has no timer in the past`() throws {
        var host = machine(shared: false)
        var now: Int64 = 1_000_000
        let pass: UInt64 = 1
        _ = host.ask("d", worker: 1, at: now)
        for _ in 0..<100 { host.report("d", pass: pass, worker: 1, .failed, microseconds: 1, at: now) }
        _ = host.ask("d", worker: 1, at: now)
        host.moved = false
        let due = try #require(host.deadline)
        now = due + 60_000
        host.advance(to: now)
        #expect(host.deadline.map { $0 > now } ?? true)
        #expect(host.moved)
    }

    private func opened(_ name: String, epoch: Int64 = 5) -> BreakerEntry {
        var register = BreakerRegister()
        register.state = .open
        register.epoch = epoch
        register.wait = 10_000
        register.retryAt = 10_000
        return BreakerEntry(
            name: name,
            register: register,
            override: BreakerOverride(),
            tripped: [],
            suspecting: [],
            live: 2,
            sequence: epoch
        )
    }

    @Test func `more open dependencies in the store than a host keeps do not end the daemon`() {
        var host = machine(shared: true)
        host.take(.connected, at: 1_000_000)
        for number in 0...BreakerLimits.dependencies {
            host.take(.pushed(opened("d\(number)")), at: 1_000_000)
        }
        #expect(host.seats.count == BreakerLimits.dependencies)
    }

    @Test func `a wait of a year is counted with`() {
        var policy = LedgerPolicy()
        policy.waitInitial = 31_536_000_000
        policy.waitMaximum = policy.waitInitial
        #expect(policy.wait(openCount: 3, draw: 500_000) == policy.waitInitial)
    }

    @Test func `the leases of a hostile entry are bounded, too, and its counts cannot overflow`() throws {
        var host = machine(shared: true)
        host.take(.connected, at: 1_000_000)
        var entry = opened("d")
        entry.register.state = .halfOpen
        (entry.register.span, entry.register.deadline) = (1 << 52, 1 << 52)
        (entry.register.succeeded, entry.register.failed) = (1 << 52, 1 << 52)
        entry.register.leases = [
            BreakerLease(token: 1, host: "x", incarnation: 1, expiresAt: 1 << 52, span: 1 << 52)
        ]
        host.take(.pushed(entry), at: 1_000_000)
        let held = try #require(host.fleet.registers["d"])
        #expect(try #require(held.leases.first).span <= LedgerLimits.openForgotten)
        #expect(held.succeeded <= 1 << 30 && held.failed <= 1 << 30)
    }

    @Test func `the turns after a closing outlive the daemon`() throws {
        var fleet = BreakerFleet(3)
        fleet.crash(0, times: 5)
        fleet.crash(1, times: 5)
        #expect(fleet.state(2) == .open)
        let host = 2
        fleet.hosts[host].seats[0].rampUntil = fleet.now + 20_000
        let remembered = fleet.hosts[host].remembered(releases: [])
        #expect(remembered.seats.first?.rampUntil == fleet.now + 20_000)
    }
}

extension ReviewTests {
    @Test func `a probe that was begun on an island is kept in the store once that is back`() throws {
        var fleet = BreakerFleet(3)
        fleet.crash(0, times: 5)
        fleet.crash(1, times: 5)
        #expect(fleet.state(2) == .open)
        for host in 0..<3 { fleet.disconnect(host) }
        fleet.advance(by: 3_000)
        #expect(fleet.wants(2) == .deny)
        var waited = 0
        while fleet.holder != 2, waited < 200 {
            fleet.advance(by: 500)
            waited += 1
        }
        #expect(fleet.holder == 2)
        _ = fleet.wants(2)
        fleet.hosts[2].probeBegan(0, InstanceID(service: "a", index: 0), 1)
        fleet.connect(2)
        #expect(fleet.hosts[2].isIsland == false)
        fleet.advance(by: 25_000)
        #expect(fleet.hosts[2].fenced.isEmpty, "a good probe is not ended")
        #expect(fleet.register().leases.first?.host == "h2")
    }
}

extension ReviewTests {
    @Test func `what makes room for another dependency is forgotten as a whole`() {
        var host = machine(shared: true)
        host.take(.connected, at: 1_000_000)
        for number in 0..<(3 * BreakerLimits.dependencies) {
            var entry = opened("d\(number)", epoch: 5)
            host.take(.pushed(entry), at: 1_000_000)
            entry.register.state = .closed
            entry.register.epoch = 6
            host.take(.pushed(entry), at: 1_000_000)
        }
        #expect(host.fleet.registers.count <= BreakerLimits.dependencies)
    }
}
