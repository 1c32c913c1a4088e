/// The rule that kept an action from being taken (rule I10): DESIGN.md's numbers where it has one.
public enum SuppressionRule: String, Sendable, CaseIterable {
    /// The configuration wants no restart: `liveness.action = "report"`, or `restart.policy = "never"`.
    case report
    /// The last instance of a service with a fresh heartbeat stays.
    case i3 = "I3"
    /// Restarts for health are few, late and one at a time.
    case i4 = "I4"
    /// Instances that fail together have a cause outside of them.
    case i5 = "I5"
    /// Readiness that comes and goes is damped.
    case i8 = "I8"
    /// Our own measurements look impossible.
    case i9 = "I9"
    /// The whole host is short of something.
    case pressure
    /// It is being drained: its end is near anyway.
    case drain
}

/// An action that is not taken, and why.
public struct Suppression: Sendable, Equatable {
    public var rule: SuppressionRule
    /// One clause for people, with the rule.
    public var text: String
    public var since: MonotonicInstant

    public init(rule: SuppressionRule, text: String, since: MonotonicInstant) {
        self.rule = rule
        self.text = text
        self.since = since
    }
}

/// Why our own measurements are not to be trusted for a while (rule I9).
public enum Disturbance: Sendable, Equatable {
    /// The wall clock moved against the monotonic one: it was set, or the host was suspended.
    case clockJumped(by: Duration)
    /// The supervision loop was held up.
    case loopStalled(Duration)
    /// Whoever runs the probes was held up.
    case checkerStalled(Duration)

    /// To stand alone.
    var text: String {
        switch self {
        case .clockJumped(let by): "the wall clock jumped by \(by.brief)"
        case .loopStalled(let time): "the supervisor was held up for \(time.brief)"
        case .checkerStalled(let time): "the checker has been held up for \(time.brief)"
        }
    }
}

/// How short the host is of its resources: pressure stall information, in percent of the last ten seconds.
///
/// Source: Linux, Documentation/accounting/psi.rst, the `avg10` fields.
public struct PressureReading: Sendable, Equatable {
    /// Some task waited for a processor.
    public var cpuSome = 0.0
    /// All tasks waited for memory.
    public var memoryFull = 0.0
    /// All tasks waited for a disk.
    public var ioFull = 0.0

    public init() {}

    /// What the host is short of, to stand alone; nil when a worker's slowness is its own.
    public var shortage: String? {
        if memoryFull >= HealthLimits.memoryPressure { return Self.text("memory", memoryFull) }
        if ioFull >= HealthLimits.ioPressure { return Self.text("disk", ioFull) }
        if cpuSome >= HealthLimits.cpuPressure { return Self.text("processor", cpuSome) }
        return nil
    }

    private static func text(_ resource: String, _ percent: Double) -> String {
        "the whole host is short of \(resource) (pressure \(Int(min(100, max(0, percent))))%)"
    }

    /// The `avg10` of a line such as `some avg10=0.33 avg60=0.39 avg300=0.92 total=6687688`; nil where there is none.
    public static func averageOfTenSeconds(_ kind: String, in text: some StringProtocol) -> Double? {
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.first.map({ $0 == kind }) ?? false else { continue }
            let field = words.first { $0.hasPrefix("avg10=") }
            return field.flatMap { Double($0.dropFirst("avg10=".count)) }.flatMap { $0.isFinite ? $0 : nil }
        }
        return nil
    }
}

/// Restarts for health stand still, because several instances failed together (rule I5).
public struct CorrelatedHold: Sendable, Equatable {
    public var since: MonotonicInstant
    /// Since when no instance fails; nil while one does.
    public var calmSince: MonotonicInstant?
    /// The instance that was last restarted to see whether that helps.
    public var experiment: InstanceID?
    public var experimentAt: MonotonicInstant?

    public init(since: MonotonicInstant) {
        self.since = since
    }

    /// When it ends, unless an instance fails before.
    var endsAt: MonotonicInstant? { calmSince?.advanced(by: HealthLimits.holdCalm) }
}
