// Ending an instance: by wish, by policy, or because it ended itself.
extension InstanceMachine {
    /// An operator wants it stopped.
    mutating func wantStop(_ intent: StopIntent, _ turn: inout Turn) {
        memory.stopIntent = intent
        memory.firstAttemptOver = true
        if state.hasProcess {
            requestStop(cause: .operator, &turn)
        } else if state != .stopped(.intent) {
            transition(to: .stopped(.intent), &turn)
        }
    }

    /// An operator wants a new process.
    mutating func wantRestart(_ turn: inout Turn) {
        if state.hasProcess {
            memory.stopIntent = nil
            memory.crashes = 0
            requestStop(cause: .operator, &turn)
        } else if state == .completed {
            transition(to: .queued, &turn)
        } else {
            wantStart(&turn)
        }
    }

    /// How long an instance that is told to end may take.
    enum Patience {
        /// Its grace period.
        case grace
        /// Its grace period, and not beyond this.
        case graceUntil(MonotonicInstant)
        /// Until then, whatever its grace period is: an operator's drain says how long it waits.
        case until(MonotonicInstant)
    }

    /// The fleet is being stopped.
    mutating func beginShutdown(_ patience: Patience, _ turn: inout Turn) {
        shutdown = true
        if state.hasProcess {
            requestStop(cause: .operator, within: patience, &turn)
        } else if state != .stopped(.intent) {
            transition(to: .stopped(.shutdown), &turn)
        }
    }

    /// A drain has come to the point where it has to end. What runs and what would be started is held; what is at
    /// rest already stays as it is.
    mutating func leave(_ patience: Patience, _ turn: inout Turn) {
        memory.isDrained = true
        memory.firstAttemptOver = true
        switch state {
        case .starting, .ready, .running, .stopping: requestStop(cause: .operator, within: patience, &turn)
        case .waiting, .queued, .held, .backoff: transition(to: .stopped(.drained), &turn)
        case .stopped, .completed, .failed: break
        }
    }

    /// The drain was taken back. What is ending must end first (rule P1); then it is started.
    mutating func comeBack(_ turn: inout Turn) {
        if !memory.isDrained { return }
        memory.isDrained = false
        memory.crashes = 0
        switch state {
        case .stopped(.drained): transition(to: .waiting, &turn)
        // What had come to its end before may be meant to run by what the configuration says now.
        case .stopped, .completed, .failed: fitConfiguration(&turn)
        case .waiting, .queued, .held, .starting, .ready, .running, .stopping, .backoff: break
        }
    }

    /// Asks the main process to end, and starts the time it has for that. A stop that is going on keeps its deadline,
    /// or gets an earlier one.
    mutating func requestStop(
        cause: ExitCause,
        within patience: Patience = .grace,
        signal: SignalNumber? = nil,
        _ turn: inout Turn
    ) {
        let grace = turn.now.advanced(by: policy.stopGracePeriod)
        if case .stopping(var stop) = state {
            // An operator's wish is why it does not come back; how it ends has been decided already.
            if cause == .operator { stop.cause = .operator }
            switch patience {
            case .grace: break
            case .graceUntil(let latest), .until(let latest):
                stop.latest = min(stop.latest ?? latest, latest)
                stop.graceEnds = stop.graceEnds.map { min($0, latest) }
            }
            memory.state = .stopping(stop)
            return
        }
        var stop = InstanceState.Stop(cause: cause, graceEnds: grace)
        switch patience {
        case .grace: break
        case .graceUntil(let latest): (stop.graceEnds, stop.latest) = (min(grace, latest), latest)
        case .until(let latest): (stop.graceEnds, stop.latest) = (latest, latest)
        }
        transition(to: .stopping(stop), &turn)
        turn.act(.signal(id, generation, signal ?? policy.stopSignal, tree: false))
    }

    /// Notes that the stop signal, which each update that asks for a stop gives, was given; false where it is known.
    mutating func confirmSignal() -> Bool {
        guard case .stopping(var stop) = state, stop.graceEnds != nil, !stop.signalled else { return false }
        stop.signalled = true
        memory.state = .stopping(stop)
        return true
    }

    /// The grace period is over, or nobody waits any longer: end the tree.
    mutating func endNow(_ turn: inout Turn) {
        guard case .stopping(var stop) = state, stop.graceEnds != nil else { return }
        stop.graceEnds = nil
        memory.state = .stopping(stop)
        turn.act(.endTree(id, generation))
    }

    /// The main process ended, now or, where the daemon was away, at `at`.
    mutating func exited(
        _ status: ExitStatus,
        usage: ResourceUsage,
        at: MonotonicInstant? = nil,
        outOfMemory: Bool,
        treeGone: Bool,
        _ turn: inout Turn
    ) {
        let at = at ?? turn.now
        switch state {
        case .starting, .ready, .running:
            let cause = Self.cause(of: status, outOfMemory: outOfMemory)
            memory.lastExit = LastExit(outcome: .status(status), cause: cause, at: at, usage: usage)
            turn.note(id, "exited", "\(id) \(status.inWords)\(outOfMemory ? " for lack of memory" : "")")
            if treeGone {
                ended(cause: cause, success: cause == .exit && isSuccess(status), &turn)
            } else {
                // Nobody asked the rest of the tree to go on alone: a twin must not meet it (rule P1).
                var stop = InstanceState.Stop(cause: cause, graceEnds: nil)
                stop.mainGone = true
                transition(to: .stopping(stop), &turn)
                turn.act(.endTree(id, generation))
            }
        case .stopping(var stop):
            if stop.mainGone { return }
            // A restart for health stays one, however its process ends: rule I4 counts on it.
            let isForHealth = stop.cause == .watchdog || stop.cause == .liveness
            let cause = outOfMemory && !isForHealth ? .oom : stop.cause
            memory.lastExit = LastExit(outcome: .status(status), cause: cause, at: at, usage: usage)
            turn.note(id, "exited", "\(id) \(status.inWords)")
            stop.mainGone = true
            stop.signalled = false
            memory.state = .stopping(stop)
            if treeGone {
                ended(cause: stop.cause, success: false, &turn)
            } else if stop.graceEnds != nil {
                // Children get what is left of the grace period, and the same signal.
                turn.act(.signal(id, generation, policy.stopSignal, tree: true))
            }
        // No process was there: the fleet has checked the generation, so this cannot be; nothing to do.
        case .stopped, .waiting, .queued, .held, .backoff, .completed, .failed: break
        }
    }

    /// Whether the exit counts as success. A notify service that ends before it said READY=1 has failed, whatever its
    /// code: as with systemd's `Type=notify`.
    private func isSuccess(_ status: ExitStatus) -> Bool {
        if policy.kind == .notify, memory.run?.readyAt == nil { return false }
        return policy.isSuccess(status)
    }

    mutating func treeGone(_ turn: inout Turn) {
        switch state {
        case .stopping(let stop) where stop.mainGone:
            let success: Bool
            if case .status(let status)? = memory.lastExit?.outcome, stop.cause == .exit {
                success = isSuccess(status)
            } else {
                success = false
            }
            ended(cause: stop.cause, success: success, &turn)
        // The exit of the main process comes first, always.
        case .stopping, .starting, .ready, .running, .stopped, .waiting, .queued, .held, .backoff, .completed, .failed:
            break
        }
    }

    mutating func treeRemained(count: Int, example: Int32, _ turn: inout Turn) {
        guard case .stopping(var stop) = state else { return }
        if stop.remaining == 0 {
            turn.note(
                id,
                "cannot-end",
                "cannot end \(count) process(es) of \(id), such as pid \(example): still there after SIGKILL; "
                    + "it is not started again before they are gone"
            )
        }
        stop.remaining = count
        stop.remainingExample = example
        memory.state = .stopping(stop)
    }

    /// What the kernel does not end, in words; nil while there is nothing of that kind.
    var cannotEnd: String? {
        guard case .stopping(let stop) = state, stop.remaining > 0 else { return nil }
        return "cannot end \(stop.remaining) process(es) of \(id), such as pid \(stop.remainingExample); "
            + "see: eiderctl why \(id)"
    }

    /// Nothing of the run is left: decide what follows.
    mutating func ended(cause: ExitCause, success: Bool, _ turn: inout Turn) {
        turn.act(.release(id, generation))
        let readyAt = memory.run?.readyAt
        noteEnd(cause: cause == .operator ? nil : cause, success: success)
        memory.run = nil
        if let obstacle {
            transition(to: .stopped(obstacle), &turn)
            if obstacle != .shutdown { turn.note(id, "stopped", "\(id) is stopped") }
        } else if cause == .operator {
            transition(to: .queued, &turn)
        } else {
            applyPolicy(cause: cause, success: success, readyAt: readyAt, &turn)
        }
    }

    /// For the breaker of its release.
    private mutating func noteEnd(cause: ExitCause?, success: Bool) {
        guard let run = memory.run else { return }
        let endedAt = memory.lastExit?.at ?? run.startedAt
        let policy = policy.restart
        endedRun = EndedRun(
            breaker: run.breaker,
            generation: generation,
            cause: obstacle == nil ? cause : nil,
            success: success,
            isRestarted: policy.policy == .always || (policy.policy == .onFailure && !success),
            startedAt: run.startedAt,
            wasStable: run.readyAt.map { endedAt.since($0) >= policy.stableAfter } ?? false
        )
    }

    private mutating func applyPolicy(
        cause: ExitCause,
        success: Bool,
        readyAt: MonotonicInstant?,
        _ turn: inout Turn
    ) {
        memory.firstAttemptOver = true
        if success, policy.kind == .oneshot {
            memory.startedOnce = true
            transition(to: .completed, &turn)
        } else if policy.restart.policy == .always || (policy.restart.policy == .onFailure && !success) {
            backOff(cause: cause, readyAt: readyAt, &turn)
        } else if success {
            transition(to: .stopped(.finished), &turn)
        } else {
            transition(to: .failed, &turn)
            turn.note(id, "failed", "\(id) failed and its restart policy is \(policy.restart.policy.rawValue)")
        }
    }

    private mutating func backOff(cause: ExitCause, readyAt: MonotonicInstant?, _ turn: inout Turn) {
        // Until its main process ended: neither the end of its tree nor a daemon's absence counts as uptime.
        let endedAt = memory.lastExit?.at ?? turn.now
        let stable = readyAt.map { endedAt.since($0) >= policy.restart.stableAfter } ?? false
        memory.crashes = stable ? 0 : memory.crashes + 1
        memory.restarts &+= 1
        memory.restartsByCause[cause, default: 0] &+= 1
        let delay = BackoffSchedule(policy.restart)
            .delay(afterCrashes: memory.crashes, drawnFrom: &turn.generator)
        if delay <= .zero {
            transition(to: .queued, &turn)
        } else {
            transition(to: .backoff(until: turn.now.advanced(by: delay)), &turn)
            turn.note(id, "backoff", "\(id) is started again in \(delay.brief) (crash \(memory.crashes) in a row)")
        }
    }

    static func cause(of status: ExitStatus, outOfMemory: Bool) -> ExitCause {
        if outOfMemory { return .oom }
        return switch status {
        case .code: .exit
        case .signal: .signal
        }
    }

    /// The run ended without anybody seeing how: the shim was replaced, and its remains were ended.
    mutating func lost(_ turn: inout Turn) {
        guard state.hasProcess else { return }
        if case .stopping(let stop) = state, stop.mainGone {
            // How it ended is known, and what was left of its tree is gone with the shim.
            treeGone(&turn)
            return
        }
        if memory.run?.pid != nil {
            memory.lastExit = LastExit(
                outcome: .status(.signal(.kill, coreDumped: false)),
                cause: .signal,
                at: turn.now
            )
        }
        noteEnd(cause: nil, success: false)
        memory.run = nil
        if let obstacle {
            transition(to: .stopped(obstacle), &turn)
        } else {
            // Not its own fault: no crash is counted, and it starts at once.
            transition(to: .queued, &turn)
        }
    }
}
