// Drains: how far each is, and what follows. Rule P5: one ends only by `undrain`, completion or stop.
extension FleetMachine {
    // MARK: What a drain covers

    func covers(_ drain: Drain, _ slot: Int) -> Bool {
        instances[slot].service != nil && drain.covers(instances[slot].id)
    }

    func slots(of drain: Drain) -> [Int] {
        switch drain.target {
        case nil: instances.indices.filter { instances[$0].service != nil }
        case let target?: resolve(target) ?? []
        }
    }

    /// The drain that says most about the instance: of the whole fleet's stop, else the one that has come furthest.
    func drain(covering slot: Int) -> Drain? {
        let covering = node.drains.filter { covers($0, slot) }
        return covering.first { $0.purpose == .shutdown } ?? covering.max { $0.phase < $1.phase }
    }

    func drainIndex(_ purpose: Drain.Purpose, _ target: Target?) -> Int? {
        node.drains.firstIndex { $0.purpose == purpose && $0.target == target }
    }

    // MARK: Beginning and ending

    /// Announces a drain. What does not serve anyway need not wait for the notice.
    mutating func begin(_ drain: Drain, _ turn: inout Turn) {
        node.drains.append(drain)
        turn.act(.rememberNode(node))
        turn.tell(drain.target?.description, "draining", Self.announcement(drain))
        coverMoved(&turn)
        for slot in slots(of: drain) where !isServing(slot) { leave(slot, drain, &turn) }
        lookIsWanted = true
    }

    private static func announcement(_ drain: Drain) -> String {
        let name = drain.target?.description ?? "the node"
        let reason = drain.reason.map { ": \($0)" } ?? ""
        let time = drain.deadline.since(drain.since).brief
        switch drain.purpose {
        case .maintenance: return "\(name) is being drained by \(drain.by), within \(time)\(reason)"
        case .shutdown: return "the node is being drained, because the fleet is being stopped (\(drain.by))"
        case .roll: return "\(name) is being drained, to be replaced"
        case .removal: return "\(name) is being drained, since nobody asks for it any more"
        }
    }

    /// It serves, as far as its own state and its readiness tell.
    func isServing(_ slot: Int) -> Bool { instances[slot].state == .ready && instances[slot].isReady }

    /// Takes a drain away, as `undrain` does, or what it was part of. Answers the instances that come back by that.
    @discardableResult
    mutating func end(drainAt index: Int, _ turn: inout Turn) -> [Int] {
        let drain = node.drains.remove(at: index)
        turn.act(.rememberNode(node))
        let freed = slots(of: drain).filter { slot in
            instances[slot].memory.isDrained && !node.drains.contains { covers($0, slot) }
        }
        for slot in freed { update(slot: slot, &turn) { $0.comeBack(&$1) } }
        coverMoved(&turn)
        return freed
    }

    /// Its instances have been told to end.
    private func holds(_ drain: Drain) -> Bool { drain.phase >= .stopping }

    /// Which instances are covered may have changed.
    mutating func coverMoved(_ turn: inout Turn) {
        for slot in instances.indices {
            let isLeaving = node.drains.contains { covers($0, slot) }
            if instances[slot].isLeaving == isLeaving { continue }
            update(slot: slot, &turn) { machine, _ in
                machine.isLeaving = isLeaving
                machine.traffic = TrafficView()
            }
        }
        // What came to be covered by a drain that is past its notice is not started: a service that is new, or more
        // of one.
        for drain in node.drains where drain.phase >= .inFlight {
            for slot in slots(of: drain) where isToBeStarted(slot) { leave(slot, drain, &turn) }
        }
        markAllDirty()
        drainsMoved = true
    }

    /// Has an instance end, as the drain's purpose has it.
    private mutating func leave(_ slot: Int, _ drain: Drain, _ turn: inout Turn) {
        update(slot: slot, &turn) { machine, turn in
            switch drain.purpose {
            case .maintenance: machine.leave(.until(drain.deadline), &turn)
            case .shutdown: machine.beginShutdown(.graceUntil(drain.deadline), &turn)
            case .roll, .removal: machine.leave(.graceUntil(drain.deadline), &turn)
            }
        }
    }

    // MARK: Phases

    /// Takes every drain as far as it can go now.
    mutating func progressDrains(_ turn: inout Turn) {
        guard adopted, !node.drains.isEmpty else { return }
        for index in node.drains.indices {
            while let phase = nextPhase(of: node.drains[index], turn.now) { enter(phase, index, &turn) }
            if node.drains[index].phase == .inFlight { holdWhatRestsAlready(index, &turn) }
        }
        if lookIsWanted { look(&turn) }
    }

    private func nextPhase(of drain: Drain, _ now: MonotonicInstant) -> DrainPhase? {
        switch drain.phase {
        case .notice: return whatNoticeWaitsFor(drain, now) == nil ? .inFlight : nil
        case .inFlight: return whatFlightWaitsFor(drain, now) == nil ? .stopping : nil
        case .stopping:
            if isAtRest(drain) { return .drained }
            return now >= drain.deadline ? .enforce : nil
        case .enforce: return isAtRest(drain) ? .drained : nil
        case .drained: return nil
        }
    }

    private mutating func enter(_ phase: DrainPhase, _ index: Int, _ turn: inout Turn) {
        node.drains[index].phase = phase
        node.drains[index].phaseSince = turn.now
        let drain = node.drains[index]
        let slots = slots(of: drain)
        if phase == .enforce { noteLosses(index, slots, &turn) }
        turn.act(.rememberNode(node))
        drainsMoved = true
        markAllDirty()
        let name = drain.target?.description ?? "the node"
        switch phase {
        case .notice: break
        case .inFlight:
            for slot in slots { instances[slot].traffic.rises = 0 }
            for slot in slots where !isServing(slot) { leave(slot, drain, &turn) }
            turn.tell(drain.target?.description, "notice-over", "\(name): load balancers have had their notice")
            lookIsWanted = true
        case .stopping:
            for slot in slots { leave(slot, drain, &turn) }
        case .enforce:
            for slot in slots { update(slot: slot, &turn) { $0.endNow(&$1) } }
        case .drained:
            let late = drain.deadlineReached ? ", at its deadline" : ""
            turn.tell(drain.target?.description, "drained", "\(name) is drained\(late)")
        }
    }

    /// After the notice nothing is started any more: what crashed meanwhile stays down.
    private mutating func holdWhatRestsAlready(_ index: Int, _ turn: inout Turn) {
        let drain = node.drains[index]
        for slot in slots(of: drain) where isToBeStarted(slot) { leave(slot, drain, &turn) }
    }

    private func isToBeStarted(_ slot: Int) -> Bool {
        switch instances[slot].state {
        case .waiting, .queued, .held, .backoff, .starting: true
        case .stopped, .ready, .running, .stopping, .completed, .failed: false
        }
    }

    private func isAtRest(_ drain: Drain) -> Bool {
        slots(of: drain).allSatisfy { !instances[$0].state.hasProcess && !isToBeStarted($0) }
    }

    /// The deadline has come: what still runs is killed, with what it has in flight.
    private mutating func noteLosses(_ index: Int, _ slots: [Int], _ turn: inout Turn) {
        let killed = slots.filter { instances[$0].state.hasProcess }
        node.drains[index].deadlineReached = true
        node.drains[index].lost = killed.map { slot in
            LostWork(instance: instances[slot].id, inFlight: inFlight(slot)?.count)
        }
        let text = node.drains[index].lost.map(\.inWords).joined(separator: ", ")
        turn.tell(
            node.drains[index].target?.description,
            "drain-deadline",
            "the deadline of the drain has come: \(text) killed"
        )
    }

    // MARK: A stop of the fleet

    /// A stop takes the path of a drain. Where one is going on already, its notice counts.
    mutating func beginShutdownDrain(_ turn: inout Turn) {
        guard let by = node.shutdownBy, drainIndex(.shutdown, nil) == nil else { return }
        // Rolling restarts are over; what they were at is stopped with the rest.
        abandonRolls({ _ in true }, "the fleet is being stopped", &turn)
        node.drains.removeAll { $0.purpose == .roll || $0.purpose == .removal }
        let present = drainIndex(.maintenance, nil).map { node.drains[$0] }
        let deadline = turn.now.advanced(by: drainSpec.deadline)
        var drain = Drain(.shutdown, of: nil, by: by, since: present?.since ?? turn.now, deadline: deadline)
        if let present {
            drain.phase = min(present.phase, .stopping)
            drain.phaseSince = turn.now
            drain.notice = present.notice
            if present.phase < .drained { drain.deadline = min(deadline, present.deadline) }
        }
        begin(drain, &turn)
        if drain.phase == .stopping { for slot in slots(of: drain) { leave(slot, drain, &turn) } }
        // What no service asks for any more is on nobody's list.
        for slot in instances.indices where instances[slot].service == nil {
            update(slot: slot, &turn) { $0.beginShutdown(.graceUntil(drain.deadline), &$1) }
        }
    }

    /// Load balancers are not waited for any longer.
    mutating func skipNotice(_ turn: inout Turn) {
        guard let index = drainIndex(.shutdown, nil), node.drains[index].phase == .notice else { return }
        node.drains[index].notice = .fixed(.zero)
        turn.act(.rememberNode(node))
        turn.note(nil, "notice-skipped", "load balancers are not waited for any longer (SIGINT)")
    }

    /// Nobody waits for anything any longer (SIGQUIT).
    mutating func endFleetNow(_ turn: inout Turn) {
        for slot in instances.indices {
            update(slot: slot, &turn) { machine, turn in
                machine.beginShutdown(.grace, &turn)
                machine.endNow(&turn)
            }
        }
        if let index = drainIndex(.shutdown, nil), node.drains[index].phase < .stopping {
            node.drains[index].phase = .stopping
            node.drains[index].phaseSince = turn.now
            turn.act(.rememberNode(node))
        }
    }

    // MARK: Taking over

    /// It did not serve when the drain began, and the daemon died before it could have it end. What crashed since is
    /// started again, as long as the notice lasts.
    private func wasToLeave(_ slot: Int, _ drain: Drain) -> Bool {
        switch instances[slot].state {
        case .waiting: true
        case .queued, .held, .backoff, .starting, .running, .completed, .failed:
            instances[slot].memory.since <= drain.since
        case .stopped, .ready, .stopping: false
        }
    }

    /// What an earlier daemon left of drains, once the instances are what they are.
    mutating func resumeDrains(_ turn: inout Turn) {
        // Of what the configuration does not name any more there is nothing left to drain.
        let known = node.drains.filter { drain in drain.target.map { resolve($0) != nil } ?? true }
        if known.count < node.drains.count {
            node.drains = known
            turn.act(.rememberNode(node))
            intentsMoved = true
        }
        if node.shutdownBy != nil, drainIndex(.shutdown, nil) == nil { beginShutdownDrain(&turn) }
        coverMoved(&turn)
        for slot in instances.indices {
            let holding = node.drains.first { covers($0, slot) && holds($0) && $0.purpose != .shutdown }
            if let holding {
                leave(slot, holding, &turn)
            } else if instances[slot].memory.isDrained, !node.drains.contains(where: { covers($0, slot) }) {
                update(slot: slot, &turn) { $0.comeBack(&$1) }
            } else if let drain = drain(covering: slot), drain.phase == .notice, wasToLeave(slot, drain) {
                leave(slot, drain, &turn)
            }
        }
        if let index = drainIndex(.shutdown, nil), holds(node.drains[index]) {
            for slot in slots(of: node.drains[index]) { leave(slot, node.drains[index], &turn) }
        }
        lookIsWanted = true
    }
}

extension LostWork {
    /// `auth/0 (3 requests in flight)`
    var inWords: String {
        guard let inFlight, inFlight > 0 else { return "\(instance)" }
        return "\(instance) (\(inFlight) request\(inFlight == 1 ? "" : "s") in flight)"
    }
}
