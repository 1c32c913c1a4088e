import Simulation

@testable import SupervisorCore

// Rule P8: what a new daemon may do at its first event.
extension World {
    func checkTakeover(from before: ShadowShim) throws {
        for id in before.ids {
            guard let process = before.processes[id] else { continue }
            try checkProcess(id, process, before)
        }
        for slot in machine.instances.indices {
            let id = machine.instances[slot].id
            guard let old = before.memory[id] else { continue }
            try checkPolicy(machine.instances[slot], old, before)
        }
    }

    /// What runs goes on; what ended is dealt with once.
    private func checkProcess(_ id: InstanceID, _ process: ShadowShim.Process, _ before: ShadowShim) throws {
        guard let memory = memory(id) else { throw ShadowViolation("P8: \(id) is lost") }
        switch process.state {
        case .running:
            if !(memory.state.hasProcess && memory.generation == process.generation) {
                throw ShadowViolation("P8: " + "\(id) runs and is not known")
            }
            if !(memory.run?.pid == process.pid) {
                throw ShadowViolation("P8: " + "\(id) runs as \(process.pid) and is known as another")
            }
            guard let now = shim.processes[id] else { throw ShadowViolation("P8: \(id) runs and was released") }
            if case .stopping(let stop)? = before.memory[id]?.state {
                if !(!stop.signalled || now.signalsSent == process.signalsSent) {
                    throw ShadowViolation("P8: " + "\(id) is asked to end again")
                }
                return
            }
            // A drain of it goes on, and may come to its stop signal now.
            if before.node?.drains.contains(where: { $0.covers(id) }) == true { return }
            // What is to stop with the fleet, or is no longer configured, is asked to end.
            if before.node?.shutdownBy != nil || slot(id)?.service == nil { return }
            if !(now.signalsSent == process.signalsSent && !now.ending) {
                throw ShadowViolation("P8: " + "\(id) was signalled because of the takeover")
            }
            let old = before.memory[id].map { StateKind($0.state) }
            let new = StateKind(memory.state)
            if !(new == old || (old == .starting && new == .ready)) {
                throw ShadowViolation("P8: " + "\(id) was \(old as Any) and is \(new)")
            }
            if let at = before.memory[id]?.run?.readyAt {
                if !(memory.run?.readyAt == at) {
                    throw ShadowViolation("P8: " + "\(id): readyAt moved")
                }
            }
        case .exited(let status, _, let at, _):
            guard let old = before.memory[id], old.generation == process.generation, old.state.hasProcess else {
                return
            }
            if case .stopping(let stop) = old.state, stop.mainGone { return }
            if !(memory.lastExit?.outcome == .status(status)) {
                throw ShadowViolation("P8: " + "the exit of \(id) is lost")
            }
            if !(memory.lastExit?.at == at) {
                throw ShadowViolation("P8: " + "\(id) ended at \(at), not at \(memory.lastExit?.at as Any)")
            }
        }
    }

    /// Counts, deadlines and intents are where they were.
    private func checkPolicy(_ instance: InstanceMachine, _ old: RememberedInstance, _ before: ShadowShim) throws {
        let id = instance.id
        let new = instance.memory
        if !(new.stopIntent == old.stopIntent) {
            throw ShadowViolation("P8: " + "the intent of \(id) changed")
        }
        if !(!old.firstAttemptOver || new.firstAttemptOver) {
            throw ShadowViolation("P8: " + "the first attempt of \(id) is open again")
        }
        var exitKnown = false
        if case .stopping(let stop) = old.state { exitKnown = stop.mainGone }
        if before.processes[id] == nil, !exitKnown {
            if !(new.crashes == old.crashes) {
                throw ShadowViolation("P8: " + "the crashes of \(id) changed")
            }
        }
        if !(new.crashes <= old.crashes + 1) {
            throw ShadowViolation("P8: " + "the crashes of \(id) went from \(old.crashes) to \(new.crashes)")
        }
        if before.node?.shutdownBy != nil { return }
        // A drain of it, or the rolling restart that the drain is part of, may go on now.
        if before.node?.drains.contains(where: { $0.covers(id) }) == true { return }
        if before.node?.rolls.contains(where: { $0.service == id.service }) == true { return }
        switch old.state {
        case .backoff:
            if !(new == old) {
                throw ShadowViolation("P8: " + "the backoff of \(id) changed: \(old.state), now \(new.state)")
            }
        case .stopping(let stop):
            guard before.processes[id]?.treeGone == false, case .stopping(let now) = new.state else { return }
            if !(now.graceEnds == stop.graceEnds) {
                throw ShadowViolation("P8: " + "the deadline of the stop of \(id) changed")
            }
            if !(now.cause == stop.cause) {
                throw ShadowViolation("P8: " + "the cause of the stop of \(id) changed")
            }
        case .stopped, .completed, .failed:
            if !(new == old) {
                throw ShadowViolation("P8: " + "\(id) was \(old.state) and is \(new.state)")
            }
        case .waiting, .queued, .held, .starting, .ready, .running: break
        }
    }
}
