/// Damps readiness that comes and goes (rule I8): each change to unready adds a penalty, which halves with time; above
/// one threshold the instance is held, below another it is released.
///
/// Source: route flap damping, RFC 2439 §4.2–4.4, with mild values.
public struct FlapDamper: Sendable, Equatable {
    /// As of `updatedAt`.
    public var penalty: Double
    public var updatedAt: MonotonicInstant
    public var isHeld = false

    public init(penalty: Double = 0, updatedAt: MonotonicInstant, isHeld: Bool = false) {
        self.penalty = penalty
        self.updatedAt = updatedAt
        self.isHeld = isHeld
    }

    /// The penalty as it has decayed by `now`.
    public func penalty(at now: MonotonicInstant) -> Double {
        penalty * Self.decay(over: now.since(updatedAt))
    }

    /// Counts a change from ready to unready.
    mutating func flapped(at now: MonotonicInstant) {
        penalty = min(penalty(at: now) + HealthLimits.flapPenalty, HealthLimits.flapPenaltyMost)
        updatedAt = now
        if penalty > HealthLimits.flapHoldAbove { isHeld = true }
    }

    /// When a held instance is released; nil when none is held.
    var releaseAt: MonotonicInstant? {
        guard isHeld else { return nil }
        let halvings = Self.binaryLogarithm(penalty / HealthLimits.flapReleaseBelow)
        // A moment later, so that it is below and not at the threshold.
        let wait = HealthLimits.flapHalfLife.inSeconds * max(0, halvings) + 0.001
        return updatedAt.advanced(by: .nanoseconds(Int64(wait * 1e9)))
    }

    /// Releases what is below the threshold by now.
    mutating func settle(at now: MonotonicInstant) {
        penalty = penalty(at: now)
        updatedAt = now
        if penalty < HealthLimits.flapReleaseBelow { isHeld = false }
    }

    /// 2 to the power of minus the half-lives, by the binary digits of the exponent: the core has no libm.
    static func decay(over time: Duration) -> Double {
        let halfLives = max(0, time.inSeconds) / HealthLimits.flapHalfLife.inSeconds
        if halfLives > 60 { return 0 }
        let whole = Int(halfLives)
        var value = Double(sign: .plus, exponent: -whole, significand: 1)
        var fraction = halfLives - Double(whole)
        for root in roots where fraction > 0 {
            fraction *= 2
            if fraction >= 1 {
                value *= root
                fraction -= 1
            }
        }
        return value
    }

    /// 1/2 to the power of 1/2, 1/4, 1/8 and so on: each is the square root of the one before, by Newton's method.
    private static let roots: [Double] = {
        var roots: [Double] = []
        var root = 0.5
        for _ in 0..<30 {
            let square = root
            for _ in 0..<8 { root = (root + square / root) / 2 }
            roots.append(root)
        }
        return roots
    }()

    /// The logarithm to base 2 of a number of at least 1, by repeated squaring.
    static func binaryLogarithm(_ number: Double) -> Double {
        guard number > 1, number.isFinite else { return 0 }
        var result = Double(number.exponent)
        var rest = number.significand
        var bit = 0.5
        for _ in 0..<30 {
            rest *= rest
            if rest >= 2 {
                rest /= 2
                result += bit
            }
            bit /= 2
        }
        return result
    }
}
