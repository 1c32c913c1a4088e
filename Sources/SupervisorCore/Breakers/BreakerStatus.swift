/// The state of a breaker as users see it (INTERFACE.md §1).
public enum BreakerPublicState: String, Sendable, CaseIterable {
    case closed, open
    case halfOpen = "half-open"
    case forcedOpen = "forced-open"
    case forcedClosed = "forced-closed"
    case disabled
    case metricsOnly = "metrics-only"
}

/// What users may know of one breaker at one moment.
public struct BreakerStatus: Sendable, Equatable {
    /// `service:NAME@RELEASE`, or the dependency's name.
    public var name: String
    public var kind: BreakerKind
    public var state: BreakerPublicState
    public var since: MonotonicInstant
    /// Why it is in this state, with the evidence.
    public var reason: String?
    /// When the next probe may be made.
    public var retryAt: MonotonicInstant?
    /// The host whose operation opened it, or the operator who forced it.
    public var openedBy: String?
    /// It is open on this host alone: not enough others agree.
    public var isOfHostAlone = false
    /// Hosts that find it broken, sorted; and how many it takes. Empty and 0 without a shared store.
    public var votes: [String] = []
    public var suspects: [String] = []
    public var quorum = 0
    /// The host that makes a probe now.
    public var probeHolder: String?
    /// Openings since it was last closed for long.
    public var openings: Int64 = 0
    /// Crashes of this release on this host within the window.
    public var crashes = 0
    /// Percent of the calls within the window; nil while there are too few.
    public var failureRate: Double?
    public var slowCallRate: Double?
    /// Calls within the window.
    public var bufferedCalls = 0
    public var counts = BreakerCounts()

    public init(name: String, kind: BreakerKind, state: BreakerPublicState, since: MonotonicInstant) {
        self.name = name
        self.kind = kind
        self.state = state
        self.since = since
    }
}

/// What a breaker has counted since this daemon began.
public struct BreakerCounts: Sendable, Equatable {
    /// Starts or calls that were let through, and that were not, by reason.
    public var allowed: UInt64 = 0
    public var notPermittedOpen: UInt64 = 0
    public var notPermittedHalfOpen: UInt64 = 0
    public var notPermittedForced: UInt64 = 0
    /// Transitions that this host has seen.
    public var opened: UInt64 = 0
    public var halfOpened: UInt64 = 0
    public var closed: UInt64 = 0
    /// Probes on this host, by how they ended.
    public var probesSucceeded: UInt64 = 0
    public var probesFailed: UInt64 = 0
    public var probesInconclusive: UInt64 = 0
    /// Calls that ended, as workers reported them.
    public var callsSucceeded: UInt64 = 0
    public var callsFailed: UInt64 = 0
    public var callsSlow: UInt64 = 0
    public var callsIgnored: UInt64 = 0
    /// Reports of calls that were let through in a state that is over.
    public var reportsStale: UInt64 = 0

    public init() {}
}

/// Where breakers are shared.
public enum BreakerStoreState: String, Sendable {
    /// On this host alone, as configured.
    case local
    case redis
    /// In Redis, which cannot be reached: this host decides alone.
    case island
}

/// All breakers of a host at one moment.
public struct BreakersStatus: Sendable, Equatable {
    public var store = BreakerStoreState.local
    /// Why Redis cannot be reached, or is not in use yet.
    public var storeProblem: String?
    /// Hosts of the fleet that are there, this one included; 0 where that is not known.
    public var liveHosts = 0
    /// Services' first, in the order of the configuration, then dependencies' by name.
    public var breakers: [BreakerStatus] = []

    public init() {}
}

/// What an operator may do with a breaker.
public enum BreakerAction: String, Sendable, CaseIterable {
    case forceOpen = "force-open"
    case forceClosed = "force-closed"
    case auto
    case reset
}
