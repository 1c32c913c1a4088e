import NIOCore
import StatusBoard
import SupervisorCore
import Testing

@testable import ControlServer

@Suite(.timeLimit(.minutes(2)))
struct ControlServerTests {
    @Test func looksAndActs() async throws {
        let harness = try await Harness()
        let status = try harness.ask("GET", "/v1/status")
        #expect(status.status == 200)
        #expect(status.headers["content-type"] == "application/json")
        #expect(status.headers["cache-control"] == "no-store")
        #expect(status.body.hasPrefix(#"{"at":"2026-11-21T08:13:44.120Z","node":{"name":"host-a","state":"degraded""#))
        #expect(status.body.hasSuffix("}\n"))
        #expect(try harness.ask("GET", "/v1/version").body == #"{"program":"eiderd","version":"1.2.3"}"# + "\n")
        #expect(try harness.ask("GET", "/v1/services/auth/1/why").body.contains("exited with code 1"))
        #expect(try harness.ask("GET", "/v1/breakers").body == #"{"store":"local","breakers":[]}"# + "\n")
        let stop = try harness.ask("POST", "/v1/services/auth/1/stop?reason=night%20work&wait=false")
        #expect(stop.status == 200)
        #expect(stop.body == #"{"result":"accepted","action":"stop","targets":["auth/1"]}"# + "\n")
        let asked = try #require(harness.port.submitted.first)
        #expect(asked.command == .stop([.instance(InstanceID(service: "auth", index: 1))], reason: "night work"))
        #expect(!asked.wait)
        #expect(asked.caller.uid == geteuidNumber)
        #expect(asked.caller.pid == getpidNumber)
        try await harness.stop()
    }

    @Test(arguments: [
        ("GET", "/v1/nothing", 404, "not-found"), ("GET", "/", 404, "not-found"),
        ("GET", "/v1/services/auht", 404, "unknown-target"), ("GET", "/v1/services/auth/7", 404, "unknown-target"),
        ("DELETE", "/v1/status", 405, "method-not-allowed"), ("GET", "/v1/stop?target=auth", 405, "method-not-allowed"),
        ("GET", "/v1/breakers/auht", 404, "not-found"), ("POST", "/v1/upgrade", 409, "refused"),
        ("GET", "/v1/status?verbos=1", 400, "bad-request"), ("POST", "/v1/stop", 400, "bad-request"),
    ])
    func answersWithCodes(method: String, uri: String, status: Int, code: String) async throws {
        let harness = try await Harness()
        let answer = try harness.ask(method, uri)
        #expect(answer.status == status)
        #expect(answer.body.hasPrefix(#"{"error":{"code":"\#(code)","message":"cannot "#))
        if status == 405 { #expect(answer.headers["allow"] != nil) }
        #expect(harness.port.submitted.isEmpty)
        try await harness.stop()
    }

    @Test func suggestsTheNearestName() async throws {
        let harness = try await Harness()
        #expect(try harness.ask("GET", "/v1/services/evnet-bus").body.contains(#"did you mean \"event-bus\"?"#))
        try await harness.stop()
    }

    @Test func passesTheWordOfSupervisionOn() async throws {
        let harness = try await Harness()
        for (result, status, code) in [
            (OperationResult.failed("cannot start auth/1"), 500, "failed"), (.refused("not now"), 409, "refused"),
            (.unknownTarget("auth/1"), 404, "unknown-target"),
        ] {
            harness.port.answer(result)
            let answer = try harness.ask("POST", "/v1/start?target=auth/1&target=event-bus")
            #expect(answer.status == status)
            #expect(answer.body.contains(#""code":"\#(code)""#))
            #expect(answer.body.contains(#""message":"cannot "#))
        }
        let texts = [
            (
                "auth/1 has no process to signal",
                "cannot signal auth/1: auth/1 has no process to signal; see eiderctl why auth/1"
            ),
            (
                "the shim is being replaced; try again in a moment",
                "cannot signal auth/1: the shim is being replaced; try again in a moment"
            ),
            (
                "cannot signal auth/1: it has no process; start it first",
                "cannot signal auth/1: it has no process; start it first"
            ),
        ]
        for (word, message) in texts {
            harness.port.answer(.refused(word))
            let answer = try harness.ask("POST", "/v1/services/auth/1/signal?signal=HUP")
            #expect(answer.body.contains(#""message":"\#(message)""#))
        }
        try await harness.stop()
    }

    @Test func readersLookAndDoNotAct() async throws {
        let harness = try await Harness(level: .reader)
        #expect(try harness.ask("GET", "/v1/status").status == 200)
        #expect(try harness.ask("GET", "/v1/logs").status == 200)
        for uri in ["/v1/services/auth/restart", "/v1/stop?target=auth", "/v1/upgrade"] {
            let denied = try harness.ask("POST", uri)
            #expect(denied.status == 403)
            #expect(denied.body.contains("not-permitted"))
            #expect(denied.body.contains("control.admins"))
        }
        #expect(harness.port.submitted.isEmpty)
        try await harness.stop()
    }

    @Test func othersAreDenied() async throws {
        let harness = try await Harness(level: .none)
        for (method, uri) in [("GET", "/v1/status"), ("POST", "/v1/stop?target=auth"), ("GET", "/nothing")] {
            let denied = try harness.ask(method, uri)
            #expect(denied.status == 403)
            #expect(denied.body.contains("(uid \(geteuidNumber))"))
        }
        try await harness.stop()
    }

    @Test func answersPipelinedRequestsInOrder() async throws {
        let harness = try await Harness()
        let client = try harness.client()
        let request = "GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n"
        try client.send(
            request + "HEAD /v1/status HTTP/1.1\r\nHost: x\r\n\r\n" + request
                + "GET /v1/none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        #expect(try client.readAnswer().status == 200)
        let head = try client.readAnswer(hasBody: false)
        #expect(head.status == 200)
        #expect(head.headers["content-length"].flatMap(Int.init) ?? 0 > 100)
        #expect(try client.readAnswer().body.contains("1.2.3"))
        #expect(try client.readAnswer().status == 404)
        #expect(client.readToEnd().isEmpty)
        try await harness.stop()
    }

    @Test func answersWhoeverShutsTheirSide() async throws {
        let harness = try await Harness()
        let client = try harness.client()
        try client.send("GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n")
        client.finishSending()
        let text = client.readToEnd()
        #expect(text.hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(text.hasSuffix("}\n"))
        try await harness.stop()
    }

    @Test func answersOldHTTP() async throws {
        let harness = try await Harness()
        let client = try harness.client()
        try client.send("GET /v1/logs HTTP/1.0\r\n\r\n")
        #expect(client.readToEnd().hasPrefix("HTTP/1.0 200 OK\r\n"))
        try await harness.stop()
    }

    @Test func refusesWhatIsNotHTTP() async throws {
        let harness = try await Harness()
        let client = try harness.client()
        try client.send("hello there\r\n\r\n")
        let text = client.readToEnd()
        #expect(text.hasPrefix("HTTP/1.1 400 Bad Request\r\n"))
        #expect(text.contains("it is not HTTP/1.1"))
        try await harness.stop()
    }

    @Test func boundsHeadsAndBodies() async throws {
        let harness = try await Harness()
        let long = String(repeating: "x", count: 20_000)
        for head in ["X: \(long)", (0..<70).map { "X\($0): y" }.joined(separator: "\r\n")] {
            let client = try harness.client()
            try? client.send("GET /v1/status HTTP/1.1\r\nHost: x\r\n\(head)\r\n\r\n")
            #expect(client.readToEnd().hasPrefix("HTTP/1.1 431 "))
        }
        let uri = try harness.client()
        try? uri.send("GET /v1/status?x=\(long) HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(uri.readToEnd().hasPrefix("HTTP/1.1 4"))
        let small = try harness.client()
        try small.send("GET /v1/version HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        try small.send(String(repeating: "b", count: 1000))
        #expect(try small.readAnswer().status == 200)
        let large = try harness.client()
        try large.send("POST /v1/stop?target=auth HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n")
        #expect(try large.readAnswer().status == 413)
        let chunked = try harness.client()
        try chunked.send("POST /v1/stop?target=auth HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        let chunk = "4000\r\n" + String(repeating: "b", count: 0x4000) + "\r\n"
        for _ in 0..<6 { try? chunked.send(chunk) }
        #expect(chunked.readToEnd().hasPrefix("HTTP/1.1 413 "))
        #expect(harness.port.submitted.isEmpty)
        try await harness.stop()
    }

    @Test func boundsConnections() async throws {
        var limits = ControlLimits()
        limits.connections = 3
        let harness = try await Harness(limits: limits)
        var clients: [Client] = []
        for _ in 0..<3 {
            let client = try harness.client()
            try client.send("GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try client.readAnswer().status == 200)
            clients.append(client)
        }
        let refused = try harness.client()
        #expect(refused.readToEnd().hasPrefix("HTTP/1.1 503 "))
        clients.removeLast()
        #expect(await eventually { (try? harness.ask("GET", "/v1/version"))?.status == 200 })
        try await harness.stop()
    }

    @Test func closesIdleConnections() async throws {
        var limits = ControlLimits()
        limits.requestTime = .milliseconds(50)
        let harness = try await Harness(limits: limits)
        let silent = try harness.client()
        let halfway = try harness.client()
        try halfway.send("GET /v1/status HTTP/1.1\r\nHo")
        #expect(silent.readToEnd().isEmpty)
        _ = halfway.readToEnd()
        try await harness.stop()
    }

    @Test func outlivesAClientThatWaitedAndLeft() async throws {
        let harness = try await Harness()
        harness.port.answer(nil)
        do {
            let client = try harness.client()
            try client.send("POST /v1/stop?target=auth HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(await eventually { harness.port.submitted.count == 1 })
        }
        #expect(harness.port.release(.done))
        let waiting = try harness.client()
        try waiting.send("POST /v1/stop?target=auth HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(await eventually { harness.port.submitted.count == 2 })
        #expect(harness.port.release(.done))
        #expect(try waiting.readAnswer().body.contains(#""result":"done""#))
        try await harness.stop()
    }
}
