import LinuxPlatform
import NIOCore
import NIOHTTP1
import NIOPosix

/// The service itself. Lives on one event loop, which is the main thread.
final class Worker {
    let options: WorkerOptions
    let loop: any EventLoop
    private let notifier: Notifier?
    /// Calls a dependency; nil where there is no breaker socket.
    private let caller: DependencyCaller?
    /// The socket of its own, and NIO's hold of it.
    private var listener: (socket: SharedDescriptor, channel: any Channel)?
    /// Of passed sockets.
    private var acceptor: Acceptor?
    private var isAccepting = false
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
        caller = options.breakerSocket.map { DependencyCaller(options.dependency, socket: $0) }
    }

    func start(signals: Int32) {
        watch(signals: signals)
        Children.start(options)
        startMischief()
        startCalls()
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

    /// How its calls to a dependency went.
    var callsText: String { caller?.text ?? "no breaker socket" }

    private func startCalls() {
        do throws(SystemError) {
            try caller?.start()
        } catch {
            System.complain("cannot call a dependency: \(error)")
        }
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
        do {
            let address = try SocketAddress.makeAddressResolvingHost(options.host, port: options.port ?? 0)
            let host = address.ipAddress ?? options.host
            let socket = try TCPListener.listen(host: host, port: options.port ?? 0, backlog: 512)
            let port = try TCPListener.port(of: socket.rawValue)
            try serve(SharedDescriptor(socket.release()), "listening on \(host):\(port)")
        } catch {
            let reason = (error as? SystemError).map { System.errorText($0.errno) } ?? "\(error)"
            let place = "\(options.host):\(options.port ?? 0)"
            System.complain("cannot listen on \(place): \(reason); use another --port, or end whoever has it")
            System.exit(1)
        }
    }

    /// NIO accepts, by a duplicate: when its channel is closed, the socket still holds what waits to be accepted.
    private func serve(_ socket: SharedDescriptor, _ text: String) throws(SystemError) {
        ServerBootstrap(group: loop)
            .childChannelInitializer(initializer())
            .withBoundSocket(try FileDescriptors.duplicate(socket.rawValue).release())
            .assumeIsolated().whenComplete { result in
                switch result {
                case .success(let channel):
                    self.listener = (socket, channel)
                    if self.isStopping { return self.stopAccepting() }
                    self.becomeReady(text)
                case .failure(let error):
                    System.complain("cannot accept: \(error)")
                    System.exit(1)
                }
            }
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
        let bound = NIOLoopBound(self, eventLoop: loop)
        do {
            isAccepting = true
            acceptor = try Acceptor(descriptors) { [loop] connection in
                loop.execute { bound.value.take(connection) }
            } onEnd: { [loop] in
                loop.execute { bound.value.acceptedLast() }
            }
            becomeReady("listening on \(descriptors.count) passed socket(s)")
        } catch {
            System.complain("cannot listen on the passed sockets: \(error); are they listening stream sockets?")
            System.exit(1)
        }
    }

    /// Serves a connection that NIO did not accept, and owns it.
    private func take(_ connection: Int32) {
        // On the loop, so that its handler is one of ours before anything else happens.
        _ = ClientBootstrap(group: loop).channelInitializer(initializer()).withConnectedSocket(connection)
    }

    private func acceptedLast() {
        isAccepting = false
        exitIfDone()
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
        stopAccepting()
        // Not at once: a proxy may be sending on a connection that it has kept. It is answered, and told to close it.
        after(options.linger) { worker in
            for handler in worker.connections.values { handler.closeIfIdle() }
        }
        exitIfDone()
    }

    /// What connected to a socket of its own is served; a passed one is left to the others.
    private func stopAccepting() {
        acceptor?.stop()
        guard let listener else { return }
        self.listener = nil
        listener.channel.close(promise: nil)
        while let connection = try? UnixSocket.accept(listener.socket.rawValue) { take(connection.release()) }
    }

    private func exitIfDone() {
        guard isStopping, connections.isEmpty, !isAccepting else { return }
        System.say("\(options.name): stopped")
        System.exit(0)
    }

    func opened(_ handler: RequestHandler) {
        connections[ObjectIdentifier(handler)] = handler
        // It waited to be accepted; what it wants may not have been read yet.
        if isStopping { after(options.linger) { _ in handler.closeIfIdle() } }
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
