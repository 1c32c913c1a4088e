/// Whether a breaker lets a start or a call through, and if not, why: what the gate reads.
enum BreakerStanding: Sendable, Equatable {
    case open(until: Int64)
    case closed
    /// One that is closed again, where this host's turn to start has not come.
    case ramping(until: Int64)
    /// Another probe is being made, or this host may not make the next one.
    case halfOpen
    case forcedOpen
    /// Whatever it finds: forced closed, disabled, or only measuring.
    case ignored

    var lets: Bool {
        switch self {
        case .closed, .ignored: true
        case .open, .ramping, .halfOpen, .forcedOpen: false
        }
    }
}

/// This host's part in probing what a breaker guards: at most one probe of each, with a lease.
enum ProbeClaim: Sendable, Equatable {
    case none
    /// It asks for a probe then.
    case due(Int64)
    /// It has asked, and waits for the answer.
    case asked(request: UInt64, at: Int64)
    /// It may probe until then, unless the lease is renewed.
    case held(ProbeHold)
    /// The probe has ended, and the store does not know it yet.
    case reporting(token: Int64, ProbeVerdict, reason: String, request: UInt64?, until: Int64)

    var hold: ProbeHold? {
        if case .held(let hold) = self { return hold }
        return nil
    }
}

/// A lease that this host holds.
struct ProbeHold: Sendable, Equatable {
    /// Which ledger gave it.
    enum Source: UInt8, Sendable { case own = 1, fleet, island }

    var source: Source
    var token: Int64
    var span: Int64
    /// By this host's clock, from when it asked: milliseconds.
    var expiresAt: Int64
    var renewAt: Int64
    var renewal: UInt64?
    /// Of a service: the instance that is started for it; nil until it is.
    var run: Run?
    /// Of a dependency: the call that a worker makes under it; 0 until one asks.
    var call: UInt64 = 0
    var caller: UInt64 = 0

    struct Run: Sendable, Equatable {
        var instance: InstanceID
        var generation: Generation
        /// Since when it has been ready without a break.
        var readySince: Int64?
        /// It ran already, and shows that its release works by going on: no loss of a lease ends it.
        var wasRunning = false
    }
}

/// One breaker on this host: what is configured for it, what it has seen itself, and its part in the fleet's.
struct BreakerSeat: Sendable, Equatable {
    let name: String
    let kind: BreakerKind
    var policy: LedgerPolicy
    var mode: ServiceSpec.Breaker.Mode = .auto
    /// Of a service.
    var crashThreshold = 5
    var crashWindow: Int64 = 60_000
    var crashes = CrashWindow()
    /// Of a dependency.
    var calls: CallWindow?
    /// A call that takes as long is slow: milliseconds.
    var slowCallLimit: Int64 = 2_000
    /// Grows with every change of what lets calls through: a report of another one counts no more.
    var generation: UInt64 = 1
    /// When somebody last asked and was denied, or waits for it.
    var wantedAt: Int64?
    /// Of a service: nobody waits, but an instance of this very release is ready, and could show that it works.
    var hasWitness = false
    /// Of a service: no service runs it any more.
    var isRetired = false
    var usedAt: Int64 = 0

    var standing = BreakerStanding.closed
    var claim = ProbeClaim.none
    /// For which state of the breaker the present claim is due, and whether on an island.
    var claimEpoch: Int64 = -1
    var claimIsOfIsland = false
    var claimIsOfWitness = false
    /// What opened it here says something of the release, not of this host.
    var isSharedTrip = false
    /// What this host last said to the fleet, and when.
    var vote = BreakerGrade.none
    var votedAt: Int64 = 0
    var voteReason = ""
    /// After closing: when this host's turn comes.
    var rampUntil: Int64 = 0
    /// Until then a few crashes suffice: it may have been closed too soon.
    var alertUntil: Int64 = 0
    /// What the fleet was last said to find.
    var tripped: [String] = []
    var suspecting: [String] = []
    /// When the standing last changed.
    var since: Int64
    var counts = BreakerCounts()

    init(name: String, kind: BreakerKind, policy: LedgerPolicy, now: Int64) {
        self.name = name
        self.kind = kind
        self.policy = policy
        since = now
    }

    /// Nothing about it is due, and nobody would miss it.
    var isIdle: Bool { standing == .closed && claim == .none && vote == .none }
}
