public import SupervisorCore
import Synchronization

/// What the connection to Redis has done since the daemon began.
public struct StoreFigures: Sendable, Equatable {
    public var isConnected = false
    /// Requests that were answered.
    public var answered: UInt64 = 0
    /// Requests that were not, by reason.
    public var unanswered: [StoreFailure.Kind: UInt64] = [:]
    /// Entries that other hosts' operations pushed, and messages that were none.
    public var pushed: UInt64 = 0
    public var unreadable: UInt64 = 0
    /// Attempts to connect, and those that succeeded.
    public var attempts: UInt64 = 0
    public var connects: UInt64 = 0
    /// Requests that a node of a cluster sent to another one.
    public var redirects: UInt64 = 0
    /// Requests that were turned away because too many had no answer.
    public var dropped: UInt64 = 0
    /// Requests without an answer now.
    public var pending = 0
    /// From a request to its answer, microseconds.
    public var lastRoundTrip: Int64 = 0
    public var longestRoundTrip: Int64 = 0

    public init() {}

    /// Connections after the first one.
    public var reconnects: UInt64 { connects == 0 ? 0 : connects - 1 }
}

/// The figures, as any thread may read them.
final class StoreCounters: Sendable {
    private let figures = Mutex(StoreFigures())

    var value: StoreFigures { figures.withLock { $0 } }

    func change(_ body: (inout StoreFigures) -> Void) {
        figures.withLock { body(&$0) }
    }
}
