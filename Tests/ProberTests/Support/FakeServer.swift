import Glibc
import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
import Synchronization

@testable import Prober

/// A server that does what a script says with each connection.
final class FakeServer: Sendable {
    enum Act: Sendable {
        /// Waits until so many bytes, or `\r\n\r\n`, have come.
        case readRequest
        case send(String)
        case sendBytes([UInt8])
        /// One byte every so many milliseconds.
        case drip(String, every: Int)
        /// Sends the same for ever.
        case flood(String)
        case close
        /// Ends the connection with RST.
        case reset
    }

    private let channel: any Channel
    private let journal: Journal

    final class Journal: Sendable {
        let requests = Mutex<[String]>([])
        let open = Mutex(0)
        let accepted = Mutex(0)
    }

    private init(_ channel: any Channel, _ journal: Journal) {
        self.channel = channel
        self.journal = journal
    }

    deinit { channel.close(promise: nil) }

    static func start(_ script: [Act], host: String = "127.0.0.1") async throws -> FakeServer {
        let journal = Journal()
        let channel = try await bootstrap { ScriptHandler(script, journal) }
            .bind(host: host, port: 0).get()
        return FakeServer(channel, journal)
    }

    /// A gRPC server: answers each call with these frames.
    static func grpc(_ frames: [HTTP2Frame], thenClose: Bool = false) async throws -> FakeServer {
        let journal = Journal()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(NIOHTTP2Handler(mode: .server))
                    try pipeline.addHandler(CallHandler(frames, thenClose: thenClose, journal))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return FakeServer(channel, journal)
    }

    private static func bootstrap(_ make: @escaping @Sendable () -> any ChannelHandler) -> ServerBootstrap {
        ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: 1024)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(make()) }
            }
    }

    var port: Int { channel.localAddress?.port ?? 0 }
    var requests: [String] { journal.requests.withLock { $0 } }
    var open: Int { journal.open.withLock { $0 } }
    var accepted: Int { journal.accepted.withLock { $0 } }

    var http: ProbeQuestion? { ProbeQuestion(httpURL: "http://127.0.0.1:\(port)/ready?full=1") }
    var tcp: ProbeQuestion? { ProbeQuestion(tcpAddress: "127.0.0.1:\(port)") }
    var grpc: ProbeQuestion? { ProbeQuestion(grpcAddress: "127.0.0.1:\(port)") }

    /// A port on which nobody listens.
    static func unusedPort() async throws -> Int {
        let server = try await start([])
        let port = server.port
        try await server.channel.close()
        return port
    }

    func stop() async throws { try await channel.close() }
}

private final class ScriptHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var script: ArraySlice<FakeServer.Act>
    private let journal: FakeServer.Journal
    private var received = ""
    private var isWaiting = false

    init(_ script: [FakeServer.Act], _ journal: FakeServer.Journal) {
        self.script = script[...]
        self.journal = journal
    }

    func channelActive(context: ChannelHandlerContext) {
        journal.open.withLock { $0 += 1 }
        journal.accepted.withLock { $0 += 1 }
        goOn(context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        journal.open.withLock { $0 -= 1 }
        script = []
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        received += String(buffer: unwrapInboundIn(data))
        if isWaiting, received.hasSuffix("\r\n\r\n") || received.hasPrefix("PRI ") {
            isWaiting = false
            journal.requests.withLock { $0.append(received) }
            goOn(context)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func goOn(_ context: ChannelHandlerContext) {
        while context.channel.isActive, let act = script.popFirst() {
            switch act {
            case .readRequest:
                isWaiting = true
                return
            case .send(let text): send(ByteBuffer(string: text), context)
            case .sendBytes(let bytes): send(ByteBuffer(bytes: bytes), context)
            case .drip(let text, let interval): return drip(Array(text.utf8)[...], interval, context)
            case .flood(let text): return flood(text, context)
            case .close: context.close(promise: nil)
            case .reset:
                var linger = linger()
                linger.l_onoff = 1
                _ = (context.channel as? any SocketOptionProvider)?.setSoLinger(linger)
                context.close(promise: nil)
            }
        }
    }

    private func send(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
    }

    private func drip(_ bytes: ArraySlice<UInt8>, _ interval: Int, _ context: ChannelHandlerContext) {
        guard context.channel.isActive, let first = bytes.first else { return goOn(context) }
        send(ByteBuffer(bytes: [first]), context)
        context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(Int64(interval))) {
            self.drip(bytes.dropFirst(), interval, context)
        }
    }

    private func flood(_ text: String, _ context: ChannelHandlerContext) {
        guard context.channel.isActive else { return }
        let sent = context.eventLoop.makePromise(of: Void.self)
        sent.futureResult.assumeIsolated().whenSuccess { self.flood(text, context) }
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: sent)
    }
}

private final class CallHandler: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    private let frames: [HTTP2Frame]
    private let thenClose: Bool
    private let journal: FakeServer.Journal
    private var call = ""

    init(_ frames: [HTTP2Frame], thenClose: Bool, _ journal: FakeServer.Journal) {
        self.frames = frames
        self.thenClose = thenClose
        self.journal = journal
    }

    func channelActive(context: ChannelHandlerContext) {
        journal.open.withLock { $0 += 1 }
        journal.accepted.withLock { $0 += 1 }
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        journal.open.withLock { $0 -= 1 }
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data).payload {
        case .headers(let head):
            call += head.headers.map { "\($0.name): \($0.value)\n" }.joined()
        case .data(let data):
            if case .byteBuffer(let bytes) = data.data { call += "\(Array(bytes.readableBytesView))" }
            guard data.endStream else { return }
            journal.requests.withLock { $0.append(call) }
            for frame in frames { context.writeAndFlush(wrapOutboundOut(frame), promise: nil) }
            if thenClose { context.close(promise: nil) }
        default: break
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
