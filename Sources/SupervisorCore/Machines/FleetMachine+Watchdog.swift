// A heartbeat that stopped (rule I4 for heartbeats; probes come with their own machine).
extension FleetMachine {
    mutating func watchdogExpired(_ slot: Int, _ turn: inout Turn) {
        let instance = instances[slot]
        guard instance.state == .ready || instance.state == .running,
            let due = instance.deadline, due.purpose == .watchdog
        else { return }
        if turn.now < due.at {
            // Heartbeats moved the deadline while the timer ran.
            update(slot: slot, &turn) { _, _ in }
            return
        }
        let wasLate = instance.memory.run?.heartbeatLate == true
        if let obstacle = obstacleToHealthRestart(slot, turn.now) {
            if !wasLate {
                turn.note(
                    instance.id,
                    "suppressed",
                    "\(instance.id) gives no heartbeat; it is not restarted now: \(obstacle)"
                )
            }
            update(slot: slot, &turn) { machine, turn in
                machine.memory.run?.heartbeatLate = true
                machine.lastHeartbeat = turn.now
            }
            return
        }
        node.healthRestarts.append(HealthRestart(service: instance.id.service, at: turn.now))
        turn.act(.rememberNode(node))
        turn.note(instance.id, "watchdog", "\(instance.id) gives no heartbeat and is restarted")
        update(slot: slot, &turn) { $0.requestStop(cause: .watchdog, signal: .abort, &$1) }
    }

    /// Why a restart for health must not happen now, by rule I4; nil when it may.
    private mutating func obstacleToHealthRestart(_ slot: Int, _ now: MonotonicInstant) -> String? {
        let instance = instances[slot]
        if instance.policy.watchdogAction == .report { return "liveness.action is report" }
        if let readyAt = instance.memory.run?.readyAt, now.since(readyAt) < CoreLimits.healthRestartGrace {
            return "it has been ready for less than \(CoreLimits.healthRestartGrace.brief) (I4)"
        }
        node.healthRestarts.removeAll { now.since($0.at) >= CoreLimits.healthRestartWindow }
        let window = CoreLimits.healthRestartWindow.brief
        if node.healthRestarts.count >= CoreLimits.healthRestartsPerNode {
            return "\(node.healthRestarts.count) restarts for health on this node within \(window) (I4)"
        }
        let sameService = node.healthRestarts.count { $0.service == instance.id.service }
        if sameService >= CoreLimits.healthRestartsPerService {
            return "\(instance.id.service) was restarted for health within \(window) (I4)"
        }
        if instances.contains(where: \.isBeingRestartedForHealth) {
            return "another instance is being restarted for health (I4)"
        }
        return nil
    }
}

extension InstanceMachine {
    fileprivate var isBeingRestartedForHealth: Bool {
        switch state {
        case .stopping(let stop): stop.cause == .watchdog || stop.cause == .liveness
        case .queued, .starting, .backoff:
            memory.lastExit?.cause == .watchdog || memory.lastExit?.cause == .liveness
        case .stopped, .waiting, .ready, .running, .completed, .failed: false
        }
    }
}
