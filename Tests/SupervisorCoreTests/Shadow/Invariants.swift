@testable import SupervisorCore

// What must hold after every event (rules P1–P5 of DESIGN.md, and the core's own books).
extension World {
    func checkInvariants() throws {
        try checkCounts()
        for slot in machine.instances.indices { try checkInstance(slot) }
        for timer in timers.armed where machine.slotOf[timer.token.instance] == nil {
            throw ShadowViolation("\(timer.token) runs for nobody")
        }
    }

    private func require(_ condition: Bool, _ text: @autoclosure () -> String) throws {
        if !condition { throw ShadowViolation(text()) }
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
            case .stopped, .ready, .running, .stopping, .backoff, .completed, .failed: break
            }
            if instance.service != nil, !instance.memory.firstAttemptOver { open += 1 }
        }
        try require(machine.startingCount == starting, "startingCount is \(machine.startingCount), not \(starting)")
        try require(machine.waitingCount == waiting, "waitingCount is \(machine.waitingCount), not \(waiting)")
        try require(
            !machine.adopted || machine.firstAttemptsOpen == open,
            "firstAttemptsOpen is \(machine.firstAttemptsOpen), not \(open)")
        try require(starting <= machine.concurrentStarts, "I7: \(starting) are starting at once")
        try require(machine.startQueue.count == queued, "the queue is \(machine.startQueue) for \(queued) queued")
        for (position, slot) in machine.startQueue.enumerated() {
            try require(machine.instances[slot].state == .queued, "\(machine.instances[slot].id) stands in the queue")
            try require(!machine.startQueue[..<position].contains(slot), "slot \(slot) stands in the queue twice")
        }
        for index in machine.services.indices {
            try require(
                machine.dirty[index] == machine.dirtyList.contains(index), "dirty and dirtyList differ at \(index)")
        }
        let left = machine.node.shutdownBy == nil || !machine.adopted || machine.instances.contains { $0.state.hasProcess }
        try require(left != machine.shutdownFinished, "shutdownFinished is \(machine.shutdownFinished)")
        if connected {
            try require(
                shim.node?.shutdownBy == machine.node.shutdownBy, "the shim remembers another stop of the fleet")
            try require(
                shim.node?.firstStartFinished == machine.node.firstStartFinished,
                "the shim remembers another first start")
            try require(
                announcements == (machine.node.firstStartFinished ? 1 : 0),
                "the first start was announced \(announcements) times")
        }
    }

    // MARK: One instance

    private func checkInstance(_ slot: Int) throws {
        let instance = machine.instances[slot]
        let id = instance.id
        try require(machine.slotOf[id] == slot, "slotOf of \(id) is wrong")
        try require(
            instance.state.hasProcess == (instance.memory.run != nil), "\(id) is \(instance.state), but its run is not")
        try checkTimer(instance)
        try checkReason(slot)
        if !connected { return }
        // P1, P2: a record and a state with a process belong together.
        if let process = shim.processes[id] {
            try require(
                instance.state.hasProcess && instance.generation == process.generation,
                "\(id) has a process #\(process.generation) but is #\(instance.generation) \(instance.state)")
        } else if instance.state.hasProcess {
            try require(
                shim.outbox.contains { event in
                    if case .startFailed(id, instance.generation, _) = event { return true }
                    return false
                }, "\(id) is \(instance.state) without a process")
        }
        // P8: the successor would know what this daemon knows.
        if let remembered = shim.memory[id] {
            try require(remembered == instance.memory, "\(id): the shim remembers \(remembered), not \(instance.memory)")
        } else if instance.service != nil {
            try require(
                instance.memory == RememberedInstance(state: .waiting, since: instance.memory.since),
                "\(id) is not remembered: \(instance.memory)")
        }
    }

    private func checkTimer(_ instance: InstanceMachine) throws {
        let armed = timers.timer(of: instance.id)
        try require(
            armed?.token == instance.timer?.token && armed?.at == instance.timer?.deadline,
            "\(instance.id) believes in \(instance.timer as Any), but \(armed as Any) runs")
        guard let wanted = instance.deadline else {
            try require(armed == nil, "\(instance.id) is \(instance.state), but \(armed as Any) runs")
            return
        }
        try require(
            armed?.token.purpose == wanted.purpose, "P3: \(instance.id) is \(instance.state), but \(armed as Any) runs")
        let exact = wanted.purpose != .watchdog
        try require(
            armed.map { exact ? $0.at == wanted.at : $0.at <= wanted.at } ?? false,
            "\(instance.id): the timer is for \(armed as Any), the state is due at \(wanted)")
    }

    /// P3: no state without a timer, a process or a reason.
    private func checkReason(_ slot: Int) throws {
        let instance = machine.instances[slot]
        if machine.node.shutdownBy != nil, machine.adopted {
            switch instance.state {
            case .stopping, .stopped: break
            case .waiting, .queued, .starting, .ready, .running, .backoff, .completed, .failed:
                throw ShadowViolation("P5: \(instance.id) is \(instance.state) while the fleet is being stopped")
            }
        }
        switch instance.state {
        case .waiting:
            let blocked = instance.service.map { !machine.blockers(of: $0).isEmpty } ?? false
            try require(blocked || !machine.shimPresent, "P3: \(instance.id) waits for nothing")
        case .queued:
            try require(
                machine.startingCount >= machine.concurrentStarts || !machine.shimPresent,
                "P3: \(instance.id) is queued though a place is free")
        case .stopped(.intent):
            try require(
                instance.memory.stopIntent != nil || instance.service == nil, "\(instance.id) is stopped by nobody")
        case .stopped(.shutdown):
            try require(
                machine.node.shutdownBy != nil, "\(instance.id) is stopped with the fleet, which is not being stopped")
        case .stopped(.finished), .starting, .ready, .running, .stopping, .backoff, .completed, .failed: break
        }
        let wanted = instance.memory.stopIntent == nil
        let stops: Bool =
            switch instance.state {
            case .stopping, .stopped: true
            case .waiting, .queued, .starting, .ready, .running, .backoff, .completed, .failed: false
            }
        try require(wanted || stops || !machine.adopted, "\(instance.id) is \(instance.state) though it is to be stopped")
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
            try require(changed == Array(machine.services.indices), "not everything is published at first: \(changed)")
        }
        for index in changed {
            let status = machine.status(ofService: index, at: now)
            if index < published.count { published[index] = status } else { published.append(status) }
        }
        _ = machine.nodeStatus(at: now)
        var copy = machine
        for index in published.indices {
            let fresh = copy.status(ofService: index, at: now)
            try require(fresh == published[index], "an old status is published: \(published[index]), now \(fresh)")
            for instance in fresh.instances where !instance.ready && instance.state != .starting {
                try require(instance.reason != nil, "\(instance.id) is \(instance.state) without a reason")
            }
        }
    }
}
