import SupervisorCore

// Restarts for health: rules I3, I4 and I5, from the checker's own evidence.
extension Checker {
    // MARK: Trouble

    mutating func noteTrouble(
        _ slot: Int,
        _ old: RememberedInstance?,
        _ new: RememberedInstance,
        _ wasInTrouble: Bool
    ) throws {
        let isSameRun = old?.generation == new.generation
        let wasLate = isSameRun && old?.run?.heartbeatLate == true
        let wasFailing = isSameRun && old?.run?.livenessFailing == true
        let isLate = new.run?.heartbeatLate == true && !wasLate
        let isFailing = new.run?.livenessFailing == true && !wasFailing
        if isLate { try checkLateness(slot, new) }
        let serves = new.run?.servingAt != nil
        let servesLate = serves && isSameRun && old?.run?.servingAt == nil && new.run?.heartbeatLate == true
        if serves && (isLate || isFailing) || servesLate { entries[slot].troubleAt = now }
        if !entries[slot].inTrouble { entries[slot].pressureSince = nil }
        if !wasInTrouble, entries[slot].inTrouble { correlate() }
    }

    private func checkLateness(_ slot: Int, _ new: RememberedInstance) throws {
        if isFrozen {
            throw ShadowViolation("I9: the heartbeat of \(entries[slot].id) is late while states stand still")
        }
        guard let run = new.run, let period = period(slot, run), entries[slot].triggeredAt != now else { return }
        if now - entries[slot].beatAt < period {
            throw ShadowViolation("I4: the heartbeat of \(entries[slot].id) is late before its time")
        }
    }

    private mutating func correlate() {
        if hold != nil { return }
        var failing = 0
        var isWhole = false
        for position in spec.services.indices {
            var wanted = 0
            var failed = 0
            for entry in entries where entry.service == position && entry.record?.stopIntent == nil {
                wanted += 1
                if let at = entry.troubleAt, now - at < 60_000_000_000 { failed += 1 }
            }
            if failed > 0 { failing += 1 }
            if failed >= 2, failed == wanted { isWhole = true }
        }
        if failing >= 2 || isWhole {
            hold = Hold(since: now)
            tally.count(.holdBegan)
        }
    }

    /// Since when nothing fails while a hold is on.
    mutating func fitHold() {
        guard let present = hold else { return }
        let isCalm = !entries.contains { $0.inTrouble }
        if isCalm == (present.calmSince != nil) { return }
        hold?.calmSince = isCalm ? now : nil
    }

    /// The core says that the hold is over.
    mutating func endHold() throws {
        guard let calm = hold?.calmSince, now >= calm + 120_000_000_000 else {
            throw ShadowViolation("I5: the hold ends, and nothing has been calm for 2 min")
        }
        hold = nil
        tally.count(.holdEnded)
    }

    // MARK: One restart

    mutating func checkHealthRestart(_ slot: Int, _ cause: ExitCause, _ old: RememberedInstance?) throws {
        let entry = entries[slot]
        let name = entry.id
        guard let spec = entry.spec, let old, let run = old.run else {
            throw ShadowViolation("I4: \(name) is restarted for health, but has no run")
        }
        if spec.liveness.action == .report { throw ShadowViolation("report: \(name) is restarted for health") }
        if spec.restart.policy == .never { throw ShadowViolation("report: \(name) would not come back") }
        if isFrozen { throw ShadowViolation("I9: \(name) is restarted for health while states stand still") }
        guard turnIsPressure else { throw ShadowViolation("pressure: nobody looked before \(name) was restarted") }
        if let shortage = pressure?.shortage, entry.pressureSince.map({ now - $0 < 600_000_000_000 }) ?? true {
            throw ShadowViolation("pressure: \(name) is restarted, but \(shortage)")
        }
        guard let servingAt = run.servingAt?.nanoseconds, now - servingAt >= 60_000_000_000 else {
            throw ShadowViolation("I4: \(name) is restarted within 60 s of its readiness")
        }
        try checkEvidence(slot, run)
        try checkLast(slot, run)
        try checkBudget(slot)
        try checkHold(slot)
        restarts.append((name.service, now))
        entries[slot].restarted = old.generation
        tally.count(cause == .watchdog ? .restartByHeartbeat : .restartByLiveness)
    }

    /// The heartbeat's period; nil where none is asked for.
    private func period(_ slot: Int, _ run: RememberedInstance.Run) -> Int64? {
        let period = (run.watchdog ?? entries[slot].spec?.liveness.watchdog)?.clampedNanoseconds ?? 0
        return period > 0 ? period : nil
    }

    private func checkEvidence(_ slot: Int, _ run: RememberedInstance.Run) throws {
        let entry = entries[slot]
        if let at = entry.troubleAt, now - at < 10_000_000_000 {
            throw ShadowViolation("I4: \(entry.id) is restarted within 10 s of its trouble")
        }
        if let row = entry.liveness, row.failures >= 3, now - row.failingSince >= 30_000_000_000 { return }
        if let period = period(slot, run), now - entry.beatAt >= max(period, 30_000_000_000) { return }
        let row = entry.liveness
        throw ShadowViolation(
            "I4: \(entry.id) is restarted, but its liveness failed \(row?.failures ?? 0) times in a row, and its last "
                + "heartbeat is \(Duration.nanoseconds(now - entry.beatAt).brief) old"
        )
    }

    /// Rule I3: by evidence that does not depend on what is held against it.
    private func checkLast(_ slot: Int, _ run: RememberedInstance.Run) throws {
        guard isFresh(slot) else { return }
        let service = entries[slot].service
        let other = entries.indices.contains { $0 != slot && entries[$0].service == service && isFresh($0) }
        if !other {
            throw ShadowViolation("I3: \(entries[slot].id), the last one with a fresh heartbeat, is stopped for health")
        }
    }

    private func isFresh(_ slot: Int) -> Bool {
        let entry = entries[slot]
        // The one that is being stopped is looked at as it was before.
        guard let record = entry.record, let run = record.run else { return false }
        switch record.state {
        case .ready: break
        case .stopping(let stop) where stop.cause == .liveness || stop.cause == .watchdog:
            if entry.restarted == record.generation { return false }
        default: return false
        }
        guard let period = period(slot, run) else { return false }
        return !run.heartbeatLate && now - entry.beatAt <= 2 * period
    }

    private func checkBudget(_ slot: Int) throws {
        let name = entries[slot].id
        let recent = restarts.filter { now - $0.at < 600_000_000_000 }
        if recent.count >= 3 { throw ShadowViolation("I4: \(name) is the fourth restart on the node in 10 min") }
        if recent.contains(where: { $0.service == name.service }) {
            throw ShadowViolation("I4: \(name.service) is restarted for health twice within 10 min")
        }
        for other in entries where other.restarted != nil && other.spec != nil {
            throw ShadowViolation("I4: \(name) is restarted while \(other.id) is")
        }
    }

    /// The restart has come to something: its successor is ready, has had its time, or has come to nothing.
    mutating func settleRestart(_ slot: Int, _ generation: Generation, _ new: RememberedInstance) {
        if let run = new.run, new.generation > generation {
            if run.servingAt != nil || run.readinessOverdue { return entries[slot].restarted = nil }
            // It ends before it was ready.
            if case .stopping = new.state { return entries[slot].restarted = nil }
        }
        switch new.state {
        case .stopped, .failed, .completed, .waiting, .held: entries[slot].restarted = nil
        // Its successor ended, or could not be started.
        case .backoff, .queued: if new.generation > generation { entries[slot].restarted = nil }
        case .starting, .ready, .running, .stopping: break
        }
    }

    // MARK: I5

    private mutating func checkHold(_ slot: Int) throws {
        guard let present = hold else { return }
        var due = present.since + 600_000_000_000
        if let other = present.experiment, let at = present.experimentAt {
            due = at + 600_000_000_000
            let entry = entries[other]
            if entry.kind == .ready, !entry.inTrouble, let serving = entry.record?.run?.servingAt?.nanoseconds,
                serving >= at
            {
                due = min(due, serving + 120_000_000_000)
            }
        }
        if now < due {
            throw ShadowViolation("I5: \(entries[slot].id) is restarted in a hold, with no experiment due")
        }
        tally.count(.experiment)
        hold?.experiment = slot
        hold?.experimentAt = now
    }
}
