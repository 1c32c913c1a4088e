/// What a breaker guards.
public enum BreakerKind: String, Sendable, CaseIterable {
    /// The starts of one release of a service: fed by its crashes.
    case service
    /// Calls to something that workers depend on: fed by what they report.
    case dependency
}

/// The three states of a breaker, by severity.
public enum BreakerState: UInt8, Sendable, CaseIterable, Comparable {
    case closed = 0
    case halfOpen = 1
    case open = 2

    public static func < (left: BreakerState, right: BreakerState) -> Bool { left.rawValue < right.rawValue }
}

/// Permission for one probe, given to one daemon for a while.
public struct BreakerLease: Sendable, Hashable {
    /// The epoch in which it was given: never given twice. Its fencing token.
    public var token: Int64
    public var host: String
    /// Of the daemon that asked: the next one on the same host is another.
    public var incarnation: Int64
    /// Milliseconds, by the clock of the ledger that holds it.
    public var expiresAt: Int64
    /// How long it lasts from each renewal, milliseconds.
    public var span: Int64

    public init(token: Int64, host: String, incarnation: Int64, expiresAt: Int64, span: Int64) {
        self.token = token
        self.host = host
        self.incarnation = incarnation
        self.expiresAt = expiresAt
        self.span = span
    }
}

/// The shared state of one breaker: one word, written by one transition at a time.
///
/// Registers are totally ordered (`precedes`), so that hosts which merge what they know by taking the greater one
/// agree whatever got lost, came twice or came late. Its times are milliseconds of the clock of the ledger that holds
/// it; between ledgers only remaining times travel.
///
/// Source: research/circuit-breakers.md §5.2, a last-writer-wins register (Shapiro et al., "A comprehensive study of
/// Convergent and Commutative Replicated Data Types", 2011) under a hybrid logical clock (Kulkarni et al., 2014).
public struct BreakerRegister: Sendable, Hashable {
    public var state: BreakerState = .closed
    /// Grows with every transition: at least the store's clock in milliseconds. 0 for a breaker that never moved.
    public var epoch: Int64 = 0
    /// The host whose operation made the transition.
    public var origin = ""
    /// Openings since it was last closed for long enough.
    public var openCount: Int64 = 0
    /// When the transition was made.
    public var changedAt: Int64 = 0
    /// Open: when a probe may be had.
    public var retryAt: Int64 = 0
    /// How long the present opening waits for its probe, jitter included.
    public var wait: Int64 = 0
    /// Half-open: when it must have ended.
    public var deadline: Int64 = 0
    /// How long half-open may last.
    public var span: Int64 = 0
    /// Probes of this round: begun, and how they ended.
    public var granted: Int64 = 0
    public var succeeded: Int64 = 0
    public var failed: Int64 = 0
    /// Of those that succeeded: too slow.
    public var slow: Int64 = 0
    public var inconclusive: Int64 = 0
    public var leases: [BreakerLease] = []
    /// The host whose probe failed last: others go first.
    public var lastFailed = ""
    /// Why it is as it is, with the evidence: one clause.
    public var reason = ""

    public init() {}

    /// Whether `other` is to take the place of this register, wherever the two meet.
    public func precedes(_ other: BreakerRegister) -> Bool {
        if epoch != other.epoch { return epoch < other.epoch }
        if state != other.state { return state < other.state }
        if origin != other.origin { return origin < other.origin }
        // One transition: what follows differs only where two stores made it, each without the other.
        let mine = [openCount, granted, succeeded, failed, slow, inconclusive, wait, span]
        let others = [
            other.openCount, other.granted, other.succeeded, other.failed, other.slow, other.inconclusive, other.wait,
            other.span,
        ]
        if mine != others { return mine.lexicographicallyPrecedes(others) }
        if reason != other.reason { return reason < other.reason }
        return lastFailed < other.lastFailed
    }

    /// The greater of two: commutative, associative and idempotent.
    public func merged(with other: BreakerRegister) -> BreakerRegister {
        precedes(other) ? other : self
    }
}

/// What an operator has decided over a breaker's head.
public enum BreakerMode: UInt8, Sendable, CaseIterable, Comparable {
    /// Nothing: it decides itself.
    case auto = 0
    case metricsOnly = 1
    case disabled = 2
    case forceClosed = 3
    case forceOpen = 4

    public static func < (left: BreakerMode, right: BreakerMode) -> Bool { left.rawValue < right.rawValue }
}

/// An operator's decision, with whose it is. Ordered as registers are, on its own.
public struct BreakerOverride: Sendable, Hashable {
    public var mode: BreakerMode = .auto
    public var epoch: Int64 = 0
    public var actor = ""
    public var reason = ""
    /// When it was made: milliseconds of the ledger's clock.
    public var changedAt: Int64 = 0

    public init() {}

    /// Whether `other` is to take its place.
    public func precedes(_ other: BreakerOverride) -> Bool {
        if epoch != other.epoch { return epoch < other.epoch }
        if mode != other.mode { return mode < other.mode }
        if actor != other.actor { return actor < other.actor }
        return reason < other.reason
    }
}

/// What one host says of a breaker.
public enum BreakerGrade: UInt8, Sendable, CaseIterable, Comparable {
    case none = 0
    /// It has seen some failures, not enough to trip.
    case suspect = 1
    case tripped = 2

    public static func < (left: BreakerGrade, right: BreakerGrade) -> Bool { left.rawValue < right.rawValue }
}

/// One host's vote, which lapses unless it is repeated.
public struct BreakerVote: Sendable, Hashable {
    public var host: String
    public var incarnation: Int64
    public var grade: BreakerGrade
    /// Milliseconds of the ledger's clock.
    public var expiresAt: Int64

    public init(host: String, incarnation: Int64, grade: BreakerGrade, expiresAt: Int64) {
        self.host = host
        self.incarnation = incarnation
        self.grade = grade
        self.expiresAt = expiresAt
    }
}
