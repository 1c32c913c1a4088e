public import NIOCore

/// Named bounds of the control socket (rule P7).
public struct ControlLimits: Sendable {
    /// Connections at one time; one more is answered 503.
    public var connections = 64
    /// Of these, connections of callers who are not admins, so that readers cannot lock admins out.
    public var connectionsOfOthers = 48
    /// Bytes of one request's header fields together, and of the longest.
    public var headBytes = 16 << 10
    public var headFields = 64
    /// Bytes of a request's body, which is ignored; more is answered 413.
    public var bodyBytes = 64 << 10
    /// From the end of an answer to the end of the next request.
    public var requestTime: TimeAmount = .seconds(60)
    /// For a client to take an answer, or for a follower to take anything at all.
    public var writeTime: TimeAmount = .seconds(30)
    public var followerStall: TimeAmount = .minutes(10)
    /// For the user database to say who is calling.
    public var lookupTime: TimeAmount = .seconds(10)
    /// How long its answer is used again, and for how many users.
    public var identityAge: TimeAmount = .seconds(30)
    public var identities = 256
    /// Lines taken from the log memory at once, and how often a follower looks at most.
    public var linesPerTurn = 32
    public var turnsPerWake = 8
    public var followInterval: TimeAmount = .milliseconds(10)
    /// Events taken from the event memory at once.
    public var eventsPerTurn = 4_096

    public init() {}
}
