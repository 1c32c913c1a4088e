/// Who asks a ledger: one daemon of one host.
public struct LedgerCaller: Sendable, Hashable {
    public var host: String
    /// Drawn when the daemon began.
    public var incarnation: Int64

    public init(host: String, incarnation: Int64) {
        self.host = host
        self.incarnation = incarnation
    }
}

/// How a probe ended.
public enum ProbeVerdict: UInt8, Sendable, CaseIterable {
    case succeeded = 1
    case failed = 2
    /// It says nothing: it never reached what it was to try, or whoever made it is gone.
    case inconclusive = 3
    /// It succeeded, but took too long.
    case slow = 4
}

/// What a host asks of the ledger of its fleet. Each is one atomic step.
public enum BreakerOperation: Sendable, Hashable {
    /// Says that the host is there, ends what is overdue, and asks for what changed after `known`. Nothing else says
    /// that it is there: whoever has not been heard so has no vote that counts.
    case sync(known: Int64)
    /// Says how the host finds the breaker. `draw` picks the jitter of a wait that begins: see `LedgerPolicy.wait`.
    case vote(name: String, BreakerGrade, reason: String, LedgerPolicy, draw: Int64)
    /// Asks for a probe.
    case lease(name: String, LedgerPolicy, draw: Int64)
    /// Keeps a probe.
    case renew(name: String, token: Int64)
    /// Ends a probe.
    case result(name: String, token: Int64, ProbeVerdict, reason: String, LedgerPolicy, draw: Int64)
    /// Decides over the breaker's head, or (`auto`) no longer.
    case force(name: String, BreakerMode, actor: String, reason: String)
    /// Closes it and forgets its past.
    case reset(name: String, actor: String, reason: String)
    /// Gives back what the ledger has lost. Times are remaining ones.
    case restore(name: String, BreakerRegister, BreakerOverride)
    /// Says that the host goes: its votes and probes end.
    case leave

    /// nil for those that concern no single breaker.
    public var name: String? {
        switch self {
        case .sync, .leave: nil
        case .vote(let name, _, _, _, _), .lease(let name, _, _), .renew(let name, _),
            .result(let name, _, _, _, _, _), .force(let name, _, _, _), .reset(let name, _, _),
            .restore(let name, _, _):
            name
        }
    }
}

/// What a ledger tells of one breaker. Times in the register and the override are what remains, or (`changedAt`) what
/// has passed, in milliseconds: no clock of one host is ever compared with another's.
public struct BreakerEntry: Sendable, Hashable {
    public var name: String
    public var register: BreakerRegister
    public var override: BreakerOverride
    /// Hosts whose vote counts, sorted by name.
    public var tripped: [String]
    public var suspecting: [String]
    /// Hosts that are there.
    public var live: Int64
    /// Orders what the ledger tells; grows with every change of any breaker.
    public var sequence: Int64

    public init(
        name: String,
        register: BreakerRegister = BreakerRegister(),
        override: BreakerOverride = BreakerOverride(),
        tripped: [String] = [],
        suspecting: [String] = [],
        live: Int64 = 0,
        sequence: Int64 = 0
    ) {
        self.name = name
        self.register = register
        self.override = override
        self.tripped = tripped
        self.suspecting = suspecting
        self.live = live
        self.sequence = sequence
    }
}

/// What came of an operation.
public enum LedgerVerdict: Sendable, Hashable {
    /// It was taken.
    case done
    /// A probe may begin, and lasts this many milliseconds unless it is renewed.
    case granted(token: Int64, span: Int64)
    /// No probe: the breaker is closed, its wait is not over, its probes are all given, or another host's is better.
    case denied(LedgerDenial)
    /// The probe it speaks of is not one that goes on: nothing was changed. Of a `sync`: the host was not known, or
    /// knew more than there is, and is told everything.
    case stale
}

/// Why a probe was not granted.
public enum LedgerDenial: UInt8, Sendable, CaseIterable {
    case closed = 1
    case waiting = 2
    case full = 3
    /// This host's probe was the last to fail, and others are there.
    case othersFirst = 4
    case forced = 5
}

/// The answer to an operation.
public struct LedgerReply: Sendable, Hashable {
    public var verdict: LedgerVerdict
    /// The breakers it is about: for `sync` all that changed, else the one.
    public var entries: [BreakerEntry]
    /// Hosts that are there.
    public var live: Int64
    /// What to give as `known` the next time.
    public var sequence: Int64

    public init(verdict: LedgerVerdict, entries: [BreakerEntry], live: Int64, sequence: Int64) {
        self.verdict = verdict
        self.entries = entries
        self.live = live
        self.sequence = sequence
    }
}
