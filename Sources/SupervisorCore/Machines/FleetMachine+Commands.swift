/// A command that waits for its end.
struct Operation: Sendable, Equatable {
    /// What must become true of one instance.
    enum Goal: Sendable, Equatable {
        /// Ready, in a run younger than this generation.
        case up(after: Generation)
        /// Stopped, and nothing of its tree left.
        case down
    }

    /// What else is waited for.
    enum Watch: Sendable, Equatable {
        /// The drain of this target (nil: the node) is done.
        case drain(Target?)
        /// The rolling restart of this service is done.
        case roll(String)
        /// The instance in this slot is no service's any more, and nothing of it runs.
        case gone(Int)
    }

    struct Wait: Sendable {
        var goals: [(slot: Int, goal: Goal)] = []
        var watches: [Watch] = []

        mutating func append(_ other: Wait) {
            goals += other.goals
            watches += other.watches
        }
    }

    var id: OperationID
    var goals: [(slot: Int, goal: Goal)]
    var watches: [Watch]
    var failures: [String] = []
    /// What a drain lost at its deadline.
    var losses: [String] = []

    init(id: OperationID, _ wait: Wait) {
        self.id = id
        goals = wait.goals
        watches = wait.watches
    }

    static func == (left: Operation, right: Operation) -> Bool {
        left.id == right.id && left.failures == right.failures && left.losses == right.losses
            && left.watches == right.watches
            && left.goals.elementsEqual(right.goals) { $0.slot == $1.slot && $0.goal == $1.goal }
    }
}

// What operators ask for.
extension FleetMachine {
    mutating func carryOut(_ command: Command, as operation: OperationID, by caller: String, _ turn: inout Turn) {
        if let refusal = refusalOfCommands {
            turn.act(.finishOperation(operation, .refused(refusal)))
            return
        }
        if operations.count >= CoreLimits.operations {
            // Nobody may be kept from commanding by those who only wait, or have gone: the oldest waits no longer.
            let oldest = operations.removeFirst()
            let text = "it goes on, but is no longer waited for: \(CoreLimits.operations) newer commands are waiting"
            turn.act(.finishOperation(oldest.id, .failed(text)))
        }
        switch command {
        case .start(let targets, let reason):
            onTargets(targets, operation, starts: true, &turn) { machine, slot, turn in
                machine.note(slot, "start-asked", "start", caller, reason, &turn)
                return machine.askStart(slot, &turn)
            }
        case .stop(let targets, let reason):
            onTargets(targets, operation, &turn) { machine, slot, turn in
                let intent = StopIntent(instance: machine.instances[slot].id, by: caller, reason: reason)
                machine.note(slot, "stop-asked", "stop", caller, reason, &turn)
                machine.update(slot: slot, &turn) { $0.wantStop(intent, &$1) }
                return .down
            }
        case .restart(let targets, let reason):
            onTargets(targets, operation, starts: true, replaces: true, &turn) { machine, slot, turn in
                machine.note(slot, "restart-asked", "restart", caller, reason, &turn)
                let generation = machine.instances[slot].generation
                machine.update(slot: slot, &turn) { $0.wantRestart(&$1) }
                return .up(after: generation)
            }
        case .signal(let target, let signal):
            sendSignal(signal, to: target, operation, by: caller, &turn)
        case .drain(let request): drain(request, as: operation, by: caller, &turn)
        case .undrain(let target, let reason): undrain(target, as: operation, by: caller, reason: reason, &turn)
        case .roll(let names, let reason): roll(names, as: operation, by: caller, reason: reason, &turn)
        case .breaker(let name, let action, let reason):
            act(action, onBreaker: name, as: operation, by: caller, reason: reason, &turn)
        case .scale(let name, let replicas, let reason):
            scale(name, to: replicas, as: operation, by: caller, reason: reason, &turn)
        }
    }

    private mutating func askStart(_ slot: Int, _ turn: inout Turn) -> Operation.Goal {
        // Already running: the present run will do. Anything else has to start anew.
        let current = instances[slot].generation
        let runs: Bool
        switch instances[slot].state {
        case .starting, .ready, .running, .completed: runs = true
        case .stopped, .waiting, .queued, .held, .stopping, .backoff, .failed: runs = false
        }
        update(slot: slot, &turn) { $0.wantStart(&$1) }
        return .up(after: runs && current > 0 ? current - 1 : current)
    }

    private func note(
        _ slot: Int,
        _ kind: String,
        _ verb: String,
        _ caller: String,
        _ reason: String?,
        _ turn: inout Turn
    ) {
        let id = instances[slot].id
        turn.note(id, kind, "\(caller) asked to \(verb) \(id)" + (reason.map { ": \($0)" } ?? ""))
    }

    private mutating func onTargets(
        _ targets: [Target],
        _ operation: OperationID,
        starts: Bool = false,
        replaces: Bool = false,
        _ turn: inout Turn,
        _ act: (inout FleetMachine, Int, inout Turn) -> Operation.Goal
    ) {
        var slots: [Int] = []
        for target in targets {
            guard let found = resolve(target) else {
                turn.act(.finishOperation(operation, .unknownTarget(target.description)))
                return
            }
            // Those that are on their way out are nobody's to command.
            for slot in found where !slots.contains(slot) && isMember(slot) { slots.append(slot) }
        }
        for slot in starts ? slots : [] {
            guard let refusal = refusalOfStart(slot) ?? (replaces ? refusalOfReplacement(slot) : nil) else { continue }
            turn.act(.finishOperation(operation, .refused(refusal)))
            return
        }
        // Whoever acts on it by hand takes it out of a rolling restart's hands.
        let names = slots.map { instances[$0].id.service }
        abandonRolls({ names.contains($0) }, "an operator acted on it", &turn)
        var goals: [(slot: Int, goal: Operation.Goal)] = []
        for slot in slots where instances[slot].service != nil { goals.append((slot, act(&self, slot, &turn))) }
        // A program that was replaced is another release, with a breaker of its own.
        if starts { turn.act(.identifyReleases(Set(names).sorted())) }
        operations.append(Operation(id: operation, Operation.Wait(goals: goals)))
    }

    /// The instances that a target names; nil when it names nothing.
    func resolve(_ target: Target) -> [Int]? {
        switch target {
        case .service(let name): services.first { $0.name == name }?.slots
        case .instance(let id): slotOf[id].flatMap { instances[$0].service == nil ? nil : [$0] }
        }
    }

    private mutating func sendSignal(
        _ signal: SignalNumber,
        to target: Target,
        _ operation: OperationID,
        by caller: String,
        _ turn: inout Turn
    ) {
        guard let slots = resolve(target) else {
            turn.act(.finishOperation(operation, .unknownTarget(target.description)))
            return
        }
        if !shimPresent {
            turn.act(.finishOperation(operation, .refused("the shim is being replaced; try again in a moment")))
            return
        }
        let running = slots.filter { instances[$0].memory.run?.pid != nil }
        if running.isEmpty {
            turn.act(.finishOperation(operation, .refused("\(target) has no process to signal")))
            return
        }
        for slot in running {
            let id = instances[slot].id
            turn.act(.signal(id, instances[slot].generation, signal, tree: false))
            turn.note(id, "signal-asked", "\(caller) sent \(signal) to \(id)")
        }
        turn.act(.finishOperation(operation, .done))
    }

    // MARK: Waiting for the end

    /// Finishes the commands whose goals are reached, or can no longer be.
    mutating func settleOperations(_ turn: inout Turn) {
        if operations.isEmpty { return }
        for index in operations.indices {
            settleGoals(index)
            settleWatches(index)
            guard operations[index].goals.isEmpty, operations[index].watches.isEmpty else { continue }
            turn.act(.finishOperation(operations[index].id, result(of: operations[index])))
        }
        operations.removeAll { $0.goals.isEmpty && $0.watches.isEmpty }
    }

    private func result(of operation: Operation) -> OperationResult {
        if !operation.failures.isEmpty { return .failed(operation.failures.joined(separator: "\n")) }
        return operation.losses.isEmpty ? .done : .deadlineReached(operation.losses.joined(separator: "\n"))
    }

    private mutating func settleGoals(_ index: Int) {
        var open: [(slot: Int, goal: Operation.Goal)] = []
        for (slot, goal) in operations[index].goals {
            switch outcome(of: goal, slot) {
            case .open: open.append((slot, goal))
            case .reached: break
            case .missed(let text): operations[index].failures.append(text)
            }
        }
        operations[index].goals = open
    }

    private mutating func settleWatches(_ index: Int) {
        var open: [Operation.Watch] = []
        for watch in operations[index].watches {
            switch watch {
            case .roll(let name): if node.shutdownBy == nil, isRolling(name) { open.append(watch) }
            case .gone(let slot):
                if let hindrance = hindrance(toRemovalOf: slot) {
                    if !operations[index].failures.contains(hindrance) { operations[index].failures.append(hindrance) }
                } else if instances[slot].service != nil || instances[slot].state.hasProcess {
                    open.append(watch)
                }
            case .drain(let target):
                guard let drain = drainIndex(.maintenance, target).map({ node.drains[$0] }) else {
                    operations[index].failures.append("the drain was taken back by eiderctl undrain")
                    continue
                }
                if drain.phase == .enforce, let text = whatCannotEnd(drain) {
                    operations[index].failures.append(text)
                } else if drain.phase != .drained {
                    open.append(watch)
                } else if drain.deadlineReached {
                    let lost = drain.lost.map(\.inWords).joined(separator: ", ")
                    operations[index].losses.append("the deadline was reached; killed: \(lost)")
                }
            }
        }
        operations[index].watches = open
    }

    /// Why an instance does not go that was to go; nil while it may.
    private func hindrance(toRemovalOf slot: Int) -> String? {
        if node.shutdownBy != nil { return "the fleet is being stopped" }
        return isMember(slot) ? "\(instances[slot].id) is asked for again" : instances[slot].cannotEnd
    }

    /// nil while something is left of the drain that may still end.
    private func whatCannotEnd(_ drain: Drain) -> String? {
        let left = slots(of: drain).filter { instances[$0].state.hasProcess }
        let texts = left.compactMap { instances[$0].cannotEnd }
        return texts.isEmpty || texts.count < left.count ? nil : texts.joined(separator: "\n")
    }

    private func isRolling(_ name: String) -> Bool { node.rolls.contains { $0.service == name && $0.failure == nil } }

    /// A rolling restart is over; the text says why, where it came to nothing.
    mutating func settle(rollOf name: String, _ failure: String?, _ turn: inout Turn) {
        for index in operations.indices where operations[index].watches.contains(.roll(name)) {
            operations[index].watches.removeAll { $0 == .roll(name) }
            if let failure { operations[index].failures.append(failure) }
        }
    }

    private enum GoalOutcome {
        case open, reached
        case missed(String)
    }

    private func outcome(of goal: Operation.Goal, _ slot: Int) -> GoalOutcome {
        let instance = instances[slot]
        if instance.service == nil, case .up = goal { return .missed("\(instance.id) is gone") }
        if node.shutdownBy != nil, case .up = goal { return .missed("\(instance.id): the fleet is being stopped") }
        switch (goal, instance.state) {
        case (.down, .stopped): return .reached
        case (.down, let state):
            if instance.memory.stopIntent == nil { return .missed("\(instance.id) was started again meanwhile") }
            if case .stopping = state, let text = instance.cannotEnd { return .missed(text) }
            return .open
        case (.up(let old), .ready) where instance.memory.run?.servingAt == nil:
            let isOverdue = instance.generation > old && instance.memory.run?.readinessOverdue == true
            return isOverdue ? .missed("\(instance.id) \(notReady(instance)); see: eiderctl why \(instance.id)") : .open
        case (.up(let old), .ready), (.up(let old), .completed):
            return instance.generation > old ? .reached : .open
        case (.up, .stopped(.drained)): return .missed("\(instance.id) was drained meanwhile")
        case (.up, .failed), (.up, .stopped(.finished)):
            return .missed("\(instance.id) \(lastEnd(instance)); see: eiderctl why \(instance.id)")
        case (.up(let old), .backoff) where instance.generation > old:
            return .missed("\(instance.id) \(lastEnd(instance)) and is tried again; see: eiderctl why \(instance.id)")
        case (.up, .held) where instance.memory.stopIntent == nil:
            return .missed("\(instance.id) is not started: \(heldText(slot)); see: eiderctl why \(instance.id)")
        case (.up, _):
            return instance.memory.stopIntent == nil ? .open : .missed("\(instance.id) was stopped meanwhile")
        }
    }

    private func notReady(_ instance: InstanceMachine) -> String {
        let found = instance.trackers.readiness.hindrance
        return "has not passed its readiness probe within \(instance.policy.startupTimeout.brief)"
            + (found.isEmpty ? "" : " (\(found))")
    }

    private func lastEnd(_ instance: InstanceMachine) -> String {
        switch instance.memory.lastExit?.outcome {
        case .status(let status)?:
            instance.memory.lastExit?.cause == .startupTimeout
                ? "was not ready within \(instance.policy.startupTimeout.brief)" : status.inWords
        case .spawnFailed(let failure)?: "could not be started: \(failure)"
        case nil: "did not become ready"
        }
    }
}
