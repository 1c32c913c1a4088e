import NIOCore
import NIOEmbedded
import StatusBoard
import SupervisorCore
import Synchronization

@testable import HealthServer

/// A clock that the test sets.
final class TestClock: Sendable {
    private let nanoseconds = Mutex<Int64>(1_000_000_000_000)

    var now: MonotonicInstant { MonotonicInstant(nanoseconds: nanoseconds.withLock { $0 }) }

    func advance(_ duration: Duration) { nanoseconds.withLock { $0 += duration.clampedNanoseconds } }
}

enum Fixture {
    static let origin = MonotonicInstant(nanoseconds: 1_000_000_000_000)
    static let wallClockOffset: Int64 = 1_763_712_000_000_000_000 - 1_000_000_000_000

    static func service(_ name: String, _ state: PublicState, ready: Int = 2, desired: Int = 2) -> ServiceStatus {
        var service = ServiceStatus(name: name, state: state, since: origin)
        service.ready = ready
        service.desired = desired
        service.routable = ready > 0 && ![.draining, .drained, .stopped].contains(state)
        service.instances = (0..<desired).map { index in
            var instance = InstanceStatus(
                id: InstanceID(service: name, index: index),
                state: index < ready ? .healthy : .backoff,
                since: origin,
                generation: 1
            )
            instance.ready = index < ready
            instance.live = index < ready
            instance.startedOnce = index < ready
            return instance
        }
        return service
    }

    static func node(_ state: PublicState, ready: Bool) -> NodeStatus {
        var node = NodeStatus(name: "host-a", state: state, since: origin)
        node.ready = ready
        node.firstStartFinished = state != .starting
        return node
    }

    static func board(
        node: NodeStatus = node(.healthy, ready: true),
        _ services: [ServiceStatus] = [service("auth", .healthy)]
    ) -> StatusBoard {
        var fleet = FleetStatus(node: node)
        fleet.services = services
        return StatusBoard(fleet: fleet, now: origin, wallClockOffset: wallClockOffset)
    }

    static func health(
        _ board: StatusBoard = board(),
        clock: TestClock = TestClock(),
        limits: HealthServerLimits = HealthServerLimits()
    ) -> HealthService {
        HealthService(
            board: board,
            version: "1.2.3",
            clock: { clock.now },
            heartbeatLimit: .seconds(5),
            limits: limits,
            processFigures: { nil }
        )
    }
}

/// One answer as a client reads it.
struct Response: Equatable {
    var code: Int
    var fields: [(name: String, value: String)]
    var body: String

    subscript(name: String) -> String? {
        fields.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    static func == (left: Response, right: Response) -> Bool {
        left.code == right.code && left.body == right.body && left.fields.elementsEqual(right.fields, by: ==)
    }

    /// Takes the answers in `bytes` apart; nil where they are not well formed.
    static func all(in bytes: [UInt8], methods: [String]) -> [Response]? {
        var rest = bytes[...]
        var responses: [Response] = []
        while !rest.isEmpty {
            let method = responses.count < methods.count ? methods[responses.count] : "GET"
            guard let response = next(in: &rest, hasBody: method != "HEAD") else { return nil }
            responses.append(response)
        }
        return responses
    }

    private static func next(in rest: inout ArraySlice<UInt8>, hasBody: Bool) -> Response? {
        let terminator = Array("\r\n\r\n".utf8)
        guard let end = rest.indices.first(where: { rest[$0...].starts(with: terminator) }) else { return nil }
        var lines = String(decoding: rest[..<end], as: UTF8.self).split(separator: "\r\n").map(String.init)
        let status = lines.removeFirst().split(separator: " ", maxSplits: 2)
        guard status.count == 3, status[0] == "HTTP/1.1", let code = Int(status[1]) else { return nil }
        var fields: [(name: String, value: String)] = []
        for line in lines {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, parts[1].first == " " else { return nil }
            fields.append((String(parts[0]), String(parts[1].dropFirst())))
        }
        rest = rest[(end + 4)...]
        var response = Response(code: code, fields: fields, body: "")
        guard let length = response["Content-Length"].flatMap({ Int($0) }) else { return nil }
        if hasBody {
            guard rest.count >= length else { return nil }
            response.body = String(decoding: rest.prefix(length), as: UTF8.self)
            rest = rest.dropFirst(length)
        }
        return response
    }
}

/// A client without a socket.
final class EmbeddedClient {
    let channel: EmbeddedChannel
    let handler: ConnectionHandler
    private(set) var received: [UInt8] = []

    init(_ service: HealthService, from address: String = "127.0.0.1", port: Int = 1) throws {
        handler = ConnectionHandler(service)
        channel = EmbeddedChannel(handler: handler)
        try channel.connect(to: SocketAddress(ipAddress: address, port: port)).wait()
    }

    var isOpen: Bool { channel.isActive }

    func send(_ bytes: some Sequence<UInt8>) throws {
        guard channel.isActive else { return }
        try channel.writeInbound(ByteBuffer(bytes: bytes))
        try collect()
    }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func collect() throws {
        while let buffer = try channel.readOutbound(as: ByteBuffer.self) { received += buffer.readableBytesView }
    }

    func end() throws {
        if channel.isActive { channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed) }
        channel.embeddedEventLoop.run()
        try collect()
        if channel.isActive { _ = try channel.finish(acceptAlreadyClosed: true) }
    }

    /// One exchange on a connection of its own.
    static func exchange(_ service: HealthService, _ request: String) throws -> (responses: [Response], isOpen: Bool) {
        let client = try EmbeddedClient(service)
        try client.send(request)
        let method = request.split(separator: " ").first.map(String.init) ?? ""
        let responses = Response.all(in: client.received, methods: [method]) ?? []
        let isOpen = client.isOpen
        try client.end()
        return (responses, isOpen)
    }

    static func get(_ service: HealthService, _ path: String, method: String = "GET") throws -> Response? {
        try exchange(service, "\(method) \(path) HTTP/1.1\r\nHost: x\r\n\r\n").responses.first
    }
}

/// SplitMix64 (Steele, Lea, Flood): numbers that a seed repeats.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }
}
