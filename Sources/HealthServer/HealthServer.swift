public import Metrics
public import NIOCore
import NIOPosix
public import StatusBoard
public import SupervisorCore

/// What can go wrong with the health ports as a whole.
public enum HealthServerError: Error, CustomStringConvertible {
    /// The descriptor could not be taken over as a listening socket.
    case listener(descriptor: CInt, reason: String)

    public var description: String {
        switch self {
        case .listener(let descriptor, let reason): "cannot serve health on descriptor \(descriptor): \(reason)"
        }
    }
}

/// Health over HTTP, metrics, and the HAProxy agent port (INTERFACE.md §3). Reads the status board; changes nothing.
///
/// Everything happens on one event loop, which is not supervision's, so that neither can delay the other.
public final class HealthServer: Sendable {
    private let loop: any EventLoop
    private let service: NIOLoopBound<HealthService>
    private let channels: [any Channel]

    /// Addresses of the health listeners, in the order of their descriptors, with the ports the kernel chose.
    public let boundAddresses: [SocketAddress]
    /// Addresses of the agent listeners.
    public let agentAddresses: [SocketAddress]

    private init(
        loop: any EventLoop,
        service: NIOLoopBound<HealthService>,
        channels: [any Channel],
        agentChannels: [any Channel]
    ) {
        self.loop = loop
        self.service = service
        self.channels = channels + agentChannels
        boundAddresses = channels.compactMap(\.localAddress)
        agentAddresses = agentChannels.compactMap(\.localAddress)
    }

    /// Starts to serve.
    ///
    /// - Parameters:
    ///   - listeners: bound, listening stream sockets; taken over, whatever the outcome.
    ///   - agentListeners: the same, for the HAProxy agent.
    ///   - board: where supervision publishes. Its one observer becomes this server.
    ///   - version: the daemon's version, for `eider_build_info`.
    ///   - loop: a loop of NIOPosix.
    ///   - clock: the host's monotonic clock.
    ///   - heartbeatLimit: the age of supervision's heartbeat at which `/livez` turns to 503.
    ///   - processFigures: reads what the daemon's process uses; called on the loop for a scrape, at most once a second
    ///     while nothing is published.
    /// - Returns: fails with `HealthServerError` when one of the listeners cannot be served; then none is.
    public static func start(
        listeners: [CInt],
        agentListeners: [CInt] = [],
        board: StatusBoard,
        version: String,
        loop: any EventLoop,
        clock: @escaping @Sendable () -> MonotonicInstant,
        heartbeatLimit: Duration = .seconds(5),
        limits: HealthServerLimits = HealthServerLimits(),
        processFigures: @escaping @Sendable () -> ProcessFigures? = { nil }
    ) -> EventLoopFuture<HealthServer> {
        loop.flatSubmit {
            let service = HealthService(
                board: board,
                version: version,
                clock: clock,
                heartbeatLimit: heartbeatLimit,
                limits: limits,
                processFigures: processFigures
            )
            let bound = NIOLoopBound(service, eventLoop: loop)
            board.observe { loop.execute { bound.value.refresh() } }
            // Something may have been published between the first rendering and now.
            service.refresh()
            let web = listeners.map { listen($0, bound, loop) { ConnectionHandler($0) } }
            let agents = agentListeners.map { listen($0, bound, loop) { AgentHandler($0) } }
            let interval = TimeAmount.nanoseconds(max(1_000_000, limits.sweepInterval.clampedNanoseconds))
            return EventLoopFuture.whenAllComplete(web + agents, on: loop).flatMapThrowing { results in
                let channels = results.compactMap { try? $0.get() }
                do {
                    for result in results { _ = try result.get() }
                } catch {
                    board.observe {}
                    for channel in channels { channel.close(promise: nil) }
                    throw error
                }
                bound.value.callLater = { loop.scheduleTask(in: interval) { bound.value.timeForSweep() } }
                return HealthServer(
                    loop: loop,
                    service: bound,
                    channels: Array(channels.prefix(web.count)),
                    agentChannels: Array(channels.dropFirst(web.count))
                )
            }
        }
    }

    private static func listen(
        _ descriptor: CInt,
        _ service: NIOLoopBound<HealthService>,
        _ loop: any EventLoop,
        _ makeHandler: @escaping @Sendable (HealthService) -> any ChannelHandler
    ) -> EventLoopFuture<any Channel> {
        let waterMark = ChannelOptions.Types.WriteBufferWaterMark(
            low: service.value.limits.unreadAnswerBytes / 4,
            high: service.value.limits.unreadAnswerBytes
        )
        return ServerBootstrap(group: loop)
            .serverChannelOption(.maxMessagesPerRead, value: 16)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptGuard(service.value))
                }
            }
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.writeBufferWaterMark, value: waterMark)
            .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 4096))
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(makeHandler(service.value))
                }
            }
            .withBoundSocket(descriptor)
            .flatMapErrorThrowing { error in
                throw HealthServerError.listener(descriptor: descriptor, reason: "\(error)")
            }
    }

    /// Becomes complete when a listener has been closed, by `stop` or by an error of the kernel's.
    public var listenerClosed: EventLoopFuture<Void> {
        let promise = loop.makePromise(of: Void.self)
        if channels.isEmpty { promise.succeed() }
        for channel in channels { channel.closeFuture.whenComplete { _ in promise.succeed() } }
        return promise.futureResult
    }

    /// Whether this server's loop answers `/livez` with 200: one round trip through the loop, for the daemon's own
    /// watchdog.
    public func selfCheck() -> EventLoopFuture<Bool> {
        loop.submit { [service] in service.value.selfCheck() }
    }

    /// Who asks whether to route, in the order of their first request (`HealthServerLimits.probers`).
    public func probers() -> EventLoopFuture<[ProberSighting]> {
        loop.submit { [service] in service.value.probers.sightings() }
    }

    /// As `probers`; may be called from any thread.
    ///
    /// - Parameter reply: is called once, on this server's loop, and must return at once.
    public func lookAtProbers(_ reply: @escaping @Sendable ([ProberSighting]) -> Void) {
        loop.execute { [service] in reply(service.value.probers.sightings()) }
    }

    /// Stops listening, gives those who were accepted and have had no answer yet `patience` to be answered, and closes
    /// every connection.
    public func stop(patience: Duration = .milliseconds(250)) -> EventLoopFuture<Void> {
        // A sweep that is still due finds nobody to hold to a limit.
        let closed = channels.map { channel in channel.close().flatMapError { _ in channel.closeFuture } }
        let polls = Int(max(0, patience.clampedNanoseconds) / Self.answerPollInterval.nanoseconds)
        return EventLoopFuture.andAllComplete(closed, on: loop)
            .flatMap { [loop, service] in Self.waitForAnswers(service, loop, polls: polls, quiet: 0) }
            .map { [service] in
                service.value.board.observe {}
                service.value.closeAll()
            }
    }

    private static let answerPollInterval = TimeAmount.milliseconds(5)

    private static func waitForAnswers(
        _ service: NIOLoopBound<HealthService>,
        _ loop: any EventLoop,
        polls: Int,
        quiet: Int
    ) -> EventLoopFuture<Void> {
        // Twice in a row: a connection that was accepted last may not have come to its handler yet.
        let quiet = service.value.owesAnswers ? 0 : quiet + 1
        if polls <= 0 || quiet > quietPolls { return loop.makeSucceededVoidFuture() }
        return loop.scheduleTask(in: answerPollInterval) {}.futureResult
            .flatMap { waitForAnswers(service, loop, polls: polls - 1, quiet: quiet) }
    }

    private static let quietPolls = 2
}
