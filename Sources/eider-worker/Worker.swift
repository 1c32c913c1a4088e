import NIOCore
import NIOHTTP1
import NIOPosix

/// The service itself. Lives on one event loop, which is the main thread.
final class Worker {
    let options: WorkerOptions
    let loop: any EventLoop
    private let notifier: Notifier?
    private var listeners: [any Channel] = []
    /// Of passed sockets.
    private var acceptor: Acceptor?
    private var connections: [ObjectIdentifier: RequestHandler] = [:]
    private(set) var isReady = false
    private(set) var isStopping = false
    /// What the health checks of this worker answer, as a test wants it.
    private(set) var readyStatus = HTTPResponseStatus.ok
    private(set) var liveStatus = HTTPResponseStatus.ok
    private var beats = true
    /// Requests taken and not yet answered.
    private var inFlight = 0
    /// Lines of `--log-flood` written so far.
    private var floodLines = 0

    init(options: WorkerOptions, loop: any EventLoop) {
        self.options = options
        self.loop = loop
        notifier = Notifier(path: options.notifySocket, loop: loop)
    }

    func start(signals: Int32) {
        watch(signals: signals)
        Children.start(options)
        startMischief()
        if let heartbeat = options.heartbeat {
            let interval = TimeAmount(heartbeat)
            repeatTask(every: interval) { if $0.beats { $0.notifier?.send("WATCHDOG=1") } }
        }
        after(options.startDelay) { $0.listen() }
    }

    /// Runs `body` on the loop after `delay`.
    func after(_ delay: Duration, _ body: @escaping (Worker) -> Void) {
        loop.assumeIsolated().scheduleTask(in: TimeAmount(delay)) { body(self) }
    }

    func setStatus(_ text: String) {
        // A newline would begin another assignment of the protocol.
        let line = String(text.prefix(256).map { $0.isNewline ? " " : $0 })
        notifier?.send("STATUS=\(line)")
    }

    /// Changes what the health checks answer, and whether heartbeats are sent: `no` ends them.
    func set(ready: HTTPResponseStatus?, live: HTTPResponseStatus?, beats: String?) {
        readyStatus = ready ?? readyStatus
        liveStatus = live ?? liveStatus
        if let beats { self.beats = beats != "no" }
    }

    private func repeatTask(every interval: TimeAmount, _ body: @escaping @Sendable (Worker) -> Void) {
        let bound = NIOLoopBound(self, eventLoop: loop)
        loop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in body(bound.value) }
    }
}

// Listening.
extension Worker {
    private func listen() {
        if isStopping { return }
        guard options.listens else { return becomeReady("not listening") }
        if options.passedSockets > 0 { return acceptPassed() }
        ServerBootstrap(group: loop)
            .serverChannelOption(.backlog, value: 512)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer(initializer())
            .bind(host: options.host, port: options.port ?? 0)
            .assumeIsolated().whenComplete { self.listening($0) }
    }

    /// What becomes of each connection.
    private func initializer() -> @Sendable (any Channel) -> EventLoopFuture<Void> {
        let bound = NIOLoopBound(self, eventLoop: loop)
        return { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                try channel.pipeline.syncOperations.addHandler(RequestHandler(worker: bound.value))
            }
        }
    }

    private func acceptPassed() {
        let descriptors = Array(3..<Int32(3 + options.passedSockets))
        for descriptor in descriptors { System.closeOnExec(descriptor) }
        let initializer = initializer()
        do {
            acceptor = try Acceptor(descriptors) { [loop] connection in
                _ = ClientBootstrap(group: loop).channelInitializer(initializer).withConnectedSocket(connection)
            }
            becomeReady("listening on \(descriptors.count) passed socket(s)")
        } catch {
            System.complain("cannot listen on the passed sockets: \(error); are they listening stream sockets?")
            System.exit(1)
        }
    }

    private func listening(_ result: Result<any Channel, any Error>) {
        switch result {
        case .success(let channel):
            listeners = [channel]
            if isStopping { return closeListeners() }
            let address = channel.localAddress
            becomeReady("listening on \(address?.ipAddress ?? "?"):\(address?.port ?? 0)")
        case .failure(let error):
            let reason = (error as? IOError).map { System.errorText($0.errnoCode) } ?? "\(error)"
            let place = "\(options.host):\(options.port ?? 0)"
            System.complain("cannot listen on \(place): \(reason); use another --port, or end whoever has it")
            System.exit(1)
        }
    }

    private func becomeReady(_ text: String) {
        System.say("\(options.name): \(text), pid \(System.pid)")
        if options.neverReady { return setStatus("\(text), never ready") }
        isReady = true
        notifier?.send("READY=1\nSTATUS=\(text)")
    }
}

// Stopping.
extension Worker {
    private func watch(signals descriptor: Int32) {
        let bound = NIOLoopBound(self, eventLoop: loop)
        NIOPipeBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(SignalHandler(worker: bound.value))
                }
            }
            .takingOwnershipOfDescriptor(input: descriptor)
            .whenFailure { error in
                System.complain("cannot watch for signals: \(error)")
                System.exit(1)
            }
    }

    /// Serves what is in flight, closes the rest, and exits with 0 when nothing is left.
    func stop() {
        if isStopping { return }
        isStopping = true
        isReady = false
        notifier?.send("STOPPING=1\nSTATUS=stopping, \(inFlight) in flight")
        System.say("\(options.name): stopping, \(inFlight) in flight")
        closeListeners()
        for handler in connections.values { handler.closeIfIdle() }
        exitIfDone()
    }

    private func closeListeners() {
        acceptor?.stop()
        for channel in listeners { channel.close(promise: nil) }
        listeners = []
    }

    private func exitIfDone() {
        guard isStopping, connections.isEmpty else { return }
        System.say("\(options.name): stopped")
        System.exit(0)
    }

    func opened(_ handler: RequestHandler) {
        connections[ObjectIdentifier(handler)] = handler
        if isStopping { handler.closeIfIdle() }
    }

    func closed(_ handler: RequestHandler) {
        connections[ObjectIdentifier(handler)] = nil
        exitIfDone()
    }

    func requestBegan() {
        inFlight += 1
        notifier?.report(inFlight: inFlight, now: isStopping)
    }

    func requestEnded() {
        inFlight -= 1
        notifier?.report(inFlight: inFlight, now: isStopping)
    }
}

// What a good worker does not do.
extension Worker {
    private func startMischief() {
        if let delay = options.crashAfter {
            after(delay) { worker in
                System.complain("told to crash")
                System.crash(worker.options.crash)
            }
        }
        if let delay = options.hangAfter {
            after(delay) { _ in System.hang() }
        }
        if options.leakBytesPerSecond > 0 {
            let bytes = max(1, options.leakBytesPerSecond / 10)
            repeatTask(every: .milliseconds(100)) { _ in System.leak(bytes: bytes) }
        }
        if options.logLinesPerSecond > 0 { startFlood(options.logLinesPerSecond) }
    }

    private func startFlood(_ perSecond: Int) {
        let began = NIODeadline.now()
        repeatTask(every: .milliseconds(10)) { worker in
            let elapsed = (NIODeadline.now() - began).nanoseconds
            let due = Int(elapsed / 1_000) * perSecond / 1_000_000
            // One piece per turn, so that the loop still answers when the flood cannot be kept up.
            let end = min(due, worker.floodLines + max(1, perSecond / 20))
            var lines = ""
            while worker.floodLines < end {
                worker.floodLines += 1
                lines += "flood line \(worker.floodLines) of \(worker.options.name)\n"
            }
            if !lines.isEmpty { System.say(String(lines.dropLast())) }
        }
    }
}

/// Turns the first SIGTERM or SIGINT into the orderly stop.
private final class SignalHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let worker: Worker

    init(worker: Worker) {
        self.worker = worker
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        worker.stop()
    }
}
