import ControlProtocol
import NIOCore
import NIOHTTP1
import StatusBoard
import SupervisorCore

/// One connection: reads requests, writes answers, keeps the time limits.
final class ControlHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        /// Waiting for a request, or for the rest of one.
        case reading
        /// A request is being answered.
        case answering
        /// Nothing more is read or answered.
        case closing
    }

    private let service: ControlService
    private var state = State.reading
    private var head: HTTPRequestHead?
    private var bodyBytes = 0
    private var caller: EventLoopFuture<(Caller, AccessPolicy.Level)>?
    private var countedAsOther = false
    private var inputClosed = false
    private var deadline: Scheduled<Void>?
    private var follower: Follower?

    init(service: ControlService) {
        self.service = service
    }

    // MARK: Life of the connection

    func channelActive(context: ChannelHandlerContext) {
        setDeadline(service.limits.requestTime, context)
        let caller = service.caller(of: context.channel)
        self.caller = caller
        let bound = bind(context)
        caller.assumeIsolated().whenSuccess { _, level in
            let (handler, context) = bound.value
            handler.count(level, context)
        }
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        state = .closing
        deadline?.cancel()
        follower?.stop()
        follower = nil
        if countedAsOther { service.register.removeOther() }
        countedAsOther = false
        context.fireChannelInactive()
    }

    private func count(_ level: AccessPolicy.Level, _ context: ChannelHandlerContext) {
        guard level < .admin, context.channel.isActive else { return }
        if service.register.addOther() {
            countedAsOther = true
        } else {
            context.close(promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed = event else {
            context.fireUserInboundEventTriggered(event)
            return
        }
        inputClosed = true
        // Whoever has asked something and then shut its side gets the answer; a follower's reader is gone.
        if follower != nil || state == .reading { context.close(promise: nil) }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if let follower {
            setDeadline(context.channel.isWritable ? nil : service.limits.followerStall, context)
            follower.pump()
        }
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let parser = error as? HTTPParserError, state == .reading else {
            // Resets and the like: nobody is there to be told.
            state = .closing
            context.close(promise: nil)
            return
        }
        let tooLarge = parser == .headerOverflow
        let text =
            tooLarge
            ? "cannot take a request with more than \(service.limits.headBytes) bytes of header"
            : "cannot read the request: it is not HTTP/1.1"
        let error = ControlError(tooLarge ? .tooLarge : .badRequest, text)
        state = .answering
        write(.failure(error), status: tooLarge ? .requestHeaderFieldsTooLarge : nil, keepAlive: false, context)
    }

    /// Closes the connection when nothing else has happened by then; nil takes the limit away.
    private func setDeadline(_ time: TimeAmount?, _ context: ChannelHandlerContext) {
        deadline?.cancel()
        deadline = nil
        guard let time else { return }
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: time) { channel.close(promise: nil) }
    }

    private func bind(_ context: ChannelHandlerContext) -> NIOLoopBound<(ControlHandler, ChannelHandlerContext)> {
        NIOLoopBound((self, context), eventLoop: context.eventLoop)
    }

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard state == .reading else { return }
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            bodyBytes = 0
            if let length = head.headers.first(name: "content-length").flatMap(Int.init) {
                refuseBody(of: length, context)
            }
        case .body(let body):
            bodyBytes += body.readableBytes
            refuseBody(of: bodyBytes, context)
        case .end:
            guard let head else { return }
            state = .answering
            setDeadline(nil, context)
            answer(head, context)
        }
    }

    private func refuseBody(of bytes: Int, _ context: ChannelHandlerContext) {
        guard bytes > service.limits.bodyBytes else { return }
        let error = ControlError(
            .tooLarge,
            "cannot take a body of more than \(service.limits.bodyBytes) bytes; requests are in the query"
        )
        state = .answering
        write(.failure(error), keepAlive: false, context)
    }

    private func answer(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        guard let caller else { return }
        let bound = bind(context)
        caller.assumeIsolated().whenComplete { result in
            let (handler, context) = bound.value
            guard context.channel.isActive else { return }
            switch result {
            case .success((let caller, let level)): handler.answer(head, by: caller, level, context)
            case .failure(let error):
                let known = error as? ControlError
                handler.write(
                    .failure(known ?? ControlError(.failed, "cannot tell who you are: \(error)")),
                    keepAlive: false,
                    context
                )
            }
        }
    }

    private func answer(
        _ head: HTTPRequestHead,
        by caller: Caller,
        _ level: AccessPolicy.Level,
        _ context: ChannelHandlerContext
    ) {
        let answer: Responder.Answer
        do {
            answer = try service.responder.answer(method: head.method.rawValue, uri: head.uri, by: caller, level)
        } catch {
            write(.failure(error), keepAlive: head.isKeepAlive, context)
            return
        }
        let reply = replier(head, context)
        switch answer {
        case .document(let bytes): write(.success(bytes), keepAlive: head.isKeepAlive, context)
        case .stream(let feed, let follow): stream(feed, follow: follow, head, context)
        case .command(let command, let wait):
            let responder = service.responder
            responder.port.submit(command, by: caller, wait: wait) { result in
                reply(responder.answer(result, to: command, wait: wait))
            }
        case .planDrain(let request):
            let responder = service.responder
            responder.port.planDrain(request) { reply(responder.answer($0, to: request)) }
        case .reload(let dryRun, let wait):
            service.responder.port.reload(by: caller, dryRun: dryRun, wait: wait) { result in
                reply(Responder.answer(result, wait: wait))
            }
        case .upgrade:
            service.responder.port.upgrade(by: caller) { result in
                reply(Responder.answer(result, to: .upgrade, done: SmallDocuments.upgraded()))
            }
        }
    }

    /// What the port calls, on a thread of its own: writes the answer, unless the client has gone.
    private func replier(
        _ head: HTTPRequestHead,
        _ context: ChannelHandlerContext
    ) -> @Sendable (Result<[UInt8], ControlError>) -> Void {
        let bound = bind(context)
        let loop = context.eventLoop
        let keepAlive = head.isKeepAlive
        return { result in
            loop.execute {
                let (handler, context) = bound.value
                guard handler.state == .answering, context.channel.isActive else { return }
                handler.write(result, keepAlive: keepAlive, context)
            }
        }
    }

    // MARK: Answers

    private func write(
        _ result: Result<[UInt8], ControlError>,
        status: HTTPResponseStatus? = nil,
        keepAlive: Bool,
        _ context: ChannelHandlerContext
    ) {
        var response = responseHead(.ok, "application/json")
        var bytes: [UInt8]
        switch result {
        case .success(let document): bytes = document
        case .failure(let error):
            bytes = error.json
            response.status = status ?? HTTPResponseStatus(statusCode: error.code.httpStatus)
            if !error.allow.isEmpty {
                response.headers.add(name: "Allow", value: error.allow.joined(separator: ", "))
            }
        }
        bytes.append(UInt8(ascii: "\n"))
        let keepAlive = keepAlive && !inputClosed
        response.headers.add(name: "Content-Length", value: "\(bytes.count)")
        if !keepAlive { response.headers.add(name: "Connection", value: "close") }
        context.write(wrapOutboundOut(.head(response)), promise: nil)
        if head?.method != .HEAD {
            let body = context.channel.allocator.buffer(bytes: bytes)
            context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        }
        finish(keepAlive: keepAlive, context)
    }

    private func responseHead(_ status: HTTPResponseStatus, _ type: String) -> HTTPResponseHead {
        var head = HTTPResponseHead(version: .http1_1, status: status)
        head.headers.add(name: "Content-Type", value: type)
        head.headers.add(name: "Cache-Control", value: "no-store")
        return head
    }

    /// Ends the answer; then the next request may come.
    private func finish(keepAlive: Bool, _ context: ChannelHandlerContext) {
        follower?.stop()
        follower = nil
        head = nil
        state = keepAlive ? .reading : .closing
        setDeadline(service.limits.writeTime, context)
        let bound = bind(context)
        context.writeAndFlush(wrapOutboundOut(.end(nil))).assumeIsolated().whenComplete { _ in
            let (handler, context) = bound.value
            guard context.channel.isActive else { return }
            if !keepAlive {
                context.close(promise: nil)
            } else if handler.state == .reading {
                handler.setDeadline(handler.service.limits.requestTime, context)
            }
        }
    }

    private func stream(_ feed: Feed, follow: Bool, _ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        var response = responseHead(.ok, "application/x-ndjson")
        let chunked = (head.version.major, head.version.minor) >= (1, 1)
        let keepAlive = chunked && head.isKeepAlive && !inputClosed
        if !keepAlive { response.headers.add(name: "Connection", value: "close") }
        if chunked { response.headers.add(name: "Transfer-Encoding", value: "chunked") }
        response.version = head.version
        context.write(wrapOutboundOut(.head(response)), promise: nil)
        if head.method == .HEAD {
            finish(keepAlive: keepAlive, context)
            return
        }
        context.flush()
        let bound = bind(context)
        let follower = Follower(
            feed,
            follow: follow,
            limits: service.limits,
            loop: context.eventLoop,
            isWritable: { bound.value.1.channel.isWritable },
            write: { bytes in
                let (handler, context) = bound.value
                let body = context.channel.allocator.buffer(bytes: bytes)
                context.writeAndFlush(handler.wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
            },
            ended: {
                let (handler, context) = bound.value
                handler.finish(keepAlive: keepAlive, context)
            }
        )
        self.follower = follower
        if follow, inputClosed {
            context.close(promise: nil)
        } else {
            follower.start()
        }
    }
}
