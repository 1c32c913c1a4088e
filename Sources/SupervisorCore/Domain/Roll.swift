/// A rolling restart of one service: replaces its instances one after the other.
///
/// Where the service allows two at once (passed sockets, or a port of each instance's own), an extra instance is ready
/// before the first one leaves; the only use of rule I1's "+ 1".
public struct Roll: Sendable, Equatable {
    /// What it is at.
    public enum Step: Sendable, Equatable {
        /// It waits for its turn: one extra instance at a time on the node.
        case waiting
        /// The extra instance is started, in a run younger than this generation.
        case addingExtra(after: Generation)
        /// The instance is being drained.
        case leaving(index: Int)
        /// Its replacement is started, in a run younger than this generation.
        case returning(index: Int, after: Generation)
        /// The new one, replacement or extra, must stay ready until then.
        case proving(index: Int, until: MonotonicInstant)
        /// The extra instance is being drained.
        case removingExtra
        /// A replacement failed, and the extra instance is the only one that is ready: it stays until another is.
        case holding
    }

    public var service: String
    public var by: String
    public var reason: String?
    public var since: MonotonicInstant
    /// Indexes still to be replaced, in order.
    public var left: [Int]
    /// How many it is to replace in all.
    public var total: Int
    public var usesExtra: Bool
    /// The extra instance, once there is one.
    public var extraIndex: Int?
    public var step: Step = .waiting
    public var stepSince: MonotonicInstant
    /// Why it goes no further; nil while it does.
    public var failure: String?

    public init(
        service: String,
        by: String,
        reason: String?,
        since: MonotonicInstant,
        indexes: [Int],
        usesExtra: Bool
    ) {
        self.service = service
        self.by = by
        self.reason = reason
        self.since = since
        left = indexes
        total = indexes.count
        self.usesExtra = usesExtra
        stepSince = since
    }
}

/// What users may know of a rolling restart at one moment.
public struct RollStatus: Sendable, Equatable {
    public var service: String
    public var by: String
    public var reason: String?
    public var since: MonotonicInstant
    /// Instances replaced, of how many.
    public var replaced: Int
    public var total: Int
    /// One clause: what it is at.
    public var text: String
    /// Why it goes no further; nil while it does.
    public var failure: String?

    public init(_ roll: Roll, text: String) {
        service = roll.service
        by = roll.by
        reason = roll.reason
        since = roll.since
        replaced = roll.total - roll.left.count
        total = roll.total
        failure = roll.failure
        self.text = text
    }
}
