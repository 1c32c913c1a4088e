import CLinux
import Glibc
import SupervisorCore
import Synchronization

/// Writes log files, the events and the daemon's own log, on a thread of its own: a disk that is slow, full or broken
/// holds up this thread and nothing else.
///
/// `STATE/logs/SERVICE.log` has lines `TIME INSTANCE text`, TIME in RFC 3339.
public final class LogWriter: Sendable {
    /// In a structure of its own: a mutex that holds a closure itself wraps it once more at each access (the closure is
    /// brought into the generic form and written back), until calling it overflows the stack.
    private struct Progress: Sendable {
        var action: (@Sendable () -> Void)?
    }

    let queue: LogQueue
    private let stateDirectory: String
    private let standardError: Int32
    private let report: @Sendable (LogProblem) -> Void
    private let ended: WakeDescriptor
    private let started = Mutex(false)
    /// Called, on the writer's thread, when a batch is done that somebody asked about.
    private let progress = Mutex(Progress())
    /// Reading for `tail` has been waited for in vain, and has not got through since.
    let readingStuck = Atomic<Bool>(false)

    /// - Parameters:
    ///   - stateDirectory: holds `logs/` and `events.log`; missing directories are made when something is written.
    ///   - standardError: where the daemon's own log goes.
    ///   - report: called on the threads of the logs; must return at once.
    public init(
        stateDirectory: String,
        standardError: Int32 = 2,
        report: @escaping @Sendable (LogProblem) -> Void
    ) throws(LogError) {
        queue = try LogQueue()
        ended = try WakeDescriptor()
        self.stateDirectory = stateDirectory
        self.standardError = standardError
        self.report = report
    }

    /// Starts the thread. What is handed over before waits in memory.
    public func start() throws(LogError) {
        try BackgroundThread.start("eider-logs") { [self] in
            var loop = LogWriterLoop(
                queue: queue,
                standardError: standardError,
                report: report,
                progressed: { [self] in progress.withLock { $0.action }?() }
            )
            loop.run()
            ended.signal()
        }
        started.withLock { $0 = true }
    }

    /// Writes what has been handed over and ends the thread; false when the disk was too slow for that. The thread is
    /// then left to itself: it is of no harm to a process that ends.
    @discardableResult
    public func stop(patience: Duration = .nanoseconds(LogLimits.stopPatience)) -> Bool {
        let deadline = Clocks.monotonic &+ patience.clampedNanoseconds
        queue.stop(deadline: deadline)
        guard started.withLock({ $0 }) else { return queue.waitingBytes == 0 }
        guard ended.wait(until: deadline &+ 50_000_000) else {
            report(.lostAtStop(bytes: queue.waitingBytes))
            return false
        }
        return queue.waitingBytes == 0
    }

    /// The file of a service. A name that is no file name cannot come from a valid configuration; it gets a harmless
    /// one.
    func file(of service: String, _ logs: ServiceSpec.Logs) -> LogFile {
        let safe = service.contains("/") || service.hasPrefix(".") ? "_" : service
        return LogFile(path: "\(stateDirectory)/logs/\(safe).log", maxSize: logs.maxSize, keep: logs.keep)
    }

    /// The file of the events.
    var eventsFile: LogFile {
        LogFile(
            path: "\(stateDirectory)/events.log",
            maxSize: EventHistory.Limits.fileBytes,
            keep: EventHistory.Limits.filesKept
        )
    }

    func onProgress(_ action: @escaping @Sendable () -> Void) {
        progress.withLock { $0.action = action }
    }

    func report(_ problem: LogProblem) {
        report(problem)
    }
}

/// What runs on the writer's thread.
struct LogWriterLoop: ~Copyable {
    /// A batch that could not be written yet, and when it is tried again.
    private struct Stuck {
        var batch: LogQueue.Batch
        var offset: Int
        var retryAt: Int64
        var delay: Int64
    }

    private let queue: LogQueue
    private let report: @Sendable (LogProblem) -> Void
    private let progressed: @Sendable () -> Void
    private var store = LogFileStore()
    private var stuck: [LogKey: Stuck] = [:]
    private var errors: ErrorStream

    init(
        queue: LogQueue,
        standardError: Int32,
        report: @escaping @Sendable (LogProblem) -> Void,
        progressed: @escaping @Sendable () -> Void
    ) {
        self.queue = queue
        self.report = report
        self.progressed = progressed
        errors = ErrorStream(descriptor: standardError)
    }

    mutating func run() {
        while true {
            let blocked = Set(stuck.keys)
            let errorsBlocked = !errors.isEmpty
            let work = queue.take(except: blocked, errorLines: !errorsBlocked)
            errors.append(work.errorLines)
            errors.write()
            for batch in work.batches { write(Stuck(batch: batch, offset: 0, retryAt: 0, delay: 0)) }
            for request in work.requests { request() }
            let now = Clocks.monotonic
            for entry in stuck.values where entry.retryAt <= now { write(entry) }
            if let deadline = work.stopDeadline {
                if work.isEmpty, blocked.isEmpty, stuck.isEmpty, errors.isEmpty { return }
                if now >= deadline {
                    giveUp()
                    return
                }
            }
            // What was blocked before may have more waiting in the queue, of which nobody will say anything.
            let unblocked = (errorsBlocked && errors.isEmpty) || !blocked.isSubset(of: stuck.keys)
            if work.isEmpty, !unblocked { sleep(stopDeadline: work.stopDeadline) }
        }
    }

    private mutating func write(_ entry: Stuck) {
        var entry = entry
        let key = entry.batch.key
        let result = store.append(entry.batch.bytes, from: entry.offset, to: entry.batch.file)
        entry.offset += result.written
        let failedBefore = stuck.removeValue(forKey: key) != nil
        guard let errno = result.errno else {
            if failedBefore {
                queue.setFailing(key, errno: nil)
                report(.writingAgain(file: entry.batch.file.path))
            }
            if queue.finished(entry.batch) { progressed() }
            return
        }
        entry.delay =
            result.written > 0 || entry.delay == 0
            ? LogLimits.retryFirst : min(entry.delay * 2, LogLimits.retryLongest)
        entry.retryAt = Clocks.monotonic &+ entry.delay
        stuck[key] = entry
        if !failedBefore {
            queue.setFailing(key, errno: errno)
            report(.cannotWrite(file: entry.batch.file.path, errno: errno))
        }
    }

    /// Sleeps until something is handed over, a retry is due or standard error takes more.
    private func sleep(stopDeadline: Int64?) {
        var next = stuck.values.map(\.retryAt).min() ?? .max
        if let stopDeadline { next = min(next, stopDeadline) }
        var entries = [pollfd(fd: queue.wake.descriptor, events: Int16(POLLIN), revents: 0)]
        if !errors.isEmpty { entries.append(pollfd(fd: errors.descriptor, events: Int16(POLLOUT), revents: 0)) }
        let wait = next == .max ? -1 : Int32(clamping: max(0, next &- Clocks.monotonic) / 1_000_000 + 1)
        _ = poll(&entries, nfds_t(entries.count), wait)
        queue.wake.clear()
    }

    private mutating func giveUp() {
        let lost = stuck.values.reduce(0) { $0 + $1.batch.bytes.count - $1.offset }
        if lost > 0 { report(.lostAtStop(bytes: lost)) }
    }
}

/// Standard error, written only as far as it takes it: nobody reading the daemon's log holds up the workers' logs.
struct ErrorStream {
    let descriptor: Int32
    private var waiting: [UInt8] = []
    private var position = 0

    init(descriptor: Int32) {
        self.descriptor = descriptor
    }

    var isEmpty: Bool { waiting.isEmpty }

    mutating func append(_ lines: [UInt8]) {
        waiting.append(contentsOf: lines)
    }

    /// Writes what can be written without waiting. A stream that is broken loses what was meant for it.
    mutating func write() {
        while position < waiting.count {
            var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            let ready = poll(&entry, 1, 0)
            if ready == 0 || (ready < 0 && errno == EINTR) { return }
            // A pipe that polls as writable takes this much at least (PIPE_BUF); a stream socket takes it or says
            // that it does not.
            let count = min(waiting.count - position, 4096)
            var written = waiting.withUnsafeBytes { bytes in
                send(
                    descriptor,
                    bytes.baseAddress.map { $0 + position },
                    count,
                    Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
                )
            }
            if written < 0, errno == EAGAIN || errno == EINTR { return }
            if written < 0, errno == ENOTSOCK {
                written = waiting.withUnsafeBytes { bytes in
                    clinux_write(descriptor, bytes.baseAddress.map { $0 + position }, count)
                }
                if written == -Int(EAGAIN) { return }
            }
            if written <= 0 { break }
            position += written
        }
        waiting = []
        position = 0
    }
}
