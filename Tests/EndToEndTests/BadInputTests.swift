import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// What is wrong is named, with what to do; a daemon that runs is never harmed.
    @Suite(.serialized) struct BadInputTests {
        private static let sleeper = """
            [services.sleeper]
            command = ["/bin/sleep", "1000"]
            type = "simple"
            """

        private func eiderd(_ words: String..., as user: ServiceSpec.Credentials? = nil) throws -> Command {
            try Command.run([Command.programs + "/eiderd"] + words, as: user, patience: .seconds(20))
        }

        @Test func allErrorsOfAConfigurationAtOnce() throws {
            let fleet = try Fleet(
                """
                [services.auth]
                command = ["/bin/sleep", "1000"]
                replicsa = 2
                restart.policy = "sometimes"
                startup.timeout = 5
                after = ["nobody"]
                [services.relative]
                command = ["sleep"]
                """
            )
            for words in [["--config", fleet.configuration], ["--config", fleet.configuration, "--check"]] {
                let answer = try Command.run([Command.programs + "/eiderd"] + words, patience: .seconds(20))
                #expect(answer.exitCode == 78)
                let lines = answer.errors.split(separator: "\n")
                #expect(lines.allSatisfy { $0.hasPrefix("eiderd: ") }, "\(answer.errors)")
                for word in [
                    "replicsa", "replicas", "sometimes", "startup.timeout", "nobody", "services.relative.command",
                ] {
                    #expect(answer.errors.contains(word), "\(word): \(answer.errors)")
                }
                let located = lines.count { $0.contains(fleet.configuration + ":") }
                #expect(located >= 5, "\(answer.errors)")
            }
            #expect(!File.exists(fleet.path + "/run/shim.sock"))
            fleet.checkNothingLeft()
        }

        @Test func commandLinesAndFilesThatCannotBeUsed() throws {
            let directory = try TemporaryDirectory()
            #expect(try eiderd("--nonsense").exitCode == 64)
            #expect(try eiderd("--config").exitCode == 64)
            let missing = try eiderd("--config", directory.path + "/none.toml")
            #expect(missing.exitCode == 78)
            #expect(missing.errors.hasPrefix("eiderd: ") && missing.errors.contains(directory.path + "/none.toml"))
            let folder = try eiderd("--config", directory.path)
            #expect(folder.exitCode == 78, "\(folder.errors)")
            try File.write("this is no TOML [[[", to: directory.path + "/bad.toml")
            let bad = try eiderd("--config", directory.path + "/bad.toml")
            #expect(bad.exitCode == 78 && bad.errors.contains("bad.toml:1"), "\(bad.errors)")
            try File.write("\u{0}\u{1}\u{FFFD}", to: directory.path + "/binary.toml")
            #expect(try eiderd("--config", directory.path + "/binary.toml").exitCode == 78)
            guard geteuid() == 0, let nobody = try Accounts.credentials(user: "nobody", group: nil) else { return }
            try File.write("[node]", to: directory.path + "/secret.toml", mode: 0o600)
            let secret = try eiderd("--config", directory.path + "/secret.toml", as: nobody)
            #expect(secret.exitCode == 78 && secret.errors.contains("secret.toml"), "\(secret.errors)")
        }

        @Test func aRunningDaemonIsNotHarmed() throws {
            let fleet = try Fleet(Self.sleeper)
            try fleet.startAndWait()
            let before = try fleet.pids()
            try File.write("nonsense", to: fleet.configuration)
            #expect(try eiderd("--config", fleet.configuration, "--check").exitCode == 78)
            #expect(try eiderd("--config", fleet.configuration).exitCode == 78)
            // It is asked to read that, and says what is wrong with it.
            kill(fleet.daemon, SIGHUP)
            _ = try fleet.event("warning", "cannot reload: \(fleet.configuration):1")
            #expect(try fleet.pids() == before)
            #expect(try fleet.status().instances.allSatisfy { $0.ready })
            fleet.stopAndCheck()
        }

        @Test func aPortInUseIsNamed() throws {
            let port = try Ports.free(1)
            let taken = try Ports.listen(port)
            let fleet = try Fleet(Self.sleeper, ["health": "listen = [\"127.0.0.1:\(port)\"]"])
            try fleet.launch()
            #expect(fleet.ended() == 1)
            #expect(fleet.log.contains("eiderd: cannot"), "\(fleet.log)")
            #expect(fleet.log.contains("127.0.0.1:\(port)") && fleet.log.contains("choose another"), "\(fleet.log)")
            fleet.checkNothingLeft()
            _ = taken.rawValue
        }

        @Test func directoriesThatCannotBeUsed() throws {
            let file = try Fleet(Self.sleeper)
            try File.write("", to: file.path + "/run")
            try file.launch()
            #expect(file.ended() == 1)
            #expect(file.log.contains("eiderd: cannot") && file.log.contains(file.path + "/run"), "\(file.log)")
            file.checkNothingLeft()

            let long = try Fleet(Self.sleeper, ["control": ""])
            let name = String(repeating: "long", count: 30)
            let text = File.text(long.configuration).replacing("control.sock", with: name + ".sock")
            try File.write(text, to: long.configuration)
            try long.launch()
            let code = long.ended()
            #expect(code == 78 || code == 1)
            #expect(long.log.contains("107"), "\(long.log)")
            long.checkNothingLeft()

            guard geteuid() == 0, let nobody = try Accounts.credentials(user: "nobody", group: nil) else { return }
            let closed = try Fleet(Self.sleeper)
            mkdir(closed.path + "/run", 0o700)
            mkdir(closed.state, 0o777)
            chmod(closed.state, 0o777)
            // Its own output must be made before it becomes nobody's.
            let answer = try eiderd("--config", closed.configuration, as: nobody)
            #expect(answer.exitCode == 1)
            #expect(
                answer.errors.hasPrefix("eiderd: cannot") && answer.errors.contains(closed.path),
                "\(answer.errors)"
            )
            closed.checkNothingLeft()
        }

        @Test func whatTheHostLacksIsNamedByTheCheck() throws {
            let fleet = try Fleet(
                """
                [services.ghost]
                command = ["/nonexistent/program"]
                user = "no-such-user-here"
                [services.lost]
                command = ["/bin/sleep", "1"]
                environment_files = ["DIR/none.env"]
                """
            )
            let answer = try eiderd("--config", fleet.configuration, "--check")
            #expect(answer.exitCode == 78)
            for word in ["no-such-user-here", "/nonexistent/program", "none.env"] {
                #expect(answer.errors.contains(word), "\(word): \(answer.errors)")
            }
        }

        private static let garbage: [[UInt8]] = [
            [], [0], Array("\r\n\r\n\r\n".utf8), Array("GET\r\n\r\n".utf8), Array("GET / HTTP/9.9\r\n\r\n".utf8),
            Array("GET / HTTP/1.1\r\n\r\n".utf8), Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8),
            [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3], Array(repeating: 0x41, count: 100_000),
            Array("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n".utf8),
            Array("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".utf8),
            Array("GET /\(String(repeating: "%", count: 9000)) HTTP/1.1\r\nHost: x\r\n\r\n".utf8),
            Array("GET /v1/services/%00/%FF/why?target=%ZZ HTTP/1.1\r\nHost: x\r\n\r\n".utf8),
            Array("GET /v1/logs?lines=99999999999999999999999 HTTP/1.1\r\nHost: x\r\n\r\n".utf8),
            Array("GET / HTTP/1.1\r\nHost: x\r\n".utf8) + (0..<5_000).flatMap { Array("A\($0): b\r\n".utf8) },
        ]

        @Test func garbageOnTheSocketsIsAnsweredOrClosed() throws {
            let fleet = try Fleet(Self.sleeper)
            try fleet.startAndWait()
            let port = try fleet.healthPort()
            var generator = Seeded(state: 7)
            var inputs = Self.garbage
            for _ in 0..<60 {
                inputs.append(
                    (0..<Int(generator.next() % 600)).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
                )
            }
            for input in inputs {
                for connection in [try Connection(port: port), try Connection(path: fleet.socket)] {
                    connection.send(input)
                    // Whatever it is, the next one is served.
                    _ = connection.read(.milliseconds(10))
                }
            }
            #expect(try HTTP.get("/", port: port).status == 200)
            #expect(try fleet.status()["sleeper/0"]?.restarts == 0)
            let counted = try fleet.metric("eider_health_connections_closed_total{kind=\"malformed\"}") ?? 0
            #expect(counted > 0)
            #expect(try fleet.metric("eider_health_connections_closed_total{kind=\"tls\"}") == 1)
            fleet.stopAndCheck()
        }

        @Test func garbageOnTheNotifySocketIsCounted() throws {
            let fleet = try Fleet(
                """
                [services.worker]
                command = ["WORKER", "--no-listen"]
                type = "notify"
                liveness.watchdog = "2s"
                """
            )
            try fleet.startAndWait()
            let pid = try fleet.pids()
            let stranger = DatagramSender(path: fleet.path + "/run/notify")
            var generator = Seeded(state: 11)
            var sent = 0
            let watch = Stopwatch()
            while watch.seconds < 2 {
                let text: [UInt8]
                switch generator.next() % 4 {
                case 0: text = Array("READY=1\nSTATUS=I am worker/0\nMAINPID=1".utf8)
                case 1:
                    text = (0..<Int(generator.next() % 500)).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
                case 2: text = Array(repeating: 0x41, count: 6_000)
                default: text = Array("STOPPING=1".utf8)
                }
                if stranger.send(text) { sent += 1 }
            }
            report("a stranger got rid of \(sent) notify messages in 2 s")
            #expect(sent > 100)
            let worker = try fleet.instance("worker/0")
            #expect(worker.state == "healthy" && worker.restarts == 0, "\(worker)")
            #expect(try fleet.pids() == pid)
            let counted = Deadline(.seconds(10)).wait(every: 50_000) {
                ((try? fleet.metric("eider_notify_dropped_total{reason=\"unknown-sender\"}")) ?? 0) > 10
            }
            #expect(counted)
            fleet.stopAndCheck()
        }

        @Test(.enabled(if: File.exists("/usr/bin/python3"), "a flood needs python3"))
        func aFloodOfOneWorkerDoesNotReachTheOthers() throws {
            let fleet = try Fleet(
                """
                [services.flood]
                command = ["/usr/bin/python3", "DIR/flood.py"]
                type = "notify"
                [services.worker]
                command = ["WORKER", "--no-listen"]
                type = "notify"
                replicas = 4
                liveness.watchdog = "2s"
                """
            )
            try File.write(
                """
                import os, socket
                s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                s.connect(os.environ["NOTIFY_SOCKET"])
                s.send(b"READY=1")
                n = 0
                while True:
                    n += 1
                    s.send(b"STATUS=number %d\\nX_EIDER_IN_FLIGHT=%d" % (n, n))
                """,
                to: fleet.path + "/flood.py"
            )
            try fleet.startAndWait()
            let watch = Stopwatch()
            var slowest = 0.0
            while watch.seconds < 3 {
                let one = Stopwatch()
                let status = try fleet.status()
                slowest = max(slowest, one.seconds)
                let workers = status.instances.filter { $0.name.hasPrefix("worker/") }
                #expect(workers.allSatisfy { $0.state == "healthy" && $0.restarts == 0 })
            }
            let restarting = Stopwatch()
            #expect(try fleet.control("restart", "worker").exitCode == 0)
            let dropped = try fleet.metric("eider_notify_dropped_total{reason=\"flood\"}") ?? 0
            report(
                "during a notify flood: slowest answer \(rounded(slowest)) s, restart of four "
                    + "\(rounded(restarting.seconds)) s, \(Int(dropped)) messages folded"
            )
            #expect(slowest < 1)
            #expect(restarting.seconds < 5)
            let inFlight = try fleet.instance("flood/0").in_flight ?? 0
            #expect(inFlight > 1)
            fleet.stopAndCheck()
        }
    }
}
