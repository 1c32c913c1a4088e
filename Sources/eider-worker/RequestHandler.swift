import NIOCore
import NIOHTTP1

/// Answers one connection. The pipelining handler before it gives it one request at a time.
final class RequestHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let worker: Worker
    private var context: ChannelHandlerContext?
    private var head: HTTPRequestHead?

    init(worker: Worker) {
        self.worker = worker
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        worker.opened(self)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        // The client left before its answer.
        if head != nil { finish() }
        self.context = nil
        worker.closed(self)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            worker.requestBegan()
        case .body:
            break
        case .end:
            if let head { route(head) }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    /// Used when the worker stops: a connection without a request is of no use to anybody then.
    func closeIfIdle() {
        if head == nil { context?.close(promise: nil) }
    }

    private func route(_ head: HTTPRequestHead) {
        let target = RequestTarget(head.uri)
        guard [.GET, .HEAD, .POST].contains(head.method) else {
            return answer(.methodNotAllowed, "use GET or POST", extra: [("Allow", "GET, HEAD, POST")])
        }
        switch target.path {
        case "/":
            answer(.ok, "\(worker.options.name) pid \(System.pid)")
        case "/ready":
            let text = worker.isReady ? "ready" : worker.isStopping ? "stopping" : "not ready"
            answer(worker.isReady ? worker.readyStatus : .serviceUnavailable, text)
        case "/live":
            answer(worker.liveStatus, "live")
        case "/set":
            worker.set(ready: Self.status(target["ready"]), live: Self.status(target["live"]), beats: target["beats"])
            answer(.ok, "set")
        case "/slow":
            let milliseconds = min(max(0, target["ms"].flatMap { Int($0) } ?? 1_000), 3_600_000)
            worker.after(.milliseconds(milliseconds)) { _ in self.answer(.ok, "after \(milliseconds) ms") }
        case "/status":
            worker.setStatus(target["text"] ?? "")
            answer(.ok, "said")
        case "/dependency":
            answer(.ok, worker.callsText)
        case "/breaker":
            let socket = worker.options.breakerSocket ?? ""
            answer(.ok, DependencyCaller.say(target["say"] ?? "", to: socket))
        case "/crash":
            crash(target)
        case "/hang":
            System.complain("told to hang")
            answer(.ok, "hanging") { System.hang() }
        default:
            answer(.notFound, "no \(target.path) here")
        }
    }

    private static func status(_ text: String?) -> HTTPResponseStatus? {
        text.flatMap { Int($0) }.flatMap { (100...599).contains($0) ? HTTPResponseStatus(statusCode: $0) : nil }
    }

    private func crash(_ target: RequestTarget) {
        var crash = worker.options.crash
        if let code = target["code"].flatMap({ Int32($0) }), (0...255).contains(code) { crash = .exit(code) }
        if let name = target["signal"] {
            guard let number = try? WorkerOptions.signal(name, "signal") else {
                return answer(.badRequest, "no such signal")
            }
            crash = .signal(number)
        }
        System.complain("told to crash")
        System.crash(crash)
    }

    private func answer(
        _ status: HTTPResponseStatus,
        _ text: String,
        extra: [(String, String)] = [],
        then: (() -> Void)? = nil
    ) {
        // A client that left has been counted already.
        guard let context, let head else { return }
        let keepAlive = head.isKeepAlive && !worker.isStopping
        let body = context.channel.allocator.buffer(string: text + "\n")
        var headers = HTTPHeaders([
            ("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", String(body.readableBytes)),
            ("Connection", keepAlive ? "keep-alive" : "close"),
        ])
        headers.add(contentsOf: extra)
        let response = HTTPResponseHead(version: head.version, status: status, headers: headers)
        context.write(wrapOutboundOut(.head(response)), promise: nil)
        if head.method != .HEAD { context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
        // Over before the write, because the next request of a pipeline may be read within it.
        finish()
        let written = context.writeAndFlush(wrapOutboundOut(.end(nil)))
        written.assumeIsolated().whenComplete { _ in
            then?()
            if !keepAlive { context.close(promise: nil) }
        }
    }

    private func finish() {
        head = nil
        worker.requestEnded()
    }
}

/// Path and query of a request.
struct RequestTarget {
    let path: String
    private let query: [(name: String, value: String)]

    init(_ uri: String) {
        let parts = uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = parts.first.map { Self.decode($0) } ?? "/"
        query = (parts.count > 1 ? parts[1] : "").split(separator: "&").map { pair in
            let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (Self.decode(sides[0]), sides.count > 1 ? Self.decode(sides[1]) : "")
        }
    }

    subscript(name: String) -> String? {
        query.first { $0.name == name }?.value
    }

    /// Undoes percent-encoding; what is not valid stays as it is.
    private static func decode(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
