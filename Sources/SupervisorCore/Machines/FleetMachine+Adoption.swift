// Taking over what an earlier daemon left (rule P8): first reconcile, then act.
extension FleetMachine {
    /// Reconciles the shim's records (the truth about processes) with what is remembered (the truth about policy) and
    /// with the configuration.
    mutating func adopt(_ adoption: Adoption, _ turn: inout Turn) {
        let first = !adopted
        adopted = true
        shimPresent = true
        if first { takeMemory(adoption, &turn) }
        var records: [InstanceID: Adoption.Record] = [:]
        for record in adoption.records { records[record.instance] = record }
        for slot in instances.indices {
            reconcile(slot, with: records.removeValue(forKey: instances[slot].id), &turn)
        }
        // What is left runs for a service or a replica that is no longer configured: it is stopped.
        for record in adoption.records where records[record.instance] != nil { adoptLeftover(record, &turn) }
        firstAttemptsOpen = services.flatMap(\.slots).count { !instances[$0].memory.firstAttemptOver }
        dependenciesMoved = true
        if adoption.remainsEnded > 0 {
            turn.note(
                nil, "remains-ended",
                "\(adoption.remainsEnded) process(es) that a former shim left behind were ended before the start")
        }
        turn.act(.rememberNode(node))
        if node.shutdownBy != nil {
            for slot in instances.indices { update(slot: slot, &turn) { $0.beginShutdown(&$1) } }
        }
    }

    private mutating func takeMemory(_ adoption: Adoption, _ turn: inout Turn) {
        node = adoption.remembered.node
        if node.since.nanoseconds == 0 { node.since = turn.now }
        var intents: [InstanceID: StopIntent] = [:]
        for intent in adoption.intents { intents[intent.instance] = intent }
        for slot in instances.indices {
            let id = instances[slot].id
            if let memory = adoption.remembered.instances[id] {
                restore(memory, in: slot, &turn)
            } else if let intent = intents[id] {
                update(slot: slot, &turn) { $0.wantStop(intent, &$1) }
            }
        }
        let forgotten = adoption.remembered.instances.keys.filter { slotOf[$0] == nil }.sorted()
        for id in forgotten where !adoption.records.contains(where: { $0.instance == id }) {
            turn.act(.remember(id, nil))
        }
        intentsMoved = false
    }

    private mutating func restore(_ memory: RememberedInstance, in slot: Int, _ turn: inout Turn) {
        let before = instances[slot].state
        instances[slot].memory = memory
        instances[slot].lastHeartbeat = turn.now
        instances[slot].shutdown = node.shutdownBy != nil
        instances[slot].fitTimer(&turn)
        // The counts follow the state; nothing has to be remembered that just was.
        if case .starting = memory.state { startingCount += 1 }
        if memory.state == .queued, before != .queued { startQueue.append(slot) }
        if memory.state != .waiting, before == .waiting { waitingCount -= 1 }
    }

    private mutating func reconcile(_ slot: Int, with record: Adoption.Record?, _ turn: inout Turn) {
        guard let record else {
            // Its start never reached the shim, or the shim that knew it is gone.
            update(slot: slot, &turn) { $0.lost(&$1) }
            return
        }
        let instance = instances[slot]
        let known = instance.generation == record.generation && instance.state.hasProcess
        switch record.state {
        case .running:
            update(slot: slot, &turn) { known ? $0.found(record, &$1) : $0.foundUnknown(record, &$1) }
        case .exited(let status, let usage, _, let outOfMemory):
            if known {
                update(slot: slot, &turn) { machine, turn in
                    machine.exited(
                        status, usage: usage, outOfMemory: outOfMemory, treeGone: record.treeGone, &turn)
                    if record.treeGone { machine.treeGone(&turn) } else { machine.resumeStop(&turn) }
                }
            } else if record.treeGone {
                turn.act(.release(record.instance, record.generation))
                // The start that was to follow never reached the shim.
                update(slot: slot, &turn) { $0.lost(&$1) }
            } else {
                update(slot: slot, &turn) { $0.foundRemains(record, &$1) }
            }
        }
    }

    private mutating func adoptLeftover(_ record: Adoption.Record, _ turn: inout Turn) {
        if slotOf[record.instance] == nil {
            slotOf[record.instance] = instances.count
            instances.append(InstanceMachine(id: record.instance, service: nil, policy: .leftover, now: turn.now))
        }
        guard let slot = slotOf[record.instance] else { return }
        let intent = StopIntent(instance: record.instance, by: "configuration", reason: "it is no longer configured")
        reconcile(slot, with: record, &turn)
        turn.note(record.instance, "leftover", "\(record.instance) is no longer configured and is stopped")
        update(slot: slot, &turn) { $0.wantStop(intent, &$1) }
    }
}

extension InstanceMachine {
    /// The process is there, as remembered.
    mutating func found(_ record: Adoption.Record, _ turn: inout Turn) {
        let answered = memory.run?.pid != nil
        memory.run?.pid = record.pid
        memory.run?.startedAt = record.startedAt
        if case .starting = state, !answered, policy.kind == .simple { becomeReady(&turn) }
        resumeStop(&turn)
    }

    /// The process is there, but nothing is known of it: it is left running, and counts as ready (rule P8).
    mutating func foundUnknown(_ record: Adoption.Record, _ turn: inout Turn) {
        memory.generation = record.generation
        memory.run = RememberedInstance.Run(startedAt: record.startedAt)
        memory.run?.pid = record.pid
        memory.run?.readyAt = record.startedAt
        memory.startedOnce = true
        memory.firstAttemptOver = true
        transition(to: .ready, &turn)
        if shutdown || memory.stopIntent != nil { requestStop(cause: .operator, &turn) }
    }

    /// The main process ended, and was dealt with, but some of its tree is left.
    mutating func foundRemains(_ record: Adoption.Record, _ turn: inout Turn) {
        memory.generation = record.generation
        memory.run = RememberedInstance.Run(startedAt: record.startedAt)
        memory.run?.pid = record.pid
        var stop = InstanceState.Stop(cause: .operator, graceEnds: nil)
        stop.mainGone = true
        transition(to: .stopping(stop), &turn)
        turn.act(.endTree(id, generation))
    }

    /// A stop was going on: repeat the act that may have died with the daemon. Both are idempotent.
    mutating func resumeStop(_ turn: inout Turn) {
        guard case .stopping(let stop) = state else { return }
        if stop.graceEnds == nil {
            turn.act(.endTree(id, generation))
        } else {
            turn.act(.signal(id, generation, policy.stopSignal, tree: stop.mainGone))
        }
    }
}
