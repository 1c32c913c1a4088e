import NIOCore
import StatusBoard
import SupervisorCore
import Testing

@testable import HealthServer

@Suite("Verdicts and their answers")
struct RendererTests {
    @Test("a service's state decides status and code")
    func serviceVerdicts() throws {
        let expected: [(PublicState, Int, String, Int)] = [
            (.healthy, 2, "pass", 200), (.degraded, 1, "warn", 200), (.breakerOpen, 2, "warn", 200),
            (.unhealthy, 0, "fail", 503), (.starting, 0, "fail", 503), (.draining, 2, "fail", 503),
            (.drained, 0, "fail", 503), (.stopped, 0, "fail", 503),
        ]
        for (state, ready, status, code) in expected {
            let service = Fixture.health(Fixture.board([Fixture.service("auth", state, ready: ready)]))
            for path in ["/health/auth", "/health/auth/ready", "/health/auth?verbose"] {
                let response = try #require(try EmbeddedClient.get(service, path))
                #expect(response.code == code, "\(state) \(path)")
                #expect(response.body.hasPrefix("{\"status\":\"\(status)\",\"state\":\"\(state.rawValue)\","))
                #expect(response["X-Eider-State"] == state.rawValue)
                #expect(response["Content-Type"] == "application/health+json")
                #expect((response["Retry-After"] != nil) == (code == 503))
                #expect((response["X-Envoy-Degraded"] == "true") == (status == "warn" || state == .degraded))
                let isDrained = state == .draining || state == .drained
                #expect((response["X-Envoy-Immediate-Health-Check-Fail"] == "true") == isDrained)
            }
        }
    }

    @Test("drain=404 concerns what is draining and nothing else")
    func drainAsNotFound() throws {
        let board = Fixture.board([Fixture.service("auth", .draining), Fixture.service("chat", .stopped, ready: 0)])
        let service = Fixture.health(board)
        #expect(try EmbeddedClient.get(service, "/health/auth?drain=404")?.code == 404)
        #expect(try EmbeddedClient.get(service, "/health/auth?verbose&x=1&drain=404")?.code == 404)
        #expect(try EmbeddedClient.get(service, "/health/auth?drain=503")?.code == 503)
        #expect(try EmbeddedClient.get(service, "/health/chat?drain=404")?.code == 503)
        #expect(try EmbeddedClient.get(service, "/?drain=404")?.code == 200)
        let response = try #require(try EmbeddedClient.get(service, "/health/auth?drain=404"))
        #expect(response.body.hasPrefix("{\"status\":\"fail\",\"state\":\"draining\""))
        #expect(response["X-Envoy-Immediate-Health-Check-Fail"] == "true")
    }

    @Test("the members stand in the order of the contract")
    func order() throws {
        var status = Fixture.service("auth", .degraded, ready: 1)
        status.reason = "one replica is missing"
        let service = Fixture.health(Fixture.board([status]))
        #expect(
            try EmbeddedClient.get(service, "/health/auth")?.body
                == #"{"status":"warn","state":"degraded","service":"auth","ready":1,"desired":2,"#
                + #""since":"2025-11-21T08:00:00.000Z","reason":"one replica is missing"}"#
        )
        #expect(
            try EmbeddedClient.get(service, "/health")?.body
                == #"{"status":"pass","state":"healthy","service":"host-a","ready":1,"desired":2,"#
                + #""since":"2025-11-21T08:00:00.000Z","node":"host-a"}"#
        )
        #expect(
            try EmbeddedClient.get(service, "/health/auth/0")?.body
                == #"{"status":"pass","state":"healthy","service":"auth","ready":1,"desired":1,"#
                + #""since":"2025-11-21T08:00:00.000Z","instance":0}"#
        )
        #expect(
            try EmbeddedClient.get(service, "/health/auth/0?verbose")?.body
                == #"{"status":"pass","state":"healthy","service":"auth","ready":1,"desired":1,"#
                + #""since":"2025-11-21T08:00:00.000Z","instance":0,"live":true,"restarts":0}"#
        )
    }

    @Test("an instance that an operator stopped is not wanted")
    func stoppedInstance() throws {
        var status = Fixture.service("auth", .healthy, ready: 1)
        status.instances[1].state = .stopped
        status.instances[1].reason = "by root: night work"
        status.instances[1].intentReason = "stopped by root: night work"
        let service = Fixture.health(Fixture.board([status]))
        #expect(
            try EmbeddedClient.get(service, "/health/auth/1")?.body
                == #"{"status":"fail","state":"stopped","service":"auth","ready":0,"desired":0,"#
                + #""since":"2025-11-21T08:00:00.000Z","reason":"by root: night work","instance":1}"#
        )
        let verbose = try #require(try EmbeddedClient.get(service, "/health/auth?verbose")?.body)
        #expect(verbose.contains(#""name":"auth/0","status":"pass","state":"healthy","ready":1,"desired":1,"#))
        #expect(verbose.contains(#""name":"auth/1","status":"fail","state":"stopped","ready":0,"desired":0,"#))
    }

    @Test("nothing of a completed oneshot has to live any more")
    func completedOneshot() throws {
        var status = Fixture.service("migrate", .healthy, ready: 1, desired: 1)
        status.instances[0].live = false
        status.instances[0].reason = "it has completed"
        let service = Fixture.health(Fixture.board([status]))
        for path in ["", "/live", "/ready", "/startup", "/0"] {
            let response = try #require(try EmbeddedClient.get(service, "/health/migrate" + path))
            #expect(response.code == 200, "\(path)")
            #expect(response.body.hasPrefix(#"{"status":"pass","state":"healthy","#))
        }
        // One that has a process gives no such excuse.
        status.instances[0].pid = 4711
        let stalled = Fixture.health(Fixture.board([status]))
        #expect(try EmbeddedClient.get(stalled, "/health/migrate/live")?.code == 503)
    }

    @Test("whatever says degraded says so to Envoy too")
    func degradedEverywhere() throws {
        let service = Fixture.health(Fixture.board(node: Fixture.node(.degraded, ready: true)))
        for path in ["/", "/livez", "/readyz", "/healthz", "/startupz", "/health", "/metrics", "/nope"] {
            let response = try #require(try EmbeddedClient.get(service, path))
            #expect(response["X-Eider-State"] == "degraded", "\(path)")
            #expect(response["X-Envoy-Degraded"] == "true", "\(path)")
        }
        #expect(try EmbeddedClient.get(service, "/health/auth")?["X-Envoy-Degraded"] == nil)
    }

    @Test("a reason of any length or content leaves the body below 512 bytes and well formed")
    func longReasons() throws {
        let reasons = [
            String(repeating: "x", count: 2000), String(repeating: "\"", count: 600),
            String(repeating: "é", count: 600),
            String(repeating: "\u{0}", count: 600), String(repeating: "😀\\", count: 300),
        ]
        for reason in reasons {
            for name in ["auth", String(repeating: "n", count: 700), String(repeating: "\"", count: 300)] {
                var status = Fixture.service(name, .unhealthy, ready: 0)
                status.reason = reason
                let renderer = HealthRenderer(limits: HealthServerLimits(), version: "1")
                let snapshot = Fixture.board([status]).snapshot
                var heads = HeadCache()
                let packs = [
                    renderer.answers(for: status, in: snapshot, &heads), renderer.nodeJSON(snapshot, &heads),
                ]
                for pack in packs {
                    for entry in pack.entries {
                        let body = pack.bytes[entry.common.range] + pack.bytes[entry.end.range]
                        #expect(body.count < 512)
                        let text = String(decoding: body, as: UTF8.self)
                        #expect(text.hasPrefix("{") && text.hasSuffix("}") && !text.contains("\u{FFFD}"))
                    }
                }
            }
        }
    }

    @Test("text is cut between characters and kept on one line")
    func singleLine() {
        #expect("aé€😀".singleLine(bytes: 5) == "aé")
        #expect("aé€😀".singleLine(bytes: 6) == "aé€")
        #expect("a\nb\u{85}c".singleLine(bytes: 99) == "a b c")
    }

    @Test("the node's text says ok or why not")
    func nodeText() throws {
        var node = Fixture.node(.draining, ready: false)
        node.reason = "kernel\nupdate"
        let service = Fixture.health(Fixture.board(node: node))
        for path in ["/", "/readyz", "/healthz"] {
            let response = try #require(try EmbeddedClient.get(service, path))
            #expect(response.code == 503)
            #expect(response.body == "draining: kernel update")
        }
        #expect(try EmbeddedClient.get(service, "/livez")?.code == 200)
        #expect(try EmbeddedClient.get(service, "/startupz")?.code == 200)
        #expect(try EmbeddedClient.get(service, "/readyz?verbose")?.body == "[+]auth ok\ndraining: kernel update\n")
        let starting = Fixture.health(Fixture.board(node: Fixture.node(.starting, ready: false)))
        let response = try #require(try EmbeddedClient.get(starting, "/startupz"))
        #expect(response.code == 503 && response.body == "starting: the first start has not finished")
    }

    @Test("aspects and instances have verdicts of their own")
    func aspects() throws {
        var status = Fixture.service("auth", .unhealthy, ready: 1, desired: 3)
        status.routable = false
        status.instances[2].live = true
        let service = Fixture.health(Fixture.board([status]))
        let codes = try ["", "/live", "/ready", "/startup", "/0", "/1", "/2", "/3", "/-1", "/00"].map {
            try EmbeddedClient.get(service, "/health/auth" + $0)?.code
        }
        #expect(codes == [503, 200, 503, 200, 200, 503, 503, 404, 404, 404])
    }

    @Test("what is published is answered, and only what changed is rendered")
    func publication() throws {
        let board = Fixture.board([Fixture.service("auth", .starting, ready: 0), Fixture.service("chat", .healthy)])
        let service = Fixture.health(board)
        #expect(try EmbeddedClient.get(service, "/health/auth")?.code == 503)
        board.publish(node: Fixture.node(.degraded, ready: true), services: [(0, Fixture.service("auth", .healthy))])
        #expect(try EmbeddedClient.get(service, "/health/auth")?.code == 503)
        service.refresh()
        #expect(try EmbeddedClient.get(service, "/health/auth")?.code == 200)
        #expect(try EmbeddedClient.get(service, "/")?["X-Envoy-Degraded"] == "true")
        #expect(try EmbeddedClient.get(service, "/nope")?["X-Eider-State"] == "degraded")

        // Another number of instances, then another set of services.
        #expect(try EmbeddedClient.get(service, "/health/chat/2")?.code == 404)
        let more = Fixture.service("chat", .healthy, ready: 3, desired: 3)
        board.publish(node: Fixture.node(.healthy, ready: true), services: [(1, more)])
        service.refresh()
        #expect(try EmbeddedClient.get(service, "/health/chat/2")?.code == 200)
        var fleet = FleetStatus(node: Fixture.node(.healthy, ready: true))
        fleet.services = [Fixture.service("orders", .healthy)]
        board.publish(fleet: fleet)
        service.refresh()
        #expect(try EmbeddedClient.get(service, "/health/orders/1")?.code == 200)
        #expect(try EmbeddedClient.get(service, "/health/auth")?.code == 404)
    }

    @Test("livez follows the heartbeat, and looks again before it accuses")
    func heartbeat() throws {
        let clock = TestClock()
        let board = Fixture.board()
        let service = Fixture.health(board, clock: clock)
        clock.advance(.seconds(5))
        #expect(try EmbeddedClient.get(service, "/livez")?.code == 200)
        clock.advance(.milliseconds(1))
        let response = try #require(try EmbeddedClient.get(service, "/livez"))
        #expect(response.code == 503 && response["Retry-After"] != nil)
        #expect(response.body == "the supervision loop has stalled")
        #expect(!service.selfCheck())
        // The service has not been told of this beat.
        board.beat(at: clock.now, wallClockOffset: Fixture.wallClockOffset)
        #expect(try EmbeddedClient.get(service, "/livez")?.code == 200)
        #expect(service.selfCheck())
    }

    @Test("a step of the wall clock is shown within one sweep")
    func clockStep() throws {
        let board = Fixture.board()
        let service = Fixture.health(board)
        board.beat(at: Fixture.origin, wallClockOffset: Fixture.wallClockOffset + 3_600_000_000_000)
        service.sweep()
        #expect(try EmbeddedClient.get(service, "/health")?.body.contains("2025-11-21T09:00:00.000Z") == true)
    }

    @Test("metrics are 200 whatever happens, and rendered again after a publication or a second")
    func metrics() throws {
        let clock = TestClock()
        let board = Fixture.board(node: Fixture.node(.drained, ready: false))
        let service = Fixture.health(board, clock: clock)
        let first = try #require(try EmbeddedClient.get(service, "/metrics"))
        #expect(first.code == 200)
        #expect(first["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8")
        #expect(first.body.contains("eider_build_info{version=\"1.2.3\"} 1\n"))
        #expect(first.body.contains("eider_health_requests_total{code=\"200\"} 0\n"))
        #expect(try EmbeddedClient.get(service, "/metrics") == first)
        clock.advance(.seconds(1))
        #expect(
            try EmbeddedClient.get(service, "/metrics")?.body
                .contains("eider_health_requests_total{code=\"200\"} 2\n") == true
        )
        board.publish(node: Fixture.node(.healthy, ready: true), services: [])
        #expect(try EmbeddedClient.get(service, "/metrics")?.body.contains("eider_node_ready 1\n") == true)
    }

    @Test("lists in verbose answers are bounded")
    func boundedLists() throws {
        var limits = HealthServerLimits()
        limits.verboseEntries = 3
        let services = (0..<5).map { Fixture.service("s\($0)", .healthy) }
        let service = Fixture.health(Fixture.board(services), limits: limits)
        #expect(try EmbeddedClient.get(service, "/health?verbose")?.body.hasSuffix("],\"omitted\":2}") == true)
        #expect(try EmbeddedClient.get(service, "/?verbose")?.body == "[+]s0 ok\n[+]s1 ok\n[+]s2 ok\nand 2 more\nok\n")
    }

    @Test("the agent says both axes, and a reason after a space and a number sign")
    func agentLines() {
        func line(_ state: PublicState, _ ready: Int, _ desired: Int = 2, reason: String? = nil) -> String {
            var status = Fixture.service("auth", state, ready: ready, desired: desired)
            status.reason = reason
            return AgentRenderer.line(.service(status), ready: ready, desired: desired)
        }
        #expect(line(.healthy, 2) == "up ready 100%\n")
        #expect(line(.breakerOpen, 2) == "up ready 100%\n")
        #expect(line(.degraded, 1) == "up ready 50%\n")
        #expect(line(.degraded, 1, 300) == "up ready 1%\n")
        #expect(line(.degraded, 2) == "up ready 100%\n")
        #expect(line(.draining, 2) == "up drain\n")
        #expect(line(.stopped, 0, reason: "by\nops") == "stopped # stopped: by ops\n")
        #expect(line(.drained, 0) == "up drain\n")
        #expect(line(.starting, 0) == "down # starting: no instance is ready\n")
        #expect(line(.unhealthy, 0, reason: "exited") == "down # unhealthy: exited\n")
    }
}
