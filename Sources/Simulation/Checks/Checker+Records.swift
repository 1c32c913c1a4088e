package import SupervisorCore

// What is remembered of an instance, and what may have become of it: rules P3, P5, I7, and the documented successors.
extension Checker {
    mutating func remembered(_ slot: Int, _ new: RememberedInstance) throws {
        let old = entries[slot].record
        let from = entries[slot].kind
        let to = StateKind(new.state)
        let wasInTrouble = entries[slot].inTrouble
        if from != to {
            // One that runs may have become a oneshot by another configuration.
            let hasCompleted = to == .completed && entries[slot].spec?.kind == .oneshot && from.hasProcess
            if !from.mayBecome(to), !isCatchingUp, !hasCompleted, !(old == nil && isTakingOver) {
                throw ShadowViolation("\(entries[slot].id) went from \(from) to \(to), which is not documented")
            }
            if from.mayBecome(to) { tally.count(from, to) }
            starting += (to == .starting ? 1 : 0) - (from == .starting ? 1 : 0)
        }
        entries[slot].record = new
        try checkBounds(slot, from, to)
        if isCatchingUp { return }
        try checkFlaps(slot, old, new)
        if from != to || old?.generation != new.generation { try stateChanged(slot, old, new) }
        try noteTrouble(slot, old, new, wasInTrouble)
        if new.run?.readinessOverdue == true, old?.run?.readinessOverdue != true { tally.count(.readinessOverdue) }
        if let overdue = entries[slot].restarted { settleRestart(slot, overdue, new) }
    }

    private mutating func checkBounds(_ slot: Int, _ from: StateKind, _ to: StateKind) throws {
        let limit = max(1, spec.limits.concurrentStarts)
        if starting > limit, to == .starting, from != .starting, !isTakingOver, !isCatchingUp {
            throw ShadowViolation("I7: \(starting) are starting at once, not \(limit)")
        }
        if starting == limit { tally.count(.startPlacesFull) }
        if shuttingDown, to == .starting, from != .starting, !isTakingOver {
            throw ShadowViolation("P5: \(entries[slot].id) is started while the fleet is being stopped")
        }
    }

    private mutating func stateChanged(_ slot: Int, _ old: RememberedInstance?, _ new: RememberedInstance) throws {
        switch new.state {
        case .ready:
            if case .starting? = old?.state { entries[slot].beatAt = now }
            // What nobody remembers is given a new period too.
            if old == nil { entries[slot].beatAt = now }
        case .backoff(let until):
            tally.count(.backoff)
            try checkBackoff(slot, until.nanoseconds - now, old, new)
        case .stopping(let stop):
            let isForHealth = stop.cause == .watchdog || stop.cause == .liveness
            var wasStopping = false
            if case .stopping? = old?.state { wasStopping = true }
            if isForHealth, !wasStopping { try checkHealthRestart(slot, stop.cause, old) }
        case .failed:
            if entries[slot].spec?.restart.policy == .always {
                throw ShadowViolation("I7: \(entries[slot].id) is given up")
            }
        case .stopped(.finished):
            if entries[slot].spec?.restart.policy == .always {
                throw ShadowViolation("I7: \(entries[slot].id) is not started again")
            }
        case .stopped, .waiting, .queued, .held, .starting, .running, .completed: break
        }
    }

    /// Rule I7: the delay grows with each crash in a row, within the jitter, up to its maximum.
    private func checkBackoff(
        _ slot: Int,
        _ delay: Int64,
        _ old: RememberedInstance?,
        _ new: RememberedInstance
    ) throws {
        guard let restart = entries[slot].spec?.restart else { return }
        let before = old?.crashes ?? 0
        if new.crashes != before + 1, new.crashes != 0 {
            throw ShadowViolation("I7: the crashes of \(entries[slot].id) went from \(before) to \(new.crashes)")
        }
        var middle = restart.backoffInitial.inSeconds
        let most = restart.backoffMax.inSeconds
        for _ in 1..<max(2, min(new.crashes, 64)) where new.crashes > 1 {
            middle = min(most, middle * restart.backoffMultiplier)
        }
        middle = min(most, middle)
        let seconds = Double(delay) / 1e9
        let least = middle * (1 - restart.backoffJitter) - 0.001
        if seconds < least || seconds > middle * (1 + restart.backoffJitter) + 0.001 {
            throw ShadowViolation(
                "I7: \(entries[slot].id) waits \(seconds) s after \(new.crashes) crashes, not about \(middle) s"
            )
        }
    }

    // MARK: P3

    /// No instance is wanted and idle without a timer, a process or a reason. `timers` are the daemon's.
    package func checkReasons(_ timers: ShadowTimers, shimPresent: Bool) throws {
        for slot in entries.indices {
            let entry = entries[slot]
            guard let record = entry.record else { continue }
            let armed = timers.timer(of: entry.id)
            let expected: TimerToken.Purpose? =
                switch record.state {
                case .starting: .startTimeout
                case .backoff: .backoff
                case .stopping(let stop): stop.graceEnds == nil ? nil : .gracePeriod
                default: nil
                }
            if let expected, armed?.token.purpose != expected {
                throw ShadowViolation("P3: \(entry.id) is \(entry.kind), but \(armed as Any) runs")
            }
            if record.state.hasProcess != (record.run != nil) {
                throw ShadowViolation("P3: \(entry.id) is \(entry.kind) without a run")
            }
            if shimPresent, !shuttingDown { try checkWait(entry, record) }
        }
    }

    private func checkWait(_ entry: Entry, _ record: RememberedInstance) throws {
        switch record.state {
        case .queued where starting < max(1, spec.limits.concurrentStarts):
            throw ShadowViolation("P3: \(entry.id) is queued though a place is free")
        case .waiting where entry.spec != nil && !isBlocked(entry):
            throw ShadowViolation("P3: \(entry.id) waits for nothing")
        case .stopped(.drained) where !drains.contains(where: { $0.covers(entry.id) }):
            throw ShadowViolation("P3: \(entry.id) is drained by nobody")
        case .stopped(.intent) where record.stopIntent == nil && entry.spec != nil:
            throw ShadowViolation("P3: \(entry.id) is stopped by nobody")
        default: break
        }
    }

    /// A service of its `after` has served nobody yet, and is meant to run.
    func isBlocked(_ entry: Entry) -> Bool {
        for name in entry.spec?.after ?? [] {
            let others = entries.filter { $0.spec != nil && $0.id.service == name }
            let serves = others.contains { other in
                switch other.kind {
                case .completed: true
                case .ready, .running: other.record?.run?.servingAt != nil
                default: false
                }
            }
            if !serves, !others.allSatisfy({ $0.kind == .stopped }) { return true }
        }
        return false
    }

    /// Bytes of all that is remembered (rules P7, P9).
    package func checkSizes(_ memory: [InstanceID: RememberedInstance], _ node: RememberedNode?) throws {
        for entry in entries {
            guard let record = memory[entry.id] else { continue }
            let size = record.encoded().count
            if size > 2_048 { throw ShadowViolation("P9: \(size) bytes are remembered of \(entry.id)") }
        }
        if let node, node.encoded().count > 8_192 {
            throw ShadowViolation("P9: \(node.encoded().count) bytes are remembered of the node")
        }
        if memory.count > entries.count { throw ShadowViolation("P9: \(memory.count) instances are remembered") }
    }
}
