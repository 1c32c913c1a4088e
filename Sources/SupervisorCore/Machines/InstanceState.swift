/// The life of one instance. `desired` (a stop intent or none) is a field beside it, never part of it.
///
/// ```
///            ┌────────────────────────────────────────────────────────┐
///            ▼                                                        │
///  stopped ─▶ waiting ─▶ queued ─▶ starting ─▶ ready ⇄ running ─▶ stopping ─▶ stopped
///                        ▲ ▼          │ │        │        │           │
///                       held          │ │        │        │           │
///                          │          │ └────────┴────────┴───────────┤ (crash, timeout)
///                          └─ backoff ◀───────────────────────────────┤
///                                     └▶ completed (oneshot)          └▶ failed
/// ```
public enum InstanceState: Sendable, Equatable {
    /// No process, and none is wanted or none is due. Successors: `waiting` (start).
    case stopped(StopReason)
    /// Wanted; a service of its `after` is not ready yet. Successors: `queued`, `stopped`.
    case waiting
    /// Wanted; all places of `concurrent_starts` are taken. Successors: `starting`, `held`, `stopped`.
    case queued
    /// Wanted; its service's breaker does not let it be started. Successors: `queued`, `stopped`.
    case held
    /// The start was asked of the shim; it is not ready yet. Successors: `ready`, `completed`, `stopping`, `backoff`,
    /// `queued` (immediate restart), `failed`, `stopped`.
    case starting(deadline: MonotonicInstant)
    /// It may be given work. Successors: `running`, `stopping`, `queued`, `backoff`, `failed`, `stopped`.
    case ready
    /// The process lives but takes no more work: it said `STOPPING=1`. Successors: `ready`, and those of `ready`.
    case running
    /// Its process, or what is left of the tree, is being ended. Successors: `stopped`, `queued`, `backoff`,
    /// `completed`, `failed`.
    case stopping(Stop)
    /// It crashed and will be started again at `until`. Successors: `queued`, `stopped`.
    case backoff(until: MonotonicInstant)
    /// A oneshot that ended with success: counts as ready. Successors: `queued` (restart), `stopped`.
    case completed
    /// It failed and the policy forbids another start. Successors: `waiting` (start), `stopped`.
    case failed

    /// Why nothing runs.
    public enum StopReason: UInt8, Sendable, CaseIterable {
        /// An operator stopped it.
        case intent = 1
        /// It ended with success and the policy does not restart it.
        case finished
        /// The fleet is being stopped.
        case shutdown
        /// A drain took it out of service; it comes back with `undrain`.
        case drained
    }

    /// A stop in progress.
    public struct Stop: Sendable, Equatable {
        /// What the exit is put down to.
        public var cause: ExitCause
        /// When the grace period ends; nil once the tree is being killed.
        public var graceEnds: MonotonicInstant?
        /// The worker may not ask for more time than this; nil where no drain sets a bound.
        public var latest: MonotonicInstant?
        /// The shim was told to send the stop signal: to the main process, then, once that has ended, to the rest of
        /// its tree. It is not told again, since many programs take a second one for a hurry.
        public var signalled = false
        /// The main process has ended; what is left is the rest of its tree.
        public var mainGone = false
        /// Processes that SIGKILL has not ended yet, as the shim last said; 0 when it said nothing.
        public var remaining = 0
        public var remainingExample: Int32 = 0

        public init(cause: ExitCause, graceEnds: MonotonicInstant?) {
            self.cause = cause
            self.graceEnds = graceEnds
        }
    }

    /// A process may exist in this state.
    public var hasProcess: Bool {
        switch self {
        case .starting, .ready, .running, .stopping: true
        case .stopped, .waiting, .queued, .held, .backoff, .completed, .failed: false
        }
    }
}
