import Simulation

@testable import SupervisorCore

// What must hold after every event (rules P1–P5 of DESIGN.md, and the core's own books).
extension World {
    func checkInvariants() throws {
        try checkCounts()
        for slot in machine.instances.indices { try checkInstance(slot) }
        for timer in timers.armed {
            guard let id = timer.token.instance else { continue }
            if machine.slotOf[id] == nil { throw ShadowViolation("\(timer.token) runs for nobody") }
        }
        try checkNodeTimer()
        try checkProbes()
    }

    // MARK: The core's books

    private func checkCounts() throws {
        var starting = 0
        var waiting = 0
        var queued = 0
        var open = 0
        for instance in machine.instances {
            switch instance.state {
            case .starting: starting += 1
            case .waiting: waiting += 1
            case .queued: queued += 1
            case .stopped, .held, .ready, .running, .stopping, .backoff, .completed, .failed: break
            }
            if instance.service != nil, !instance.memory.firstAttemptOver { open += 1 }
        }
        if !(machine.startingCount == starting) {
            throw ShadowViolation("startingCount is \(machine.startingCount), not \(starting)")
        }
        if !(machine.waitingCount == waiting) {
            throw ShadowViolation("waitingCount is \(machine.waitingCount), not \(waiting)")
        }
        if !(!machine.adopted || machine.firstAttemptsOpen == open) {
            throw ShadowViolation("firstAttemptsOpen is \(machine.firstAttemptsOpen), not \(open)")
        }
        if !(starting <= machine.concurrentStarts) {
            throw ShadowViolation("I7: \(starting) are starting at once")
        }
        if !(machine.startQueue.count == queued) {
            throw ShadowViolation("the queue is \(machine.startQueue) for \(queued) queued")
        }
        for (position, slot) in machine.startQueue.enumerated() {
            if !(machine.instances[slot].state == .queued) {
                throw ShadowViolation("\(machine.instances[slot].id) stands in the queue")
            }
            if !(!machine.startQueue[..<position].contains(slot)) {
                throw ShadowViolation("slot \(slot) stands in the queue twice")
            }
        }
        for index in machine.services.indices {
            if !(machine.dirty[index] == machine.dirtyList.contains(index)) {
                throw ShadowViolation("dirty and dirtyList differ at \(index)")
            }
        }
        let left =
            machine.node.shutdownBy == nil || !machine.adopted || machine.instances.contains { $0.state.hasProcess }
        if !(left != machine.shutdownFinished) {
            throw ShadowViolation("shutdownFinished is \(machine.shutdownFinished)")
        }
        if connected {
            if !(shim.node?.shutdownBy == machine.node.shutdownBy) {
                throw ShadowViolation("the shim remembers another stop of the fleet")
            }
            if !(shim.node?.hold == machine.node.hold) {
                throw ShadowViolation("the shim remembers another hold")
            }
            if !(recent(shim.node) == recent(machine.node)) {
                throw ShadowViolation("the shim remembers other restarts for health")
            }
            if !(shim.node?.firstStartFinished == machine.node.firstStartFinished) {
                throw ShadowViolation("the shim remembers another first start")
            }
            if !(announcements == (machine.node.firstStartFinished ? 1 : 0)) {
                throw ShadowViolation("the first start was announced \(announcements) times")
            }
        }
    }

    private func recent(_ node: RememberedNode?) -> [HealthRestart] {
        node?.healthRestarts.filter { now.since($0.at) < HealthLimits.restartWindow } ?? []
    }

    private func checkNodeTimer() throws {
        let armed = timers.timer(of: nil)
        if !(armed?.token == machine.nodeTimer?.token && armed?.at == machine.nodeTimer?.deadline) {
            throw ShadowViolation("the node believes in \(machine.nodeTimer as Any), but \(armed as Any) runs")
        }
        guard machine.adopted else { return }
        let due = [
            machine.freeze?.until, machine.node.hold?.endsAt, machine.drainDue(now), machine.rollDue(now),
            machine.breakersDue(now),
        ].compactMap { $0 }.min()
        for drain in machine.node.drains where drain.phase <= .stopping {
            if armed.map({ $0.at > drain.deadline }) ?? true {
                throw ShadowViolation("P3: \(drain) may pass its deadline unseen: \(armed as Any)")
            }
        }
        if !(armed?.at == due) {
            throw ShadowViolation("P3: the node is due at \(due as Any), but \(armed as Any) runs")
        }
    }

    /// The prober runs what the core believes it runs, and only what the present runs ask for.
    private func checkProbes() throws {
        var count = 0
        var troubled = 0
        for instance in machine.instances {
            if instance.isInTrouble { troubled += 1 }
            for key in instance.watched {
                count += 1
                if prober.watches[key] == nil { throw ShadowViolation("\(key) is not watched") }
                if key.generation != instance.generation { throw ShadowViolation("\(key) is watched after its run") }
            }
        }
        if !(prober.watches.count == count) {
            throw ShadowViolation("\(prober.watches.count) probes are run, not \(count)")
        }
        if !(machine.troubledCount == troubled) {
            throw ShadowViolation("troubledCount is \(machine.troubledCount), not \(troubled)")
        }
        if machine.adopted, let hold = machine.node.hold, (hold.calmSince == nil) != (troubled > 0) {
            throw ShadowViolation("\(troubled) are in trouble, and the hold is \(hold)")
        }
        if !machine.pressureAskedFor.isEmpty, !pressureAsked {
            throw ShadowViolation("P3: a restart for health waits for a pressure that nobody measures")
        }
    }

    // MARK: One instance

    private func checkInstance(_ slot: Int) throws {
        let instance = machine.instances[slot]
        let id = instance.id
        if !(machine.slotOf[id] == slot) {
            throw ShadowViolation("slotOf of \(id) is wrong")
        }
        if !(instance.state.hasProcess == (instance.memory.run != nil)) {
            throw ShadowViolation("\(id) is \(instance.state), but its run is not")
        }
        try checkTimer(instance)
        try checkReason(slot)
        if !connected { return }
        // P1, P2: a record and a state with a process belong together.
        if let process = shim.processes[id] {
            if !(instance.state.hasProcess && instance.generation == process.generation) {
                throw ShadowViolation(
                    "\(id) has a process #\(process.generation) but is #\(instance.generation) \(instance.state)"
                )
            }
        } else if instance.state.hasProcess {
            let failing = shim.outbox.contains { event in
                if case .startFailed(id, instance.generation, _) = event { return true }
                return false
            }
            if !failing {
                throw ShadowViolation("\(id) is \(instance.state) without a process")
            }
        }
        // P8: the successor would know what this daemon knows.
        if let remembered = shim.memory[id] {
            if !(remembered == instance.memory) {
                throw ShadowViolation("\(id): the shim remembers \(remembered), not \(instance.memory)")
            }
        } else if instance.service != nil {
            if !(instance.memory == RememberedInstance(state: .waiting, since: instance.memory.since)) {
                throw ShadowViolation("\(id) is not remembered: \(instance.memory)")
            }
        }
    }

    private func checkTimer(_ instance: InstanceMachine) throws {
        let armed = timers.timer(of: instance.id)
        if !(armed?.token == instance.timer?.token && armed?.at == instance.timer?.deadline) {
            throw ShadowViolation("\(instance.id) believes in \(instance.timer as Any), but \(armed as Any) runs")
        }
        guard let wanted = instance.deadline else {
            if !(armed == nil) {
                throw ShadowViolation("\(instance.id) is \(instance.state), but \(armed as Any) runs")
            }
            return
        }
        // A heartbeat's timer may run where a later moment of another kind is wanted: it is looked at when it fires.
        let isUp = instance.state == .ready || instance.state == .running
        let stands = armed?.token.purpose == .watchdog && instance.watchdogPeriod != nil && isUp
        if !(armed?.token.purpose == wanted.purpose || stands) {
            throw ShadowViolation("P3: \(instance.id) is \(instance.state), but \(armed as Any) runs")
        }
        let exact = wanted.purpose != .watchdog && armed?.token.purpose != .watchdog
        if !(armed.map { exact ? $0.at == wanted.at : $0.at <= wanted.at } ?? false) {
            throw ShadowViolation("\(instance.id): the timer is for \(armed as Any), the state is due at \(wanted)")
        }
    }

    /// P3: no state without a timer, a process or a reason.
    private func checkReason(_ slot: Int) throws {
        let instance = machine.instances[slot]
        if machine.node.shutdownBy != nil, machine.adopted {
            switch instance.state {
            case .stopping, .stopped: break
            // What still serves has its notice, and what it has in flight is waited for.
            case .ready where machine.node.drains.contains(where: { $0.purpose == .shutdown && $0.phase <= .inFlight }):
                break
            case .waiting, .queued, .held, .starting, .ready, .running, .backoff, .completed, .failed:
                throw ShadowViolation("P5: \(instance.id) is \(instance.state) while the fleet is being stopped")
            }
        }
        switch instance.state {
        case .waiting:
            let blocked = instance.service.map { !machine.blockers(of: $0).isEmpty } ?? false
            if !(blocked || !machine.shimPresent) {
                throw ShadowViolation("P3: \(instance.id) waits for nothing")
            }
        case .queued:
            if !(machine.startingCount >= machine.concurrentStarts || !machine.shimPresent) {
                throw ShadowViolation("P3: \(instance.id) is queued though a place is free")
            }
        case .held:
            if let service = instance.service, machine.breakers.wouldPass(machine.services[service].seat) {
                throw ShadowViolation("P3: \(instance.id) is held by a breaker that lets it start")
            }
        case .stopped(.intent):
            if !(instance.memory.stopIntent != nil || instance.service == nil) {
                throw ShadowViolation("\(instance.id) is stopped by nobody")
            }
        case .stopped(.shutdown):
            if !(machine.node.shutdownBy != nil) {
                throw ShadowViolation("\(instance.id) is stopped with the fleet, which is not being stopped")
            }
        case .stopped(.drained):
            if !(instance.memory.isDrained && machine.drain(covering: slot) != nil) {
                throw ShadowViolation("\(instance.id) is drained by nobody")
            }
        case .stopped(.finished), .starting, .ready, .running, .stopping, .backoff, .completed, .failed: break
        }
        let wanted = instance.memory.stopIntent == nil
        let stops: Bool =
            switch instance.state {
            case .stopping, .stopped: true
            case .waiting, .queued, .held, .starting, .ready, .running, .backoff, .completed, .failed: false
            }
        if !(wanted || stops || !machine.adopted) {
            throw ShadowViolation("\(instance.id) is \(instance.state) though it is to be stopped")
        }
    }

    /// Each state's documentation names its successors.
    func checkSuccession(of id: InstanceID, to state: InstanceState) throws {
        let from = shim.memory[id].map { StateKind($0.state) } ?? .waiting
        let to = StateKind(state)
        if from == to || from.successors.contains(to) { return }
        // What a new shim is told again, and what no configuration knows, may be anything.
        if shim.memory[id] == nil { return }
        throw ShadowViolation("\(id) went from \(from) to \(to), which is not a documented successor")
    }

    // MARK: What is published

    /// Publishes what changed, as the shell does, and checks that nothing else did.
    mutating func publish() throws {
        let changed = machine.takeChangedServices()
        if published.isEmpty {
            if !(changed == Array(machine.services.indices)) {
                throw ShadowViolation("not everything is published at first: \(changed)")
            }
        }
        for index in changed {
            let status = machine.status(ofService: index, at: now)
            if index < published.count { published[index] = status } else { published.append(status) }
        }
        _ = machine.nodeStatus(at: now)
        var copy = machine
        for index in published.indices {
            let fresh = copy.status(ofService: index, at: now)
            if !(fresh == published[index]) {
                throw ShadowViolation("an old status is published: \(published[index]), now \(fresh)")
            }
            for instance in fresh.instances where !instance.ready && instance.state != .starting {
                if !(instance.reason != nil) {
                    throw ShadowViolation("\(instance.id) is \(instance.state) without a reason")
                }
            }
        }
    }
}
