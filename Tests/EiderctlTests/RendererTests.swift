import Testing

@testable import eiderctl

/// Golden texts of what people see, none wider than 80 columns.
struct RendererTests {
    static let at = #""at":"2026-11-21T08:13:44.120Z""#

    static let status = """
        {\(at),"node":{"name":"host-a","state":"degraded","intent":"run","since":"2026-11-21T02:13:44.000Z",\
        "reason":"billing is degraded and 1 more","ready":true,"first_start_finished":true,\
        "heartbeat_age_seconds":0.2},"services":[\
        {"name":"gateway","state":"healthy","ready":1,"desired":1,"breaker":"closed",\
        "since":"2026-11-15T06:13:44.000Z","restarts":0,"instances":[{"name":"gateway/0","state":"healthy",\
        "pid":812,"ready":true,"restarts":0,"uptime_seconds":525600.5}]},\
        {"name":"billing","state":"degraded","reason":"billing/1: was ended by SIGKILL for lack of memory","ready":1,\
        "desired":2,"breaker":"closed","critical":true,"since":"2026-11-21T08:09:33.000Z","restarts":3,"instances":[\
        {"name":"billing/0","state":"healthy","pid":4711,"ready":true,"restarts":0,"uptime_seconds":21600},\
        {"name":"billing/1","state":"backoff","reason":"was ended by SIGKILL for lack of memory","ready":false,\
        "restarts":3,"next_start_in_seconds":12.4,"in_flight":2,"crashes_in_a_row":3,"status_text":"up\\u001b[31m",\
        "since":"2026-11-21T08:13:33.000Z","last_exit":{"signal":"SIGKILL","cause":"oom",\
        "at":"2026-11-21T08:13:33.000Z","text":"was ended by SIGKILL for lack of memory"}}]},\
        {"name":"export","state":"stopped","reason":"stopped by anna: night work","ready":0,"desired":0,\
        "breaker":"closed","since":"2026-11-21T07:13:44.000Z","restarts":0,"instances":[]}]}
        """

    static func decoded() throws -> StatusAnswer { try JSONText.decode(StatusAnswer.self, Array(status.utf8)) }

    static func fits(_ text: String, _ width: Int = 80) -> Bool {
        text.split(separator: "\n", omittingEmptySubsequences: false).allSatisfy { $0.count <= width && $0.last != " " }
    }

    @Test func node() throws {
        let text = StatusRenderer(status: try Self.decoded()).node()
        #expect(
            text == """
                host-a  degraded for 6h  services 1/2 ready, instances 2/3
                why: billing is degraded and 1 more
                not healthy: billing (degraded), export (stopped)

                SERVICE  WANT  READY  STATE     SINCE   RESTARTS  NOTE
                gateway     1      1  healthy   6d 2h          0
                billing     2      1  degraded  4m 11s         3  next in 12s; billing/1: was e…
                export      0      0  stopped   1h             0  stopped by anna: night work

                """
        )
        #expect(Self.fits(text))
    }

    @Test func cards() throws {
        let status = try Self.decoded()
        let renderer = StatusRenderer(status: status)
        let service = renderer.card(status.services[1])
        #expect(
            service == """
                billing  degraded for 4m 11s  1/2 ready  breaker closed  critical
                why: billing/1: was ended by SIGKILL for lack of memory

                INSTANCE   STATE     PID  UPTIME  RESTARTS  LAST EXIT
                billing/0  healthy  4711  6h             0  -
                billing/1  backoff     -  -              3  11s ago: was ended by SIGKILL for l…

                more: eiderctl why billing

                """
        )
        #expect(Self.fits(service))
        let instance = renderer.card(status.services[1].instances[1])
        #expect(
            instance == """
                billing/1  backoff for 11s
                why        was ended by SIGKILL for lack of memory
                ready      no
                next start in 12s
                restarts   3 (crashes in a row: 3)
                in flight  2
                it says    up?[31m
                last exit  11s ago: was ended by SIGKILL for lack of memory
                more       eiderctl why billing/1

                """
        )
        #expect(Self.fits(instance))
    }

    @Test func warnsOfAStall() throws {
        var status = try Self.decoded()
        status.node.heartbeatAgeSeconds = 42
        status.node.firstStartFinished = false
        let text = StatusRenderer(status: status).node()
        #expect(text.contains("warning: supervision has not moved for 42s; what follows is that old\n"))
        #expect(text.contains("note: the first start is still going on\n"))
        #expect(Self.fits(text))
    }

    @Test func longNamesStillFit() throws {
        var status = try Self.decoded()
        let long = String(repeating: "name-", count: 20)
        status.node.name = "h"
        status.services[1].name = long
        status.services[1].state = "breaker-open"
        status.services[1].instances[1].name = long + "/1"
        status.services[1].restarts = 123_456_789
        status.services[1].since = "2020-11-21T08:13:33.000Z"
        let renderer = StatusRenderer(status: status)
        #expect(Self.fits(renderer.node()))
    }

    @Test func why() throws {
        let json = """
            {"target":"billing/1","kind":"instance","state":"backoff","reason":"was ended by SIGKILL","\
            since":"2026-11-21T08:13:33.000Z",\(Self.at),"ready":false,"restarts":3,"crashes_in_a_row":3,\
            "last_exit":{"signal":"SIGKILL","cause":"oom","at":"2026-11-21T08:13:33.000Z","text":"x",\
            "explanation":"killed by the kernel for lack of memory (memory_max 512MiB)"},\
            "policy":{"restart":"always","text":"always, backoff 500ms ×2 up to 1m ±20 %, forgotten after 1m; \
            gives up: never"},"next_start":{"at":"2026-11-21T08:13:56.520Z","in_seconds":12.4,"attempt":4},\
            "unblock":["start it now: eiderctl start billing/1","raise services.billing.resources.memory_max, or \
            find what takes the memory"],"events":[{"sequence":1,"at":"2026-11-21T08:13:33.000Z",\
            "subject":"billing/1","kind":"exited","text":"billing/1 was ended by SIGKILL for lack of memory, and \
            it is started again in 12s"}],"logs":[{"sequence":1,"at":"2026-11-21T08:13:32.000Z",\
            "instance":"billing/1","text":"allocating a cache of 4096 entries, each of 1 MiB, because the \
            configuration says so"}]}
            """
        let text = WhyRenderer(why: try JSONText.decode(WhyAnswer.self, Array(json.utf8))).render()
        #expect(
            text == """
                billing/1  backoff for 11s
                why        was ended by SIGKILL
                last exit  killed by the kernel for lack of memory (memory_max 512MiB), 11s ago
                           (2026-11-21T08:13:33Z, cause oom); crashes in a row: 3
                policy     always, backoff 500ms ×2 up to 1m ±20 %, forgotten after 1m; gives
                           up: never
                next       attempt 4 in 12s (2026-11-21T08:13:56Z)
                unblock    start it now: eiderctl start billing/1
                           raise services.billing.resources.memory_max, or find what takes the
                           memory

                events     08:13:33  billing/1 was ended by SIGKILL for lack of memory, and it
                                     is started again in 12s

                logs       08:13:32  allocating a cache of 4096 entries, each of 1 MiB, because…

                """
        )
        #expect(Self.fits(text))
    }

    @Test func whyOfAService() throws {
        let json = """
            {"target":"auth","kind":"service","state":"healthy",\(Self.at),"since":"2026-11-21T08:13:33.000Z",\
            "ready":2,"desired":2,"unblock":[],"instances":[{"target":"auth/0","state":"healthy",\(Self.at),\
            "since":"2026-11-21T08:13:33.000Z","ready":true,"pid":5,"uptime_seconds":11}],"events":[],"logs":[]}
            """
        let text = WhyRenderer(why: try JSONText.decode(WhyAnswer.self, Array(json.utf8))).render()
        #expect(text == "auth  healthy for 11s\n\nauth/0  healthy for 11s\nprocess    pid 5, up 11s\n")
    }

    @Test func streams() {
        let plain = LineRenderer(onTerminal: false)
        let log = #"{"sequence":1,"at":"2026-11-21T08:13:44.120Z","instance":"auth/0","text":"a\u001b[2J\tb\u0000"}"#
        // What is piped ends on a terminal as well: only the tab, which programs split by, is kept then.
        #expect(plain.log(log) == "2026-11-21T08:13:44Z auth/0 a?[2J\tb?\n")
        #expect(LineRenderer(onTerminal: true).log(log) == "2026-11-21T08:13:44Z auth/0 a?[2J    b?\n")
        #expect(plain.log(#"{"dropped":7}"#) == nil && plain.event(#"{"dropped":7}"#) == nil)
        #expect(
            LineRenderer.loss(#"{"dropped":7}"#)
                == "cannot show 7 lines: they left the daemon's memory before they could be taken; "
                + "the log files may have them"
        )
        #expect(LineRenderer.loss(#"{"dropped":7,"of":"host"}"#)?.hasPrefix("cannot show up to 7 lines: ") == true)
        #expect(LineRenderer.loss(#"{"text":"{\"dropped\":7}"}"#) == nil)
        #expect(plain.log("nonsense") == nil)
        #expect(
            plain.event(#"{"sequence":1,"at":"2026-11-21T08:13:44.120Z","kind":"ready","text":"auth/0 is ready"}"#)
                == "2026-11-21T08:13:44Z ready        auth/0 is ready\n"
        )
        #expect(
            plain.event("{\"snapshot\":\(Self.status),\"sequence\":3}")
                == "2026-11-21T08:13:44Z state        host-a is degraded, 2 of 3 instances are ready\n"
        )
    }

    @Test func coloursOnlyWhereWanted() throws {
        let status = try Self.decoded()
        let plain = StatusRenderer(status: status).node()
        let coloured = StatusRenderer(status: status, style: Style(colours: true)).node()
        #expect(!plain.contains("\u{1B}"))
        #expect(coloured.contains("\u{1B}[33mdegraded\u{1B}[0m"))
        #expect(coloured.contains("\u{1B}[32mhealthy\u{1B}[0m"))
    }

    @Test func progress() throws {
        let services = try Self.decoded().services.filter { $0.name == "billing" }
        #expect(
            Progress.line("restarting billing", services, 12.3)
                == "restarting billing: billing 1/2 ready (billing/1 backoff), 12s"
        )
        var rolling = services
        rolling[0].rolling = RollFacts(replaced: 1, total: 2, by: nil, reason: nil, text: "drains billing/1")
        #expect(
            Progress.line("restarting billing", rolling, 12.3)
                == "restarting billing: billing 1/2 ready (1/2: drains billing/1), 12s"
        )
    }
}
