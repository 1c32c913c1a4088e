// Starting an instance, from the wish to readiness.
extension InstanceMachine {
    /// An operator, or the first start, wants it to run. A wait for backoff is cut short.
    mutating func wantStart(_ turn: inout Turn) {
        memory.stopIntent = nil
        switch state {
        case .stopped, .failed:
            memory.crashes = 0
            memory.startedOnce = false
            transition(to: .waiting, &turn)
        case .backoff:
            memory.crashes = 0
            transition(to: .queued, &turn)
        case .stopping(var stop):
            // What is ending must end first (rule P1); then it is started.
            stop.cause = .operator
            memory.state = .stopping(stop)
        case .waiting, .queued, .held, .starting, .ready, .running, .completed: break
        }
    }

    /// Its breaker does not let it be started: nobody waits for its first attempt any longer.
    mutating func hold(_ turn: inout Turn) {
        guard state == .queued else { return }
        memory.firstAttemptOver = true
        transition(to: .held, &turn)
    }

    /// Its breaker may let it be started.
    mutating func unhold(_ turn: inout Turn) {
        if state == .held { transition(to: .queued, &turn) }
    }

    /// A place is free: ask for the process.
    ///
    /// - Parameter breaker: of the release that is started.
    mutating func begin(breaker: String, _ turn: inout Turn) {
        guard state == .queued, !shutdown else { return }
        memory.generation &+= 1
        memory.run = RememberedInstance.Run(startedAt: turn.now)
        memory.run?.breaker = breaker
        // What it is told by WATCHDOG_USEC: a daemon with another configuration must not expect more of it.
        memory.run?.watchdog = policy.watchdog ?? .zero
        transition(to: .starting(deadline: turn.now.advanced(by: policy.startupTimeout)), &turn)
        turn.act(.spawn(id, generation))
    }

    mutating func started(pid: Int32, at: MonotonicInstant, _ turn: inout Turn) {
        let isFirst = memory.run?.pid == nil
        memory.run?.pid = pid
        memory.run?.startedAt = at
        if !isFirst { return turn.note(id, "main-pid", "\(id) named pid \(pid) as its main process") }
        switch state {
        case .starting:
            turn.note(id, "started", "\(id) was started as pid \(pid)")
            if policy.kind == .simple, policy.startup == nil { becomeReady(&turn) }
        // It was to be stopped before the answer came: the signal is on its way behind the start.
        case .stopping: break
        // No start was outstanding: the fleet has checked the generation, so this cannot be; nothing to do.
        case .ready, .running, .stopped, .waiting, .queued, .held, .backoff, .completed, .failed: break
        }
    }

    /// The start is done. With a readiness probe, that decides from now on whether it is given work.
    mutating func becomeReady(_ turn: inout Turn) {
        memory.run?.readyAt = turn.now
        lastHeartbeat = turn.now
        transition(to: .ready, &turn)
        if policy.readiness == nil {
            beginServing(&turn)
        } else {
            memory.run?.readiness = .pending
            turn.note(id, "up", "\(id) is up; its readiness probe says when it is given work")
        }
    }

    /// It may be given work, for the first time in this run.
    mutating func beginServing(_ turn: inout Turn) {
        memory.run?.servingAt = turn.now
        // From now on it counts.
        if memory.run?.heartbeatLate == true { memory.lastTroubleAt = turn.now }
        memory.run?.readinessOverdue = false
        memory.startedOnce = true
        memory.firstAttemptOver = true
        turn.note(id, "ready", "\(id) is ready")
    }

    /// Rule P3: a failed start feeds the same policy as a failed run.
    mutating func startFailed(_ failure: SpawnFailure, _ turn: inout Turn) {
        switch state {
        case .starting:
            memory.lastExit = LastExit(outcome: .spawnFailed(failure), cause: .spawn, at: turn.now)
            turn.note(id, "start-failed", "\(id) could not be started: \(failure)")
            ended(cause: .spawn, success: false, &turn)
        case .stopping(let stop):
            memory.lastExit = LastExit(outcome: .spawnFailed(failure), cause: .spawn, at: turn.now)
            ended(cause: stop.cause == .operator ? .operator : .spawn, success: false, &turn)
        // No start was outstanding.
        case .ready, .running, .stopped, .waiting, .queued, .held, .backoff, .completed, .failed: break
        }
    }

    /// It was not ready in time.
    mutating func startTimedOut(_ turn: inout Turn) {
        memory.firstAttemptOver = true
        turn.note(id, "startup-timeout", "\(id) was not ready within \(policy.startupTimeout.brief)")
        requestStop(cause: .startupTimeout, &turn)
    }

    /// The backoff is over, or the heartbeat is overdue: see the purpose of the timer.
    mutating func backoffEnded(_ turn: inout Turn) {
        if case .backoff = state { transition(to: .queued, &turn) }
    }
}
