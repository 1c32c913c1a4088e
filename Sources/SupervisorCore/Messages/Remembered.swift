/// Everything that outlives the daemon (rule P8), in one type.
///
/// The daemon has the shim keep it, record by record, and writes a record before the act that it describes; so after
/// a kill -9 at any instant the next daemon knows at least as much as the processes show. What the shim lists is the
/// truth about processes; this is the truth about policy: intents, counts, deadlines. Nothing else is remembered:
/// timers are derived from the state, statistics of the daemon itself start anew.
///
/// Each record is a list of tagged fields. A reader skips tags that it does not know and fills in defaults for those
/// that are missing, so that a daemon of another version, newer or older, may take over. Tags are never reused.
public struct Remembered: Sendable, Equatable {
    public var node = RememberedNode()
    public var instances: [InstanceID: RememberedInstance] = [:]
    public var breakers = RememberedBreakers()

    public init() {}
}

/// The node's part of what is remembered.
public struct RememberedNode: Sendable, Equatable {
    public var firstStartFinished = false
    /// Who asked for the stop that is going on; nil when none is.
    public var shutdownBy: String?
    public var since = MonotonicInstant(nanoseconds: 0)
    /// Restarts for health within the last `HealthLimits.restartWindow` (rule I4).
    public var healthRestarts: [HealthRestart] = []
    /// Restarts for health stand still (rule I5); nil when they do not.
    public var hold: CorrelatedHold?
    /// Drains that go on, or are done and not taken back.
    public var drains: [Drain] = []
    /// Rolling restarts that go on.
    public var rolls: [Roll] = []
    /// Services with another number of instances than the configuration says.
    public var scales: [ScaleIntent] = []

    public init() {}
}

/// One restart for health, as rule I4 counts them.
public struct HealthRestart: Sendable, Equatable {
    public var service: String
    public var at: MonotonicInstant

    public init(service: String, at: MonotonicInstant) {
        self.service = service
        self.at = at
    }
}

/// Who stopped an instance, and why: stays over restarts of the daemon and of the host.
public struct StopIntent: Sendable, Equatable {
    public var instance: InstanceID
    public var by: String
    public var reason: String?

    public init(instance: InstanceID, by: String, reason: String?) {
        self.instance = instance
        self.by = by
        self.reason = reason
    }
}

/// An instance's part of what is remembered: everything about it but its timer and its heartbeat.
public struct RememberedInstance: Sendable, Equatable {
    public var state: InstanceState
    public var since: MonotonicInstant
    public var generation: Generation = 0
    /// nil: it is meant to run.
    public var stopIntent: StopIntent?
    /// A drain has told it to end, and keeps it from being started.
    public var isDrained = false
    public var run: Run?
    /// Crashes in a row, not yet forgotten by a stable run.
    public var crashes = 0
    public var restarts: UInt64 = 0
    public var restartsByCause: [ExitCause: UInt64] = [:]
    public var lastExit: LastExit?
    /// Ready once since it was last asked to start.
    public var startedOnce = false
    /// Its first attempt has come to a result: the first start need not wait for it.
    public var firstAttemptOver = false
    /// Its readiness came and went (rule I8); nil when it never did.
    public var flaps: FlapDamper?
    /// When its liveness or its heartbeat last began to fail (rule I5).
    public var lastTroubleAt: MonotonicInstant?

    /// What the readiness probe has decided in this run.
    public enum Readiness: UInt8, Sendable, CaseIterable {
        /// It has not passed yet.
        case pending = 1
        case passing, failing
    }

    /// The present process.
    public struct Run: Sendable, Equatable {
        /// nil until the shim has answered.
        public var pid: Int32?
        public var startedAt: MonotonicInstant
        /// When the start was done: the program runs, or said so, or passed its startup probe.
        public var readyAt: MonotonicInstant?
        /// When it could first be given work: ready, and its readiness probe passed.
        public var servingAt: MonotonicInstant?
        /// nil without a readiness probe.
        public var readiness: Readiness?
        /// It has not passed its readiness probe within its startup time.
        public var readinessOverdue = false
        public var livenessFailing = false
        public var statusText: String?
        public var inFlight: UInt64?
        public var reloading = false
        /// No heartbeat for longer than allowed.
        public var heartbeatLate = false
        /// The breaker of the release that it is a run of; empty where that is not known.
        public var breaker = ""
        /// What the worker made of its watchdog by `WATCHDOG_USEC`.
        public var watchdog: Duration?

        public init(startedAt: MonotonicInstant) {
            self.startedAt = startedAt
        }
    }

    public init(state: InstanceState, since: MonotonicInstant) {
        self.state = state
        self.since = since
    }
}
