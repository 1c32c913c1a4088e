import LinuxPlatform
import ShimProtocol
import SupervisorCore

// What the daemon asks for.
extension Shim {
    /// Obeys one request. Descriptors that came with the packet are taken in order.
    func obey(_ request: ShimRequest, _ descriptors: inout ArraySlice<SharedDescriptor>) {
        switch request {
        case .hello: break
        case .start(let launch): start(launch)
        case .signal(let id, let generation, let signal, let tree):
            guard let run = run(id, generation) else { return }
            self.signal(run, signal, tree: tree)
        case .endTree(let id, let generation):
            guard let run = run(id, generation) else { return }
            endTree(run)
        case .adoptMain(let id, let generation, let pid):
            guard let run = run(id, generation) else { return }
            adoptMain(run, pid)
        case .release(let id, let generation):
            guard let run = run(id, generation), run.exit != nil, run.treeGone else { return }
            release(run)
        case .remember(let key, let value): remember(key, value)
        case .hold(let name):
            guard let descriptor = descriptors.popFirst() else { return }
            hold(name, descriptor)
        case .letGo(let name): held[name] = nil
        case .exitWhenEmpty: isEmptying = true
        case .ping(let number): report(.pong(number))
        }
    }

    /// The run, unless the request is about another one (rule P4).
    private func run(_ id: InstanceID, _ generation: Generation) -> Run? {
        guard let run = runs[id], run.generation == generation else { return nil }
        return run
    }

    /// All that we have, for a daemon that has just connected.
    func listEverything(_ connection: Connection) {
        connection.send(
            .welcome(
                version: shimProtocolVersion,
                shimPid: ProcessTable.ownPid,
                containment: setup.containment.description,
                controllers: setup.containment.controllers
            )
        )
        for (name, descriptor) in held.sorted(by: { $0.key < $1.key }) { connection.send(name, descriptor) }
        for run in runs.values.sorted(by: { $0.id < $1.id }) { connection.send(.record(run.record)) }
        for (key, value) in memory.sorted(by: { $0.key < $1.key }) { connection.send(.memory(key: key, value: value)) }
        let remains = takeRemains()
        if remains.count > 0 { connection.send(.strays(count: remains.count, example: remains.example)) }
        connection.send(.listed)
        // Nothing of the way here is needed again.
        ProcessMemory.releaseStartupMemory()
    }

    private func hold(_ name: HeldName, _ descriptor: SharedDescriptor) {
        if held[name] == nil, held.count >= ShimLimits.heldDescriptors {
            StandardError.line("eider-shim: cannot hold \(name): \(held.count) descriptors are held already")
            return
        }
        held[name] = descriptor
    }

    private func remember(_ key: String, _ value: [UInt8]) {
        let before = memory[key].map { $0.count + key.utf8.count } ?? 0
        let after = value.isEmpty ? 0 : value.count + key.utf8.count
        if memorySize - before + after > ShimLimits.memoryBytes {
            StandardError.line("eider-shim: cannot remember \(key): \(memorySize) bytes are remembered already")
            return
        }
        memorySize += after - before
        memory[key] = value.isEmpty ? nil : value
    }

    func release(_ run: Run) {
        runs[run.id] = nil
        watched[run.id] = nil
        for slot in run.ledgerSlots { setup.ledger.remove(slot) }
        if case .cgroup(let containment) = setup.containment {
            containment.trim(runs: runs.count) { runs[$0] != nil }
        }
    }

    private func signal(_ run: Run, _ signal: SignalNumber, tree: Bool) {
        guard (1...64).contains(signal.rawValue) else { return }
        if !tree {
            // Not yet reaped, so that the pid cannot be anybody else's.
            if run.exit == nil { try? Signals.send(signal, to: run.pid) }
            return
        }
        for pid in members(of: run) { try? Signals.send(signal, to: pid) }
    }
}
