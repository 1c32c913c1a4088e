import NIOCore
import Testing

@testable import Prober

@Suite("Questions from text")
struct ProbeQuestionTests {
    @Test(
        "URLs",
        arguments: [
            ("http://127.0.0.1:80/ready", "127.0.0.1", 80, "/ready", "127.0.0.1:80"),
            ("http://web", "web", 80, "/", "web"),
            ("http://web:8080", "web", 8080, "/", "web:8080"),
            ("http://web/a/b?c=d&e#f", "web", 80, "/a/b?c=d&e", "web"),
            ("http://web?x", "web", 80, "/?x", "web"),
            ("http://[::1]:9/", "::1", 9, "/", "[::1]:9"),
            ("http://[fe80::1%lo]:9/x", "fe80::1%lo", 9, "/x", "[fe80::1]:9"),
            ("http://web/ü", "web", 80, "/%C3%BC", "web"),
            ("http://web/a:1/[x]", "web", 80, "/a:1/[x]", "web"),
        ]
    )
    func urls(text: String, host: String, port: Int, path: String, authority: String) {
        let expected = ProbeQuestion.http(host: host, port: port, path: path, authority: authority)
        #expect(ProbeQuestion(httpURL: text) == expected)
    }

    @Test(
        "what is no URL that can be asked",
        arguments: [
            "", "http://", "https://web/", "web:80", "http://:80/", "http://web:0/", "http://web:65536/",
            "http://web:/", "http://web:8x/", "http://user@web/", "http://web/a b", "http://web/\r\nX: y",
            "http://web/\u{7f}", "http://[::1/", "http://[web]/", "http://[::1]8/", "http://::1/", "http://we b/",
            "http://web:-1/", "http://web:+1/", "http://web:99999999999999999999/", "HTTP://web/",
            "http://" + String(repeating: "a", count: 254), "http://web/" + String(repeating: "a", count: 5000),
        ]
    )
    func noURLs(text: String) {
        #expect(ProbeQuestion(httpURL: text) == nil)
    }

    @Test("addresses")
    func addresses() {
        #expect(ProbeQuestion(tcpAddress: "127.0.0.1:5432") == .tcp(host: "127.0.0.1", port: 5432))
        #expect(ProbeQuestion(tcpAddress: "[::1]:1") == .tcp(host: "::1", port: 1))
        #expect(ProbeQuestion(grpcAddress: "db-0.local:50051") == .grpc(host: "db-0.local", port: 50051))
        for text in ["", "web", "web:", ":1", "web:0", "web:1/", "::1:1", "[::1]", "[]:1", "a b:1", "http://web:1"] {
            #expect(ProbeQuestion(tcpAddress: text) == nil, "\(text)")
            #expect(ProbeQuestion(grpcAddress: text) == nil, "\(text)")
        }
    }

    @Test("numeric addresses and localhost need no resolver")
    func targets() throws {
        func target(_ text: String) throws -> ProbePlan.Target {
            ProbePlan(try #require(ProbeQuestion(tcpAddress: text))).target
        }
        guard case .addresses(let local) = try target("LocalHost:5") else {
            Issue.record("localhost is looked up")
            return
        }
        #expect(local.map(\.ipAddress) == ["127.0.0.1", "::1"] && local.allSatisfy { $0.port == 5 })
        guard case .addresses(let six) = try target("[fe80::2]:6") else {
            Issue.record("a numeric address is looked up")
            return
        }
        #expect(six.map(\.ipAddress) == ["fe80::2"])
        #expect(try target("web:7") == .name("web"))
    }

    @Test("the request, byte by byte")
    func request() throws {
        let plan = ProbePlan(try #require(ProbeQuestion(httpURL: "http://web:81/a?b")))
        let expected =
            "GET /a?b HTTP/1.1\r\nHost: web:81\r\nUser-Agent: eider-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        #expect(String(buffer: plan.request) == expected)
    }
}
