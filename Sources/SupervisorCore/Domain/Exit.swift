/// How a process ended, as the kernel reported it.
public enum ExitStatus: Hashable, Sendable {
    case code(Int32)
    case signal(SignalNumber, coreDumped: Bool)
}

/// Why a run ended: the `cause` of INTERFACE.md §1.
public enum ExitCause: String, Sendable, CaseIterable {
    /// It exited by itself.
    case exit
    /// A signal that Eider did not send.
    case signal
    /// The kernel's out-of-memory killer, by the count of the instance's cgroup.
    case oom
    /// It was not ready within `startup.timeout`.
    case startupTimeout = "startup-timeout"
    /// Its liveness probe failed.
    case liveness
    /// Its heartbeat stopped.
    case watchdog
    /// The process could not be started at all.
    case spawn
    /// Somebody asked for it, or the fleet was stopped.
    case `operator`
}

/// Where a failed start failed. The raw value is the number that the C code reports.
public enum SpawnStage: UInt8, Sendable, CaseIterable {
    case prepare = 1
    case clone, session, output, descriptors, limits, oomScore, umask, groups, group, user, workingDirectory, execute
    case cgroup

    /// What could not be done, to stand after "cannot".
    public var failedAction: String {
        switch self {
        case .prepare: "prepare the start"
        case .clone: "create a process"
        case .session: "create a session"
        case .output: "connect the output"
        case .descriptors: "pass the descriptors"
        case .limits: "set a resource limit"
        case .oomScore: "set the OOM score"
        case .umask: "set the umask"
        case .groups: "set the supplementary groups"
        case .group: "set the group"
        case .user: "set the user"
        case .workingDirectory: "enter the working directory"
        case .execute: "execute"
        case .cgroup: "enter the cgroup"
        }
    }
}

/// A start that did not lead to a running program.
public struct SpawnFailure: Hashable, Sendable {
    public var stage: SpawnStage
    public var errno: Int32
    /// The file the stage was about; empty where there is none.
    public var path: String

    public init(stage: SpawnStage, errno: Int32, path: String) {
        self.stage = stage
        self.errno = errno
        self.path = path
    }
}

/// What one run of a worker used, from the kernel's `rusage`.
public struct ResourceUsage: Hashable, Sendable {
    public var userMicroseconds: Int64
    public var systemMicroseconds: Int64
    public var maximumResidentKibibytes: Int64

    public init(userMicroseconds: Int64 = 0, systemMicroseconds: Int64 = 0, maximumResidentKibibytes: Int64 = 0) {
        self.userMicroseconds = userMicroseconds
        self.systemMicroseconds = systemMicroseconds
        self.maximumResidentKibibytes = maximumResidentKibibytes
    }
}

/// The end of an instance's last run, kept for `status` and `why`.
public struct LastExit: Hashable, Sendable {
    public enum Outcome: Hashable, Sendable {
        case status(ExitStatus)
        case spawnFailed(SpawnFailure)
    }

    public var outcome: Outcome
    public var cause: ExitCause
    public var at: MonotonicInstant
    public var usage: ResourceUsage

    public init(outcome: Outcome, cause: ExitCause, at: MonotonicInstant, usage: ResourceUsage = ResourceUsage()) {
        self.outcome = outcome
        self.cause = cause
        self.at = at
        self.usage = usage
    }
}
