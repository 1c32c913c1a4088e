/// How a run of a service ended, as its breaker sees it.
enum CrashKind: Sendable, Equatable {
    /// It says something of the release.
    case ofRelease
    /// The host could not do it: out of descriptors, of memory, of disk (rule S6).
    case ofHost
}

/// What the gate says to a start.
public enum GateAnswer: Sendable, Equatable {
    /// It may start.
    case pass
    /// It may start as the one probe.
    case probe
    /// It is held.
    case deny
}

// The crash-loop breakers of services.
extension BreakerMachine {
    // MARK: The gate

    /// Right before every start. `index` is the breaker's seat.
    mutating func gate(_ index: Int, at now: Int64) -> GateAnswer {
        if seats[index].standing == .closed {
            seats[index].counts.allowed &+= 1
            return .pass
        }
        return gateThatMayBeShut(index, now)
    }

    private mutating func gateThatMayBeShut(_ index: Int, _ now: Int64) -> GateAnswer {
        if case .ramping(let until) = seats[index].standing, now >= until { refresh(index, now) }
        if seats[index].standing.lets {
            seats[index].counts.allowed &+= 1
            return .pass
        }
        if let hold = seats[index].claim.hold, hold.run == nil, now < hold.expiresAt,
            seats[index].standing != .forcedOpen
        {
            seats[index].counts.allowed &+= 1
            return .probe
        }
        switch seats[index].standing {
        case .forcedOpen: seats[index].counts.notPermittedForced &+= 1
        case .halfOpen, .ramping: seats[index].counts.notPermittedHalfOpen &+= 1
        case .open, .closed, .ignored: seats[index].counts.notPermittedOpen &+= 1
        }
        want(index, true, now)
        return .deny
    }

    /// Whether a start would be let through now, without asking for it.
    func wouldPass(_ index: Int) -> Bool { seats[index].standing.lets }

    /// A probe may be started, and is not yet.
    func hasFreeProbe(_ index: Int) -> Bool {
        guard let hold = seats[index].claim.hold, seats[index].standing != .forcedOpen else { return false }
        return hold.run == nil
    }

    /// Whether an instance of this release is ready: it may be the probe where nobody is to be started.
    mutating func witness(_ index: Int, _ hasOne: Bool, _ now: Int64) {
        if seats[index].hasWitness == hasOne { return }
        seats[index].hasWitness = hasOne
        fitClaim(index, now)
        moved = true
    }

    /// No service runs this release any more: what was found of it is not for others.
    mutating func retire(_ index: Int, _ isRetired: Bool, _ now: Int64) {
        if seats[index].isRetired == isRetired { return }
        seats[index].isRetired = isRetired
        want(index, false, now)
        witness(index, false, now)
        fitVote(index, now)
    }

    /// Whether some instance waits for the breaker.
    mutating func want(_ index: Int, _ isWanted: Bool, _ now: Int64) {
        if (seats[index].wantedAt != nil) == isWanted { return }
        seats[index].wantedAt = isWanted ? now : nil
        fitClaim(index, now)
        moved = true
        // Leased, and nobody is left who could be the probe.
        if !isWanted, !seats[index].hasWitness, let hold = seats[index].claim.hold, hold.run == nil {
            conclude(index, .inconclusive, "nobody is to be started any more", now)
        }
    }

    // MARK: The probe

    mutating func probeBegan(
        _ index: Int,
        _ instance: InstanceID,
        _ generation: Generation,
        wasRunning: Bool = false
    ) {
        guard case .held(var hold) = seats[index].claim else { return }
        hold.run = ProbeHold.Run(instance: instance, generation: generation, wasRunning: wasRunning)
        seats[index].claim = .held(hold)
        isWorthSaving = true
        moved = true
        let verb = wasRunning ? "runs on" : "is started"
        let text = "\(instance) \(verb) as the probe of its breaker \(seats[index].name)"
        notes.append(Note(subject: instance.description, kind: "probe", text: text))
    }

    /// The seat whose probe this run is; nil for every other run.
    func probed(by instance: InstanceID, _ generation: Generation) -> Int? {
        seats.firstIndex {
            guard let run = $0.claim.hold?.run else { return false }
            return run.instance == instance && run.generation == generation
        }
    }

    /// The instance is ready, or no longer.
    mutating func readyChanged(_ index: Int, isReady: Bool, _ now: Int64) {
        guard case .held(var hold) = seats[index].claim, var run = hold.run, (run.readySince != nil) != isReady else {
            return
        }
        run.readySince = isReady ? now : nil
        hold.run = run
        seats[index].claim = .held(hold)
        moved = true
        isWorthSaving = true
    }

    // MARK: Crashes

    /// A run of this release has crashed; `reason` says how, in one clause.
    mutating func crashed(_ index: Int, _ kind: CrashKind, _ reason: String, at now: Int64) {
        let name = seats[index].name
        moved = true
        let mode = mode(index)
        if mode == .disabled || mode == .forceClosed { return }
        // What the fleet has opened, this host finds nothing more about.
        if isDecidedByFleet(name) || (own.registers[name]?.state ?? .closed) != .closed { return }
        let threshold = threshold(index, now)
        seats[index].crashes.expire(now, window: seats[index].crashWindow)
        seats[index].crashes.add(
            CrashWindow.Crash(at: now, isOfHost: kind == .ofHost),
            capacity: seats[index].crashThreshold
        )
        isWorthSaving = true
        let count = seats[index].crashes.count
        let window = Duration.milliseconds(seats[index].crashWindow).brief
        seats[index].voteReason = "\(count) crash\(count == 1 ? "" : "es") within \(window), the last: \(reason)"
        if count >= threshold { trip(index, mode, now) }
        fitVote(index, now)
    }

    /// A run was stable: what came before says nothing any more.
    mutating func wasStable(_ index: Int, at now: Int64) {
        if seats[index].crashes.count == 0 { return }
        seats[index].crashes.clear()
        isWorthSaving = true
        fitVote(index, now)
        moved = true
    }

    /// Just closed, fewer crashes suffice: it may have been closed too soon.
    private func threshold(_ index: Int, _ now: Int64) -> Int {
        let full = seats[index].crashThreshold
        return now < seats[index].alertUntil ? (full + 1) / 2 : full
    }

    private mutating func trip(_ index: Int, _ mode: BreakerMode, _ now: Int64) {
        let reason = seats[index].voteReason
        if mode == .metricsOnly {
            tell(index, "breaker-would-open", "the breaker \(seats[index].name) would open: \(reason)")
            seats[index].crashes.clear()
            return
        }
        guard mode == .auto else { return }
        seats[index].isSharedTrip = seats[index].crashes.shared >= threshold(index, now)
        openOwn(index, reason, now)
    }

    /// This host's own breaker opens; the fleet is told of it by a vote.
    mutating func openOwn(_ index: Int, _ reason: String, _ now: Int64) {
        let seat = seats[index]
        let operation = BreakerOperation.vote(
            name: seat.name,
            .tripped,
            reason: BreakerLedger.bounded(reason),
            seat.policy.alone,
            draw: drawMillionths()
        )
        _ = applyOwn(operation, index, now)
    }

    // MARK: Votes

    /// What this host has to say to the fleet.
    private func grade(_ index: Int, _ now: Int64) -> BreakerGrade {
        let seat = seats[index]
        guard mode(index) == .auto, !isDecidedByFleet(seat.name), !seat.isRetired else { return .none }
        let isOpenHere = (own.registers[seat.name]?.state ?? .closed) != .closed
        if isOpenHere { return seat.kind == .dependency || seat.isSharedTrip ? .tripped : .none }
        if seat.kind == .dependency { return .none }
        if seat.crashes.shared >= threshold(index, now) { return .tripped }
        return seat.crashes.shared >= BreakerLimits.suspectCrashes ? .suspect : .none
    }

    /// Says it where it changed, and again before it lapses.
    mutating func fitVote(_ index: Int, _ now: Int64) {
        guard isShared else { return }
        seats[index].crashes.expire(now, window: seats[index].crashWindow)
        let grade = grade(index, now)
        let isDue = grade != .none && now - seats[index].votedAt >= BreakerLimits.voteRefresh
        guard link == .up, grade != seats[index].vote || isDue else { return }
        // The fleet's breaker has moved, and the vote with it.
        let isMoot = grade == .none && isDecidedByFleet(seats[index].name)
        seats[index].vote = grade
        seats[index].votedAt = now
        moved = true
        if isMoot { return }
        let seat = seats[index]
        _ = ask(
            .vote(
                name: seat.name,
                grade,
                reason: BreakerLedger.bounded(seat.voteReason),
                seat.policy,
                draw: drawMillionths()
            ),
            for: .vote,
            now
        )
    }
}
