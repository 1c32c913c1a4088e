// What operators ask of drains, rolling restarts and scale.
extension FleetMachine {
    /// Why nothing can be asked now; nil when it can.
    public var refusalOfCommands: String? {
        if node.shutdownBy != nil { return "the fleet is being stopped; nothing else can be asked" }
        return adopted ? nil : "the shim is not there yet; try again in a moment"
    }

    // MARK: Drain

    mutating func drain(_ request: DrainRequest, as operation: OperationID, by caller: String, _ turn: inout Turn) {
        let target = request.target
        if let target, resolve(target) == nil {
            turn.act(.finishOperation(operation, .unknownTarget(target.description)))
            return
        }
        if let index = drainIndex(.maintenance, target) {
            join(index, request, by: caller, &turn)
        } else if let refusal = refusal(of: request) {
            turn.act(.finishOperation(operation, .refused(refusal)))
            return
        } else {
            abandonRolls({ target == nil || $0 == target?.service }, "it is being drained", &turn)
            begin(newDrain(request, by: caller, turn.now), &turn)
            intentsMoved = true
        }
        operations.append(Operation(id: operation, Operation.Wait(watches: [.drain(target)])))
    }

    private func newDrain(_ request: DrainRequest, by caller: String, _ now: MonotonicInstant) -> Drain {
        var drain = Drain(
            .maintenance,
            of: request.target,
            by: caller,
            reason: request.reason,
            since: now,
            deadline: now.advanced(by: request.deadline ?? drainSpec.deadline)
        )
        drain.notice = request.notice ?? .auto
        return drain
    }

    /// Said again: an earlier deadline and another notice count from now on, the rest stays.
    private mutating func join(_ index: Int, _ request: DrainRequest, by caller: String, _ turn: inout Turn) {
        let before = node.drains[index]
        if before.phase == .drained { return }
        if let notice = request.notice { node.drains[index].notice = notice }
        if let time = request.deadline {
            node.drains[index].deadline = min(before.deadline, turn.now.advanced(by: time))
        }
        if node.drains[index] == before { return }
        turn.act(.rememberNode(node))
        intentsMoved = true
        drainsMoved = true
        let drain = node.drains[index]
        let left = drain.deadline.since(turn.now).brief
        turn.tell(drain.target?.description, "draining", "\(caller) asked again: \(left) are left for the drain")
        // Those that were told to end already have less time now.
        for slot in slots(of: drain) where instances[slot].memory.isDrained {
            update(slot: slot, &turn) { $0.leave(.until(drain.deadline), &$1) }
        }
    }

    /// Why a drain must not begin; nil when it may. What other hosts have is not known here.
    private func refusal(of request: DrainRequest) -> String? {
        if node.drains.count >= DrainLimits.drains { return "\(DrainLimits.drains) drains are there already" }
        guard case .instance(let id)? = request.target, !request.isForced, let slot = slotOf[id], isServing(slot),
            let slots = resolve(.service(id.service))
        else { return nil }
        let others = slots.filter { $0 != slot && isWanted($0) }
        if others.contains(where: { isServing($0) && !instances[$0].isLeaving }) { return nil }
        let states = others.map { "\(instances[$0].id) is \(publicState(of: $0).rawValue)" }.joined(separator: ", ")
        let why = states.isEmpty ? "it is the only instance of \(id.service)" : "no other instance is ready (\(states))"
        return "\(why); drain \(id.service) as a whole, or use --force"
    }

    private func publicState(of slot: Int) -> PublicState {
        guard let service = instances[slot].service else { return .stopped }
        return publicState(of: instances[slot], service: service, lookedAt).0
    }

    /// What a drain would look like if it began now; the text where it would be refused.
    public func planDrain(
        _ request: DrainRequest,
        by caller: String,
        _ sightings: [ProberSighting],
        at now: MonotonicInstant
    ) -> (plan: DrainStatus?, refusal: String?) {
        if let refusal = refusalOfCommands { return (nil, refusal) }
        if let target = request.target, resolve(target) == nil { return (nil, "there is no \(target)") }
        if drainIndex(.maintenance, request.target) == nil, let refusal = refusal(of: request) { return (nil, refusal) }
        var copy = self
        copy.sightings = sightings
        copy.sightedAt = now
        let present = drainIndex(.maintenance, request.target).map { node.drains[$0] }
        return (copy.status(of: present ?? newDrain(request, by: caller, now), at: now), nil)
    }

    // MARK: Undrain

    mutating func undrain(
        _ target: Target?,
        as operation: OperationID,
        by caller: String,
        reason: String?,
        _ turn: inout Turn
    ) {
        if let target, resolve(target) == nil {
            turn.act(.finishOperation(operation, .unknownTarget(target.description)))
            return
        }
        guard let index = drainIndex(.maintenance, target) else {
            let result = broaderDrain(target).map { OperationResult.refused($0) } ?? .done
            turn.act(.finishOperation(operation, result))
            return
        }
        let name = target?.description ?? "the node"
        turn.tell(
            target?.description,
            "undrained",
            "\(caller) took the drain of \(name) back" + (reason.map { ": \($0)" } ?? "")
        )
        let freed = end(drainAt: index, &turn)
        intentsMoved = true
        let goals = freed.filter { instances[$0].obstacle == nil && !isDone($0) }.map { slot in
            (slot: slot, goal: Operation.Goal.up(after: instances[slot].generation))
        }
        operations.append(Operation(id: operation, Operation.Wait(goals: goals)))
    }

    /// It ran and has done its work, or has failed for good: a drain had nothing to end there.
    private func isDone(_ slot: Int) -> Bool {
        switch instances[slot].state {
        case .completed, .failed, .stopped: true
        case .waiting, .queued, .held, .starting, .ready, .running, .stopping, .backoff: false
        }
    }

    /// It is drained as a part of more.
    private func broaderDrain(_ target: Target?) -> String? {
        guard let target else { return nil }
        if drainIndex(.maintenance, nil) != nil { return "the whole node is drained; use eiderctl undrain" }
        guard case .instance(let id) = target, drainIndex(.maintenance, .service(id.service)) != nil else { return nil }
        return "\(id.service) is drained as a whole; use eiderctl undrain \(id.service)"
    }

    /// Why what a drain covers must not be started; nil when it may.
    func refusalOfStart(_ slot: Int) -> String? {
        guard let drain = drain(covering: slot), drain.purpose != .roll else { return nil }
        return drain.purpose == .removal ? "\(instances[slot].id) is on its way out" : Self.refusal(under: drain)
    }

    private static func refusal(under drain: Drain) -> String {
        let name = drain.target.map { "\($0) is" } ?? "the node is"
        let state = drain.phase == .drained ? "drained" : "being drained"
        let verb = drain.target.map { "eiderctl undrain \($0)" } ?? "eiderctl undrain"
        return "\(name) \(state) (by \(drain.by)); use \(verb) first"
    }

    // MARK: Rolling restarts and scale

    mutating func roll(
        _ names: [String],
        as operation: OperationID,
        by caller: String,
        reason: String?,
        _ turn: inout Turn
    ) {
        var indexes: [Int] = []
        for name in names {
            guard let index = services.firstIndex(where: { $0.name == name && !$0.isRemoved }) else {
                turn.act(.finishOperation(operation, .unknownTarget(name)))
                return
            }
            for slot in services[index].slots {
                guard let refusal = refusalOfStart(slot) ?? refusalOfReplacement(slot),
                    instances[slot].id.index < services[index].replicas
                else {
                    continue
                }
                turn.act(.finishOperation(operation, .refused(refusal)))
                return
            }
            if !indexes.contains(index) { indexes.append(index) }
        }
        for index in indexes { beginRoll(of: index, by: caller, reason: reason, &turn) }
        let watches = indexes.map { Operation.Watch.roll(services[$0].name) }
        operations.append(Operation(id: operation, Operation.Wait(watches: watches)))
    }

    mutating func scale(
        _ name: String,
        to replicas: Int,
        as operation: OperationID,
        by caller: String,
        reason: String?,
        _ turn: inout Turn
    ) {
        guard let index = services.firstIndex(where: { $0.name == name && !$0.isRemoved }) else {
            turn.act(.finishOperation(operation, .unknownTarget(name)))
            return
        }
        let drained = services[index].slots.filter { isWanted($0) }.compactMap { refusalOfStart($0) }
        let isAllowed = (0...CoreLimits.replicas).contains(replicas)
        let bound = isAllowed ? nil : "a service has 0 to \(CoreLimits.replicas) instances"
        let cover = drainIndex(.maintenance, nil) ?? drainIndex(.maintenance, .service(name))
        let covered = cover.map { Self.refusal(under: node.drains[$0]) }
        if let refusal = bound ?? covered ?? drained.first ?? obstacle(to: replicas, of: index) {
            turn.act(.finishOperation(operation, .refused(refusal)))
            return
        }
        let before = services[index].replicas
        turn.tell(
            name,
            "scaled",
            "\(caller) asked for \(replicas) instances of \(name), from \(before)" + (reason.map { ": \($0)" } ?? "")
        )
        abandonRolls({ $0 == name }, "its number of instances changed", &turn)
        // Remembered before anything follows from it (rule P8).
        services[index].replicas = replicas
        rememberScale(of: index, by: caller, reason: reason, &turn)
        let wait = fitMembers(of: index, from: before, by: caller, &turn)
        operations.append(Operation(id: operation, wait))
    }
}
