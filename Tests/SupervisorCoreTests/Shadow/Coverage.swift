import Simulation

@testable import SupervisorCore

/// An event from the view of one instance.
enum EventKind: Int, CaseIterable {
    case started, startFailed, exited, treeGone, treeRemained
    case saidReady, saidStopping, saidReloading, heartbeat, trigger, extended, saidOther
    case startTimeout, gracePeriod, backoff, watchdog, readinessOverdue, flapRelease
    case probeSuccess, probeFailure, probeUnknown
    /// The pressure that a restart of this instance waits for.
    case pressureMeasured
    case disturbed
    case askedStart, askedStop, askedRestart, askedSignal
    case shimLost, shimConnected, takeover, shutdown, hastened
    /// A callback of another generation, or of a timer that was replaced.
    case stale
}

/// Which events met which states.
struct Coverage {
    private var counts = [Int](repeating: 0, count: StateKind.allCases.count * EventKind.allCases.count)

    func count(_ state: StateKind, _ event: EventKind) -> Int {
        counts[event.rawValue * StateKind.allCases.count + state.rawValue]
    }

    mutating func add(_ other: Coverage) {
        for index in counts.indices { counts[index] += other.counts[index] }
    }

    private mutating func hit(_ instance: InstanceMachine, _ event: EventKind) {
        counts[event.rawValue * StateKind.allCases.count + StateKind(instance.state).rawValue] += 1
    }

    mutating func count(_ event: Event, _ machine: FleetMachine, _ shim: ShadowShim) {
        switch event {
        case .started(let id, let generation, _, _): hit(id, generation, machine, .started)
        case .startFailed(let id, let generation, _): hit(id, generation, machine, .startFailed)
        case .exited(let id, let generation, _, _, _, _): hit(id, generation, machine, .exited)
        case .treeGone(let id, let generation): hit(id, generation, machine, .treeGone)
        case .treeRemained(let id, let generation, _, _): hit(id, generation, machine, .treeRemained)
        case .notified(let id, let generation, let message): hit(id, generation, machine, Self.kind(of: message))
        case .timerFired(let token):
            guard let id = token.instance, let slot = machine.slotOf[id] else { return }
            let kind: EventKind =
                switch token.purpose {
                case .startTimeout: .startTimeout
                case .gracePeriod: .gracePeriod
                case .backoff: .backoff
                case .watchdog: .watchdog
                case .readinessOverdue: .readinessOverdue
                case .flapRelease: .flapRelease
                // The node's own.
                case .node: .stale
                }
            hit(machine.instances[slot], machine.instances[slot].timer?.token == token ? kind : .stale)
        case .probed(let key, let outcome):
            guard let slot = machine.slotOf[key.instance] else { return }
            let instance = machine.instances[slot]
            hit(instance, instance.watched.contains(key) ? Self.kind(of: outcome) : .stale)
        case .pressureMeasured:
            for slot in machine.pressureAskedFor { hit(machine.instances[slot], .pressureMeasured) }
        case .disturbed: hitAll(machine, .disturbed)
        case .commanded(_, .start(let targets, _), _): hit(targets, machine, .askedStart)
        case .commanded(_, .stop(let targets, _), _): hit(targets, machine, .askedStop)
        case .commanded(_, .restart(let targets, _), _): hit(targets, machine, .askedRestart)
        case .commanded(_, .signal(let target, _), _): hit([target], machine, .askedSignal)
        case .shimLost: hitAll(machine, .shimLost)
        case .shimConnected: if machine.adopted { hitAll(machine, .shimConnected) }
        case .shutdownRequested: hitAll(machine, .shutdown)
        // Their own tests, and the simulator's.
        case .commanded, .probersSeen, .connectionsCounted, .reconfigured, .noticeSkipped, .storeSaid,
            .releasesIdentified,
            .callsSettled:
            break
        case .shimSilenceChanged: break
        case .shutdownHastened: hitAll(machine, .hastened)
        }
    }

    /// A new daemon: what it takes over is what the shim remembers.
    mutating func countTakeover(_ spec: FleetSpec, _ shim: ShadowShim) {
        for id in spec.services.flatMap(\.instanceIDs) {
            let kind = shim.memory[id].map { StateKind($0.state) } ?? .waiting
            counts[EventKind.takeover.rawValue * StateKind.allCases.count + kind.rawValue] += 1
        }
    }

    private static func kind(of message: NotifyMessage) -> EventKind {
        if message.ready { return .saidReady }
        if message.stopping { return .saidStopping }
        if message.reloading { return .saidReloading }
        if message.extendTimeout != nil { return .extended }
        return switch message.watchdog {
        case .alive?: .heartbeat
        case .trigger?: .trigger
        case nil: .saidOther
        }
    }

    private static func kind(of outcome: ProbeOutcome) -> EventKind {
        switch outcome {
        case .success: .probeSuccess
        case .failure: .probeFailure
        case .unknown: .probeUnknown
        }
    }

    private mutating func hit(
        _ id: InstanceID,
        _ generation: Generation,
        _ machine: FleetMachine,
        _ kind: EventKind
    ) {
        guard let slot = machine.slotOf[id] else { return }
        let instance = machine.instances[slot]
        hit(instance, instance.generation == generation && instance.state.hasProcess ? kind : .stale)
    }

    private mutating func hit(_ targets: [Target], _ machine: FleetMachine, _ kind: EventKind) {
        for target in targets {
            for slot in machine.resolve(target) ?? [] { hit(machine.instances[slot], kind) }
        }
    }

    private mutating func hitAll(_ machine: FleetMachine, _ kind: EventKind) {
        for instance in machine.instances { hit(instance, kind) }
    }
}

extension Coverage {
    /// The states that meet an event in real life.
    static func expected(_ event: EventKind) -> Set<StateKind> {
        let all = Set(StateKind.allCases)
        return switch event {
        // The answer of the shim comes late: the worker has said something, or an operator asked for its end.
        case .started: [.starting, .ready, .stopping]
        case .startFailed: [.starting, .stopping]
        case .exited: StateKind.withProcess
        case .treeGone, .treeRemained, .gracePeriod: [.stopping]
        case .saidReady, .saidStopping, .saidReloading, .heartbeat, .trigger, .extended, .saidOther:
            StateKind.withProcess
        case .startTimeout: [.starting]
        case .backoff: [.backoff]
        case .watchdog: [.ready, .running]
        case .readinessOverdue: [.ready]
        case .flapRelease: [.ready]
        case .probeSuccess, .probeFailure, .probeUnknown: [.starting, .ready]
        case .pressureMeasured: [.ready]
        case .askedStart, .askedStop, .askedRestart, .askedSignal, .shimLost, .shimConnected, .takeover, .stale,
            .disturbed:
            all
        case .shutdown: all
        case .hastened: [.stopped, .waiting, .queued, .starting, .ready, .stopping, .backoff, .completed]
        }
    }
}
