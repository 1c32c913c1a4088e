// This host's probes: when it asks for one, keeps it, and says how it ended.
extension BreakerMachine {
    // MARK: When to ask

    /// Makes what this host is to do fit the breaker's state.
    mutating func fitClaim(_ index: Int, _ now: Int64) {
        switch seats[index].claim {
        case .asked, .held, .reporting: return
        case .none, .due: break
        }
        let register = register(seats[index].name)
        guard mode(index) == .auto, register.state != .closed, isWanted(index, now) else {
            seats[index].claim = .none
            return
        }
        let isOfIsland = isIsland && isDecidedByFleet(seats[index].name)
        let isWitness = seats[index].kind == .service && seats[index].wantedAt == nil
        if case .due = seats[index].claim, seats[index].claimEpoch == register.epoch,
            seats[index].claimIsOfIsland == isOfIsland, seats[index].claimIsOfWitness == isWitness
        {
            return
        }
        seats[index].claimEpoch = register.epoch
        seats[index].claimIsOfIsland = isOfIsland
        seats[index].claimIsOfWitness = isWitness
        // While another host probes: when it may have lost its lease.
        let lapse = register.leases.map(\.expiresAt).max() ?? now
        let base = register.state == .open ? max(now, register.retryAt) : max(now, lapse)
        // Whoever has one to start goes first.
        let later = isWitness ? BreakerLimits.witnessDelay : 0
        seats[index].claim = .due(base + later + spread(index, register, isOfIsland: isOfIsland))
    }

    /// Somebody waits for it.
    private func isWanted(_ index: Int, _ now: Int64) -> Bool {
        guard let wantedAt = seats[index].wantedAt else { return seats[index].hasWitness }
        return seats[index].kind == .service || now - wantedAt < BreakerLimits.wantedFor
    }

    /// Hosts do not all ask at once.
    private mutating func spread(_ index: Int, _ register: BreakerRegister, isOfIsland: Bool) -> Int64 {
        let isService = seats[index].kind == .service
        if !isDecidedByFleet(seats[index].name) { return 0 }
        if isOfIsland {
            return draw(upTo: isService ? BreakerLimits.islandSpread : BreakerLimits.dependencyIslandSpread)
        }
        let jitter = isService ? BreakerLimits.claimJitter : BreakerLimits.dependencyClaimJitter
        let isLastFailed = register.lastFailed == caller.host && liveHosts > 1
        return draw(upTo: jitter) + (isLastFailed ? 2 * jitter : 0)
    }

    private func retry(_ index: Int) -> Int64 {
        seats[index].kind == .service ? BreakerLimits.claimRetry : BreakerLimits.dependencyClaimRetry
    }

    // MARK: What is due

    mutating func advanceClaim(_ index: Int, _ now: Int64) {
        switch seats[index].claim {
        case .none, .asked: break
        case .due(let at):
            if now < at { return }
            if isWanted(index, now) { claim(index, now) } else { seats[index].claim = .none }
        case .held(let hold):
            if now >= hold.expiresAt { return lose(index, now) }
            if let since = hold.run?.readySince, now - since >= BreakerLimits.probeProof {
                return conclude(index, .succeeded, "", now)
            }
            if isLeftUnused(index, hold, now) {
                return conclude(index, .inconclusive, "nobody calls it", now)
            }
            if hold.renewal == nil, now >= hold.renewAt { renew(index, hold, now) }
        case .reporting(let token, let verdict, let reason, let request, let until):
            if request != nil, now < until { return }
            if now >= until {
                // It counts as lost for the store.
                seats[index].claim = .none
                fitClaim(index, now)
            } else {
                report(index, token, verdict, reason, until: until, now)
            }
        }
    }

    /// A permit to call that no worker asks for: another host's may.
    private func isLeftUnused(_ index: Int, _ hold: ProbeHold, _ now: Int64) -> Bool {
        unusedUntil(index, hold).map { now >= $0 } ?? false
    }

    func unusedUntil(_ index: Int, _ hold: ProbeHold) -> Int64? {
        guard seats[index].kind == .dependency, hold.call == 0 else { return nil }
        return (seats[index].wantedAt ?? 0) + BreakerLimits.wantedFor
    }

    /// Asks for a probe.
    mutating func claim(_ index: Int, _ now: Int64) {
        let name = seats[index].name
        let policy = seats[index].policy
        seats[index].claim = .none
        if !isDecidedByFleet(name) {
            let verdict = applyOwn(.lease(name: name, policy.alone, draw: drawMillionths()), index, now)
            granted(index, verdict, .own, sentAt: now, now)
        } else if isIsland {
            let verdict = applyFleet(.lease(name: name, policy, draw: drawMillionths()), index, now)
            granted(index, verdict, .island, sentAt: now, now)
        } else if link == .up {
            let request = ask(.lease(name: name, policy, draw: drawMillionths()), for: .lease, now)
            seats[index].claim = .asked(request: request, at: now)
        } else {
            seats[index].claim = .due(now + BreakerLimits.retryAfter)
        }
        moved = true
    }

    private mutating func granted(
        _ index: Int,
        _ verdict: LedgerVerdict,
        _ source: ProbeHold.Source,
        sentAt: Int64,
        _ now: Int64
    ) {
        guard case .granted(let token, let told) = verdict else {
            if mode(index) == .auto, register(seats[index].name).state != .closed, isWanted(index, now) {
                seats[index].claim = .due(now + retry(index) + draw(upTo: BreakerLimits.dependencyClaimJitter))
                seats[index].claimEpoch = register(seats[index].name).epoch
                seats[index].claimIsOfIsland = source == .island
            } else {
                seats[index].claim = .none
            }
            moved = true
            return
        }
        // Whatever the store says, it is not renewed faster than it answers.
        let span = max(told, BreakerLimits.leaseLeast)
        let margin = source == .fleet ? min(BreakerLimits.leaseMargin, span / 10) : 0
        let hold = ProbeHold(
            source: source,
            token: token,
            span: span,
            expiresAt: sentAt + span - margin,
            renewAt: sentAt + span / 3
        )
        seats[index].claim = .held(hold)
        isWorthSaving = true
        moved = true
    }

    // MARK: Keeping it

    private mutating func renew(_ index: Int, _ hold: ProbeHold, _ now: Int64) {
        let operation = BreakerOperation.renew(name: seats[index].name, token: hold.token)
        switch hold.source {
        case .own: renewed(index, applyOwn(operation, index, now), sentAt: now, now)
        case .island: renewed(index, applyFleet(operation, index, now), sentAt: now, now)
        case .fleet:
            var kept = hold
            if link == .up {
                kept.renewal = ask(operation, for: .renew, now)
            } else {
                kept.renewAt = now + BreakerLimits.retryAfter
            }
            seats[index].claim = .held(kept)
        }
        moved = true
    }

    private mutating func renewed(_ index: Int, _ verdict: LedgerVerdict, sentAt: Int64, _ now: Int64) {
        guard case .held(var hold) = seats[index].claim else { return }
        guard case .granted = verdict else { return lose(index, now) }
        let margin = hold.source == .fleet ? min(BreakerLimits.leaseMargin, hold.span / 10) : 0
        hold.renewal = nil
        hold.expiresAt = max(hold.expiresAt, sentAt + hold.span - margin)
        hold.renewAt = sentAt + hold.span / 3
        seats[index].claim = .held(hold)
    }

    mutating func claimAnswered(
        _ index: Int,
        _ number: UInt64,
        _ verdict: LedgerVerdict,
        _ request: Pending,
        _ now: Int64
    ) {
        switch seats[index].claim {
        case .asked(number, _):
            let isCurrent = isLeased(index, verdict)
            granted(index, isCurrent ? verdict : .denied(.full), .fleet, sentAt: request.sentAt, now)
        case .held(let hold) where hold.renewal == number:
            renewed(index, verdict, sentAt: request.sentAt, now)
        case .reporting(_, _, _, .some(number), _):
            if verdict == .stale { seats[index].counts.reportsStale &+= 1 }
            seats[index].claim = .none
            fitClaim(index, now)
        case .none, .due, .asked, .held, .reporting:
            // Nobody wants it any more: what was granted late goes back.
            guard request.purpose == .lease, case .granted(let token, _) = verdict else { return }
            _ = ask(result(index, token, .inconclusive, "nobody wants it any more"), for: .other, now)
        }
        moved = true
    }

    /// What this host knows to be newer holds no such lease: the store is about to be told, and has lost something.
    private func isLeased(_ index: Int, _ verdict: LedgerVerdict) -> Bool {
        guard case .granted(let token, _) = verdict else { return true }
        let leases = fleet.registers[seats[index].name]?.leases ?? []
        return leases.contains { $0.token == token && $0.host == caller.host }
    }

    mutating func claimUnanswered(_ index: Int, _ number: UInt64, _ now: Int64) {
        switch seats[index].claim {
        // Asked again it is told the same, if it was granted.
        case .asked(number, _):
            seats[index].claim = .due(now + BreakerLimits.retryAfter)
            seats[index].claimEpoch = register(seats[index].name).epoch
            seats[index].claimIsOfIsland = isIsland
        case .held(var hold) where hold.renewal == number:
            hold.renewal = nil
            hold.renewAt = now + BreakerLimits.retryAfter
            seats[index].claim = .held(hold)
        case .reporting(let token, let verdict, let reason, .some(number), let until):
            seats[index].claim = .reporting(
                token: token,
                verdict,
                reason: reason,
                request: nil,
                until: until
            )
        case .none, .due, .asked, .held, .reporting: break
        }
        moved = true
    }

    // MARK: Losing it

    /// The fleet's breaker has moved on without this host's lease.
    mutating func loseClaim(_ index: Int, to register: BreakerRegister, _ now: Int64) {
        guard let hold = seats[index].claim.hold, hold.source != .own else { return }
        if register.leases.contains(where: { $0.token == hold.token && $0.host == caller.host }) { return }
        if register.state == .closed {
            // Somebody's probe has succeeded: this one goes on as any other run.
            seats[index].claim = .none
        } else {
            lose(index, now)
        }
    }

    /// Its lease has lapsed: another host may probe now, so what was started under it ends (rule C4).
    private mutating func lose(_ index: Int, _ now: Int64) {
        guard let hold = seats[index].claim.hold else { return }
        if let run = hold.run, !run.wasRunning {
            fenced.append(run)
            tell(index, "probe-lost", "\(run.instance) is stopped: its lease on the probe of its breaker has lapsed")
        }
        seats[index].counts.probesInconclusive &+= 1
        seats[index].claim = .none
        isWorthSaving = true
        fitClaim(index, now)
    }

    /// The fleet's breaker decides from now on: a probe that this host made for itself is an ordinary run.
    mutating func dropClaim(_ index: Int, _ now: Int64) {
        switch seats[index].claim {
        case .held(let hold) where hold.source == .own: seats[index].claim = .none
        case .none, .due, .asked, .held, .reporting: break
        }
        fitClaim(index, now)
    }

    // MARK: How it ended

    private mutating func result(
        _ index: Int,
        _ token: Int64,
        _ verdict: ProbeVerdict,
        _ reason: String
    ) -> BreakerOperation {
        let seat = seats[index]
        let isOwn = !isDecidedByFleet(seat.name)
        return .result(
            name: seat.name,
            token: token,
            verdict,
            reason: BreakerLedger.bounded(reason),
            isOwn ? seat.policy.alone : seat.policy,
            draw: drawMillionths()
        )
    }

    /// A probe of this host has ended.
    mutating func conclude(_ index: Int, _ verdict: ProbeVerdict, _ reason: String, _ now: Int64) {
        guard let hold = seats[index].claim.hold else { return }
        switch verdict {
        case .succeeded, .slow: seats[index].counts.probesSucceeded &+= 1
        case .failed: seats[index].counts.probesFailed &+= 1
        case .inconclusive: seats[index].counts.probesInconclusive &+= 1
        }
        isWorthSaving = true
        seats[index].claim = .none
        if hold.source == .own {
            _ = applyOwn(result(index, hold.token, verdict, reason), index, now)
            if (own.registers[seats[index].name]?.state ?? .closed) == .closed { seats[index].crashes.clear() }
            refresh(index, now)
        } else {
            report(index, hold.token, verdict, reason, until: hold.expiresAt, now)
        }
    }

    /// Says it to the store; on an island to what this host knows of it, which the store is given afterwards.
    private mutating func report(
        _ index: Int,
        _ token: Int64,
        _ verdict: ProbeVerdict,
        _ reason: String,
        until: Int64,
        _ now: Int64
    ) {
        moved = true
        if isIsland {
            seats[index].claim = .none
            _ = applyFleet(result(index, token, verdict, reason), index, now)
            refresh(index, now)
            return
        }
        let request = link == .up ? ask(result(index, token, verdict, reason), for: .result, now) : nil
        seats[index].claim = .reporting(token: token, verdict, reason: reason, request: request, until: until)
    }

    // MARK: The ledgers of this host

    /// One step of this host's own ledger.
    mutating func applyOwn(_ operation: BreakerOperation, _ index: Int, _ now: Int64) -> LedgerVerdict {
        let name = seats[index].name
        let before = own.registers[name] ?? BreakerRegister()
        // Whoever has not said that it is there has no vote.
        _ = own.apply(.sync(known: own.sequence), by: caller, at: now)
        let verdict = own.apply(operation, by: caller, at: now).reply.verdict
        observeOwn(index, before, now)
        return verdict
    }

    mutating func tickOwn(_ index: Int, _ now: Int64) {
        let name = seats[index].name
        let before = own.registers[name] ?? BreakerRegister()
        var step = LedgerStep(caller: caller, now: now)
        own.tick(name, &step)
        observeOwn(index, before, now)
    }

    private mutating func observeOwn(_ index: Int, _ before: BreakerRegister, _ now: Int64) {
        let after = own.registers[seats[index].name] ?? BreakerRegister()
        if before == after { return }
        isWorthSaving = true
        tellTransition(index, from: before, to: after, isOfHostAlone: true)
        refresh(index, now)
    }

    /// One step of what this host knows of the fleet's ledger: on an island only.
    mutating func applyFleet(_ operation: BreakerOperation, _ index: Int, _ now: Int64) -> LedgerVerdict {
        let before = fleet.registers[seats[index].name] ?? BreakerRegister()
        let verdict = fleet.apply(operation, by: caller, at: now).reply.verdict
        observeFleet(index, before, now)
        return verdict
    }

    mutating func tickFleet(_ index: Int, _ now: Int64) {
        let before = fleet.registers[seats[index].name] ?? BreakerRegister()
        var step = LedgerStep(caller: caller, now: now)
        fleet.tick(seats[index].name, &step)
        observeFleet(index, before, now)
    }

    private mutating func observeFleet(_ index: Int, _ before: BreakerRegister, _ now: Int64) {
        let after = fleet.registers[seats[index].name] ?? BreakerRegister()
        if before == after { return }
        fleetMoved(index, from: before, to: after, now)
        refresh(index, now)
    }
}
