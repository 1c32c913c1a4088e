/// How a call to a dependency ended.
public enum CallOutcome: UInt8, Sendable, CaseIterable {
    case ok, failed, slow
    /// It says nothing of the dependency.
    case ignored
}

/// Calls to one dependency within the last `sliding_window_size`: a ring of buckets with running totals.
///
/// Source: resilience4j's `SlidingTimeWindowMetrics`, by a monotonic clock and with buckets of a twentieth of the
/// window.
struct CallWindow: Sendable, Equatable {
    struct Bucket: Sendable, Equatable {
        var calls: Int32 = 0
        var failed: Int32 = 0
        var slow: Int32 = 0
    }

    static let bucketCount = 20

    /// Of one bucket, milliseconds.
    let tick: Int64
    private var buckets = [Bucket](repeating: Bucket(), count: CallWindow.bucketCount)
    /// The tick of the newest bucket.
    private var head: Int64 = 0
    private(set) var total = Bucket()

    /// - Parameter window: milliseconds.
    init(window: Int64) {
        tick = max(1, (window + Int64(Self.bucketCount) - 1) / Int64(Self.bucketCount))
    }

    /// Moves on to `now`: what has left the window counts no more.
    mutating func advance(to now: Int64) {
        let wanted = now / tick
        if wanted <= head { return }
        if wanted - head >= Int64(Self.bucketCount) {
            for index in buckets.indices { buckets[index] = Bucket() }
            total = Bucket()
            head = wanted
            return
        }
        while head < wanted {
            head += 1
            let index = Int(head % Int64(Self.bucketCount))
            let gone = buckets[index]
            total.calls -= gone.calls
            total.failed -= gone.failed
            total.slow -= gone.slow
            buckets[index] = Bucket()
        }
    }

    /// Counts a call that has ended. A bucket that is full counts no more: its rates stay what they are.
    mutating func record(failed: Bool, slow: Bool, at now: Int64) {
        advance(to: now)
        let index = Int(head % Int64(Self.bucketCount))
        guard total.calls < 1_000_000_000 else { return }
        buckets[index].calls += 1
        total.calls += 1
        if failed {
            buckets[index].failed += 1
            total.failed += 1
        }
        if slow {
            buckets[index].slow += 1
            total.slow += 1
        }
    }

    mutating func clear() {
        for index in buckets.indices { buckets[index] = Bucket() }
        total = Bucket()
    }

    /// Percent of the calls; nil while there are less than `minimum`: too few to judge.
    func failureRate(minimum: Int) -> Double? {
        total.calls < max(1, minimum) ? nil : 100 * Double(total.failed) / Double(total.calls)
    }

    /// Percent of the calls; nil while there are less than `minimum`.
    func slowCallRate(minimum: Int) -> Double? {
        total.calls < max(1, minimum) ? nil : 100 * Double(total.slow) / Double(total.calls)
    }

    /// What the totals must be, from the buckets: for tests.
    var recounted: Bucket {
        buckets.reduce(into: Bucket()) {
            $0.calls += $1.calls
            $0.failed += $1.failed
            $0.slow += $1.slow
        }
    }
}
