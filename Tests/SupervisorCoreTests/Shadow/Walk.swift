import Simulation

@testable import SupervisorCore

/// A random walk: one seed drives the fleet, the faults and the clock; then the faults stop, and the fleet has to
/// come to rest where everyone asked it to be.
struct Walk {
    let seed: UInt64
    var world: World
    var generator: SeededGenerator
    /// Whether this walk may stop the fleet.
    let mayShutDown: Bool
    /// What was done, for the report of a failure.
    var journal: [String] = []
    let writesJournal: Bool

    init(seed: UInt64, writesJournal: Bool = false) {
        self.seed = seed
        self.writesJournal = writesJournal
        generator = SeededGenerator(seed: seed)
        // The first numbers of neighbouring seeds should not be neighbours.
        _ = generator.next()
        world = World(.random(&generator), seed: seed)
        mayShutDown = generator.chance(25)
    }

    /// Walks until `events` events were handled, then lets the fleet come to rest.
    mutating func run(events: Int) throws {
        try world.start()
        var idle = 0
        while world.events < events, !world.finished, idle < 100 * events {
            idle += 1
            try step()
            if generator.chance(4) || writesJournal { try world.publish() }
        }
        try comeToRest()
        try checkRest()
    }

    // MARK: One step

    private mutating func step() throws {
        let roll = generator.pick(0...99)
        switch roll {
        case 0..<28: if try !world.readReport() { try passTime() }
        case 28..<38: if try !world.readDatagram() { workerSpeaks() }
        case 38..<48: workerSpeaks()
        case 48..<58: try healthActs()
        case 58..<72: processActs()
        case 72..<80: try passTime()
        case 80..<88: try operatorActs()
        case 88..<90: world.shim.startFault = randomFault()
        case 90..<93: try staleCallback()
        default: try disaster(roll)
        }
    }

    private mutating func disaster(_ roll: Int) throws {
        switch roll {
        case 93:
            note("the daemon is killed")
            try world.daemonDies()
        case 94, 95:
            let effects = generator.pick(0...6)
            note("the daemon is to be killed after \(effects) more effects")
            world.effectsUntilDeath = effects
        case 96 where generator.chance(40):
            if world.connected {
                let replaced = generator.chance(50)
                note(replaced ? "the shim is replaced" : "the connection to the shim breaks")
                try world.shimIsLost(replaced: replaced)
            }
        case 97,
            98 where !world.connected:
            note("the shim connects")
            try world.shimConnects()
        case 98,
            99 where generator.chance(10):
            note("a daemon of another configuration follows")
            let successor = world.spec.changed(&generator)
            try world.daemonDies(successor: successor)
        case 99 where mayShutDown && generator.chance(20):
            note("the fleet is to stop")
            try world.send(.shutdownRequested(by: "SIGTERM"))
        case 99 where mayShutDown && generator.chance(25):
            note("the fleet is to stop at once")
            try world.send(.shutdownHastened)
        default: break
        }
    }

    private mutating func note(_ text: @autoclosure () -> String) {
        if writesJournal {
            journal.append("\(world.now.since(.init(nanoseconds: 0)).brief) [\(world.events)] \(text())")
        }
    }

    private mutating func randomFault() -> SpawnFailure? {
        if generator.chance(60) { return nil }
        return SpawnFailure(
            stage: generator.pick(SpawnStage.allCases) ?? .clone,
            errno: generator.pick(1...40),
            path: ""
        )
    }

    /// The clock moves: a little, or to the next timer.
    private mutating func passTime() throws {
        if generator.chance(50) {
            if let next = world.timers.next { note("timer \(next.token)") }
            _ = try world.fireNextTimer()
            return
        }
        let later = world.now.advanced(by: .milliseconds(generator.pick(1...3_000)))
        world.now = min(later, max(world.now, world.timers.next?.at ?? later))
    }

    // MARK: Health

    private mutating func healthActs() throws {
        if generator.chance(40), try world.answerLook() { return }
        if generator.chance(40), try world.answerPressure() {
            note("the pressure is answered")
            return
        }
        switch generator.pick(0...19) {
        case 0: try disturb()
        case 1:
            let isTold = generator.chance(50)
            world.pressure = isTold ? PressureReading() : nil
            if generator.chance(30) { world.pressure?.cpuSome = 95 }
        case 2: try flap()
        case 3..<8: changeHealth()
        default:
            guard let watch = world.prober.next else { return try passTime() }
            let found = world.health[watch.key.instance]?[watch.key.kind]
            note("probe \(watch.key): \(found as Any)")
            // Time passes only as far as the next timer, which has to be first.
            if let timer = world.timers.next, timer.at < watch.at {
                _ = try world.fireNextTimer()
            } else {
                _ = try world.runNextProbe()
            }
        }
    }

    /// The readiness of an instance comes and goes, faster than time passes.
    private mutating func flap() throws {
        guard let key = generator.pick(world.machine.instances.flatMap(\.watched)), key.kind == .readiness,
            let policy = world.prober.watches[key]?.policy
        else { return }
        note("\(key) flaps")
        for _ in 0..<3 {
            for _ in 0..<policy.failureThreshold { try world.send(.probed(key, .failure("answered 503"))) }
            for _ in 0..<policy.successThreshold { try world.send(.probed(key, .success)) }
        }
    }

    private mutating func disturb() throws {
        let time = Duration.seconds(generator.pick(2...60))
        let all: [Disturbance] = [.clockJumped(by: time), .loopStalled(time), .checkerStalled(time)]
        guard let disturbance = generator.pick(all) else { return }
        note("\(disturbance)")
        try world.send(.disturbed(disturbance))
    }

    private mutating func changeHealth() {
        guard let instance = generator.pick(world.machine.instances) else { return }
        let outcome: ProbeOutcome =
            switch generator.pick(0...9) {
            case 0..<4: .success
            case 4..<9: .failure("answered 503")
            default: .unknown(generator.pick(ProbeObstacle.allCases) ?? .busy, "it was not run")
            }
        note("probes of \(instance.id) find \(outcome)")
        for kind in ProbeKind.allCases where generator.chance(60) {
            world.health[instance.id, default: PerProbe(.success)][kind] = outcome
        }
    }

    private mutating func workerSpeaks() {
        guard let id = generator.pick(world.shim.ids) else { return }
        var message = NotifyMessage()
        switch generator.pick(0...19) {
        case 0..<9: message.ready = true
        case 9, 10: message.stopping = true
        case 11: message.reloading = true
        case 12..<15: message.watchdog = .alive
        case 15: message.watchdog = .trigger
        case 16: message.extendTimeout = .seconds(generator.pick(0...5_000))
        case 17: message.watchdogUsec = generator.pick([0, 200_000, 5_000_000, .max])
        case 18: message.status = generator.pick(["", "busy"])
        default: message.inFlight = generator.pick(0...3)
        }
        note("\(id) says \(message)")
        world.shim.say(id, message)
    }

    // MARK: Processes

    private mutating func processActs() {
        guard let id = generator.pick(world.shim.ids), let process = world.shim.processes[id] else { return }
        let children = generator.chance(30) ? generator.pick(1...3) : 0
        if process.ending {
            note("\(id) is being killed")
            switch generator.pick(0...5) {
            case 0: world.shim.treeStays(id)
            case 1: world.shim.mainEnds(id, .signal(.kill, coreDumped: false), leaving: children, at: world.now)
            default: world.shim.treeEnds(id, at: world.now)
            }
        } else if let signal = process.pendingSignals.last, process.mainAlive, generator.chance(70) {
            note("\(id) obeys \(signal)")
            let status: ExitStatus = generator.chance(50) ? .code(0) : .signal(signal, coreDumped: false)
            world.shim.mainEnds(id, status, leaving: children, at: world.now)
        } else if !process.mainAlive {
            note("the children of \(id) end")
            world.shim.childrenEnd(id)
        } else if generator.chance(35) {
            let outOfMemory = generator.chance(10)
            let status: ExitStatus =
                generator.chance(60) ? .code(generator.pick([0, 0, 1, 3]) ?? 0) : .signal(.kill, coreDumped: true)
            note("\(id) ends: \(status)")
            world.shim.mainEnds(id, status, leaving: children, outOfMemory: outOfMemory, at: world.now)
        }
    }

    private mutating func staleCallback() throws {
        guard let instance = generator.pick(world.machine.instances) else { return }
        let generation = instance.state.hasProcess ? instance.generation &- 1 : instance.generation
        note("a stale callback for \(instance.id)")
        let id = instance.id
        var ready = NotifyMessage()
        ready.ready = true
        let events: [Event] = [
            .started(id, generation, pid: 7, at: world.now),
            .startFailed(id, generation, SpawnFailure(stage: .clone, errno: 11, path: "")),
            .exited(id, generation, .code(1), ResourceUsage(), outOfMemory: false, treeGone: true),
            .treeGone(id, generation), .treeRemained(id, generation, count: 1, example: 7),
            .notified(id, generation, ready),
            .timerFired(TimerToken(instance: id, purpose: .backoff, number: 0)),
            .timerFired(TimerToken(instance: nil, purpose: .node, number: 0)),
            .probed(ProbeKey(instance: id, generation: generation, kind: .readiness), .failure("late")),
            .probed(ProbeKey(instance: id, generation: generation, kind: .liveness), .failure("late")),
        ]
        if let event = generator.pick(events) { try world.send(event) }
    }

    // MARK: Operators

    private mutating func operatorActs() throws {
        guard let first = world.spec.services.first, let service = generator.pick(world.spec.services) else { return }
        var target = Target.service(service.name)
        if generator.chance(50) { target = .instance(InstanceID(service: service.name, index: generator.pick(0...3))) }
        let reason = generator.chance(30) ? "because" : nil
        let command: Command =
            switch generator.pick(0...9) {
            case 0..<3: .start([target], reason: reason)
            case 3, 4: .stop([target], reason: reason)
            case 5..<8: .restart([target, .service(first.name)], reason: reason)
            default: .signal(target, generator.pick([.hangup, .terminate, .kill]) ?? .hangup)
            }
        note("\(command)")
        try world.command(command)
    }
}

// MARK: Coming to rest

extension Walk {
    /// The faults stop, workers behave, and everything runs until only heartbeats are left.
    private mutating func comeToRest() throws {
        world.effectsUntilDeath = nil
        world.shim.startFault = nil
        world.health = [:]
        world.pressure = PressureReading()
        if !world.connected { try world.shimConnects() }
        // Takes up to a quarter of an hour of probes, so not every walk does it.
        let waitsForRelease = seed % 10 == 0
        for _ in 0..<60_000 {
            if world.finished { return }
            if try world.readReport() { continue }
            if try world.readDatagram() { continue }
            if try workersBehave() { continue }
            if try world.answerPressure() { continue }
            if try world.answerLook() { continue }
            let idle = world.timers.armed.allSatisfy { timer in
                timer.token.purpose == .watchdog || (timer.token.purpose == .flapRelease && !waitsForRelease)
            }
            if idle, allProbesPass { return }
            if let watch = world.prober.next, world.timers.next.map({ watch.at <= $0.at }) ?? true {
                _ = try world.runNextProbe()
                continue
            }
            guard let timer = world.timers.next else { return }
            if timer.token.purpose == .watchdog, let id = timer.token.instance {
                var message = NotifyMessage()
                message.watchdog = .alive
                world.now = max(world.now, timer.at)
                world.shim.say(id, message)
                _ = try world.readDatagram()
            }
            _ = try world.fireNextTimer()
        }
        throw ShadowViolation("it does not come to rest: \(world.machine.instances.map { "\($0.id) \($0.state)" })")
    }

    /// What the probes decide has settled: every instance that is up may be given work and is in no trouble.
    private var allProbesPass: Bool {
        world.machine.freeze == nil && world.machine.node.hold == nil
            && world.machine.instances.allSatisfy { $0.state != .ready || ($0.isReady && !$0.isInTrouble) }
    }

    /// One well-behaved act of a worker that has something to do; false when none has.
    private mutating func workersBehave() throws -> Bool {
        for id in world.shim.ids {
            guard let process = world.shim.processes[id], let instance = world.slot(id) else { continue }
            if process.treeGone { continue }
            if process.ending {
                world.shim.treeEnds(id, at: world.now)
                return true
            }
            if !process.pendingSignals.isEmpty {
                if process.mainAlive {
                    world.shim.mainEnds(id, .code(0), at: world.now)
                } else {
                    world.shim.childrenEnd(id)
                }
                return true
            }
            guard process.mainAlive else { continue }
            switch (instance.state, instance.policy.kind) {
            case (.starting, .notify):
                var message = NotifyMessage()
                message.ready = true
                world.shim.say(id, message)
                return true
            case (.starting, .oneshot), (.running, _):
                world.shim.mainEnds(id, .code(0), at: world.now)
                return true
            default: continue
            }
        }
        return false
    }

    /// Everything that is wanted is ready, everything that is not is stopped, and nobody waits for an answer.
    private func checkRest() throws {
        for operation in world.openOperations where !waitsForever(operation) {
            throw ShadowViolation("operation \(operation) is never finished")
        }
        for instance in world.machine.instances {
            let alive = world.shim.processes[instance.id]?.mainAlive == true
            let fits: Bool =
                switch instance.state {
                case .stopped(.intent): (instance.memory.stopIntent != nil || instance.service == nil) && !alive
                case .stopped(.shutdown): world.finished && !alive
                case .stopped(.drained): instance.memory.isDrained && !alive
                case .stopped(.finished), .failed: instance.policy.restart.policy != .always && !alive
                case .completed: instance.policy.kind == .oneshot && !alive
                case .ready: instance.memory.stopIntent == nil && !world.finished && alive && instance.isReady
                case .waiting: instance.service.map { hasFailedBlocker($0) } ?? false
                case .queued, .held, .starting, .running, .stopping, .backoff: false
                }
            if !fits { throw ShadowViolation("\(instance.id) came to rest as \(instance.state)") }
        }
        let shuttingDown = world.machine.node.shutdownBy != nil
        if shuttingDown != world.finished { throw ShadowViolation("the stop of the fleet is never finished") }
        if !shuttingDown, !world.machine.node.firstStartFinished {
            throw ShadowViolation("the first start is never finished")
        }
    }

    /// It waits for a service that has failed for good, or for one that waits itself.
    private func hasFailedBlocker(_ service: Int) -> Bool {
        world.machine.services[service].after.contains { dependency in
            let slots = world.machine.services[dependency].slots
            return slots.contains { slot in
                let state = world.machine.instances[slot].state
                return state == .failed || (state == .waiting && hasFailedBlocker(dependency))
            }
        }
    }

    /// Its instances wait for a service that has failed for good.
    private func waitsForever(_ operation: OperationID) -> Bool {
        world.machine.operations.first { $0.id == operation }?.goals.allSatisfy { goal in
            world.machine.instances[goal.slot].state == .waiting
        } ?? false
    }
}
