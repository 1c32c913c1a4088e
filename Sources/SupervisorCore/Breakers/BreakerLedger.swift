/// Named bounds of a ledger (rule P7). Times in milliseconds.
public enum LedgerLimits {
    /// A host that has said nothing for this long is not there.
    public static let hostSpan: Int64 = 15_000
    /// It is forgotten after this long.
    public static let hostForgotten: Int64 = 60_000
    /// A closed breaker is forgotten after this long, any other one when nothing moved it for the second time.
    public static let closedForgotten: Int64 = 3_600_000
    public static let openForgotten: Int64 = 86_400_000
    /// How long the host whose probe failed last leaves the next one to others.
    public static let othersFirst: Int64 = 5_000
    public static let breakers = 4_096
    public static let hosts = 1_024
    /// Bytes of a reason, of an actor.
    public static let reasonBytes = 160
}

/// All breakers of one fleet, as a value: what one step of `apply` does is one atomic script in Redis.
///
/// It knows the edges T1–T11 of research/circuit-breakers.md §5.3 and no other. Whose clock `now` is does not matter,
/// as long as it is one: in Redis the server's, in a daemon the host's monotonic one.
public struct BreakerLedger: Sendable, Equatable {
    struct Host: Sendable, Equatable {
        var incarnation: Int64
        var seenAt: Int64
    }

    // Simulation looks at these, and loses some.
    package var registers: [String: BreakerRegister] = [:]
    package var overrides: [String: BreakerOverride] = [:]
    package var votes: [String: [BreakerVote]] = [:]
    var hosts: [String: Host] = [:]
    /// When each breaker last changed, in order of `sequence`.
    package var changes: [String: Int64] = [:]
    var sequence: Int64 = 0
    /// When the first host came after there had been none: those that are late must not be counted as gone.
    var bornAt: Int64 = 0

    public init() {}

    /// One step: the answer, and what all hosts are told because it changed.
    public mutating func apply(
        _ operation: BreakerOperation,
        by caller: LedgerCaller,
        at now: Int64
    ) -> (reply: LedgerReply, published: [BreakerEntry]) {
        var step = LedgerStep(caller: caller, now: now)
        clampHosts(now)
        if let name = operation.name {
            // A bound of what hosts may fill: nothing that exists is affected.
            if !isKnown(name), changes.count >= LedgerLimits.breakers { return (answer(.done, [], now), []) }
            tick(name, &step)
        }
        let verdict = carryOut(operation, &step)
        let published = step.changed.sorted().map { entry($0, now) }
        switch operation {
        case .sync(let known):
            // Told all there is where it is not known, or knows more than there is: something was lost (`stale`).
            let since = verdict == .stale ? 0 : known
            let names = changes.filter { $0.value > since }.keys.sorted()
            return (answer(verdict, names.map { entry($0, now) }, now), published)
        case .leave: return (answer(verdict, [], now), published)
        default: return (answer(verdict, operation.name.map { [entry($0, now)] } ?? [], now), published)
        }
    }

    private mutating func carryOut(_ operation: BreakerOperation, _ step: inout LedgerStep) -> LedgerVerdict {
        switch operation {
        case .sync(let known):
            let isKnown = hosts[step.caller.host] != nil && known <= sequence
            greet(step)
            for name in registers.keys.sorted() { tick(name, &step) }
            forget(step.now)
            return isKnown ? .done : .stale
        case .vote(let name, let grade, let reason, let policy, let draw):
            vote(name, grade, reason, policy, draw: draw, &step)
            return .done
        case .lease(let name, let policy, let draw):
            endRound(name, limit: policy.inconclusiveLimit, &step)
            return lease(name, policy, draw: draw, &step)
        case .renew(let name, let token): return renew(name, token, step)
        case .result(let name, let token, let verdict, let reason, let policy, let draw):
            return result(name, token, verdict, reason, policy, draw: draw, &step)
        case .force(let name, let mode, let actor, let reason):
            force(name, mode, actor: actor, reason: reason, &step)
            return .done
        case .reset(let name, let actor, let reason):
            reset(name, actor: actor, reason: reason, &step)
            return .done
        case .restore(let name, let register, let override):
            restore(name, register, override, &step)
            return .done
        case .leave:
            leave(&step)
            return .done
        }
    }

    private func isKnown(_ name: String) -> Bool {
        registers[name] != nil || overrides[name] != nil || votes[name] != nil
    }

    private func answer(_ verdict: LedgerVerdict, _ entries: [BreakerEntry], _ now: Int64) -> LedgerReply {
        LedgerReply(verdict: verdict, entries: entries, live: live(now), sequence: sequence)
    }

    // MARK: Hosts

    /// The clock may have been set back: nothing was seen in its future.
    private mutating func clampHosts(_ now: Int64) {
        for name in hosts.keys where (hosts[name]?.seenAt ?? 0) > now { hosts[name]?.seenAt = now }
        bornAt = min(bornAt, now)
    }

    private mutating func greet(_ step: LedgerStep) {
        if live(step.now) == 0 { bornAt = step.now }
        guard hosts[step.caller.host] != nil || hosts.count < LedgerLimits.hosts else { return }
        hosts[step.caller.host] = Host(incarnation: step.caller.incarnation, seenAt: step.now)
    }

    func isLive(_ host: String, _ now: Int64) -> Bool {
        hosts[host].map { now - $0.seenAt < LedgerLimits.hostSpan } ?? false
    }

    func live(_ now: Int64) -> Int64 {
        Int64(hosts.values.count { now - $0.seenAt < LedgerLimits.hostSpan })
    }

    private func isSettled(_ now: Int64) -> Bool { now - bornAt >= LedgerLimits.hostSpan }

    private mutating func leave(_ step: inout LedgerStep) {
        hosts[step.caller.host] = nil
        for name in votes.keys.sorted() { withdraw(name, &step) }
        for name in registers.keys.sorted() {
            guard var register = registers[name] else { continue }
            let before = register.leases.count
            register.leases.removeAll { $0.host == step.caller.host }
            if register.leases.count == before { continue }
            register.inconclusive += Int64(before - register.leases.count)
            registers[name] = register
            note(name, &step)
        }
    }

    // MARK: Votes

    private mutating func withdraw(_ name: String, _ step: inout LedgerStep) {
        guard var list = votes[name], let index = list.firstIndex(where: { $0.host == step.caller.host }) else {
            return
        }
        list.remove(at: index)
        votes[name] = list.isEmpty ? nil : list
        note(name, &step)
    }

    private mutating func vote(
        _ name: String,
        _ grade: BreakerGrade,
        _ reason: String,
        _ policy: LedgerPolicy,
        draw: Int64,
        _ step: inout LedgerStep
    ) {
        let before = votes[name]?.first { $0.host == step.caller.host }?.grade ?? .none
        if grade == .none { return withdraw(name, &step) }
        var list = (votes[name] ?? []).filter { $0.host != step.caller.host && $0.expiresAt > step.now }
        list.append(
            BreakerVote(
                host: step.caller.host,
                incarnation: step.caller.incarnation,
                grade: grade,
                expiresAt: step.now + policy.voteSpan
            )
        )
        votes[name] = list.sorted { $0.host < $1.host }
        if before != grade {
            note(name, &step)
        }
        open(name, reason, policy, draw: draw, &step)
    }

    /// Edge T1: enough distinct hosts that are there have tripped, or nearly all suspect.
    private mutating func open(
        _ name: String,
        _ reason: String,
        _ policy: LedgerPolicy,
        draw: Int64,
        _ step: inout LedgerStep
    ) {
        var register = registers[name] ?? BreakerRegister()
        let mode = overrides[name]?.mode ?? .auto
        guard register.state == .closed, mode == .auto || mode == .metricsOnly else { return }
        let tripped = hosts(that: .tripped, name, step.now)
        let suspecting = hosts(that: .suspect, name, step.now)
        let live = live(step.now)
        let quorum = policy.quorum(live: live, isSettled: isSettled(step.now))
        let enough = Int64(tripped.count) >= quorum
        let suspected = policy.suspectQuorum(live: live).map { Int64(tripped.count + suspecting.count) >= $0 } ?? false
        guard enough || suspected else { return }
        if register.epoch > 0, step.now - register.changedAt >= policy.backoffReset { register.openCount = 0 }
        register.openCount += 1
        register.wait = policy.wait(openCount: register.openCount, draw: draw)
        let who = (tripped + suspecting).sorted().joined(separator: ",")
        let evidence = "\(tripped.count) tripped and \(suspecting.count) suspect of \(live) hosts"
        register.reason = Self.bounded(live > 1 ? "\(reason) (\(evidence): \(who))" : reason)
        reopen(name, register, &step)
    }

    private func hosts(that grade: BreakerGrade, _ name: String, _ now: Int64) -> [String] {
        (votes[name] ?? []).filter { $0.grade == grade && $0.expiresAt > now && isLive($0.host, now) }.map(\.host)
    }

    // MARK: Operators

    private mutating func force(
        _ name: String,
        _ mode: BreakerMode,
        actor: String,
        reason: String,
        _ step: inout LedgerStep
    ) {
        let before = overrides[name] ?? BreakerOverride()
        var override = BreakerOverride()
        override.mode = mode
        override.epoch = max(before.epoch, step.now) + 1
        override.actor = Self.bounded(actor)
        override.reason = Self.bounded(reason)
        override.changedAt = step.now
        overrides[name] = override
        note(name, &step)
        // Edge T9.
        if mode == .auto, before.mode == .forceOpen {
            var register = registers[name] ?? BreakerRegister()
            register.openCount = max(1, register.openCount)
            register.reason = Self.bounded("was forced open by \(before.actor): a probe must show that it works")
            register.wait = 0
            reopen(name, register, &step)
        } else if mode == .auto, before.mode == .forceClosed {
            close(name, keeping: registers[name]?.openCount ?? 0, "was forced closed by \(before.actor)", &step)
        }
    }

    private mutating func reset(_ name: String, actor: String, reason: String, _ step: inout LedgerStep) {
        // Edge T10.
        close(name, keeping: 0, reason.isEmpty ? "reset by \(actor)" : "reset by \(actor): \(reason)", &step)
    }

    private mutating func restore(
        _ name: String,
        _ register: BreakerRegister,
        _ override: BreakerOverride,
        _ step: inout LedgerStep
    ) {
        // Edge T11. A breaker that is closed and never was anything else is what a ledger knows of none.
        let stored = registers[name]
        if stored != nil || register.state != .closed, (stored ?? BreakerRegister()).precedes(register) {
            registers[name] = register.rebuilt(at: step.now)
            note(name, &step)
        }
        let known = overrides[name]
        if known != nil || override.mode != .auto, (known ?? BreakerOverride()).precedes(override) {
            var rebuilt = override
            rebuilt.changedAt = step.now - override.changedAt
            overrides[name] = rebuilt
            note(name, &step)
        }
    }

    // MARK: What is told

    /// It changed: it gets a new place in the order of changes, once in a step.
    mutating func note(_ name: String, _ step: inout LedgerStep) {
        guard step.changed.insert(name).inserted else { return }
        sequence = max(sequence, step.now) + 1
        changes[name] = sequence
    }

    func entry(_ name: String, _ now: Int64) -> BreakerEntry {
        var override = overrides[name] ?? BreakerOverride()
        override.changedAt = override.epoch == 0 ? 0 : max(0, now - override.changedAt)
        return BreakerEntry(
            name: name,
            register: (registers[name] ?? BreakerRegister()).remaining(at: now),
            override: override,
            tripped: hosts(that: .tripped, name, now),
            suspecting: hosts(that: .suspect, name, now),
            live: live(now),
            sequence: changes[name] ?? 0
        )
    }

    /// Drops what nobody needs any more.
    private mutating func forget(_ now: Int64) {
        for name in hosts.keys.sorted() where now - (hosts[name]?.seenAt ?? 0) >= LedgerLimits.hostForgotten {
            hosts[name] = nil
        }
        for name in changes.keys.sorted() {
            votes[name]?.removeAll { $0.expiresAt <= now }
            if votes[name]?.isEmpty == true { votes[name] = nil }
            if let register = registers[name] {
                let age = register.state == .closed ? LedgerLimits.closedForgotten : LedgerLimits.openForgotten
                if now - register.changedAt >= age { registers[name] = nil }
            }
            if let override = overrides[name], override.mode == .auto,
                now - override.changedAt >= LedgerLimits.openForgotten
            {
                overrides[name] = nil
            }
            if !isKnown(name) { changes[name] = nil }
        }
    }

    /// Cut to what a ledger keeps, without what would break a line.
    static func bounded(_ text: String) -> String {
        let bytes = Array(text.utf8)
        var end = min(bytes.count, LedgerLimits.reasonBytes)
        // A character that would be cut in two goes as a whole.
        while end > 0, end < bytes.count, bytes[end] & 0xc0 == 0x80 { end -= 1 }
        return String(decoding: bytes[..<end].map { $0 < 32 || $0 == 127 ? 32 : $0 }, as: UTF8.self)
    }
}

/// One step of a ledger, while it is made.
struct LedgerStep {
    let caller: LedgerCaller
    let now: Int64
    var changed: Set<String> = []
}

extension BreakerRegister {
    /// With times as they travel: what remains, and for `changedAt` what has passed.
    func remaining(at now: Int64) -> BreakerRegister {
        var told = self
        told.changedAt = epoch == 0 ? 0 : max(0, now - changedAt)
        told.retryAt = state == .open ? min(max(0, retryAt - now), wait) : 0
        told.deadline = state == .halfOpen ? min(max(0, deadline - now), span) : 0
        for index in told.leases.indices {
            told.leases[index].expiresAt = min(max(0, leases[index].expiresAt - now), leases[index].span)
        }
        return told
    }

    /// The reverse: by the clock of the ledger that takes it, and never longer than it may last (its C2).
    func rebuilt(at now: Int64) -> BreakerRegister {
        var held = self
        held.changedAt = now - max(0, changedAt)
        held.retryAt = state == .open ? now + min(max(0, retryAt), wait) : 0
        held.deadline = state == .halfOpen ? now + min(max(0, deadline), span) : 0
        for index in held.leases.indices {
            held.leases[index].expiresAt = now + min(max(0, leases[index].expiresAt), leases[index].span)
        }
        return held
    }
}
