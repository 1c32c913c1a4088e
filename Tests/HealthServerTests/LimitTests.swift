import NIOCore
import NIOEmbedded
import SupervisorCore
import Testing

@testable import HealthServer

/// What a client may not do to the server (rule P7).
@Suite("Limits of the health port")
struct LimitTests {
    /// Sweeps are a second apart here, so that limits in seconds are limits in sweeps.
    private static var limits: HealthServerLimits {
        var limits = HealthServerLimits()
        limits.sweepInterval = .seconds(1)
        return limits
    }

    private func sweeps(_ service: HealthService, until client: EmbeddedClient, atMost limit: Int) -> Int? {
        for count in 1...limit {
            service.sweep()
            if !client.isOpen { return count }
        }
        return nil
    }

    @Test("an idle connection is closed after its time, a used one later")
    func idle() throws {
        let service = Fixture.health(limits: Self.limits)
        let client = try EmbeddedClient(service)
        for _ in 0..<100 { service.sweep() }
        try client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(sweeps(service, until: client, atMost: 200) == 121)
        #expect(service.counters.count(of: .idle) == 1)
    }

    @Test("a request that arrives byte by byte is cut off, however busy it looks")
    func slowHead() throws {
        let service = Fixture.health(limits: Self.limits)
        let client = try EmbeddedClient(service)
        var sent = 0
        for byte in "GET / HTTP/1.1\r\nHost: h\r\nX: aaaaaaaaaaaaaaaaaaaaaaaa".utf8 where client.isOpen {
            try client.send([byte])
            sent += 1
            service.sweep()
        }
        #expect(sent == 6)
        #expect(service.counters.count(of: .slow) == 1)
        #expect(client.received.isEmpty)
    }

    @Test("so is a body")
    func slowBody() throws {
        let service = Fixture.health(limits: Self.limits)
        let client = try EmbeddedClient(service)
        try client.send("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n")
        #expect(!client.received.isEmpty)
        #expect(sweeps(service, until: client, atMost: 20) == 6)
        #expect(service.counters.count(of: .slow) == 1)
    }

    @Test("a client that does not read is not read from, and is cut off in the end")
    func unread() throws {
        let service = Fixture.health(limits: Self.limits)
        let client = try EmbeddedClient(service)
        client.channel.isWritable = false
        let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
        try client.send(request + request)
        #expect(client.received.isEmpty)

        client.channel.isWritable = true
        client.channel.pipeline.fireChannelWritabilityChanged()
        try client.collect()
        #expect(Response.all(in: client.received, methods: [])?.count == 2)

        client.channel.isWritable = false
        try client.send(request)
        #expect(sweeps(service, until: client, atMost: 50) == 31)
        #expect(service.counters.count(of: .stalled) == 1)
    }

    @Test("requests that pile up behind unread answers are bounded")
    func pileUp() throws {
        let service = Fixture.health(limits: Self.limits)
        let client = try EmbeddedClient(service)
        client.channel.isWritable = false
        let request = Array("GET / HTTP/1.1\r\nHost: h\r\n\r\n".utf8)
        var sent = 0
        while client.isOpen, sent < 1_000_000 {
            try client.send(request)
            sent += request.count
        }
        #expect(sent < service.limits.pendingRequestBytes + 2 * request.count)
        #expect(service.counters.count(of: .stalled) == 1)
    }

    @Test("beyond the number of connections the longest idle gives way, else the new one")
    func connections() throws {
        var limits = Self.limits
        limits.connections = 2
        let service = Fixture.health(limits: limits)
        let first = try EmbeddedClient(service)
        service.sweep()
        let second = try EmbeddedClient(service)
        try second.send("GET /")
        let third = try EmbeddedClient(service)
        #expect(!first.isOpen && second.isOpen && third.isOpen)
        #expect(service.counters.count(of: .evicted) == 1)
        try third.send("GET /")
        let fourth = try EmbeddedClient(service)
        #expect(second.isOpen && third.isOpen && !fourth.isOpen)
        #expect(service.counters.count(of: .refused) == 1)
        #expect(service.openConnections == 2)
    }

    private final class AgentClient {
        let channel: EmbeddedChannel

        init(_ service: HealthService) throws {
            channel = EmbeddedChannel(handler: AgentHandler(service))
            try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        }

        func send(_ text: String) throws { try channel.writeInbound(ByteBuffer(string: text)) }

        func received() throws -> String? { try channel.readOutbound(as: ByteBuffer.self).map { String(buffer: $0) } }
    }

    @Test("the agent answers one line for a service, an instance and the node, and closes")
    func agent() throws {
        let service = Fixture.health(
            Fixture.board([Fixture.service("auth", .degraded, ready: 1), Fixture.service("chat", .draining)])
        )
        let expected = [
            "auth\n": "up ready 50%\n", "auth\r\n": "up ready 50%\n", " auth \n": "up ready 50%\n",
            "auth/0\n": "up ready 100%\n", "auth/1\nchat\n": "down # backoff\n", "chat\n": "up drain\n",
            "\n": "up ready 100%\n", "node\n": "up ready 100%\n", "zzz\n": "down # unknown service\n",
        ]
        for (request, line) in expected {
            let client = try AgentClient(service)
            for byte in request.utf8 { if client.channel.isActive { try client.send(String(UnicodeScalar(byte))) } }
            #expect(try client.received() == line, "\(request)")
            #expect(try client.received() == nil)
            #expect(!client.channel.isActive)
        }
        #expect(service.openAgentConnections == 0)
    }

    @Test("an agent client that ends its half without a newline is answered too")
    func agentHalfClosed() throws {
        let client = try AgentClient(Fixture.health())
        try client.send("auth")
        client.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        #expect(try client.received() == "up ready 100%\n")
        #expect(!client.channel.isActive)
    }

    @Test("an agent client is held to size and time; one that only listens is told about the node")
    func agentLimits() throws {
        let service = Fixture.health(limits: Self.limits)
        let long = try AgentClient(service)
        try long.send(String(repeating: "a", count: 300))
        #expect(!long.channel.isActive)
        #expect(try long.received() == nil)

        let slow = try AgentClient(service)
        try slow.send("au")
        let silent = try AgentClient(service)
        for _ in 0..<2 { service.sweep() }
        #expect(try silent.received() == "up ready 100%\n")
        #expect(slow.channel.isActive)
        for _ in 0..<4 { service.sweep() }
        #expect(!slow.channel.isActive)
        #expect(try slow.received() == nil)
        #expect(service.openAgentConnections == 0)
    }
}
