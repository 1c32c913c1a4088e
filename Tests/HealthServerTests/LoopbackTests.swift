import Glibc
import NIOCore
import NIOPosix
import StatusBoard
import SupervisorCore
import Testing

@testable import HealthServer

/// The server on real sockets.
@Suite("Over loopback", .serialized, .timeLimit(.minutes(1)))
struct LoopbackTests {
    /// A blocking client socket with a deadline on each call.
    private final class Client {
        let descriptor: CInt

        init(_ address: SocketAddress?) throws {
            descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var deadline = timeval(tv_sec: 10, tv_usec: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &deadline, socklen_t(MemoryLayout<timeval>.size))
            setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &deadline, socklen_t(MemoryLayout<timeval>.size))
            let port = try #require(address?.port)
            let result = LoopbackTests.withAddress(port: port) { connect(descriptor, $0, $1) }
            try #require(result == 0)
        }

        deinit { close(descriptor) }

        func send(_ text: String) {
            let bytes = Array(text.utf8)
            _ = Glibc.send(descriptor, bytes, bytes.count, CInt(MSG_NOSIGNAL))
        }

        func endInput() { shutdown(descriptor, CInt(SHUT_WR)) }

        /// Has the close send a reset.
        func resetOnClose() {
            var linger = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
        }

        /// Up to the end, or to `count` bytes; nil when neither came in time.
        func receive(upTo count: Int = .max) -> [UInt8]? {
            var all: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 65536)
            while all.count < count {
                let got = recv(descriptor, &buffer, min(buffer.count, count - all.count), 0)
                if got == 0 { return all }
                if got < 0 { return errno == ECONNRESET ? all : nil }
                all += buffer[..<got]
            }
            return all
        }
    }

    private static func withAddress<Result>(
        port: Int,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(truncatingIfNeeded: port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    private static func listener() throws -> CInt {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        try #require(withAddress(port: 0) { bind(descriptor, $0, $1) } == 0)
        try #require(listen(descriptor, 128) == 0)
        return descriptor
    }

    private static func withServer(
        _ board: StatusBoard = Fixture.board(),
        limits: HealthServerLimits = HealthServerLimits(),
        _ body: (HealthServer, TestClock) async throws -> Void
    ) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let clock = TestClock()
        let server = try await HealthServer.start(
            listeners: [listener(), listener()],
            agentListeners: [listener()],
            board: board,
            version: "1",
            loop: group.next(),
            clock: { clock.now },
            limits: limits
        ).get()
        do { try await body(server, clock) } catch { Issue.record(error) }
        try await server.stop().get()
        try await group.shutdownGracefully()
    }

    /// Asks for the metrics until `line` is among them.
    private static func waitForMetric(_ line: String, _ address: SocketAddress?, _ clock: TestClock) throws -> Bool {
        for _ in 0..<2000 {
            clock.advance(.seconds(1))
            let client = try Client(address)
            client.send("GET /metrics HTTP/1.0\r\n\r\n")
            if String(decoding: client.receive() ?? [], as: UTF8.self).contains(line) { return true }
        }
        return false
    }

    @Test("two listeners and the agent answer; a publication reaches them; stop ends all")
    func serves() async throws {
        let board = Fixture.board()
        try await Self.withServer(board) { server, _ in
            #expect(server.boundAddresses.count == 2 && server.agentAddresses.count == 1)
            for address in server.boundAddresses {
                let client = try Client(address)
                client.send("HEAD /health/auth HTTP/1.0\r\n\r\n")
                let responses = try #require(Response.all(in: client.receive() ?? [], methods: ["HEAD"]))
                #expect(responses.map(\.code) == [200])
            }
            board.publish(
                node: Fixture.node(.draining, ready: false),
                services: [(0, Fixture.service("auth", .draining))]
            )
            // The observer hopped to the loop before this does.
            _ = try await server.selfCheck().get()
            let client = try Client(server.boundAddresses[0])
            client.send("GET /health/auth?drain=404 HTTP/1.0\r\n\r\n")
            #expect(Response.all(in: client.receive() ?? [], methods: [])?.first?.code == 404)
            let agent = try Client(server.agentAddresses[0])
            agent.send("auth\n")
            #expect(agent.receive() == Array("up drain\n".utf8))
        }
    }

    @Test("probers of both ports are seen from other threads")
    func probers() async throws {
        try await Self.withServer { server, clock in
            let client = try Client(server.boundAddresses[0])
            client.send("GET /health/auth HTTP/1.0\r\nUser-Agent: lb\r\n\r\n")
            _ = client.receive()
            let agent = try Client(server.agentAddresses[0])
            agent.send("auth/0\n")
            _ = agent.receive()
            let sightings = try await server.probers().get()
            #expect(sightings.map(\.identity.address) == ["127.0.0.1", "127.0.0.1"])
            #expect(sightings.map(\.identity.userAgent) == ["lb", "agent"])
            #expect(sightings.map(\.told) == ["200", "up"] && sightings.allSatisfy { $0.lastAt == clock.now })
            let looked = await withCheckedContinuation { waiting in
                server.lookAtProbers { waiting.resume(returning: $0) }
            }
            #expect(looked == sightings)
        }
    }

    @Test("the self check follows the heartbeat")
    func selfCheck() async throws {
        try await Self.withServer { server, clock in
            let before = try await server.selfCheck().get()
            #expect(before)
            clock.advance(.seconds(6))
            let alive = try await server.selfCheck().get()
            #expect(!alive)
        }
    }

    @Test("a client that ends its half of the connection is answered")
    func halfClose() async throws {
        try await Self.withServer { server, _ in
            let client = try Client(server.boundAddresses[0])
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /livez HTTP/1.1\r\nHost: h\r\n\r\n")
            client.endInput()
            #expect(Response.all(in: client.receive() ?? [], methods: [])?.map(\.code) == [200, 200])
        }
    }

    @Test("more pipelined requests than fit any buffer are all answered, in bounded memory")
    func deepPipeline() async throws {
        var limits = HealthServerLimits()
        limits.unreadAnswerBytes = 4096
        try await Self.withServer(limits: limits) { server, _ in
            let count = 50_000
            let client = try Client(server.boundAddresses[0])
            let descriptor = client.descriptor
            let request = Array("GET /livez HTTP/1.1\r\nHost: h\r\n\r\n".utf8)
            // On a thread of its own: we block one of the few that tasks have.
            let loop = NIOSingletons.posixEventLoopGroup.next()
            let writer = NIOThreadPool.singleton.runIfActive(eventLoop: loop) {
                let burst = Array(repeatElement(request, count: 1000).joined())
                for _ in 0..<(count / 1000) {
                    var sent = 0
                    while sent < burst.count {
                        let done = Glibc.send(
                            descriptor,
                            Array(burst[sent...]),
                            burst.count - sent,
                            CInt(MSG_NOSIGNAL)
                        )
                        guard done > 0 else { return false }
                        sent += done
                    }
                }
                return true
            }
            let answer = try EmbeddedClient.get(Fixture.health(), "/livez")
            let size = try #require(answer).wireSize * count
            #expect(client.receive(upTo: size)?.count == size)
            let isSent = try await writer.get()
            #expect(isSent)
        }
    }

    @Test("a refusal survives what the client still sends")
    func refusalIsReadable() async throws {
        try await Self.withServer { server, _ in
            let client = try Client(server.boundAddresses[0])
            client.send("GET / HTTP/1.1\r\n" + String(repeating: "x: y\r\n", count: 8000))
            let responses = Response.all(in: client.receive() ?? [], methods: [])
            #expect(responses?.map(\.code) == [431])
        }
    }

    @Test("empty connections and resets are counted and nothing else")
    func countsQuietly() async throws {
        try await Self.withServer { server, clock in
            for _ in 0..<5 { _ = try Client(server.boundAddresses[0]) }
            for _ in 0..<3 {
                let client = try Client(server.boundAddresses[0])
                client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                _ = client.receive(upTo: 1)
                client.resetOnClose()
            }
            let address = server.boundAddresses[1]
            #expect(try Self.waitForMetric("connections_closed_total{kind=\"empty\"} 5\n", address, clock))
            #expect(try Self.waitForMetric("connections_closed_total{kind=\"reset\"} 3\n", address, clock))
        }
    }

    @Test("the idle limit holds on the loop's own time")
    func idle() async throws {
        var limits = HealthServerLimits()
        limits.sweepInterval = .milliseconds(5)
        limits.idle = .milliseconds(20)
        try await Self.withServer(limits: limits) { server, _ in
            let client = try Client(server.boundAddresses[0])
            #expect(client.receive() == [])
        }
    }

    @Test("a descriptor that is no listening socket fails the start and leaves nothing open")
    func badDescriptor() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        var ends: [CInt] = [0, 0]
        try #require(pipe(&ends) == 0)
        let good = try Self.listener()
        let bad = ends[0]
        var before = stat()
        try #require(fstat(good, &before) == 0)
        await #expect(throws: HealthServerError.self) {
            try await HealthServer.start(
                listeners: [good, bad],
                board: Fixture.board(),
                version: "1",
                loop: group.next(),
                clock: { Fixture.origin }
            ).get()
        }
        close(ends[0])
        close(ends[1])
        try await group.shutdownGracefully()
        // The number may have gone to somebody else meanwhile.
        var after = stat()
        #expect(fstat(good, &after) != 0 || after.st_ino != before.st_ino)
    }
}

extension Response {
    /// Bytes on the wire.
    fileprivate var wireSize: Int {
        let head = fields.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
        return "HTTP/1.1 200 OK\r\n".utf8.count + head + 2 + body.utf8.count
    }
}
