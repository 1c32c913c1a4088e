/// What a probe decides. Kubernetes' terms.
public enum ProbeKind: UInt8, Sendable, CaseIterable {
    /// Whether the start is done, where the worker does not say so itself.
    case startup = 1
    /// Routing, never restarts.
    case readiness
    /// Restarts, never routing.
    case liveness

    /// As in the configuration, in metrics and in sentences.
    public var name: String {
        switch self {
        case .startup: "startup"
        case .readiness: "readiness"
        case .liveness: "liveness"
        }
    }
}

/// One probe of one run of an instance. Results carry it, so that those of an earlier run are dropped (rule P4).
public struct ProbeKey: Hashable, Sendable, CustomStringConvertible {
    public var instance: InstanceID
    public var generation: Generation
    public var kind: ProbeKind

    public init(instance: InstanceID, generation: Generation, kind: ProbeKind) {
        self.instance = instance
        self.generation = generation
        self.kind = kind
    }

    public var description: String { "\(instance)#\(generation) \(kind.name)" }
}

/// Why a probe could not be run. Never a failure of the worker (rule I6).
public enum ProbeObstacle: String, Sendable, CaseIterable {
    /// No process could be started for it.
    case spawn
    /// No descriptor, port or memory was to be had for it.
    case resources
    /// It was not run in time: too many at once, or whoever runs them was held up.
    case busy
    /// The name of the host could not be resolved.
    case name
}

/// What one probe found.
public enum ProbeOutcome: Sendable, Equatable {
    case success
    /// One clause of our own, such as `answered 503`, and what the other side said, printable and bounded. That may
    /// be anything, so that it is told to operators and not to everybody.
    case failure(String, said: String = "")
    /// It could not be run; the state stays what it was. The clause says why.
    case unknown(ProbeObstacle, String)
}

/// Results of a service's probes since the daemon began, by what they found.
public struct ProbeCounts: Sendable, Equatable {
    public var successes: UInt64 = 0
    public var failures: UInt64 = 0
    public var unknowns: UInt64 = 0

    public init() {}

    mutating func count(_ outcome: ProbeOutcome) {
        switch outcome {
        case .success: successes &+= 1
        case .failure: failures &+= 1
        case .unknown: unknowns &+= 1
        }
    }
}

/// One value for each kind of probe.
public struct PerProbe<Value: Sendable & Equatable>: Sendable, Equatable {
    public var startup: Value
    public var readiness: Value
    public var liveness: Value

    public init(_ value: Value) {
        startup = value
        readiness = value
        liveness = value
    }

    public subscript(kind: ProbeKind) -> Value {
        get {
            switch kind {
            case .startup: startup
            case .readiness: readiness
            case .liveness: liveness
            }
        }
        set {
            switch kind {
            case .startup: startup = newValue
            case .readiness: readiness = newValue
            case .liveness: liveness = newValue
            }
        }
    }
}
