import Testing

@testable import eiderctl

struct DrainRendererTests {
    private static func drain(_ change: (inout DrainAnswer) -> Void = { _ in }) throws -> DrainAnswer {
        let text = #"""
            {"at":"","target":"node","state":"draining","phase":"notice","by":"ada","reason":"kernel",
             "since":"2026-11-26T09:00:00.5Z","deadline":"2026-11-26T09:02:00.5Z","seconds_left":112,
             "deadline_reached":false,"waits_for":"10.0.0.1 (HAProxy): was told 503 1 of 3 times",
             "notice":{"mode":"auto","min_seconds":2,"max_seconds":75},
             "probers":[{"address":"10.0.0.1","user_agent":"HAProxy","path":"/health/auth","told":"503",
                         "acknowledged":false,"text":"was told 503 1 of 3 times"},
                        {"address":"10.0.0.2","user_agent":"","path":"/","told":"503","acknowledged":true,
                         "text":"was told 503"}],
             "instances":[{"name":"auth/0","state":"draining","in_flight":3,"in_flight_source":"worker"},
                          {"name":"auth/1","state":"draining","in_flight":1,"in_flight_source":"connections"},
                          {"name":"auth/2","state":"drained"}],
             "lost":[],"others":[]}
            """#
        var answer = try JSONText.decode(DrainAnswer.self, Array(text.utf8))
        change(&answer)
        return answer
    }

    @Test func `a drain fits 80 columns`() throws {
        let card = DrainRenderer(try Self.drain()).card()
        #expect(
            card == """
                the node  draining
                  phase           notice, 1m 52s until the deadline
                  by              ada: kernel
                  since           2026-11-26T09:00:00Z
                  deadline        2026-11-26T09:02:00Z
                  waits for       10.0.0.1 (HAProxy): was told 503 1 of 3 times

                PROBER            ASKS          ROUTES   WHY
                10.0.0.1 HAProxy  /health/auth  still    was told 503 1 of 3 times
                10.0.0.2          /             no more  was told 503

                INSTANCE  STATE     IN FLIGHT
                auth/0    draining  3
                auth/1    draining  1 (connections)
                auth/2    drained   -

                """
        )
        #expect(card.split(separator: "\n").allSatisfy { $0.count <= 80 })
    }

    @Test func `progress is at most eight lines, and clipped`() throws {
        let drain = try Self.drain { drain in
            drain.probers = Array(repeating: drain.probers[0], count: 40)
            drain.instances = Array(repeating: drain.instances[0], count: 40)
            drain.waitsFor = String(repeating: "long ", count: 60)
        }
        let lines = DrainRenderer(drain, width: 80).progress()
        #expect(lines.count <= 8)
        #expect(lines.allSatisfy { $0.count < 80 })
        #expect(lines.contains { $0.contains("and 38 more that still route") })
    }

    @Test func `what others say cannot move the cursor`() throws {
        let drain = try Self.drain { drain in
            drain.reason = "a\u{1B}[2Jb"
            drain.probers[0].userAgent = "x\u{1B}[1mé\n"
            drain.waitsFor = "y\u{07}"
        }
        let renderer = DrainRenderer(drain)
        for text in [renderer.card(), renderer.line(), renderer.plan()] + renderer.progress() {
            #expect(!text.unicodeScalars.contains { $0.value == 0x1B || $0.value == 0x07 })
        }
    }

    @Test func `each change of phase is a line where nobody watches`() throws {
        #expect(
            DrainRenderer(try Self.drain()).line()
                == "the node: notice, 1m 52s left; waits for 10.0.0.1 (HAProxy): was told 503 1 of 3 times"
        )
    }

    @Test func `a reload's plan names each instance and why`() throws {
        let text = #"""
            {"result":"planned","plan":{"steps":[{"action":"restart","instance":"auth/0","reason":"changed: command"},
             {"action":"stop","instance":"old/0","reason":"the configuration names it no more"}],
             "in_force":["drain.deadline"],"needs_daemon_restart":["health.listen"]}}
            """#
        let answer = try JSONText.decode(ReloadAnswer.self, Array(text.utf8))
        #expect(
            ReloadRenderer(answer).render() == """
                restart auth/0  changed: command
                stop    old/0   the configuration names it no more
                without touching any instance:
                  drain.deadline
                only with a daemon that is started anew (eiderctl upgrade; workers are not touched):
                  health.listen
                nothing was changed

                """
        )
    }
}
