// What users may know, derived from the state: one exhaustive table from internal to public states.
extension FleetMachine {
    /// The services whose status may have changed since the last call, in order; all of them the first time.
    public mutating func takeChangedServices() -> [Int] {
        let changed = dirtyList.sorted()
        for index in changed { dirty[index] = false }
        dirtyList.removeAll(keepingCapacity: true)
        return changed
    }

    /// The whole fleet, at `now`.
    public mutating func fleetStatus(at now: MonotonicInstant) -> FleetStatus {
        let services = services.indices.map { status(ofService: $0, at: now) }
        var fleet = FleetStatus(node: nodeStatus(at: now))
        fleet.services = services
        fleet.drains = drainStatuses(at: now)
        fleet.breakers = breakersStatus(at: now)
        fleet.rolls = rollStatuses()
        return fleet
    }

    /// The pid of an instance's present run; nil when that is another run, or has none.
    public func pid(of id: InstanceID, _ generation: Generation) -> Int32? {
        guard let slot = slotOf[id], instances[slot].generation == generation else { return nil }
        return instances[slot].memory.run?.pid
    }

    /// A start was asked of the shim, and it has not answered yet.
    public var hasUnansweredStart: Bool {
        startingCount > 0 && instances.contains { $0.memory.run != nil && $0.memory.run?.pid == nil }
    }

    /// The status of the service at `index`, at `now`. Remembers when its public state last changed.
    public mutating func status(ofService index: Int, at now: MonotonicInstant) -> ServiceStatus {
        let service = services[index]
        let all = service.slots.map { instanceStatus($0, service: index, now) }
        var status = ServiceStatus(name: service.name, state: .stopped, since: service.since)
        status.critical = service.critical
        status.instances = all
        status.ready = all.count { $0.ready }
        status.desired = service.slots.count { isWanted($0) }
        status.breaker = breakers.publicState(service.seat)
        status.routable = status.ready > 0 && status.breaker != .forcedOpen
        for slot in service.slots {
            for cause in ExitCause.allCases {
                if let count = instances[slot].memory.restartsByCause[cause] {
                    status.restartsByCause[cause, default: 0] &+= count
                }
            }
        }
        (status.state, status.reason) = publicState(ofService: index, all, ready: status.ready)
        if status.state != service.publicState {
            services[index].publicState = status.state
            services[index].since = now
            status.since = now
        }
        return status
    }

    private func publicState(
        ofService index: Int,
        _ all: [InstanceStatus],
        ready: Int
    ) -> (PublicState, String?) {
        let wanted = services[index].slots.filter { isWanted($0) }
        if node.shutdownBy != nil {
            let left = all.contains { $0.state != .stopped }
            return left ? (.draining, "the fleet is being stopped") : (.stopped, "the fleet is stopped")
        }
        if wanted.isEmpty, services[index].isRemoved || all.contains(where: { $0.state == .draining }) {
            return (.draining, services[index].isRemoved ? "the configuration names it no more" : "it is scaled to 0")
        }
        if wanted.isEmpty {
            let reason = all.isEmpty ? "no instance is asked for" : all.compactMap(\.intentReason).first
            return (.stopped, reason)
        }
        if let drain = drain(ofService: index, wanted) {
            return (drain.phase == .drained ? .drained : .draining, drain.inWords)
        }
        if wanted.allSatisfy({ instances[$0].state == .stopped(.finished) }) { return (.stopped, "it has finished") }
        let problem = all.first { !$0.ready && $0.intentReason == nil }
        let reason = problem.map { "\($0.id): \($0.reason ?? $0.state.rawValue)" }
        if ready == 0 {
            let coming = wanted.contains { slot in
                instances[slot].memory.crashes == 0 && Self.isComing(instances[slot])
            }
            return coming ? (.starting, reason) : (.unhealthy, reason)
        }
        if let text = breakerTrouble(services[index].seat) { return (.breakerOpen, text) }
        if ready < wanted.count { return (.degraded, reason) }
        if let late = all.first(where: { $0.state == .degraded }) {
            return (.degraded, "\(late.id): \(late.reason ?? "degraded")")
        }
        return (.healthy, nil)
    }

    /// Its breaker does not let it start, or an operator took it out; nil where neither.
    private func breakerTrouble(_ seat: Int) -> String? {
        let register = breakers.register(breakers.seats[seat].name)
        let because = register.reason.isEmpty ? "" : ": \(register.reason)"
        switch breakers.publicState(seat) {
        case .forcedOpen:
            let override = breakers.override(breakers.seats[seat].name)
            return "forced open by \(override.actor)" + (override.reason.isEmpty ? "" : ": \(override.reason)")
        case .open: return "its breaker is open\(because)"
        case .halfOpen: return "its breaker is half-open\(because)"
        case .closed, .forcedClosed, .disabled, .metricsOnly: return nil
        }
    }

    /// The drain that takes the service out: of all its instances that are wanted.
    private func drain(ofService index: Int, _ wanted: [Int]) -> Drain? {
        let whole = node.drains.first { drain in
            drain.purpose == .maintenance && (drain.target == nil || drain.target == .service(services[index].name))
        }
        if let whole { return whole }
        let drains = wanted.compactMap { slot in
            node.drains.first { $0.purpose == .maintenance && $0.target == .instance(instances[slot].id) }
        }
        guard !drains.isEmpty, drains.count == wanted.count else { return nil }
        return drains.min { $0.phase < $1.phase }
    }

    private static func isComing(_ instance: InstanceMachine) -> Bool {
        switch instance.state {
        case .waiting, .queued, .starting: true
        case .ready: instance.memory.run?.servingAt == nil && instance.memory.run?.readinessOverdue == false
        case .held, .running, .stopping, .backoff, .completed, .failed, .stopped: false
        }
    }

    /// The status of the node, at `now`, from the services' states as they were last derived.
    public mutating func nodeStatus(at now: MonotonicInstant) -> NodeStatus {
        if troubleIsOld {
            trouble = sharedTrouble()
            troubleIsOld = false
        }
        let (state, reason) = publicStateOfNode()
        if state != nodeState {
            nodeState = state
            node.since = now
        }
        var status = NodeStatus(name: nodeName, state: state, since: node.since)
        status.reason = reason
        status.intent = node.shutdownBy != nil ? .stop : drainIndex(.maintenance, nil) == nil ? .run : .drain
        status.firstStartFinished = node.firstStartFinished
        status.ready = state == .healthy || state == .degraded || state == .breakerOpen
        status.warning = trouble
        if let freeze {
            (status.hold, status.holdReason) = ("frozen", "\(freeze.text): states stand still (I9)")
        } else if node.hold != nil {
            let text = "instances failed together: nothing is restarted for health (I5)"
            (status.hold, status.holdReason) = ("correlated", text)
        }
        return status
    }

    private func publicStateOfNode() -> (PublicState, String?) {
        if let by = node.shutdownBy {
            return shutdownFinished ? (.stopped, "stopped (\(by))") : (.draining, "the fleet is being stopped (\(by))")
        }
        if let index = drainIndex(.maintenance, nil) {
            let drain = node.drains[index]
            return (drain.phase == .drained ? .drained : .draining, drain.inWords)
        }
        if !node.firstStartFinished { return (.starting, "the first start is not finished") }
        // Intent and critical services decide; never the AND of everything.
        if let service = services.first(where: { $0.critical && !Self.isServing($0) }) {
            let state = service.breakerState == .forcedOpen ? "forced open" : service.publicState.rawValue
            return (.unhealthy, "critical service \(service.name) is \(state)")
        }
        if let service = services.first(where: { $0.publicState == .breakerOpen }) {
            return (.breakerOpen, "\(service.name): its breaker is \(service.breakerState.rawValue)")
        }
        if shimSilent { return (.degraded, "the shim does not answer: nothing can be started or ended") }
        let settled: [PublicState] = [.healthy, .stopped, .drained, .draining]
        let troubled = services.filter { !settled.contains($0.publicState) }
        if let service = troubled.first {
            let more = troubled.count > 1 ? " and \(troubled.count - 1) more" : ""
            return (.degraded, "\(service.name) is \(service.publicState.rawValue)\(more)")
        }
        return (.healthy, nil)
    }

    private static func isServing(_ service: Service) -> Bool {
        switch service.publicState {
        case .healthy, .degraded: true
        case .breakerOpen: service.breakerState != .forcedOpen
        case .stopped, .drained, .draining, .starting, .unhealthy, .backoff, .stopping, .failed: false
        }
    }

    // MARK: Instances

    private func instanceStatus(_ slot: Int, service: Int, _ now: MonotonicInstant) -> InstanceStatus {
        let instance = instances[slot]
        let memory = instance.memory
        let (state, reason) = publicState(of: instance, service: service, now)
        var status = InstanceStatus(id: instance.id, state: state, since: memory.since, generation: memory.generation)
        status.reason = reason
        if state == .draining || state == .drained, let drain = drain(covering: slot) {
            // Its own state is older: it serves on while it is drained.
            status.since = max(status.since, drain.since)
        }
        status.ready = isGivenWork(slot, now) && !instance.isLeaving
        status.startedOnce = memory.startedOnce
        status.live =
            memory.run?.pid != nil && memory.run?.heartbeatLate != true && memory.run?.livenessFailing != true
        status.checks = instance.checks
        let frozen = instance.readinessSuppressed.flatMap { $0.rule == .i9 ? $0 : nil }
        status.suppressions = [instance.restartSuppressed, frozen, damping(slot)].compactMap { $0 }
        status.flaps = memory.flaps
        status.pid = memory.run?.pid
        status.restarts = memory.restarts
        status.crashesInARow = memory.crashes
        status.startedAt = memory.run?.pid == nil ? nil : memory.run?.startedAt
        let inFlight = inFlight(slot)
        status.inFlight = inFlight?.count
        status.inFlightSource = inFlight?.source
        status.statusText = memory.run?.statusText
        status.lastExit = memory.lastExit
        if case .backoff(let until) = memory.state { status.nextStartAt = until }
        if let intent = memory.stopIntent {
            status.intentReason = "stopped by \(intent.by)" + (intent.reason.map { ": \($0)" } ?? "")
        }
        return status
    }

    func publicState(
        of instance: InstanceMachine,
        service: Int,
        _ now: MonotonicInstant
    ) -> (PublicState, String?) {
        let memory = instance.memory
        if let state = stateOfLeaving(instance) { return state }
        switch memory.state {
        case .stopped(.drained): return (.drained, nil)
        case .stopped(.intent):
            return (.stopped, memory.stopIntent.map { "by \($0.by)" + ($0.reason.map { ": \($0)" } ?? "") })
        case .stopped(.finished): return (.stopped, "it has finished, and its restart policy leaves it so")
        case .stopped(.shutdown): return (.stopped, "the fleet is stopped")
        case .waiting:
            let blockers = blockers(of: service).joined(separator: ", ")
            return (.starting, "waits for \(blockers.isEmpty ? "the shim" : blockers)")
        case .queued: return (.starting, shimPresent ? "waits for a free start place" : "waits for the shim")
        case .held: return (.breakerOpen, slotOf[instance.id].map { heldText($0) })
        case .starting: return (.starting, memory.run?.statusText)
        case .ready: return publicStateOfReady(instance, now)
        case .running: return (.unhealthy, "it says that it is stopping")
        case .stopping(let stop): return (.stopping, Self.reason(of: stop))
        case .backoff: return (.backoff, instance.memory.lastExit?.inWords ?? "it crashed")
        case .completed: return (.healthy, "it has completed")
        case .failed: return (.failed, instance.memory.lastExit?.inWords)
        }
    }

    /// Under a drain: what serves still does, and what has ended stays so.
    private func stateOfLeaving(_ instance: InstanceMachine) -> (PublicState, String?)? {
        guard instance.isLeaving, let slot = slotOf[instance.id], let drain = drain(covering: slot) else { return nil }
        switch instance.state {
        case .starting, .ready, .running: return (.draining, drain.inWords)
        case .stopped(.drained): return (.drained, drain.inWords)
        case .stopped, .waiting, .queued, .held, .stopping, .backoff, .completed, .failed: return nil
        }
    }

    /// The start is done: its probes and its heartbeat tell the rest.
    private func publicStateOfReady(_ instance: InstanceMachine, _ now: MonotonicInstant) -> (PublicState, String?) {
        guard let run = instance.memory.run, let slot = slotOf[instance.id] else { return (.healthy, nil) }
        let row = instance.trackers.readiness
        let found = row.failures > 0 ? ": \(row.failureText)" : ""
        if run.servingAt == nil {
            // What cannot be run says nothing, however long that takes: it stays what it was.
            if row.failureText.isEmpty, row.unknowns > 0 { return (.starting, "cannot be probed: \(row.obstacleText)") }
            if !run.readinessOverdue { return (.starting, "waits for its readiness probe\(found)") }
            let time = instance.policy.startupTimeout.brief
            return (.unhealthy, "has not passed its readiness probe within \(time)\(found)")
        }
        if !isGivenWork(slot, now) {
            if instance.isReady { return (.unhealthy, "is flapping, and another instance stands in for it (I8)") }
            return (.unhealthy, "fails its readiness probe\(found)")
        }
        if run.heartbeatLate { return (.degraded, "gives no heartbeat") }
        if run.livenessFailing {
            let row = instance.trackers.liveness
            return (.degraded, "fails its liveness probe" + (row.failures > 0 ? ": \(row.failureText)" : ""))
        }
        if instance.isHeldForFlapping { return (.degraded, "is flapping, and nobody stands in for it (I8)") }
        if let obstacle = instance.obstacleToProbes { return (.degraded, "cannot be probed: \(obstacle)") }
        return (.healthy, run.reloading ? "reloading" : nil)
    }

    private static func reason(of stop: InstanceState.Stop) -> String {
        if stop.remaining > 0 {
            return "cannot end \(stop.remaining) process(es), such as pid \(stop.remainingExample)"
        }
        if stop.mainGone { return "ends what is left of its tree" }
        return stop.graceEnds == nil ? "is being killed" : "was asked to end (\(stop.cause.rawValue))"
    }
}

extension Drain {
    /// Who drains it, and why, in one clause.
    var inWords: String {
        switch purpose {
        case .maintenance: "by \(by)" + (reason.map { ": \($0)" } ?? "")
        case .shutdown: "the fleet is being stopped"
        case .roll: "is being replaced"
        case .removal: "nobody asks for it any more"
        }
    }
}

extension LastExit {
    /// The end in one clause, to stand alone: `exited with code 1`, `cannot execute /x: …`.
    public var inWords: String {
        switch (outcome, cause) {
        case (.spawnFailed(let failure), _): failure.description
        case (.status(let status), .startupTimeout): "was not ready in time and \(status.inWords)"
        case (.status(let status), .watchdog): "gave no heartbeat and \(status.inWords)"
        case (.status(let status), .liveness): "failed its liveness probe and \(status.inWords)"
        case (.status(let status), .oom): "\(status.inWords) for lack of memory"
        case (.status(let status), _): status.inWords
        }
    }
}
