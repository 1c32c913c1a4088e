/// Named bounds of what a host does about breakers (rule P7), and times that are not configuration. Milliseconds.
///
/// Source: research/circuit-breakers.md §5.11.
public enum BreakerLimits {
    /// Breakers of dependencies that a host keeps.
    public static let dependencies = 1_024
    /// Crashes with which a release is suspect.
    public static let suspectCrashes = 2
    /// An exit with success that comes sooner is a crash, where it is followed by another start.
    public static let minimumUptime: Int64 = 5_000
    /// How long the probe of a service must be ready.
    public static let probeProof: Int64 = 30_000
    /// What a probe may take beyond its start and its proof.
    public static let probeSlack: Int64 = 30_000
    public static let halfOpenLeast: Int64 = 180_000
    /// The hosts of a fleet start again over this time, once a service's breaker is closed.
    public static let recoveryRamp: Int64 = 30_000
    /// How often a host says that it is there, give or take a fifth.
    public static let syncInterval: Int64 = 2_000
    /// A host that holds what is not closed asks for all there is so often: the loss of a single key moves nothing
    /// else, so that nobody would be told of it.
    public static let fullSyncInterval: Int64 = 30_000
    public static let voteRefresh: Int64 = 5_000
    /// Hosts ask for a probe spread over this time.
    public static let claimJitter: Int64 = 1_000
    public static let claimRetry: Int64 = 3_000
    public static let dependencyClaimJitter: Int64 = 200
    public static let dependencyClaimRetry: Int64 = 500
    /// So much later than those who have one to start does a host let an instance that runs show that its release
    /// works.
    public static let witnessDelay: Int64 = 30_000
    /// A lease counts as over this much before the store lets it lapse.
    public static let leaseMargin: Int64 = 500
    public static let leaseLeast: Int64 = 1_000
    /// The store is given up when it has not answered for this long.
    public static let storeDownAfter: Int64 = 2_000
    /// And not before so many timeouts in a row.
    public static let storeTimeouts = 5
    /// Hosts that are on their own probe spread over this time.
    public static let islandSpread: Int64 = 60_000
    public static let dependencyIslandSpread: Int64 = 10_000
    /// Nobody has asked for so long: a dependency is not probed.
    public static let wantedFor: Int64 = 10_000
    /// What a worker is told to wait where it is not known how long.
    public static let retryAfter: Int64 = 500
    /// Probes of one dependency that workers may hold.
    public static let heldProbes = 16
}

extension LedgerPolicy {
    /// The crash-loop breaker of a service.
    ///
    /// - Parameter startupTimeout: how long its probe may need to become ready.
    init(_ breaker: ServiceSpec.Breaker, startupTimeout: Duration) {
        self.init()
        waitInitial = breaker.waitDurationInOpenState.inMilliseconds
        waitMaximum = max(waitInitial, breaker.maxWaitDurationInOpenState.inMilliseconds)
        let needed = startupTimeout.inMilliseconds + BreakerLimits.probeProof + BreakerLimits.probeSlack
        halfOpenMaximum = max(BreakerLimits.halfOpenLeast, needed)
    }

    /// The breaker of a dependency.
    init(_ dependency: DependencySpec) {
        self.init()
        waitInitial = dependency.waitDurationInOpenState.inMilliseconds
        waitMaximum = max(waitInitial, 60_000)
        backoffReset = 120_000
        permitted = Int64(dependency.permittedNumberOfCallsInHalfOpenState)
        successThreshold = permitted
        slowRate = Int64(dependency.slowCallRateThreshold * 10)
        halfOpenMaximum = 30_000
        leaseSpan = 10_000
        inconclusiveLimit = 5
    }

    /// By which a host judges for itself alone.
    var alone: LedgerPolicy {
        var policy = self
        policy.quorumFraction = 0
        policy.quorumLeast = 1
        policy.suspectLeast = .max
        return policy
    }
}

extension Duration {
    /// Whole milliseconds, at least 1, at most a year: what a ledger counts in.
    var inMilliseconds: Int64 { min(max(1, clampedNanoseconds / 1_000_000), 31_536_000_000) }
}

extension MonotonicInstant {
    /// Milliseconds since boot: the clock of a host's ledgers.
    var milliseconds: Int64 { nanoseconds / 1_000_000 }

    init(milliseconds: Int64) {
        let (nanoseconds, overflow) = milliseconds.multipliedReportingOverflow(by: 1_000_000)
        self.init(nanoseconds: overflow ? .max : nanoseconds)
    }
}
