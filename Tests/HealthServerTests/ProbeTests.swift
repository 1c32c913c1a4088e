import SupervisorCore
import Testing

@testable import HealthServer

/// What probes send, byte for byte, and what they are answered.
@Suite("Probes")
struct ProbeTests {
    struct Probe: CustomTestStringConvertible, Sendable {
        var name: String
        var request: String
        var code: Int
        var staysOpen: Bool
        var connection: String?
        var testDescription: String { name }
    }

    static let probes: [Probe] = [
        Probe(name: "HAProxy httpchk", request: "OPTIONS / HTTP/1.0\r\n\r\n", code: 200, staysOpen: false),
        Probe(name: "HAProxy HEAD", request: "HEAD /health/auth HTTP/1.0\r\n\r\n", code: 200, staysOpen: false),
        Probe(
            name: "HAProxy http-check send",
            request: "GET /health/auth HTTP/1.1\r\nhost: lb\r\nx-haproxy-server-state: UP 1/3; name=be/s; node=n\r\n"
                + "connection: close\r\n\r\n",
            code: 200,
            staysOpen: false,
            connection: "close"
        ),
        Probe(
            name: "nginx",
            request: "GET /health HTTP/1.0\r\nHost: up\r\nConnection: close\r\n\r\n",
            code: 200,
            staysOpen: false
        ),
        Probe(name: "nginx 1.1", request: "GET /health HTTP/1.1\r\nHost: up\r\n\r\n", code: 200, staysOpen: true),
        Probe(
            name: "curl",
            request: "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n",
            code: 200,
            staysOpen: true
        ),
        Probe(
            name: "kubelet",
            request: "GET /readyz HTTP/1.1\r\nHost: 10.0.0.1:8080\r\nUser-Agent: kube-probe/1.31\r\nAccept: */*\r\n"
                + "Connection: close\r\n\r\n",
            code: 200,
            staysOpen: false,
            connection: "close"
        ),
        Probe(
            name: "Envoy",
            request: "GET /health/auth HTTP/1.1\r\nhost: cluster\r\nuser-agent: Envoy/HC\r\n"
                + "x-envoy-expected-rq-timeout-ms: 1000\r\n\r\n",
            code: 200,
            staysOpen: true
        ),
        Probe(
            name: "ELB",
            request: "GET / HTTP/1.1\r\nHost: 10.0.0.1:8080\r\nConnection: close\r\n"
                + "User-Agent: ELB-HealthChecker/2.0\r\nAccept-Encoding: gzip, compressed\r\n\r\n",
            code: 200,
            staysOpen: false,
            connection: "close"
        ),
        Probe(
            name: "wget",
            request: "GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: Wget/1.21\r\nAccept: */*\r\nAccept-Encoding: identity"
                + "\r\nConnection: Keep-Alive\r\n\r\n",
            code: 200,
            staysOpen: true
        ),
        Probe(
            name: "ab -k",
            request: "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\nHost: h\r\n\r\n",
            code: 200,
            staysOpen: true,
            connection: "keep-alive"
        ),
        Probe(name: "by hand", request: "GET / HTTP/1.0\n\n", code: 200, staysOpen: false),
        Probe(name: "leading empty line", request: "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", code: 200, staysOpen: true),
        Probe(name: "OPTIONS *", request: "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", code: 200, staysOpen: true),
        Probe(
            name: "absolute form",
            request: "GET http://h:8080/health/auth HTTP/1.1\r\nHost: h\r\n\r\n",
            code: 200,
            staysOpen: true
        ),
        Probe(
            name: "encoded",
            request: "GET /health/%61uth HTTP/1.1\r\nHost: h\r\n\r\n",
            code: 200,
            staysOpen: true
        ),
        Probe(name: "empty Host", request: "GET / HTTP/1.1\r\nHost:\r\n\r\n", code: 200, staysOpen: true),
        Probe(name: "version 1.9", request: "GET / HTTP/1.9\r\nHost: h\r\n\r\n", code: 200, staysOpen: true),
        Probe(
            name: "POST",
            request: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
            code: 405,
            staysOpen: true
        ),
        Probe(
            name: "chunked body",
            request: "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            code: 405,
            staysOpen: false,
            connection: "close"
        ),
        Probe(
            name: "Expect",
            request: "GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
            code: 200,
            staysOpen: false,
            connection: "close"
        ),
        Probe(
            name: "huge body",
            request: "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n",
            code: 200,
            staysOpen: false,
            connection: "close"
        ),
        Probe(
            name: "unknown service",
            request: "GET /health/x HTTP/1.1\r\nHost: h\r\n\r\n",
            code: 404,
            staysOpen: true
        ),
        Probe(name: "slash behind", request: "GET /health/ HTTP/1.1\r\nHost: h\r\n\r\n", code: 404, staysOpen: true),
        Probe(
            name: "slash encoded",
            request: "GET /health%2Fauth HTTP/1.1\r\nHost: h\r\n\r\n",
            code: 404,
            staysOpen: true
        ),
        Probe(name: "bad UTF-8", request: "GET /health/%ff HTTP/1.1\r\nHost: h\r\n\r\n", code: 404, staysOpen: true),
        Probe(name: "bad escape", request: "GET /health/%zz HTTP/1.1\r\nHost: h\r\n\r\n", code: 400, staysOpen: true),
        Probe(name: "no path", request: "GET health HTTP/1.1\r\nHost: h\r\n\r\n", code: 400, staysOpen: true),
    ]

    @Test("each is answered as it expects", arguments: probes)
    func probe(probe: Probe) throws {
        let service = Fixture.health()
        let (responses, isOpen) = try EmbeddedClient.exchange(service, probe.request)
        #expect(responses.count == 1)
        let response = try #require(responses.first)
        #expect(response.code == probe.code)
        #expect(isOpen == probe.staysOpen)
        #expect(response["Connection"] == probe.connection)
        #expect(response["Cache-Control"] == "no-store")
        #expect(response["X-Content-Type-Options"] == "nosniff")
        #expect(response["X-Eider-State"] == "healthy")
        #expect(service.openConnections == 0)
    }

    /// Bytes as a client sends them, named by their beginning.
    struct Sent: CustomTestStringConvertible, Sendable {
        var text: String
        var testDescription: String { text.prefix(60).debugDescription }

        init(_ text: String) { self.text = text }
    }

    static let refused: [(Sent, Int)] = [
        (Sent("GET / HTTP/1.1\r\n\r\n"), 400),
        (Sent("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400),
        (Sent("GET /\r\n"), 400),
        (Sent("GET  / HTTP/1.1\r\nHost: h\r\n\r\n"), 400),
        (Sent("GET / HTTP/1.1 \r\nHost: h\r\n\r\n"), 400),
        (Sent("GET / http/1.1\r\nHost: h\r\n\r\n"), 400),
        (Sent("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), 505),
        (Sent("GET / HTTP/0.9\r\n\r\n"), 505),
        (Sent("G\u{0}T / HTTP/1.1\r\nHost: h\r\n\r\n"), 400),
        (Sent("(\r\n"), 400),
        (Sent("GET / HTTP/1.1\r\nHost : h\r\n\r\n"), 400),
        (Sent("GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n"), 400),
        (Sent("GET / HTTP/1.1\r\nHost: h\r\nX: a\u{0}b\r\n\r\n"), 400),
        (Sent("GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n"), 400),
        (Sent("GET / HTTP/1.1\r\nHost: h\r\nnothing\r\n\r\n"), 400),
        (Sent("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n"), 400),
        (Sent("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\n"), 400),
        (Sent("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400),
        (Sent("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n"), 400),
        (Sent("GET /" + String(repeating: "a", count: 5000)), 414),
        (Sent("GET / HTTP/1.1\r\nHost: h\r\nX: " + String(repeating: "a", count: 9000)), 431),
        (Sent("GET / HTTP/1.1\r\nHost: h\r\n" + String(repeating: "a: b\r\n", count: 200) + "\r\n"), 431),
        (Sent(String(repeating: "\r\n", count: 5000)), 431),
    ]

    @Test("what cannot be read is refused, once, and the connection ends", arguments: refused)
    func refuses(request: Sent, code: Int) throws {
        let service = Fixture.health()
        let (responses, isOpen) = try EmbeddedClient.exchange(service, request.text + "GET / HTTP/1.0\r\n\r\n")
        #expect(responses.map(\.code) == [code])
        #expect(responses.first?["Connection"] == "close")
        #expect(!isOpen)
        #expect(service.counters.count(of: .malformed) == 1)
    }

    static let foreign: [(Sent, CloseKind)] = [
        (Sent("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), .http2),
        (Sent("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}"), .tls),
    ]

    @Test("other protocols are closed without a word and counted", arguments: foreign)
    func closesQuietly(bytes: Sent, kind: CloseKind) throws {
        let service = Fixture.health()
        let (responses, isOpen) = try EmbeddedClient.exchange(service, bytes.text)
        #expect(responses.isEmpty)
        #expect(!isOpen)
        #expect(service.counters.count(of: kind) == 1)
    }

    @Test("connections that send nothing or half a request are counted, not answered")
    func silent() throws {
        let service = Fixture.health()
        try EmbeddedClient(service).end()
        let client = try EmbeddedClient(service)
        try client.send("GET / HT")
        try client.end()
        #expect(client.received.isEmpty)
        #expect(service.counters.count(of: .empty) == 1)
        #expect(service.counters.count(of: .truncated) == 1)
    }

    @Test(
        "HEAD and OPTIONS carry GET's code",
        arguments: ["/", "/livez", "/health", "/health/auth", "/metrics", "/nope"]
    )
    func methods(path: String) throws {
        for ready in [true, false] {
            let node = Fixture.node(ready ? .healthy : .draining, ready: ready)
            let service = Fixture.health(Fixture.board(node: node, [Fixture.service("auth", node.state)]))
            let get = try #require(try EmbeddedClient.get(service, path))
            let head = try #require(try EmbeddedClient.get(service, path, method: "HEAD"))
            let options = try #require(try EmbeddedClient.get(service, path, method: "OPTIONS"))
            #expect(Set([get.code, head.code, options.code]).count == 1)
            #expect(get["Content-Length"] == "\(get.body.utf8.count)")
            #expect(head["Content-Length"] == get["Content-Length"])
            #expect(options["Content-Length"] == "0")
            #expect(options["Allow"] == "GET, HEAD, OPTIONS")
            #expect(get["Allow"] == nil)
        }
    }

    @Test(
        "nothing of the control socket is there over TCP",
        arguments: ["POST", "DELETE", "PUT", "PATCH", "GET", "HEAD"]
    )
    func control(method: String) throws {
        let service = Fixture.health()
        let paths = [
            "/v1/drain", "/v1/drain?target=auth", "/v1/undrain", "/v1/reload", "/v1/status", "/v1/upgrade",
            "/v1/services/auth/drain", "/v1/services/auth/scale?replicas=0", "/v1/restart?target=auth&rolling=true",
            "/v1", "/v1/",
        ]
        for path in paths {
            let response = try #require(try EmbeddedClient.get(service, path, method: method))
            let isLook = ["GET", "HEAD"].contains(method)
            #expect(response.code == (isLook ? 404 : 405), "\(method) \(path)")
            #expect(response["Allow"] == (isLook ? nil : "GET, HEAD, OPTIONS"), "\(method) \(path)")
        }
    }

    @Test("pipelined requests are answered in order, bodies read over")
    func pipelining() throws {
        let service = Fixture.health()
        let client = try EmbeddedClient(service)
        try client.send(
            "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nGET /HEAD /health/x HTTP/1.1\r\nHost: h\r\n\r\n"
                + "DELETE / HTTP/1.1\r\nHost: h\r\n\r\nGET /livez HTTP/1.0\r\n\r\n"
        )
        let responses = try #require(Response.all(in: client.received, methods: ["GET", "HEAD", "DELETE", "GET"]))
        #expect(responses.map(\.code) == [200, 404, 405, 200])
        #expect(responses[2]["Allow"] == "GET, HEAD, OPTIONS")
        #expect(!client.isOpen)
    }
}
