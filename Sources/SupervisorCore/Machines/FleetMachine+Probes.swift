/// States stand still until then, because our own measurements look impossible (rule I9).
struct Freeze: Sendable, Equatable {
    var until: MonotonicInstant
    /// To stand alone.
    var text: String
}

// Results of probes, and whether they are to be believed.
extension FleetMachine {
    mutating func probed(_ key: ProbeKey, _ outcome: ProbeOutcome, _ turn: inout Turn) {
        guard let slot = slotOf[key.instance], let service = instances[slot].service,
            instances[slot].watched.contains(key)
        else {
            // Rule P4: of a run that is over, or of a probe that is not run any more.
            staleCallbacks &+= 1
            return
        }
        services[service].probes[key.kind].count(outcome)
        let before = instances[slot].trackers[key.kind]
        instances[slot].trackers[key.kind].take(outcome, at: turn.now)
        let row = instances[slot].trackers[key.kind]
        // What users see of a row: that it grows while it is one of failures, and that it has ended.
        if row.failures != before.failures || row.unknowns != before.unknowns { markDirty(service: service) }
        // Rule I6: what could not be run changes nothing, not even what a freeze has put off.
        if case .unknown = outcome { return }
        if row.failures == 1, before.failures == 0 { freezeIfImpossible(&turn) }
        guard let change = instances[slot].change(by: key.kind) else {
            if key.kind == .readiness { endReadinessSuppression(slot) }
            if row.failures > before.failures, key.kind == .liveness { considerHealthRestart(slot, &turn) }
            return
        }
        // A start that is done is no matter of states that come and go.
        if let freeze, change != .started, change != .passes || instances[slot].memory.run?.servingAt != nil {
            suppressReadiness(slot, .i9, "it would change, but states stand still: \(freeze.text) (I9)", &turn)
            return
        }
        endReadinessSuppression(slot)
        update(slot: slot, &turn) { $0.make(change, &$1) }
        if change == .fails || change == .passes { noteDamping(slot, &turn) }
        if change == .liveFails { considerHealthRestart(slot, &turn) }
    }

    // MARK: I8

    /// Whether the instance may be given work, with what the damping of its flaps makes of it.
    func isGivenWork(_ slot: Int, _ now: MonotonicInstant) -> Bool {
        let instance = instances[slot]
        guard instance.isHeldForFlapping, instance.hasServed, instance.state == .ready, let service = instance.service
        else { return instance.isReady }
        // Another one stands in for it: out, until it is steady.
        if standsIn(for: slot, in: service) { return false }
        // Nobody does: in as long as it passes, and through its gaps.
        return instance.isReady || instance.hasPassedLately(now)
    }

    func standsIn(for slot: Int, in service: Int) -> Bool {
        services[service].slots.contains { other in
            other != slot && instances[other].isReady && !instances[other].isHeldForFlapping
        }
    }

    mutating func flapReleased(_ slot: Int, _ turn: inout Turn) {
        update(slot: slot, &turn) { $0.flapReleased(&$1) }
        endReadinessSuppression(slot)
    }

    private mutating func noteDamping(_ slot: Int, _ turn: inout Turn) {
        guard let damping = damping(slot) else { return }
        suppressReadiness(slot, .i8, damping.text, &turn)
    }

    /// What the damping makes of the instance now; nil where it is not held. It follows from its flaps and from those
    /// that could stand in for it, also after a takeover.
    func damping(_ slot: Int) -> Suppression? {
        let instance = instances[slot]
        guard instance.isHeldForFlapping, instance.state == .ready, let service = instance.service else { return nil }
        let text =
            standsIn(for: slot, in: service)
            ? "it is kept out while it is flapping, since another instance is ready (I8)"
            : "it is kept in while it is flapping, since no other instance is ready (I8)"
        return Suppression(rule: .i8, text: text, since: instance.memory.flaps?.updatedAt ?? instance.memory.since)
    }

    // MARK: I9

    /// Freezes the states when all that passed a moment ago fail at once: then it is more likely that we are broken.
    private mutating func freezeIfImpossible(_ turn: inout Turn) {
        var checks = 0
        var services: Set<Int> = []
        for instance in instances {
            guard let service = instance.service else { continue }
            for key in instance.watched where key.kind != .startup {
                let row = instance.trackers[key.kind]
                // One that has never passed tells nothing of a change.
                guard let last = row.lastSuccess, let policy = instance.policy.probe(key.kind) else { continue }
                if row.failures == 0 || turn.now.since(last) > policy.window + policy.period { return }
                checks += 1
                services.insert(service)
            }
        }
        guard checks >= HealthLimits.checksThatCannotFailAtOnce, services.count >= 2 else { return }
        beginFreeze("every check failed at once", &turn)
    }

    mutating func disturbed(_ disturbance: Disturbance, _ turn: inout Turn) {
        beginFreeze(disturbance.text, &turn)
    }

    private mutating func beginFreeze(_ text: String, _ turn: inout Turn) {
        let until = turn.now.advanced(by: observationWindow)
        if freeze == nil {
            freezes &+= 1
            turn.note(nil, "frozen", "health states stand still for \(observationWindow.brief): \(text) (I9)")
        }
        // What goes on for long makes it longer, and is said once.
        freeze = Freeze(until: max(until, freeze?.until ?? until), text: text)
    }

    // MARK: The node's timer

    /// The next moment at which a freeze or a hold may be over, or a drain or a rolling restart has to be looked at.
    func nodeDue(_ now: MonotonicInstant) -> MonotonicInstant? {
        [freeze?.until, node.hold?.endsAt, drainDue(now), rollDue(now), breakersDue(now)].compactMap { $0 }.min()
    }

    mutating func nodeTimerFired(_ turn: inout Turn) {
        if let frozen = freeze, turn.now >= frozen.until {
            freeze = nil
            turn.note(nil, "unfrozen", "health states may change again")
            for slot in instances.indices where instances[slot].readinessSuppressed?.rule == .i9 {
                endReadinessSuppression(slot)
            }
        }
        if let end = node.hold?.endsAt, turn.now >= end { endHold(&turn) }
        if let due = lookDue, turn.now >= due { look(&turn) }
        if let due = breakersDue(turn.now), turn.now >= due { advanceBreakers(&turn) }
    }

    mutating func fitNodeTimer(_ turn: inout Turn) {
        guard let wanted = nodeDue(turn.now) else {
            if let timer = nodeTimer { turn.act(.cancelTimer(timer.token)) }
            nodeTimer = nil
            return
        }
        if nodeTimer?.deadline == wanted { return }
        if let timer = nodeTimer { turn.act(.cancelTimer(timer.token)) }
        nodeTimerNumber &+= 1
        let token = TimerToken(instance: nil, purpose: .node, number: nodeTimerNumber)
        nodeTimer = InstanceMachine.Timer(token: token, deadline: wanted)
        turn.act(.startTimer(token, at: wanted))
    }
}

extension InstanceMachine {
    var isHeldForFlapping: Bool { policy.readiness != nil && memory.flaps?.isHeld == true }

    /// Its present failures are no longer than a gap of one that flaps.
    fileprivate func hasPassedLately(_ now: MonotonicInstant) -> Bool {
        trackers.readiness.lastSuccess.map { now.since($0) < HealthLimits.flapKeptIn } ?? false
    }
}
