/// A rule at work: how often it could have been broken and was not. Each has to be met by a run of many seeds.
package enum Exercise: Int, CaseIterable, Sendable {
    case staleDropped, staleProbeDropped, treeRemained, childrenLeft, spawnFailed, spawnFailedForDescriptors
    case fleetStopped, takeover, takeoverMidway, otherConfiguration, shimLost, shimReplaced, shimSilent, diskFull
    case everyPlaceLive, readinessFailed, readinessStartedDependent
    case restartByHeartbeat, restartByLiveness, refusedI3, refusedEarly, refusedSpan, refusedPause, refusedNodeBudget
    case refusedServiceBudget, refusedOneAtATime, refusedPressure, refusedReport
    case holdBegan, refusedHold, holdEnded, experiment
    case unknownSpawn, unknownResources, unknownBusy, unknownName
    case backoff, startPlacesFull, flapHeld, flapReleased, flapKeptOut, flapKeptIn
    case frozenByClock, frozenByLoop, frozenByChecker, frozenByFailures, readinessFrozen, heartbeatFrozen
    case suppressionCounted, readinessOverdue, oomExit, operation, operationFailed, converged
    case drainAnnounced, drainInFlight, drainStopping, drainEnforced, drained, drainedLate
    case noticeAtMost, noticeAcknowledged, reboot
    case rollDrain, rollWaiting, rollExtra, rollLeaving, rollReturning, rollProving, rollExtraLeaves, rollHolds,
        rollFailed

    /// As the table shows it.
    package var name: String {
        switch self {
        case .staleDropped: "P4 stale callback dropped"
        case .staleProbeDropped: "P4 late probe result dropped"
        case .treeRemained: "P1 tree survives SIGKILL"
        case .childrenLeft: "P2 main gone, tree not"
        case .spawnFailed: "P3 start failed"
        case .spawnFailedForDescriptors: "P7 start failed, EMFILE"
        case .fleetStopped: "P5 fleet stopped"
        case .takeover: "P8 takeover"
        case .takeoverMidway: "P8 killed between effects"
        case .otherConfiguration: "P8 other configuration"
        case .shimLost: "P8 shim lost, same again"
        case .shimReplaced: "P8 shim replaced"
        case .shimSilent: "P7 shim silent"
        case .diskFull: "P7 disk full"
        case .everyPlaceLive: "I1 every place is live"
        case .readinessFailed: "I2 readiness failed"
        case .readinessStartedDependent: "I2 readiness starts another"
        case .restartByHeartbeat: "I4 restart, no heartbeat"
        case .restartByLiveness: "I4 restart, liveness"
        case .refusedI3: "I3 last one stays"
        case .refusedEarly: "I4 too early after ready"
        case .refusedSpan: "I4 failing for too short"
        case .refusedPause: "I4 others may fail too"
        case .refusedNodeBudget: "I4 three on the node"
        case .refusedServiceBudget: "I4 one of the service"
        case .refusedOneAtATime: "I4 one at a time"
        case .refusedPressure: "pressure: host is short"
        case .refusedReport: "report: only shown"
        case .holdBegan: "I5 hold began"
        case .refusedHold: "I5 held back"
        case .holdEnded: "I5 hold ended"
        case .experiment: "I5 experiment"
        case .unknownSpawn: "I6 unknown: spawn"
        case .unknownResources: "I6 unknown: resources"
        case .unknownBusy: "I6 unknown: busy"
        case .unknownName: "I6 unknown: name"
        case .backoff: "I7 backoff"
        case .startPlacesFull: "I7 every start place taken"
        case .flapHeld: "I8 held"
        case .flapReleased: "I8 released"
        case .flapKeptOut: "I8 kept out"
        case .flapKeptIn: "I8 kept in"
        case .frozenByClock: "I9 frozen: clock"
        case .frozenByLoop: "I9 frozen: loop"
        case .frozenByChecker: "I9 frozen: checker"
        case .frozenByFailures: "I9 frozen: all failed"
        case .readinessFrozen: "I9 readiness kept"
        case .heartbeatFrozen: "I9 heartbeat forgiven"
        case .suppressionCounted: "I10 counted and shown"
        case .readinessOverdue: "I2 never ready, kept"
        case .oomExit: "ended for lack of memory"
        case .operation: "operation done"
        case .operationFailed: "operation failed"
        case .converged: "converged"
        default: nameOfDrain
        }
    }

    private var nameOfDrain: String {
        switch self {
        case .drainAnnounced: "drain announced"
        case .drainInFlight: "drain: in flight"
        case .drainStopping: "drain: stopping"
        case .drainEnforced: "drain: enforced"
        case .drained: "drained"
        case .drainedLate: "drained at the deadline"
        case .noticeAtMost: "notice at its longest"
        case .noticeAcknowledged: "notice acknowledged"
        case .reboot: "P8 reboot"
        case .rollDrain: "roll: one leaves"
        case .rollWaiting: "roll: waits"
        case .rollExtra: "roll: extra instance"
        case .rollLeaving: "roll: leaving"
        case .rollReturning: "roll: returning"
        case .rollProving: "roll: proving"
        case .rollExtraLeaves: "roll: extra leaves"
        case .rollHolds: "roll: holds"
        case .rollFailed: "roll: failed"
        default: "\(self)"
        }
    }
}

/// What a run, or many, has met.
package struct Tally: Sendable, Equatable {
    private var exercises = [UInt64](repeating: 0, count: Exercise.allCases.count)
    private var transitions = [UInt64](repeating: 0, count: Self.kinds * Self.kinds)
    private var takeovers = [UInt64](repeating: 0, count: Self.kinds)
    package var events: UInt64 = 0
    package var starts: UInt64 = 0
    /// Virtual time, nanoseconds.
    package var time: Int64 = 0

    private static let kinds = StateKind.allCases.count

    package init() {}

    package mutating func count(_ exercise: Exercise) { exercises[exercise.rawValue] += 1 }

    package mutating func count(_ from: StateKind, _ to: StateKind) {
        transitions[from.rawValue * Self.kinds + to.rawValue] += 1
    }

    package mutating func countTakeover(_ kind: StateKind) { takeovers[kind.rawValue] += 1 }

    package subscript(exercise: Exercise) -> UInt64 { exercises[exercise.rawValue] }

    package func count(from: StateKind, to: StateKind) -> UInt64 {
        transitions[from.rawValue * Self.kinds + to.rawValue]
    }

    package func takeovers(_ kind: StateKind) -> UInt64 { takeovers[kind.rawValue] }

    package mutating func add(_ other: Tally) {
        for index in exercises.indices { exercises[index] += other.exercises[index] }
        for index in transitions.indices { transitions[index] += other.transitions[index] }
        for index in takeovers.indices { takeovers[index] += other.takeovers[index] }
        events += other.events
        starts += other.starts
        time += other.time
    }

    /// What was never met and should have been, one clause each.
    package var missing: [String] {
        var missing = Exercise.allCases.filter { self[$0] == 0 }.map { "never met: \($0.name)" }
        for from in StateKind.allCases {
            for to in StateKind.allCases where Self.expected(from, to) && count(from: from, to: to) == 0 {
                missing.append("never went from \(from) to \(to)")
            }
            if takeovers(from) == 0 { missing.append("never taken over while \(from)") }
        }
        return missing
    }

    /// Documented, and met in real life.
    package static func expected(_ from: StateKind, _ to: StateKind) -> Bool { from.mayBecome(to) }
}
