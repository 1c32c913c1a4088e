// What operators do with breakers, and what they are shown.
extension BreakerMachine {
    /// Carries out an operator's wish; answered through `finished`.
    mutating func act(
        _ action: BreakerAction,
        on index: Int,
        by actor: String,
        reason: String?,
        as operation: OperationID,
        at now: Int64
    ) {
        let name = seats[index].name
        let reason = BreakerLedger.bounded(reason ?? "")
        let wish: BreakerOperation
        switch action {
        case .forceOpen: wish = .force(name: name, .forceOpen, actor: actor, reason: reason)
        case .forceClosed: wish = .force(name: name, .forceClosed, actor: actor, reason: reason)
        case .auto: wish = .force(name: name, .auto, actor: actor, reason: reason)
        case .reset: wish = .reset(name: name, actor: actor, reason: reason)
        }
        if action == .reset {
            own.registers[name] = nil
            own.votes[name] = nil
            seats[index].crashes.clear()
            seats[index].calls?.clear()
            (seats[index].rampUntil, seats[index].alertUntil) = (0, 0)
        }
        moved = true
        isWorthSaving = true
        if !isShared {
            apply(wish, toOwn: true, index, by: actor, now)
            finished.append((operation, .done))
        } else if link == .up, !isIsland {
            _ = ask(wish, for: .command(operation), now)
        } else {
            apply(wish, toOwn: false, index, by: actor, now)
            tell(index, "breaker-island", "\(name): the other hosts learn of it when Redis is back")
            finished.append((operation, .done))
        }
        refresh(index, now)
    }

    private mutating func apply(
        _ wish: BreakerOperation,
        toOwn isOwn: Bool,
        _ index: Int,
        by actor: String,
        _ now: Int64
    ) {
        let before = override(seats[index].name)
        _ = isOwn ? applyOwn(wish, index, now) : applyFleet(wish, index, now)
        let after = override(seats[index].name)
        if before != after { tellOverride(index, from: before, to: after) }
    }

    // MARK: Status

    /// Where the breakers are shared, and how.
    var storeState: BreakerStoreState { !isShared ? .local : isIsland ? .island : .redis }

    func storeStatus() -> BreakersStatus {
        var status = BreakersStatus()
        status.store = storeState
        status.liveHosts = isIsland ? 0 : Int(clamping: liveHosts)
        if case .down(_, let failure) = link { status.storeProblem = failure?.text ?? "not connected yet" }
        if isIsland { status.storeProblem = saidProblem ?? status.storeProblem }
        return status
    }

    func status(ofSeat index: Int, at now: Int64) -> BreakerStatus {
        let seat = seats[index]
        let register = register(seat.name)
        var status = BreakerStatus(
            name: seat.name,
            kind: seat.kind,
            state: publicState(index),
            since: MonotonicInstant(milliseconds: seat.since)
        )
        let override = override(seat.name)
        if override.mode != .auto {
            status.reason = override.actor + (override.reason.isEmpty ? "" : ": \(override.reason)")
            status.openedBy = override.actor
            status.since = MonotonicInstant(milliseconds: override.changedAt)
        } else if register.state != .closed {
            status.reason = register.reason.isEmpty ? nil : register.reason
            status.openedBy = register.origin
            if register.state == .open { status.retryAt = MonotonicInstant(milliseconds: register.retryAt) }
            status.probeHolder = register.leases.first?.host
            status.since = MonotonicInstant(milliseconds: register.changedAt)
        } else if case .ramping(let until) = seat.standing {
            let rest = Duration.milliseconds(max(0, until - now)).brief
            status.reason = "closed again: the hosts start one after the other, this one in \(rest)"
        }
        status.isOfHostAlone = isShared && register.state != .closed && !isDecidedByFleet(seat.name)
        if isShared, !isIsland {
            (status.votes, status.suspects) = (seat.tripped, seat.suspecting)
            status.quorum = Int(clamping: seat.policy.quorum(live: max(1, liveHosts), isSettled: true))
        }
        status.openings = register.openCount
        fillFigures(seat, &status, now)
        return status
    }

    private func fillFigures(_ seat: BreakerSeat, _ status: inout BreakerStatus, _ now: Int64) {
        var crashes = seat.crashes
        crashes.expire(now, window: seat.crashWindow)
        status.crashes = crashes.count
        status.counts = seat.counts
        guard var window = seat.calls else { return }
        let dependency = configured[seat.name] ?? DependencySpec(name: seat.name)
        window.advance(to: now)
        status.bufferedCalls = Int(window.total.calls)
        status.failureRate = window.failureRate(minimum: dependency.minimumNumberOfCalls)
        status.slowCallRate = window.slowCallRate(minimum: dependency.minimumNumberOfCalls)
    }

    func publicState(_ index: Int) -> BreakerPublicState {
        switch mode(index) {
        case .forceOpen: return .forcedOpen
        case .forceClosed: return .forcedClosed
        case .disabled: return .disabled
        case .metricsOnly: return .metricsOnly
        case .auto: break
        }
        return switch register(seats[index].name).state {
        case .closed: .closed
        case .halfOpen: .halfOpen
        case .open: .open
        }
    }
}
