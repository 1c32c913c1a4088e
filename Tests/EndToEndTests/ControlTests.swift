import FoundationEssentials
import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// eiderctl and the control socket (INTERFACE.md §1 and §4).
    @Suite(.serialized) struct ControlTests {
        private static let fleet = """
            [services.sleeper]
            command = ["/bin/sleep", "1000"]
            type = "simple"
            replicas = 2
            [services.talker]
            command = ["/bin/sh", "-c", "for i in 1 2 3 4 5; do echo word $i; done; exec sleep 1000"]
            type = "simple"
            """

        @Test func verbsAndExitCodes() throws {
            let fleet = try Fleet(Self.fleet)
            let unreachable = try fleet.control("status")
            #expect(unreachable.exitCode == 69)
            #expect(unreachable.errors.hasPrefix("eiderctl: cannot reach"), "\(unreachable.errors)")
            try fleet.startAndWait()
            let before = try fleet.pids()
            for (words, code) in [
                (["status"], 0), (["status", "sleeper"], 0), (["status", "sleeper/1"], 0), (["why"], 0),
                (["why", "sleeper"], 0), (["version"], 0), (["events"], 0), (["logs"], 0), (["breaker", "list"], 0),
                ([], 64), (["nonsense"], 64), (["stop"], 64), (["signal", "sleeper"], 64),
                (["status", "--nonsense"], 64), (["signal", "sleeper/0", "SIGNONSENSE"], 64),
                (["status", "nobody"], 1), (["stop", "nobody"], 1), (["stop", "sleeper/2"], 1),
                (["drain", "nobody"], 1), (["undrain", "nobody"], 1), (["scale", "nobody", "3"], 1),
                (["restart", "nobody", "--rolling"], 1), (["scale", "sleeper"], 64), (["drain", "--nonsense"], 64),
                (["drain", "--dry-run"], 0), (["drain-status"], 0), (["undrain"], 0), (["reload"], 0),
            ] as [([String], Int32)] {
                let answer = try Command.run([Command.programs + "/eiderctl", "--socket", fleet.socket] + words)
                #expect(answer.exitCode == code, "\(words): \(answer.output.prefix(200)) \(answer.errors)")
                let lines = answer.errors.split(separator: "\n")
                #expect(lines.allSatisfy { $0.hasPrefix("eiderctl: ") }, "\(words): \(answer.errors)")
                #expect(lines.isEmpty == (code == 0), "\(words)")
            }
            #expect(try fleet.pids() == before)
            let near = try fleet.control("stop", "sleper")
            #expect(near.errors.contains("sleeper"), "\(near.errors)")
            fleet.stopAndCheck()
        }

        @Test func startStopRestartAndSignal() throws {
            let fleet = try Fleet(Self.fleet)
            try fleet.startAndWait()
            let first = try #require(fleet.instance("sleeper/0").pid)
            #expect(try fleet.control("restart", "sleeper/0").exitCode == 0)
            let second = try fleet.instance("sleeper/0")
            #expect(second.ready && second.pid != first && second.restarts == 0)
            #expect(second.last_exit?.cause == "operator" && second.last_exit?.signal == "SIGTERM")
            #expect(!Processes.lives(first))
            #expect(try fleet.control("stop", "sleeper/0", "talker", "--reason", "a look").exitCode == 0)
            let stopped = try fleet.instance("sleeper/0")
            #expect(stopped.state == "stopped" && stopped.pid == nil)
            #expect(stopped.reason?.contains("a look") == true)
            let service = try #require(fleet.status().services.first { $0.name == "sleeper" })
            #expect(service.ready == 1 && service.desired == 1)
            // It is so already.
            #expect(try fleet.control("stop", "sleeper/0").exitCode == 0)
            #expect(try fleet.control("signal", "sleeper/0", "HUP").exitCode == 1)
            #expect(try fleet.control("start", "sleeper/0", "talker").exitCode == 0)
            let third = try fleet.instance("sleeper/0")
            #expect(third.ready)
            #expect(try fleet.control("start", "sleeper/0").exitCode == 0)
            #expect(try fleet.instance("sleeper/0").pid == third.pid)
            #expect(try fleet.control("signal", "sleeper/0", "USR1").exitCode == 0)
            let back = try fleet.wait(for: "sleeper/0", "has died of it") { $0.restarts == 1 && $0.ready }
            #expect(back.last_exit?.signal == "SIGUSR1" && back.last_exit?.cause == "signal")
            let quick = try fleet.control("restart", "sleeper", "--no-wait", "--json")
            #expect(quick.exitCode == 0 && quick.output.contains("\"accepted\""))
            try fleet.wait("both again") { $0["sleeper/0"]?.generation == 5 && $0["sleeper/1"]?.generation == 2 }
            fleet.stopAndCheck()
        }

        @Test func aCommandThatCannotSucceedSaysSo() throws {
            let fleet = try Fleet(
                """
                [services.broken]
                command = ["/bin/false"]
                type = "notify"
                [services.missing]
                command = ["/nonexistent/program"]
                [services.late]
                command = ["WORKER", "--no-listen", "--never-ready"]
                type = "notify"
                startup.timeout = "400ms"
                [defaults.restart]
                backoff_initial = "20s"
                """
            )
            try fleet.start()
            try fleet.wait("all have failed once") { $0.instances.allSatisfy { $0.restarts == 1 } }
            for (name, word) in [("broken", "exited with code 1"), ("missing", "/nonexistent"), ("late", "400ms")] {
                let answer = try fleet.control("start", name)
                #expect(answer.exitCode == 1)
                #expect(answer.errors.contains(word), "\(name): \(answer.errors)")
                let why = try fleet.control("why", name + "/0")
                let text = why.output.split(whereSeparator: \.isWhitespace).joined(separator: " ")
                for word in ["last exit", "policy", "next", "unblock", "eiderctl start \(name)/0"] {
                    #expect(text.contains(word), "\(word) in \(why.output)")
                }
            }
            fleet.stopAndCheck()
        }

        @Test func logsAndEventsAreShownAndFollowed() throws {
            let fleet = try Fleet(Self.fleet)
            try fleet.startAndWait()
            let said = Deadline(.seconds(5)).wait(every: 10_000) { (try? fleet.output("talker").count) == 5 }
            #expect(said)
            let two = try fleet.control("logs", "talker", "-n", "2")
            #expect(two.exitCode == 0)
            #expect(two.output.split(separator: "\n").count == 2)
            #expect(two.output.contains("talker/0") && two.output.contains("word 5") && !two.output.contains("word 3"))
            #expect(try fleet.control("logs", "sleeper").output.isEmpty)
            let follower = try Command.start(
                [Command.programs + "/eiderctl", "--socket", fleet.socket, "logs", "-f", "-n", "1", "talker"],
                output: fleet.path + "/follow.out",
                errors: fleet.path + "/follow.err"
            )
            let watcher = try Command.start(
                [Command.programs + "/eiderctl", "--socket", fleet.socket, "--json", "events", "-f"],
                output: fleet.path + "/events.out",
                errors: fleet.path + "/events.err"
            )
            let patience = Deadline(.seconds(10))
            let began = patience.wait { File.text(fleet.path + "/follow.out").contains("word 5") }
            let watching = patience.wait { File.text(fleet.path + "/events.out").contains("\"snapshot\"") }
            #expect(began && watching)
            #expect(try fleet.control("restart", "talker").exitCode == 0)
            let followed = patience.wait {
                File.text(fleet.path + "/follow.out").components(separatedBy: "word 5").count == 3
            }
            #expect(followed, "\(File.text(fleet.path + "/follow.out"))")
            let seen = patience.wait { File.text(fleet.path + "/events.out").contains("\"restart-asked\"") }
            #expect(seen, "\(File.text(fleet.path + "/events.out"))")
            for pid in [follower, watcher] {
                kill(pid, SIGINT)
                #expect(Command.wait(pid, .seconds(5)) == 0)
            }
            let events = try fleet.control("events", "talker")
            #expect(events.output.contains("asked to restart talker/0"))
            fleet.stopAndCheck()
        }

        @Test(.enabled(if: geteuid() == 0, "only root can be somebody else"))
        func strangersAreTurnedAway() throws {
            let nobody = try #require(try Accounts.credentials(user: "nobody", group: nil))
            let fleet = try Fleet(Self.fleet)
            try fleet.startAndWait()
            let before = try fleet.pids()
            for words in [["status"], ["stop", "sleeper"], ["upgrade"], ["logs"]] {
                let answer = try Command.run(
                    [Command.programs + "/eiderctl", "--socket", fleet.socket] + words,
                    as: nobody
                )
                #expect(answer.exitCode == 77, "\(words): \(answer.output) \(answer.errors)")
                #expect(answer.errors.hasPrefix("eiderctl: cannot"), "\(answer.errors)")
            }
            #expect(try fleet.pids() == before)
            fleet.stopAndCheck()
            let other = try Fleet(Self.fleet, ["control": "readers = [\"nobody\"]"])
            try other.startAndWait()
            #expect(try other.control("status", as: nobody).exitCode == 0)
            #expect(try other.control("logs", as: nobody).exitCode == 0)
            #expect(try other.control("restart", "sleeper", as: nobody).exitCode == 77)
            #expect(try other.status().instances.allSatisfy { $0.generation == 1 })
            other.stopAndCheck()
        }

        @Test func theSocketSpeaksPlainHTTP() throws {
            let fleet = try Fleet(Self.fleet)
            try fleet.startAndWait()
            let status = try fleet.ask("/v1/status")
            #expect(status.status == 200)
            #expect(status.headers["content-type"]?.hasPrefix("application/json") == true)
            let why = try fleet.ask("/v1/services/sleeper/0/why")
            #expect(why.status == 200 && why.body.contains("\"policy\""))
            #expect(try fleet.ask("/v1/services/sleeper/9/why").status == 404)
            #expect(try fleet.ask("/v1/nonsense").status == 404)
            let method = try fleet.ask("/v1/services/sleeper/0/restart")
            #expect(method.status == 405 && method.headers["allow"] == "POST")
            let restarted = try fleet.ask("/v1/services/sleeper/0/restart?reason=by%20hand", method: "POST")
            #expect(restarted.status == 200, "\(restarted.body)")
            #expect(try fleet.instance("sleeper/0").generation == 2)
            let refused = try fleet.ask("/v1/services/nobody/stop", method: "POST")
            #expect(refused.status == 404 && refused.body.hasPrefix("{\"error\":{\"code\":"))
            let events = try fleet.ask("/v1/events?lines=5")
            #expect(events.status == 200 && events.body.split(separator: "\n").count == 5)
            // Over TCP nothing changes anything.
            let port = try fleet.healthPort()
            #expect(try HTTP.get("/v1/services/sleeper/stop", port: port, method: "POST").status >= 400)
            #expect(try fleet.instance("sleeper/0").ready)
            fleet.stopAndCheck()
        }

        @Test func whatAnOperatorStoppedStaysStopped() throws {
            let fleet = try Fleet(Self.fleet)
            try fleet.startAndWait()
            #expect(try fleet.control("stop", "sleeper/1", "talker", "--reason", "repair").exitCode == 0)
            let isStopped = { (status: Status) in
                ["sleeper/1", "talker/0"].allSatisfy {
                    status[$0]?.state == "stopped" && status[$0]?.reason?.contains("repair") == true
                }
            }
            fleet.killDaemon()
            try fleet.start()
            #expect(try isStopped(fleet.status()))
            // Everything ends; what is known then is on the disk.
            fleet.stopAndCheck()
            try fleet.start()
            try fleet.wait("the others are up") { $0["sleeper/0"]?.ready == true && $0.node.first_start_finished }
            #expect(try isStopped(fleet.status()))
            #expect(try fleet.control("start", "sleeper/1").exitCode == 0)
            fleet.stopAndCheck()
            try fleet.start()
            try fleet.wait("the started one counts as started") { $0["sleeper/1"]?.ready == true }
            #expect(try fleet.instance("talker/0").state == "stopped")
            fleet.stopAndCheck()
        }
    }
}
