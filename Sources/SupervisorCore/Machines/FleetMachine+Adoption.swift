// Taking over what an earlier daemon left (rule P8): first reconcile, then act.
extension FleetMachine {
    /// Reconciles the shim's records (the truth about processes) with what is remembered (the truth about policy) and
    /// with the configuration.
    mutating func adopt(_ adoption: Adoption, _ turn: inout Turn) {
        let first = !adopted
        adopted = true
        shimPresent = true
        shimSilent = false
        markAllDirty()
        if first { takeMemory(adoption, &turn) }
        // Before what follows from it.
        turn.act(.rememberNode(node))
        if !first {
            // Another shim knows nothing, and the same one nothing of what was decided while it was away.
            for instance in instances { turn.act(.remember(instance.id, instance.worthRemembering)) }
        }
        var records: [InstanceID: Adoption.Record] = [:]
        for record in adoption.records { records[record.instance] = record }
        for id in records.keys.sorted() where slotOf[id] == nil {
            addLeftover(id, adoption.remembered.instances[id], &turn)
        }
        for slot in instances.indices {
            reconcile(slot, with: records[instances[slot].id], &turn)
            if instances[slot].service == nil { stopLeftover(slot, &turn) }
        }
        reconcileProbes(turn.now)
        troubledCount = instances.count { $0.isInTrouble }
        firstAttemptsOpen = services.flatMap(\.slots).count { !instances[$0].memory.firstAttemptOver }
        dependenciesMoved = true
        if first { dateStates() }
        if adoption.remainsEnded > 0 {
            turn.note(
                nil,
                "remains-ended",
                "\(adoption.remainsEnded) process(es) that a former shim left behind were ended before the start"
            )
        }
        // Its predecessor may have died before it could say so, and systemd waits for each daemon's own word.
        if first, node.firstStartFinished { turn.act(.announceFirstStart) }
        resumeDrains(&turn)
        if node.shutdownBy != nil, noticeSkipped { skipNotice(&turn) }
        if node.shutdownBy != nil, shutdownHastened { endFleetNow(&turn) }
    }

    /// A daemon that takes over shows since when things are as they are, not since when it looks at them.
    private mutating func dateStates() {
        for index in services.indices {
            guard let newest = services[index].slots.map({ instances[$0].memory.since }).max() else { continue }
            _ = status(ofService: index, at: newest)
            services[index].since = newest
        }
        if node.firstStartFinished, let newest = services.map(\.since).max() { _ = nodeStatus(at: newest) }
    }

    private mutating func takeMemory(_ adoption: Adoption, _ turn: inout Turn) {
        let asked = node.shutdownBy
        node = adoption.remembered.node
        if node.since.nanoseconds == 0 {
            // No shim remembers: after a reboot, the disk does.
            node.drains = adoption.intents.drains
            node.scales = adoption.intents.scales
        }
        // Rule P5: a stop that was asked for before the shim was there counts.
        node.shutdownBy = node.shutdownBy ?? asked
        if node.since.nanoseconds == 0 { node.since = turn.now }
        let isOfThisBoot = adoption.remembered.breakers != RememberedBreakers()
        for release in adoption.remembered.breakers.releases where releases[release.service] == nil {
            releases[release.service] = release
        }
        seatServices(turn.now)
        breakers.take(
            isOfThisBoot ? adoption.remembered.breakers : adoption.intents.breakers,
            at: turn.now.milliseconds
        )
        savedBreakers = adoption.intents.breakers
        takeMembers(adoption, &turn)
        var intents: [InstanceID: StopIntent] = [:]
        for intent in adoption.intents.stops { intents[intent.instance] = intent }
        for slot in instances.indices {
            let id = instances[slot].id
            if let memory = adoption.remembered.instances[id] {
                restore(memory, in: slot, &turn)
            } else if let intent = intents[id] {
                update(slot: slot, &turn) { $0.wantStop(intent, &$1) }
            }
        }
        let unknown = adoption.remembered.instances.keys.filter { slotOf[$0] == nil }.sorted()
        for id in unknown where !adoption.records.contains(where: { $0.instance == id }) {
            turn.act(.remember(id, nil))
        }
        // A predecessor that died before it could write them to the disk has left that to do.
        intentsMoved = presentIntents != adoption.intents
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
            update(slot: slot, &turn) {
                $0.lost(&$1)
                $0.fitConfiguration(&$1)
            }
            return
        }
        let instance = instances[slot]
        let known = instance.generation == record.generation && instance.state.hasProcess
        switch record.state {
        case .running:
            update(slot: slot, &turn) { known ? $0.found(record, &$1) : $0.foundUnknown(record, &$1) }
        case .exited(let status, let usage, let at, let outOfMemory):
            if known {
                update(slot: slot, &turn) { machine, turn in
                    machine.resumeExit(treeGone: record.treeGone, &turn) { machine, turn in
                        machine.exited(
                            status,
                            usage: usage,
                            at: at,
                            outOfMemory: outOfMemory,
                            treeGone: record.treeGone,
                            &turn
                        )
                    }
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

    /// Room for a process that no service or replica asks for any more.
    private mutating func addLeftover(_ id: InstanceID, _ memory: RememberedInstance?, _ turn: inout Turn) {
        var instance = InstanceMachine(id: id, service: nil, policy: .leftover, now: turn.now)
        instance.memory.state = .stopped(.intent)
        slotOf[id] = instances.count
        instances.append(instance)
        // A stop that is going on keeps its deadline; a wish to start has nobody left who wishes it.
        if let memory, memory.state.hasProcess { restore(memory, in: instances.count - 1, &turn) }
    }

    /// Without a stop intent: were it configured again, it would run again.
    private mutating func stopLeftover(_ slot: Int, _ turn: inout Turn) {
        let id = instances[slot].id
        switch instances[slot].state {
        case .starting, .ready, .running:
            turn.note(id, "leftover", "\(id) is no longer configured and is stopped")
            update(slot: slot, &turn) { $0.requestStop(cause: .operator, &$1) }
        case .stopping, .stopped, .waiting, .queued, .held, .backoff, .completed, .failed: break
        }
    }
}

extension InstanceMachine {
    /// The process is there, as remembered.
    mutating func found(_ record: Adoption.Record, _ turn: inout Turn) {
        let answered = memory.run?.pid != nil
        memory.run?.pid = record.pid
        memory.run?.startedAt = record.startedAt
        if case .starting = state, !answered, policy.kind == .simple, policy.startup == nil { becomeReady(&turn) }
        fitReadiness(&turn)
        resumeStop(&turn)
    }

    /// Nothing runs, and nothing was to: by what an earlier daemon was configured to, which may have changed.
    mutating func fitConfiguration(_ turn: inout Turn) {
        if obstacle != nil { return }
        switch state {
        // The drain was taken back, and its daemon died before it could start it.
        case .stopped(.drained): transition(to: .waiting, &turn)
        case .completed where policy.kind != .oneshot: transition(to: .queued, &turn)
        case .failed where policy.restart.policy != .never, .stopped(.finished) where policy.restart.policy == .always:
            transition(to: .waiting, &turn)
        case .stopped, .waiting, .queued, .held, .starting, .ready, .running, .stopping, .backoff, .completed, .failed:
            break
        }
    }

    /// What an earlier daemon knew of its readiness, which may have had no probe for it or one that is gone.
    mutating func fitReadiness(_ turn: inout Turn) {
        guard state == .ready || state == .running, let run = memory.run else { return }
        if policy.readiness == nil {
            memory.run?.readiness = nil
            if run.servingAt == nil {
                // One that a probe kept waiting has nothing to wait for any more.
                if run.readiness != nil { beginServing(&turn) } else { memory.run?.servingAt = run.readyAt }
            }
        } else if run.readiness == nil {
            // Nothing changes for it until the probe says so (rule P8).
            memory.run?.servingAt = run.servingAt ?? run.readyAt
            memory.run?.readiness = .passing
        }
        if policy.liveness == nil { memory.run?.livenessFailing = false }
    }

    /// The process is there, but nothing is known of it: it is left running, and counts as ready (rule P8).
    mutating func foundUnknown(_ record: Adoption.Record, _ turn: inout Turn) {
        memory.generation = record.generation
        memory.run = RememberedInstance.Run(startedAt: record.startedAt)
        memory.run?.pid = record.pid
        memory.run?.readyAt = record.startedAt
        memory.startedOnce = true
        memory.firstAttemptOver = true
        if policy.kind == .oneshot {
            memory.run?.readyAt = nil
            transition(to: .starting(deadline: turn.now.advanced(by: policy.startupTimeout)), &turn)
        } else {
            transition(to: .ready, &turn)
            memory.run?.servingAt = record.startedAt
            if policy.readiness != nil { memory.run?.readiness = .passing }
        }
        if obstacle != nil { requestStop(cause: .operator, &turn) }
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

    /// A stop was going on: do what may have died with the daemon. A kill may be asked for twice, a signal may not.
    mutating func resumeStop(_ turn: inout Turn) {
        guard case .stopping(let stop) = state else { return }
        if stop.graceEnds == nil {
            turn.act(.endTree(id, generation))
        } else if !stop.signalled {
            let signal = stop.cause == .watchdog && !stop.mainGone ? SignalNumber.abort : policy.stopSignal
            turn.act(.signal(id, generation, signal, tree: stop.mainGone))
        }
    }

    /// The main process has ended: `exited` unless that was dealt with before the daemon died.
    mutating func resumeExit(
        treeGone gone: Bool,
        _ turn: inout Turn,
        exited: (inout InstanceMachine, inout Turn) -> Void
    ) {
        guard case .stopping(let stop) = state else { return exited(&self, &turn) }
        if stop.mainGone {
            if gone { treeGone(&turn) } else { resumeStop(&turn) }
            return
        }
        // The kill may have died with the daemon.
        if stop.graceEnds == nil, !gone { resumeStop(&turn) }
        exited(&self, &turn)
    }

    /// What a shim is to remember of it: nothing, once a process that no service asks for is gone.
    var worthRemembering: RememberedInstance? { service == nil && !state.hasProcess ? nil : memory }
}
