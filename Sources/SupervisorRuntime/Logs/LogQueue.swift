import Glibc
import Synchronization

/// A file that the writer's thread keeps.
struct LogFile: Sendable, Equatable {
    var path: String
    /// Bytes after which it is rotated.
    var maxSize: UInt64
    /// Rotated files beside it: `.1`, the newest, to `.keep`.
    var keep: Int
}

/// Names a file of the writer: a service's name, or empty for the events.
typealias LogKey = String

/// What is handed to the writer's thread: lines by file, lines for standard error, and requests to read files.
///
/// It is bounded in bytes, and never makes the one who appends wait for the disk.
final class LogQueue: Sendable {
    /// Lines of one file on their way to the disk.
    struct Batch: Sendable {
        var key: LogKey
        var file: LogFile
        var ticket: UInt64
        var bytes: [UInt8]
    }

    enum Admission: Equatable {
        /// It is in the batch of this number.
        case accepted(ticket: UInt64)
        /// There is no room; the text says why, to stand after "dropped: ".
        case refused(reason: String)
    }

    /// What the writer's thread is to do next.
    struct Work {
        var batches: [Batch] = []
        var errorLines: [UInt8] = []
        var requests: [@Sendable () -> Void] = []
        var stopDeadline: Int64?

        var isEmpty: Bool { batches.isEmpty && errorLines.isEmpty && requests.isEmpty }
    }

    private struct State: Sendable {
        var files: [LogKey: LogFile] = [:]
        var pending: [LogKey: Batch] = [:]
        /// Keys of `pending`, the first that came first.
        var order: [LogKey] = []
        var inFlight: [LogKey: (ticket: UInt64, bytes: Int)] = [:]
        var bytes = 0
        var nextTicket: UInt64 = 1
        /// Files that were refused room and get none until half of theirs is free.
        var refusing: Set<LogKey> = []
        var failing: [LogKey: Int32] = [:]
        var errorLines: [UInt8] = []
        var errorLinesDropped = 0
        var requests: [@Sendable () -> Void] = []
        var writerAsleep = false
        var progressAwaited = false
        /// When a batch was last done, by the monotonic clock.
        var lastProgress: Int64 = 0
        var stopDeadline: Int64?

        func bytes(of key: LogKey) -> Int {
            (pending[key]?.bytes.count ?? 0) + (inFlight[key]?.bytes ?? 0)
        }

        /// Whether the writer sleeps and must be woken, which is said once.
        mutating func takeWake() -> Bool {
            defer { writerAsleep = false }
            return writerAsleep
        }
    }

    private let state = Mutex(State())
    /// Turns of the writer's thread: none are made while nothing happens.
    let turns = Atomic<UInt64>(0)
    /// Wakes the writer's thread.
    let wake: WakeDescriptor

    init() throws(LogError) {
        wake = try WakeDescriptor()
    }

    func configure(_ key: LogKey, _ file: LogFile) {
        state.withLock { state in
            state.files[key] = file
            state.pending[key]?.file = file
        }
    }

    /// Hands over whole lines for the file, or nothing of them. With `awaited` the writer says when it has got on.
    func append(_ key: LogKey, _ lines: [UInt8], awaited: Bool = false) -> Admission {
        let (admission, wakes) = state.withLock { state -> (Admission, Bool) in
            guard let file = state.files[key], state.stopDeadline == nil else {
                return (.refused(reason: "the log is closed"), false)
            }
            let used = state.bytes(of: key)
            let room = state.refusing.contains(key) ? LogLimits.queueBytesPerFile / 2 : LogLimits.queueBytesPerFile
            guard used + lines.count <= room, state.bytes + lines.count <= LogLimits.queueBytes else {
                state.refusing.insert(key)
                state.progressAwaited = true
                return (.refused(reason: Self.reason(state.failing[key])), false)
            }
            state.refusing.remove(key)
            state.bytes += lines.count
            if awaited { state.progressAwaited = true }
            if state.pending[key] == nil {
                // A copy that is as long as the lines: the caller's array is used again and has room for many more.
                let copy = lines.withUnsafeBytes { Array($0) }
                state.pending[key] = Batch(key: key, file: file, ticket: state.nextTicket, bytes: copy)
                state.nextTicket &+= 1
                state.order.append(key)
            } else {
                state.pending[key]?.bytes.append(contentsOf: lines)
            }
            return (.accepted(ticket: state.pending[key]?.ticket ?? 0), state.takeWake())
        }
        if wakes { wake.signal() }
        return admission
    }

    private static func reason(_ errno: Int32?) -> String {
        guard let errno, errno != EAGAIN else { return "the disk is slow" }
        return "the log cannot be written: \(Errno.describe(errno))"
    }

    /// Hands over lines for standard error; they are left out and counted when there is no room.
    func appendErrorLines(_ lines: [UInt8]) {
        let wakes = state.withLock { state -> Bool in
            guard state.errorLines.count + lines.count <= LogLimits.daemonLogBytes else {
                state.errorLinesDropped += 1
                return false
            }
            if state.errorLinesDropped > 0 {
                let gap = "eiderd: \(state.errorLinesDropped) messages were dropped: standard error is slow\n"
                state.errorLinesDropped = 0
                state.errorLines.append(contentsOf: gap.utf8)
            }
            state.errorLines.append(contentsOf: lines)
            return state.takeWake()
        }
        if wakes { wake.signal() }
    }

    /// Has `request` run on the writer's thread; false when too many wait there already.
    func perform(_ request: @escaping @Sendable () -> Void) -> Bool {
        let (accepted, wakes) = state.withLock { state -> (Bool, Bool) in
            guard state.requests.count < LogLimits.readRequests, state.stopDeadline == nil else {
                return (false, false)
            }
            state.requests.append(request)
            return (true, state.takeWake())
        }
        if wakes { wake.signal() }
        return accepted
    }

    /// Whether the batch was written. When it was not, the writer will say when it has got on.
    func isWritten(_ key: LogKey, ticket: UInt64) -> Bool {
        state.withLock { state in
            let written = state.pending[key]?.ticket != ticket && state.inFlight[key]?.ticket != ticket
            if !written { state.progressAwaited = true }
            return written
        }
    }

    /// When a batch was last done, by the monotonic clock; 0 never.
    var lastProgress: Int64 { state.withLock { $0.lastProgress } }

    /// Bytes that wait for the disk.
    var waitingBytes: Int { state.withLock { $0.bytes } }

    /// Takes nothing more, and has the writer end when all is written or the deadline is reached.
    func stop(deadline: Int64) {
        state.withLock { $0.stopDeadline = deadline }
        wake.signal()
    }

    // What follows is the writer's side.

    /// What there is to do, but for files in `blocked`. Nothing: whoever appends next wakes the writer.
    func take(except blocked: Set<LogKey>, errorLines: Bool) -> Work {
        turns.add(1, ordering: .relaxed)
        return state.withLock { state in
            var work = Work(stopDeadline: state.stopDeadline)
            var left: [LogKey] = []
            for key in state.order {
                guard !blocked.contains(key), let batch = state.pending.removeValue(forKey: key) else {
                    left.append(key)
                    continue
                }
                state.inFlight[key] = (batch.ticket, batch.bytes.count)
                work.batches.append(batch)
            }
            state.order = left
            swap(&work.requests, &state.requests)
            if errorLines { swap(&work.errorLines, &state.errorLines) }
            state.writerAsleep = work.isEmpty
            return work
        }
    }

    /// The batch is on the disk, or given up. Answers whether somebody waits to hear of it.
    func finished(_ batch: Batch) -> Bool {
        let now = Clocks.monotonic
        return state.withLock { state in
            if let entry = state.inFlight.removeValue(forKey: batch.key) { state.bytes -= entry.bytes }
            state.lastProgress = now
            defer { state.progressAwaited = false }
            return state.progressAwaited
        }
    }

    /// Why the file cannot be written at present; nil when it can.
    func setFailing(_ key: LogKey, errno: Int32?) {
        state.withLock { $0.failing[key] = errno }
    }
}
