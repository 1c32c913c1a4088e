import CLinux
import Glibc
import SupervisorCore
import Synchronization

/// One instance's pipe, as the collector's thread has it.
private final class OutputPipe {
    let instance: InstanceID
    let descriptor: Int32
    var splitter = LineSplitter()
    /// Bytes that stay in the pipe until the batch with this ticket is written, or until the deadline.
    var held: (bytes: Int, ticket: UInt64, since: Int64, deadline: Int64)?
    /// The disk was too slow for this batch: until it is written, lines go to memory without waiting.
    var overtaken: UInt64?
    /// Something may be in the pipe that has not been looked at.
    var readable = false
    /// It is in the list of those to look at.
    var queued = false
    /// When an unfinished line in the pipe is taken out.
    var unfinishedUntil: Int64?
    /// Bytes that the flush under way may still take; nil when there is none.
    var flushLeft: Int?
    var closing = false
    var atEnd = false
    /// Bytes of output left out of the file since the last line that is in it.
    var gap: UInt64 = 0
    var gapReason = ""

    init(instance: InstanceID, descriptor: Int32) {
        self.instance = instance
        self.descriptor = descriptor
    }
}

/// What runs on the collector's thread.
struct LogCollectorLoop: ~Copyable {
    /// The epoll datum of the wake descriptor; pipes have numbers from 1 on.
    private static let wakeToken: UInt64 = 0

    private let epoll: Int32
    private let peek: PipePeek
    private let wake: WakeDescriptor
    private let writer: LogWriter
    private let memory: LogMemory
    private let requests: () -> [LogCollector.Request]
    private let window = UnsafeMutableRawBufferPointer.allocate(byteCount: LogLimits.windowBytes, alignment: 16)

    private var pipes: [UInt64: OutputPipe] = [:]
    private var tokens: [InstanceID: UInt64] = [:]
    private var nextToken: UInt64 = 1
    /// Pipes to look at in this turn.
    private var queue: [UInt64] = []
    /// Pipes with something held, a gap to be noted, or a line whose time is limited.
    private var attention: Set<UInt64> = []
    private var stopDeadline: Int64?
    private let batch = LineBatch()

    init(
        epoll: Int32,
        peek: consuming PipePeek,
        wake: WakeDescriptor,
        writer: LogWriter,
        memory: LogMemory,
        requests: @escaping () -> [LogCollector.Request]
    ) {
        self.epoll = epoll
        self.peek = peek
        self.wake = wake
        self.writer = writer
        self.memory = memory
        self.requests = requests
        _ = clinux_epoll_control(epoll, 1, wake.descriptor, UInt32(1), Self.wakeToken)
    }

    deinit {
        for pipe in pipes.values { _ = clinux_close(pipe.descriptor) }
        window.deallocate()
        _ = clinux_close(epoll)
    }

    mutating func run() {
        while true {
            wait()
            memory.turns.add(1, ordering: .relaxed)
            for request in requests() { obey(request) }
            attend()
            let turn = queue
            queue = []
            for token in turn {
                guard let pipe = pipes[token] else { continue }
                pipe.queued = false
                collect(token, pipe)
            }
            if let stopDeadline, isSettled || Clocks.monotonic >= stopDeadline { break }
        }
        end()
    }

    /// Nothing is held or being flushed.
    private var isSettled: Bool {
        queue.isEmpty && !pipes.values.contains { $0.held != nil || $0.flushLeft != nil }
    }

    private mutating func wait() {
        var next = stopDeadline ?? .max
        for token in attention {
            guard let pipe = pipes[token] else { continue }
            next = min(next, pipe.held?.deadline ?? .max, pipe.unfinishedUntil ?? .max)
        }
        let timeout = !queue.isEmpty ? 0 : next == .max ? -1 : max(0, next &- Clocks.monotonic)
        let capacity = 64
        withUnsafeTemporaryAllocation(of: clinux_event.self, capacity: capacity) { events in
            let count = clinux_epoll_wait(epoll, events.baseAddress, capacity, timeout)
            for event in events.prefix(max(0, Int(count))) {
                if event.data == Self.wakeToken {
                    wake.clear()
                } else if let pipe = pipes[event.data] {
                    pipe.readable = true
                    enqueue(event.data, pipe)
                }
            }
        }
    }

    private mutating func enqueue(_ token: UInt64, _ pipe: OutputPipe) {
        // A pipe with bytes held is looked at again when they are taken out; one that is idle after the stop is left
        // to the successor.
        if pipe.queued || pipe.held != nil || (stopDeadline != nil && pipe.flushLeft == nil) { return }
        pipe.queued = true
        queue.append(token)
    }

    private mutating func obey(_ request: LogCollector.Request) {
        switch request {
        case .add(let instance, let descriptor): add(instance, descriptor)
        case .flush(let instance):
            if let token = tokens[instance] { flush(token) }
        case .remove(let instance):
            guard let token = tokens.removeValue(forKey: instance), let pipe = pipes[token] else { return }
            pipe.closing = true
            flush(token)
        case .stop(let deadline):
            stopDeadline = deadline
        }
    }

    private mutating func add(_ instance: InstanceID, _ descriptor: Int32) {
        if let token = tokens.removeValue(forKey: instance), let pipe = pipes[token] {
            pipe.closing = true
            flush(token)
        }
        let token = nextToken
        nextToken &+= 1
        let pipe = OutputPipe(instance: instance, descriptor: descriptor)
        // EPOLLIN, edge-triggered: a pipe whose bytes are held, or which has half a line in it, must not wake us
        // again until more comes.
        let events: UInt32 = 0x1 | 1 << 31
        var result = clinux_set_nonblocking(descriptor, true)
        if result >= 0 { result = clinux_epoll_control(epoll, 1, descriptor, events, token) }
        guard result >= 0 else {
            _ = clinux_close(descriptor)
            writer.report(.cannotCollect(instance, errno: Int32(-result)))
            return
        }
        pipes[token] = pipe
        tokens[instance] = token
        pipe.readable = true
        enqueue(token, pipe)
    }

    private mutating func flush(_ token: UInt64) {
        guard let pipe = pipes[token] else { return }
        pipe.flushLeft = LogLimits.flushBytes
        pipe.readable = true
        enqueue(token, pipe)
    }

    // MARK: Waiting for the writer

    /// Looks after pipes that wait for the writer or for a time.
    private mutating func attend() {
        let now = Clocks.monotonic
        for token in attention {
            guard let pipe = pipes[token] else {
                attention.remove(token)
                continue
            }
            if let held = pipe.held {
                if writer.queue.isWritten(pipe.instance.service, ticket: held.ticket) {
                    release(token, pipe)
                } else if now >= held.deadline {
                    let next = writer.queue.lastProgress &+ LogLimits.diskPatience
                    if next > now, now &- held.since < LogLimits.busyDiskPatience {
                        pipe.held?.deadline = next
                    } else {
                        pipe.overtaken = held.ticket
                        release(token, pipe)
                    }
                }
            }
            if let until = pipe.unfinishedUntil, now >= until {
                pipe.readable = true
                enqueue(token, pipe)
            }
            if pipe.gap > 0 { noteGap(pipe) }
            if pipe.held == nil, pipe.unfinishedUntil == nil, pipe.gap == 0 { attention.remove(token) }
        }
    }

    /// Takes what was held out of the pipe.
    private mutating func release(_ token: UInt64, _ pipe: OutputPipe) {
        guard let held = pipe.held else { return }
        pipe.held = nil
        PipePeek.take(held.bytes, from: pipe.descriptor, window)
        if pipe.readable { enqueue(token, pipe) }
    }

    /// Says in the file how much is missing, when there is room for that again.
    private func noteGap(_ pipe: OutputPipe) {
        let line = LineBatch.gap(pipe.gap, pipe.gapReason, instance: pipe.instance)
        if case .accepted = writer.queue.append(pipe.instance.service, line) { gapNoted(pipe) }
    }

    private func gapNoted(_ pipe: OutputPipe) {
        writer.report(.caughtUp(service: pipe.instance.service, droppedBytes: pipe.gap))
        pipe.gap = 0
    }

    // MARK: Collecting

    /// Looks at what is in the pipe and hands on the lines of one window.
    private mutating func collect(_ token: UInt64, _ pipe: OutputPipe) {
        if pipe.held != nil { return }
        pipe.readable = false
        let count = pipe.atEnd ? 0 : peek.look(into: pipe.descriptor, window)
        if count <= 0 {
            if count != -Int(EAGAIN) { reachedEnd(pipe, count) }
            emptied(token, pipe)
            return
        }
        let now = Clocks.monotonic
        let isDue = pipe.flushLeft != nil || now >= pipe.unfinishedUntil ?? .max
        batch.begin(pipe.instance)
        let used = pipe.splitter.split(
            UnsafeRawBufferPointer(rebasing: window[..<count]),
            mayLeave: isDue ? 0 : LogLimits.unfinishedInPipe,
            maximumLines: LogLimits.linesPerTurn
        ) { [batch] line in batch.add(line) }
        if used == 0 {
            if pipe.unfinishedUntil == nil { pipe.unfinishedUntil = now &+ LogLimits.unfinishedPatience }
            attention.insert(token)
            return
        }
        pipe.unfinishedUntil = nil
        pipe.readable = true
        handOver(token, pipe, inPipe: used)
        if let left = pipe.flushLeft {
            pipe.flushLeft = left - used
            if left <= used, pipe.held == nil { emptied(token, pipe) }
        }
        if pipes[token] != nil { enqueue(token, pipe) }
    }

    private func reachedEnd(_ pipe: OutputPipe, _ result: Int) {
        if pipe.atEnd { return }
        pipe.atEnd = true
        _ = clinux_epoll_control(epoll, 2, pipe.descriptor, 0, 0)
        if result < 0 { writer.report(.cannotCollect(pipe.instance, errno: Int32(-result))) }
    }

    /// Nothing is left in the pipe: ends a flush.
    private mutating func emptied(_ token: UInt64, _ pipe: OutputPipe) {
        pipe.unfinishedUntil = nil
        guard pipe.flushLeft != nil || pipe.atEnd else { return }
        pipe.flushLeft = nil
        finishLine(token, pipe)
        guard pipe.closing else { return }
        if pipe.gap > 0 { noteGap(pipe) }
        _ = clinux_epoll_control(epoll, 2, pipe.descriptor, 0, 0)
        _ = clinux_close(pipe.descriptor)
        pipes[token] = nil
        attention.remove(token)
        if tokens[pipe.instance] == nil { memory.forget(pipe.instance) }
    }

    /// Hands on a line whose end never came.
    private mutating func finishLine(_ token: UInt64, _ pipe: OutputPipe) {
        if pipe.splitter.isEmpty { return }
        batch.begin(pipe.instance)
        pipe.splitter.finish { [batch] line in batch.add(line) }
        handOver(token, pipe, inPipe: 0)
    }

    /// Hands the batch to memory and to the writer. `inPipe` bytes of the pipe are dealt with by it: they are taken
    /// out when the lines are in the file.
    private mutating func handOver(_ token: UInt64, _ pipe: OutputPipe, inPipe: Int) {
        let service = pipe.instance.service
        var admission: LogQueue.Admission?
        if !batch.spans.isEmpty {
            batch.bytes.withUnsafeBytes { bytes in
                memory.add(
                    pipe.instance,
                    bytes,
                    spans: batch.spans,
                    wallClock: batch.wallClock,
                    counted: batch.counted
                )
            }
            let gap = pipe.gap > 0 ? LineBatch.gap(pipe.gap, pipe.gapReason, instance: pipe.instance) : []
            admission = writer.queue.append(
                service,
                gap.isEmpty ? batch.bytes : gap + batch.bytes,
                awaited: true
            )
        }
        switch admission {
        case nil: break
        case .accepted(let ticket):
            if pipe.gap > 0 { gapNoted(pipe) }
            if let overtaken = pipe.overtaken, writer.queue.isWritten(service, ticket: overtaken) {
                pipe.overtaken = nil
            }
            attention.insert(token)
            if pipe.overtaken == nil {
                let now = Clocks.monotonic
                if inPipe > 0 { pipe.held = (inPipe, ticket, now, now &+ LogLimits.diskPatience) }
                return
            }
            pipe.overtaken = ticket
        case .refused(let reason):
            if pipe.gap == 0 { writer.report(.dropping(service: service)) }
            pipe.gap &+= batch.counted.bytes
            pipe.gapReason = reason
            memory.countDropped(batch.counted.bytes, service: service)
            attention.insert(token)
        }
        PipePeek.take(inPipe, from: pipe.descriptor, window)
    }

    /// Ends what is under way: what was handed over is the writer's, and an unfinished line is written as it is.
    private mutating func end() {
        for (token, pipe) in pipes {
            if let held = pipe.held { PipePeek.take(held.bytes, from: pipe.descriptor, window) }
            pipe.held = nil
            finishLine(token, pipe)
            if pipe.gap > 0 { noteGap(pipe) }
        }
    }
}
