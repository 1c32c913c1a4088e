import SupervisorCore

// Processes, what they say, and what probes find of them.
extension Host {
    mutating func startFault() -> SpawnFailure? {
        if now >= startsFailUntil || random.chance(30) { return nil }
        let errno: Int32 = random.pick([24, 23, 11, 12, 28, 2]) ?? 24
        return SpawnFailure(stage: random.pick([.clone, .output, .execute]) ?? .clone, errno: errno, path: "")
    }

    mutating func workerBegins(_ slot: Int, _ generation: Generation) {
        guard shim.processes[ids[slot]]?.generation == generation else { return }
        workers[slot].begin(generation)
        workers[slot].period = services[slot]?.liveness.watchdog?.clampedNanoseconds
        mostLive = max(mostLive, shim.processes.count { !$0.value.treeGone })
        // Loading a program takes a processor, and there are few.
        let load = Double(1 + checker.starting / 4) * (now < slowUntil ? 6 : 1)
        var up = time(scenario.startTime.lowerBound, scenario.startTime.upperBound)
        up = Int64(Double(up) * load)
        if isResting, let timeout = services[slot]?.startupTimeout { up = min(up, timeout.clampedNanoseconds / 2) }
        plan(.workerUp, after: up, slot: slot, number: generation)
        if now < workers[slot].badUntil {
            plan(.workerEnds, after: time(0.05, 5), slot: slot, number: generation, detail: 1)
        }
    }

    mutating func workerIsUp(_ slot: Int, _ generation: Generation) {
        guard isAlive(slot, generation) else { return }
        // One that says again what was lost is up already.
        if workers[slot].isUp { return say(slot, .ready) }
        workers[slot].isUp = true
        guard let service = services[slot] else { return }
        switch service.kind {
        case .notify: say(slot, .ready)
        case .oneshot: plan(.workerEnds, after: time(0.1, 5), slot: slot, number: generation)
        case .simple: break
        }
        workBegins(slot)
        if workers[slot].period != nil { planBeat(slot) }
    }

    private mutating func planBeat(_ slot: Int) {
        // By what it was started with, it beats three times as often as it must.
        let period = workers[slot].period ?? 30_000_000_000
        plan(.workerBeats, after: period / 3, slot: slot, number: workers[slot].generation)
    }

    mutating func workerBeats(_ slot: Int, _ generation: Generation) {
        guard isAlive(slot, generation), services[slot] != nil else { return }
        if !workers[slot].isHung(now) { say(slot, .beat) }
        planBeat(slot)
    }

    func isAlive(_ slot: Int, _ generation: Generation) -> Bool {
        guard workers[slot].generation == generation, let process = shim.processes[ids[slot]] else { return false }
        return process.generation == generation && process.mainAlive
    }

    // MARK: Ends

    mutating func workerEnds(_ slot: Int, _ generation: Generation, _ code: Int32) {
        guard isAlive(slot, generation) else { return }
        end(slot, .code(code), outOfMemory: false)
    }

    mutating func end(_ slot: Int, _ status: ExitStatus, outOfMemory: Bool) {
        let children = workers[slot].leavesChildren
        workers[slot].leavesChildren = 0
        note("\(ids[slot]) ends: \(status.inWords)\(children > 0 ? ", leaving \(children)" : "")")
        shim.mainEnds(ids[slot], status, leaving: children, outOfMemory: outOfMemory, at: instant)
    }

    mutating func workerObeys(_ slot: Int, _ generation: Generation) {
        guard let process = shim.processes[ids[slot]], process.generation == generation else { return }
        guard process.mainAlive else {
            // The rest of the tree was told too; some do not listen.
            if random.chance(70) { shim.childrenEnd(ids[slot]) }
            return
        }
        guard let signal = process.pendingSignals.last, signal != .hangup else { return }
        if workers[slot].isHung(now), signal != .abort, signal != .kill { return }
        // One that swells while it is to end is ended by the kernel.
        if random.chance(4) { return end(slot, .signal(.kill, coreDumped: false), outOfMemory: true) }
        let isPolite = signal == .terminate || signal == .interrupt
        end(
            slot,
            isPolite && random.chance(80) ? .code(0) : .signal(signal, coreDumped: signal == .abort),
            outOfMemory: false
        )
    }

    mutating func childrenEnd(_ slot: Int, _ generation: Generation) {
        guard shim.processes[ids[slot]]?.generation == generation else { return }
        shim.childrenEnd(ids[slot])
    }

    mutating func treeEnds(_ slot: Int, _ generation: Generation) {
        guard let process = shim.processes[ids[slot]], process.generation == generation, process.ending else { return }
        if now < workers[slot].survivesKillUntil {
            if daemonLives, connected { shim.treeStays(ids[slot]) }
            plan(.treeEnds, after: time(2, 8), slot: slot, number: generation)
            return
        }
        shim.treeEnds(ids[slot], at: instant)
    }

    // MARK: Datagrams

    mutating func say(_ slot: Int, _ saying: Saying) {
        if now < workers[slot].losesUntil, random.chance(60) {
            note("\(saying) of \(ids[slot]) is lost")
            // A worker repeats what nobody answered: few do, but one that never can is never ready.
            if saying == .ready { plan(.workerUp, after: time(5, 60), slot: slot, number: workers[slot].generation) }
            return
        }
        let isLate = now < workers[slot].delaysUntil
        let delay = isLate ? time(0.5, 25) : time(0.0001, 0.002)
        plan(.datagram, after: delay, slot: slot, number: workers[slot].generation, detail: saying.rawValue)
        if now < workers[slot].repeatsUntil {
            let later = time(0.001, 5)
            plan(.datagram, after: later, slot: slot, number: workers[slot].generation, detail: saying.rawValue)
        }
    }

    private mutating func message(_ saying: Saying, _ slot: Int) -> NotifyMessage {
        var message = NotifyMessage()
        switch saying {
        case .ready: message.ready = true
        case .beat: message.watchdog = .alive
        case .trigger: message.watchdog = .trigger
        case .stopping: message.stopping = true
        case .status: message.status = random.pick(["busy", "idle", ""])
        case .period: message.watchdogUsec = UInt64((workers[slot].period ?? 0) / 1_000)
        case .extend: message.extendTimeout = .seconds(random.pick(1...100))
        case .reloading: message.reloading = true
        case .inFlight: message.inFlight = workers[slot].inFlight
        }
        return message
    }

    mutating func deliverDatagram(_ slot: Int, _ happening: Happening) throws {
        guard let saying = Saying(rawValue: happening.detail) else { return }
        let said = message(saying, slot)
        if !daemonLives || !connected {
            shim.datagrams.append(
                ShadowShim.Datagram(instance: ids[slot], generation: happening.number, message: said)
            )
            return
        }
        try send(.notified(ids[slot], happening.number, said))
        // Once the faults are over, one that says so goes.
        if saying == .stopping, isResting {
            plan(.workerEnds, after: time(0.1, 5), slot: slot, number: happening.number)
        }
    }

    // MARK: Probes

    mutating func runProbe(_ slot: Int, _ happening: Happening) throws {
        guard let kind = ProbeKind(rawValue: UInt8(truncatingIfNeeded: happening.detail)) else { return }
        let key = ProbeKey(instance: ids[slot], generation: workers[slot].generation, kind: kind)
        guard daemonLives, let watch = prober.watches[key], watch.number == happening.number else { return }
        if now < checkerStalledUntil {
            // Whoever runs it stands still: it is run when that is over.
            plan(.probe, after: checkerStalledUntil - now, slot: slot, number: watch.number, detail: happening.detail)
            return
        }
        let period = watch.policy.period.clampedNanoseconds
        plan(.probe, after: period, slot: slot, number: watch.number, detail: happening.detail)
        if now < proberBrokenUntil, random.chance(80) {
            return try deliver(key, .unknown(proberObstacle, "cannot be run: \(proberObstacle.rawValue)"))
        }
        let worker = workers[slot]
        if worker.isHung(now) {
            // Nobody answers: that is known when its time is over.
            let detail = UInt32(kind.rawValue) | 0x100
            let timeout = watch.policy.timeout.clampedNanoseconds
            return plan(.probeResult, after: timeout, slot: slot, number: key.generation, detail: detail)
        }
        try deliver(key, finding(of: worker, kind))
    }

    private func finding(of worker: Worker, _ kind: ProbeKind) -> ProbeOutcome {
        if !worker.isUp { return .failure("connection refused") }
        if now < allFailUntil { return .failure("answered 503") }
        switch kind {
        case .startup: return .success
        case .readiness: return worker.passesReadiness(now) ? .success : .failure("answered 503")
        case .liveness: return worker.passesLiveness(now) ? .success : .failure("answered 500")
        }
    }

    mutating func deliverProbe(_ slot: Int, _ happening: Happening) throws {
        guard let kind = ProbeKind(rawValue: UInt8(happening.detail & 0xFF)) else { return }
        let key = ProbeKey(instance: ids[slot], generation: happening.number, kind: kind)
        try deliver(key, .failure("no answer in time"))
    }

    private mutating func deliver(_ key: ProbeKey, _ outcome: ProbeOutcome) throws {
        if writesJournal, outcome != .success { note("\(key): \(outcome)") }
        try send(.probed(key, outcome))
    }
}
