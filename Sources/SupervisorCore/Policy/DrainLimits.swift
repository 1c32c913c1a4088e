/// Named bounds and times of drains and rolling restarts.
///
/// Source: research/health-and-drain.md §5.4, and what was measured there (§2.10): a notice that is shorter than what
/// a load balancer needs to see it costs hundreds of requests that have to be sent again.
public enum DrainLimits {
    /// How often probers and connections are looked at while a drain waits for them.
    public static let lookPeriod: Duration = .milliseconds(250)
    /// No new connection for this long: nobody sends us any.
    static let quiet: Duration = .seconds(2)
    /// Somebody who has not asked for this long is no prober any more.
    static let lately: Duration = .seconds(120)
    /// Who has asked this often is a prober. Somebody who looks by hand, once and once more, is not waited for.
    static let requestsUntilKnown: UInt64 = 3
    /// A prober that has been silent for this many of its own periods has stopped.
    static let silentPeriods = 3
    /// Answers in a row that tell a load balancer to go elsewhere, where nothing better is known of it.
    static let answersUntilTold = 3
    /// The stop signal is sent at least this long before the deadline: time to end in order.
    static let stopMargin: Duration = .seconds(5)
    /// How long a count of connections is waited for: what cannot be counted is not waited for.
    static let countPatience: Duration = .seconds(2)
    /// Requests in flight that grew this often after the notice: work comes by a way that no health check reaches, such
    /// as a queue or a connection that is kept; only the stop signal ends that.
    static let risesUntilFed = 3
    /// Drains at one time. With their reasons, and what they lost, they are one record of the shim's memory, which has
    /// to fit one packet.
    static let drains = 64
    /// Instances that were killed at deadlines and are remembered over the daemon's death, of all drains together.
    static let lostRemembered = 512
    /// Characters of the reason for another number of instances that are kept.
    static let scaleReason = 40
    /// The longest deadline.
    public static let deadlineMost: Duration = .seconds(24 * 3600)
}
