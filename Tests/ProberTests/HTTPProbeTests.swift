import NIOCore
import SupervisorCore
import Testing

@testable import Prober

@Suite("HTTP probes")
struct HTTPProbeTests {
    private static func answer(_ status: String, _ body: String = "", fields: String = "") -> String {
        "HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\n\(fields)\r\n\(body)"
    }

    private func outcome(
        _ acts: FakeServer.Act...,
        timeout: Duration = .seconds(10),
        readFirst: Bool = true
    ) async throws -> ProbeOutcome {
        let server = try await FakeServer.start((readFirst ? [.readRequest] : []) + acts)
        let outcome = try await Asker.outcome(server.http, timeout: timeout)
        // Whatever happens, the connection does not stay.
        _ = try await eventually("the end of the connection") {
            server.open == 0 && server.accepted == 1 ? true : nil
        }
        return outcome.inFull
    }

    @Test(
        "200 to 399 are success, and nothing is followed",
        arguments: ["200 OK", "204 No Content", "302 Found", "399 Odd"]
    )
    func successes(status: String) async throws {
        let text = Self.answer(status, "", fields: "Location: http://127.0.0.1:1/\r\n")
        #expect(try await outcome(.send(text), .close) == .success)
    }

    @Test("what is asked")
    func request() async throws {
        let server = try await FakeServer.start([.readRequest, .send(Self.answer("200 OK")), .close])
        let report = try await Asker.ask(server.http)
        #expect(report.outcome == .success && report.key == Asker.key())
        #expect(report.duration > .zero && report.duration < .seconds(60))
        let expected =
            "GET /ready?full=1 HTTP/1.1\r\nHost: 127.0.0.1:\(server.port)\r\nUser-Agent: eider-probe\r\n"
            + "Accept: */*\r\nConnection: close\r\n\r\n"
        #expect(server.requests == [expected])
    }

    @Test("the head decides: nobody waits for the body")
    func headDecides() async throws {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nonly this"
        #expect(try await outcome(.send(head)) == .success)
        #expect(try await outcome(.send("HTTP/1.1 200 OK\r\n\r\n"), .flood("for ever ")) == .success)
    }

    @Test(
        "other codes are failures, with the first line of the body",
        arguments: [
            (answer("400 Bad Request", "no such thing"), "answered 400 Bad Request: no such thing"),
            (answer("503 My Own Words"), "answered 503 Service Unavailable"),
            (
                answer("503 X", "\r\n\n  the pool is empty \r\nand more"),
                "answered 503 Service Unavailable: the pool is empty"
            ),
            (
                answer("500 X", "a\u{1b}[31mb\u{0}c\u{202e}d"),
                "answered 500 Internal Server Error: a\u{fffd}[31mb\u{fffd}c\u{fffd}d"
            ),
            (
                answer("404 X", String(repeating: "é", count: 500)),
                "answered 404 Not Found: " + String(repeating: "é", count: 60)
            ),
            (answer("799 X", "odd"), "answered 799: odd"),
            (
                answer("503 X", "\u{1f}\u{8b}", fields: "Content-Encoding: gzip\r\n"),
                "answered 503 Service Unavailable"
            ),
            (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
                "answered 101 Switching Protocols"
            ),
            (
                "HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
                "answered 503 Service Unavailable: abcdef"
            ),
            ("HTTP/1.0 500 X\r\n\r\nuntil the end", "answered 500 Internal Server Error: until the end"),
        ]
    )
    func failures(text: String, clause: String) async throws {
        #expect(try await outcome(.send(text), .close) == .failure(clause))
    }

    @Test("bytes that are no text are replaced")
    func noText() async throws {
        let text = Array("HTTP/1.1 500 X\r\nContent-Length: 4\r\n\r\n".utf8) + [0xff, 0x41, 0xc3, 0x0a]
        let clause = "answered 500 Internal Server Error: \u{fffd}A\u{fffd}"
        #expect(try await outcome(.sendBytes(text), .close) == .failure(clause))
    }

    @Test("what the other side says is told apart from what is found")
    func said() async throws {
        let server = try await FakeServer.start([.readRequest, .send("HTTP/1.1 503 X\r\n\r\npassword=1"), .close])
        let outcome = try await Asker.outcome(server.http)
        #expect(outcome == .failure("answered 503 Service Unavailable", said: "password=1"))
    }

    @Test(
        "a success beyond doubt needs no parser",
        arguments: [
            ("HTTP/1.1 200 OK\r\n\r\n", true), ("HTTP/1.0 399 X\r\nA-b_c: d e\r\nContent-Length: 5\r\n\r\nhello", true),
            ("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true), ("HTTP/1.1 200 \r\n\r\n", true),
            ("HTTP/1.1 503 X\r\n\r\n", false), ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\n", false), ("HTTP/1.1 200 OK\n\n", false), ("HTTP/1.1 200OK\r\n\r\n", false),
            ("HTTP/2.0 200 OK\r\n\r\n", false), ("HTTP/1.1 2x0 OK\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\n a: b\r\n\r\n", false), ("HTTP/1.1 200 OK\r\na : b\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\n: b\r\n\r\n", false), ("HTTP/1.1 200 OK\r\na\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\na: \u{1}\r\n\r\n", false), ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", false), ("", false), ("HTTP/1.1 200", false),
        ]
    )
    func plainSuccess(text: String, isOne: Bool) {
        #expect(Array(text.utf8).withUnsafeBytes(PlainSuccess.isOne) == isOne)
    }

    @Test("a body without end is read for its text only")
    func endlessBody() async throws {
        let clause = "answered 503 Service Unavailable: " + String(repeating: "x", count: 120)
        let head = "HTTP/1.1 503 X\r\n\r\n"
        #expect(try await outcome(.send(head), .flood(String(repeating: "x", count: 4096))) == .failure(clause))
        // Space only: so much is enough.
        let spaces = try await outcome(.send(head), .flood(String(repeating: " ", count: 4096)))
        #expect(spaces == .failure("answered 503 Service Unavailable"))
    }

    @Test("a failure stays one when its body does not come in time")
    func slowBody() async throws {
        let head = "HTTP/1.1 503 X\r\nContent-Length: 100\r\n\r\nhalf"
        let found = try await outcome(.send(head), timeout: .seconds(6))
        #expect(found == .failure("answered 503 Service Unavailable"))
        let closed = try await outcome(.send(head), .close)
        #expect(closed == .failure("answered 503 Service Unavailable: half"))
    }

    @Test("100 and 103 are skipped, however often within the bound")
    func informational() async throws {
        let more = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        #expect(try await outcome(.send(more + Self.answer("200 OK")), .close) == .success)
        let flood = try await outcome(.flood("HTTP/1.1 100 Continue\r\n\r\n"))
        #expect(flood == .failure("answered with a head of more than 16384 bytes"))
    }

    @Test("so are many small fields")
    func manyFields() async throws {
        let head = "HTTP/1.1 200 OK\r\n" + String(repeating: "X: a\r\n", count: 1000) + "\r\n"
        #expect(try await outcome(.send(head), .close) == .failure("answered with too many header fields"))
    }

    @Test("a huge head is cut off", arguments: [1, 100])
    func hugeHead(pieces: Int) async throws {
        let field = "X: " + String(repeating: "a", count: 20_000 / pieces) + "\r\n"
        let head = "HTTP/1.1 200 OK\r\n" + String(repeating: field, count: pieces) + "\r\n"
        let found = try await outcome(.send(head), .close)
        #expect(found == .failure("answered with a head of more than 16384 bytes"))
        #expect(try await outcome(.send("HTTP/1.1 200 OK\r\nX: "), .flood("aaaa")) == found)
    }

    @Test("a head within the bound may come with a body beyond it")
    func largeAnswer() async throws {
        let field = "X: " + String(repeating: "a", count: 14_000) + "\r\n"
        let text = Self.answer("200 OK", String(repeating: "b", count: 60_000), fields: field)
        #expect(try await outcome(.send(text), .close) == .success)
    }

    @Test(
        "what is not HTTP",
        arguments: [
            "garbage\r\n\r\n", "\u{0}\u{1}\u{2}\u{3}", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 abc OK\r\n\r\n", "HTTP/1.1 200 OK\r\nbad field\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
        ]
    )
    func garbage(text: String) async throws {
        let found = try await outcome(.send(text))
        #expect(found == .failure("answered something that is not HTTP"))
    }

    @Test("connections that end early")
    func earlyEnds() async throws {
        #expect(try await outcome(.close) == .failure("closed the connection before it answered"))
        let half = try await outcome(.send("HTTP/1.1 200 O"), .close)
        #expect(half == .failure("closed the connection in the middle of its answer"))
        let fields = try await outcome(.send("HTTP/1.1 200 OK\r\nX: y\r\n"), .close)
        #expect(fields == .failure("closed the connection in the middle of its answer"))
        let only = try await outcome(.send("HTTP/1.1 100 Continue\r\n\r\n"), .close)
        #expect(only == .failure("closed the connection in the middle of its answer"))
        // Where that comes before the channel looks, there is only no connection any more.
        let reset = try await outcome(.reset)
        #expect(
            reset == .failure("reset the connection") || reset == .failure("closed the connection before it answered")
        )
    }

    @Test("an answer before the question is none")
    func unsolicited() async throws {
        // It may cross the request on the wire, which nobody can tell from an answer; it must only end.
        let found = try await outcome(.send(Self.answer("200 OK")), .close, readFirst: false)
        #expect(found == .success || found == .failure("answered something that is not HTTP"))
    }

    @Test("silence, and a drip, last as long as the timeout")
    func timeouts() async throws {
        let silent = try await outcome(timeout: .seconds(1))
        #expect(silent == .failure("did not answer within 1s"))
        let began = monotonicNow()
        let slow = try await outcome(.drip(Self.answer("200 OK"), every: 100), timeout: .milliseconds(1200))
        #expect(slow == .failure("did not answer within 1.2s"))
        #expect(monotonicNow().since(began) < .seconds(60))
        // Nor does it help to accept and to read nothing.
        let deaf = try await outcome(timeout: .seconds(1), readFirst: false)
        #expect(deaf == .failure("did not answer within 1s"))
    }
}
