import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

/// The outage, replayed with real processes and shortened; and restarts for health, whose rules take minutes. These
/// wait more than they work, so that they stand beside the other suites.
struct IncidentTests {
    /// 23 services, 45 processes.
    private static func services(_ port: Int, liveness: Bool) -> String {
        var text = """
            [defaults]
            type = "notify"
            replicas = 2
            command = ["WORKER", "--port", "{port}"]
            [defaults.readiness]
            http = "http://127.0.0.1:{port}/ready"
            period = "1s"
            timeout = "1s"

            """
        if liveness {
            text += "[defaults.liveness]\nhttp = \"http://127.0.0.1:{port}/live\"\nperiod = \"1s\"\ntimeout = \"1s\"\n"
        }
        for index in 0..<23 {
            text += "[services.s\(index)]\nport_base = \(port + 2 * index)\n"
            if index == 0 { text += "replicas = 1\n" }
        }
        return text
    }

    private static func ports(_ port: Int) -> [Int] { [port] + (2..<46).map { port + $0 } }

    private static func workers(_ fleet: Fleet) -> Int {
        Processes.ofFleet(fleet.path).count { Processes.commandLine($0).contains("/eider-worker ") }
    }

    /// Lets every check fail for `time` and answers the most processes that there were.
    private static func outage(_ fleet: Fleet, _ ports: [Int], _ time: Duration) async throws -> Int {
        for port in ports { _ = try HTTP.get("/set?ready=503&live=503", port: port) }
        var most = 0
        try await Deadline(time).pass { most = max(most, workers(fleet)) }
        return most
    }

    @Test func everyCheckFailsAndNothingIsRestarted() async throws {
        let port = try Ports.free(46)
        let fleet = try Fleet(Self.services(port, liveness: true).replacing("[defaults]\n", with: ""))
        try fleet.startAndWait()
        let pids = try fleet.pids()
        #expect(pids.count == 45)
        // Past the grace of I4: from here on only the hold stands between the checks and the workers.
        try await Deadline(.seconds(61)).pass()
        let most = try await Self.outage(fleet, Self.ports(port), .seconds(50))
        #expect(most == 45)
        #expect(try fleet.pids() == pids, "a worker was restarted")
        let status = try fleet.status()
        #expect(status.instances.allSatisfy { $0.restarts == 0 && !$0.ready })
        #expect(try HTTP.get("/health/s1", port: fleet.healthPort()).status == 503)
        let why = try fleet.control("why", "s1/0").output
        #expect(why.contains("I5") && why.contains("hold=correlated"), "\(why)")
        #expect(try fleet.events().contains { $0.kind == "hold" })
        #expect(try fleet.events().contains { $0.kind == "frozen" })
        #expect(try fleet.metric("eider_hold{hold=\"correlated\"}") == 1)
        for port in Self.ports(port) { _ = try HTTP.get("/set?ready=200&live=200", port: port) }
        try fleet.waitUntilReady()
        #expect(try fleet.pids() == pids)
        fleet.stopAndCheck()
    }

    @Test func oneThatFailsAloneIsRestartedLateAndOnce() async throws {
        let port = try Ports.free(4)
        let fleet = try Fleet(
            """
            [services.a]
            command = ["WORKER", "--port", "{port}"]
            type = "notify"
            replicas = 2
            port_base = \(port)
            liveness = { http = "http://127.0.0.1:{port}/live", period = "1s", timeout = "1s" }
            [services.b]
            command = ["WORKER", "--port", "{port}"]
            type = "notify"
            port_base = \(port + 2)
            liveness = { http = "http://127.0.0.1:{port}/live", period = "1s", timeout = "1s", action = "report" }
            """
        )
        try fleet.startAndWait()
        let before = try fleet.pids()
        _ = try HTTP.get("/set?live=503", port: port)
        let shown = try fleet.wait(for: "a/0", "is shown") { $0.state == "degraded" }
        // I2: liveness never routes.
        #expect(shown.ready && shown.reason?.contains("liveness") == true)
        let waits = try fleet.event("suppressed", "(I4)", of: "a/0")
        #expect(waits.text.contains("is not restarted"))
        try await Deadline(.seconds(55)).pass()
        let restarted = try fleet.wait(for: "a/0", "is restarted", within: .seconds(60)) {
            $0.restarts == 1 && $0.ready
        }
        #expect(restarted.last_exit?.cause == "liveness")
        let events = try fleet.events()
        let ready = try #require(events.first { $0.kind == "ready" && $0.subject == "a/0" })
        let stopped = try #require(events.first { $0.kind == "liveness" && $0.text.contains("is restarted") })
        #expect(stopped.seconds - ready.seconds >= 60 || stopped.seconds < ready.seconds)
        #expect(try fleet.pids()["a/1"] == before["a/1"] && fleet.pids()["b/0"] == before["b/0"])
        // Once in ten minutes, whatever it shows.
        _ = try HTTP.get("/set?live=503", port: port + 2)
        _ = try fleet.event("suppressed", "liveness.action is report", of: "b/0")
        #expect(try fleet.instance("b/0").restarts == 0)
        fleet.stopAndCheck()
    }

    @Test func aHostThatStoodStillRestartsNobody() async throws {
        let port = try Ports.free(4)
        let fleet = try Fleet(
            """
            [defaults]
            type = "notify"
            liveness.watchdog = "2s"
            [services.a]
            command = ["WORKER", "--port", "{port}"]
            replicas = 2
            port_base = \(port)
            [services.b]
            command = ["WORKER", "--port", "{port}"]
            replicas = 2
            port_base = \(port + 2)
            """.replacing("[defaults]\n", with: "")
        )
        try fleet.startAndWait()
        let before = try fleet.pids()
        // X3: all workers stand still at once, past the grace and the span of I4.
        for pid in before.values { kill(pid, SIGSTOP) }
        try await Deadline(.seconds(95)).pass()
        #expect(try fleet.status().node.state == "degraded")
        #expect(try fleet.status().instances.allSatisfy { $0.restarts == 0 })
        #expect(try fleet.events().contains { $0.kind == "hold" })
        for pid in before.values { kill(pid, SIGCONT) }
        try fleet.wait("all beat again") { $0.instances.allSatisfy { $0.state == "healthy" } }
        // The supervisor stands still, and finds every heartbeat overdue.
        kill(fleet.daemon, SIGSTOP)
        try await Deadline(.seconds(5)).pass()
        kill(fleet.daemon, SIGCONT)
        _ = try fleet.event("frozen", "held up")
        try fleet.wait("all are well") { $0.instances.allSatisfy { $0.state == "healthy" } }
        #expect(try fleet.pids() == before)
        fleet.stopAndCheck()
    }
}
