/// Named bounds of what health may do: always on, and not configuration (DESIGN.md I3–I9).
public enum HealthLimits {
    // MARK: I4

    /// Restarts for health of one service, and of the node, within `restartWindow`.
    public static let restartsPerService = 1
    public static let restartsPerNode = 3
    public static let restartWindow: Duration = .seconds(600)
    /// No restart for health before an instance has been ready for this long.
    public static let restartGrace: Duration = .seconds(60)
    /// Failures in a row, and the time that they must span at least.
    public static let restartFailures = 3
    public static let restartSpan: Duration = .seconds(30)
    /// How long it must have been in trouble before that: whatever took it down may be about to show in others (I5).
    public static let restartPause: Duration = .seconds(10)
    /// How often an instance without a heartbeat, whose restart was put off, is looked at again.
    public static let restartRetry: Duration = .seconds(30)

    // MARK: I5

    /// Failures within this time belong together.
    public static let correlationWindow: Duration = .seconds(60)
    /// The hold ends when no instance has failed for this long.
    public static let holdCalm: Duration = .seconds(120)
    /// After this long a single instance is restarted to see whether that helps, and again after each such time.
    public static let experimentAfter: Duration = .seconds(600)
    /// An experiment has succeeded when its instance has been ready for this long.
    public static let experimentProof: Duration = .seconds(120)

    // MARK: I8

    public static let flapPenalty = 1_000.0
    public static let flapHalfLife: Duration = .seconds(300)
    public static let flapHoldAbove = 2_500.0
    public static let flapReleaseBelow = 750.0
    /// Three half-lives above the release: nothing is held for more than 15 minutes after its last flap.
    public static let flapPenaltyMost = 6_000.0
    /// How long a flapping instance that nobody could stand in for is kept in after its last success.
    public static let flapKeptIn: Duration = .seconds(60)

    // MARK: I9

    /// A window is what the slowest check needs to call a worker failed, within these bounds.
    public static let windowLeast: Duration = .seconds(1)
    public static let windowMost: Duration = .seconds(60)
    /// Fewer checks than these may well fail at once for a reason of their own.
    public static let checksThatCannotFailAtOnce = 4
    /// How late the loop, and how far off the wall clock, must be to count as a disturbance.
    public static let disturbance: Duration = .seconds(2)

    // MARK: Pressure, percent of ten seconds

    /// After this long a restart waits no longer for the pressure to fall.
    public static let pressurePatience: Duration = .seconds(600)
    public static let cpuPressure = 80.0
    public static let memoryPressure = 10.0
    public static let ioPressure = 40.0

    /// The first probe of a new process comes within this time, at random; of one that was taken over, within a period.
    public static let firstProbeWithin: Duration = .seconds(1)
    /// Longest clause that is kept of what a probe found, bytes.
    public static let probeTextBytes = 200
}
