/// How far a drain is. It goes through them in this order, each at most once.
public enum DrainPhase: UInt8, Sendable, CaseIterable, Comparable {
    /// Health says draining; everything is still served, and load balancers are waited for.
    case notice = 1
    /// Nobody sends anything new any more: what is in flight is waited for.
    case inFlight
    /// The workers were told to end.
    case stopping
    /// The deadline has passed: what is left is killed.
    case enforce
    /// Nothing runs.
    case drained

    /// As shown to users.
    public var name: String {
        switch self {
        case .notice: "notice"
        case .inFlight: "in-flight"
        case .stopping: "stopping"
        case .enforce: "enforce"
        case .drained: "drained"
        }
    }

    public static func < (left: DrainPhase, right: DrainPhase) -> Bool { left.rawValue < right.rawValue }
}

/// How long load balancers are told before workers are.
public enum DrainNotice: Sendable, Equatable {
    /// Until every known prober has acknowledged it and no new connections arrive, between `notice_min` and
    /// `notice_max`.
    case auto
    /// For this long, whatever they say.
    case fixed(Duration)
}

/// One drain of the node, a service or an instance: who asked for it, how far it is, and until when.
///
/// It ends only by `undrain`, completion or stop (rule P5), and outlives the daemon (rule P8).
public struct Drain: Sendable, Equatable {
    /// What it is part of.
    public enum Purpose: UInt8, Sendable, CaseIterable {
        /// An operator asked for it: it stays until somebody takes it back.
        case maintenance = 1
        /// The fleet is being stopped.
        case shutdown
        /// A rolling restart replaces the instance.
        case roll
        /// Nobody asks for the instance any more.
        case removal
    }

    public var purpose: Purpose
    /// nil: the node.
    public var target: Target?
    public var by: String
    public var reason: String?
    public var since: MonotonicInstant
    /// By then nothing of it runs any more.
    public var deadline: MonotonicInstant
    public var notice: DrainNotice = .auto
    public var phase: DrainPhase = .notice
    public var phaseSince: MonotonicInstant
    /// Something had to be killed because the deadline had come.
    public var deadlineReached = false
    /// What was killed with work in hand.
    public var lost: [LostWork] = []

    public init(
        _ purpose: Purpose,
        of target: Target?,
        by: String,
        reason: String? = nil,
        since: MonotonicInstant,
        deadline: MonotonicInstant
    ) {
        self.purpose = purpose
        self.target = target
        self.by = by
        self.reason = reason
        self.since = since
        self.deadline = deadline
        phaseSince = since
    }

    /// The instance is one of those that it takes out.
    public func covers(_ id: InstanceID) -> Bool {
        switch target {
        case nil: true
        case .service(let name)?: id.service == name
        case .instance(let one)?: id == one
        }
    }

    /// What is kept of it on disk: that it was asked for. After a reboot nothing runs, and so it is done.
    var asIntent: Drain {
        var intent = self
        intent.phase = .stopping
        intent.phaseSince = since
        intent.deadlineReached = false
        intent.lost = []
        return intent
    }
}

/// An instance that was killed at the deadline of a drain.
public struct LostWork: Sendable, Equatable {
    public var instance: InstanceID
    /// Requests that it had in flight, as far as was known; nil when nobody could tell.
    public var inFlight: UInt64?

    public init(instance: InstanceID, inFlight: UInt64?) {
        self.instance = instance
        self.inFlight = inFlight
    }
}

/// What an operator asks of a drain. Said again, it joins the one that goes on: a shorter deadline and another notice
/// count from now on.
public struct DrainRequest: Sendable, Equatable {
    /// nil: the node.
    public var target: Target?
    /// nil: that of the configuration.
    public var deadline: Duration?
    /// nil: what the drain has, or `auto`.
    public var notice: DrainNotice?
    public var reason: String?
    /// Even where it takes the last one out that is ready.
    public var isForced = false

    public init(target: Target?) {
        self.target = target
    }
}

/// Where the count of requests in flight comes from.
public enum InFlightSource: String, Sendable {
    /// The worker says so (`X_EIDER_IN_FLIGHT`).
    case worker
    /// The kernel's count of connections on its ports that are not idle.
    case connections
}

/// What users may know of one drain at one moment.
public struct DrainStatus: Sendable, Equatable {
    /// One instance that is being drained.
    public struct Member: Sendable, Equatable {
        public var id: InstanceID
        public var state: PublicState
        /// nil when nobody can tell.
        public var inFlight: UInt64?
        public var source: InFlightSource?

        public init(id: InstanceID, state: PublicState, inFlight: UInt64?, source: InFlightSource?) {
            self.id = id
            self.state = state
            self.inFlight = inFlight
            self.source = source
        }
    }

    /// One prober that the notice is for.
    public struct Prober: Sendable, Equatable {
        public var sighting: ProberSighting
        public var hasAcknowledged: Bool
        /// One clause: how it acknowledged, or what is waited for.
        public var text: String

        public init(sighting: ProberSighting, hasAcknowledged: Bool, text: String) {
            self.sighting = sighting
            self.hasAcknowledged = hasAcknowledged
            self.text = text
        }
    }

    public var drain: Drain
    /// The earliest and the latest end of the notice, from `drain.since` on; both the same where it is fixed.
    public var noticeLeast: Duration = .zero
    public var noticeMost: Duration = .zero
    public var probers: [Prober] = []
    public var members: [Member] = []
    /// When a new connection was last seen on its ports, other than those that carry nothing; nil for never.
    public var lastArrivalAt: MonotonicInstant?
    /// The kernel tells of connections.
    public var seesConnections = false
    /// What the present phase waits for, to stand after "waits for"; nil when for nothing.
    public var waitsFor: String?

    public init(drain: Drain) {
        self.drain = drain
    }
}
