/// What operators asked for, as it is kept on disk: it counts after a reboot, when no shim remembers.
public struct Intents: Sendable, Equatable {
    /// Instances that stay stopped.
    public var stops: [StopIntent] = []
    /// Drains that nobody has taken back. After a reboot nothing runs, so that they are done.
    public var drains: [Drain] = []
    /// Services with another number of instances than the configuration says.
    public var scales: [ScaleIntent] = []
    /// Breakers that are open, and what operators decided about breakers.
    public var breakers = RememberedBreakers()

    public init() {}

    /// The same with every time moved: between the monotonic clock of one boot, and a clock that all boots share.
    public func moved(by offset: Duration) -> Intents {
        var moved = self
        for index in moved.drains.indices {
            moved.drains[index].since = drains[index].since.advanced(by: offset)
            moved.drains[index].phaseSince = drains[index].phaseSince.advanced(by: offset)
            moved.drains[index].deadline = drains[index].deadline.advanced(by: offset)
        }
        moved.breakers = breakers.moved(byMilliseconds: offset.clampedNanoseconds / 1_000_000)
        return moved
    }

    public init(stops: [StopIntent]) {
        self.stops = stops
    }
}

/// Who asked for another number of instances than the configuration says, and why.
public struct ScaleIntent: Sendable, Equatable {
    public var service: String
    public var replicas: Int
    /// What the configuration said then: when that changes, the configuration counts again.
    public var configured: Int
    public var by: String
    public var reason: String?

    public init(service: String, replicas: Int, configured: Int, by: String, reason: String?) {
        self.service = service
        self.replicas = replicas
        self.configured = configured
        self.by = by
        self.reason = reason
    }
}
