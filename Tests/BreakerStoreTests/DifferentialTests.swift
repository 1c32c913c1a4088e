import Testing

@testable import BreakerStore
@testable import SupervisorCore

extension WithRedis {
    /// The script does what `BreakerLedger` does, step by step (rule R3).
    @Suite struct DifferentialTests {
        @Test func theScriptIsTheLedger() throws {
            let bench = try ScriptBench(server: RedisServer())
            var seen: [String: Int] = [:]
            for seed in 0..<160 {
                try bench.clear()
                var walk = LedgerWalk(seed: UInt64(seed))
                for step in 0..<80 {
                    let (operation, caller, now) = walk.next()
                    var expected = walk.ledger
                    let (reply, published) = expected.apply(operation, by: caller, at: now)
                    let actual = try bench.apply(operation, by: caller, at: now)
                    let place: Comment = "seed \(seed), step \(step), at \(now): \(operation) by \(caller)"
                    try #require(actual == reply, place)
                    for entry in published { try #require(try bench.published() == entry, place) }
                    for what in walk.kinds(of: operation, by: caller, reply, published) { seen[what, default: 0] += 1 }
                    walk.took(expected, reply)
                    // What nobody is told now must be equal too: all of it, to a host that knows nothing.
                    if step % 8 == 7 {
                        let stranger = LedgerCaller(host: "onlooker", incarnation: 7)
                        let told = walk.ledger.apply(.sync(known: 0), by: stranger, at: now)
                        try #require(try bench.apply(.sync(known: 0), by: stranger, at: now) == told.reply, place)
                        for entry in told.published { try #require(try bench.published() == entry, place) }
                    }
                }
                #expect(try bench.nothingElseWasPublished(), "seed \(seed)")
            }
            for what in LedgerWalk.wanted { #expect(seen[what, default: 0] >= 5, "\(what): too seldom: \(seen)") }
        }
    }
}

/// Random operations that go where the edges are.
struct LedgerWalk {
    static let wanted = [
        "opened", "half-opened", "lease again", "denied closed", "denied waiting", "denied full", "denied othersFirst",
        "denied forced", "renewed", "closed by probe", "opened by probe", "round ended", "stale sync", "stale renew",
        "stale result", "forced", "handed back", "reset", "restored", "left", "clock back", "forgotten", "slow",
        "incarnation",
    ]

    var ledger = BreakerLedger()
    private var generator: SeededGenerator
    private var now: Int64
    private var hosts: [LedgerCaller]
    private var known: [String: Int64] = [:]
    private var tokens: [(name: String, token: Int64, caller: LedgerCaller)] = []
    private var entries: [String: BreakerEntry] = [:]
    private var wentBack = false
    private let names = ["service:auth@1", "svc.päyment.v1", "db"]
    private var policy = LedgerPolicy()
    /// With bytes that separate fields, and such that a cut goes through a character.
    private let texts = [
        "it crashed", "", String(repeating: "lang ", count: 40) + "ö", "Lücke\n\u{1f}\u{7f}é",
        "ä" + String(repeating: "ü", count: 90), String(repeating: "€", count: 60),
    ]

    init(seed: UInt64) {
        generator = SeededGenerator(seed: seed)
        now = 1_790_000_000_000
        let count = 1 + Int(seed % 5)
        hosts = []
        for index in 0..<count {
            // As long as an incarnation can be: no double holds it.
            let incarnation = Int64(bitPattern: generator.next())
            hosts.append(LedgerCaller(host: ["a", "host-b", "ß", "d.example", "Z"][index], incarnation: incarnation))
        }
        policy.permitted = 1 + Int64(generator.next() % 3)
        policy.concurrentProbes = 1 + Int64(generator.next() % 2)
        policy.successThreshold = 1 + Int64(generator.next() % UInt64(policy.permitted))
        policy.slowRate = [500, 1_000][Int(generator.next() % 2)]
        policy.waitInitial = [10_000, 9_999, 7_200_000][Int(generator.next() % 3)]
        policy.waitMaximum = [300_000, 86_400_000][Int(generator.next() % 2)]
        policy.waitMultiplier = [2_000, 1_337][Int(generator.next() % 2)]
        policy.inconclusiveLimit = 1 + Int64(generator.next() % 3)
        policy.quorumLeast = 1 + Int64(generator.next() % 2)
        policy.halfOpenMaximum = [180_000, 20_000][Int(generator.next() % 2)]
    }

    private mutating func chance(_ percent: UInt64) -> Bool { generator.next() % 100 < percent }

    private mutating func pick<Element>(_ list: [Element]) -> Element {
        list[Int(generator.next() % UInt64(list.count))]
    }

    mutating func next() -> (BreakerOperation, LedgerCaller, Int64) {
        passTime()
        let index = Int(generator.next() % UInt64(hosts.count))
        if chance(2) { hosts[index].incarnation &+= 1 }
        var caller = hosts[index]
        let name = chance(70) ? names[0] : pick(names)
        let operation = operation(name, &caller)
        return (operation, caller, now)
    }

    private mutating func passTime() {
        wentBack = false
        switch generator.next() % 100 {
        case 0..<50: now += Int64(generator.next() % 500)
        case 50..<75: now += Int64(generator.next() % 6_000)
        case 75..<86:
            // To where something is due.
            let register = ledger.entry(names[0], now).register
            now += max(register.retryAt, register.deadline, register.leases.map(\.expiresAt).max() ?? 0)
            now += Int64(generator.next() % 3) - 1
        case 86..<92: now += 15_000
        case 92..<94: now += 700_000
        case 94: now += 90_000_000
        case 95..<98:
            now -= Int64(generator.next() % 100_000)
            wentBack = true
        default: break
        }
    }

    private mutating func operation(_ name: String, _ caller: inout LedgerCaller) -> BreakerOperation {
        let draw = Int64(generator.next() % 1_000_000)
        let text = pick(texts)
        switch generator.next() % 100 {
        case 0..<22:
            let last = known[caller.host] ?? 0
            return .sync(known: chance(90) ? last : chance(50) ? 0 : last + 5_000_000_000)
        case 22..<47:
            let grade = pick([BreakerGrade.tripped, .tripped, .tripped, .suspect, .none])
            return .vote(name: name, grade, reason: text, policy, draw: draw)
        case 47..<64:
            // A new daemon on the host that has one.
            if let last = tokens.last, chance(15) {
                caller = last.caller
                if chance(50) { caller.incarnation &+= 1 }
            }
            return .lease(name: name, policy, draw: draw)
        case 64..<68:
            if let last = tokens.last, chance(80) { caller = last.caller }
            return renewal(name)
        case 68..<84:
            let verdict = pick(ProbeVerdict.allCases + [.failed, .inconclusive])
            guard let mine = tokens.last, chance(95) else {
                return .result(name: name, token: 1, verdict, reason: text, policy, draw: draw)
            }
            if chance(80) { caller = mine.caller }
            return .result(name: mine.name, token: mine.token, verdict, reason: text, policy, draw: draw)
        case 84..<91:
            let mode = chance(50) ? BreakerMode.auto : pick(BreakerMode.allCases)
            return .force(name: name, mode, actor: "Ann", reason: text)
        case 91..<93: return .reset(name: name, actor: "Bob", reason: chance(50) ? "" : text)
        case 93..<98: return restoration(name)
        default: return .leave
        }
    }

    private mutating func renewal(_ name: String) -> BreakerOperation {
        guard let last = tokens.last, chance(90) else { return .renew(name: name, token: 3) }
        return .renew(name: last.name, token: last.token)
    }

    private mutating func restoration(_ name: String) -> BreakerOperation {
        var entry = entries[name] ?? BreakerEntry(name: name)
        switch generator.next() % 5 {
        case 0: entry.register.epoch += Int64(generator.next() % 100_000)
        case 1:
            entry.register.epoch += 1
            entry.register.state = pick(BreakerState.allCases)
            entry.register.wait = 5_000
            entry.register.retryAt = 60_000
            entry.register.span = 9_000
            entry.register.deadline = 4_000
        case 2: entry.register.openCount += 1
        case 3:
            entry.override.epoch += Int64(generator.next() % 3)
            entry.override.mode = pick(BreakerMode.allCases)
        default: entry.register.reason += "z"
        }
        return .restore(name: name, entry.register, entry.override)
    }

    /// The step was made.
    mutating func took(_ next: BreakerLedger, _ reply: LedgerReply) {
        ledger = next
        for entry in reply.entries { entries[entry.name] = entry }
    }

    /// Which edges a step went along.
    mutating func kinds(
        of operation: BreakerOperation,
        by caller: LedgerCaller,
        _ reply: LedgerReply,
        _ published: [BreakerEntry]
    ) -> [String] {
        var kinds: [String] = wentBack ? ["clock back"] : []
        let before = operation.name.map { ledger.entry($0, now).register }
        let after = reply.entries.first?.register
        let moved = before?.state != after?.state
        switch (operation, reply.verdict) {
        case (.sync, let verdict):
            known[caller.host] = reply.sequence
            if verdict == .stale { kinds.append("stale sync") }
            if ledger.registers.values.contains(where: { now - $0.changedAt >= LedgerLimits.openForgotten }) {
                kinds.append("forgotten")
            }
        case (.vote, _) where moved && after?.state == .open: kinds.append("opened")
        case (.lease(let name, _, _), .granted(let token, _)):
            tokens.append((name, token, caller))
            kinds.append(after?.epoch == before?.epoch ? "lease again" : "half-opened")
            if before?.leases.contains(where: { $0.host == caller.host && $0.incarnation != caller.incarnation })
                == true
            {
                kinds.append("incarnation")
            }
        case (.lease, .denied(let why)): kinds.append("denied \(why)")
        case (.renew, .granted): kinds.append("renewed")
        case (.renew, .stale): kinds.append("stale renew")
        case (.result, .stale): kinds.append("stale result")
        case (.result(_, _, let verdict, _, _, _), .done):
            if after?.state == .closed { kinds.append("closed by probe") }
            if after?.state == .open { kinds.append(verdict == .inconclusive ? "round ended" : "opened by probe") }
            if verdict == .slow { kinds.append("slow") }
        case (.force(_, let mode, _, _), _):
            kinds.append("forced")
            if mode == .auto, moved { kinds.append("handed back") }
        case (.reset, _): kinds.append("reset")
        case (.restore, _) where !published.isEmpty: kinds.append("restored")
        case (.leave, _) where !published.isEmpty: kinds.append("left")
        default: break
        }
        return kinds
    }
}
