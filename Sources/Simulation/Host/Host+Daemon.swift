import SupervisorCore

// The daemon's life: what it is told, what it asks for, how it dies and how the next one takes over.
extension Host {
    /// Tells the daemon, carries out what it answers, and has the rules checked. Where `effectsUntilDeath` runs out,
    /// it dies between two effects.
    mutating func send(_ event: Event) throws {
        guard daemonLives, !finished else { return }
        let effects = machine.handle(event, at: instant)
        digest.add(now)
        if effects.isEmpty {
            digest.add(1 as UInt64)
            try checker.take(event, [], at: now)
            return
        }
        if writesJournal { write(event, effects) }
        var done = effects.count
        var remembers = false
        for (index, effect) in effects.enumerated() {
            if let left = effectsUntilDeath {
                if left <= 0 {
                    done = index
                    break
                }
                effectsUntilDeath = left - 1
            }
            digest.add(effect)
            if case .remember = effect { remembers = true }
            try carryOut(effect)
        }
        let isWhole = done == effects.count
        try checker.take(event, isWhole ? effects : Array(effects[..<done]), at: now, isWhole: isWhole)
        if !isWhole || effectsUntilDeath == 0 {
            checker.tally.count(.takeoverMidway)
            note("the daemon is killed after \(done) of \(effects.count) effects")
            die()
        } else if remembers, !finished {
            try checker.checkReasons(timers, shimPresent: connected)
        }
    }

    private mutating func write(_ event: Event, _ effects: [Effect]) {
        let said = effects.compactMap { effect -> String? in
            switch effect {
            case .record(let subject, let kind, let text): "[\(subject ?? "node") \(kind)] \(text)"
            case .spawn, .signal, .endTree: "\(effect)".replacing("SupervisorCore.", with: "")
            default: nil
            }
        }
        if said.isEmpty { return }
        for text in said { note(text) }
    }

    private mutating func carryOut(_ effect: Effect) throws {
        switch effect {
        case .startTimer(let token, let at):
            try timers.obey(effect)
            let slot = token.instance.flatMap { slotOf[$0] } ?? -1
            plan(.timer, after: at.nanoseconds - now, slot: slot, number: token.number)
        case .cancelTimer: try timers.obey(effect)
        case .watch(let key, _, let firstAt):
            try prober.obey(effect, at: instant)
            guard let watch = prober.watches[key], let slot = slotOf[key.instance] else { return }
            let detail = UInt32(key.kind.rawValue)
            plan(.probe, after: firstAt.nanoseconds - now, slot: slot, number: watch.number, detail: detail)
        case .unwatch: try prober.obey(effect, at: instant)
        case .lookAtProbers: plan(.probersSeen, after: time(0.0001, 0.02), number: epoch)
        case .countConnections: plan(.connectionsCounted, after: time(0.0001, 0.05), number: epoch)
        case .measurePressure: plan(.pressureMeasured, after: time(0.0001, 0.02), number: epoch)
        case .spawn(let id, let generation):
            guard connected else { throw ShadowViolation("\(id) is started without a shim") }
            shim.startFault = startFault()
            try shim.obey(effect, at: instant)
            if let slot = slotOf[id] { workerBegins(slot, generation) }
        case .signal(let id, let generation, _, _):
            guard connected else { return }
            try shim.obey(effect, at: instant)
            if let slot = slotOf[id] { plan(.workerObeys, after: obeyTime(), slot: slot, number: generation) }
        case .endTree(let id, let generation):
            guard connected else { return }
            try shim.obey(effect, at: instant)
            if let slot = slotOf[id] { plan(.treeEnds, after: time(0.001, 0.05), slot: slot, number: generation) }
        case .release, .remember, .rememberNode, .rememberBreakers: if connected { try shim.obey(effect, at: instant) }
        case .saveIntents(let intents): save(intents)
        case .finishOperation(let operation, _):
            guard let index = openOperations.firstIndex(of: operation) else {
                throw ShadowViolation("operation \(operation) is finished and was not open")
            }
            openOperations.remove(at: index)
        case .finishShutdown:
            if !shim.ids.isEmpty { throw ShadowViolation("P2: the stop is finished with \(shim.ids) left") }
            finished = true
        case .record, .announceFirstStart, .askStore, .identifyReleases: break
        }
    }

    private mutating func obeyTime() -> Int64 {
        time(scenario.stopTime.lowerBound, isResting ? 1 : scenario.stopTime.upperBound)
    }

    // MARK: The disk

    private mutating func save(_ intents: Intents) {
        if now < diskFullUntil {
            // The shell keeps them and tries again; until then the shim alone remembers.
            unsaved = intents
            checker.tally.count(.diskFull)
            note("the intents cannot be saved: No space left on device (ENOSPC)")
            plan(.diskHasRoom, after: diskFullUntil - now)
        } else {
            unsaved = nil
            disk = Intents(decoding: intents.encoded()) ?? Intents()
        }
    }

    mutating func saveWhatWasNot() {
        guard let intents = unsaved, daemonLives else { return }
        save(intents)
    }

    // MARK: Death and birth

    mutating func die() {
        effectsUntilDeath = nil
        daemonLives = false
        timers.removeAll()
        prober.removeAll()
        shim.connectionEnds()
        reportsPlanned = 0
        connection += 1
        openOperations = []
        unsaved = nil
        plan(.daemonBegins, after: random.chance(80) ? time(0.001, 0.5) : time(1, 90))
    }

    mutating func daemonBegins() throws {
        if daemonLives || finished { return }
        let isFirst = epoch == 0
        epoch += 1
        connection += 1
        daemonLives = true
        connected = true
        // What happened meanwhile it learns by what the shim holds.
        shim.connectionEnds()
        reportsPlanned = 0
        checker.daemonBegins(spec, memory: shim.memory, node: shim.node, at: now)
        let memory = shim.memory
        let node = shim.node
        let processes = shim.processes
        machine = FleetMachine(spec: spec, now: instant, seed: seed &+ epoch)
        if !isFirst {
            checker.tally.count(.takeover)
            for id in memory.keys.sorted() {
                if let record = memory[id] { checker.tally.countTakeover(StateKind(record.state)) }
            }
        }
        note("daemon \(epoch) begins")
        let mayDie = effectsUntilDeath
        effectsUntilDeath = nil
        try send(.shimConnected(shim.adoption(intents: disk)))
        effectsUntilDeath = mayDie
        if !isFirst { try checkTakeover(memory, node, processes) }
        try readBacklog()
    }

    /// What workers said while nobody listened.
    private mutating func readBacklog() throws {
        let backlog = shim.datagrams
        shim.datagrams = []
        for datagram in backlog { try send(.notified(datagram.instance, datagram.generation, datagram.message)) }
    }

    mutating func loseShim(replaced: Bool) throws {
        guard daemonLives, connected else { return }
        connected = false
        connection += 1
        shim.connectionEnds()
        reportsPlanned = 0
        if replaced { shim.isReplaced() }
        checker.tally.count(replaced ? .shimReplaced : .shimLost)
        note(replaced ? "the shim dies, and another one comes" : "the connection to the shim breaks")
        try send(.shimLost)
        plan(.shimConnects, after: time(0.01, 3))
    }

    mutating func shimConnects() throws {
        guard daemonLives, !connected else { return }
        connected = true
        connection += 1
        shim.connectionEnds()
        reportsPlanned = 0
        try send(.shimConnected(shim.adoption(intents: disk)))
        try readBacklog()
    }

    // MARK: Reports and timers

    mutating func planReports() {
        while reportsPlanned < shim.outbox.count {
            reportsPlanned += 1
            plan(.report, after: time(0.0001, 0.003), number: connection)
        }
    }

    mutating func readReport(_ number: UInt64) throws {
        guard number == connection, daemonLives, connected, let report = shim.outbox.first else { return }
        shim.outbox.removeFirst()
        reportsPlanned -= 1
        try send(report)
    }

    mutating func fireTimer(_ id: InstanceID?, _ happening: Happening) throws {
        guard daemonLives, let armed = timers.timer(of: id), armed.token.number == happening.number,
            armed.at.nanoseconds <= now
        else { return }
        timers.remove(armed.token)
        try send(.timerFired(armed.token))
    }

    mutating func answerPressure(_ number: UInt64) throws {
        guard number == epoch else { return }
        var reading = PressureReading()
        if now < pressureUntil { reading.cpuSome = 95 }
        try send(.pressureMeasured(reading))
    }

    // MARK: P8

    /// What a takeover may do: nothing to a worker that runs, and nothing to what was decided.
    private func checkTakeover(
        _ memory: [InstanceID: RememberedInstance],
        _ node: RememberedNode?,
        _ processes: [InstanceID: ShadowShim.Process]
    ) throws {
        if node?.shutdownBy != nil { return }
        for (slot, id) in ids.enumerated() {
            guard let service = services[slot], id.index < service.replicas, let old = memory[id] else { continue }
            // A drain of it goes on, and may come to its stop signal now.
            if node?.drains.contains(where: { $0.covers(id) }) == true { continue }
            if node?.rolls.contains(where: { $0.service == id.service }) == true { continue }
            guard let new = checker.record(of: id) else { throw ShadowViolation("P8: \(id) is forgotten") }
            if new.stopIntent != old.stopIntent { throw ShadowViolation("P8: the intent of \(id) changed") }
            if new.crashes > old.crashes + 1 { throw ShadowViolation("P8: the crashes of \(id) jumped") }
            if new.flaps != old.flaps { throw ShadowViolation("P8: the penalty of \(id) changed") }
            if case .backoff = old.state, new != old { throw ShadowViolation("P8: the backoff of \(id) changed") }
            guard let process = processes[id], process.mainAlive, old.generation == process.generation else { continue }
            try checkRunning(id, process, old, new)
        }
    }

    private func checkRunning(
        _ id: InstanceID,
        _ process: ShadowShim.Process,
        _ old: RememberedInstance,
        _ new: RememberedInstance
    ) throws {
        guard let present = shim.processes[id], present.generation == process.generation else {
            throw ShadowViolation("P8: \(id) runs and was given up")
        }
        if case .stopping(let stop) = old.state {
            if stop.signalled, present.signalsSent != process.signalsSent {
                throw ShadowViolation("P8: \(id) is asked to end again")
            }
            return
        }
        if present.signalsSent != process.signalsSent || present.ending {
            throw ShadowViolation("P8: \(id) is signalled because of the takeover")
        }
        let (from, to) = (StateKind(old.state), StateKind(new.state))
        if from != to, from != .starting || to != .ready { throw ShadowViolation("P8: \(id) was \(from) and is \(to)") }
        if let at = old.run?.readyAt, new.run?.readyAt != at { throw ShadowViolation("P8: readyAt of \(id) moved") }
        if old.run?.readiness == .passing, new.run?.readiness == .failing || new.run?.readiness == .pending {
            throw ShadowViolation("P8: \(id) is no longer ready because of the takeover")
        }
    }
}
