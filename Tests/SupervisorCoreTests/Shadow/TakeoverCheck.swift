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

    private func require(_ condition: Bool, _ text: @autoclosure () -> String) throws {
        if !condition { throw ShadowViolation("P8: " + text()) }
    }

    /// What runs goes on; what ended is dealt with once.
    private func checkProcess(_ id: InstanceID, _ process: ShadowShim.Process, _ before: ShadowShim) throws {
        guard let memory = memory(id) else { throw ShadowViolation("P8: \(id) is lost") }
        switch process.state {
        case .running:
            try require(
                memory.state.hasProcess && memory.generation == process.generation, "\(id) runs and is not known")
            try require(memory.run?.pid == process.pid, "\(id) runs as \(process.pid) and is known as another")
            guard let now = shim.processes[id] else { throw ShadowViolation("P8: \(id) runs and was released") }
            if case .stopping? = before.memory[id]?.state { return }
            if before.node?.shutdownBy != nil { return }
            try require(
                now.signalsSent == process.signalsSent && !now.ending, "\(id) was signalled because of the takeover")
            let old = before.memory[id].map { StateKind($0.state) }
            let new = StateKind(memory.state)
            try require(new == old || (old == .starting && new == .ready), "\(id) was \(old as Any) and is \(new)")
            if let at = before.memory[id]?.run?.readyAt { try require(memory.run?.readyAt == at, "\(id): readyAt moved") }
        case .exited(let status, _, let at, _):
            guard let old = before.memory[id], old.generation == process.generation, old.state.hasProcess else { return }
            if case .stopping(let stop) = old.state, stop.mainGone { return }
            try require(memory.lastExit?.outcome == .status(status), "the exit of \(id) is lost")
            try require(memory.lastExit?.at == at, "\(id) ended at \(at), not at \(memory.lastExit?.at as Any)")
        }
    }

    /// Counts, deadlines and intents are where they were.
    private func checkPolicy(_ instance: InstanceMachine, _ old: RememberedInstance, _ before: ShadowShim) throws {
        let id = instance.id
        let new = instance.memory
        try require(new.stopIntent == old.stopIntent, "the intent of \(id) changed")
        try require(!old.firstAttemptOver || new.firstAttemptOver, "the first attempt of \(id) is open again")
        var exitKnown = false
        if case .stopping(let stop) = old.state { exitKnown = stop.mainGone }
        if before.processes[id] == nil, !exitKnown {
            try require(new.crashes == old.crashes, "the crashes of \(id) changed")
        }
        try require(new.crashes <= old.crashes + 1, "the crashes of \(id) went from \(old.crashes) to \(new.crashes)")
        if before.node?.shutdownBy != nil { return }
        switch old.state {
        case .backoff: try require(new == old, "the backoff of \(id) changed: \(old.state), now \(new.state)")
        case .stopping(let stop):
            guard before.processes[id]?.treeGone == false, case .stopping(let now) = new.state else { return }
            try require(now.graceEnds == stop.graceEnds, "the deadline of the stop of \(id) changed")
            try require(now.cause == stop.cause, "the cause of the stop of \(id) changed")
        case .stopped, .completed, .failed: try require(new == old, "\(id) was \(old.state) and is \(new.state)")
        case .waiting, .queued, .starting, .ready, .running: break
        }
    }
}
