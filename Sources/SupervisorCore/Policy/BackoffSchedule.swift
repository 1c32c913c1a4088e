/// How long to wait before the next start after `crashes` crashes in a row.
///
/// Truncated exponential backoff: the first restart after a stable run (no crash counted yet) is immediate; then
/// `initial × multiplier^(crashes − 1)`, at most `maximum`; each drawn from `delay × (1 ± jitter)` so that
/// instances that fell together do not rise together. It never gives up (rule I7).
public struct BackoffSchedule: Sendable, Equatable {
    public var initial: Duration
    public var multiplier: Double
    public var maximum: Duration
    /// Fraction of the delay, 0 to 1.
    public var jitter: Double

    public init(initial: Duration, multiplier: Double, maximum: Duration, jitter: Double) {
        self.initial = initial
        self.multiplier = multiplier
        self.maximum = maximum
        self.jitter = jitter
    }

    public init(_ restart: ServiceSpec.Restart) {
        self.init(
            initial: restart.backoffInitial,
            multiplier: restart.backoffMultiplier,
            maximum: restart.backoffMax,
            jitter: restart.backoffJitter
        )
    }

    /// The delay without jitter.
    public func delay(afterCrashes crashes: Int) -> Duration {
        if crashes <= 0 || initial <= .zero { return .zero }
        // By multiplication up to the limit: at most a few dozen steps, and no power that overflows.
        var seconds = initial.inSeconds
        let limit = maximum.inSeconds
        var step = 1
        while step < crashes, seconds < limit, multiplier > 1 {
            seconds *= multiplier
            step += 1
        }
        return .nanoseconds(Int64(min(max(seconds, 0), max(limit, 0), 1e9) * 1e9))
    }

    /// The delay as it is waited: drawn from `generator` within the jitter.
    public func delay(afterCrashes crashes: Int, drawnFrom generator: inout SeededGenerator) -> Duration {
        let middle = delay(afterCrashes: crashes)
        if middle == .zero || !(jitter > 0) { return middle }
        let factor = 1 + min(jitter, 1) * (2 * generator.unit() - 1)
        return .nanoseconds(Int64(middle.inSeconds * factor * 1e9))
    }
}
