// What is asked of the shared store, and what it says.
extension BreakerMachine {
    mutating func ask(_ operation: BreakerOperation, for purpose: Purpose, _ now: Int64) -> UInt64 {
        requests &+= 1
        pending[requests] = Pending(purpose: purpose, name: operation.name ?? "", sentAt: now)
        outbox.append(StoreRequest(number: requests, operation: operation))
        return requests
    }

    mutating func sync(_ now: Int64) {
        syncIsOut = true
        let fifth = BreakerLimits.syncInterval / 5
        syncAt = now + BreakerLimits.syncInterval - fifth + draw(upTo: 2 * fifth)
        if known == 0 || (now - fullSyncAt >= BreakerLimits.fullSyncInterval && holdsWhatMayBeLost) {
            known = 0
            fullSyncAt = now
        }
        _ = ask(.sync(known: known), for: .sync(isFull: known == 0), now)
        moved = true
    }

    private var holdsWhatMayBeLost: Bool {
        fleet.registers.values.contains { $0.state != .closed } || fleet.overrides.values.contains { $0.mode != .auto }
    }

    /// This host goes: the fleet need not wait for its silence.
    mutating func leave(at now: Int64) {
        if link == .up { _ = ask(.leave, for: .other, now) }
    }

    mutating func take(_ news: StoreNews, at now: Int64) {
        guard isShared else { return }
        moved = true
        switch news {
        case .connected:
            link = .up
            // Something may have been missed.
            known = 0
            syncIsOut = false
            sync(now)
        case .disconnected(let failure): disconnected(failure, now)
        case .answered(let number, let reply):
            guard let request = pending.removeValue(forKey: number) else { return }
            timeouts = 0
            firstTimeoutAt = nil
            answered(reply, number, request, now)
        case .unanswered(let number, let failure):
            guard let request = pending.removeValue(forKey: number) else { return }
            unanswered(failure, number, request, now)
        case .pushed(let entry): merge(entry, restores: true, now)
        }
    }

    // MARK: The connection

    private mutating func disconnected(_ failure: StoreFailure, _ now: Int64) {
        syncIsOut = false
        if case .down(let since, _) = link {
            link = .down(since: since, failure)
        } else {
            link = .down(since: now, failure)
        }
        if isIsland { tellProblem(failure) }
    }

    mutating func becomeIsland(_ failure: StoreFailure?, _ now: Int64) {
        isIsland = true
        liveHosts = 0
        tellProblem(failure)
        for index in seats.indices {
            // Whom the votes were for is not known any more.
            seats[index].tripped = []
            seats[index].suspecting = []
            refresh(index, now)
        }
    }

    /// Once for each reason.
    private mutating func tellProblem(_ failure: StoreFailure?) {
        let text = failure?.text ?? "no connection to Redis yet"
        if saidProblem == text { return }
        saidProblem = text
        let consequence = "breakers act on this host alone until Redis is back"
        tell(nil, "store-down", "\(text); \(consequence)")
    }

    private mutating func leaveIsland(_ now: Int64) {
        if saidProblem != nil { tell(nil, "store-up", "Redis is back: breakers are shared by \(liveHosts) host(s)") }
        saidProblem = nil
        // A predecessor may have been on an island where this daemon never was.
        for index in seats.indices {
            // Its lease went to the store with the rest: it is the store now that keeps it, or has another.
            if case .held(var hold) = seats[index].claim, hold.source == .island {
                (hold.source, hold.renewAt) = (.fleet, now)
                seats[index].claim = .held(hold)
            }
        }
        if !isIsland { return }
        isIsland = false
        for index in seats.indices {
            // What it said has lapsed meanwhile.
            seats[index].vote = .none
            refresh(index, now)
        }
    }

    private mutating func unanswered(_ failure: StoreFailure, _ number: UInt64, _ request: Pending, _ now: Int64) {
        if case .sync = request.purpose { syncIsOut = false }
        if failure.kind == .timeout || failure.kind == .server {
            timeouts += 1
            let first = firstTimeoutAt ?? request.sentAt
            firstTimeoutAt = first
            // Slow is not down: not a few answers that are late (§3.9).
            if link == .up, !isIsland, timeouts >= BreakerLimits.storeTimeouts,
                now - first >= BreakerLimits.storeDownAfter
            {
                becomeIsland(failure, now)
            }
        }
        switch request.purpose {
        case .lease, .renew, .result:
            if let index = seatOf[request.name] { claimUnanswered(index, number, now) }
        case .vote:
            // Said again with the next refresh.
            break
        case .command(let operation):
            finished.append((operation, .failed("cannot tell the other hosts: \(failure.text)")))
        case .sync, .other: break
        }
    }

    private mutating func answered(_ reply: LedgerReply, _ number: UInt64, _ request: Pending, _ now: Int64) {
        liveHosts = reply.live
        for entry in reply.entries { merge(entry, restores: true, now) }
        switch request.purpose {
        case .sync(let isFull):
            syncIsOut = false
            if isFull || reply.verdict == .stale { restoreWhatIsMissing(reply.entries, now) }
            // A breaker that is new here may have asked for everything meanwhile.
            known = isFull || known != 0 ? reply.sequence : 0
            if link == .up { leaveIsland(now) }
        case .lease, .renew, .result:
            if let index = seatOf[request.name] { claimAnswered(index, number, reply.verdict, request, now) }
        case .command(let operation): finished.append((operation, .done))
        case .vote, .other: break
        }
    }

    // MARK: Merging

    /// The store told everything it has, and this is not among it: it was lost (edge T11).
    private mutating func restoreWhatIsMissing(_ entries: [BreakerEntry], _ now: Int64) {
        let told = Set(entries.map(\.name))
        for seat in seats where !told.contains(seat.name) {
            let register = fleet.registers[seat.name]
            let override = fleet.overrides[seat.name]
            guard (register?.state ?? .closed) != .closed || (override?.mode ?? .auto) != .auto else { continue }
            restore(seat.name, now)
        }
    }

    private mutating func restore(_ name: String, _ now: Int64) {
        let entry = fleet.entry(name, now)
        _ = ask(.restore(name: name, entry.register, entry.override), for: .other, now)
    }

    /// Takes what is greater; gives back what is greater here.
    private mutating func merge(_ entry: BreakerEntry, restores: Bool, _ now: Int64) {
        if entry.live > 0 { liveHosts = entry.live }
        guard let index = seatOf[entry.name] ?? seat(forUnknown: entry, now) else { return }
        let name = entry.name
        seats[index].tripped = entry.tripped
        seats[index].suspecting = entry.suspecting
        let before = fleet.registers[name] ?? BreakerRegister()
        let incoming = bounded(entry.register, seats[index].policy).rebuilt(at: now)
        var isGreaterHere = false
        if before.precedes(incoming) {
            fleet.registers[name] = incoming
            fleetMoved(index, from: before, to: incoming, now)
        } else if incoming.precedes(before) {
            // That it is closed is what a store says that has nothing, and not given back: it would not take it.
            isGreaterHere = before.state != .closed || incoming.epoch > 0
        }
        let known = fleet.overrides[name] ?? BreakerOverride()
        var override = entry.override
        override.changedAt = now - override.changedAt
        if known.precedes(override) {
            fleet.overrides[name] = override
            isWorthSaving = true
            tellOverride(index, from: known, to: override)
        } else if override.precedes(known) {
            isGreaterHere = isGreaterHere || known.mode != .auto || override.epoch > 0
        }
        if isGreaterHere, restores, link == .up { restore(name, now) }
        refresh(index, now)
    }

    /// No round has as many probes, and no breaker as many openings.
    private static let countLimit: Int64 = 1_000_000_000

    /// Whatever the store says, nothing waits longer than it can by what is configured here.
    private func bounded(_ register: BreakerRegister, _ policy: LedgerPolicy) -> BreakerRegister {
        var bounded = register
        bounded.wait = min(register.wait, policy.waitMaximum + policy.waitMaximum * policy.jitter / 1_000)
        // Another host's start may take longer than this one's: it waits for that, within a day.
        bounded.span = min(register.span, LedgerLimits.openForgotten)
        for index in bounded.leases.indices {
            bounded.leases[index].span = min(register.leases[index].span, LedgerLimits.openForgotten)
        }
        // On an island it is counted on, and multiplied.
        func count(_ number: Int64) -> Int64 { min(max(0, number), Self.countLimit) }
        (bounded.openCount, bounded.granted) = (count(register.openCount), count(register.granted))
        (bounded.succeeded, bounded.failed) = (count(register.succeeded), count(register.failed))
        (bounded.slow, bounded.inconclusive) = (count(register.slow), count(register.inconclusive))
        return bounded
    }

    /// Another host's dependency: it is open here before anybody asks. Other services' breakers are no business here.
    private mutating func seat(forUnknown entry: BreakerEntry, _ now: Int64) -> Int? {
        guard !entry.name.hasPrefix("service:"), DependencyName.isValid(entry.name) else { return nil }
        if entry.register.state == .closed, entry.override.mode == .auto { return nil }
        let before = known
        let index = seatOfDependency(entry.name, now)
        // It is known by this very entry.
        known = before
        // Negative where there is no room: it is seated when a worker asks for it and there is some.
        return index < 0 ? nil : index
    }

    // MARK: Transitions seen

    /// The fleet's breaker moved: by another host, by this one, or on an island.
    mutating func fleetMoved(_ index: Int, from before: BreakerRegister, to after: BreakerRegister, _ now: Int64) {
        let name = seats[index].name
        isWorthSaving = true
        if after.state != .closed, before.state == .closed {
            // From now on the fleet's decides; what this host found begins anew when it is closed.
            own.registers[name] = nil
            own.votes[name] = nil
            seats[index].crashes.clear()
            seats[index].calls?.clear()
            dropClaim(index, now)
        }
        if after.state == .closed {
            // It was open meanwhile, and this host has not heard of it: what it found itself is over all the same.
            let isOwnOpen = (own.registers[name]?.state ?? .closed) != .closed
            if before.state == .closed, isOwnOpen || seats[index].crashes.count > 0 {
                let text = "what this host found of the breaker \(name) is over: the fleet has closed it meanwhile"
                tell(index, "breaker-overruled", "\(text) (\(after.reason))")
            }
            own.registers[name] = nil
            own.votes[name] = nil
            seats[index].crashes.clear()
            seats[index].calls?.clear()
            seats[index].vote = .none
            if before.state != .closed { beginRamp(index, after, now) }
        }
        loseClaim(index, to: after, now)
        tellTransition(index, from: before, to: after, isOfHostAlone: false)
    }

    /// The hosts start again one after the other: which is first differs with each closing.
    private mutating func beginRamp(_ index: Int, _ register: BreakerRegister, _ now: Int64) {
        guard seats[index].kind == .service else { return }
        seats[index].alertUntil = register.changedAt + BreakerLimits.recoveryRamp
        if liveHosts <= 1 { return }
        let place = StableHash.unit(of: caller.host, Int64(register.epoch))
        let turn = register.changedAt + Int64(place * Double(BreakerLimits.recoveryRamp))
        seats[index].rampUntil = max(now, turn)
    }

    mutating func tellTransition(
        _ index: Int,
        from before: BreakerRegister,
        to after: BreakerRegister,
        isOfHostAlone: Bool
    ) {
        let name = seats[index].name
        let where_ = isOfHostAlone && isShared ? " on this host alone" : ""
        let because = after.reason.isEmpty ? "" : ": \(after.reason)"
        switch (before.state, after.state) {
        case (_, .open) where before.state != .open || before.openCount != after.openCount:
            seats[index].counts.opened &+= 1
            let wait = Duration.milliseconds(after.wait).brief
            tell(index, "breaker-open", "the breaker \(name) is open\(where_), for \(wait)\(because)")
        case (.open, .halfOpen), (.closed, .halfOpen):
            seats[index].counts.halfOpened &+= 1
            let who = after.leases.first.map { " by \($0.host)" } ?? ""
            tell(index, "breaker-half-open", "the breaker \(name) is half-open\(where_): a probe is made\(who)")
        case (.open, .closed), (.halfOpen, .closed):
            seats[index].counts.closed &+= 1
            tell(index, "breaker-closed", "the breaker \(name) is closed again\(where_)\(because)")
        case (.open, .open), (.halfOpen, .halfOpen), (.halfOpen, .open), (.closed, .closed), (.closed, .open): break
        }
    }

    mutating func tellOverride(_ index: Int, from: BreakerOverride, to: BreakerOverride) {
        let name = seats[index].name
        let because = to.reason.isEmpty ? "" : ": \(to.reason)"
        switch to.mode {
        case .auto where from.mode != .auto:
            tell(index, "breaker-auto", "\(to.actor) handed the breaker \(name) back\(because)")
        case .auto: break
        case .forceOpen: tell(index, "breaker-forced", "\(to.actor) forced the breaker \(name) open\(because)")
        case .forceClosed: tell(index, "breaker-forced", "\(to.actor) forced the breaker \(name) closed\(because)")
        case .disabled, .metricsOnly:
            tell(index, "breaker-forced", "\(to.actor) turned the breaker \(name) off\(because)")
        }
    }
}

/// A hash that is the same on every host and in every version.
///
/// Source: FNV-1a, 64 bits (Fowler, Noll and Vo; RFC 9923), finished as SplitMix64's output is (Vigna).
enum StableHash {
    /// From 0 up to, not including, 1.
    static func unit(of text: String, _ number: Int64) -> Double {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        var generator = SeededGenerator(seed: hash ^ UInt64(bitPattern: number))
        return generator.unit()
    }
}
