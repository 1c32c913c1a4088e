import NIOCore
import NIOHPACK
import NIOHTTP1
import NIOHTTP2
import SupervisorCore

/// Bounds what a gRPC server may send in all.
final class ByteBudget: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let owner: any ExchangeOwner
    private var left: Int

    init(_ bytes: Int, owner: any ExchangeOwner) {
        left = bytes
        self.owner = owner
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        let isTooMuch = bytes.readableBytes > left
        if let taken = bytes.readSlice(length: min(left, bytes.readableBytes)), taken.readableBytes > 0 {
            left -= taken.readableBytes
            context.fireChannelRead(wrapInboundOut(taken))
        }
        if isTooMuch {
            owner.finish(.failure("answered with more than \(owner.limits.connectionBytes) bytes"))
        }
    }
}

/// One call of `grpc.health.v1.Health/Check` on the only stream of a connection (gRPC over HTTP/2).
final class CallExchange: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    private static let stream = HTTP2StreamID(1)
    private static let noStatus = "ended its answer without a grpc-status"

    private let headers: HPACKHeaders
    private let owner: any ExchangeOwner
    private var reply: HealthCheckReply
    private var speaksHTTP2 = false
    /// The head of the answer has come.
    private var isAnswering = false

    init(_ headers: HPACKHeaders, owner: any ExchangeOwner) {
        self.headers = headers
        self.owner = owner
        reply = HealthCheckReply(limit: owner.limits.messageBytes)
    }

    static func addHandlers(
        to pipeline: ChannelPipeline.SynchronousOperations,
        _ plan: ProbePlan,
        _ owner: any ExchangeOwner
    ) throws {
        var connection = NIOHTTP2Handler.ConnectionConfiguration()
        connection.initialSettings = [
            HTTP2Setting(parameter: .enablePush, value: 0), HTTP2Setting(parameter: .maxConcurrentStreams, value: 0),
            HTTP2Setting(parameter: .maxHeaderListSize, value: owner.limits.headerListBytes),
        ]
        connection.maximumBufferedControlFrames = 64
        try pipeline.addHandler(ByteBudget(owner.limits.connectionBytes, owner: owner))
        try pipeline.addHandler(NIOHTTP2Handler(mode: .client, connectionConfiguration: connection))
        try pipeline.addHandler(CallExchange(plan.callHeaders, owner: owner))
    }

    // MARK: The call

    func channelActive(context: ChannelHandlerContext) {
        let head = HTTP2Frame.FramePayload.headers(.init(headers: headers))
        context.write(wrapOutboundOut(HTTP2Frame(streamID: Self.stream, payload: head)), promise: nil)
        // An empty message: the whole server is meant.
        let message = context.channel.allocator.buffer(repeating: 0, count: 5)
        let body = HTTP2Frame.FramePayload.data(.init(data: .byteBuffer(message), endStream: true))
        context.writeAndFlush(wrapOutboundOut(HTTP2Frame(streamID: Self.stream, payload: body)), promise: nil)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        speaksHTTP2 = true
        if case .goAway(let last, let code, _) = frame.payload {
            // A call that the server has taken on is still answered.
            if last < Self.stream { fail("is going away (\(Self.name(of: code)))") }
            return
        }
        guard frame.streamID == Self.stream else { return }
        switch frame.payload {
        case .headers(let head): read(head)
        case .data(let data): read(data)
        case .rstStream(let code): fail("reset the call (\(Self.name(of: code)))")
        default: break
        }
    }

    private func read(_ head: HTTP2Frame.FramePayload.Headers) {
        if isAnswering { return head.endStream ? judge(head.headers) : fail("answered with misplaced header fields") }
        let code = head.headers.first(name: ":status").flatMap { Int($0) } ?? 0
        if (100...199).contains(code) { return }
        guard code == 200 else {
            let phrase = HTTPResponseStatus(statusCode: code).reasonPhrase
            return fail("answered HTTP \(code)" + (phrase.isEmpty || code > 599 ? "" : " \(phrase)"))
        }
        guard head.headers.first(name: "content-type")?.hasPrefix("application/grpc") == true else {
            return fail("answered something that is not gRPC")
        }
        isAnswering = true
        // An answer may be its trailers only.
        if head.endStream { judge(head.headers) }
    }

    private func read(_ data: HTTP2Frame.FramePayload.Data) {
        guard case .byteBuffer(let bytes) = data.data else { return }
        do {
            try reply.consume(bytes.readableBytesView)
        } catch {
            switch error {
            case .compressed: fail("answered with a compressed message")
            case .malformed: fail("answered with a malformed message")
            case .tooLong(let length): fail("answered with a message of \(length) bytes")
            }
            return
        }
        if data.endStream { fail(Self.noStatus) }
    }

    private func judge(_ trailers: HPACKHeaders) {
        guard let text = trailers.first(name: "grpc-status") else { return fail(Self.noStatus) }
        guard text == "0" else {
            let limit = owner.limits.textBytes
            guard let code = Int(text), Self.statusNames.indices.contains(code) else {
                let said = Printable.firstLine(of: text.utf8, limit: limit)
                return owner.finish(.failure("answered an unknown grpc-status", said: said))
            }
            let clause = "answered grpc-status \(code) (\(Self.statusNames[code]))"
            let message = Printable.firstLine(of: (trailers.first(name: "grpc-message") ?? "").utf8, limit: limit)
            return owner.finish(.failure(clause, said: message))
        }
        switch reply.status {
        case .serving: owner.finish(.success)
        case .some(let status): fail("is \(status.name)")
        case nil: fail(reply.isEmpty ? "answered without a message" : "broke off its message")
        }
    }

    private func fail(_ clause: String) {
        owner.finish(.failure(clause))
    }

    // MARK: The connection

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case is IOError, is ChannelError: owner.finish(Clauses.outcome(of: error))
        case is NIOHTTP2Errors.ExcessivelyLargeHeaderBlock: fail("answered with too many header fields")
        default: fail(speaksHTTP2 ? "broke the rules of HTTP/2" : "answered something that is not HTTP/2")
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(isAnswering ? Clauses.closeInAnswer : Clauses.earlyClose)
        context.fireChannelInactive()
    }

    // MARK: Names

    /// Of gRPC's status codes, by number.
    private static let statusNames = [
        "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
        "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
        "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
    ]

    /// Of HTTP/2's error codes, by number (RFC 9113, 7).
    private static let errorNames = [
        "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
        "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
    ]

    private static func name(of code: HTTP2ErrorCode) -> String {
        errorNames.indices.contains(code.networkCode) ? errorNames[code.networkCode] : "error \(code.networkCode)"
    }
}
