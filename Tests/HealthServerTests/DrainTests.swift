import NIOCore
import NIOEmbedded
import StatusBoard
import SupervisorCore
import Testing

@testable import HealthServer

/// What each path says of what is draining or drained (INTERFACE.md §3).
@Suite("Answers while draining")
struct DrainTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var state: PublicState
        var path: String
        var query: String
        var method: String

        var testDescription: String { "\(method) \(path)\(query) while \(state)" }
    }

    private static let node = ["/", "/readyz", "/healthz", "/health"]
    private static let service = ["/health/auth", "/health/auth/ready", "/health/auth/0"]
    private static let queries = ["", "?verbose", "?drain=404", "?drain=404&verbose", "?drain=503"]

    private static func cases(_ paths: [String], _ states: [PublicState]) -> [Case] {
        states.flatMap { state in
            paths.flatMap { path in
                queries.flatMap { query in
                    ["GET", "HEAD", "OPTIONS"].map { Case(state: state, path: path, query: query, method: $0) }
                }
            }
        }
    }

    /// A node, its service and their instances, all in one state.
    private static func fleet(_ state: PublicState, reason: String? = "kernel update") -> HealthService {
        let isOut = state != .healthy
        var node = Fixture.node(state, ready: !isOut)
        node.reason = reason
        node.intent = isOut ? .drain : .run
        var service = Fixture.service("auth", state, ready: state == .drained ? 0 : 2)
        service.reason = reason
        // Whatever is left of these, the state decides.
        service.routable = true
        for index in service.instances.indices {
            service.instances[index].state = state
            service.instances[index].reason = reason
            service.instances[index].startedOnce = true
        }
        return Fixture.health(Fixture.board(node: node, [service]))
    }

    @Test(
        "routing is refused, in the words of each load balancer",
        arguments: cases(node + service, [.draining, .drained])
    )
    func routing(_ asked: Case) throws {
        let service = Self.fleet(asked.state)
        let text = "\(asked.method) \(asked.path)\(asked.query) HTTP/1.1\r\nHost: h\r\n\r\n"
        let (responses, isOpen) = try EmbeddedClient.exchange(service, text)
        let response = try #require(responses.first)
        let asNotFound = asked.query.contains("drain=404")
        #expect(response.code == (asNotFound ? 404 : 503))
        #expect(response["X-Envoy-Immediate-Health-Check-Fail"] == "true")
        #expect(response["X-Eider-State"] == asked.state.rawValue)
        #expect((response["Retry-After"] != nil) == !asNotFound)
        #expect(response["X-Envoy-Degraded"] == nil)
        #expect(response["Connection"] == nil)
        #expect(isOpen)
        #expect(response["Cache-Control"] == "no-store")
        if asked.method != "GET" { #expect(response.body.isEmpty) }
        if asked.method == "GET" { #expect(response.body.contains("kernel update")) }
        if asked.method == "GET", asked.path.hasPrefix("/health/") {
            #expect(response.body.hasPrefix("{\"status\":\"fail\",\"state\":\"\(asked.state.rawValue)\",\"service\""))
        }
    }

    @Test(
        "what does not ask whether to route hears nothing of it",
        arguments: cases(["/livez", "/startupz", "/metrics", "/health/auth/startup"], [.draining, .drained])
    )
    func others(_ asked: Case) throws {
        let service = Self.fleet(asked.state)
        let response = try #require(
            try EmbeddedClient.get(service, asked.path + asked.query, method: asked.method)
        )
        #expect(response.code == 200)
        #expect(response["X-Envoy-Immediate-Health-Check-Fail"] == nil)
        #expect(response["X-Eider-State"] == asked.state.rawValue)
        #expect(response["Retry-After"] == nil)
    }

    @Test("drain=404 means nothing to what is not drained", arguments: cases(node + service, [.healthy]))
    func healthy(_ asked: Case) throws {
        let service = Self.fleet(.healthy, reason: nil)
        let response = try #require(
            try EmbeddedClient.get(service, asked.path + asked.query, method: asked.method)
        )
        #expect(response.code == 200)
        #expect(response["X-Envoy-Immediate-Health-Check-Fail"] == nil)
    }

    @Test("startup is what it was before the drain")
    func startup() throws {
        for state in [PublicState.draining, .drained] {
            var node = Fixture.node(state, ready: false)
            node.firstStartFinished = false
            let service = Fixture.health(Fixture.board(node: node))
            #expect(try EmbeddedClient.get(service, "/startupz")?.code == 503)
            #expect(try EmbeddedClient.get(service, "/startupz?drain=404")?.code == 503)
        }
    }

    @Test("only what is drained answers so: a service, an instance, and not their neighbours")
    func scope() throws {
        var drained = Fixture.service("auth", .drained, ready: 0)
        for index in drained.instances.indices { drained.instances[index].state = .drained }
        var partly = Fixture.service("chat", .degraded, ready: 1)
        partly.instances[1].state = .draining
        // It serves until it is told to end.
        partly.instances[1].ready = true
        let service = Fixture.health(Fixture.board(node: Fixture.node(.degraded, ready: true), [drained, partly]))
        let codes = try [
            "/", "/health/auth", "/health/auth/0", "/health/chat", "/health/chat/0", "/health/chat/1",
        ].map { try EmbeddedClient.get(service, $0 + "?drain=404")?.code }
        #expect(codes == [200, 404, 404, 200, 200, 404])
        #expect(try EmbeddedClient.get(service, "/health/chat")?["X-Envoy-Immediate-Health-Check-Fail"] == nil)
    }

    @Test("the agent says drain from the first moment to undrain, and then up ready")
    func agent() throws {
        for state in [PublicState.draining, .drained] {
            let service = Self.fleet(state)
            for name in ["", "node", "auth", "auth/0"] {
                #expect(service.agentLine(Array(name.utf8)[...]).elementsEqual("up drain\n".utf8), "\(state) \(name)")
            }
        }
        let again = Self.fleet(.healthy, reason: nil)
        for name in ["", "node", "auth", "auth/0"] {
            #expect(again.agentLine(Array(name.utf8)[...]).elementsEqual("up ready 100%\n".utf8))
        }
    }

    @Test("a reason of any length and content stays one bounded line")
    func reason() throws {
        let reason = "line\r\nX-Evil: 1\u{0}" + String(repeating: "\"é", count: 500)
        for state in [PublicState.draining, .drained] {
            let service = Self.fleet(state, reason: reason)
            for path in Self.node + Self.service {
                let response = try #require(try EmbeddedClient.get(service, path))
                #expect(response.body.utf8.count < 512 && !response.body.contains("\n"))
                #expect(response["X-Evil"] == nil)
            }
            let verbose = try #require(try EmbeddedClient.get(service, "/health?verbose")).body
            #expect(verbose.utf8.count < 3000 && !verbose.contains("\n"))
        }
    }

    @Test("a connection that was there before the drain goes on through it")
    func connection() throws {
        let board = Fixture.board()
        let service = Fixture.health(board)
        let client = try EmbeddedClient(service)
        let request = "GET /health/auth HTTP/1.1\r\nHost: h\r\n\r\n"
        try client.send(request)
        for state in [PublicState.draining, .drained, .healthy] {
            board.publish(
                node: Fixture.node(state, ready: state == .healthy),
                services: [(0, Fixture.service("auth", state))]
            )
            service.refresh()
            try client.send(request)
        }
        let responses = try #require(Response.all(in: client.received, methods: []))
        #expect(responses.map(\.code) == [200, 503, 503, 200])
        #expect(client.isOpen)
        try client.end()
    }
}
