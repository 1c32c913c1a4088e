// Probes: which are run, and what their results change. Readiness routes, liveness and startup never do; nothing here
// starts, stops or signals anything (rule I2), but for a startup probe that declares a start as done.
extension InstanceMachine {
    // MARK: Which are run

    /// Probes that the state wants.
    private var wantedProbes: [ProbeKind] {
        guard service != nil, memory.run?.pid != nil else { return [] }
        switch state {
        case .starting: return policy.startup == nil ? [] : [.startup]
        // What a drain covers is not judged any more; what our own probes would do to the count of connections, either.
        case .ready where isLeaving: return []
        case .ready:
            // Whether it lives is asked once it has been ready: before, its start is what is judged (rule I4).
            let kinds: [ProbeKind] = memory.run?.servingAt == nil ? [.readiness] : [.readiness, .liveness]
            return kinds.filter { policy.probe($0) != nil }
        // What is leaving is not judged any more: its end is under way.
        case .running, .stopping, .stopped, .waiting, .queued, .held, .backoff, .completed, .failed: return []
        }
    }

    /// Makes the probes that are run fit the state.
    mutating func fitProbes(_ turn: inout Turn) {
        if watched.isEmpty, policy.readiness == nil, policy.liveness == nil, policy.startup == nil { return }
        let wanted = wantedProbes
        for key in watched where key.generation != generation || !wanted.contains(key.kind) {
            turn.act(.unwatch(key))
            trackers[key.kind] = ProbeTracker()
        }
        watched = watched.filter { $0.generation == generation && wanted.contains($0.kind) }
        for kind in wanted where !watched.contains(where: { $0.kind == kind }) {
            guard let policy = policy.probe(kind) else { continue }
            let key = ProbeKey(instance: id, generation: generation, kind: kind)
            watched.append(key)
            turn.act(.watch(key, policy, firstAt: firstProbe(policy, &turn)))
        }
    }

    /// At a random phase: soon after a start, so that readiness is not kept waiting; over a whole period after a
    /// takeover, when all instances begin at once.
    private func firstProbe(_ policy: ProbePolicy, _ turn: inout Turn) -> MonotonicInstant {
        let isFresh = memory.run.map { turn.now.since($0.startedAt) < HealthLimits.firstProbeWithin } ?? true
        let spread = isFresh ? min(policy.period, HealthLimits.firstProbeWithin) : policy.period
        let phase = turn.generator.unit() * min(spread, HealthLimits.windowMost).inSeconds
        return turn.now.advanced(by: .nanoseconds(Int64(phase * 1e9)))
    }

    // MARK: What they find

    /// It fails in a way that may lead to a restart for health.
    var isInTrouble: Bool {
        guard service != nil, state == .ready || state == .running, let run = memory.run, run.servingAt != nil else {
            return false
        }
        return run.heartbeatLate || (run.livenessFailing && state == .ready)
    }

    /// How the states would change by the rows as they are.
    enum Change {
        case started, passes, fails, lives, liveFails
    }

    /// The change that a probe's row asks for; nil where there is none.
    func change(by kind: ProbeKind) -> Change? {
        guard let policy = policy.probe(kind), let run = memory.run else { return nil }
        let row = trackers[kind]
        switch kind {
        case .startup:
            if case .starting = state { return row.successes >= 1 ? .started : nil }
            return nil
        case .readiness:
            switch run.readiness ?? .pending {
            // The first success is enough (research: asymmetric start).
            case .pending: return row.successes >= 1 ? .passes : nil
            case .passing: return row.failures >= policy.failureThreshold ? .fails : nil
            case .failing: return row.successes >= policy.successThreshold ? .passes : nil
            }
        case .liveness:
            if run.livenessFailing { return row.successes >= policy.successThreshold ? .lives : nil }
            return row.failures >= policy.failureThreshold ? .liveFails : nil
        }
    }

    mutating func make(_ change: Change, _ turn: inout Turn) {
        memory.since = turn.now
        switch change {
        case .started: becomeReady(&turn)
        case .passes:
            memory.run?.readiness = .passing
            if memory.run?.servingAt == nil { return beginServing(&turn) }
            turn.note(id, "readiness", "\(id) passes its readiness probe again")
        case .fails:
            memory.run?.readiness = .failing
            turn.note(id, "readiness", "\(id) fails its readiness probe: \(trackers.readiness.failureInFull)")
            countFlap(&turn)
        case .lives:
            memory.run?.livenessFailing = false
            turn.note(id, "liveness", "\(id) passes its liveness probe again")
        case .liveFails:
            memory.run?.livenessFailing = true
            memory.lastTroubleAt = turn.now
            turn.note(id, "liveness", "\(id) fails its liveness probe: \(trackers.liveness.failureInFull)")
        }
    }

    private mutating func countFlap(_ turn: inout Turn) {
        var flaps = memory.flaps ?? FlapDamper(updatedAt: turn.now)
        let wasHeld = flaps.isHeld
        flaps.flapped(at: turn.now)
        memory.flaps = flaps
        if flaps.isHeld, !wasHeld { turn.note(id, "flapping", "\(id) is flapping and is held (I8)") }
    }

    /// Rule I8: held no longer, once it has been steady for long enough.
    mutating func flapReleased(_ turn: inout Turn) {
        guard var flaps = memory.flaps, flaps.isHeld else { return }
        flaps.settle(at: turn.now)
        memory.flaps = flaps
        if flaps.isHeld { return }
        turn.note(id, "steady", "\(id) is no longer flapping")
    }

    /// It should have passed its readiness probe by now. It is kept: readiness never stops anything (rule I2).
    mutating func readinessTimedOut(_ turn: inout Turn) {
        guard state == .ready, memory.run?.servingAt == nil else { return }
        memory.since = turn.now
        memory.run?.readinessOverdue = true
        memory.firstAttemptOver = true
        let found = trackers.readiness.hindrance
        turn.note(
            id,
            "readiness",
            "\(id) has not passed its readiness probe within \(policy.startupTimeout.brief); it is kept running"
                + (found.isEmpty ? "" : ": \(found)")
        )
    }

    /// No heartbeat for longer than allowed.
    mutating func heartbeatIsLate(_ turn: inout Turn) {
        lookedAt = turn.now
        if memory.run?.heartbeatLate == true { return }
        memory.since = turn.now
        memory.run?.heartbeatLate = true
        if memory.run?.servingAt != nil { memory.lastTroubleAt = turn.now }
        turn.note(id, "watchdog", "\(id) gives no heartbeat")
    }

    /// Evidence, independent of what a probe holds against it, that it lives (rule I3).
    var hasFreshHeartbeat: Bool {
        state == .ready && watchdogPeriod != nil && memory.run?.heartbeatLate == false
    }
}

// What users see of the probes.
extension InstanceMachine {
    /// Why a probe has not been run for as long as it takes to call a worker failed; nil while they are run.
    var obstacleToProbes: String? {
        for key in watched {
            guard let policy = policy.probe(key.kind) else { continue }
            let row = trackers[key.kind]
            if row.unknowns >= policy.failureThreshold { return row.obstacleText }
        }
        return nil
    }

    var checks: [CheckStatus] {
        watched.map { key in
            let row = trackers[key.kind]
            return CheckStatus(
                kind: key.kind,
                state: state(of: key.kind),
                failures: row.failures,
                failingSince: row.failingSince,
                text: row.failures > 0 ? row.failureInFull : "",
                obstacle: row.unknowns > 0 ? row.obstacleText : nil
            )
        }
    }

    private func state(of kind: ProbeKind) -> CheckStatus.State {
        switch kind {
        case .startup: .pending
        case .readiness:
            switch memory.run?.readiness {
            case .pending?, nil: .pending
            case .passing?: .passing
            case .failing?: .failing
            }
        case .liveness: memory.run?.livenessFailing == true ? .failing : .passing
        }
    }
}
