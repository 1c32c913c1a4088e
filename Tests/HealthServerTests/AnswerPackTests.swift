import NIOCore
import NIOEmbedded
import StatusBoard
import SupervisorCore
import Testing

@testable import HealthServer

@Suite("How answers are kept")
struct AnswerPackTests {
    private let renderer = HealthRenderer(limits: HealthServerLimits(), version: "1")

    private func pack(_ status: ServiceStatus, _ heads: inout HeadCache) -> AnswerPack {
        renderer.answers(for: status, in: Fixture.board([status]).snapshot, &heads)
    }

    @Test("a service of one instance takes at most a kilobyte, with a reason a fifth more")
    func size() {
        var heads = HeadCache()
        for (state, reason, limit) in [
            (PublicState.healthy, nil, 1024), (.starting, "waits for its first start to finish", 1229),
        ] {
            var status = Fixture.service("service-999", state, ready: state == .healthy ? 1 : 0, desired: 1)
            status.reason = reason
            status.instances[0].reason = reason
            status.instances[0].pid = 123_456
            status.instances[0].startedAt = Fixture.origin
            let pack = pack(status, &heads)
            let used = pack.bytes.capacity + pack.entries.capacity * MemoryLayout<AnswerPack.Entry>.stride
            #expect(used + 2 * 32 + MemoryLayout<AnswerPack>.stride < limit, "\(state)")
        }
    }

    @Test("heads are shared between services and do not become many")
    func heads() {
        var heads = HeadCache()
        for round in 0..<3 {
            for state in PublicState.allCases {
                for ready in 0...2 { _ = pack(Fixture.service("s\(round)", state, ready: ready), &heads) }
            }
        }
        #expect(heads.heads.count < 64)
        let first = pack(Fixture.service("a", .healthy), &heads)
        let second = pack(Fixture.service("b", .healthy), &heads)
        #expect(first.entries[0].head === second.entries[0].head)
        for code in 0..<1000 {
            _ = heads.head(HeadFields(code: code, contentType: HeadFields.json, state: .healthy))
            #expect(heads.heads.count <= HeadCache.limit)
        }
    }

    @Test("instances are found by their number, in whatever order and however many")
    func instances() throws {
        var status = Fixture.service("auth", .healthy, ready: 400, desired: 400)
        status.instances.remove(at: 0)
        status.instances.swapAt(5, 300)
        let service = Fixture.health(Fixture.board([status]))
        for number in [1, 5, 6, 299, 301, 399] {
            for query in ["", "?verbose"] {
                let body = try #require(try EmbeddedClient.get(service, "/health/auth/\(number)\(query)")).body
                let end = query.isEmpty ? "}" : ",\"live\":true,\"restarts\":0}"
                #expect(body.hasSuffix("Z\",\"instance\":\(number)\(end)"))
            }
            let line = service.agentLine(Array("auth/\(number)".utf8)[...])
            #expect(line.elementsEqual("up ready 100%\n".utf8))
        }
        for path in ["0", "400", "01", "-1", "1x", "99999999999999999999", "1/1"] {
            #expect(try EmbeddedClient.get(service, "/health/auth/\(path)")?.code == 404)
        }
        let body = try #require(try EmbeddedClient.get(service, "/health/auth?verbose")).body
        #expect(body.hasSuffix("}],\"omitted\":\(399 - service.limits.verboseEntries)}"))
    }

    @Test("a verbose answer tells all of a reason that the plain one cuts")
    func cutReason() throws {
        var status = Fixture.service("auth", .unhealthy, ready: 0)
        status.reason = String(repeating: "\"", count: 250)
        let service = Fixture.health(Fixture.board([status]))
        let plain = try #require(try EmbeddedClient.get(service, "/health/auth")).body
        let verbose = try #require(try EmbeddedClient.get(service, "/health/auth?verbose")).body
        let reason = String(repeating: "\\\"", count: 250)
        #expect(plain.utf8.count < 512 && !plain.contains(reason) && plain.hasSuffix("\\\"\"}"))
        #expect(verbose.contains(",\"reason\":\"\(reason)\",\"breaker\":\"closed\","))
    }

    @Test("services are found among many, and nothing else is")
    func index() {
        let index = ServiceIndex((0..<1000).map { "service-\($0)" } + ["live", "service-1"])
        func find(_ text: String) -> (service: Int, part: ServiceIndex.Part)? {
            Array(text.utf8).withUnsafeBytes { index.find($0) }
        }
        for number in 0..<1000 {
            let found = find("service-\(number)/\(number)")
            #expect(found?.service == number && found?.part == .instance(number))
        }
        #expect(find("live")?.part == .service && find("live/live")?.part == .live)
        #expect(find("service-1")?.service == 1)
        for text in ["", "/", "/live", "service-1000", "service-1/", "service-1/Live", "service"] {
            #expect(find(text) == nil)
        }
        #expect(index.isName("service-7", ofServiceAt: 7) && !index.isName("service-7", ofServiceAt: 1002))
    }

    @Test("answers to pipelined requests leave in one write, also where one of them is foreign")
    func oneWrite() throws {
        let service = Fixture.health()
        let channel = EmbeddedChannel(handler: ConnectionHandler(service))
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        let request = "GET /health/auth HTTP/1.1\r\nHost: h\r\n\r\n"
        for tail in ["", "\u{16}\u{3}\u{1}"] {
            try channel.writeInbound(ByteBuffer(string: request + request + request + tail))
            let written = try #require(try channel.readOutbound(as: ByteBuffer.self))
            #expect(Response.all(in: Array(written.readableBytesView), methods: [])?.count == 3)
            #expect(try channel.readOutbound(as: ByteBuffer.self) == nil)
        }
        #expect(!channel.isActive)
        _ = try channel.finish(acceptAlreadyClosed: true)
    }
}
