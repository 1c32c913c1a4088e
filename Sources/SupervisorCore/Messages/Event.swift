/// What happened, in the past tense: the only input of the core.
public enum Event: Sendable, Equatable {
    /// The connection to a shim stands, and this is all it holds. First event of a daemon, and again after the shim
    /// was replaced.
    case shimConnected(Adoption)
    /// The shim is gone; nothing can be started or signalled until `shimConnected`.
    case shimLost
    /// The program runs.
    case started(InstanceID, Generation, pid: Int32, at: MonotonicInstant)
    case startFailed(InstanceID, Generation, SpawnFailure)
    /// The main process ended; `treeGone` when nothing of its tree is left.
    case exited(InstanceID, Generation, ExitStatus, ResourceUsage, outOfMemory: Bool, treeGone: Bool)
    case treeGone(InstanceID, Generation)
    /// Some of the tree could not be ended yet.
    case treeRemained(InstanceID, Generation, count: Int, example: Int32)
    /// The worker spoke; the sender was found to be of the instance's tree.
    case notified(InstanceID, Generation, NotifyMessage)
    case timerFired(TimerToken)
    /// A probe that `Effect.watch` asked for found something.
    case probed(ProbeKey, ProbeOutcome)
    /// The answer to `Effect.measurePressure`; nil where the kernel does not tell.
    case pressureMeasured(PressureReading?)
    /// What we measured of late is not to be trusted (rule I9).
    case disturbed(Disturbance)
    case commanded(OperationID, Command, by: String)
    /// Who asks the health ports, in order of their first request; answers `Effect.lookAtProbers`.
    case probersSeen([ProberSighting])
    /// Answers `Effect.countConnections`; nil where the kernel does not tell.
    case connectionsCounted([TrafficFigure]?)
    /// The configuration was read again, and is in force. `restarting`: services whose running instances see what
    /// changed only when they are started again, and what that is.
    case reconfigured(OperationID, FleetSpec, restarting: [String: String], by: String)
    /// The shared store of breakers has answered, has something new, or is away.
    case storeSaid(StoreNews)
    /// What workers asked and reported about dependencies has moved a breaker.
    case callsSettled
    /// The programs of these services are other ones than before: their releases, by service.
    case releasesIdentified([String: String])
    /// SIGINT during a stop: load balancers are not waited for any longer.
    case noticeSkipped(by: String)
    /// The shim has not answered for a while, or answers again: nothing can be started or ended meanwhile.
    case shimSilenceChanged(isSilent: Bool)
    /// An orderly stop was asked for: SIGTERM, SIGINT, `systemctl stop`.
    case shutdownRequested(by: String)
    /// An end at once was asked for: SIGQUIT.
    case shutdownHastened
}

/// What the shim holds when a daemon connects, and what the disk remembers.
public struct Adoption: Sendable, Equatable {
    /// A process the shim started, or an exit that nobody has acknowledged.
    public struct Record: Sendable, Equatable {
        public enum State: Sendable, Equatable {
            case running
            case exited(ExitStatus, ResourceUsage, at: MonotonicInstant, outOfMemory: Bool)
        }

        public var instance: InstanceID
        public var generation: Generation
        public var pid: Int32
        public var startedAt: MonotonicInstant
        public var state: State
        public var treeGone: Bool

        public init(
            instance: InstanceID,
            generation: Generation,
            pid: Int32,
            startedAt: MonotonicInstant,
            state: State,
            treeGone: Bool
        ) {
            self.instance = instance
            self.generation = generation
            self.pid = pid
            self.startedAt = startedAt
            self.state = state
            self.treeGone = treeGone
        }
    }

    public var records: [Record] = []
    /// What an earlier daemon had the shim remember.
    public var remembered = Remembered()
    /// What operators asked for, from the disk: counts where the shim remembers nothing.
    public var intents = Intents()
    /// Processes of a former shim that were ended before this one began.
    public var remainsEnded = 0

    public init() {}
}

/// Says which timer, so that one that was replaced is known as stale.
public struct TimerToken: Hashable, Sendable {
    /// What a timer is for. An instance has at most one, by its state, and so has the node.
    public enum Purpose: String, Sendable, CaseIterable {
        case startTimeout, gracePeriod, backoff, watchdog
        /// It runs, and should have passed its readiness probe by then.
        case readinessOverdue
        /// Its readiness has been steady for long enough (rule I8).
        case flapRelease
        /// Of the node: a freeze or a hold may be over (rules I5, I9).
        case node
    }

    /// nil: the node's.
    public var instance: InstanceID?
    public var purpose: Purpose
    /// Grows with every timer of the instance.
    public var number: UInt64

    public init(instance: InstanceID?, purpose: Purpose, number: UInt64) {
        self.instance = instance
        self.purpose = purpose
        self.number = number
    }
}
