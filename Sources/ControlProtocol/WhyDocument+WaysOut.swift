import StatusBoard
import SupervisorCore

// What would unblock an instance, in the order of usefulness.
extension WhyDocument {
    func waysOut(of instance: InstanceStatus) -> [String] {
        let drains = waysOutOfDrain(of: .instance(instance.id))
        let remedy = instance.lastExit.flatMap { PolicyWords(spec: serviceSpec(instance.id.service)).remedy(for: $0) }
        switch instance.state {
        case .healthy: return []
        // What a drain covers is not started.
        case .stopped: return drains.isEmpty ? ["start it: eiderctl start \(instance.id)"] : drains
        case .drained, .draining: return waysOutOfLeaving(instance)
        case .starting: return waitsOfStart(instance)
        case .backoff where !drains.isEmpty, .failed where !drains.isEmpty:
            return drains + (remedy.map { [$0] } ?? [])
        case .backoff: return ["start it now: eiderctl start \(instance.id)"] + (remedy.map { [$0] } ?? [])
        case .failed:
            let policy = serviceSpec(instance.id.service).restart.policy.rawValue
            let start = "start it: eiderctl start \(instance.id) (its restart policy, \(policy), will not)"
            return [start] + (remedy.map { [$0] } ?? [])
        case .stopping: return waitsOfStop(instance) + drains
        case .breakerOpen: return waysOutOfBreaker(instance.id.service)
        case .unhealthy, .degraded:
            return waysOutOfFailure(instance)
        }
    }

    /// What would make its probes pass, or bring what is put off.
    private func waysOutOfFailure(_ instance: InstanceStatus) -> [String] {
        let service = serviceSpec(instance.id.service)
        var ways: [String] = []
        for check in instance.checks {
            if let obstacle = check.obstacle {
                ways.append("mend what keeps its \(check.kind.name) probe from being run: \(obstacle)")
            } else if check.state != .passing || check.failures > 0 {
                // After a start once is enough.
                let needed = check.kind == .readiness && check.state == .failing ? service.readiness : nil
                let times = needed.map { $0.successThreshold == 1 ? "once" : "\($0.successThreshold) times in a row" }
                ways.append("it must pass its \(check.kind.name) probe" + (times.map { " \($0)" } ?? ""))
            }
        }
        for suppression in instance.suppressions {
            switch suppression.rule {
            case .report: ways.append("a restart for health is not configured: liveness.action, restart.policy")
            case .i8: ways.append("its readiness must stay steady for some minutes")
            case .i3, .i4, .i5, .i9, .pressure, .drain: break
            }
        }
        // A new process would be judged by the same flaps, or not be asked either.
        let helps =
            !instance.suppressions.contains { $0.rule == .i8 } && !instance.checks.contains { $0.obstacle != nil }
        return ways + (helps ? ["restart it: eiderctl restart \(instance.id)"] : [])
    }

    private func waitsOfStart(_ instance: InstanceStatus) -> [String] {
        let service = serviceSpec(instance.id.service)
        if instance.pid == nil {
            // As in the core: only services that are not ready yet hold the first start up.
            let blockers = service.after.filter { name in
                (snapshot.fleet.services.first { $0.name == name }?.ready ?? 0) == 0
            }
            if !blockers.isEmpty, !instance.startedOnce {
                return blockers.map { "waits for \($0): eiderctl why \($0)" }
            }
            let places = spec.limits.concurrentStarts
            return ["waits for one of \(places) start places (limits.concurrent_starts)"]
        }
        let what: String
        switch service.kind {
        case .notify: what = "waits for READY=1 from pid \(instance.pid ?? 0)"
        case .oneshot: what = "waits for pid \(instance.pid ?? 0) to end with success"
        case .simple: what = "waits for its startup probe"
        }
        if instance.checks.contains(where: { $0.kind == .readiness }) {
            return ["waits for its readiness probe: it is kept running, however long that takes"]
        }
        guard let started = instance.startedAt else { return [what] }
        let deadline = started.advanced(by: service.startupTimeout)
        return ["\(what), until \(time(deadline)) (startup.timeout \(service.startupTimeout.brief))"]
    }

    private func waitsOfStop(_ instance: InstanceStatus) -> [String] {
        let service = serviceSpec(instance.id.service)
        let ends = instance.since.advanced(by: service.stopGracePeriod)
        let process = instance.pid.map { "pid \($0)" } ?? "what is left of its processes"
        if ends > now {
            return ["waits for \(process) to end; SIGKILL follows at \(time(ends))"]
        }
        return ["waits for \(process) to end; end it at once: eiderctl signal \(instance.id) SIGKILL"]
    }
}
