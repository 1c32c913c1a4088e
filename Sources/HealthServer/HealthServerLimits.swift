/// Every bound that the health ports hold a client to (rule P7).
public struct HealthServerLimits: Sendable, Equatable {
    /// Bytes of a request's head, its first line and empty lines before it included; a longer one is answered 431.
    public var headBytes = 8192
    /// Bytes of a request's first line; a longer one is answered 414.
    public var requestLineBytes = 4096
    /// Header fields of a request; more are answered 431.
    public var headerFields = 100
    /// Bytes of a request's body that are read over; a request with a longer one, or with one of unknown length, is
    /// answered and its connection closed.
    public var bodyBytes = 8192
    /// Connections open at once on the health ports. Beyond this the one that has been idle longest is closed, and
    /// where none is idle the new one.
    public var connections = 512
    /// Bytes of answers that may wait for a client to read them; beyond this nothing more is read from it.
    public var unreadAnswerBytes = 256 * 1024
    /// Bytes of requests that may wait for the client to read earlier answers; beyond this it is disconnected.
    public var pendingRequestBytes = 64 * 1024
    /// Longest time between two requests. Above the minute for which probers keep a connection.
    public var idle: Duration = .seconds(120)
    /// Longest time from the first byte of a request to its last.
    public var request: Duration = .seconds(5)
    /// Longest time for which a client may leave answers unread.
    public var stalled: Duration = .seconds(30)
    /// Longest time for which what a client still sends is read over after the last answer, so that the kernel does
    /// not take the answer back with a reset.
    public var lingering: Duration = .seconds(2)
    /// Pause after an attempt to accept a connection failed for want of descriptors or memory.
    public var acceptPause: Duration = .milliseconds(100)
    /// How often the time limits are checked: their resolution.
    public var sweepInterval: Duration = .milliseconds(250)
    /// Bytes of a request to the HAProxy agent port.
    public var agentRequestBytes = 256
    /// Connections open at once on the agent ports; further ones are closed.
    public var agentConnections = 64
    /// Longest life of a connection to the agent port.
    public var agentConnection: Duration = .seconds(5)
    /// An agent client that has said nothing for so long is told about the node: HAProxy without `agent-send` waits
    /// for us to speak first.
    public var agentSilence: Duration = .seconds(1)
    /// For how long rendered metrics serve further scrapes while nothing is published.
    public var metricsAge: Duration = .seconds(1)
    /// Entries of a list in a verbose answer.
    public var verboseEntries = 256

    /// Probers that are known at once; for a new one beyond this another is forgotten.
    public var probers = 256
    /// Bytes that are kept of a prober's User-Agent, of its path and of its Host, each.
    public var proberTextBytes = 128
    /// Requests of one prober that come closer together than this are one where its period is measured.
    public var proberBurst: Duration = .milliseconds(10)
    /// Bytes that are read of what HAProxy says of us with a probe.
    public var proberStateBytes = 512

    public init() {}
}
