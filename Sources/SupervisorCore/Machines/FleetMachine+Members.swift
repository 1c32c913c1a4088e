// Which instances a service has: it gets more and fewer while the fleet runs.
extension FleetMachine {
    /// The slot of an instance of a service, made where there is none.
    @discardableResult
    mutating func addMember(_ index: Int, to service: Int, _ now: MonotonicInstant) -> Int {
        let id = InstanceID(service: services[service].name, index: index)
        let slot: Int
        if let known = slotOf[id] {
            slot = known
            instances[slot].service = service
            instances[slot].policy = services[service].policy
            if !instances[slot].state.hasProcess { instances[slot].beginAnew(now) }
        } else {
            slot = instances.count
            slotOf[id] = slot
            instances.append(InstanceMachine(id: id, service: service, policy: services[service].policy, now: now))
        }
        if !services[service].slots.contains(slot) {
            services[service].slots.append(slot)
            services[service].slots.sort { instances[$0].id.index < instances[$1].id.index }
        }
        return slot
    }

    /// Adds an instance and has it started, as one that an operator asked for.
    @discardableResult
    mutating func startMember(_ index: Int, of service: Int, _ turn: inout Turn) -> Int {
        let slot = addMember(index, to: service, turn.now)
        recount()
        update(slot: slot, &turn) { machine, turn in
            machine.memory.isDrained = false
            machine.wantStart(&turn)
        }
        dependenciesMoved = true
        markDirty(service: service)
        return slot
    }

    /// No service asks for it any more. Where a process is left of it, that is ended as any leftover is.
    mutating func removeMember(_ slot: Int, _ turn: inout Turn) {
        guard let service = instances[slot].service else { return }
        services[service].slots.removeAll { $0 == slot }
        update(slot: slot, &turn) { machine, turn in
            machine.service = nil
            machine.memory.isDrained = false
            machine.memory.stopIntent = nil
            machine.isLeaving = false
            machine.policy = .leftover
            switch machine.state {
            case .starting, .ready, .running: machine.requestStop(cause: .operator, &turn)
            case .stopping, .stopped(.intent): break
            case .stopped, .waiting, .queued, .held, .backoff, .completed, .failed:
                machine.transition(to: .stopped(.intent), &turn)
            }
        }
        if !instances[slot].state.hasProcess { turn.act(.remember(instances[slot].id, nil)) }
        recount()
        intentsMoved = true
        dependenciesMoved = true
        markDirty(service: service)
    }

    /// Instances beyond those that the configuration asks for, and fewer, as they were before this daemon.
    mutating func takeMembers(_ adoption: Adoption, _ turn: inout Turn) {
        node.scales.removeAll { scale in
            services.first { $0.name == scale.service }.map { $0.configuredReplicas != scale.configured } ?? true
        }
        for scale in node.scales {
            guard let index = services.firstIndex(where: { $0.name == scale.service }) else { continue }
            for member in services[index].replicas..<max(services[index].replicas, scale.replicas) {
                addMember(member, to: index, turn.now)
            }
            for slot in services[index].slots where instances[slot].id.index >= scale.replicas {
                instances[slot].service = nil
                instances[slot].memory.state = .stopped(.intent)
            }
            services[index].slots.removeAll { instances[$0].service == nil }
            services[index].replicas = scale.replicas
        }
        // Whom the configuration has come to ask for is not on its way out any more.
        node.drains.removeAll { drain in
            guard drain.purpose == .removal, case .instance(let id)? = drain.target else { return false }
            return services.contains { $0.name == id.service && id.index < $0.replicas }
        }
        // Those that were on their way out or in when the daemon died.
        var extra = node.drains.compactMap { drain -> InstanceID? in
            guard drain.purpose == .removal, case .instance(let id)? = drain.target else { return nil }
            return id
        }
        extra += node.rolls.compactMap { roll in
            roll.extraIndex.map { InstanceID(service: roll.service, index: $0) }
        }
        for id in extra {
            guard let index = services.firstIndex(where: { $0.name == id.service }) else { continue }
            addMember(id.index, to: index, turn.now)
        }
        node.rolls.removeAll { roll in !services.contains { $0.name == roll.service } }
        recount()
    }

    /// Puts another list of services in the place of the present one; their instances follow by name.
    mutating func install(_ new: [Service]) {
        services = new
        for slot in instances.indices { instances[slot].service = nil }
        for index in services.indices {
            for slot in services[index].slots { instances[slot].service = index }
        }
        dirty = Array(repeating: true, count: services.count)
        dirtyList = Array(services.indices)
        dependenciesMoved = true
        drainsMoved = true
        structure &+= 1
        recount()
    }

    /// Counts anew what follows from the states.
    mutating func recount() {
        startingCount = 0
        waitingCount = 0
        for instance in instances {
            if case .starting = instance.state { startingCount += 1 }
            if instance.state == .waiting { waitingCount += 1 }
        }
        troubledCount = instances.count { $0.isInTrouble }
        firstAttemptsOpen = services.flatMap(\.slots).count { !instances[$0].memory.firstAttemptOver }
    }

    // MARK: Room

    /// Why a service cannot have this many instances: a port of theirs is another service's; nil when it can.
    func obstacle(to replicas: Int, of index: Int) -> String? {
        guard let base = services[index].portBase, replicas > 0 else { return nil }
        let last = base + replicas - 1
        if last > 65_535 { return "\(services[index].name)/\(replicas - 1) would need port \(last)" }
        for other in services.indices where other != index {
            guard let theirs = services[other].portBase, services[other].replicas > 0 else { continue }
            if theirs <= last, theirs + services[other].replicas - 1 >= base {
                return "its ports, to \(last), would meet those of \(services[other].name), from \(theirs)"
            }
        }
        return nil
    }
}

extension InstanceMachine {
    /// It was nobody's, and is wanted again: nothing of its past counts but that its runs go on being numbered.
    fileprivate mutating func beginAnew(_ now: MonotonicInstant) {
        let generation = memory.generation
        memory = RememberedInstance(state: .stopped(.intent), since: now)
        memory.generation = generation
        trackers = PerProbe(ProbeTracker())
        (restartSuppressed, readinessSuppressed) = (nil, nil)
    }
}
