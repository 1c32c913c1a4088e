import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// How long drains take and how they end, whatever happens to the daemon meanwhile.
    @Suite(.serialized) struct DrainLifeTests {
        private static func fleet(
            _ port: Int,
            _ switches: [String] = [],
            drain: String = "notice_min = \"0s\"\nnotice_max = \"0s\""
        ) throws -> Fleet {
            let words = (["WORKER"] + switches).map { "\"\($0)\"" }.joined(separator: ", ")
            let fleet = try Fleet(
                """
                [services.web]
                command = [\(words)]
                type = "notify"
                port_base = \(port)
                stop.grace_period = "1s"
                """,
                ["drain": drain]
            )
            try fleet.startAndWait()
            return fleet
        }

        /// A request that is being answered for so long, and that the daemon knows of.
        private static func request(_ milliseconds: Int, _ port: Int, _ fleet: Fleet) throws -> Connection {
            let connection = try Connection(port: port)
            connection.send("GET /slow?ms=\(milliseconds) HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            try fleet.wait(for: "web/0", "has it in flight") { $0.in_flight == 1 }
            return connection
        }

        private static func isAnswered(_ connection: Connection) throws -> Bool {
            guard let bytes = connection.read(.seconds(20)) else { return false }
            return try Answer(bytes).status == 200
        }

        /// A fleet where drain is as an operator has set it up, with nothing to wait for.
        @Test func aNoticeOfNothingIsOverAtOnce() throws {
            let port = try Ports.free(1)
            let fleet = try Self.fleet(port, drain: "")
            let watch = Stopwatch()
            let drained = try fleet.control("drain", "--notice", "0s")
            #expect(drained.exitCode == 0 && drained.output.hasSuffix("the node: drained\n"), "\(drained)")
            report("a drain without notice: \(rounded(watch.seconds)) s")
            #expect(watch.seconds < 2)
            #expect(try fleet.pids().isEmpty && Ports.isFree(port))
            // Said again it is done already, and so is its end when nothing is drained.
            #expect(try fleet.control("drain").exitCode == 0)
            for _ in 0..<2 { #expect(try fleet.control("undrain").exitCode == 0) }
            #expect(try fleet.status().node.state == "healthy")
            fleet.stopAndCheck(signal: SIGINT)
        }

        /// The deadline bounds all of it, and what was lost is said.
        @Test(arguments: [[], ["--ignore-sigterm"]])
        func theDeadlineIsKept(_ switches: [String]) throws {
            let port = try Ports.free(1)
            let fleet = try Self.fleet(port, switches)
            let pid = try #require(fleet.instance("web/0").pid)
            let lost = try Self.request(600_000, port, fleet)
            let watch = Stopwatch()
            let drain = try fleet.controlling("drain", "--deadline", "3s")
            #expect(Deadline(.seconds(10)).wait { !Processes.lives(pid) })
            let killed = watch.seconds
            let code = drain.ended()
            report("a deadline of 3 s: killed after \(rounded(killed)) s, told after \(rounded(watch.seconds)) s")
            #expect(abs(killed - 3) < 0.5)
            #expect(code == 3 && drain.errors.contains("killed: web/0 (1 request in flight)"), "\(drain.errors)")
            #expect(lost.read(.seconds(1)) == [])
            let end = try fleet.drain()
            #expect(end.state == "drained" && end.deadline_reached, "\(end)")
            #expect(end.lost.map(\.name) == ["web/0"] && end.lost.first?.in_flight == 1, "\(end)")
            #expect(try fleet.instance("web/0").last_exit?.signal == "SIGKILL")
            #expect(try fleet.control("undrain").exitCode == 0)
            #expect(try fleet.instance("web/0").restarts == 0)
            fleet.stopAndCheck()
        }

        @Test func undrainInTheNoticeTouchesNobody() throws {
            let port = try Ports.free(1)
            let fleet = try Self.fleet(port, drain: "notice_min = \"30s\"")
            let before = try fleet.pids()
            let drain = try fleet.controlling("drain")
            try fleet.wait(forDrain: "in its notice") { $0.phase == "notice" }
            #expect(try fleet.status().node.state == "draining")
            #expect(try HTTP.get("/", port: port).status == 200)
            #expect(try fleet.control("undrain").exitCode == 0)
            #expect(drain.ended() == 1 && drain.errors.contains("taken back by eiderctl undrain"), "\(drain.errors)")
            #expect(try fleet.pids() == before && fleet.status().node.state == "healthy")
            fleet.stopAndCheck(signal: SIGINT)
        }

        /// The daemon is killed in a phase; the next one goes on with it, and so does whoever waits.
        @Test(arguments: ["notice", "in-flight", "stopping"])
        func aKilledDaemonsDrainGoesOn(_ phase: String) throws {
            let port = try Ports.free(1)
            let fleet = try Self.fleet(port, drain: phase == "notice" ? "notice_min = \"2s\"" : "notice_min = \"0s\"")
            let pid = try #require(fleet.instance("web/0").pid)
            let work = try Self.request(phase == "notice" ? 2_500 : 4_000, port, fleet)
            // The last five seconds are for stopping.
            let drain = try fleet.controlling("drain", "--deadline", phase == "stopping" ? "6s" : "60s")
            // Seen by who waits, too: without an answer to what it asked there would be nothing to wait for.
            try drain.wait("the phase \(phase)") { drain.output.contains("the node: \(phase)") }
            fleet.killDaemon()
            try fleet.start()
            let after = try fleet.drain()
            #expect(after.state == "draining" && after.phase == phase, "\(after)")
            #expect(try fleet.instance("web/0").pid == pid)
            #expect(try Self.isAnswered(work))
            #expect(drain.ended() == 0, "\(drain.output)\(drain.errors)")
            #expect(try fleet.drain().state == "drained" && fleet.pids().isEmpty)
            #expect(try fleet.control("undrain").exitCode == 0)
            #expect(try fleet.instance("web/0").ready)
            fleet.stopAndCheck()
        }

        /// No daemon is there when the deadline comes: the next one enforces it, and who waits is told.
        @Test func aDeadlineWithoutADaemonIsMadeUpFor() throws {
            let port = try Ports.free(1)
            let fleet = try Self.fleet(port, ["--ignore-sigterm"])
            let work = try Self.request(600_000, port, fleet)
            let drain = try fleet.controlling("drain", "--deadline", "1s")
            try drain.wait("the phase stopping") { drain.output.contains("the node: stopping") }
            fleet.killDaemon()
            let watch = Stopwatch()
            let passed = Deadline(.seconds(5)).wait { watch.seconds > 1.2 }
            #expect(passed)
            try fleet.start()
            #expect(drain.ended() == 3 && drain.errors.contains("killed: web/0"), "\(drain.output)\(drain.errors)")
            #expect(try fleet.drain().deadline_reached && fleet.pids().isEmpty)
            #expect(work.read(.seconds(1)) == [])
            #expect(try fleet.control("undrain").exitCode == 0)
            fleet.stopAndCheck()
        }

        @Test func whatIsDrainedStaysDrained() throws {
            let port = try Ports.free(1)
            let fleet = try Self.fleet(port)
            #expect(try fleet.control("drain", "--reason", "kernel update").exitCode == 0)
            for _ in 0..<2 {
                fleet.killDaemon()
                try fleet.start()
                let status = try fleet.status()
                #expect(status.node.state == "drained" && status.node.reason?.contains("kernel update") == true)
                #expect(status.instances.allSatisfy { $0.pid == nil && $0.state == "drained" }, "\(status)")
            }
            // Nothing starts later either: what starts is in the events.
            #expect(try !fleet.events("web").contains { $0.kind == "starting" })
            #expect(Processes.ofFleet(fleet.path).isEmpty)
            #expect(try fleet.control("undrain").exitCode == 0)
            #expect(try fleet.instance("web/0").ready)
            fleet.stopAndCheck()
        }

        // MARK: Signals

        /// SIGTERM ends in order; said again it changes nothing.
        @Test func theStopWaitsForWhatIsInFlight() throws {
            let port = try Ports.free(1)
            let fleet = try Self.fleet(port)
            let work = try Self.request(3_000, port, fleet)
            let watch = Stopwatch()
            kill(fleet.daemon, SIGTERM)
            try fleet.wait("it is being stopped") { $0.node.intent == "stopped" || $0.node.state == "draining" }
            kill(fleet.daemon, SIGTERM)
            #expect(try Self.isAnswered(work))
            let answered = watch.seconds
            #expect(fleet.ended() == 0)
            let ended = watch.seconds
            report("SIGTERM with 3 s in flight: answered after \(rounded(answered)) s, ended after \(rounded(ended)) s")
            #expect(answered > 2.5 && ended < 6)
            fleet.checkNothingLeft()
        }

        /// SIGINT while the fleet is being stopped: load balancers are not waited for, work is.
        @Test func anInterruptSkipsTheNotice() throws {
            let port = try Ports.free(1)
            let fleet = try Self.fleet(port, drain: "notice_min = \"60s\"")
            let work = try Self.request(1_500, port, fleet)
            let watch = Stopwatch()
            kill(fleet.daemon, SIGTERM)
            try fleet.wait("it is being stopped") { $0.node.state == "draining" }
            kill(fleet.daemon, SIGINT)
            #expect(try Self.isAnswered(work))
            #expect(fleet.ended() == 0)
            report("SIGINT in a notice of 60 s: ended after \(rounded(watch.seconds)) s")
            #expect(watch.seconds < 5)
            fleet.checkNothingLeft()
        }

        /// SIGQUIT waits for nobody.
        @Test func aQuitEndsAtOnce() throws {
            let port = try Ports.free(1)
            let fleet = try Self.fleet(port, ["--ignore-sigterm"], drain: "notice_min = \"60s\"")
            let work = try Self.request(600_000, port, fleet)
            kill(fleet.daemon, SIGTERM)
            try fleet.wait("it is being stopped") { $0.node.state == "draining" }
            let watch = Stopwatch()
            #expect(fleet.stop(SIGQUIT) == 0)
            report("SIGQUIT: ended after \(rounded(watch.seconds)) s")
            #expect(watch.seconds < 2)
            #expect(work.read(.seconds(1)) == [])
            fleet.checkNothingLeft()
        }
    }
}
