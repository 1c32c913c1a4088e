/// A point on the host's monotonic clock (CLOCK_MONOTONIC): nanoseconds since boot.
///
/// It never steps and is the same for every process of one boot, so that a value may be remembered across the death
/// of the daemon. Rule P6: decisions use only this; the wall clock is for display.
public struct MonotonicInstant: Comparable, Hashable, Sendable {
    /// Nanoseconds since boot.
    public var nanoseconds: Int64

    public init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    /// The instant `duration` later; saturates instead of overflowing.
    public func advanced(by duration: Duration) -> MonotonicInstant {
        let (sum, overflow) = nanoseconds.addingReportingOverflow(duration.clampedNanoseconds)
        return MonotonicInstant(nanoseconds: overflow ? (duration < .zero ? .min : .max) : sum)
    }

    /// The time from `earlier` to this instant; negative when `earlier` is in fact later.
    public func since(_ earlier: MonotonicInstant) -> Duration {
        let (difference, overflow) = nanoseconds.subtractingReportingOverflow(earlier.nanoseconds)
        return .nanoseconds(overflow ? (nanoseconds < earlier.nanoseconds ? .min : .max) : difference)
    }

    public static func < (left: MonotonicInstant, right: MonotonicInstant) -> Bool {
        left.nanoseconds < right.nanoseconds
    }
}

extension Duration {
    /// The duration in nanoseconds, clamped to what 64 bits hold (292 years).
    public var clampedNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds < 0 ? .min : .max }
        let (sum, carried) = scaled.addingReportingOverflow(attoseconds / 1_000_000_000)
        return carried ? (seconds < 0 ? .min : .max) : sum
    }

    /// The duration in seconds, for display and metrics.
    public var inSeconds: Double {
        Double(clampedNanoseconds) / 1e9
    }
}
