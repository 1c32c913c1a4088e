import Glibc
import NIOCore
import NIOPosix
import SupervisorCore

/// One connection to one Redis, on one loop: commands in a pipeline, and messages that nobody asked for.
final class RedisConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    typealias Answer = (Result<RESPValue, StoreFailure>) -> Void

    enum Event {
        /// Connected; with TLS, the peer is verified.
        case ready
        /// On a channel that was subscribed to.
        case message([UInt8])
        /// Once, whatever the reason.
        case closed(StoreFailure)
    }

    private struct Pending {
        var answer: Answer?
        var timer: Scheduled<Void>?
    }

    /// Commands without an answer.
    static let pendingLimit = 256

    let address: RedisAddress
    private let loop: any EventLoop
    private var events: ((Event) -> Void)?
    private let reader = RESPReader()
    private var channel: (any Channel)?
    private var pending: CircularBuffer<Pending> = []
    /// Of the first command in `pending`.
    private var firstNumber = 0
    private var failure: StoreFailure?
    private var isClosed = false
    /// Replies and messages that have come.
    private(set) var received: UInt64 = 0

    private init(_ address: RedisAddress, _ loop: any EventLoop, _ events: @escaping (Event) -> Void) {
        self.address = address
        self.loop = loop
        self.events = events
    }

    /// Connects; what comes of it is told in events, never before this returns.
    static func connect(
        to address: RedisAddress,
        tls: TLSFiles?,
        timeout: TimeAmount,
        loop: any EventLoop,
        events: @escaping (Event) -> Void
    ) -> RedisConnection {
        let connection = RedisConnection(address, loop, events)
        // Handlers are added to the one channel that wins: there is one for each address that a name has.
        ClientBootstrap(group: loop)
            .connectTimeout(timeout)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .connect(host: address.host, port: address.port)
            .assumeIsolated()
            .whenComplete { result in
                switch result {
                case .success(let channel): connection.begin(channel, tls)
                case .failure(let error): connection.finish(Self.failure(of: error, at: address))
                }
            }
        return connection
    }

    private func begin(_ channel: any Channel, _ tls: TLSFiles?) {
        if isClosed { return channel.close(promise: nil) }
        self.channel = channel
        guard channel.isActive else { return finish(Self.unreachable("\(address) closed the connection")) }
        do {
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(self)
            if let tls {
                try pipeline.addHandler(TLSHandler(tls, for: address), position: .before(self))
            } else {
                events?(.ready)
            }
        } catch {
            finish(Self.failure(of: error, at: address))
        }
    }

    // MARK: Commands

    /// Sends a command. `answer` is called once: with what the server says (an error of its own is a value), or with
    /// why it says nothing.
    func send(_ arguments: [[UInt8]], until deadline: NIODeadline, _ answer: @escaping Answer) {
        guard let channel, !isClosed else {
            return answer(.failure(failure ?? Self.unreachable("there is no connection to \(address)")))
        }
        guard pending.count < Self.pendingLimit, let command = RESPWriter.command(arguments, channel.allocator) else {
            let text = "cannot ask \(address): \(Self.pendingLimit) commands have no answer yet"
            return answer(.failure(StoreFailure(kind: .server, text: text)))
        }
        let number = firstNumber &+ pending.count
        let timer = loop.assumeIsolated().scheduleTask(deadline: deadline) { [weak self] () -> Void in
            self?.expire(number)
        }
        pending.append(Pending(answer: answer, timer: timer))
        channel.pipeline.syncOperations.writeAndFlush(NIOAny(command), promise: nil)
    }

    /// Its answer may still come, and is then nobody's.
    private func expire(_ number: Int) {
        let index = number &- firstNumber
        guard index >= 0, index < pending.count else { return }
        let place = pending.index(pending.startIndex, offsetBy: index)
        let answer = pending[place].answer
        pending[place].answer = nil
        answer?(.failure(StoreFailure(kind: .timeout, text: "\(address) did not answer in time")))
    }

    // MARK: The channel

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is TLSEstablished { events?(.ready) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isClosed { return }
        do {
            try unwrapInboundIn(data).withUnsafeReadableBytes { bytes throws(RESPFault) in
                try reader.read(bytes) { take($0) }
            }
        } catch {
            let text = "cannot read what \(address) answers: \(error.text)"
            finish(StoreFailure(kind: .server, text: text))
        }
    }

    private func take(_ value: RESPValue) {
        if isClosed { return }
        received &+= 1
        if let fields = value.array, fields.count == 3, fields[0].bytes == Array("message".utf8),
            let payload = fields[2].bytes
        {
            events?(.message(payload))
        } else if let first = pending.popFirst() {
            firstNumber &+= 1
            first.timer?.cancel()
            first.answer?(.success(value))
        } else {
            // It may say why it hangs up, such as that it has too many clients.
            if case .error(let bytes) = value, case .failure(let failure) = ServerComplaint(bytes, from: address) {
                finish(failure)
            } else {
                finish(StoreFailure(kind: .server, text: "\(address) answers what it was not asked"))
            }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        finish(Self.failure(of: error, at: address))
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish(Self.unreachable("\(address) closed the connection"))
        context.fireChannelInactive()
    }

    // MARK: The end

    /// Becomes complete when the channel is closed; nil where there is none.
    var closed: EventLoopFuture<Void>? { channel?.closeFuture }

    /// Ends it; no event tells of that.
    func close(_ failure: StoreFailure) {
        events = nil
        finish(failure)
    }

    private func finish(_ failure: StoreFailure) {
        if isClosed { return }
        isClosed = true
        self.failure = failure
        channel?.close(promise: nil)
        let left = pending
        pending.removeAll()
        for command in left {
            command.timer?.cancel()
            command.answer?(.failure(failure))
        }
        let told = events
        events = nil
        told?(.closed(failure))
    }

    private static func unreachable(_ text: String) -> StoreFailure { StoreFailure(kind: .unreachable, text: text) }

    static func failure(of error: any Error, at address: RedisAddress) -> StoreFailure {
        if let failure = error as? StoreFailure { return failure }
        return unreachable("cannot connect to \(address): \(clause(error))")
    }

    private static func clause(_ error: any Error) -> String {
        switch error {
        case let error as NIOConnectionError:
            if let last = error.connectionErrors.last { return clause(last.error) }
            return "its name cannot be resolved"
        case let error as IOError: return String(cString: strerror(error.errnoCode))
        case ChannelError.connectTimeout: return "it did not answer in time"
        case is SocketAddressError: return "its name cannot be resolved"
        default: return "\(error)"
        }
    }
}
