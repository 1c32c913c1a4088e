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
    /// What the worker last said of itself (`STATUS=`).
    public var statusText: String?
    public var lastExit: LastExit?
    /// Who stopped it and why, when an operator did.
    public var intentReason: String?

    public init(id: InstanceID, state: PublicState, since: MonotonicInstant, generation: Generation) {
        self.id = id
        self.state = state
        self.since = since
        self.generation = generation
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
    /// State of the crash-loop breaker.
    public var breaker = "closed"
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

    public init(name: String, state: PublicState, since: MonotonicInstant) {
        self.name = name
        self.state = state
        self.since = since
    }
}

/// The whole fleet at one moment.
public struct FleetStatus: Sendable, Equatable {
    public var node: NodeStatus
    /// In the order of the configuration.
    public var services: [ServiceStatus] = []

    public init(node: NodeStatus) {
        self.node = node
    }
}
