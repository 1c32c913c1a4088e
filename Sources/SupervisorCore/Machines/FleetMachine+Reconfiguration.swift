// Another number of instances, and another configuration, while the fleet runs.
extension FleetMachine {
    // MARK: Scale

    /// Has a service have the number of instances that it is to have, from `before`. Answers what is waited for.
    mutating func fitMembers(of index: Int, from before: Int, by: String, _ turn: inout Turn) -> Operation.Wait {
        var wait = Operation.Wait()
        let name = services[index].name
        let replicas = services[index].replicas
        markDirty(service: index)
        for member in before..<max(before, replicas) {
            let id = InstanceID(service: name, index: member)
            let generation = slotOf[id].map { instances[$0].generation } ?? 0
            // One that was on its way out stays.
            if let drain = drainIndex(.removal, .instance(id)) { end(drainAt: drain, &turn) }
            let slot = startMember(member, of: index, &turn)
            let runs = instances[slot].state.hasProcess && instances[slot].generation == generation && generation > 0
            wait.goals.append((slot, .up(after: runs ? generation - 1 : generation)))
        }
        for slot in services[index].slots where instances[slot].id.index >= replicas {
            remove(slot, by: by, &turn)
            wait.watches.append(.gone(slot))
        }
        return wait
    }

    /// Remembers that an operator wants another number than the configuration says.
    mutating func rememberScale(of index: Int, by: String, reason: String?, _ turn: inout Turn) {
        let service = services[index]
        node.scales.removeAll { $0.service == service.name }
        if service.replicas != service.configuredReplicas {
            node.scales.append(
                ScaleIntent(
                    service: service.name,
                    replicas: service.replicas,
                    configured: service.configuredReplicas,
                    by: by,
                    reason: reason.map { String($0.prefix(DrainLimits.scaleReason)) }
                )
            )
        }
        intentsMoved = true
        turn.act(.rememberNode(node))
    }

    // MARK: Reload

    /// Puts another configuration in force. Instances whose processes need not be replaced for it are not touched.
    mutating func reconfigure(
        _ spec: FleetSpec,
        _ restarting: [String: String],
        as operation: OperationID,
        by: String,
        _ turn: inout Turn
    ) {
        if let refusal = refusalOfReload {
            turn.act(.finishOperation(operation, .refused(refusal)))
            return
        }
        turn.note(nil, "reload", "\(by) had the configuration read again")
        concurrentStarts = max(1, spec.limits.concurrentStarts)
        drainSpec = spec.drain
        observationWindow = Self.observationWindow(spec)
        let old = services
        let removed = replaceServices(by: spec, turn.now)
        breakers.configure(dependencies: spec.dependencies, turn.now.milliseconds)
        seatServices(turn.now)
        keepWhatCameBack(&turn)
        for index in services.indices { fitPolicy(of: index, &turn) }
        var wait = Operation.Wait()
        for name in removed { wait.append(beginRemoval(ofService: name, by: by, &turn)) }
        for index in services.indices where !services[index].isRemoved {
            wait.append(fitReplicas(of: index, old, by: by, &turn))
        }
        for index in services.indices {
            let name = services[index].name
            guard !services[index].isRemoved, let present = old.first(where: { $0.name == name }),
                services[index].slots.contains(where: { isWanted($0) && !instances[$0].isLeaving })
            else { continue }
            // One that was gone is compared with what there was then: what runs of it is older still.
            let isOther = present.isRemoved && present.spec != services[index].spec
            guard let reason = restarting[name].map({ "\($0) changed" }) ?? (isOther ? "it came back as another" : nil)
            else { continue }
            beginRoll(of: index, by: by, reason: reason, &turn)
            wait.watches.append(.roll(name))
        }
        coverMoved(&turn)
        turn.act(.rememberNode(node))
        operations.append(Operation(id: operation, wait))
    }

    /// Why the configuration must not be replaced now; nil when it may.
    public var refusalOfReload: String? {
        if let refusal = refusalOfCommands { return refusal }
        // What runs on under a drain that may be taken back would stay as it is.
        guard let drain = node.drains.first(where: { $0.purpose == .maintenance && $0.phase < .drained }) else {
            return nil
        }
        let name = drain.target.map { "\($0) is" } ?? "the node is"
        return "\(name) being drained; wait until it is drained, or use eiderctl undrain first"
    }

    /// A service that is named again while it was on its way out stays.
    private mutating func keepWhatCameBack(_ turn: inout Turn) {
        for service in services where !service.isRemoved {
            if let drain = drainIndex(.removal, .service(service.name)) { end(drainAt: drain, &turn) }
        }
    }

    /// Answers the names of services that the configuration names no more.
    private mutating func replaceServices(by spec: FleetSpec, _ now: MonotonicInstant) -> [String] {
        let old = services
        var new = Self.services(of: spec, now)
        for index in new.indices {
            guard let present = old.first(where: { $0.name == new[index].name }) else { continue }
            new[index].slots = present.slots
            new[index].satisfied = present.satisfied
            new[index].publicState = present.publicState
            new[index].since = present.since
            new[index].probes = present.probes
            new[index].suppressions = present.suppressions
            new[index].seat = present.seat
        }
        var removed: [String] = []
        for var service in old where !new.contains(where: { $0.name == service.name }) {
            if !service.isRemoved { removed.append(service.name) }
            service.isRemoved = true
            service.after = []
            new.append(service)
        }
        install(new)
        return removed
    }

    /// Probes that are configured otherwise are begun anew.
    private mutating func fitPolicy(of index: Int, _ turn: inout Turn) {
        let policy = services[index].policy
        for slot in services[index].slots where instances[slot].policy != policy {
            update(slot: slot, &turn) { $0.take(policy, &$1) }
        }
    }

    private mutating func fitReplicas(
        of index: Int,
        _ old: [Service],
        by: String,
        _ turn: inout Turn
    ) -> Operation.Wait {
        let name = services[index].name
        // What an operator asked for counts until the configuration says something new.
        if let scale = node.scales.first(where: { $0.service == name }) {
            if scale.configured == services[index].configuredReplicas {
                services[index].replicas = scale.replicas
            } else {
                node.scales.removeAll { $0.service == name }
                intentsMoved = true
            }
        }
        let wanted = services[index].replicas
        let before = old.first { $0.name == name && !$0.isRemoved }?.replicas ?? 0
        if wanted == before { return Operation.Wait() }
        abandonRolls({ $0 == name }, "its number of instances changed", &turn)
        return fitMembers(of: index, from: before, by: by, &turn)
    }

    private mutating func beginRemoval(ofService name: String, by: String, _ turn: inout Turn) -> Operation.Wait {
        abandonRolls({ $0 == name }, "the configuration names it no more", &turn)
        node.scales.removeAll { $0.service == name }
        node.drains.removeAll { $0.target?.service == name }
        intentsMoved = true
        var wait = Operation.Wait()
        guard let index = services.firstIndex(where: { $0.name == name }) else { return wait }
        wait.watches = services[index].slots.map { .gone($0) }
        let deadline = turn.now.advanced(by: drainSpec.deadline)
        begin(Drain(.removal, of: .service(name), by: by, since: turn.now, deadline: deadline), &turn)
        return wait
    }

    mutating func install(withoutService name: String) {
        var rest = services
        guard let gone = rest.firstIndex(where: { $0.name == name && $0.isRemoved }) else { return }
        // It is behind all that are configured: nobody comes `after` it, and no index but those behind it moves.
        rest.remove(at: gone)
        install(rest)
    }
}

extension InstanceMachine {
    /// Another configuration: its probes are begun anew where they differ, its timers follow.
    mutating func take(_ policy: InstancePolicy, _ turn: inout Turn) {
        for kind in ProbeKind.allCases where self.policy.probe(kind) != policy.probe(kind) {
            for key in watched where key.kind == kind { turn.act(.unwatch(key)) }
            watched.removeAll { $0.kind == kind }
            trackers[kind] = ProbeTracker()
        }
        self.policy = policy
        // Nobody is left to say that its start is done.
        if case .starting = state, policy.kind == .simple, policy.startup == nil, memory.run?.pid != nil {
            becomeReady(&turn)
        }
        if service != nil { fitReadiness(&turn) }
        fitConfiguration(&turn)
    }
}
