package import SupervisorCore

// Drains and rolling restarts: what the core has remembered of them, against what it does.
extension Checker {
    /// How late a deadline may be noticed, by the model's time.
    private static let slack: Int64 = 1_000_000_000

    /// What the disk keeps is all that is left.
    package mutating func hostReboots(_ disk: Intents) {
        drains = disk.drains
        rolls = []
        servedAtAnnounce = [:]
        restarts = []
    }

    package mutating func balancersSeen(haveLeft: Bool, at now: Int64) {
        balancersHaveLeft = haveLeft
        balancersSeenAt = now
    }

    // MARK: What is remembered

    mutating func remembered(_ node: RememberedNode, _ event: Event) throws {
        if rolls.contains(where: { $0.extraIndex != nil }) || node.rolls.contains(where: { $0.extraIndex != nil }) {
            extraSeenAt = now
        }
        for drain in drains where drain.purpose == .maintenance {
            let isThere = node.drains.contains { $0.purpose == .maintenance && $0.target == drain.target }
            if !isThere, !mayEnd(drain, event) { throw ShadowViolation("P5: \(drain) is forgotten") }
        }
        for drain in node.drains {
            let old = drains.first { $0.purpose == drain.purpose && $0.target == drain.target }
            if let old, drain.phase < old.phase, old.since == drain.since {
                throw ShadowViolation("P5: \(drain) went back from \(old.phase.name)")
            }
            if old == nil { announced(drain) }
            if old?.phase != drain.phase { try phaseChanged(drain, from: old?.phase) }
        }
        try checkRolls(node)
        drains = node.drains
        rolls = node.rolls
    }

    private func mayEnd(_ drain: Drain, _ event: Event) -> Bool {
        if case .commanded(_, .undrain(let target, _), _) = event { return target == drain.target }
        // Of a service that this daemon's configuration does not name.
        guard let target = drain.target else { return false }
        return !spec.services.contains { $0.name == target.service }
            || !entries.contains { $0.spec != nil && drain.covers($0.id) }
    }

    private mutating func announced(_ drain: Drain) {
        tally.count(drain.purpose == .roll ? .rollDrain : .drainAnnounced)
        servedAtAnnounce[key(drain)] = entries.filter { drain.covers($0.id) && isServing($0) }.map(\.id)
    }

    private func key(_ drain: Drain) -> String { "\(drain.purpose) \(drain.target?.description ?? "")" }

    private func isServing(_ entry: Entry) -> Bool {
        guard case .ready? = entry.record?.state, let run = entry.record?.run, run.servingAt != nil else {
            return false
        }
        return entry.spec?.readiness == nil || run.readiness == .passing
    }

    private mutating func phaseChanged(_ drain: Drain, from old: DrainPhase?) throws {
        switch drain.phase {
        case .notice: break
        case .inFlight:
            tally.count(.drainInFlight)
            if old == .notice, drain.purpose == .maintenance { try checkNotice(drain) }
        case .stopping: tally.count(.drainStopping)
        case .enforce:
            tally.count(.drainEnforced)
            if now < drain.deadline.nanoseconds {
                throw ShadowViolation("P5: \(drain) is enforced before its deadline")
            }
        case .drained:
            tally.count(drain.deadlineReached ? .drainedLate : .drained)
            for entry in entries where drain.covers(entry.id) && entry.spec != nil && !isReplacedShim {
                if entry.record?.state.hasProcess == true {
                    throw ShadowViolation("P5: \(drain) is done, and \(entry.id) is \(entry.kind)")
                }
            }
        }
    }

    /// The notice is as long as it must be, as long as somebody serves and there is time.
    private mutating func checkNotice(_ drain: Drain) throws {
        let elapsed = now - drain.since.nanoseconds
        let total = drain.deadline.nanoseconds - drain.since.nanoseconds
        let stopDue = drain.deadline.nanoseconds - min(5_000_000_000, total / 2)
        if now >= stopDue || !entries.contains(where: { drain.covers($0.id) && isServing($0) }) { return }
        if case .fixed(let time) = drain.notice {
            if elapsed < time.clampedNanoseconds { throw ShadowViolation("the notice of \(drain) is too short") }
            return
        }
        if elapsed >= spec.drain.noticeMaximum.clampedNanoseconds { return tally.count(.noticeAtMost) }
        if elapsed < spec.drain.noticeMinimum.clampedNanoseconds {
            throw ShadowViolation("the notice of \(drain) is shorter than notice_min")
        }
        if drain.target == nil, balancersSeenAt >= drain.since.nanoseconds, !balancersHaveLeft {
            throw ShadowViolation("the notice of \(drain) is over, and a load balancer still routes to it")
        }
        tally.count(.noticeAcknowledged)
    }

    private mutating func checkRolls(_ node: RememberedNode) throws {
        let leaving = node.drains.filter { $0.purpose == .roll }.compactMap { $0.target?.service }
        if Set(leaving).count != leaving.count { throw ShadowViolation("a rolling restart takes two at once") }
        let extras = node.rolls.filter { $0.usesExtra && $0.step != .waiting }
        if extras.count > 1 { throw ShadowViolation("I1: \(extras.count) rolling restarts have an extra instance") }
        for roll in node.rolls {
            let old = rolls.first { $0.service == roll.service && $0.since == roll.since }
            if old?.step != roll.step { tally.count(exercise(roll.step)) }
            if roll.failure != nil, old?.failure == nil { tally.count(.rollFailed) }
        }
    }

    private func exercise(_ step: Roll.Step) -> Exercise {
        switch step {
        case .waiting: .rollWaiting
        case .addingExtra: .rollExtra
        case .leaving: .rollLeaving
        case .returning: .rollReturning
        case .proving: .rollProving
        case .removingExtra: .rollExtraLeaves
        case .holding: .rollHolds
        }
    }

    // MARK: What is done

    /// Past the notice of an operator's drain nothing of it is started.
    func checkDrainedStart(_ id: InstanceID) throws {
        for drain in drains where drain.covers(id) && drain.phase >= .inFlight && drain.purpose == .maintenance {
            throw ShadowViolation("P5: \(id) is started, and \(drain) is past its notice")
        }
    }

    /// What served when the drain was announced gets no stop signal before the notice is over, but for other reasons.
    func checkDrainSignal(_ id: InstanceID, _ event: Event) throws {
        guard let slot = slotOf[id], case .stopping(let stop)? = entries[slot].record?.state, stop.cause == .operator,
            entries[slot].spec != nil, entries[slot].record?.stopIntent == nil
        else { return }
        switch event {
        case .commanded, .shutdownHastened, .shimConnected: return
        default: break
        }
        let covering = drains.filter { $0.covers(id) }
        guard !covering.isEmpty, covering.allSatisfy({ $0.phase == .notice }) else { return }
        if covering.contains(where: { servedAtAnnounce[key($0)]?.contains(id) == true }) {
            throw ShadowViolation("\(id) is told to stop in the notice of \(covering[0])")
        }
    }

    /// The deadline bounds all of it, as long as there is a daemon that can.
    mutating func checkDeadlines(_ event: Event) throws {
        if case .disturbed(.loopStalled(let time)) = event { stalledUntil = now + time.clampedNanoseconds }
        guard shimPresent, !isNew, now > stalledUntil + Self.slack, now > daemonBeganAt + Self.slack else { return }
        for drain in drains where drain.phase <= .stopping && now > drain.deadline.nanoseconds + Self.slack {
            throw ShadowViolation("P5: \(drain) passes its deadline")
        }
    }
}
