import SupervisorCore

// The faults stop, and the fleet has to become what was asked for.
extension Host {
    /// The longest that may take: restarts for health are few, and what flaps is held for a quarter of an hour.
    private var patience: Int64 { 75 * 60_000_000_000 }

    mutating func rest() throws {
        isResting = true
        note("the faults are over")
        effectsUntilDeath = nil
        for slot in workers.indices { workers[slot].recover() }
        proberBrokenUntil = 0
        startsFailUntil = 0
        slowUntil = 0
        pressureUntil = 0
        diskFullUntil = 0
        looksFailUntil = 0
        saveWhatWasNot()
        // A worker that said READY=1 into the void says it again; one that leaves goes.
        for slot in workers.indices where isAlive(slot, workers[slot].generation) {
            let number = workers[slot].generation
            if checker.record(of: ids[slot])?.state == .running {
                plan(.workerEnds, after: time(0.1, 10), slot: slot, number: number)
            } else {
                plan(.workerUp, after: time(0.1, 10), slot: slot, number: number)
            }
            if workers[slot].period != nil { say(slot, .period) }
            plan(.workerObeys, after: time(0.1, 10), slot: slot, number: number)
        }
        plan(.look, after: 1_000_000_000)
        try run(until: now + patience)
        if finished { return }
        guard isConverged else { throw ShadowViolation("it does not converge: \(unrest)") }
        checker.tally.count(.converged)
        if daemonLives { try checkOperations() }
    }

    func isAtRest() throws -> Bool { unrest.isEmpty }

    /// What is not as it should be.
    private var unrest: String {
        if !daemonLives || !connected { return "the daemon is away" }
        if checker.hold != nil { return "a hold is on" }
        if let drain = checker.drains.first { return "\(drain) goes on" }
        // One that holds does so for as long as nobody else of the service is ready, which may be for good.
        if let roll = checker.rolls.first(where: { $0.step != .holding }) { return "\(roll) goes on" }
        var machine = machine
        let status = machine.fleetStatus(at: instant)
        if let hold = status.node.hold { return "hold=\(hold)" }
        var ready: Set<InstanceID> = []
        for service in status.services {
            for instance in service.instances where instance.ready { ready.insert(instance.id) }
        }
        for entry in checker.entries {
            if let text = unrest(of: entry, isReady: ready.contains(entry.id)) { return text }
        }
        let intents = checker.entries.count { $0.spec != nil && $0.record?.stopIntent != nil }
        return disk.stops.count == intents ? "" : "the disk remembers other intents"
    }

    private func unrest(of entry: Checker.Entry, isReady: Bool) -> String? {
        let hasTree = shim.processes[entry.id] != nil
        let text = "\(entry.id) is \(entry.kind)"
        guard let service = entry.spec else {
            let isHeld = checker.rolls.contains { $0.service == entry.id.service && $0.extraIndex == entry.id.index }
            return hasTree && !isHeld ? "\(text), and not configured" : nil
        }
        if entry.record?.stopIntent != nil { return hasTree || entry.kind != .stopped ? "\(text), to be stopped" : nil }
        switch entry.kind {
        case .ready: return isReady && hasTree ? nil : "\(text), and not given work"
        case .completed: return service.kind == .oneshot ? nil : text
        case .failed: return service.restart.policy == .always ? text : nil
        case .stopped: return service.restart.policy == .always ? text : nil
        case .waiting: return checker.isBlocked(entry) && mayWaitForever(service) ? nil : text
        case .queued, .held, .starting, .running, .stopping, .backoff: return text
        }
    }

    /// It comes after one that failed for good, or that waits so itself.
    private func mayWaitForever(_ service: ServiceSpec) -> Bool {
        service.after.contains { name in
            checker.entries.contains { other in
                guard other.id.service == name, let spec = other.spec else { return false }
                return other.kind == .failed || (other.kind == .waiting && mayWaitForever(spec))
            }
        }
    }

    /// Nobody who asked for something is left without an answer, but for what waits for one that failed for good.
    private func checkOperations() throws {
        if openOperations.isEmpty { return }
        if checker.entries.contains(where: { $0.spec != nil && $0.kind == .waiting }) { return }
        throw ShadowViolation("operation \(openOperations[0]) is never finished")
    }

    // MARK: The end

    mutating func shutDown() throws {
        guard !finished else { return }
        isConverged = false
        note("the fleet is to stop")
        try send(.shutdownRequested(by: "SIGTERM"))
        for event in [Event.shutdownRequested(by: "SIGTERM"), .noticeSkipped(by: "SIGINT"), .shutdownHastened]
        where random.chance(15) {
            try run(until: now + time(0.1, 8))
            if !finished { try send(event) }
        }
        // Once in a while the daemon dies over it.
        if random.chance(30), daemonLives { effectsUntilDeath = random.pick(0...5) }
        let end = now + 20 * 60_000_000_000
        while let next = queue.next, next.at <= end, !finished {
            isConverged = false
            try run(until: next.at)
        }
        if !finished { throw ShadowViolation("the stop of the fleet is never finished") }
    }
}
