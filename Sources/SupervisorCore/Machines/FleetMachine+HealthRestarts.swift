// Restarts for health: heartbeats that stop, liveness probes that fail. One door, and every rule before it (I3–I6).
extension FleetMachine {
    // MARK: Heartbeats

    mutating func watchdogExpired(_ slot: Int, _ turn: inout Turn) {
        guard instances[slot].state == .ready || instances[slot].state == .running,
            let due = instances[slot].deadline, due.purpose == .watchdog
        else { return update(slot: slot, &turn) { _, _ in } }
        if turn.now < due.at {
            // Heartbeats moved the deadline while the timer ran.
            return update(slot: slot, &turn) { _, _ in }
        }
        if let freeze, instances[slot].memory.run?.heartbeatLate != true {
            // It gets the rest of the window: that we heard nothing may be our own fault.
            suppressRestart(slot, .i9, "its heartbeat is late, but states stand still: \(freeze.text) (I9)", &turn)
            update(slot: slot, &turn) { machine, _ in
                let period = machine.watchdogPeriod ?? .zero
                machine.lastHeartbeat = max(machine.lastHeartbeat, freeze.until.advanced(by: .zero - period))
            }
            return
        }
        update(slot: slot, &turn) { $0.heartbeatIsLate(&$1) }
        considerHealthRestart(slot, &turn)
    }

    /// The worker itself says that it is broken: it is late at once, but the silence that leads to a restart is
    /// counted from its last heartbeat, as for any other (rule I4). While states stand still it is not believed: where
    /// it means it, its heartbeats stay away.
    mutating func watchdogTriggered(_ id: InstanceID, _ generation: Generation, _ turn: inout Turn) {
        guard let slot = slotOf[id], instances[slot].generation == generation,
            instances[slot].state == .ready || instances[slot].state == .running, instances[slot].watchdogPeriod != nil
        else { return }
        if let freeze, instances[slot].memory.run?.heartbeatLate != true {
            let text = "it says that it is broken, but states stand still: \(freeze.text) (I9)"
            return suppressRestart(slot, .i9, text, &turn)
        }
        update(slot: slot, &turn) { $0.heartbeatIsLate(&$1) }
        considerHealthRestart(slot, &turn)
    }

    // MARK: The door

    /// An instance has just shown again that it is in trouble: restart it, or say why not.
    mutating func considerHealthRestart(_ slot: Int, _ turn: inout Turn) {
        guard instances[slot].isInTrouble else { return }
        if let (rule, text) = obstacleToHealthRestart(slot, turn.now) {
            return suppressRestart(slot, rule, text, &turn)
        }
        // Last of all, since it is the shell that has to look.
        if pressureAskedFor.contains(slot) { return }
        pressureAskedFor.append(slot)
        turn.act(.measurePressure)
    }

    mutating func pressureMeasured(_ reading: PressureReading?, _ turn: inout Turn) {
        let asked = pressureAskedFor
        pressureAskedFor = []
        for slot in asked where instances[slot].isInTrouble {
            if let (rule, text) = obstacleToHealthRestart(slot, turn.now) {
                suppressRestart(slot, rule, text, &turn)
            } else if let shortage = reading?.shortage, !hasWaitedForPressure(slot, turn.now) {
                suppressRestart(slot, .pressure, shortage, &turn)
            } else {
                restartForHealth(slot, &turn)
            }
        }
    }

    /// It may itself be what the host is short by: after a while it is restarted all the same.
    private func hasWaitedForPressure(_ slot: Int, _ now: MonotonicInstant) -> Bool {
        guard let waits = instances[slot].restartSuppressed, waits.rule == .pressure else { return false }
        return now.since(waits.since) >= HealthLimits.pressurePatience
    }

    private mutating func restartForHealth(_ slot: Int, _ turn: inout Turn) {
        let instance = instances[slot]
        let cause: ExitCause = instance.memory.run?.heartbeatLate == true ? .watchdog : .liveness
        node.healthRestarts.append(HealthRestart(service: instance.id.service, at: turn.now))
        if node.hold != nil {
            node.hold?.experiment = instance.id
            node.hold?.experimentAt = turn.now
        }
        turn.act(.rememberNode(node))
        let text = cause == .watchdog ? "gives no heartbeat" : "fails its liveness probe"
        turn.note(
            instance.id,
            cause.rawValue,
            "\(instance.id) \(text) and is restarted" + (node.hold == nil ? "" : " to see whether that helps (I5)")
        )
        update(slot: slot, &turn) { machine, turn in
            machine.restartSuppressed = nil
            machine.requestStop(cause: cause, signal: cause == .watchdog ? .abort : nil, &turn)
        }
    }

    // MARK: The rules

    /// Why a restart for health must not happen now; nil when it may. Dependencies and breakers are no part of it (I6).
    private mutating func obstacleToHealthRestart(
        _ slot: Int,
        _ now: MonotonicInstant
    ) -> (SuppressionRule, String)? {
        if instances[slot].isLeaving { return (.drain, "it is being drained") }
        if let service = instances[slot].service, instances[slot].id.index >= services[service].replicas {
            return (.drain, "it is an extra one, for as long as a rolling restart lasts")
        }
        let policy = instances[slot].policy
        if policy.livenessAction == .report { return (.report, "liveness.action is report") }
        if policy.restart.policy == .never { return (.report, "restart.policy is never: it would not come back") }
        if let text = isTooEarly(instances[slot], now) { return (.i4, text) }
        if let freeze { return (.i9, "states stand still: \(freeze.text) (I9)") }
        if let text = hold(now) { return (.i5, text) }
        if isLastWithHeartbeat(slot) { return (.i3, "it is the last one of its service with a fresh heartbeat (I3)") }
        return budget(slot, now).map { (.i4, $0) }
    }

    private func isTooEarly(_ instance: InstanceMachine, _ now: MonotonicInstant) -> String? {
        let grace = HealthLimits.restartGrace
        guard let servingAt = instance.memory.run?.servingAt else { return "it has not been ready yet (I4)" }
        if now.since(servingAt) < grace { return "it has been ready for less than \(grace.brief) (I4)" }
        let pause = HealthLimits.restartPause
        if let at = instance.memory.lastTroubleAt, now.since(at) < pause {
            return "it has been in trouble for less than \(pause.brief) (I4)"
        }
        let row = instance.trackers.liveness
        let isRow = row.failures >= HealthLimits.restartFailures
        if instance.memory.run?.livenessFailing == true, isRow, let since = row.failingSince,
            now.since(since) >= HealthLimits.restartSpan
        {
            return nil
        }
        if instance.memory.run?.heartbeatLate == true, let period = instance.watchdogPeriod,
            now.since(instance.lastHeartbeat) >= max(period, HealthLimits.restartSpan)
        {
            return nil
        }
        return "it has failed for less than \(HealthLimits.restartSpan.brief) (I4)"
    }

    /// Rule I3, by evidence that does not depend on what is held against it.
    private func isLastWithHeartbeat(_ slot: Int) -> Bool {
        guard instances[slot].hasFreshHeartbeat, let service = instances[slot].service else { return false }
        return !services[service].slots.contains { $0 != slot && instances[$0].hasFreshHeartbeat }
    }

    /// Rule I4's numbers.
    private mutating func budget(_ slot: Int, _ now: MonotonicInstant) -> String? {
        node.healthRestarts.removeAll { now.since($0.at) >= HealthLimits.restartWindow }
        let window = HealthLimits.restartWindow.brief
        if node.healthRestarts.count >= HealthLimits.restartsPerNode {
            return "\(node.healthRestarts.count) restarts for health on this node within \(window) (I4)"
        }
        let service = instances[slot].id.service
        if node.healthRestarts.count(where: { $0.service == service }) >= HealthLimits.restartsPerService {
            return "\(service) was restarted for health within \(window) (I4)"
        }
        if instances.contains(where: \.isBeingRestartedForHealth) {
            return "another instance is being restarted for health (I4)"
        }
        return nil
    }

    // MARK: I5

    /// Why the hold keeps every instance from being restarted; nil when there is none, or it is time for an experiment.
    private func hold(_ now: MonotonicInstant) -> String? {
        guard let hold = node.hold else { return nil }
        let next = nextExperiment(hold, now)
        if now >= next { return nil }
        return "instances failed together, hold=correlated; one is tried in \(next.since(now).brief) (I5)"
    }

    /// After ten minutes, then ten minutes after the last one, or as soon as that has proved to help.
    private func nextExperiment(_ hold: CorrelatedHold, _ now: MonotonicInstant) -> MonotonicInstant {
        let first = hold.since.advanced(by: HealthLimits.experimentAfter)
        guard let id = hold.experiment, let at = hold.experimentAt else { return first }
        let next = at.advanced(by: HealthLimits.experimentAfter)
        guard let slot = slotOf[id], instances[slot].state == .ready, !instances[slot].isInTrouble,
            let servingAt = instances[slot].memory.run?.servingAt, servingAt >= at, isGivenWork(slot, now)
        else { return next }
        return min(next, servingAt.advanced(by: HealthLimits.experimentProof))
    }

    /// An instance has begun to fail: do several fail together?
    mutating func correlate(_ turn: inout Turn) {
        if node.hold != nil { return }
        var failing: Set<Int> = []
        var text: String?
        for index in services.indices {
            let wanted = services[index].slots.filter { isWanted($0) }
            let failed = wanted.count { slot in
                guard let at = instances[slot].memory.lastTroubleAt else { return false }
                return turn.now.since(at) < HealthLimits.correlationWindow
            }
            if failed > 0 { failing.insert(index) }
            if failed >= 2, failed == wanted.count { text = "all instances of \(services[index].name) failed" }
        }
        if failing.count >= 2 { text = "instances of \(failing.count) services failed" }
        guard let text else { return }
        node.hold = CorrelatedHold(since: turn.now)
        turn.act(.rememberNode(node))
        turn.note(
            nil,
            "hold",
            "\(text) within \(HealthLimits.correlationWindow.brief): "
                + "nothing is restarted for health, hold=correlated (I5)"
        )
    }

    /// Notes since when nothing fails while a hold is on.
    mutating func fitHold(_ turn: inout Turn) {
        guard let hold = node.hold else { return }
        if (troubledCount == 0) == (hold.calmSince != nil) { return }
        node.hold?.calmSince = troubledCount == 0 ? turn.now : nil
        turn.act(.rememberNode(node))
    }

    mutating func endHold(_ turn: inout Turn) {
        node.hold = nil
        turn.act(.rememberNode(node))
        turn.note(nil, "hold-over", "nothing has failed for \(HealthLimits.holdCalm.brief): the hold is over (I5)")
    }

    // MARK: I10

    private mutating func suppressRestart(
        _ slot: Int,
        _ rule: SuppressionRule,
        _ text: String,
        _ turn: inout Turn
    ) {
        let isNew = instances[slot].restartSuppressed?.rule != rule
        let since = isNew ? turn.now : instances[slot].restartSuppressed?.since ?? turn.now
        instances[slot].restartSuppressed = Suppression(rule: rule, text: text, since: since)
        countSuppression(slot, rule, isNew: isNew)
        if isNew { turn.note(instances[slot].id, "suppressed", "\(instances[slot].id) is not restarted: \(text)") }
    }

    mutating func suppressReadiness(_ slot: Int, _ rule: SuppressionRule, _ text: String, _ turn: inout Turn) {
        let isNew = instances[slot].readinessSuppressed.map { $0.rule != rule || $0.text != text } ?? true
        if isNew { instances[slot].readinessSuppressed = Suppression(rule: rule, text: text, since: turn.now) }
        countSuppression(slot, rule, isNew: isNew)
        if isNew {
            turn.note(instances[slot].id, "suppressed", "the state of \(instances[slot].id) is held: \(text)")
        }
    }

    mutating func endReadinessSuppression(_ slot: Int) {
        guard let present = instances[slot].readinessSuppressed else { return }
        // A hold for flapping ends with the flapping.
        if present.rule == .i8, instances[slot].isHeldForFlapping { return }
        instances[slot].readinessSuppressed = nil
        if let service = instances[slot].service { markDirty(service: service) }
    }

    private mutating func countSuppression(_ slot: Int, _ rule: SuppressionRule, isNew: Bool) {
        guard let service = instances[slot].service else { return }
        if isNew { services[service].suppressions[rule, default: 0] &+= 1 }
        markDirty(service: service)
    }
}

extension InstanceMachine {
    /// From the stop until its successor is ready, or has had its time.
    var isBeingRestartedForHealth: Bool {
        switch state {
        case .stopping(let stop): stop.cause == .watchdog || stop.cause == .liveness
        case .queued, .starting, .backoff: lastExitWasForHealth
        case .ready: lastExitWasForHealth && memory.run?.servingAt == nil && memory.run?.readinessOverdue == false
        case .stopped, .waiting, .held, .running, .completed, .failed: false
        }
    }

    private var lastExitWasForHealth: Bool {
        memory.lastExit?.cause == .watchdog || memory.lastExit?.cause == .liveness
    }
}
