import NIOCore
import NIOHTTP1
import SupervisorCore

/// Puts the request on the wire as it was rendered once, and bounds the head of the answer before it is decoded.
final class RequestWriter: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = HTTPClientRequestPart
    typealias OutboundOut = ByteBuffer

    /// nil when it is on its way already.
    private let request: ByteBuffer?
    private let owner: any ExchangeOwner
    private(set) var seen = 0
    /// The bound has done its work.
    var isHeadOver = false

    init(_ request: ByteBuffer?, owner: any ExchangeOwner) {
        self.request = request
        self.owner = owner
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .head = unwrapOutboundIn(data), let request else {
            promise?.succeed()
            return
        }
        context.write(wrapOutboundOut(request), promise: promise)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        let left = max(0, owner.limits.headBytes - seen)
        seen += bytes.readableBytes
        if !isHeadOver, bytes.readableBytes > left {
            if let first = bytes.readSlice(length: left), left > 0 { context.fireChannelRead(wrapInboundOut(first)) }
            if !isHeadOver {
                return owner.finish(.failure("answered with a head of more than \(owner.limits.headBytes) bytes"))
            }
        }
        context.fireChannelRead(wrapInboundOut(bytes))
    }
}

/// Asks over HTTP/1.1 and judges the head of the answer, as the kubelet does: 200 to 399 is success.
final class HTTPExchange: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let head: HTTPRequestHead
    private let owner: any ExchangeOwner
    private let writer: RequestWriter
    /// The clause of a failure whose text is still being read.
    private var clause: String?
    private var body: [UInt8] = []

    init(_ head: HTTPRequestHead, _ writer: RequestWriter, owner: any ExchangeOwner) {
        self.head = head
        self.writer = writer
        self.owner = owner
    }

    static func addHandlers(
        to pipeline: ChannelPipeline.SynchronousOperations,
        _ plan: ProbePlan,
        isAsked: Bool = false,
        _ owner: any ExchangeOwner
    ) throws {
        let writer = RequestWriter(isAsked ? nil : plan.request, owner: owner)
        try pipeline.addHandler(writer)
        try pipeline.addHandler(ByteToMessageHandler(HTTPResponseDecoder()))
        try pipeline.addHandler(HTTPExchange(plan.head, writer, owner: owner))
    }

    func channelActive(context: ChannelHandlerContext) {
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): judge(head)
        case .body(let bytes): read(bytes)
        case .end: if clause != nil { fail() }
        }
    }

    private func judge(_ head: HTTPResponseHead) {
        guard clause == nil else { return }
        writer.isHeadOver = true
        let code = head.status.code
        if (200...399).contains(code) { return owner.finish(.success) }
        // The phrase on the wire is foreign text and says nothing more.
        let phrase = HTTPResponseStatus(statusCode: Int(code)).reasonPhrase
        let text = "answered \(code)" + (phrase.isEmpty || code > 599 ? "" : " \(phrase)")
        clause = text
        owner.provisional = .failure(text)
        // Nobody can read what is compressed.
        if head.headers.contains(name: "content-encoding") { fail() }
    }

    private func read(_ bytes: ByteBuffer) {
        guard clause != nil else { return }
        body += bytes.readableBytesView.prefix(owner.limits.bodyBytes - body.count)
        let text = body.drop { $0 == 0x20 || (0x09...0x0d).contains($0) }
        let isLine = text.contains(UInt8(ascii: "\n")) || text.count >= owner.limits.textBytes
        if isLine || body.count >= owner.limits.bodyBytes { fail() }
    }

    private func fail() {
        let text = Printable.firstLine(of: body, limit: owner.limits.textBytes)
        owner.finish(.failure(clause ?? "failed", said: text))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if clause != nil { return fail() }
        switch error {
        case is IOError, is ChannelError: owner.finish(Clauses.outcome(of: error))
        case HTTPParserError.invalidEOFState: ended()
        case is ByteToMessageDecoderError: ended()
        case HTTPParserError.headerOverflow: owner.finish(.failure("answered with too many header fields"))
        default: owner.finish(.failure("answered something that is not HTTP"))
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        if clause == nil { ended() } else { fail() }
        context.fireChannelInactive()
    }

    private func ended() {
        owner.finish(.failure(writer.seen == 0 ? Clauses.earlyClose : Clauses.closeInAnswer))
    }
}
