import SupervisorCore

/// What a run must have met for it to say anything.
package enum FleetMark: Int, CaseIterable, Sendable {
    case t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11
    case deniedClosed, deniedWaiting, deniedFull, deniedOthersFirst, deniedForced, stale
    case callAllowed, callProbe, callDeniedOpen, callDeniedHalfOpen, callDeniedForced
    case startHeld, probeStarted, fenced, ramped
    case islandEntered, islandLeft, suspectQuorum, openedAlone
    case takeover, reboot, paused, failover, split, flushed, newRelease, converged

    /// As the table shows it.
    package var name: String { "\(self)" }
}

/// What one run has met: how often, and over many runs in how many of them.
package struct FleetTally: Sendable, Equatable {
    private var counts = [UInt64](repeating: 0, count: FleetMark.allCases.count)
    private var runs = [UInt64](repeating: 0, count: FleetMark.allCases.count)
    package var events: UInt64 = 0
    package var operations: UInt64 = 0
    package var starts: UInt64 = 0
    /// Virtual time, nanoseconds.
    package var time: Int64 = 0

    package init() {}

    package mutating func count(_ mark: FleetMark) { counts[mark.rawValue] += 1 }

    package subscript(mark: FleetMark) -> UInt64 { counts[mark.rawValue] }

    /// Runs in which it was met.
    package func runs(with mark: FleetMark) -> UInt64 { runs[mark.rawValue] }

    /// Adds one run, or the sum of several.
    package mutating func add(_ other: FleetTally, isOneRun: Bool) {
        for index in counts.indices {
            counts[index] += other.counts[index]
            runs[index] += isOneRun ? (other.counts[index] > 0 ? 1 : 0) : other.runs[index]
        }
        events += other.events
        operations += other.operations
        starts += other.starts
        time += other.time
    }
}
