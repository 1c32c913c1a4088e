public import SupervisorCore

/// Named limits of everything between a worker's output and the disk (rule P7).
public enum LogLimits {
    /// Bytes of one line; a longer one is cut into several.
    public static let lineBytes = 16 << 10
    /// Bytes taken from one pipe before the next pipe's turn.
    static let windowBytes = 64 << 10
    /// Lines taken from one pipe before the next pipe's turn: bounds what the tags add to many short lines.
    static let linesPerTurn = 1024
    /// Bytes of an unfinished line that are left in the pipe, where the death of the daemon does not touch them.
    static let unfinishedInPipe = 2048
    /// How long an unfinished line is left in the pipe, nanoseconds. Then it is taken out, so that a writer whose
    /// pipe is full of it can go on.
    static let unfinishedPatience: Int64 = 1_000_000_000
    /// How long a pipe is kept waiting for a disk that does nothing before its lines are taken into memory,
    /// nanoseconds.
    static let diskPatience: Int64 = 200_000_000
    /// The same for a disk that gets on, only not fast enough.
    static let busyDiskPatience: Int64 = 2_000_000_000
    /// Bytes taken by one flush: a pipe's default capacity several times over.
    static let flushBytes = 1 << 20

    /// Lines remembered of one instance.
    public static let ringLines = 256
    /// Bytes remembered of one instance, while there are few.
    public static let ringBytes = 64 << 10
    /// Bytes remembered of all instances, divided among those that write.
    public static let ringsBytes = 3 << 20
    /// Bytes remembered of one instance, however many there are.
    static let ringMinimumBytes = 2 << 10

    /// Bytes waiting for the disk, of all services.
    public static let queueBytes = 4 << 20
    /// Bytes waiting for the disk, of one service: none may take the place of all others.
    public static let queueBytesPerFile = 1 << 20
    /// Bytes of the daemon's own log waiting for standard error.
    public static let daemonLogBytes = 256 << 10
    /// Requests to read files waiting for the writer's thread.
    static let readRequests = 8

    /// Log files open at once.
    public static let openFiles = 32
    /// How often it is looked whether an open file is still the one of its name, nanoseconds.
    static let identityCheck: Int64 = 1_000_000_000
    /// First and longest pause after a failed write, nanoseconds.
    static let retryFirst: Int64 = 100_000_000
    static let retryLongest: Int64 = 5_000_000_000
    /// Rotated files that are looked for when `keep` was lowered.
    static let rotatedFiles = 1000

    /// Bytes read from the end of a file for `tail`.
    static let tailBytes = 256 << 10
    /// Services whose files are read for one `tail` of everything.
    static let tailServices = 64
    /// How long a caller of `tail` waits for the files, nanoseconds; then it gets what memory has.
    static let tailPatience: Int64 = 100_000_000

    /// Time that `stop` has to bring everything to the disk, nanoseconds.
    public static let stopPatience: Int64 = 2_000_000_000
    /// Stack of a thread of the logs.
    static let stackBytes = 256 << 10
}

/// The logs cannot be started.
public struct LogError: Error, Equatable, CustomStringConvertible {
    /// Begins with "cannot".
    public var description: String

    init(_ action: String, errno: Int32) {
        description = "cannot \(action): \(Errno.describe(errno))"
    }
}

/// What went wrong with the logs, or is right again. Each is said once when it begins and once when it ends.
public enum LogProblem: Sendable, Equatable, CustomStringConvertible {
    /// A file cannot be written; it is tried again and again.
    case cannotWrite(file: String, errno: Int32)
    /// It can be written again.
    case writingAgain(file: String)
    /// Lines of this service are not written to its file, from now on.
    case dropping(service: String)
    /// They are written again; so many bytes of output are missing from the file.
    case caughtUp(service: String, droppedBytes: UInt64)
    /// The output of an instance cannot be read.
    case cannotCollect(InstanceID, errno: Int32)
    /// The daemon ended before all was written: so many bytes of formatted log are missing.
    case lostAtStop(bytes: Int)

    public var description: String {
        switch self {
        case .cannotWrite(let file, let errno):
            "cannot write \(file): \(Errno.describe(errno)); lines are kept in memory while there is room, and it is "
                + "tried again"
        case .writingAgain(let file): "\(file) is written again"
        case .dropping(let service):
            "cannot keep up with the output of \(service): lines are left out of its log until the disk is faster"
        case .caughtUp(let service, let bytes):
            "the log of \(service) is written again; \(bytes) bytes of output were dropped"
        case .cannotCollect(let instance, let errno):
            "cannot read the output of \(instance): \(Errno.describe(errno))"
        case .lostAtStop(let bytes): "cannot write \(bytes) bytes of log before the end: the disk is slow"
        }
    }
}

/// Figures of one service's output since the daemon began.
public struct LogCounters: Sendable, Equatable {
    /// Bytes taken in, line ends included.
    public var bytes: UInt64 = 0
    /// Bytes of these that were left out of the file.
    public var droppedBytes: UInt64 = 0
    /// Lines that were cut because they were longer than `LogLimits.lineBytes`.
    public var cutLines: UInt64 = 0

    public init() {}
}
