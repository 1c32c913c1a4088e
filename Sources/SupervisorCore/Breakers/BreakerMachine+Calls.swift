/// How dependencies are named: one word, as workers say it.
public enum DependencyName {
    public static let maximumBytes = 128

    /// Whether a breaker of a dependency may have this name. What services' breakers are called is not for workers.
    public static func isValid(_ name: String) -> Bool {
        (1...maximumBytes).contains(name.utf8.count) && name.utf8.allSatisfy { $0 > 32 && $0 != 127 }
            && !name.hasPrefix("service:")
    }
}

/// The answer to a worker that wants to call a dependency (`ALLOW`, INTERFACE.md §5).
public enum CallAnswer: Sendable, Equatable {
    /// It may, and gives this number back with its report.
    case allowed(generation: UInt64)
    /// It may: its call is the one that shows whether the dependency works again.
    case probe(token: UInt64)
    case denied(retryAfterMilliseconds: Int64, reason: String)
}

// The breakers of dependencies.
extension BreakerMachine {
    // MARK: Seats

    /// The breaker of a dependency, made where it is not known. Where there are too many, the one that was used least
    /// lately and that nobody would miss makes room.
    mutating func seatOfDependency(_ name: String, _ now: Int64) -> Int {
        if let index = seatOf[name] { return index }
        let dependency = configured[name] ?? DependencySpec(name: name)
        var seat = BreakerSeat(name: name, kind: .dependency, policy: LedgerPolicy(dependency), now: now)
        set(dependency, on: &seat)
        seat.usedAt = now
        guard dependencyCount >= BreakerLimits.dependencies else { return addSeat(seat) }
        guard let victim = leastRecentlyUsed() else { return -1 }
        return reseat(victim, seat)
    }

    private var dependencyCount: Int { seats.count { $0.kind == .dependency } }

    private func leastRecentlyUsed() -> Int? {
        var found: Int?
        for index in seats.indices where seats[index].kind == .dependency {
            guard seats[index].isIdle, configured[seats[index].name] == nil else { continue }
            if found.map({ seats[index].usedAt < seats[$0].usedAt }) ?? true { found = index }
        }
        return found
    }

    // MARK: Asking

    /// - Parameter worker: who asks: what it holds is given back when it is gone (`workerGone`).
    /// - Returns: nil where there is no room for another breaker: let it through, it is not counted.
    mutating func ask(_ name: String, worker: UInt64, at now: Int64) -> CallAnswer? {
        let index = seatOf[name] ?? seatOfDependency(name, now)
        guard seats.indices.contains(index), seats[index].kind == .dependency else { return nil }
        return ask(seat: index, worker: worker, at: now)
    }

    mutating func ask(seat index: Int, worker: UInt64, at now: Int64) -> CallAnswer {
        seats[index].usedAt = now
        if seats[index].standing.lets {
            seats[index].counts.allowed &+= 1
            return .allowed(generation: seats[index].generation)
        }
        return askWhatMayBeShut(index, worker, now)
    }

    private mutating func askWhatMayBeShut(_ index: Int, _ worker: UInt64, _ now: Int64) -> CallAnswer {
        if seats[index].standing == .forcedOpen {
            seats[index].counts.notPermittedForced &+= 1
            return .denied(retryAfterMilliseconds: 5_000, reason: "forced-open")
        }
        seats[index].wantedAt = now
        fitClaimOfCalls(index, now)
        if case .held(var hold) = seats[index].claim, hold.call == 0, now < hold.expiresAt {
            calls &+= 1
            hold.call = calls
            hold.caller = worker
            seats[index].claim = .held(hold)
            seats[index].counts.allowed &+= 1
            moved = true
            return .probe(token: calls)
        }
        let retry: Int64
        let reason: String
        if case .open(let until) = seats[index].standing, until > now {
            seats[index].counts.notPermittedOpen &+= 1
            (retry, reason) = (until - now, "open")
        } else {
            seats[index].counts.notPermittedHalfOpen &+= 1
            (retry, reason) = (BreakerLimits.retryAfter, "half-open")
        }
        return .denied(retryAfterMilliseconds: retry, reason: reason)
    }

    /// Most denials change nothing: then nothing is worked out anew, and nothing is to be settled.
    private mutating func fitClaimOfCalls(_ index: Int, _ now: Int64) {
        switch seats[index].claim {
        case .due(let at) where now < at: return
        case .asked, .held, .reporting: return
        case .none, .due: break
        }
        let before = seats[index].claim
        fitClaim(index, now)
        // What needs no answer of the store is had at once.
        if case .due(let at) = seats[index].claim, now >= at { claim(index, now) }
        if before != seats[index].claim { moved = true }
    }

    // MARK: Reports

    /// How a call ended that `ask` let through, and how long it took, microseconds.
    ///
    /// - Parameter pass: the generation or the token that the worker was given.
    mutating func report(
        _ name: String,
        pass: UInt64,
        worker: UInt64,
        _ outcome: CallOutcome,
        microseconds: Int64,
        at now: Int64
    ) {
        guard let index = seatOf[name], seats[index].kind == .dependency else { return }
        report(seat: index, pass: pass, worker: worker, outcome, microseconds: microseconds, at: now)
    }

    mutating func report(
        seat index: Int,
        pass: UInt64,
        worker: UInt64,
        _ outcome: CallOutcome,
        microseconds: Int64,
        at now: Int64
    ) {
        let isSlow = outcome == .slow || (outcome != .ignored && microseconds / 1_000 >= seats[index].slowCallLimit)
        if let hold = seats[index].claim.hold, hold.call == pass, hold.caller == worker, hold.call != 0 {
            return probeReported(index, outcome, isSlow: isSlow, now)
        }
        guard pass == seats[index].generation, seats[index].standing.lets else {
            seats[index].counts.reportsStale &+= 1
            return
        }
        switch outcome {
        case .ok: seats[index].counts.callsSucceeded &+= 1
        case .failed: seats[index].counts.callsFailed &+= 1
        case .slow: seats[index].counts.callsSlow &+= 1
        case .ignored:
            seats[index].counts.callsIgnored &+= 1
            return
        }
        seats[index].calls?.record(failed: outcome == .failed, slow: isSlow, at: now)
        if outcome != .ok || isSlow { judge(index, now) }
    }

    /// Only a failure or a slow call can raise a rate.
    private mutating func judge(_ index: Int, _ now: Int64) {
        guard let window = seats[index].calls else { return }
        let dependency = dependency(index)
        let minimum = dependency.minimumNumberOfCalls
        guard let failures = window.failureRate(minimum: minimum), let slow = window.slowCallRate(minimum: minimum)
        else { return }
        let calls = window.total.calls
        let reason: String
        if failures >= dependency.failureRateThreshold {
            reason = "\(window.total.failed) of \(calls) calls failed"
        } else if slow >= dependency.slowCallRateThreshold {
            reason = "\(window.total.slow) of \(calls) calls were slow"
        } else {
            return
        }
        switch mode(index) {
        case .metricsOnly: tell(index, "breaker-would-open", "the breaker \(seats[index].name) would open: \(reason)")
        case .auto:
            seats[index].voteReason = reason
            openOwn(index, reason, now)
            fitVote(index, now)
        case .disabled, .forceOpen, .forceClosed: break
        }
        // Each trip is told once, and a round begins with an empty window.
        seats[index].calls?.clear()
    }

    private mutating func probeReported(_ index: Int, _ outcome: CallOutcome, isSlow: Bool, _ now: Int64) {
        let verdict: ProbeVerdict
        switch outcome {
        case .failed: verdict = .failed
        case .ignored: verdict = .inconclusive
        case .ok, .slow: verdict = isSlow ? .slow : .succeeded
        }
        let reason = outcome == .failed ? "the call failed" : "the call was slow"
        conclude(index, verdict, reason, now)
        // The next one of this round, while somebody asks.
        if case .due(let at) = seats[index].claim, now >= at { claim(index, now) }
    }

    /// A worker is gone: a probe that it held says nothing, and is given back at once.
    mutating func workerGone(_ worker: UInt64, at now: Int64) {
        for index in seats.indices {
            guard let hold = seats[index].claim.hold, hold.call != 0, hold.caller == worker else { continue }
            conclude(index, .inconclusive, "the worker is gone", now)
        }
    }
}
