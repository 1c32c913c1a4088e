// Rolling restarts: one instance after the other, and no further once a replacement fails.
extension FleetMachine {
    // MARK: Beginning and ending

    /// Replaces the instances of a service, or goes on with a roll that does so already.
    mutating func beginRoll(of index: Int, by: String, reason: String?, _ turn: inout Turn) {
        let name = services[index].name
        let slots = services[index].slots.filter { isWanted($0) }
        let indexes = slots.map { instances[$0].id.index }
        if let present = node.rolls.firstIndex(where: { $0.service == name && $0.failure == nil }) {
            beginAnew(present, indexes, &turn)
        } else {
            let usesExtra = !indexes.isEmpty && allowsExtra(index)
            var roll = Roll(
                service: name,
                by: by,
                reason: reason,
                since: turn.now,
                indexes: indexes,
                usesExtra: usesExtra
            )
            if let held = node.rolls.firstIndex(where: { $0.service == name && $0.step == .holding }) {
                // Its extra instance is the only one that is ready: it stands in for this one's too.
                (roll.usesExtra, roll.extraIndex) = (true, node.rolls[held].extraIndex)
                node.rolls[held] = roll
            } else {
                node.rolls.append(roll)
            }
        }
        turn.tell(name, "rolling", "\(name) is restarted in turns by \(by)" + (reason.map { ": \($0)" } ?? ""))
        rollsMoved(&turn)
    }

    /// Asked again: what was replaced already has not seen what this one is about. What is new but not new enough is
    /// replaced first: it may be what is being mended.
    private mutating func beginAnew(_ index: Int, _ indexes: [Int], _ turn: inout Turn) {
        let roll = node.rolls[index]
        node.rolls[index].left = indexes
        node.rolls[index].total = indexes.count
        switch roll.step {
        case .leaving(let member): node.rolls[index].left.bringForward(member)
        case .returning(let member, _), .proving(let member, _):
            node.rolls[index].left.bringForward(member)
            if case .returning(_, let after) = roll.step,
                slot(roll, member).map({ instances[$0].generation <= after }) ?? false
            {
                return
            }
            if member != roll.extraIndex { node.rolls[index].step = .waiting }
        case .removingExtra:
            // It was done but for that: the extra one stays, or comes back.
            guard let slot = extraSlot(roll), instances[slot].service != nil else { return }
            let generation = instances[slot].generation
            let stays = isServing(slot)
            node.rolls[index].step = .addingExtra(after: stays ? max(1, generation) - 1 : generation)
            node.rolls[index].stepSince = turn.now
            if let drain = drainIndex(.removal, .instance(instances[slot].id)) { end(drainAt: drain, &turn) }
        case .waiting, .addingExtra, .holding: break
        }
    }

    /// It is one of those that the service is to have, and nobody stopped it.
    func isWanted(_ slot: Int) -> Bool { isMember(slot) && instances[slot].memory.stopIntent == nil }

    /// It is one of those that its service is to have.
    func isMember(_ slot: Int) -> Bool {
        guard let service = instances[slot].service, !services[service].isRemoved else { return false }
        return instances[slot].id.index < services[service].replicas
    }

    /// Two of it can run at once: they share passed sockets, or each has a port of its own.
    private func allowsExtra(_ index: Int) -> Bool {
        let service = services[index]
        guard service.policy.kind != .oneshot, service.hasSockets || service.portBase != nil else { return false }
        return obstacle(to: service.replicas + 1, of: index) == nil
    }

    private mutating func rollsMoved(_ turn: inout Turn) {
        turn.act(.rememberNode(node))
        drainsMoved = true
        for roll in node.rolls {
            if let index = services.firstIndex(where: { $0.name == roll.service }) { markDirty(service: index) }
        }
    }

    /// Ends the rolls of services for a reason from outside; what they were at comes back, and their extra goes.
    mutating func abandonRolls(_ isMeant: (String) -> Bool, _ text: String, _ turn: inout Turn) {
        for index in node.rolls.indices.reversed() where isMeant(node.rolls[index].service) {
            guard node.rolls[index].failure == nil || node.rolls[index].step == .holding else { continue }
            fail(index, text, isAbandoned: true, &turn)
        }
    }

    // MARK: Steps

    mutating func progressRolls(_ turn: inout Turn) {
        guard adopted, node.shutdownBy == nil else { return }
        finishRemovals(&turn)
        var index = 0
        while index < node.rolls.count {
            let count = node.rolls.count
            while index < node.rolls.count, node.rolls.count == count, advance(index, &turn) {}
            // One that is done has left the list, and the next one has its place.
            if node.rolls.count == count { index += 1 }
        }
    }

    /// Takes a roll one step further; false when it has to wait.
    private mutating func advance(_ index: Int, _ turn: inout Turn) -> Bool {
        let roll = node.rolls[index]
        guard let service = services.firstIndex(where: { $0.name == roll.service }) else {
            finish(index, &turn)
            return false
        }
        switch roll.step {
        case .removingExtra, .holding: break
        case .waiting, .addingExtra, .leaving, .returning, .proving:
            // The daemon died while it was giving up.
            guard roll.failure == nil else {
                conclude(index, isAbandoned: false, &turn)
                return true
            }
        }
        switch roll.step {
        case .waiting:
            if !roll.usesExtra || roll.extraIndex != nil { return next(index, service, &turn) }
            // Rule I1: one instance more than desired, on the whole node.
            if node.rolls.contains(where: { $0.extraIndex != nil }) { return false }
            return addExtra(index, service, &turn)
        case .addingExtra(let after):
            return awaitNewcomer(index, roll.extraIndex ?? 0, after, &turn)
        case .leaving(let member): return awaitLeaving(index, member, service, &turn)
        case .returning(let member, let after): return awaitNewcomer(index, member, after, &turn)
        case .proving(let member, let until): return awaitProof(index, service, member, until, &turn)
        case .removingExtra:
            if let slot = extraSlot(roll), instances[slot].service != nil,
                roll.extraIndex.map({ $0 >= services[service].replicas }) ?? false
            {
                remove(slot, by: roll.by, &turn)
                return false
            }
            finish(index, &turn)
            return false
        case .holding:
            if !services[service].slots.contains(where: { isWanted($0) && isServing($0) }) { return false }
            removeExtra(index, &turn)
            return true
        }
    }

    private mutating func set(_ step: Roll.Step, _ index: Int, _ turn: inout Turn) {
        node.rolls[index].step = step
        node.rolls[index].stepSince = turn.now
        rollsMoved(&turn)
    }

    private func slot(_ roll: Roll, _ member: Int) -> Int? {
        slotOf[InstanceID(service: roll.service, index: member)]
    }

    private func extraSlot(_ roll: Roll) -> Int? { roll.extraIndex.flatMap { slot(roll, $0) } }

    private mutating func addExtra(_ index: Int, _ service: Int, _ turn: inout Turn) -> Bool {
        let member = services[service].replicas
        // One that is still on its way out from earlier must be gone first.
        if let slot = slot(node.rolls[index], member), instances[slot].state.hasProcess { return false }
        node.rolls[index].extraIndex = member
        let generation = slot(node.rolls[index], member).map { instances[$0].generation } ?? 0
        set(.addingExtra(after: generation), index, &turn)
        startWithoutOrder(startMember(member, of: service, &turn), &turn)
        return true
    }

    /// `after` is about the start of services. One that runs already does not wait for another to be replaced.
    private mutating func startWithoutOrder(_ slot: Int, _ turn: inout Turn) {
        guard instances[slot].state == .waiting else { return }
        update(slot: slot, &turn) { $0.transition(to: .queued, &$1) }
    }

    /// Takes on the next instance, or is done.
    private mutating func next(_ index: Int, _ service: Int, _ turn: inout Turn) -> Bool {
        while let member = node.rolls[index].left.first {
            // What a drain covers has the new values once it comes back.
            guard let slot = slot(node.rolls[index], member), isWanted(slot), !instances[slot].isLeaving else {
                node.rolls[index].left.removeFirst()
                continue
            }
            let generation = instances[slot].generation
            if let refusal = refusalOfReplacement(slot) {
                fail(index, refusal, &turn)
                return true
            }
            if instances[slot].state.hasProcess {
                set(.leaving(index: member), index, &turn)
                let id = instances[slot].id
                let deadline = turn.now.advanced(by: drainSpec.deadline)
                let by = node.rolls[index].by
                begin(Drain(.roll, of: .instance(id), by: by, since: turn.now, deadline: deadline), &turn)
            } else {
                set(.returning(index: member, after: generation), index, &turn)
                update(slot: slot, &turn) { $0.wantRestart(&$1) }
                startWithoutOrder(slot, &turn)
            }
            return true
        }
        if node.rolls[index].usesExtra {
            removeExtra(index, &turn)
            return true
        }
        finish(index, &turn)
        return false
    }

    private mutating func awaitLeaving(_ index: Int, _ member: Int, _ service: Int, _ turn: inout Turn) -> Bool {
        guard let slot = slot(node.rolls[index], member), isWanted(slot) else { return next(index, service, &turn) }
        guard let drain = drainIndex(.roll, .instance(instances[slot].id)) else {
            // The daemon died before it had begun.
            return next(index, service, &turn)
        }
        if let text = instances[slot].cannotEnd {
            fail(index, text, &turn)
            return true
        }
        if node.drains[drain].phase != .drained { return false }
        // In one record: a drain that the roll has left behind would hold the instance for ever.
        node.rolls[index].step = .returning(index: member, after: instances[slot].generation)
        node.rolls[index].stepSince = turn.now
        end(drainAt: drain, &turn)
        startWithoutOrder(slot, &turn)
        rollsMoved(&turn)
        return true
    }

    private enum Newcomer {
        case waiting, serving
        case failed(String)
    }

    private func newcomer(_ slot: Int, after: Generation, since: MonotonicInstant, _ now: MonotonicInstant) -> Newcomer
    {
        let instance = instances[slot]
        if instance.memory.stopIntent != nil { return .failed("\(instance.id) was stopped meanwhile") }
        if instance.state == .held {
            return .failed("\(instance.id) is not started: \(heldText(slot))")
        }
        guard instance.generation > after else {
            return instance.state == .failed ? .failed("\(instance.id) cannot be started") : .waiting
        }
        switch instance.state {
        case .ready:
            if isServing(slot) { return .serving }
            let isLate = instance.memory.run?.servingAt != nil && now.since(since) >= instance.policy.startupTimeout
            let isOverdue = instance.memory.run?.readinessOverdue == true
            if isLate || isOverdue {
                return .failed("\(instance.id) is not ready within \(instance.policy.startupTimeout.brief)")
            }
            return .waiting
        case .completed: return .serving
        case .stopping(let stop) where stop.cause == .startupTimeout:
            return .failed("\(instance.id) was not ready within \(instance.policy.startupTimeout.brief)")
        case .backoff, .failed, .stopped, .held:
            return .failed("\(instance.id) \(instance.memory.lastExit?.inWords ?? "ended")")
        case .running: return .failed("\(instance.id) says that it is stopping")
        case .waiting, .queued, .starting, .stopping:
            if instance.memory.crashes == 0 { return .waiting }
            return .failed("\(instance.id) \(instance.memory.lastExit?.inWords ?? "crashed")")
        }
    }

    private mutating func awaitNewcomer(
        _ index: Int,
        _ member: Int,
        _ after: Generation,
        _ turn: inout Turn
    ) -> Bool {
        let roll = node.rolls[index]
        guard let slot = slot(roll, member), let service = instances[slot].service else {
            fail(index, "\(roll.service)/\(member) is gone", &turn)
            return true
        }
        switch newcomer(slot, after: after, since: roll.stepSince, turn.now) {
        case .waiting: return false
        case .serving:
            let until = turn.now.advanced(by: services[service].minReady)
            set(.proving(index: member, until: until), index, &turn)
        case .failed(let text): fail(index, text, &turn)
        }
        return true
    }

    private mutating func awaitProof(
        _ index: Int,
        _ service: Int,
        _ member: Int,
        _ until: MonotonicInstant,
        _ turn: inout Turn
    ) -> Bool {
        let roll = node.rolls[index]
        guard let slot = slot(roll, member) else { return next(index, service, &turn) }
        if !isServing(slot), instances[slot].state != .completed {
            // It was ready and is not any more: it gets its startup time once more, or has failed.
            set(.returning(index: member, after: max(1, instances[slot].generation) - 1), index, &turn)
            if instances[slot].state != .ready {
                fail(index, "\(instances[slot].id) \(instances[slot].memory.lastExit?.inWords ?? "ended")", &turn)
            }
            return true
        }
        if turn.now < until { return false }
        if roll.left.first == member {
            node.rolls[index].left.removeFirst()
            turn.note(instances[slot].id, "replaced", "\(instances[slot].id) was replaced")
        }
        return next(index, service, &turn)
    }

    // MARK: Ends

    /// The first replacement that fails ends it: what was replaced stays, what was not is left alone.
    private mutating func fail(_ index: Int, _ text: String, isAbandoned: Bool = false, _ turn: inout Turn) {
        let roll = node.rolls[index]
        node.rolls[index].failure = text
        let done = "\(roll.total - roll.left.count) of \(roll.total) replaced"
        turn.tell(roll.service, "roll-stopped", "the rolling restart of \(roll.service) has stopped: \(text) (\(done))")
        settle(rollOf: roll.service, "the rolling restart of \(roll.service) has stopped: \(text); \(done)", &turn)
        conclude(index, isAbandoned: isAbandoned, &turn)
    }

    /// After a failure: what was leaving stays, and the extra instance goes, unless it is the only one that is ready.
    private mutating func conclude(_ index: Int, isAbandoned: Bool, _ turn: inout Turn) {
        let roll = node.rolls[index]
        if case .leaving(let member) = roll.step,
            let drain = drainIndex(.roll, .instance(InstanceID(service: roll.service, index: member)))
        {
            end(drainAt: drain, &turn)
        }
        if roll.step == .removingExtra { return }
        guard let extra = extraSlot(roll) else { return finish(index, &turn) }
        let others = services.first { $0.name == roll.service }?.slots.filter { $0 != extra } ?? []
        if isServing(extra), !others.contains(where: { isServing($0) }), !isAbandoned {
            set(.holding, index, &turn)
        } else {
            removeExtra(index, &turn)
        }
    }

    private mutating func removeExtra(_ index: Int, _ turn: inout Turn) {
        set(.removingExtra, index, &turn)
        // Where more are asked for meanwhile, it is one of them.
        guard let slot = extraSlot(node.rolls[index]), instances[slot].service != nil, !isMember(slot) else { return }
        remove(slot, by: node.rolls[index].by, &turn)
    }

    private mutating func finish(_ index: Int, _ turn: inout Turn) {
        let roll = node.rolls.remove(at: index)
        rollsMoved(&turn)
        if let service = services.firstIndex(where: { $0.name == roll.service }) { markDirty(service: service) }
        if roll.failure != nil { return }
        turn.tell(roll.service, "rolled", "\(roll.service) was restarted in turns: \(roll.total) replaced")
        settle(rollOf: roll.service, nil, &turn)
    }

    // MARK: Instances that go

    /// Drains an instance that nobody asks for any more; then it is none of the service's.
    mutating func remove(_ slot: Int, by: String, _ turn: inout Turn) {
        let id = instances[slot].id
        if drainIndex(.removal, .instance(id)) != nil { return }
        let deadline = turn.now.advanced(by: drainSpec.deadline)
        begin(Drain(.removal, of: .instance(id), by: by, since: turn.now, deadline: deadline), &turn)
    }

    /// What is drained for good leaves its service, and a service that the configuration names no more the fleet.
    private mutating func finishRemovals(_ turn: inout Turn) {
        while let index = node.drains.firstIndex(where: { $0.purpose == .removal && $0.phase == .drained }) {
            let drain = node.drains.remove(at: index)
            // What an operator drained of it, nobody could take back any more.
            node.drains.removeAll { $0.target == drain.target }
            turn.act(.rememberNode(node))
            for slot in slots(of: drain) { removeMember(slot, &turn) }
            if case .service(let name)? = drain.target { install(withoutService: name) }
            coverMoved(&turn)
        }
    }

    // MARK: Time

    func rollDue(_ now: MonotonicInstant) -> MonotonicInstant? {
        node.rolls.compactMap { roll -> MonotonicInstant? in
            switch roll.step {
            case .proving(_, let until): return until
            case .returning(let member, _):
                guard let slot = slot(roll, member), instances[slot].state == .ready else { return nil }
                let due = roll.stepSince.advanced(by: instances[slot].policy.startupTimeout)
                return due > now ? due : nil
            case .waiting, .addingExtra, .leaving, .removingExtra, .holding: return nil
            }
        }.min()
    }
}

extension [Int] {
    fileprivate mutating func bringForward(_ element: Int) {
        guard let index = firstIndex(of: element) else { return }
        insert(remove(at: index), at: 0)
    }
}
