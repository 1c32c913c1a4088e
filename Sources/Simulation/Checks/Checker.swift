package import SupervisorCore

/// Keeps books of its own on what the core was told and what it asked for, and throws when a rule of DESIGN.md is
/// broken. It never asks the core, and shares no decision with it.
package struct Checker {
    /// Results of one probe in a row.
    struct Row {
        var key: ProbeKey
        var policy: ProbePolicy
        var successes = 0
        var failures = 0
        var failingSince: Int64 = 0
        var lastSuccess: Int64?
    }

    /// What is known of one instance.
    struct Entry {
        let id: InstanceID
        /// nil: no longer configured.
        var spec: ServiceSpec?
        var service = -1
        /// As the core last had it remembered.
        var record: RememberedInstance?
        var startup: Row?
        var readiness: Row?
        var liveness: Row?
        /// When the worker last gave a heartbeat, or was given a new period.
        var beatAt: Int64 = 0
        /// When it last said that it is broken.
        var triggeredAt: Int64 = .min
        /// What its probes must have made of it by now; nil where nothing is expected.
        var expectedReadiness: RememberedInstance.Readiness?
        var expectedLivenessFailing: Bool?
        var penalty = 0.0
        var penaltyAt: Int64 = 0
        var isHeld = false
        var troubleAt: Int64?
        /// When its liveness probe last failed.
        var livenessFailedAt: Int64 = .min
        /// When its restart was first put off for the host's pressure, and for nothing else since.
        var pressureSince: Int64?
        /// The generation that was stopped for health, until its successor has come to something.
        var restarted: Generation?
        /// Suppressions that were told of since this daemon began.
        var told = 0

        var kind: StateKind { record.map { StateKind($0.state) } ?? .waiting }

        var inTrouble: Bool {
            guard spec != nil, let record, let run = record.run, run.servingAt != nil else { return false }
            switch record.state {
            case .ready: return run.heartbeatLate || run.livenessFailing
            case .running: return run.heartbeatLate
            default: return false
            }
        }

        /// Nobody remembers anything of it.
        mutating func forget() {
            (penalty, penaltyAt, isHeld) = (0, 0, false)
            (troubleAt, restarted) = (nil, nil)
        }

        func row(_ kind: ProbeKind) -> Row? {
            switch kind {
            case .startup: startup
            case .readiness: readiness
            case .liveness: liveness
            }
        }

        mutating func set(_ kind: ProbeKind, _ row: Row?) {
            switch kind {
            case .startup: startup = row
            case .readiness: readiness = row
            case .liveness: liveness = row
            }
        }
    }

    struct Hold {
        var since: Int64
        var calmSince: Int64?
        var experiment: Int?
        var experimentAt: Int64?
    }

    private(set) var spec: FleetSpec
    var entries: [Entry] = []
    private(set) var slotOf: [InstanceID: Int] = [:]
    package internal(set) var tally = Tally()
    var now: Int64 = 0
    /// Restarts for health, ever.
    package internal(set) var restarts: [(service: String, at: Int64)] = []
    var hold: Hold?
    var frozenUntil: Int64 = .min
    var window: Int64 = 0
    /// The answer that the present turn brings; nil in any other turn.
    var pressure: PressureReading?
    var turnIsPressure = false
    var shimPresent = false
    var shuttingDown = false
    /// This turn says everything again, and nothing is to be read into it.
    var isCatchingUp = false
    /// The first turn of a daemon.
    var isTakingOver = false
    /// Nothing was told to this daemon yet.
    var isNew = true
    var daemonBeganAt: Int64 = 0
    /// When a rolling restart last had an extra instance: it fails and passes as others do, and then is gone.
    var extraSeenAt: Int64 = 0
    /// Instances in `starting`.
    var starting = 0
    /// Drains and rolling restarts, as the core last had them remembered.
    package internal(set) var drains: [Drain] = []
    package internal(set) var rolls: [Roll] = []
    /// By drain: who served when it was announced.
    var servedAtAnnounce: [String: [InstanceID]] = [:]
    /// Whether every load balancer routes to us no more, as the world knows it, and when it was looked at.
    var balancersHaveLeft = true
    var balancersSeenAt: Int64 = .min
    /// The host stood still: what was due meanwhile is late.
    var stalledUntil: Int64 = .min
    /// The shim was replaced in this turn, and nothing is left of what ran.
    var isReplacedShim = false

    package init(_ spec: FleetSpec) {
        self.spec = spec
        configure(spec)
    }

    /// A daemon with this configuration is about to begin; `memory` is what it will be told.
    package mutating func daemonBegins(
        _ spec: FleetSpec,
        memory: [InstanceID: RememberedInstance],
        node: RememberedNode?,
        at now: Int64
    ) {
        isNew = true
        daemonBeganAt = now
        self.spec = spec
        configure(spec)
        frozenUntil = .min
        hold = node?.hold.map { hold in
            Hold(
                since: hold.since.nanoseconds,
                calmSince: hold.calmSince?.nanoseconds,
                experiment: hold.experiment.flatMap { slotOf[$0] },
                experimentAt: hold.experimentAt?.nanoseconds
            )
        }
        shimPresent = false
        isCatchingUp = false
        shuttingDown = node?.shutdownBy != nil
        if let node {
            drains = node.drains
            rolls = node.rolls
        }
        starting = 0
        for index in entries.indices {
            entries[index].record = memory[entries[index].id]
            if entries[index].record == nil { entries[index].forget() }
            entries[index].startup = nil
            entries[index].readiness = nil
            entries[index].liveness = nil
            entries[index].told = 0
            entries[index].expectedReadiness = nil
            entries[index].expectedLivenessFailing = nil
            if entries[index].kind == .starting { starting += 1 }
        }
    }

    /// As the core last had it remembered.
    package func record(of id: InstanceID) -> RememberedInstance? { slotOf[id].flatMap { entries[$0].record } }

    private mutating func configure(_ spec: FleetSpec) {
        for index in entries.indices { (entries[index].spec, entries[index].service) = (nil, -1) }
        for (position, service) in spec.services.enumerated() {
            for id in service.instanceIDs {
                let slot = slot(of: id)
                (entries[slot].spec, entries[slot].service) = (service, position)
            }
        }
        window = Self.window(spec)
    }

    /// The entry of an instance, which is made where there is none.
    mutating func slot(of id: InstanceID) -> Int {
        if let slot = slotOf[id] { return slot }
        slotOf[id] = entries.count
        entries.append(Entry(id: id))
        return entries.count - 1
    }

    /// What the slowest check of the fleet needs to call a worker failed, from 1 s to 60 s; where there is none, 60 s.
    private static func window(_ spec: FleetSpec) -> Int64 {
        var longest = 0.0
        var isAny = false
        for service in spec.services {
            for probe in [service.startupProbe, service.readiness, service.liveness.probe] {
                guard let probe else { continue }
                isAny = true
                let time = probe.period.inSeconds * Double(probe.failureThreshold) + probe.timeout.inSeconds
                longest = max(longest, min(60, time))
            }
            if let watchdog = service.liveness.watchdog {
                isAny = true
                longest = max(longest, watchdog.inSeconds)
            }
        }
        return isAny ? Int64(min(60, max(1, longest)) * 1e9) : 60_000_000_000
    }

    // MARK: One turn

    /// Takes one event and all effects that it led to, and that were carried out: `isWhole` says whether all were.
    package mutating func take(_ event: Event, _ effects: [Effect], at now: Int64, isWhole: Bool = true) throws {
        self.now = now
        tally.events += 1
        try begin(event)
        if effects.isEmpty {
            // Nothing was remembered: nothing may have been due.
            if case .probed(let key, _) = event, isWhole { try checkExpectations(key) }
            return try checkDeadlines(event)
        }
        try checkCause(event, effects)
        for effect in effects { try take(effect, event) }
        if isWhole { try checkDeadlines(event) }
        if case .probed(let key, _) = event, isWhole { try checkExpectations(key) }
        fitHold()
        isCatchingUp = false
        isTakingOver = false
        turnIsPressure = false
    }

    private mutating func begin(_ event: Event) throws {
        switch event {
        case .probed(let key, let outcome): probed(key, outcome)
        case .notified(let id, let generation, let message):
            guard let slot = slotOf[id], entries[slot].record?.generation == generation else { return }
            if message.watchdog == .alive { entries[slot].beatAt = now }
            if message.watchdog == .trigger { entries[slot].triggeredAt = now }
        case .disturbed(let disturbance): disturbed(disturbance)
        case .pressureMeasured(let reading):
            turnIsPressure = true
            pressure = reading
        case .shimConnected:
            isTakingOver = isNew
            isCatchingUp = !isNew
            isNew = false
            shimPresent = true
            for index in entries.indices where isTakingOver { entries[index].beatAt = now }
        case .shimLost: shimPresent = false
        case .startFailed(_, _, let failure):
            tally.count(.spawnFailed)
            if failure.errno == 24 { tally.count(.spawnFailedForDescriptors) }
        case .treeRemained: tally.count(.treeRemained)
        case .exited(_, _, _, _, let outOfMemory, let treeGone):
            if outOfMemory { tally.count(.oomExit) }
            if !treeGone { tally.count(.childrenLeft) }
        case .shutdownRequested, .shutdownHastened: shuttingDown = true
        case .shimSilenceChanged(let isSilent): if isSilent { tally.count(.shimSilent) }
        case .started, .treeGone, .timerFired, .commanded, .probersSeen, .connectionsCounted, .reconfigured,
            .noticeSkipped, .storeSaid, .releasesIdentified, .callsSettled:
            break
        }
    }

    /// What the kind of the event allows to follow from it (rules I2, I6, I7).
    private mutating func checkCause(_ event: Event, _ effects: [Effect]) throws {
        switch event {
        case .probed(let key, let outcome):
            if case .unknown(let obstacle, _) = outcome {
                throw ShadowViolation("I6: because \(key) could not be run (\(obstacle)) this was done: \(effects)")
            }
            if key.kind == .readiness { try checkReadinessTurn(key, effects) }
        case .exited(let id, _, _, _, _, _): try checkSiblings(of: id, effects)
        default: break
        }
    }

    private mutating func checkReadinessTurn(_ key: ProbeKey, _ effects: [Effect]) throws {
        for effect in effects {
            switch effect {
            // What a drain has come to is done at the first turn that sees it.
            case .signal(let id, _, _, _) where isLeaving(id), .endTree(let id, _) where isLeaving(id): break
            case .signal(let id, _, _, _): throw ShadowViolation("I2: \(id) was signalled because of \(key)")
            case .endTree(let id, _): throw ShadowViolation("I2: \(id) was killed because of \(key)")
            case .spawn(let id, _):
                // What comes `after` it has waited for this; nothing else may start.
                let kind = slotOf[id].map { entries[$0].kind }
                // A rolling restart that goes on by it frees a start place.
                if kind != .waiting, !isLeaving(id), rolls.isEmpty {
                    throw ShadowViolation("I2: \(id) was started because of \(key)")
                }
                tally.count(.readinessStartedDependent)
            default: break
            }
        }
    }

    /// A drain or a rolling restart has to do with it.
    private func isLeaving(_ id: InstanceID) -> Bool {
        drains.contains { $0.covers(id) } || rolls.contains { $0.service == id.service }
    }

    /// Rule I7: the end of one takes nobody down.
    private func checkSiblings(of id: InstanceID, _ effects: [Effect]) throws {
        for effect in effects {
            switch effect {
            case .signal(let other, _, _, _) where other != id && !isLeaving(other),
                .endTree(let other, _) where other != id && !isLeaving(other):
                throw ShadowViolation("I7: \(other) was to end because \(id) ended")
            default: break
            }
        }
    }

    private mutating func take(_ effect: Effect, _ event: Event) throws {
        switch effect {
        case .remember(let id, let record):
            let slot = slot(of: id)
            guard let record else {
                if entries[slot].kind == .starting { starting -= 1 }
                entries[slot].record = nil
                return entries[slot].forget()
            }
            try remembered(slot, record)
        case .watch(let key, let policy, _):
            let slot = slot(of: key.instance)
            entries[slot].set(key.kind, Row(key: key, policy: policy))
        case .unwatch(let key): entries[slot(of: key.instance)].set(key.kind, nil)
        case .spawn(let id, _):
            tally.starts += 1
            try checkDrainedStart(id)
        case .signal(let id, _, _, tree: false): try checkDrainSignal(id, event)
        case .rememberNode(let node):
            try checkNode(node)
            try remembered(node, event)
        case .record(let subject, let kind, let text): try told(subject, kind, text)
        case .finishOperation(_, let result): tally.count(result == .done ? .operation : .operationFailed)
        case .finishShutdown: tally.count(.fleetStopped)
        case .signal, .endTree, .release, .startTimer, .cancelTimer, .measurePressure, .saveIntents,
            .announceFirstStart, .lookAtProbers, .countConnections, .rememberBreakers, .askStore, .identifyReleases:
            break
        }
    }

    /// Rule P7: what is remembered has bounds.
    private func checkNode(_ node: RememberedNode) throws {
        if node.healthRestarts.count > 3 { throw ShadowViolation("P7: \(node.healthRestarts.count) restarts are kept") }
    }

    // MARK: What operators are told

    private mutating func told(_ subject: String?, _ kind: String, _ text: String) throws {
        switch kind {
        case "suppressed":
            if let id = subject.flatMap({ InstanceID($0) }), let slot = slotOf[id] {
                entries[slot].told += 1
                if text.contains("is not restarted") {
                    entries[slot].pressureSince = text.contains("whole host is short") ? now : nil
                }
            }
            countSuppression(text)
        case "hold-over": try endHold()
        case "frozen" where text.contains("every check failed"): tally.count(.frozenByFailures)
        default: break
        }
    }

    private mutating func countSuppression(_ text: String) {
        let clauses: [(String, Exercise)] = [
            ("(I3)", .refusedI3), ("ready for less", .refusedEarly), ("failed for less", .refusedSpan),
            ("in trouble for less", .refusedPause),
            ("on this node within", .refusedNodeBudget), ("was restarted for health within", .refusedServiceBudget),
            ("another instance is being", .refusedOneAtATime), ("whole host is short", .refusedPressure),
            ("is report", .refusedReport), ("one is tried in", .refusedHold), ("kept out", .flapKeptOut),
            ("kept in", .flapKeptIn), ("it would change, but", .readinessFrozen),
            ("heartbeat is late, but", .heartbeatFrozen),
        ]
        for (clause, exercise) in clauses where text.contains(clause) { tally.count(exercise) }
    }
}
