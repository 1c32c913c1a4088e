import SupervisorCore

// Probes and what they make of readiness and liveness: rules I6, I8 and I9.
extension Checker {
    var isFrozen: Bool { now < frozenUntil }

    /// Notes what the result must lead to. Rule I6: an unknown one, to nothing.
    mutating func probed(_ key: ProbeKey, _ outcome: ProbeOutcome) {
        guard let slot = slotOf[key.instance], entries[slot].spec != nil, var row = entries[slot].row(key.kind),
            row.key == key
        else {
            tally.count(.staleProbeDropped)
            return
        }
        switch outcome {
        case .success:
            row.successes += 1
            row.failures = 0
            row.lastSuccess = now
        case .failure:
            if row.failures == 0 { row.failingSince = now }
            row.failures += 1
            row.successes = 0
        case .unknown(let obstacle, _):
            tally.count(Self.exercise(obstacle))
            let run = entries[slot].record?.run
            entries[slot].expectedReadiness = key.kind == .readiness ? run?.readiness : nil
            entries[slot].expectedLivenessFailing = key.kind == .liveness ? run?.livenessFailing : nil
            return
        }
        entries[slot].set(key.kind, row)
        if key.kind == .liveness, row.failures > 0 { entries[slot].livenessFailedAt = now }
        if row.failures == 1, key.kind != .startup || row.successes == 0 { freezeIfImpossible() }
        expect(slot, key.kind, row)
    }

    private static func exercise(_ obstacle: ProbeObstacle) -> Exercise {
        switch obstacle {
        case .spawn: .unknownSpawn
        case .resources: .unknownResources
        case .busy: .unknownBusy
        case .name: .unknownName
        }
    }

    private mutating func expect(_ slot: Int, _ kind: ProbeKind, _ row: Row) {
        guard let run = entries[slot].record?.run else { return }
        switch kind {
        case .startup: break
        case .readiness:
            let present = run.readiness ?? .pending
            entries[slot].expectedReadiness = present
            switch present {
            case .pending: if row.successes >= 1 { entries[slot].expectedReadiness = .passing }
            case .passing where !isFrozen:
                if row.failures >= row.policy.failureThreshold { entries[slot].expectedReadiness = .failing }
            case .failing where !isFrozen || run.servingAt == nil:
                if row.successes >= row.policy.successThreshold { entries[slot].expectedReadiness = .passing }
            case .passing, .failing: break
            }
        case .liveness:
            var failing = run.livenessFailing
            if !isFrozen {
                if failing {
                    if row.successes >= row.policy.successThreshold { failing = false }
                } else if row.failures >= row.policy.failureThreshold {
                    failing = true
                }
            }
            entries[slot].expectedLivenessFailing = failing
        }
    }

    /// What was remembered is what the results ask for, no more and no less.
    mutating func checkExpectations(_ key: ProbeKey) throws {
        guard let slot = slotOf[key.instance] else { return }
        defer {
            entries[slot].expectedReadiness = nil
            entries[slot].expectedLivenessFailing = nil
        }
        // At the very moment at which a freeze ends, either is right.
        if now == frozenUntil { return }
        guard let record = entries[slot].record, case .ready = record.state, let run = record.run else { return }
        if let expected = entries[slot].expectedReadiness, (run.readiness ?? .pending) != expected {
            let rule = isFrozen ? "I9" : "probes"
            throw ShadowViolation(
                "\(rule): the readiness of \(key.instance) is \(run.readiness as Any), not \(expected)"
            )
        }
        if let expected = entries[slot].expectedLivenessFailing, run.livenessFailing != expected {
            throw ShadowViolation(
                "\(isFrozen ? "I9" : "probes"): livenessFailing of \(key.instance) is not \(expected)"
            )
        }
    }

    // MARK: I9

    mutating func disturbed(_ disturbance: Disturbance) {
        switch disturbance {
        case .clockJumped: tally.count(.frozenByClock)
        case .loopStalled: tally.count(.frozenByLoop)
        case .checkerStalled: tally.count(.frozenByChecker)
        }
        frozenUntil = max(frozenUntil, now + window)
    }

    private mutating func freezeIfImpossible() {
        var checks = 0
        var first = -1
        var services = 0
        for entry in entries where entry.spec != nil {
            for row in [entry.readiness, entry.liveness] {
                guard let row, let last = row.lastSuccess else { continue }
                let period = row.policy.period.clampedNanoseconds
                let time = period * Int64(row.policy.failureThreshold) + row.policy.timeout.clampedNanoseconds
                let recent = now - last <= min(60_000_000_000, time) + period
                if row.failures == 0 || !recent { return }
                checks += 1
                if services == 0 { (first, services) = (entry.service, 1) }
                if entry.service != first { services = 2 }
            }
        }
        if checks >= 4, services >= 2 { frozenUntil = max(frozenUntil, now + window) }
    }

    // MARK: I8

    /// 2 to the power of minus `halfLives`, by the series of the exponential function.
    static func halved(_ halfLives: Double) -> Double {
        if halfLives > 60 { return 0 }
        var whole = 0
        while Double(whole + 1) <= halfLives { whole += 1 }
        let exponent = -(halfLives - Double(whole)) * 0.693_147_180_559_945_3
        var term = 1.0
        var sum = 1.0
        for step in 1...18 {
            term *= exponent / Double(step)
            sum += term
        }
        for _ in 0..<whole { sum /= 2 }
        return sum
    }

    func penalty(_ slot: Int) -> Double {
        entries[slot].penalty * Self.halved(Double(now - entries[slot].penaltyAt) / 300e9)
    }

    mutating func checkFlaps(_ slot: Int, _ old: RememberedInstance?, _ new: RememberedInstance) throws {
        if old?.run?.readiness == .passing, new.run?.readiness == .failing, old?.generation == new.generation {
            tally.count(.readinessFailed)
            entries[slot].penalty = min(6_000, penalty(slot) + 1_000)
            entries[slot].penaltyAt = now
            if entries[slot].penalty > 2_500, !entries[slot].isHeld {
                entries[slot].isHeld = true
                tally.count(.flapHeld)
            }
        }
        let isHeld = new.flaps?.isHeld ?? false
        if entries[slot].isHeld, !isHeld {
            if penalty(slot) >= 750 { throw ShadowViolation("I8: \(entries[slot].id) is released at \(penalty(slot))") }
            entries[slot].isHeld = false
            tally.count(.flapReleased)
        }
        if isHeld != entries[slot].isHeld {
            throw ShadowViolation("I8: \(entries[slot].id) is \(isHeld ? "" : "not ")held at \(penalty(slot))")
        }
        // The two compute it in different ways.
        if let flaps = new.flaps, abs(flaps.penalty(at: MonotonicInstant(nanoseconds: now)) - penalty(slot)) > 0.5 {
            throw ShadowViolation("I8: the penalty of \(entries[slot].id) is \(flaps.penalty), not \(penalty(slot))")
        }
    }
}
