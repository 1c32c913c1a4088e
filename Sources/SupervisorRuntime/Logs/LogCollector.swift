import CLinux
public import StatusBoard
public import SupervisorCore
import Synchronization

/// Takes the output of the workers out of their pipes, on a thread of its own: keeps the newest lines in memory, and
/// hands all of them to the writer.
///
/// A line stays in its pipe until it is in the file, so that it is not lost when the daemon is killed; the next daemon
/// may then write the last lines once more. A disk that is slow keeps a pipe waiting for `LogLimits.diskPatience`;
/// from then on lines go to memory, and when that is full they are left out of the file and counted.
public final class LogCollector: LogReading {
    enum Request: Sendable {
        case add(InstanceID, descriptor: Int32)
        case remove(InstanceID)
        case flush(InstanceID)
        case stop(deadline: Int64)
    }

    private let writer: LogWriter
    let memory = LogMemory(wallClock: Clocks.wall)
    private let mailbox = Mutex<[Request]>([])
    private let wake: WakeDescriptor
    private let ended: WakeDescriptor
    private let started = Mutex(false)
    /// Services whose files `tail` may read, in the order they came.
    private let services = Mutex<[(name: String, file: LogFile)]>([])

    public init(writer: LogWriter) throws(LogError) {
        self.writer = writer
        wake = try WakeDescriptor()
        ended = try WakeDescriptor()
        writer.onProgress { [wake] in wake.signal() }
    }

    /// Starts the thread.
    public func start() throws(LogError) {
        let epoll = clinux_epoll_create()
        if epoll < 0 { throw LogError("create an event queue", errno: -epoll) }
        let peek = try PipePeek()
        let handover = Mutex<PipePeek?>(peek)
        try BackgroundThread.start("eider-output") { [self] in
            guard let peek = handover.withLock({ $0.take() }) else { return }
            var loop = LogCollectorLoop(
                epoll: epoll,
                peek: peek,
                wake: wake,
                writer: writer,
                memory: memory,
                requests: { [self] in
                    mailbox.withLock { requests in
                        defer { requests = [] }
                        return requests
                    }
                }
            )
            loop.run()
            ended.signal()
        }
        started.withLock { $0 = true }
    }

    /// Ends the thread: unfinished lines are written as they are, and lines that were handed to the writer are given
    /// time to reach the disk. What is left in the pipes stays there for a successor. Stop the writer afterwards.
    @discardableResult
    public func stop(patience: Duration = .nanoseconds(LogLimits.stopPatience)) -> Bool {
        guard started.withLock({ $0 }) else { return true }
        let deadline = Clocks.monotonic &+ patience.clampedNanoseconds
        send(.stop(deadline: deadline))
        return ended.wait(until: deadline &+ 50_000_000)
    }

    /// Collects from `descriptor`, the read end of the instance's pipe, and closes it when it is removed.
    public func add(instance: InstanceID, descriptor: Int32, logs: ServiceSpec.Logs) {
        configure(service: instance.service, logs: logs)
        send(.add(instance, descriptor: descriptor))
    }

    /// Takes over changed settings of a service's file.
    public func configure(service: String, logs: ServiceSpec.Logs) {
        let file = writer.file(of: service, logs)
        writer.queue.configure(service, file)
        services.withLock { services in
            if let index = services.firstIndex(where: { $0.name == service }) {
                services[index].file = file
            } else {
                services.append((service, file))
            }
        }
    }

    /// Collects what is left, forgets the instance and closes its descriptor. The file stays.
    public func remove(instance: InstanceID) {
        send(.remove(instance))
    }

    /// Has what is left in the pipe taken out, and an unfinished last line ended: when the instance's process has
    /// ended. Returns at once.
    public func flush(instance: InstanceID) {
        send(.flush(instance))
    }

    /// Figures by service, since the daemon began.
    public var counters: [String: LogCounters] { memory.counters }

    private func send(_ request: Request) {
        mailbox.withLock { $0.append(request) }
        wake.signal()
    }

    // MARK: LogReading

    /// The last lines. What memory does not have, such as the output under an earlier daemon, is read from the files
    /// by the writer's thread, which is waited for at most `LogLimits.tailPatience`.
    public func tail(_ target: Target?, limit: Int) -> [LogLine] {
        let (lines, known) = memory.tail(target, limit: limit)
        if lines.count >= limit { return lines }
        var older = readFiles(target, known: known, limit: limit - lines.count)
        let count = UInt64(older.count)
        for index in older.indices { older[index].sequence = memory.firstSequence &- count &+ UInt64(index) }
        return older + lines
    }

    public func lines(after sequence: UInt64, _ target: Target?, limit: Int) -> [LogLine] {
        memory.lines(after: sequence, target, limit: limit)
    }

    public func observe(_ wake: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        memory.observe(wake)
    }

    private final class Answer: Sendable {
        let lines = Mutex<[LogLine]>([])
        let ready: WakeDescriptor

        init() throws(LogError) {
            ready = try WakeDescriptor()
        }
    }

    private func readFiles(_ target: Target?, known: LogTail.Known, limit: Int) -> [LogLine] {
        let files = services.withLock { services in
            services.filter { target == nil || $0.name == target?.service }
        }.suffix(LogLimits.tailServices)
        guard !files.isEmpty, !writer.readingStuck.load(ordering: .relaxed), let answer = try? Answer() else {
            return []
        }
        var instance: InstanceID?
        if case .instance(let id) = target { instance = id }
        let accepted = writer.queue.perform { [writer, instance] in
            let bytes = max(LogLimits.tailBytes / files.count, 8 << 10)
            var lines = files.flatMap {
                LogTail.read($0.file, service: $0.name, instance: instance, known: known, limit: limit, bytes: bytes)
            }
            lines.sort { $0.wallClock < $1.wallClock }
            answer.lines.withLock { $0 = lines.suffix(limit) }
            writer.readingStuck.store(false, ordering: .relaxed)
            answer.ready.signal()
        }
        guard accepted else { return [] }
        guard answer.ready.wait(until: Clocks.monotonic &+ LogLimits.tailPatience) else {
            // Nobody else waits for this disk in vain until it has answered.
            writer.readingStuck.store(true, ordering: .relaxed)
            return []
        }
        return answer.lines.withLock { $0 }
    }
}
