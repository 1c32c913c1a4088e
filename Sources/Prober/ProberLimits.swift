/// Every bound that the prober holds itself and whoever it asks to (rule P7).
public struct ProberLimits: Sendable, Equatable {
    /// Probes under way at once; further ones wait their turn in the order in which they came due.
    public var probesInFlight = 64
    /// Of these, at most so many of one service.
    public var probesOfService = 16
    /// Places besides, for services of which nothing is under way: one with many workers that hang blinds no other.
    public var reservedPlaces = 192
    /// Bytes of an HTTP answer up to the end of its head, informational answers before it included.
    public var headBytes = 16 * 1024
    /// Bytes of the body of a failed HTTP answer that are read for the text of the failure.
    public var bodyBytes = 1024
    /// Bytes of foreign text in the clause of a failure.
    public var textBytes = 120
    /// Bytes of the message in a gRPC answer.
    public var messageBytes = 1024
    /// Bytes from a gRPC server, its frames, settings and trailers included.
    public var connectionBytes = 64 * 1024
    /// Bytes of one list of header fields in a gRPC answer, as HTTP/2 counts them.
    public var headerListBytes = 8 * 1024
    /// Names of hosts that are looked up at once, each by a thread of its own.
    public var lookups = 4
    /// Addresses of one name that are tried, one after the other.
    public var addresses = 4
    /// A shorter period is lengthened to this.
    public var shortestPeriod: Duration = .milliseconds(10)
    /// A probe is not begun when it is later than this and than half its period: what it found would be old.
    public var leastLateness: Duration = .seconds(1)
    /// For how long a probe may have been held up by the prober itself, or for half its timeout where that is less,
    /// and still be called unanswered.
    public var tolerance: Duration = .milliseconds(500)
    /// How often the prober looks at the clock while it watches anything, so that its own delays are noticed.
    public var heartbeat: Duration = .seconds(1)
    /// The same while a probe is under way.
    public var checkInterval: Duration = .milliseconds(250)
    /// Pause between attempts to start the prober's loop when there are no descriptors for it.
    public var startPause: Duration = .milliseconds(500)

    public init() {}
}
