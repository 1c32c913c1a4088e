/// The numbers by which a ledger makes a breaker's transitions. They travel with each operation, so that the script
/// in Redis needs none of its own. Names as in resilience4j where it has one; times in milliseconds.
///
/// Source: research/circuit-breakers.md §5.11.
public struct LedgerPolicy: Sendable, Hashable {
    public var waitInitial: Int64 = 10_000
    /// Thousandths: 2,000 doubles.
    public var waitMultiplier: Int64 = 2_000
    public var waitMaximum: Int64 = 300_000
    /// Thousandths of the wait, either way.
    public var jitter: Int64 = 200
    /// Closed for this long, it forgets its openings.
    public var backoffReset: Int64 = 600_000
    /// Probes of one round.
    public var permitted: Int64 = 1
    public var concurrentProbes: Int64 = 1
    /// Successes that close it.
    public var successThreshold: Int64 = 1
    /// Thousandths of a round's calls that may not be slow: 1,000 for all of them.
    public var slowRate: Int64 = 1_000
    /// Half-open may last this long.
    public var halfOpenMaximum: Int64 = 180_000
    public var leaseSpan: Int64 = 15_000
    /// Probes without a verdict that end a round.
    public var inconclusiveLimit: Int64 = 3
    /// Thousandths of the live hosts.
    public var quorumFraction: Int64 = 500
    public var quorumLeast: Int64 = 2
    /// Thousandths of the live hosts that suffice when they only suspect.
    public var suspectFraction: Int64 = 800
    public var suspectLeast: Int64 = 3
    public var voteSpan: Int64 = 15_000

    public init() {}

    /// Every number, in the order in which they travel.
    public var numbers: [Int64] {
        [
            waitInitial, waitMultiplier, waitMaximum, jitter, backoffReset, permitted, concurrentProbes,
            successThreshold, slowRate, halfOpenMaximum, leaseSpan, inconclusiveLimit, quorumFraction, quorumLeast,
            suspectFraction, suspectLeast, voteSpan,
        ]
    }

    /// How many hosts must have tripped, of `live` that are known. Alone, one decides: but not while hosts may only
    /// be late to say that they are there.
    func quorum(live: Int64, isSettled: Bool) -> Int64 {
        if live <= 1, isSettled { return 1 }
        return max(quorumLeast, (quorumFraction * live + 999) / 1_000)
    }

    /// How many suspecting hosts suffice; nil where there are too few for that.
    func suspectQuorum(live: Int64) -> Int64? {
        live < suspectLeast ? nil : max(suspectLeast, (suspectFraction * live + 999) / 1_000)
    }

    /// The wait before the probe of the `openCount`th opening.
    ///
    /// - Parameter draw: millionths, from 0 to 999,999: where within the jitter.
    func wait(openCount: Int64, draw: Int64) -> Int64 {
        var wait = min(waitInitial, waitMaximum)
        var count: Int64 = 1
        while count < openCount, wait < waitMaximum, count < 64 {
            wait = min(waitMaximum, wait * waitMultiplier / 1_000)
            count += 1
        }
        // A wait of months times this is more than 64 bits hold.
        let product = wait.multipliedFullWidth(by: 1_000_000_000 + jitter * (2 * draw - 1_000_000))
        return Int64(1_000_000_000).dividingFullWidth(product).quotient
    }
}
