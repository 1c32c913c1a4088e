/// One prober of the health ports, as it was seen: who it is, how often it asks, and what it was told.
public struct ProberSighting: Sendable, Equatable {
    /// Two requests with the same identity are the same prober's.
    public struct Identity: Hashable, Sendable {
        /// Its address, without the port.
        public var address: String
        /// `User-Agent`; empty where it sends none, `agent` on the agent port.
        public var userAgent: String
        /// The path it asks, with its query; on the agent port the name it sends.
        public var path: String
        /// `Host`; empty where it sends none.
        public var host: String

        public init(address: String, userAgent: String, path: String, host: String) {
            self.address = address
            self.userAgent = userAgent
            self.path = path
            self.host = host
        }
    }

    public var identity: Identity
    /// What it asks about; nil: the node.
    public var target: Target?
    public var isAgent = false
    /// When it last asked.
    public var lastAt: MonotonicInstant
    /// Its period, from its own intervals; nil until it has asked twice.
    public var period: Duration?
    /// How often it has asked.
    public var requests: UInt64 = 1
    /// What it was last told: a status code such as `503`, or the agent's word, such as `drain`.
    public var told: String
    /// Answers in a row, up to the last, that take the target out of service.
    public var outInARow = 0
    /// The state that HAProxy says it has us in (`X-Haproxy-Server-State`): its first word, such as `UP` or `NOLB`.
    public var haproxyState: String?
    /// `scur` of the same header: sessions that HAProxy has with us.
    public var haproxySessions: UInt64?

    public init(identity: Identity, target: Target?, lastAt: MonotonicInstant, told: String) {
        self.identity = identity
        self.target = target
        self.lastAt = lastAt
        self.told = told
    }
}

/// The kernel's view of the connections to one instance's port, or to a service's passed sockets.
public struct TrafficFigure: Sendable, Equatable {
    /// An instance by its port, or a service by its passed sockets, which its instances share.
    public var target: Target
    /// Established connections.
    public var open: Int
    /// Those of them that are not idle: something was received that was not answered yet, or something moved within
    /// the last second.
    public var busy: Int
    /// Connections that carried something and were not there at the last look.
    public var arrived: Int

    public init(target: Target, open: Int, busy: Int, arrived: Int) {
        self.target = target
        self.open = open
        self.busy = busy
        self.arrived = arrived
    }
}
