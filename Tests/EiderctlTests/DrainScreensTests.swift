import Testing

@testable import eiderctl

/// What people see of drains and rolling restarts in `status`, `why` and while they wait.
struct DrainScreensTests {
    private static let drain = #"""
        "drain":{"target":"node","phase":"notice","by":"ada","reason":"kernel","seconds_left":118,\#
        "deadline_reached":false,"waits_for":"load balancers, which have 2s to see it"}
        """#

    private static func status(_ drain: String = drain, services: Int = 2) throws -> StatusAnswer {
        let list = (0..<services).map { index in
            #"{"name":"s\#(index)","state":"draining","reason":"by ada: kernel","ready":0,"desired":1,"instances":[]}"#
        }
        let text = #"""
            {"at":"2026-11-21T08:13:44.120Z","node":{"name":"host-a","state":"draining",\#
            "since":"2026-11-21T08:13:42.120Z","reason":"by ada: kernel",\#(drain)},"services":[\#
            \#(list.joined(separator: ","))]}
            """#
        return try JSONText.decode(StatusAnswer.self, Array(text.utf8))
    }

    private static func why(_ members: String) throws -> String {
        let text = #"""
            {"target":"auth","kind":"service","state":"draining","since":"2026-11-21T08:13:42.120Z",\#
            "at":"2026-11-21T08:13:44.120Z",\#(members),"instances":[],"events":[],"logs":[]}
            """#
        return WhyRenderer(why: try JSONText.decode(WhyAnswer.self, Array(text.utf8))).render()
    }

    // MARK: status

    @Test func `the node's header has one line about its drain`() throws {
        let text = StatusRenderer(status: try Self.status()).node()
        #expect(
            text == """
                host-a  draining for 2s  services 0/2 ready, instances 0/2
                why: by ada: kernel
                drain: notice, 1m 58s left; waits for load balancers, which have 2s to see it
                not healthy: s0 (draining), s1 (draining)

                SERVICE  WANT  READY  STATE     SINCE  RESTARTS  NOTE
                s0          1      0  draining  ?             0  by ada: kernel
                s1          1      0  draining  ?             0  by ada: kernel

                """
        )
        #expect(RendererTests.fits(text))
        let waits = String(repeating: "x\\u001b ", count: 90)
        let long = #""drain":{"target":"node","phase":"notice","by":"a","waits_for":"\#(waits)"}"#
        let clipped = StatusRenderer(status: try Self.status(long)).node()
        #expect(RendererTests.fits(clipped))
        #expect(!clipped.contains("\u{1B}"))
        #expect(clipped.split(separator: "\n").count { $0.hasPrefix("drain: ") } == 1)
    }

    @Test func `a drained node says what puts it back`() throws {
        let drained = #""drain":{"target":"node","phase":"drained","by":"ada"}"#
        let text = StatusRenderer(status: try Self.status(drained)).node()
        #expect(text.contains("\ndrain: drained; eiderctl undrain puts it back into service\n"))
    }

    @Test func `many services in the same state are counted, not named`() throws {
        let all = StatusRenderer(status: try Self.status(services: 15)).node()
        #expect(all.contains("\nnot healthy: all 15 services (draining)\n"))
        var status = try Self.status(services: 15)
        status.services[3].state = "healthy"
        #expect(StatusRenderer(status: status).node().contains("\nnot healthy: 14 services (draining)\n"))
        status.services[4].state = "unhealthy"
        #expect(StatusRenderer(status: status).node().contains("not healthy: s0 (draining), s1 (draining), "))
    }

    @Test func `a rolling restart is the first thing in its service's note`() throws {
        var status = try Self.status(#""ready":true"#)
        status.services[0].reason = "s0/1: is being replaced"
        status.services[0].rolling = RollFacts(replaced: 1, total: 2, by: "ada", reason: nil, text: "drains s0/1")
        let text = StatusRenderer(status: status).node()
        #expect(text.contains("  rolling 1/2: drains s0/1; s0/1…\n"), "\(text)")
        #expect(RendererTests.fits(text))
        let card = StatusRenderer(status: status).card(status.services[0])
        #expect(card.contains("\nrolling: 1 of 2 replaced; drains s0/1\n"), "\(card)")
    }

    // MARK: why

    @Test func `why has who drains it, what it waits for, and the way back`() throws {
        let text = try Self.why(
            #""reason":"by ada: kernel","pid":7,"uptime_seconds":9,"#
                + Self.drain
                + #","in_flight_text":"nobody counts its requests: it reports none and has no port","#
                + #""unblock":["put the node back into service: eiderctl undrain"]"#
        )
        #expect(
            text == """
                auth  draining for 2s
                why        by ada: kernel
                process    pid 7, up 9s
                drain      of the node, by ada: kernel
                           notice, 1m 58s left; waits for load balancers, which have 2s to see
                           it
                in flight  nobody counts its requests: it reports none and has no port
                unblock    put the node back into service: eiderctl undrain

                """
        )
        #expect(RendererTests.fits(text))
    }

    @Test func `why has what a rolling restart is at`() throws {
        let text = try Self.why(
            #""rolling":{"replaced":1,"total":2,"by":"ada","reason":"command changed","text":"drains auth/1"}"#
        )
        #expect(
            text == """
                auth  draining for 2s
                rolling    1 of 2 replaced, by ada: command changed
                           drains auth/1

                """
        )
    }

    @Test func `odd names move no cursor`() throws {
        let text = try Self.why(
            #""drain":{"target":"node","phase":"in-flight","by":"a\u001b[2J","reason":"\u009b31m\u0007","#
                + #""waits_for":"10.0.0.1 (\u001b]0;x\u0007)"},"in_flight_text":"\u001b[1m""#
        )
        #expect(text.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) || $0 == "\n" })
    }

    // MARK: Progress and plan

    private static func answer(_ change: (inout DrainAnswer) -> Void = { _ in }) throws -> DrainAnswer {
        let text = #"""
            {"target":"auth","state":"draining","phase":"notice","by":"ada","seconds_left":58,"deadline_reached":false,
             "probers":[{"address":"10.0.0.1","user_agent":"lb","path":"/","told":"503","acknowledged":false,
             "text":"x"}],
             "instances":[{"name":"auth/0","state":"draining","in_flight":3,"in_flight_source":"worker"},
             {"name":"auth/1","state":"draining"},{"name":"auth/2","state":"drained"}],"lost":[]}
            """#
        var answer = try JSONText.decode(DrainAnswer.self, Array(text.utf8))
        change(&answer)
        return answer
    }

    @Test(arguments: [0, 1, 3, 4, 400], [0, 1, 3, 4, 400])
    func `progress has at most eight lines`(probers: Int, instances: Int) throws {
        let drain = try Self.answer { drain in
            drain.waitsFor = String(repeating: "w", count: 300)
            drain.probers = Array(repeating: drain.probers[0], count: probers)
            drain.instances = Array(repeating: drain.instances[0], count: instances)
        }
        let lines = DrainRenderer(drain).progress()
        #expect((3...8).contains(lines.count))
        #expect(lines.allSatisfy { $0.count < 80 })
        let routes = lines.count { $0.contains("still routes") }
        #expect(routes == (probers <= 3 ? probers : 2))
        #expect(lines.contains { $0 == "  and \(probers - 2) more that still route" } == (probers > 3))
        #expect(
            lines.contains { $0 == "  and \(instances - 2) more with something in flight" } == (instances > 3)
        )
    }

    @Test func `progress says what it is at`() throws {
        #expect(
            DrainRenderer(try Self.answer()).progress() == [
                "draining auth: notice, 58s until the deadline", "  still routes: 10.0.0.1 lb  x",
                "  in flight: auth/0 3",
            ]
        )
        let idle = try Self.answer { drain in
            drain.probers = []
            drain.instances[0].inFlight = 0
            drain.phase = "stopping"
            drain.waitsFor = "auth/0 to end"
        }
        #expect(
            DrainRenderer(idle).progress() == [
                "draining auth: stopping, 58s until the deadline", "  waits for auth/0 to end",
                "  2 of 3 instances left, nothing known to be in flight",
            ]
        )
    }

    @Test func `a plan says who is told and what is stopped`() throws {
        let plan = try Self.answer { $0.notice = .init(mode: "auto", minSeconds: 2, maxSeconds: 75) }
        #expect(
            DrainRenderer(plan).plan() == """
                draining auth would be admitted; nothing was changed
                notice    2s to 1m 15s, until load balancers have seen it
                deadline  58s
                told      1 prober
                          10.0.0.1 lb  /
                stopped   3 instances
                          auth/0  draining, 3 in flight
                          auth/1  draining
                          auth/2  drained

                """
        )
        let nobody = try Self.answer { drain in
            drain.probers = []
            drain.notice = .init(mode: "fixed", minSeconds: 0, maxSeconds: 0)
        }
        #expect(DrainRenderer(nobody).plan().contains("\nnotice    0s\n"))
        #expect(DrainRenderer(nobody).plan().contains("\ntold      nobody who asks now\n"))
    }

    @Test(arguments: [("node", "the node: eiderctl drain-status"), ("auth", "auth: eiderctl drain-status auth")])
    func `what is drained with more says with what`(whole: String, text: String) throws {
        let part = try Self.answer { drain in
            (drain.target, drain.state, drain.phase, drain.partOf) = ("auth/0", "none", nil, whole)
        }
        #expect(DrainRenderer(part).card() == "auth/0 is drained as a part of \(text)\n")
    }

    @Test func `no drain is no error, and others are shown`() throws {
        let none = try Self.answer { drain in
            (drain.target, drain.state, drain.phase, drain.probers, drain.instances) = ("node", "none", nil, [], [])
        }
        #expect(DrainRenderer(none).card() == "the node is not being drained\n")
        let other = try Self.answer { $0.state = "drained" }
        var both = none
        both.others = [other]
        let card = DrainRenderer(both).card()
        #expect(card.hasPrefix("the node is not being drained\n\nauth  drained\n"), "\(card)")
        #expect(card.contains("way back        eiderctl undrain auth\n"))
    }

    @Test func `what was killed is named`() throws {
        let drain = try Self.answer { drain in
            drain.state = "drained"
            drain.deadlineReached = true
            drain.lost = [.init(name: "auth/0", inFlight: 3), .init(name: "auth/1", inFlight: nil)]
        }
        let card = DrainRenderer(drain).card()
        #expect(card.contains("killed          at the deadline: auth/0 (3 in flight), auth/1\n"), "\(card)")
        let many = try Self.answer { drain in
            drain.deadlineReached = true
            drain.lost = (0..<40).map { .init(name: "auth/\($0)", inFlight: 3) }
        }
        #expect(RendererTests.fits(DrainRenderer(many).card()))
    }
}

struct FailureTests {
    @Test(
        arguments: [
            (400, Failure.ExitCode.usage, 64), (403, .notPermitted, 77), (404, .failed, 1), (409, .failed, 1),
            (422, .configuration, 78), (500, .failed, 1), (501, .failed, 1), (503, .unreachable, 69),
        ] as [(Int, Failure.ExitCode, Int32)]
    )
    func `what the daemon answers has its exit code`(status: Int, code: Failure.ExitCode, number: Int32) {
        let failure = Failure(status: status, name: "n", message: "cannot x")
        #expect(failure.exitCode == code)
        #expect(failure.exitCode.rawValue == number)
    }

    @Test func `a drain has two exit codes of its own`() {
        #expect(Failure.ExitCode.deadline.rawValue == 3)
        #expect(Failure.ExitCode.refused.rawValue == 4)
        #expect(Drain.refusal(Failure(status: 409, name: "refused", message: "")).exitCode == .refused)
        #expect(Drain.refusal(Failure(status: 403, name: "not-permitted", message: "")).exitCode == .notPermitted)
        #expect(Drain.refusal(Failure(status: 404, name: "unknown-target", message: "")).exitCode == .failed)
    }
}
