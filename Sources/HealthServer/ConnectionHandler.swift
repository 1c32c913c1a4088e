import NIOCore

/// One connection to the health port: reads requests, writes prepared answers.
///
/// Answers to pipelined requests leave in one flush. While a client does not read its answers nothing is read from it.
final class ConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Time limits in sweeps.
    struct TickLimits {
        var idle: UInt64
        var request: UInt64
        var stalled: UInt64
        var lingering: UInt64
    }

    private enum Phase {
        /// Before the channel is active.
        case new
        case reading
        /// The last answer is on its way; then the connection is closed.
        case finishing
        /// The last answer is sent; what still arrives is read over until the client closes.
        case lingering
        case closed
    }

    private let service: HealthService
    private let parser: RequestParser
    private var phase = Phase.new
    private var context: ChannelHandlerContext?
    /// Bytes not yet answered: part of a request, or requests that wait for the client to read.
    private var pending = ByteBuffer()
    /// Bytes of a request's body that are still to be read over.
    private var bodyLeft = 0
    /// Answers that the channel has not been given yet.
    private var output = ByteBuffer()
    private var needsFlush = false
    private var readWanted = false
    private var paused = false
    private var inputClosed = false
    private var hasReceived = false
    private var hasAnswered = false
    private var lingered = 0
    /// Looked at once, with the first request.
    private var knownPeer: PeerAddress?
    /// What the end of this connection counts as.
    private var kind: CloseKind?
    /// The sweep in which the request that is being read began.
    private var requestBegan: UInt64?
    /// The sweep in which something was last answered, or the connection came to be.
    private(set) var lastActivity: UInt64

    init(_ service: HealthService) {
        self.service = service
        parser = RequestParser(limits: service.limits)
        lastActivity = service.tick
    }

    /// Between two requests, with nothing to write.
    /// It was accepted and has had no answer yet, or is in the middle of a request.
    var isOwedAnAnswer: Bool { (phase == .new || phase == .reading) && (!hasAnswered || requestBegan != nil) }

    var isIdle: Bool { phase == .reading && requestBegan == nil && !paused }

    // MARK: The channel's events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { begin(context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard phase == .new else { return }
        phase = .reading
        if !service.admit(self) { close(.refused) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A prober that resets once it has its answer is no event; what went before may have named it already.
        close(.reset)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var chunk = unwrapInboundIn(data)
        hasReceived = true
        switch phase {
        case .reading: break
        case .lingering:
            lingered &+= chunk.readableBytes
            if lingered > service.limits.pendingRequestBytes { close(.normal) }
            return
        case .new, .finishing, .closed: return
        }
        if pending.readableBytes == 0 {
            process(&chunk, context)
            // Copied, so that the channel's large read buffer is free for the next read.
            if phase == .reading, chunk.readableBytes > 0 { pending = ByteBuffer(bytes: chunk.readableBytesView) }
        } else {
            pending.writeBuffer(&chunk)
            processPending(context)
        }
        if pending.readableBytes > service.limits.pendingRequestBytes { close(.stalled) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        flush(context)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable, paused { resume(context) }
        context.fireChannelWritabilityChanged()
    }

    func read(context: ChannelHandlerContext) {
        if paused { readWanted = true } else { context.read() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case .inputClosed? = event as? ChannelEvent else {
            context.fireUserInboundEventTriggered(event)
            return
        }
        inputClosed = true
        if phase == .lingering { close(.normal) }
        if phase == .reading, !paused { inputEnded(context) }
    }

    // MARK: Requests

    private func resume(_ context: ChannelHandlerContext) {
        paused = false
        guard phase == .reading else { return }
        processPending(context)
        flush(context)
        guard phase == .reading, !paused else { return }
        if inputClosed {
            inputEnded(context)
        } else if readWanted {
            readWanted = false
            context.read()
        }
    }

    private func processPending(_ context: ChannelHandlerContext) {
        // Taken out: an answer may end the connection, which empties `pending`.
        var buffer = pending
        pending = ByteBuffer()
        process(&buffer, context)
        guard phase == .reading, buffer.readableBytes > 0 else { return }
        buffer.discardReadBytes()
        pending = buffer
    }

    /// Answers the requests in `buffer`; what it leaves there must wait.
    private func process(_ buffer: inout ByteBuffer, _ context: ChannelHandlerContext) {
        while phase == .reading, buffer.readableBytes > 0 {
            if bodyLeft > 0 {
                let skipped = min(bodyLeft, buffer.readableBytes)
                buffer.moveReaderIndex(forwardBy: skipped)
                bodyLeft &-= skipped
                if bodyLeft == 0 { requestBegan = nil }
                continue
            }
            guard context.channel.isWritable else {
                paused = true
                return
            }
            let consumed = buffer.withUnsafeReadableBytes { handleNext($0, context) }
            if consumed == 0 { return }
            buffer.moveReaderIndex(forwardBy: consumed)
        }
    }

    /// Answers the first request in `bytes`; returns how many of them it took.
    private func handleNext(_ bytes: UnsafeRawBufferPointer, _ context: ChannelHandlerContext) -> Int {
        switch parser.parse(bytes) {
        case .incomplete:
            if requestBegan == nil { requestBegan = service.tick }
            return 0
        case .foreign(let foreign):
            // What was asked before is answered, however the bytes were split.
            flush(context)
            close(foreign == .tls ? .tls : .http2)
            return 0
        case .rejected(let rejection):
            kind = .malformed
            answer(service.rejection(rejection), field: service.closeField, context)
            linger(context)
            return 0
        case .request(let request):
            let reply = service.reply(to: request, in: bytes, from: peer(context))
            let field: [UInt8]? =
                request.saysConnection ? (request.persistent ? service.keepAliveField : service.closeField) : nil
            answer(reply, field: field, context)
            bodyLeft = request.body ?? 0
            requestBegan = bodyLeft > 0 ? service.tick : nil
            if !request.persistent {
                let isAll = request.body == 0 && bytes.count == request.length
                if isAll { finish(context) } else { linger(context) }
            }
            return request.length
        }
    }

    private func peer(_ context: ChannelHandlerContext) -> PeerAddress {
        if let known = knownPeer { return known }
        let peer = PeerAddress(context.remoteAddress)
        knownPeer = peer
        return peer
    }

    private func answer(_ reply: Reply, field: [UInt8]?, _ context: ChannelHandlerContext) {
        service.counters.answered(reply.code)
        hasAnswered = true
        lastActivity = service.tick
        needsFlush = true
        if output.capacity == 0 { output = service.takeOutput() }
        reply.write(to: &output, field: field)
        // Handed over before it is much, so that the channel can say when it becomes too much.
        if output.readableBytes >= min(HealthService.outputBytes, service.limits.unreadAnswerBytes) {
            context.write(wrapOutboundOut(takeOutput()), promise: nil)
        }
    }

    private func takeOutput() -> ByteBuffer {
        var taken = ByteBuffer()
        swap(&taken, &output)
        return taken
    }

    /// Sends the answers so far, in one write.
    private func flush(_ context: ChannelHandlerContext) {
        guard needsFlush else { return }
        needsFlush = false
        let written = takeOutput()
        if written.readableBytes > 0 { context.write(wrapOutboundOut(written), promise: nil) }
        context.flush()
        service.giveBack(written)
    }

    // MARK: Ends

    /// The client sends no more.
    private func inputEnded(_ context: ChannelHandlerContext) {
        if !hasReceived {
            kind = .empty
        } else if requestBegan != nil {
            kind = .truncated
        }
        finish(context)
    }

    /// Closes once everything is written.
    private func finish(_ context: ChannelHandlerContext) {
        phase = .finishing
        flush(context)
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { _ in self.close(.normal) }
        context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: written)
    }

    /// Ends our side once everything is written, and reads over what the client still sends.
    private func linger(_ context: ChannelHandlerContext) {
        if inputClosed { return finish(context) }
        phase = .lingering
        lastActivity = service.tick
        requestBegan = nil
        pending = ByteBuffer()
        flush(context)
        context.close(mode: .output, promise: nil)
    }

    /// Closes at once. The first reason given is the one that counts.
    func close(_ kind: CloseKind) {
        if self.kind == nil { self.kind = kind }
        guard phase != .closed else { return }
        let context = context
        end()
        context?.close(promise: nil)
    }

    private func end() {
        guard phase != .closed else { return }
        phase = .closed
        pending = ByteBuffer()
        output = ByteBuffer()
        needsFlush = false
        service.remove(self)
        service.counters.ended(kind ?? (hasReceived ? (requestBegan == nil ? .normal : .truncated) : .empty))
    }

    /// Closes the connection when it has run out of time.
    func check(_ tick: UInt64, _ limits: TickLimits) {
        let quiet = tick &- lastActivity
        switch phase {
        case .new, .closed: break
        case .lingering:
            if quiet > limits.lingering { close(.normal) }
        case .finishing:
            if quiet > limits.stalled { close(.stalled) }
        case .reading:
            if paused {
                if quiet > limits.stalled { close(.stalled) }
            } else if let began = requestBegan {
                if tick &- began > limits.request { close(.slow) }
            } else if quiet > limits.idle {
                close(.idle)
            }
        }
    }
}
