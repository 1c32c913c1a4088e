/// When one kind of probe is run, and how many results in a row change the state.
public struct ProbePolicy: Sendable, Equatable {
    public var method: ServiceSpec.ProbeMethod
    public var period: Duration
    public var timeout: Duration
    public var successThreshold: Int
    public var failureThreshold: Int

    public init(_ probe: ServiceSpec.Probe) {
        method = probe.method
        period = max(probe.period, .milliseconds(1))
        timeout = probe.timeout
        successThreshold = max(1, probe.successThreshold)
        failureThreshold = max(1, probe.failureThreshold)
    }

    /// What it takes to call a worker failed.
    var window: Duration {
        let most = HealthLimits.windowMost
        // Compared before it is multiplied: a configured number may be large.
        if period >= most || failureThreshold >= 60_000 { return most }
        return min(most, period * failureThreshold + min(timeout, most))
    }
}

/// The results of one probe of one run, in a row.
struct ProbeTracker: Sendable, Equatable {
    private(set) var successes = 0
    private(set) var failures = 0
    /// Results in a row that say nothing.
    private(set) var unknowns = 0
    /// The first failure of the present row.
    private(set) var failingSince: MonotonicInstant?
    private(set) var lastSuccess: MonotonicInstant?
    /// What the last failure, or the last obstacle, was.
    private(set) var failureText = ""
    private(set) var failureSaid = ""
    private(set) var obstacleText = ""

    /// What the last failure was, for operators.
    var failureInFull: String { failureSaid.isEmpty ? failureText : "\(failureText): \(failureSaid)" }

    /// What keeps it from passing, for operators: the last failure, or why it could not be run; empty when neither.
    var hindrance: String { failureText.isEmpty ? obstacleText : failureInFull }

    mutating func take(_ outcome: ProbeOutcome, at now: MonotonicInstant) {
        switch outcome {
        case .success:
            if successes < .max { successes += 1 }
            failures = 0
            unknowns = 0
            failingSince = nil
            lastSuccess = now
        case .failure(let text, let said):
            if failures == 0 { failingSince = now }
            if failures < .max { failures += 1 }
            successes = 0
            unknowns = 0
            failureText = text
            failureSaid = said
        case .unknown(_, let text):
            // Neither breaks a row nor makes one longer (kubelet: an error is not a failure).
            if unknowns < .max { unknowns += 1 }
            obstacleText = text
        }
    }
}
