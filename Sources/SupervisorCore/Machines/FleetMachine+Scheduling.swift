// Which instance may start, and when the first start is over.
extension FleetMachine {
    /// Starts what may start: first what waited for other services and need not any longer, then by the queue, as
    /// many at once as `concurrent_starts` allows (rule I7).
    mutating func schedule(_ turn: inout Turn) {
        guard shimPresent, node.shutdownBy == nil else { return }
        repeat {
            releaseWaiting(&turn)
            while startingCount < concurrentStarts, let slot = startQueue.first {
                startQueue.removeFirst()
                startOrHold(slot, &turn)
            }
        } while dependenciesMoved
    }

    private mutating func releaseWaiting(_ turn: inout Turn) {
        guard dependenciesMoved else { return }
        dependenciesMoved = false
        if waitingCount == 0 { return }
        var moved: [Bool] = Array(repeating: false, count: services.count)
        for index in services.indices {
            let satisfied = isSatisfied(index)
            moved[index] = satisfied != services[index].satisfied
            services[index].satisfied = satisfied
        }
        // What they wait for is part of their status.
        for index in services.indices where services[index].after.contains(where: { moved[$0] }) {
            markDirty(service: index)
        }
        for index in services.indices where services[index].after.allSatisfy({ services[$0].satisfied }) {
            for slot in services[index].slots where instances[slot].state == .waiting {
                update(slot: slot, &turn) { $0.transition(to: .queued, &$1) }
            }
        }
        // What was just queued satisfies nobody yet.
        dependenciesMoved = false
    }

    /// A service is ready for those that come `after` it when one of its instances is; and one that is not meant to
    /// run is not waited for, as with systemd's `After=`.
    private func isSatisfied(_ index: Int) -> Bool {
        let slots = services[index].slots
        if slots.contains(where: { instances[$0].hasServed }) { return true }
        return slots.allSatisfy { slot in
            if case .stopped = instances[slot].state { return true }
            return false
        }
    }

    /// The services that keep this one from starting, in the order of `after`.
    func blockers(of index: Int) -> [String] {
        services[index].after.filter { !services[$0].satisfied }.map { services[$0].name }
    }

    // MARK: The first start

    /// The first start is over when every instance has become ready once or its first attempt has come to nothing;
    /// one that waits for a service whose own first attempt came to nothing is not waited for.
    mutating func concludeFirstStart(_ turn: inout Turn) {
        // While the shim is away, nothing that waits can be released.
        guard shimPresent, !node.firstStartFinished, node.shutdownBy == nil else { return }
        if firstAttemptsOpen > 0, !openAttemptsAreBlocked() { return }
        node.firstStartFinished = true
        turn.act(.rememberNode(node))
        turn.act(.announceFirstStart)
        turn.note(nil, "first-start", "the first start is finished")
    }

    private func openAttemptsAreBlocked() -> Bool {
        var waiting = 0
        for index in services.indices {
            for slot in services[index].slots where !instances[slot].memory.firstAttemptOver {
                guard instances[slot].state == .waiting else { return false }
                waiting += 1
            }
        }
        // Everything open waits, and nothing that could end the wait is under way: their services came to nothing.
        return waiting == firstAttemptsOpen
    }
}
