public import SupervisorCore

/// Who asks, by the kernel's word (SO_PEERCRED).
public struct Caller: Sendable, Hashable {
    public var uid: UInt32
    public var pid: Int32
    /// The user's name, or the number where it has none.
    public var name: String

    public init(uid: UInt32, pid: Int32, name: String) {
        self.uid = uid
        self.pid = pid
        self.name = name
    }
}

/// What the control socket may ask of supervision. Implemented by `SupervisorRuntime`; every method may be called from
/// any thread, returns at once, and answers on a thread of its own choosing.
public protocol SupervisorPort: Sendable {
    /// Has `command` carried out. `reply` is called once: when it is done, or at once when `wait` is false and the
    /// command was accepted.
    func submit(
        _ command: Command,
        by caller: Caller,
        wait: Bool,
        reply: @escaping @Sendable (OperationResult) -> Void
    )

    /// Replaces the running daemon by the program on disk, after that has shown that it can take over. `reply` is
    /// called when it was refused, or right before the replacement.
    func upgrade(by caller: Caller, reply: @escaping @Sendable (OperationResult) -> Void)

    /// What a drain would do and wait for now, or why it would be refused. Changes nothing.
    func planDrain(_ request: DrainRequest, reply: @escaping @Sendable (DrainPlan) -> Void)

    /// Reads the configuration again and says what would change, or has it changed. `reply` is called once: at once
    /// for a dry run or where it cannot be used, else when everything it touches is done, or has begun when `wait` is
    /// false.
    func reload(
        by caller: Caller,
        dryRun: Bool,
        wait: Bool,
        reply: @escaping @Sendable (ReloadResult) -> Void
    )

    /// The configuration in force.
    var spec: FleetSpec { get }

    /// Output of workers, newest last.
    var logs: any LogReading { get }

    /// What happened, newest last.
    var events: any EventReading { get }
}

/// What a drain would do now.
public enum DrainPlan: Sendable, Equatable {
    /// As it would look at its beginning.
    case admitted(DrainStatus)
    /// The text says why.
    case refused(String)
}

/// How a reload ended.
public enum ReloadResult: Sendable, Equatable {
    /// A dry run: what would be done.
    case planned(ReloadPlan)
    /// In force, and what it touched is done, or failed in part.
    case applied(ReloadPlan, OperationResult)
    /// The configuration has errors, each a line; the old one stays in force.
    case invalid([String])
    /// Nothing was changed: it cannot be done in this state.
    case refused(String)
}

/// One line of a worker's output.
public struct LogLine: Sendable, Equatable {
    /// Grows by one with each line of the host.
    public var sequence: UInt64
    public var instance: InstanceID
    /// When it was read: nanoseconds since 1970.
    public var wallClock: Int64
    /// Without its newline. Bytes that are not UTF-8 are replaced.
    public var text: String

    public init(sequence: UInt64, instance: InstanceID, wallClock: Int64, text: String) {
        self.sequence = sequence
        self.instance = instance
        self.wallClock = wallClock
        self.text = text
    }
}

/// The bounded memory of workers' output.
public protocol LogReading: Sendable {
    /// The last lines of the target (nil: of all), at most `limit`, in order.
    func tail(_ target: Target?, limit: Int) -> [LogLine]
    /// Lines with a sequence number above `sequence`, at most `limit`, in order; some may be gone already.
    func lines(after sequence: UInt64, _ target: Target?, limit: Int) -> [LogLine]
    /// Calls `wake`, on any thread and possibly often, after new lines; until the returned closure is called.
    func observe(_ wake: @escaping @Sendable () -> Void) -> @Sendable () -> Void
}

/// One thing that happened, for `events` and `why`.
public struct EventRecord: Sendable, Equatable {
    /// Grows by one with each event.
    public var sequence: UInt64
    /// Nanoseconds since 1970.
    public var wallClock: Int64
    /// The instance's or service's name, or nil for the node.
    public var subject: String?
    /// A short name in kebab-case: `started`, `ready`, `exited`, `backoff`, `stopped`, …
    public var kind: String
    /// One sentence for people.
    public var text: String

    public init(sequence: UInt64, wallClock: Int64, subject: String?, kind: String, text: String) {
        self.sequence = sequence
        self.wallClock = wallClock
        self.subject = subject
        self.kind = kind
        self.text = text
    }
}

/// The bounded memory of events.
public protocol EventReading: Sendable {
    /// Events with a sequence number above `sequence`, at most `limit`, the newest ones, in order; those of `subject`
    /// and of its instances when it is given.
    func events(after sequence: UInt64, subject: String?, limit: Int) -> [EventRecord]
    /// Calls `wake`, on any thread, after new events; until the returned closure is called.
    func observe(_ wake: @escaping @Sendable () -> Void) -> @Sendable () -> Void
}
