// What users see of drains and rolling restarts.
extension FleetMachine {
    /// What there is to see, at `now`, where it may have changed since the last call.
    public mutating func takeChangedDrains(at now: MonotonicInstant) -> (drains: [DrainStatus], rolls: [RollStatus])? {
        if !drainsMoved { return nil }
        drainsMoved = false
        return (drainStatuses(at: now), rollStatuses())
    }

    /// Drains that an operator, or the fleet's stop, began: the node's first.
    func drainStatuses(at now: MonotonicInstant) -> [DrainStatus] {
        let shown = node.drains.filter { $0.purpose == .maintenance || $0.purpose == .shutdown }
        // A stop of the fleet comes before what it found.
        let ordered =
            shown.filter { $0.purpose == .shutdown } + shown.filter { $0.purpose != .shutdown && $0.target == nil }
        return (ordered + shown.filter { $0.target != nil }).map { status(of: $0, at: now) }
    }

    func status(of drain: Drain, at now: MonotonicInstant) -> DrainStatus {
        var status = DrainStatus(drain: drain)
        (status.noticeLeast, status.noticeMost) = noticeBounds(drain)
        if drain.phase == .notice {
            status.probers = concerned(drain, now).map { sighting in
                let (isGiven, text) = acknowledged(sighting, drain, now)
                return DrainStatus.Prober(sighting: sighting, hasAcknowledged: isGiven, text: text)
            }
        }
        status.members = slots(of: drain).map { slot in
            let inFlight = inFlight(slot)
            let service = instances[slot].service ?? 0
            return DrainStatus.Member(
                id: instances[slot].id,
                state: publicState(of: instances[slot], service: service, now).0,
                inFlight: inFlight?.count,
                source: inFlight?.source
            )
        }
        status.lastArrivalAt = lastArrival(drain)
        status.seesConnections = seesConnections
        switch drain.phase {
        case .notice: status.waitsFor = whatNoticeWaitsFor(drain, now)
        case .inFlight: status.waitsFor = whatFlightWaitsFor(drain, now)
        case .stopping, .enforce: status.waitsFor = whatEndWaitsFor(drain)
        case .drained: break
        }
        return status
    }

    private func whatEndWaitsFor(_ drain: Drain) -> String? {
        let left = slots(of: drain).filter { instances[$0].state.hasProcess }
        guard let first = left.first else { return nil }
        let more = left.count > 1 ? " and \(left.count - 1) more" : ""
        return "\(instances[first].id)\(more) to end"
    }

    func rollStatuses() -> [RollStatus] {
        node.rolls.map { roll in RollStatus(roll, text: roll.failure.map { "has stopped: \($0)" } ?? text(of: roll)) }
    }

    private func text(of roll: Roll) -> String {
        let name = { (index: Int) in "\(roll.service)/\(index)" }
        switch roll.step {
        case .waiting: return "waits for another rolling restart"
        case .addingExtra: return "starts \(name(roll.extraIndex ?? 0)), an extra instance"
        case .leaving(let index): return "drains \(name(index))"
        case .returning(let index, _): return "waits for \(name(index)) to become ready"
        case .proving(let index, _): return "sees whether \(name(index)) stays ready"
        case .removingExtra: return "drains \(name(roll.extraIndex ?? 0)), the extra instance"
        case .holding: return "keeps \(name(roll.extraIndex ?? 0)), the only one that is ready"
        }
    }
}
