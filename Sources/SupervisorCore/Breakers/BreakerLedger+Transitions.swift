// The edges of a breaker, each in one place (research/circuit-breakers.md §5.3).
extension BreakerLedger {
    /// Writes a transition: a new epoch, by a clock that never goes back.
    private mutating func write(_ name: String, _ register: BreakerRegister, _ step: inout LedgerStep) {
        var written = register
        written.epoch = max(registers[name]?.epoch ?? 0, step.now) + 1
        written.origin = step.caller.host
        written.changedAt = step.now
        registers[name] = written
        note(name, &step)
    }

    /// Any → open, with the wait and the count that `register` has.
    mutating func reopen(_ name: String, _ register: BreakerRegister, _ step: inout LedgerStep) {
        var opened = register
        opened.state = .open
        opened.retryAt = step.now + register.wait
        opened.deadline = 0
        opened.span = 0
        opened.leases = []
        write(name, opened, &step)
    }

    /// Any → closed: what hosts said of it before counts no more.
    mutating func close(_ name: String, keeping openCount: Int64, _ reason: String, _ step: inout LedgerStep) {
        var closed = BreakerRegister()
        closed.openCount = openCount
        closed.reason = Self.bounded(reason)
        votes[name] = nil
        write(name, closed, &step)
    }

    /// Ends what the clock has ended: leases, and a round that takes too long (edge T7).
    mutating func tick(_ name: String, _ step: inout LedgerStep) {
        guard var register = registers[name] else { return }
        // The clock may have been set back: nothing waits longer than it may.
        register.changedAt = min(register.changedAt, step.now)
        if register.state == .open { register.retryAt = min(register.retryAt, step.now + register.wait) }
        if register.state == .halfOpen { register.deadline = min(register.deadline, step.now + register.span) }
        for index in register.leases.indices {
            let latest = step.now + register.leases[index].span
            register.leases[index].expiresAt = min(register.leases[index].expiresAt, latest)
        }
        let held = register.leases.count
        register.leases.removeAll { $0.expiresAt <= step.now }
        register.inconclusive += Int64(held - register.leases.count)
        registers[name] = register
        if held != register.leases.count {
            note(name, &step)
        }
        if register.state == .halfOpen, step.now >= register.deadline {
            register.reason = Self.bounded("no probe came to an end in time; \(register.reason)")
            reopen(name, register, &step)
        }
    }

    /// Edge T7: too many probes without a verdict.
    mutating func endRound(_ name: String, limit: Int64, _ step: inout LedgerStep) {
        guard let register = registers[name], register.state == .halfOpen, register.leases.isEmpty,
            register.inconclusive >= limit
        else { return }
        reopen(name, register, &step)
    }

    /// Edges T2 and T3.
    mutating func lease(_ name: String, _ policy: LedgerPolicy, draw: Int64, _ step: inout LedgerStep) -> LedgerVerdict
    {
        guard var register = registers[name], register.state != .closed else { return .denied(.closed) }
        if overrides[name]?.mode == .forceOpen { return .denied(.forced) }
        if let mine = register.leases.firstIndex(where: { $0.host == step.caller.host }) {
            let lease = register.leases[mine]
            // Its answer was lost: it is told again.
            if lease.incarnation == step.caller.incarnation {
                register.leases[mine].expiresAt = step.now + lease.span
                registers[name] = register
                return .granted(token: lease.token, span: lease.span)
            }
            // The daemon that had it is gone.
            register.leases.remove(at: mine)
            register.inconclusive += 1
        }
        if register.state == .open {
            if step.now < register.retryAt { return .denied(.waiting) }
            let others = live(step.now) - (isLive(step.caller.host, step.now) ? 1 : 0)
            if register.lastFailed == step.caller.host, others > 0,
                step.now < register.retryAt + LedgerLimits.othersFirst
            {
                return .denied(.othersFirst)
            }
            register.state = .halfOpen
            register.deadline = step.now + policy.halfOpenMaximum
            register.span = policy.halfOpenMaximum
            (register.granted, register.succeeded, register.failed) = (0, 0, 0)
            (register.slow, register.inconclusive) = (0, 0)
        }
        let taken = register.succeeded + register.failed + Int64(register.leases.count)
        if Int64(register.leases.count) >= policy.concurrentProbes || taken >= policy.permitted {
            registers[name] = register
            return .denied(.full)
        }
        register.granted += 1
        let token = max(registers[name]?.epoch ?? 0, step.now) + 1
        register.leases.append(
            BreakerLease(
                token: token,
                host: step.caller.host,
                incarnation: step.caller.incarnation,
                expiresAt: step.now + policy.leaseSpan,
                span: policy.leaseSpan
            )
        )
        write(name, register, &step)
        return .granted(token: token, span: policy.leaseSpan)
    }

    private func lease(_ name: String, _ token: Int64, _ step: LedgerStep) -> Int? {
        registers[name]?.leases.firstIndex {
            $0.token == token && $0.host == step.caller.host && $0.incarnation == step.caller.incarnation
        }
    }

    /// Edge T4. What has lapsed, `tick` has removed.
    mutating func renew(_ name: String, _ token: Int64, _ step: LedgerStep) -> LedgerVerdict {
        guard let index = lease(name, token, step), let span = registers[name]?.leases[index].span else {
            return .stale
        }
        registers[name]?.leases[index].expiresAt = step.now + span
        return .granted(token: token, span: span)
    }

    /// Edges T5, T6 and T7, by what a probe found. Only the holder of a lease that has not lapsed is heard.
    mutating func result(
        _ name: String,
        _ token: Int64,
        _ verdict: ProbeVerdict,
        _ reason: String,
        _ policy: LedgerPolicy,
        draw: Int64,
        _ step: inout LedgerStep
    ) -> LedgerVerdict {
        guard let index = lease(name, token, step), var register = registers[name] else { return .stale }
        register.leases.remove(at: index)
        switch verdict {
        case .succeeded: register.succeeded += 1
        case .slow:
            register.succeeded += 1
            register.slow += 1
        case .failed:
            register.failed += 1
            register.lastFailed = step.caller.host
        case .inconclusive: register.inconclusive += 1
        }
        registers[name] = register
        note(name, &step)
        let isTooSlow = register.slow * 1_000 >= policy.slowRate * max(1, register.succeeded + register.failed)
        if register.succeeded >= policy.successThreshold, !isTooSlow {
            close(name, keeping: register.openCount, "a probe on \(step.caller.host) succeeded", &step)
        } else if register.succeeded >= policy.successThreshold || register.permitsNoSuccess(policy) {
            register.openCount += 1
            register.wait = policy.wait(openCount: register.openCount, draw: draw)
            let how = verdict == .failed ? "failed" : "was slow"
            register.reason = Self.bounded("the probe on \(step.caller.host) \(how): \(reason)")
            reopen(name, register, &step)
        } else {
            endRound(name, limit: policy.inconclusiveLimit, &step)
        }
        return .done
    }
}

extension BreakerRegister {
    /// What may still succeed in this round is not enough to close it.
    fileprivate func permitsNoSuccess(_ policy: LedgerPolicy) -> Bool {
        policy.permitted - failed < policy.successThreshold
    }
}
