public import SupervisorCore
import Synchronization

/// Where supervision leaves the state of the fleet for the edges to read.
///
/// The supervision loop publishes after it has acted; readers copy. The lock is held for a copy of a few words, so
/// neither side can delay the other. What is published also carries the loop's heartbeat: a reader that finds it old
/// knows that supervision has stalled, which is what `/livez` reports.
public final class StatusBoard: Sendable {
    /// Everything that is published, at one moment.
    public struct Snapshot: Sendable {
        public var fleet: FleetStatus
        public var counters = Counters()
        /// Grows with each publication.
        public var version: UInt64 = 0
        /// When the supervision loop last completed a turn.
        public var heartbeat: MonotonicInstant
        /// The wall clock at `MonotonicInstant(0)`, in nanoseconds since 1970, for display only.
        public var wallClockOffset: Int64

        /// The wall-clock time of `instant`, in nanoseconds since 1970.
        public func wallClock(_ instant: MonotonicInstant) -> Int64 {
            instant.nanoseconds &+ wallClockOffset
        }
    }

    /// Figures of the daemon itself, for `/metrics`.
    public struct Counters: Sendable, Equatable {
        /// Messages from workers that were refused, by reason.
        public var notifyDropped: [String: UInt64] = [:]
        /// Connections to the breaker socket that were not taken or were ended, by reason.
        public var breakerConnectionsRefused: [String: UInt64] = [:]
        /// Lines on the breaker socket that could not be read.
        public var breakerRequestsMalformed: UInt64 = 0
        /// Callbacks of an older generation that were dropped (rule P4).
        public var staleCallbacks: UInt64 = 0
        /// How late the supervision loop came to its last heartbeat, seconds: what one turn had it wait for the others.
        public var loopDelaySeconds = 0.0
        /// Log bytes dropped, by service.
        public var logBytesDropped: [String: UInt64] = [:]
        /// Log bytes taken in, by service.
        public var logBytes: [String: UInt64] = [:]
        public var spawnFailures: UInt64 = 0
        /// Results of probes, in the order of the configuration.
        public var probes: [ProbeFigure] = []
        /// Actions that were not taken (rule I10), where there were any.
        public var suppressions: [SuppressionFigure] = []
        /// How often health states were frozen (rule I9).
        public var freezes: UInt64 = 0

        public init() {}
    }

    /// What one kind of a service's probes has found.
    public struct ProbeFigure: Sendable, Equatable {
        public var service: String
        public var kind: ProbeKind
        public var counts: ProbeCounts

        public init(service: String, kind: ProbeKind, counts: ProbeCounts) {
            self.service = service
            self.kind = kind
            self.counts = counts
        }
    }

    /// How often a rule kept something from being done with a service.
    public struct SuppressionFigure: Sendable, Equatable {
        public var service: String
        public var rule: SuppressionRule
        public var count: UInt64

        public init(service: String, rule: SuppressionRule, count: UInt64) {
            self.service = service
            self.rule = rule
            self.count = count
        }
    }

    /// Which services a reader has not yet seen the newest state of.
    public struct Changes: Sendable {
        public var snapshot: Snapshot
        /// Indexes into `snapshot.fleet.services`.
        public var services: Set<Int>
        /// The set of services itself changed: rebuild everything.
        public var everything: Bool
    }

    private struct State: Sendable {
        var snapshot: Snapshot
        var changed: Set<Int> = []
        var everythingChanged = true
        var observer: (@Sendable () -> Void)?
        var observerNotified = false
    }

    private let state: Mutex<State>

    /// - Parameter wallClockOffset: the wall clock at monotonic zero, nanoseconds since 1970.
    public init(fleet: FleetStatus, now: MonotonicInstant, wallClockOffset: Int64) {
        state = Mutex(
            State(snapshot: Snapshot(fleet: fleet, heartbeat: now, wallClockOffset: wallClockOffset))
        )
    }

    /// A copy of what was last published.
    public var snapshot: Snapshot { state.withLock { $0.snapshot } }

    /// Replaces the whole fleet: at the start, and when the set of services changes.
    public func publish(fleet: FleetStatus) {
        notify { state in
            state.snapshot.fleet = fleet
            state.everythingChanged = true
        }
    }

    /// Replaces the node, the services at the given indexes, and drains, rolling restarts and breakers where they are
    /// given.
    public func publish(
        node: NodeStatus,
        services: [(index: Int, status: ServiceStatus)],
        drains: [DrainStatus]? = nil,
        rolls: [RollStatus]? = nil,
        breakers: BreakersStatus? = nil
    ) {
        notify { state in
            state.snapshot.fleet.node = node
            if let drains { state.snapshot.fleet.drains = drains }
            if let rolls { state.snapshot.fleet.rolls = rolls }
            if let breakers { state.snapshot.fleet.breakers = breakers }
            for (index, status) in services where state.snapshot.fleet.services.indices.contains(index) {
                state.snapshot.fleet.services[index] = status
                state.changed.insert(index)
            }
        }
    }

    /// Says that the supervision loop has completed a turn. Wakes nobody.
    public func beat(at now: MonotonicInstant, wallClockOffset: Int64) {
        state.withLock {
            $0.snapshot.heartbeat = now
            $0.snapshot.wallClockOffset = wallClockOffset
        }
    }

    /// Changes the daemon's own figures. Wakes nobody.
    public func count(_ change: (inout Counters) -> Void) {
        state.withLock { change(&$0.snapshot.counters) }
    }

    /// Has `observer` called, on the publishing thread, when something changed since the last `takeChanges`; once
    /// until that is called again. It must return at once. One observer: the edge that prepares the answers.
    public func observe(_ observer: @escaping @Sendable () -> Void) {
        state.withLock { $0.observer = observer }
    }

    /// What changed since the last call, and the newest snapshot.
    public func takeChanges() -> Changes {
        state.withLock { state in
            defer {
                state.changed = []
                state.everythingChanged = false
                state.observerNotified = false
            }
            return Changes(
                snapshot: state.snapshot,
                services: state.changed,
                everything: state.everythingChanged
            )
        }
    }

    private func notify(_ change: (inout State) -> Void) {
        let observer = state.withLock { state -> (@Sendable () -> Void)? in
            change(&state)
            state.snapshot.version &+= 1
            if state.observerNotified { return nil }
            state.observerNotified = true
            return state.observer
        }
        observer?()
    }
}
