import ControlProtocol
public import NIOCore
import NIOHTTP1
import NIOPosix
public import StatusBoard
public import SupervisorCore

/// The control socket: HTTP/1.1 over a Unix stream socket (INTERFACE.md §4).
///
/// It lives on one event loop and blocks neither that nor supervision: status comes from the board, commands go to the
/// port and are answered when it replies, the user database is asked on a thread of its own.
public final class ControlServer: Sendable {
    private let listener: any Channel
    private let service: NIOLoopBound<ControlService>

    private init(listener: any Channel, service: NIOLoopBound<ControlService>) {
        self.listener = listener
        self.service = service
    }

    /// Serves `listener` from now on.
    ///
    /// - Parameters:
    ///   - listener: a Unix stream socket, bound and listening; closed by the server when it stops.
    ///   - board: where status is read.
    ///   - port: what carries commands out.
    ///   - access: who may do what, asked once for each connection: it may change.
    ///   - version: the daemon's, for `GET /v1/version`.
    ///   - loop: where the server lives.
    ///   - clock: the monotonic clock.
    /// - Returns: fails with what NIO says when the descriptor cannot be served.
    public static func start(
        listener: CInt,
        board: StatusBoard,
        port: any SupervisorPort,
        access: @escaping @Sendable () -> AccessPolicy,
        version: String,
        loop: any EventLoop,
        limits: ControlLimits = ControlLimits(),
        clock: @escaping @Sendable () -> MonotonicInstant
    ) -> EventLoopFuture<ControlServer> {
        loop.flatSubmit {
            let responder = Responder(
                board: board,
                port: port,
                version: version,
                clock: clock,
                eventsPerTurn: limits.eventsPerTurn
            )
            let service = NIOLoopBound(
                ControlService(responder: responder, access: access, limits: limits, loop: loop),
                eventLoop: loop
            )
            return ServerBootstrap(group: loop)
                .childChannelOption(.allowRemoteHalfClosure, value: true)
                .childChannelOption(.maxMessagesPerRead, value: 4)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try service.value.take(channel)
                    }
                }
                .withBoundSocket(listener)
                .map { ControlServer(listener: $0, service: service) }
        }
    }

    /// Stops listening and closes every connection; a command that is going on goes on.
    ///
    /// - Parameter leavingThreads: the process is about to end, and the thread for look-ups ends with it: NIO would end
    ///   it by libdispatch, which traps where there are no descriptors left. The server must be kept alive.
    public func stop(leavingThreads: Bool = false) -> EventLoopFuture<Void> {
        let service = service
        return listener.close().flatMap {
            service.value.stop(leavingThreads: leavingThreads)
        }
    }
}

/// What the connections of one server share. Belongs to the event loop.
final class ControlService {
    let responder: Responder
    let limits: ControlLimits
    let register: ConnectionRegister
    private let access: @Sendable () -> AccessPolicy
    private let loop: any EventLoop
    /// For the user database, which may ask the network.
    private let lookups = NIOThreadPool(numberOfThreads: 1)

    init(
        responder: Responder,
        access: @escaping @Sendable () -> AccessPolicy,
        limits: ControlLimits,
        loop: any EventLoop
    ) {
        self.responder = responder
        self.access = access
        self.limits = limits
        self.loop = loop
        register = ConnectionRegister(limits: limits)
        lookups.start()
    }

    /// Sets a new connection up.
    func take(_ channel: any Channel) throws {
        let pipeline = channel.pipeline.syncOperations
        guard register.add(channel) else {
            try pipeline.addHandler(BusyHandler(writeTime: limits.writeTime))
            return
        }
        let register = NIOLoopBound(register, eventLoop: loop)
        channel.closeFuture.assumeIsolated().whenComplete { _ in register.value.remove(channel) }
        var decoding = NIOHTTPDecoderLimitConfiguration()
        decoding.maxHeaderFieldSize = limits.headBytes
        decoding.maxHeaderListSize = limits.headBytes
        decoding.maxHeaderFieldCount = limits.headFields
        try pipeline.configureHTTPServerPipeline(
            withPipeliningAssistance: true,
            withErrorHandling: false,
            withOutboundHeaderValidation: true,
            withEncoderConfiguration: HTTPResponseEncoder.Configuration(),
            withDecoderLimitConfiguration: decoding
        )
        try pipeline.addHandler(ControlHandler(service: self))
    }

    /// Who is at the other end.
    func caller(of channel: any Channel) -> EventLoopFuture<(Caller, AccessPolicy.Level)> {
        let bound = NIOLoopBound(self, eventLoop: loop)
        return PeerCredentials.of(channel).flatMap { peer in
            bound.value.identify(peer).map { identity in
                (Caller(uid: peer.uid, pid: peer.pid, name: identity.name), identity.level)
            }
        }
    }

    private func identify(_ peer: PeerCredentials) -> EventLoopFuture<AccessPolicy.Identity> {
        let key = ConnectionRegister.UserKey(uid: peer.uid, gid: peer.gid)
        if let known = register.identity(key, at: .now()) { return loop.makeSucceededFuture(known) }
        let access = access()
        let found = lookups.runIfActive(eventLoop: loop) { access.identify(uid: peer.uid, gid: peer.gid) }
        let promise = loop.makePromise(of: AccessPolicy.Identity.self)
        let timeout = loop.assumeIsolated().scheduleTask(in: limits.lookupTime) {
            promise.fail(ControlError(.busy, "cannot tell who you are: the user database does not answer; try again"))
        }
        let register = NIOLoopBound(register, eventLoop: loop)
        found.assumeIsolated().whenComplete { result in
            timeout.cancel()
            if case .success(let identity) = result { register.value.remember(identity, key, at: .now()) }
            promise.completeWith(result)
        }
        return promise.futureResult
    }

    func stop(leavingThreads: Bool) -> EventLoopFuture<Void> {
        if !leavingThreads { lookups.shutdownGracefully { _ in } }
        let closed = register.all.map { channel in channel.close().recover { _ in } }
        return EventLoopFuture.andAllComplete(closed, on: loop)
    }
}

/// Turns a connection away for which there is no place.
final class BusyHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let writeTime: TimeAmount

    init(writeTime: TimeAmount) {
        self.writeTime = writeTime
    }

    func channelActive(context: ChannelHandlerContext) {
        let error = ControlError(.busy, "cannot take another connection: all are in use; close one, or try again later")
        let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
        var buffer = context.channel.allocator.buffer(capacity: 512)
        buffer.writeString("\(head)Content-Length: \(error.json.count + 1)\r\n\r\n")
        buffer.writeBytes(error.json)
        buffer.writeString("\n")
        let channel = context.channel
        context.writeAndFlush(wrapOutboundOut(buffer)).whenComplete { _ in channel.close(promise: nil) }
        context.eventLoop.scheduleTask(in: writeTime) { channel.close(promise: nil) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}
}
