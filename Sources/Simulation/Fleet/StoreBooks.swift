import SupervisorCore

/// The numbers that the checker takes for a breaker's, from the configuration and research/circuit-breakers.md §5.11:
/// not those that operations bring with them.
struct BreakerNumbers: Sendable {
    var waitMost: Int64
    var halfOpenMost: Int64 = 30_000
    var leaseSpan: Int64 = 10_000
    var permitted: Int64
    var inconclusiveLimit: Int64 = 5

    init(_ service: ServiceSpec) {
        waitMost = Self.withJitter(
            max(service.breaker.waitDurationInOpenState, service.breaker.maxWaitDurationInOpenState)
        )
        halfOpenMost = max(180_000, service.startupTimeout.clampedNanoseconds / 1_000_000 + 60_000)
        leaseSpan = 15_000
        permitted = 1
        inconclusiveLimit = 3
    }

    init(_ dependency: DependencySpec) {
        waitMost = Self.withJitter(max(.seconds(60), dependency.waitDurationInOpenState))
        permitted = Int64(dependency.permittedNumberOfCallsInHalfOpenState)
    }

    private static func withJitter(_ wait: Duration) -> Int64 { wait.clampedNanoseconds / 1_000_000 * 12 / 10 }
}

/// What the checker knows of one primary of the store: who voted, who is there, since when a round goes on. Written
/// from the operations alone; lost with the primary that it is of.
struct StoreBooks: Sendable {
    struct Vote: Sendable {
        var grade: BreakerGrade
        var expiresAt: Int64
    }

    /// One operation, as it was carried out.
    struct Step {
        var operation: BreakerOperation
        var caller: LedgerCaller
        var verdict: LedgerVerdict
        /// Milliseconds of the store's clock, and nanoseconds of the virtual one.
        var storeNow: Int64
        var now: Int64
        var override: BreakerMode
    }

    var votes: [String: [String: Vote]] = [:]
    var seenAt: [String: Int64] = [:]
    var bornAt: Int64 = 0
    /// By the virtual clock.
    var openSince: [String: Int64] = [:]
    /// Edges that were gone, to be counted.
    var marks: [FleetMark] = []
    /// The clock was set back: rounds are bounded anew by the next operation on each.
    var wentBack = false
    /// A vote that opened it was one of many that only suspect.
    private static let hostSpan: Int64 = 15_000

    /// Rules S1, S2, S5, S7, S9, S11, S12, S15 and L5: what one operation may make of a ledger.
    mutating func take(
        _ step: Step,
        from before: BreakerLedger,
        to after: BreakerLedger,
        _ numbers: (String) -> BreakerNumbers?
    ) throws {
        listen(step)
        if wentBack, case .sync = step.operation {
            wentBack = false
        }
        for name in Set(before.registers.keys).union(after.registers.keys).sorted() {
            guard before.registers[name] != after.registers[name] else { continue }
            if let only = step.operation.name, only != name {
                throw ShadowViolation("S15: an operation on \(only) changed \(name)")
            }
            guard let numbers = numbers(name) else { continue }
            try checkEdge(name, before.registers[name], after.registers[name], step, numbers)
        }
        for name in Set(before.overrides.keys).union(after.overrides.keys).sorted()
        where before.overrides[name] != after.overrides[name] {
            try checkOverride(name, before.overrides[name], after.overrides[name], step)
        }
        try checkRounds(after, step, numbers)
    }

    private mutating func listen(_ step: Step) {
        let now = step.storeNow
        for host in seenAt.keys.sorted() { seenAt[host] = min(seenAt[host] ?? now, now) }
        bornAt = min(bornAt, now)
        switch step.operation {
        case .sync:
            if live(now) == 0 { bornAt = now }
            seenAt[step.caller.host] = now
        case .leave:
            seenAt[step.caller.host] = nil
            for name in votes.keys.sorted() { votes[name]?[step.caller.host] = nil }
        case .vote(let name, let grade, _, _, _):
            votes[name, default: [:]][step.caller.host] =
                grade == .none ? nil : Vote(grade: grade, expiresAt: now + 15_000)
        default: break
        }
    }

    private func live(_ now: Int64) -> Int { seenAt.values.count { now - $0 < Self.hostSpan } }

    private func voters(_ name: String, _ grade: BreakerGrade, _ now: Int64) -> Int {
        guard let cast = votes[name] else { return 0 }
        return cast.keys.count { host in
            guard let vote = cast[host], let seen = seenAt[host] else { return false }
            return vote.grade == grade && vote.expiresAt > now && now - seen < Self.hostSpan
        }
    }

    // MARK: Edges

    private mutating func checkEdge(
        _ name: String,
        _ old: BreakerRegister?,
        _ new: BreakerRegister?,
        _ step: Step,
        _ numbers: BreakerNumbers
    ) throws {
        let before = old ?? BreakerRegister()
        guard let after = new else {
            let age = step.storeNow - before.changedAt
            if age >= (before.state == .closed ? 3_600_000 : 86_400_000) { return }
            throw ShadowViolation("S1: \(name), \(before.state), vanished after \(age) ms by \(step.operation)")
        }
        if after.epoch == before.epoch { return try checkSame(name, before, after, step) }
        if after.epoch < before.epoch {
            throw ShadowViolation("S2: the epoch of \(name) went from \(before.epoch) to \(after.epoch)")
        }
        if after.state == .open { openSince[name] = step.now }
        // A restored one brings no votes, and takes none away.
        if case .restore = step.operation {} else if after.state == .closed { votes[name] = nil }
        if let edge = try edge(name, before, after, step, numbers) { return marks.append(edge) }
        throw ShadowViolation(
            "S1: \(name) went from \(before.state) to \(after.state) by \(step.operation) of \(step.caller.host)"
        )
    }

    /// The edge that was gone; nil where there is none.
    private func edge(
        _ name: String,
        _ before: BreakerRegister,
        _ after: BreakerRegister,
        _ step: Step,
        _ numbers: BreakerNumbers
    ) throws -> FleetMark? {
        if case .restore(_, let given, _) = step.operation, given.epoch == after.epoch {
            return given.state == after.state && given.origin == after.origin && given.openCount == after.openCount
                ? .t11 : nil
        }
        if case .reset = step.operation { return after.state == .closed && after.openCount == 0 ? .t10 : nil }
        if case .force(_, .auto, _, _) = step.operation {
            if step.override == .forceOpen { return after.state == .open && after.wait == 0 ? .t9 : nil }
            if step.override == .forceClosed { return after.state == .closed ? .t9 : nil }
        }
        switch (before.state, after.state) {
        case (.closed, .open):
            guard case .vote = step.operation, step.override == .auto || step.override == .metricsOnly else {
                return nil
            }
            return try checkQuorum(name, step)
        case (.open, .halfOpen):
            guard case .lease = step.operation, step.override != .forceOpen else { return nil }
            let isDue = before.retryAt <= step.storeNow || before.wait <= 0
            return isDue && after.granted == 1 && after.leases.map(\.host) == [step.caller.host] ? .t2 : nil
        case (.halfOpen, .halfOpen):
            guard case .lease = step.operation else { return nil }
            return after.granted == before.granted + 1 || after.granted == 1 ? .t3 : nil
        case (.halfOpen, .closed):
            guard case .result(_, let token, let verdict, _, _, _) = step.operation,
                holds(token, before, step), verdict == .succeeded || verdict == .slow
            else { return nil }
            return after.openCount == before.openCount && before.succeeded + 1 >= numbers.permitted ? .t5 : nil
        case (.halfOpen, .open): return reopening(before, after, step, numbers)
        default: return nil
        }
    }

    private func reopening(
        _ before: BreakerRegister,
        _ after: BreakerRegister,
        _ step: Step,
        _ numbers: BreakerNumbers
    ) -> FleetMark? {
        if after.openCount == before.openCount + 1 {
            guard case .result(_, let token, let verdict, _, _, _) = step.operation,
                holds(token, before, step), verdict == .failed || verdict == .slow
            else { return nil }
            return .t6
        }
        let lapsed = before.leases.count { min($0.expiresAt, step.storeNow + $0.span) <= step.storeNow }
        let isOverdue = before.deadline <= step.storeNow
        // The one that this operation itself ends, or that a daemon of the same host had, comes on top.
        let isHopeless = before.inconclusive + Int64(lapsed) + 1 >= numbers.inconclusiveLimit
        return after.openCount == before.openCount && after.wait == before.wait && (isOverdue || isHopeless)
            ? .t7 : nil
    }

    private func holds(_ token: Int64, _ register: BreakerRegister, _ step: Step) -> Bool {
        register.leases.contains {
            $0.token == token && $0.host == step.caller.host && $0.incarnation == step.caller.incarnation
                && $0.expiresAt > step.storeNow
        }
    }

    private func checkQuorum(_ name: String, _ step: Step) throws -> FleetMark {
        let now = step.storeNow
        let live = live(now)
        let tripped = voters(name, .tripped, now)
        let suspecting = voters(name, .suspect, now)
        let quorum = live <= 1 && now - bornAt >= Self.hostSpan ? 1 : max(2, (live + 1) / 2)
        if tripped >= quorum { return .t1 }
        if live >= 3, tripped + suspecting >= max(3, (8 * live + 9) / 10) { return .suspectQuorum }
        throw ShadowViolation(
            "S5: \(name) was opened by \(tripped) tripped and \(suspecting) suspecting of \(live) hosts"
        )
    }

    /// The same epoch: only a round's figures and its leases may have moved.
    private func checkSame(
        _ name: String,
        _ before: BreakerRegister,
        _ after: BreakerRegister,
        _ step: Step
    ) throws {
        if case .restore = step.operation, before.precedes(after) { return }
        if before.state != after.state || before.openCount != after.openCount || before.origin != after.origin
            || before.granted != after.granted
        {
            throw ShadowViolation("S1: \(name) changed within an epoch: \(before) became \(after)")
        }
        let tokens = Set(before.leases.map(\.token))
        if !after.leases.allSatisfy({ tokens.contains($0.token) }) {
            throw ShadowViolation("S7: \(name) has a lease that was never given")
        }
        let counted = after.succeeded + after.failed - before.succeeded - before.failed
        guard counted != 0 else { return }
        if counted == 1, case .result(_, let token, _, _, _, _) = step.operation, holds(token, before, step) { return }
        throw ShadowViolation("S9: \(name) counted a result of \(step.caller.host) that it must not hear")
    }

    private mutating func checkOverride(
        _ name: String,
        _ before: BreakerOverride?,
        _ after: BreakerOverride?,
        _ step: Step
    ) throws {
        switch step.operation {
        case .force: marks.append(.t8)
        case .restore:
            guard let after, (before ?? BreakerOverride()).precedes(after) else {
                throw ShadowViolation("S16: the override of \(name) was set back")
            }
        default:
            if after == nil, before?.mode == .auto { return }
            throw ShadowViolation("S16: the override of \(name) was changed by \(step.operation)")
        }
    }

    // MARK: Rounds

    /// Rules S7, L1, L5 and C2, of everything that the store has ticked in this step.
    private func checkRounds(
        _ ledger: BreakerLedger,
        _ step: Step,
        _ numbers: (String) -> BreakerNumbers?
    ) throws {
        for name in ledger.registers.keys.sorted() {
            guard let register = ledger.registers[name], let numbers = numbers(name) else { continue }
            if let only = step.operation.name, only != name { continue }
            switch step.operation {
            // What they write is ticked by the next one.
            case .leave, .restore: continue
            default: break
            }
            if register.leases.count > 1 { throw ShadowViolation("S7: \(name) has \(register.leases.count) leases") }
            let taken = register.succeeded + register.failed + Int64(register.leases.count)
            if taken > numbers.permitted { throw ShadowViolation("S7: \(name) has \(taken) probes in a round") }
            for lease in register.leases {
                if lease.expiresAt <= step.storeNow || lease.expiresAt > step.storeNow + numbers.leaseSpan {
                    throw ShadowViolation("L5: a lease on \(name) ends \(lease.expiresAt - step.storeNow) ms from now")
                }
            }
            if register.state == .halfOpen, step.storeNow >= register.deadline {
                throw ShadowViolation("L1: \(name) is half-open \(step.storeNow - register.deadline) ms too long")
            }
            if register.state == .halfOpen, register.deadline - step.storeNow > numbers.halfOpenMost {
                throw ShadowViolation("L1: \(name) may be half-open for \(register.deadline - step.storeNow) ms more")
            }
            if register.state == .open, register.retryAt - step.storeNow > numbers.waitMost {
                throw ShadowViolation("C2: \(name) waits \(register.retryAt - step.storeNow) ms")
            }
        }
    }
}
