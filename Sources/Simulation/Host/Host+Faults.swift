import SupervisorCore

// What goes wrong, and who asks for what.
extension Host {
    mutating func strike(_ fault: Fault) throws {
        switch fault {
        case .crash, .outOfMemory, .children, .badRelease, .hang, .readinessFails, .livenessFails, .flapping, .trigger,
            .saysStopping, .surviveKill, .lostDatagrams, .lateDatagrams, .repeatedDatagrams:
            strikeWorker(fault)
        case .dependencyFails, .everythingFails: strikeSeveral(fault)
        case .slowStarts: slowUntil = now + time(30, 300)
        case .startsFail: startsFailUntil = now + time(5, 90)
        case .proberBroken:
            proberBrokenUntil = now + time(5, 120)
            proberObstacle = random.pick(ProbeObstacle.allCases) ?? .busy
        case .checkerStall:
            let time = time(2, 40)
            checkerStalledUntil = now + time
            try send(.disturbed(.checkerStalled(.nanoseconds(time))))
        case .hostStall: try stall()
        case .clockStep:
            note("the wall clock is set")
            try send(.disturbed(.clockJumped(by: .seconds(random.chance(50) ? 3_600 : -3_600))))
        case .suspend:
            // The monotonic clock stands still with the host; what comes after it is told of a jump.
            note("the host was suspended")
            try send(.disturbed(.clockJumped(by: .nanoseconds(time(10, 7_200)))))
        case .pressure: pressureUntil = now + time(30, 400)
        case .diskFull: diskFullUntil = now + time(30, 600)
        case .looksFail: looksFailUntil = now + time(2, 120)
        case .reboot: reboot()
        case .balancerGone:
            guard let index = random.pick(Array(balancers.indices)) else { return }
            balancers[index].goneAt = balancers[index].goneAt == nil && balancers[index].kind == .vanishing ? now : nil
        default: try strikeDaemon(fault)
        }
        note("fault: \(fault)")
    }

    private mutating func strikeDaemon(_ fault: Fault) throws {
        switch fault {
        case .daemonKilled:
            if daemonLives, connected { die() }
        case .daemonKilledMidway:
            if daemonLives, connected { effectsUntilDeath = random.pick(0...8) }
        case .shimConnectionLost: if effectsUntilDeath == nil { try loseShim(replaced: false) }
        case .shimReplaced: if effectsUntilDeath == nil { try loseShim(replaced: true) }
        case .shimSilent:
            try send(.shimSilenceChanged(isSilent: true))
            plan(.shimSpeaks, after: time(1, 60))
        case .otherConfiguration:
            guard daemonLives, connected, !finished else { return }
            die()
            spec = Scenario.changed(spec, &random)
            learn(spec)
            checker.tally.count(.otherConfiguration)
            note("another configuration: \(spec.services.map { "\($0.name) \($0.replicas)" })")
        case .staleCallback: try staleCallback()
        default: break
        }
    }

    // MARK: Workers

    private mutating func strikeWorker(_ fault: Fault) {
        let alive = ids.indices.filter { shim.processes[ids[$0]]?.mainAlive == true && services[$0] != nil }
        guard let slot = random.pick(alive) else { return }
        note("\(fault): \(ids[slot])")
        // Some recover by themselves, some do not.
        let until = now + (random.chance(50) ? time(5, 120) : time(120, 2_400))
        switch fault {
        case .crash: end(slot, random.chance(50) ? .code(1) : .signal(.kill, coreDumped: false), outOfMemory: false)
        case .outOfMemory: end(slot, .signal(.kill, coreDumped: false), outOfMemory: true)
        case .children: workers[slot].leavesChildren = random.pick(1...3)
        case .badRelease:
            workers[slot].badUntil = until
            end(slot, .code(1), outOfMemory: false)
        case .hang: workers[slot].hungUntil = until
        case .readinessFails: workers[slot].readinessFailsUntil = until
        case .livenessFails: workers[slot].livenessFailsUntil = until
        case .flapping: workers[slot].flapsUntil = until
        case .trigger: say(slot, .trigger)
        case .saysStopping:
            say(slot, .stopping)
            if random.chance(70) {
                plan(.workerEnds, after: time(0.1, 20), slot: slot, number: workers[slot].generation)
            }
        case .surviveKill: workers[slot].survivesKillUntil = now + time(5, 300)
        case .lostDatagrams: workers[slot].losesUntil = until
        case .lateDatagrams: workers[slot].delaysUntil = until
        case .repeatedDatagrams:
            workers[slot].repeatsUntil = until
            guard workers[slot].period != nil else { return say(slot, .status) }
            workers[slot].period = random.pick([20_000_000_000, 60_000_000_000])
            say(slot, random.pick([.status, .period, .extend, .reloading]) ?? .status)
        default: break
        }
    }

    /// What several workers hang on fails: all of one service, several services, or everything.
    private mutating func strikeSeveral(_ fault: Fault) {
        let until = now + time(20, 1_500)
        let service = random.pick(spec.services)?.name
        let all = fault == .everythingFails || random.chance(40)
        let kind = random.below(3)
        for slot in ids.indices where services[slot] != nil && (all || ids[slot].service == service) {
            switch kind {
            case 0: workers[slot].livenessFailsUntil = until
            case 1: workers[slot].hungUntil = until
            default:
                workers[slot].readinessFailsUntil = until
                workers[slot].livenessFailsUntil = until
            }
        }
    }

    /// The host stands still, and everything in it. First of all the loop says how late it is.
    private mutating func stall() throws {
        let time = time(2, 60)
        note("the host stands still for \(Duration.nanoseconds(time).brief)")
        queue.stall(time)
        now += time
        // Nobody failed meanwhile: nobody ran.
        for slot in workers.indices {
            if workers[slot].hungUntil > 0 { workers[slot].hungUntil += time }
        }
        try send(.disturbed(.loopStalled(.nanoseconds(time))))
    }

    private mutating func staleCallback() throws {
        guard daemonLives, connected, let slot = random.pick(Array(ids.indices)) else { return }
        let id = ids[slot]
        let generation = (checker.record(of: id)?.generation ?? 0) &+ (random.chance(50) ? 1 : UInt64.max)
        var ready = NotifyMessage()
        ready.ready = true
        let key = ProbeKey(instance: id, generation: generation, kind: random.pick(ProbeKind.allCases) ?? .liveness)
        let events: [Event] = [
            .started(id, generation, pid: 7, at: instant),
            .startFailed(id, generation, SpawnFailure(stage: .clone, errno: 11, path: "")),
            .exited(id, generation, .code(1), ResourceUsage(), outOfMemory: false, treeGone: true),
            .treeGone(id, generation), .treeRemained(id, generation, count: 1, example: 7),
            .notified(id, generation, ready), .probed(key, .failure("late")), .probed(key, .success),
            .timerFired(TimerToken(instance: id, purpose: .backoff, number: .max)),
            .timerFired(TimerToken(instance: nil, purpose: .node, number: .max)),
        ]
        guard let event = random.pick(events) else { return }
        // What it would change is looked for in a copy.
        var changed = machine
        let effects = changed.handle(event, at: instant)
        var before = machine
        if !effects.isEmpty || changed.staleCallbacks != before.staleCallbacks + 1 {
            throw ShadowViolation("P4: a stale callback was not dropped: \(event), which led to \(effects)")
        }
        if changed.fleetStatus(at: instant) != before.fleetStatus(at: instant) {
            throw ShadowViolation("P4: a stale callback changed what is shown: \(event)")
        }
        checker.tally.count(.staleDropped)
        machine = changed
    }

    // MARK: Operators

    mutating func operatorActs() throws {
        let mean = scenario.meanTime[Fault.operators.rawValue]
        if isResting || mean == 0 { return }
        plan(.operatorActs, after: Int64(Double(mean) * (0.2 + 1.6 * random.unit())))
        guard daemonLives, let service = random.pick(spec.services) else { return }
        var target = Target.service(service.name)
        if random.chance(50), service.replicas > 0 {
            target = .instance(InstanceID(service: service.name, index: random.below(service.replicas)))
        }
        let command: Command =
            switch random.pick(0...9) {
            case 0..<4: .start([target], reason: nil)
            case 4, 5: .stop([target], reason: "because")
            case 6..<9: .restart([target], reason: nil)
            default: .signal(target, random.pick([.hangup, .terminate, .kill]) ?? .hangup)
            }
        try ask(command)
    }

    mutating func ask(_ command: Command) throws {
        note("asked: \(command)".replacing("SupervisorCore.", with: ""))
        openOperations.append(nextOperation)
        nextOperation += 1
        try send(.commanded(nextOperation - 1, command, by: "ada"))
    }
}
