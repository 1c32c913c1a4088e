import NIOCore

/// One connection to the HAProxy agent port: one line in, one line out, then closed.
final class AgentHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let service: HealthService
    private var context: ChannelHandlerContext?
    private var received: [UInt8] = []
    private var isOpen = false
    private var isAnswered = false
    private let began: UInt64

    init(_ service: HealthService) {
        self.service = service
        began = service.tick
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { begin() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        begin()
        context.fireChannelActive()
    }

    private func begin() {
        guard !isOpen else { return }
        isOpen = true
        if !service.admit(self) { close() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        isOpen = false
        service.remove(self)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { close() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let chunk = unwrapInboundIn(data)
        if isAnswered { return }
        for byte in chunk.readableBytesView {
            if byte == .lineFeed { return answer(context) }
            guard received.count < service.limits.agentRequestBytes else { return close() }
            received.append(byte)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .inputClosed? = event as? ChannelEvent {
            // A request need not end its line when it ends the connection's other half.
            if isAnswered { close() } else { answer(context) }
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    private func answer(_ context: ChannelHandlerContext) {
        guard !isAnswered, isOpen else { return }
        isAnswered = true
        while let last = received.last, last.isBlank || last == .carriageReturn { received.removeLast() }
        let line = service.agentLine(
            received.drop(while: \.isBlank),
            from: PeerAddress(context.remoteAddress)
        )
        service.counters.agentAnswers &+= 1
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { _ in self.close() }
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: line)), promise: written)
    }

    /// Closes at once.
    func close() {
        guard isOpen else { return }
        isOpen = false
        service.remove(self)
        context?.close(promise: nil)
    }

    /// - Parameters:
    ///   - life: sweeps after which the connection is closed.
    ///   - silence: sweeps after which a client that has said nothing is told about the node.
    func check(_ tick: UInt64, life: UInt64, silence: UInt64) {
        let age = tick &- began
        if age > life {
            close()
        } else if age > silence, received.isEmpty, !isAnswered, let context {
            answer(context)
        }
    }
}
