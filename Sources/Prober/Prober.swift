public import SupervisorCore

/// What one run of a probe found, and when.
public struct ProbeReport: Sendable, Equatable {
    public var key: ProbeKey
    public var outcome: ProbeOutcome
    /// From the attempt to connect to the outcome; zero where it was never begun.
    public var duration: Duration
    public var finishedAt: MonotonicInstant

    public init(key: ProbeKey, outcome: ProbeOutcome, duration: Duration, finishedAt: MonotonicInstant) {
        self.key = key
        self.outcome = outcome
        self.duration = duration
        self.finishedAt = finishedAt
    }
}

/// Asks workers how they are over HTTP, TCP and gRPC, on a thread of its own.
///
/// It tells what it found and decides nothing. What is the prober's or the host's own fault is `unknown` and never a
/// failure (rule I6). The thread is started by the first watch; without descriptors for its loop it tries again until
/// there are some, and `lastActivity` stands still meanwhile.
public final class Prober: Sendable {
    private let inbox: Inbox

    /// - Parameters:
    ///   - clock: the host's monotonic clock.
    ///   - deliver: called on the prober's thread, soon after an outcome, with all that came together; must not block.
    public init(
        limits: ProberLimits = ProberLimits(),
        clock: @escaping @Sendable () -> MonotonicInstant,
        deliver: @escaping @Sendable ([ProbeReport]) -> Void
    ) {
        inbox = Inbox(limits: limits, clock: clock, deliver: deliver)
    }

    deinit {
        inbox.stop()
    }

    /// Asks from `firstAt` on every `period`, in place of what was asked under `key` before, until `unwatch`.
    ///
    /// Any thread; returns at once.
    ///
    /// - Parameters:
    ///   - period: from the beginning of one probe to that of the next; the schedule does not drift.
    ///   - timeout: for one probe as a whole, the look-up of a name included.
    public func watch(
        _ key: ProbeKey,
        _ question: ProbeQuestion,
        period: Duration,
        timeout: Duration,
        firstAt: MonotonicInstant
    ) {
        let plan = ProbePlan(question)
        inbox.post(key, ProbeWish(plan: plan, period: period, timeout: timeout, firstAt: firstAt))
    }

    /// Asks no more. A report of `key` that was under way may still come; callers drop it. Any thread.
    public func unwatch(_ key: ProbeKey) {
        inbox.post(key, nil)
    }

    /// When the prober's loop last showed that it runs: at least every second while it watches anything. Nil while it
    /// watches nothing. Any thread.
    public var lastActivity: MonotonicInstant? { inbox.lastActivity }

    /// Ends everything: closes the connections and waits for the thread. Nothing is delivered afterwards, and what is
    /// watched afterwards is not asked. Any thread but a NIO event loop's; on the prober's own it does not wait.
    public func stop() {
        inbox.stop()
    }
}
