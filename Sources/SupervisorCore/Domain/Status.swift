/// The states that users see, for nodes, services and instances (INTERFACE.md §1). For nodes and services the first
/// that matches wins, in this order; the last three exist for instances only.
public enum PublicState: String, Sendable, CaseIterable {
    case stopped
    case drained
    case draining
    case starting
    case unhealthy
    case breakerOpen = "breaker-open"
    case degraded
    case healthy
    case backoff
    case stopping
    case failed
}

/// What users may know of one instance at one moment.
public struct InstanceStatus: Sendable, Equatable {
    public var id: InstanceID
    public var state: PublicState
    /// Why it is not simply healthy: one clause, for people.
    public var reason: String?
    public var since: MonotonicInstant
    public var generation: Generation
    public var pid: Int32?
    /// It may be given work.
    public var ready = false
    /// It has been ready once since it was last asked to start.
    public var startedOnce = false
    /// It lives, as far as its process and its heartbeat tell.
    public var live = false
    /// Restarts that nobody asked for, since the daemon first knew the instance.
    public var restarts: UInt64 = 0
    /// Crashes in a row that have not been forgotten by a stable run.
    public var crashesInARow = 0
    /// When the present process was started.
    public var startedAt: MonotonicInstant?
    public var nextStartAt: MonotonicInstant?
    public var inFlight: UInt64?
    public var inFlightSource: InFlightSource?
    /// What the worker last said of itself (`STATUS=`).
    public var statusText: String?
    public var lastExit: LastExit?
    /// Who stopped it and why, when an operator did.
    public var intentReason: String?
    /// Its probes, as far as they are run.
    public var checks: [CheckStatus] = []
    /// What is not done with it now, and the rules that keep it from being done (rule I10).
    public var suppressions: [Suppression] = []
    /// nil when its readiness never came and went.
    public var flaps: FlapDamper?

    public init(id: InstanceID, state: PublicState, since: MonotonicInstant, generation: Generation) {
        self.id = id
        self.state = state
        self.since = since
        self.generation = generation
    }
}

/// What users may know of one probe of an instance.
public struct CheckStatus: Sendable, Equatable {
    public enum State: String, Sendable {
        /// It has not passed yet.
        case pending
        case passing, failing
    }

    public var kind: ProbeKind
    public var state: State
    /// Failures in a row, and since when.
    public var failures: Int
    public var failingSince: MonotonicInstant?
    /// What the last failure was; empty when none is in a row.
    public var text: String
    /// Why it could not be run of late; nil when it could.
    public var obstacle: String?

    public init(
        kind: ProbeKind,
        state: State,
        failures: Int = 0,
        failingSince: MonotonicInstant? = nil,
        text: String = "",
        obstacle: String? = nil
    ) {
        self.kind = kind
        self.state = state
        self.failures = failures
        self.failingSince = failingSince
        self.text = text
        self.obstacle = obstacle
    }
}

/// What users may know of one service at one moment.
public struct ServiceStatus: Sendable, Equatable {
    public var name: String
    public var state: PublicState
    public var reason: String?
    public var since: MonotonicInstant
    public var critical = false
    /// Instances that may be given work.
    public var ready = 0
    /// Instances that are asked for.
    public var desired = 0
    /// Whether the service may be routed to: at least one ready instance and nothing that takes it out.
    public var routable = false
    /// State of the crash-loop breaker of the release that it is to run.
    public var breaker = BreakerPublicState.closed
    /// Unasked restarts by cause, over the service's instances.
    public var restartsByCause: [ExitCause: UInt64] = [:]
    public var instances: [InstanceStatus] = []

    public init(name: String, state: PublicState, since: MonotonicInstant) {
        self.name = name
        self.state = state
        self.since = since
    }
}

/// What is asked of the node as a whole.
public enum NodeIntent: String, Sendable {
    case run, drain, stop
}

/// What users may know of the node at one moment.
public struct NodeStatus: Sendable, Equatable {
    public var name: String
    public var state: PublicState
    public var reason: String?
    public var intent: NodeIntent = .run
    public var since: MonotonicInstant
    /// Whether the node may take traffic.
    public var ready = false
    public var firstStartFinished = false
    /// Why states or restarts stand still: `frozen` (rule I9), or `correlated` (rule I5).
    public var hold: String?
    /// In one clause.
    public var holdReason: String?
    /// Something shared does not work, such as Redis or a dependency: nothing that takes the node out. In one clause.
    public var warning: String?

    public init(name: String, state: PublicState, since: MonotonicInstant) {
        self.name = name
        self.state = state
        self.since = since
    }
}

/// The whole fleet at one moment.
public struct FleetStatus: Sendable, Equatable {
    public var node: NodeStatus
    /// Drains that go on or are done, the node's first; not those that are part of something else.
    public var drains: [DrainStatus] = []
    /// Rolling restarts that go on.
    public var rolls: [RollStatus] = []
    /// In the order of the configuration.
    public var services: [ServiceStatus] = []
    public var breakers = BreakersStatus()

    public init(node: NodeStatus) {
        self.node = node
    }
}
