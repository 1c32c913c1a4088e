import NIOCore
import NIOHTTP1
import NIOPosix

/// Asks the daemon over its control socket.
struct DaemonClient: Sendable {
    /// How long an answer may take that the daemon has ready.
    static let answerTime: Duration = .seconds(5)
    /// Bytes of one answer, and of one line of a stream.
    static let answerBytes = 256 << 20

    struct Answer: Sendable {
        var status: Int
        var body: [UInt8]
    }

    let socket: String
    /// For what the daemon has ready, and for a stream to begin.
    var patience = Self.answerTime

    /// Asks, and waits for the whole answer.
    ///
    /// - Parameter patient: the daemon may take as long as it takes.
    /// - Throws: `Failure` when it cannot be reached or the answer is an error.
    func ask(_ method: HTTPMethod, _ uri: String, patient: Bool = false) throws -> [UInt8] {
        do {
            let answer = try start(method, uri, patient: patient).wait()
            return try checked(answer)
        } catch let failure as Failure {
            throw failure
        } catch {
            throw unreachable(error)
        }
    }

    /// The same, without waiting.
    func start(_ method: HTTPMethod, _ uri: String, patient: Bool = false) -> EventLoopFuture<Answer> {
        if !patient { return exchange(method, uri, limit: TimeAmount(patience), onPart: nil) }
        // What may take its time is asked of a daemon that lives. While none does, the shim keeps the socket open: the
        // request would wait for the next one, and be carried out when nobody expects it any more.
        return exchange(.GET, "/v1/version", limit: TimeAmount(patience), onPart: nil).flatMap { _ in
            exchange(method, uri, limit: nil, onPart: nil)
        }
    }

    /// Gives every line of the answer to `onLine`, on a thread of its own, until it ends.
    func stream(_ uri: String, onLine: @escaping @Sendable (String) -> Void) throws {
        let lines = LineSplitter(onLine)
        do {
            let answer = try exchange(.GET, uri, limit: TimeAmount(patience)) { lines.take($0) }.wait()
            _ = try checked(answer)
        } catch let failure as Failure {
            throw failure
        } catch {
            throw unreachable(error)
        }
    }

    private func exchange(
        _ method: HTTPMethod,
        _ uri: String,
        limit: TimeAmount?,
        onPart: (@Sendable (ByteBuffer) -> Void)?
    ) -> EventLoopFuture<Answer> {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let promise = loop.makePromise(of: Answer.self)
        ClientBootstrap(group: loop)
            .connectTimeout(.seconds(5))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHTTPClientHandlers()
                    try pipeline.addHandler(
                        ExchangeHandler(method: method, uri: uri, limit: limit, promise: promise, onPart: onPart)
                    )
                }
            }
            .connect(unixDomainSocketPath: socket)
            .whenFailure { promise.fail($0) }
        return promise.futureResult
    }

    /// - Throws: what the daemon answered instead of doing it.
    func checked(_ answer: Answer) throws -> [UInt8] {
        if (200..<300).contains(answer.status) { return answer.body }
        guard let error = try? JSONText.decode(ErrorDocument.self, answer.body).error else {
            throw Failure(
                .unreachable,
                "unreachable",
                "cannot use the answer (HTTP \(answer.status)) of whatever listens at \(socket): it is no eiderd"
            )
        }
        throw Failure(status: answer.status, name: error.code, message: error.message)
    }

    /// Why the daemon was not reached, and what to do next.
    func unreachable(_ error: any Error) -> Failure {
        let reason: String
        switch error {
        case let error as IOError where error.errnoCode == 13:
            return Failure(
                .notPermitted,
                "not-permitted",
                "cannot open the control socket \(socket): Permission denied\n"
                    + "run it as root, or as a user of control.admins or control.readers in the daemon's configuration"
            )
        case let error as IOError: reason = Self.words(error.errnoCode)
        case is TimedOut:
            let time = TimeText.brief(patience / .seconds(1))
            return Failure(
                .unreachable,
                "unreachable",
                "cannot get an answer from the daemon at \(socket) within \(time): it has stalled, or it died and was "
                    + "not started again\ntry systemctl status eiderd, and look at its log"
            )
        case is Disconnected: reason = "it closed the connection without an answer"
        case SocketAddressError.unixDomainSocketPathTooLong: reason = "the path is longer than 107 bytes"
        default: reason = "\(error)"
        }
        return Failure(
            .unreachable,
            "unreachable",
            "cannot reach the daemon at \(socket): \(reason); is eiderd running?\n"
                + "try systemctl status eiderd, or name its socket with --socket or EIDER_SOCKET"
        )
    }

    private static func words(_ number: CInt) -> String {
        switch number {
        case 2: "No such file"
        case 111: "Connection refused"
        case 11: "it is too busy to take another connection"
        case 104, 32: "it closed the connection without an answer"
        case 20: "Not a directory"
        case 91: "it is not a stream socket"
        default: "error \(number)"
        }
    }
}

struct TimedOut: Error {}
struct Disconnected: Error {}

/// One request and its answer, on a connection of its own.
private final class ExchangeHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let method: HTTPMethod
    private let uri: String
    private let limit: TimeAmount?
    private let promise: EventLoopPromise<DaemonClient.Answer>
    private let onPart: (@Sendable (ByteBuffer) -> Void)?
    private var answer = DaemonClient.Answer(status: 0, body: [])
    private var timeout: Scheduled<Void>?

    init(
        method: HTTPMethod,
        uri: String,
        limit: TimeAmount?,
        promise: EventLoopPromise<DaemonClient.Answer>,
        onPart: (@Sendable (ByteBuffer) -> Void)?
    ) {
        self.method = method
        self.uri = uri
        self.limit = limit
        self.promise = promise
        self.onPart = onPart
    }

    func channelActive(context: ChannelHandlerContext) {
        var head = HTTPRequestHead(version: .http1_1, method: method, uri: uri)
        head.headers.add(name: "Host", value: "eider")
        head.headers.add(name: "Connection", value: "close")
        if method == .POST { head.headers.add(name: "Content-Length", value: "0") }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        guard let limit else { return }
        let promise = promise
        let channel = context.channel
        timeout = context.eventLoop.scheduleTask(in: limit) {
            promise.fail(TimedOut())
            channel.close(promise: nil)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            answer.status = Int(head.status.code)
            // A stream that has begun may be silent for as long as the workers are.
            if onPart != nil { timeout?.cancel() }
        case .body(let part):
            if let onPart, answer.status == 200 {
                onPart(part)
            } else if answer.body.count + part.readableBytes <= DaemonClient.answerBytes {
                answer.body += part.readableBytesView
            } else {
                promise.fail(Failure(.failed, "too-large", "cannot take the answer: it is too long"))
                context.close(promise: nil)
            }
        case .end:
            timeout?.cancel()
            promise.succeed(answer)
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        timeout?.cancel()
        promise.fail(Disconnected())
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        timeout?.cancel()
        promise.fail(error is HTTPParserError ? Disconnected() : error)
        context.close(promise: nil)
    }
}
