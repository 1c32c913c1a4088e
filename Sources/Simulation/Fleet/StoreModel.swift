import SupervisorCore

/// Redis, as a model: primaries with what a replica has of them, a clock, and what is wrong with it.
struct StoreModel {
    struct Side {
        var ledger = BreakerLedger()
        var books = StoreBooks()
    }

    /// The second one is there only while the fleet is split.
    var sides = [Side()]
    /// What the replica of the first one has.
    var replica = Side()
    /// Milliseconds: the store's clock is ahead of the virtual one by this much.
    var offset: Int64 = 0
    var awayUntil: Int64 = 0
    var slowUntil: Int64 = 0
    var refusesUntil: Int64 = 0
    var pushesBadUntil: Int64 = 0
    /// The next script has to be loaded first.
    var scriptsLost = false

    mutating func replicate() { replica = sides[0] }

    func clock(_ now: Int64) -> Int64 { now / 1_000_000 + offset }
}

extension FleetWorld {
    // MARK: Connections

    /// Tries again, later each time.
    mutating func redial(_ host: Int, isFirst: Bool = false) {
        hosts[host].attempts = isFirst ? 0 : hosts[host].attempts + 1
        let most = min(10, 0.1 * Double(1 << min(hosts[host].attempts, 7)))
        plan(.connects(host, hosts[host].session), after: time(isFirst ? 0.001 : most / 20, most))
    }

    mutating func connects(_ host: Int, _ session: UInt64) throws {
        guard hosts[host].lives, hosts[host].session == session, !hosts[host].isLinked else { return }
        if now < hosts[host].pausedUntil { return redial(host) }
        if now < store.awayUntil || now < hosts[host].cutUntil || now < store.refusesUntil {
            let isAuth = now >= store.awayUntil && now >= hosts[host].cutUntil
            let text = isAuth ? "Redis does not know the user" : "cannot reach Redis"
            try send(host, .storeSaid(.disconnected(StoreFailure(kind: isAuth ? .auth : .unreachable, text: text))))
            return redial(host)
        }
        hosts[host].isLinked = true
        hosts[host].attempts = 0
        hosts[host].session += 1
        hosts[host].side = store.sides.count > 1 && random.chance(40) ? 1 : 0
        note("\(hosts[host].name): connected")
        try send(host, .storeSaid(.connected))
        if planted == .connectResets, let name = hosts[host].spec.services.first.map({ "service:\($0.name)@r1" }) {
            let reset = BreakerOperation.reset(name: name, actor: "nobody", reason: "")
            try hosts[host].books.checkAsked(.storeSaid(.connected), StoreRequest(number: 0, operation: reset))
        }
    }

    mutating func disconnect(_ host: Int) throws {
        guard hosts[host].isLinked else { return }
        hosts[host].isLinked = false
        hosts[host].session += 1
        let failure = StoreFailure(kind: .unreachable, text: "the connection to Redis broke")
        let open = hosts[host].open
        hosts[host].open = []
        for number in open { try send(host, .storeSaid(.unanswered(number: number, failure))) }
        try send(host, .storeSaid(.disconnected(failure)))
        if hosts[host].lives { redial(host) }
    }

    // MARK: Operations

    mutating func ask(_ host: Int, _ request: StoreRequest) {
        guard hosts[host].isLinked else {
            let failure = StoreFailure(kind: .unreachable, text: "no connection to Redis")
            // Told in a turn of its own.
            hosts[host].backlog.append(.storeSaid(.unanswered(number: request.number, failure)))
            return plan(.resumes(host), after: 1)
        }
        hosts[host].open.append(request.number)
        var lag = time(scenario.lag.lowerBound, scenario.lag.upperBound)
        if store.scriptsLost {
            store.scriptsLost = false
            lag *= 3
        }
        if now < store.slowUntil { lag += time(0.02, 0.6) }
        hosts[host].arrivesAt = max(hosts[host].arrivesAt + 1, now + lag)
        let session = hosts[host].session
        let caller = hosts[host].machine.ledgerCaller
        plan(.arrives(host, session, request, caller), after: hosts[host].arrivesAt - now)
        plan(.timesOut(host, session, request.number), after: 250_000_000)
    }

    /// The store carries it out, whether or not the one who asked still waits.
    mutating func arrives(_ host: Int, _ session: UInt64, _ request: StoreRequest, by caller: LedgerCaller) throws {
        // What was sent over a connection that has broken may still arrive.
        guard hosts[host].session == session || random.chance(50), now >= store.awayUntil,
            now >= hosts[host].cutUntil
        else { return }
        let side = min(hosts[host].side, store.sides.count - 1)
        let (reply, published) = try carryOut(request.operation, by: caller, on: side)
        for (other, entry) in published.flatMap({ entry in hosts.indices.map { ($0, entry) } })
        where hosts[other].isLinked && min(hosts[other].side, store.sides.count - 1) == side {
            push(other, entry)
        }
        guard hosts[host].session == session else { return }
        let lag = time(scenario.lag.lowerBound, scenario.lag.upperBound)
        hosts[host].answersAt = max(hosts[host].answersAt + 1, now + lag)
        plan(.answered(host, session, request.number, reply), after: hosts[host].answersAt - now)
    }

    private mutating func push(_ host: Int, _ entry: BreakerEntry) {
        if random.chance(scenario.pushesLost) { return }
        let session = hosts[host].session
        let isBad = now < store.pushesBadUntil
        if isBad, random.chance(30) { return }
        let lag = time(scenario.lag.lowerBound, scenario.lag.upperBound * (isBad ? 20 : 1))
        plan(.pushed(host, session, entry), after: lag)
        if isBad, random.chance(30) { plan(.pushed(host, session, entry), after: lag + time(0, 3)) }
    }

    private mutating func carryOut(
        _ operation: BreakerOperation,
        by caller: LedgerCaller,
        on side: Int
    ) throws -> (reply: LedgerReply, published: [BreakerEntry]) {
        let before = store.sides[side].ledger
        let storeNow = store.clock(now)
        tally.operations += 1
        let done = apply(operation, by: caller, on: side, at: storeNow)
        let mode = operation.name.flatMap { before.overrides[$0]?.mode } ?? .auto
        let step = StoreBooks.Step(
            operation: operation,
            caller: caller,
            verdict: done.reply.verdict,
            storeNow: storeNow,
            now: now,
            override: mode
        )
        let specs = hosts[0].spec
        do {
            try store.sides[side].books.take(step, from: before, to: store.sides[side].ledger) { name in
                Self.numbers(name, specs)
            }
        } catch {
            note("\(caller.host) asked for \(operation): \(done.reply)".replacing("SupervisorCore.", with: ""))
            throw error
        }
        for mark in store.sides[side].books.marks { tally.count(mark) }
        if store.sides[side].books.marks.contains(.suspectQuorum) { tally.count(.t1) }
        store.sides[side].books.marks = []
        switch done.reply.verdict {
        case .denied(.closed): tally.count(.deniedClosed)
        case .denied(.waiting): tally.count(.deniedWaiting)
        case .denied(.full): tally.count(.deniedFull)
        case .denied(.othersFirst): tally.count(.deniedOthersFirst)
        case .denied(.forced): tally.count(.deniedForced)
        case .granted: if case .renew = operation { tally.count(.t4) }
        case .stale:
            switch operation {
            case .result, .renew: tally.count(.stale)
            default: break
            }
        case .done: break
        }
        return done
    }

    static func numbers(_ name: String, _ spec: FleetSpec) -> BreakerNumbers? {
        if name.hasPrefix("service:") {
            let service = spec.services.first { name.hasPrefix("service:\($0.name)@") }
            return service.map { BreakerNumbers($0) }
        }
        return BreakerNumbers(spec.dependencies.first { $0.name == name } ?? DependencySpec(name: name))
    }

    /// As the ledger does it, but for what is planted.
    private mutating func apply(
        _ operation: BreakerOperation,
        by caller: LedgerCaller,
        on side: Int,
        at storeNow: Int64
    ) -> (reply: LedgerReply, published: [BreakerEntry]) {
        var operation = operation
        switch (planted, operation) {
        case (.quorumIgnored, .vote(let name, let grade, let reason, var policy, let draw)):
            (policy.quorumLeast, policy.quorumFraction) = (1, 0)
            operation = .vote(name: name, grade, reason: reason, policy, draw: draw)
        case (.restoresLost, .restore):
            let entry = operation.name.flatMap { name in BreakerEntry(name: name) }
            return (LedgerReply(verdict: .done, entries: entry.map { [$0] } ?? [], live: 1, sequence: 1), [])
        case (.openExpires, .sync):
            for name in store.sides[side].ledger.registers.keys.sorted() {
                guard let register = store.sides[side].ledger.registers[name], register.state == .open else { continue }
                if register.retryAt < storeNow { store.sides[side].ledger.registers[name] = nil }
            }
        case (.staleResultTaken, .result(let name, _, let verdict, let reason, let policy, let draw)):
            let lease = store.sides[side].ledger.registers[name]?.leases.first
            if let lease {
                operation = .result(name: name, token: lease.token, verdict, reason: reason, policy, draw: draw)
                let other = LedgerCaller(host: lease.host, incarnation: lease.incarnation)
                return store.sides[side].ledger.apply(operation, by: other, at: storeNow)
            }
        case (.probesUnlimited, .lease(let name, var policy, let draw)):
            (policy.concurrentProbes, policy.permitted) = (5, 9)
            operation = .lease(name: name, policy, draw: draw)
        case (.roundsEndless, .lease(let name, var policy, let draw)):
            (policy.halfOpenMaximum, policy.inconclusiveLimit) = (10_000_000, 1_000)
            operation = .lease(name: name, policy, draw: draw)
        case (.breakersMixed, .vote):
            for name in store.sides[side].ledger.registers.keys.sorted() where name != operation.name {
                store.sides[side].ledger.registers[name]?.epoch += 1
            }
        case (.opensTwice, .vote(let name, .tripped, _, _, _)):
            store.sides[side].ledger.registers[name]?.openCount += 1
        default: break
        }
        let done = store.sides[side].ledger.apply(operation, by: caller, at: storeNow)
        if planted == .syncTellsNothing, case .sync = operation {
            return (LedgerReply(verdict: .done, entries: [], live: done.reply.live, sequence: 0), [])
        }
        return done
    }

    mutating func answered(_ host: Int, _ session: UInt64, _ number: UInt64, _ reply: LedgerReply) throws {
        guard hosts[host].session == session, let index = hosts[host].open.firstIndex(of: number) else { return }
        hosts[host].open.remove(at: index)
        try send(host, .storeSaid(.answered(number: number, reply)))
    }

    mutating func timesOut(_ host: Int, _ session: UInt64, _ number: UInt64) throws {
        guard hosts[host].session == session, let index = hosts[host].open.firstIndex(of: number) else { return }
        hosts[host].open.remove(at: index)
        storeTroubleUntil = max(storeTroubleUntil, now)
        let failure = StoreFailure(kind: .timeout, text: "Redis did not answer within 250 ms")
        try send(host, .storeSaid(.unanswered(number: number, failure)))
    }

    // MARK: What goes wrong with it

    mutating func takeStoreAway(for length: Int64) {
        store.awayUntil = now + length
        storeTroubleUntil = max(storeTroubleUntil, store.awayUntil)
        plan(.storeReturns, after: length)
        note("Redis is away for \(length / 1_000_000_000) s")
    }

    mutating func healSplit() throws {
        guard store.sides.count > 1 else { return }
        note("the split heals: what the minority wrote is lost")
        let minority = hosts.indices.filter { hosts[$0].side == 1 }
        store.sides.removeLast()
        storeTroubleUntil = max(storeTroubleUntil, now)
        for host in minority {
            hosts[host].side = 0
            try disconnect(host)
        }
    }
}
