import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// Start order, types, restart policies, time limits.
    @Suite(.serialized) struct PolicyTests {
        @Test func dependenciesStartFirst() throws {
            let fleet = try Fleet(
                """
                [services.top]
                command = ["WORKER", "--no-listen"]
                type = "notify"
                after = ["middle", "migrate"]
                [services.middle]
                command = ["WORKER", "--no-listen", "--start-slowly", "300ms"]
                type = "notify"
                replicas = 2
                after = ["bottom"]
                [services.bottom]
                command = ["/bin/sleep", "1000"]
                type = "simple"
                [services.migrate]
                command = ["/bin/sh", "-c", "sleep 0.3; echo migrated"]
                type = "oneshot"
                """
            )
            try fleet.startAndWait()
            let events = try fleet.events()
            let place = { (kind: String, name: String) throws -> UInt64 in
                try #require(events.first { $0.kind == kind && $0.subject == name }, "\(kind) \(name)").sequence
            }
            #expect(try place("ready", "bottom/0") < place("started", "middle/0"))
            // A service is ready when one of its instances is: whichever comes first.
            let middle = try min(place("ready", "middle/0"), place("ready", "middle/1"))
            #expect(try middle < place("started", "top/0"))
            #expect(try place("exited", "migrate/0") < place("started", "top/0"))
            let migrate = try fleet.instance("migrate/0")
            #expect(migrate.state == "healthy" && migrate.pid == nil && migrate.restarts == 0)
            // Start order only: its end does not touch those that came after.
            let top = try #require(fleet.instance("top/0").pid)
            #expect(try fleet.control("stop", "bottom").exitCode == 0)
            #expect(try fleet.instance("top/0").pid == top)
            fleet.stopAndCheck()
        }

        @Test func policiesAndExitCodes() throws {
            let fleet = try Fleet(
                """
                [defaults.restart]
                backoff_initial = "100ms"
                backoff_max = "100ms"
                [services.never-good]
                command = ["/bin/true"]
                restart.policy = "never"
                [services.never-bad]
                command = ["/bin/false"]
                restart.policy = "never"
                [services.failure-good]
                command = ["/bin/true"]
                restart.policy = "on-failure"
                [services.failure-listed]
                command = ["/bin/sh", "-c", "exit 3"]
                restart.policy = "on-failure"
                restart.success_exit_codes = [0, 3]
                [services.failure-bad]
                command = ["/bin/sh", "-c", "exit 4"]
                restart.policy = "on-failure"
                [services.failure-signal]
                command = ["/bin/sh", "-c", "kill -SEGV $$"]
                restart.policy = "on-failure"
                [services.always]
                command = ["/bin/true"]
                """
            )
            try fleet.start()
            let status = try fleet.wait("the restless ones restart") { status in
                ["failure-bad/0", "failure-signal/0", "always/0"].allSatisfy { (status[$0]?.restarts ?? 0) >= 3 }
            }
            for name in ["never-good/0", "never-bad/0", "failure-good/0", "failure-listed/0"] {
                #expect(status[name]?.restarts == 0, "\(name)")
                #expect(status[name]?.pid == nil, "\(name)")
            }
            #expect(status["never-good/0"]?.state == "stopped")
            #expect(status["never-bad/0"]?.state == "failed")
            #expect(status["failure-good/0"]?.state == "stopped")
            #expect(status["failure-listed/0"]?.last_exit?.code == 3)
            #expect(status["failure-bad/0"]?.last_exit?.code == 4)
            #expect(status["failure-signal/0"]?.last_exit?.signal == "SIGSEGV")
            #expect(status["failure-signal/0"]?.last_exit?.cause == "signal")
            // The first start is over although not one of them lives.
            #expect(try HTTP.get("/startupz", port: fleet.healthPort()).status == 200)
            fleet.stopAndCheck()
        }

        @Test func whoIsNotReadyInTimeIsEndedAndTriedAgain() throws {
            let fleet = try Fleet(
                """
                [services.never]
                command = ["WORKER", "--no-listen", "--never-ready"]
                type = "notify"
                startup.timeout = "500ms"
                restart.backoff_initial = "100ms"
                [services.hung]
                command = ["WORKER", "--no-listen", "--never-ready", "--ignore-sigterm"]
                type = "notify"
                startup.timeout = "500ms"
                stop.grace_period = "300ms"
                """
            )
            try fleet.start()
            let never = try fleet.wait(for: "never/0", "is tried again") { $0.restarts >= 2 }
            #expect(never.last_exit?.cause == "startup-timeout")
            let hung = try fleet.wait(for: "hung/0", "is killed") { $0.restarts >= 1 }
            #expect(hung.last_exit?.cause == "startup-timeout")
            #expect(hung.last_exit?.signal == "SIGKILL")
            let metrics = try HTTP.get("/metrics", port: fleet.healthPort()).body
            let name = "eider_service_restarts_total{service=\"never\",cause=\"startup-timeout\"}"
            #expect(metrics.contains(name) && !metrics.contains(name + " 0\n"))
            fleet.stopAndCheck()
        }

        @Test func whatCannotBeStartedSaysWhy() throws {
            let fleet = try Fleet(
                """
                [defaults.restart]
                backoff_initial = "100ms"
                [services.missing]
                command = ["/nonexistent/program"]
                [services.text]
                command = ["DIR/text"]
                [services.homeless]
                command = ["/bin/true"]
                working_directory = "DIR/nowhere"
                [services.sound]
                command = ["/bin/sleep", "1000"]
                type = "simple"
                """
            )
            try File.write("no program", to: fleet.path + "/text", mode: 0o755)
            chmod(fleet.path + "/text", 0o755)
            try fleet.start()
            for (name, words) in [
                ("missing/0", ["cannot execute", "/nonexistent/program", "No such file"]),
                ("text/0", ["cannot execute", fleet.path + "/text"]),
                ("homeless/0", ["working directory", fleet.path + "/nowhere"]),
            ] {
                let instance = try fleet.wait(for: name, "was tried") { $0.restarts >= 1 && $0.last_exit != nil }
                #expect(instance.last_exit?.cause == "spawn")
                let why = try fleet.control("why", name).output
                // Lines are wrapped.
                let text = why.split(whereSeparator: \.isWhitespace).joined(separator: " ")
                for word in words { #expect(text.contains(word), "\(name): \(why)") }
            }
            #expect(try fleet.instance("sound/0").ready)
            // It is found as soon as it is there.
            try File.script("exec sleep 1000", at: fleet.path + "/text")
            try fleet.wait(for: "text/0", "is started") { $0.pid != nil && $0.ready }
            let counted = Deadline(.seconds(5)).wait(every: 20_000) {
                ((try? fleet.metric("eider_spawn_failures_total")) ?? 0) > 0
            }
            #expect(counted)
            fleet.stopAndCheck()
        }

        @Test func noMoreStartsAtOnceThanAllowed() throws {
            let fleet = try Fleet(
                """
                [services.slow]
                command = ["WORKER", "--no-listen", "--start-slowly", "150ms"]
                type = "notify"
                replicas = 9
                """,
                ["limits": "concurrent_starts = 2"]
            )
            try fleet.startAndWait()
            var starting = 0
            var most = 0
            for event in try fleet.events() {
                if event.kind == "started" { starting += 1 }
                if event.kind == "ready" { starting -= 1 }
                most = max(most, starting)
            }
            #expect(most == 2)
            fleet.stopAndCheck()
        }

        @Test func aLostHeartbeatIsShownAndNotActedUponTooEarly() throws {
            let fleet = try Fleet(
                """
                [services.hanging]
                command = ["WORKER", "--no-listen", "--hang-after", "800ms"]
                type = "notify"
                liveness.watchdog = "600ms"
                stop.grace_period = "300ms"
                [services.beating]
                command = ["WORKER", "--no-listen"]
                type = "notify"
                liveness.watchdog = "600ms"
                """
            )
            try fleet.startAndWait()
            let pid = try #require(fleet.instance("hanging/0").pid)
            let late = try fleet.wait(for: "hanging/0", "is late") { $0.state == "degraded" }
            #expect(late.reason?.contains("heartbeat") == true)
            let event = try fleet.event("suppressed", of: "hanging/0")
            #expect(event.text.contains("I4"))
            #expect(try HTTP.get("/health/hanging/live", port: fleet.healthPort()).status == 503)
            #expect(try HTTP.get("/health/beating/live", port: fleet.healthPort()).status == 200)
            let now = try fleet.instance("hanging/0")
            #expect(now.pid == pid && now.restarts == 0)
            #expect(try fleet.instance("beating/0").state == "healthy")
            fleet.stopAndCheck()
        }

        @Test func placeholdersEnvironmentAndLimitsReachTheWorker() throws {
            let script =
                "echo $EIDER_SERVICE $EIDER_INDEX $EIDER_NODE $PORT $COLOUR $TZ, $1; umask; ulimit -n; pwd; env | wc -l"
            let fleet = try Fleet(
                """
                [services.printer]
                command = ["/bin/sh", "-c", "\(script); exec sleep 1000", "sh", "{service}-{index}-{node}-{port}"]
                type = "simple"
                replicas = 2
                port_base = 23450
                umask = "0027"
                environment = { COLOUR = "blue-{index}" }
                working_directory = "DIR"
                resources.nofile = 321
                resources.oom_score_adjust = 400
                """
            )
            try fleet.startAndWait()
            let lines = try #require(
                Deadline(.seconds(5)).poll(every: 10_000) { () -> [String]? in
                    let lines = (try? fleet.output("printer/1").map(\.text)) ?? []
                    return lines.count >= 5 ? lines : nil
                }
            )
            #expect(lines[0] == "printer 1 test-host 23451 blue-1 , printer-1-test-host-23451")
            #expect(lines[1] == "0027")
            #expect(lines[2] == "321")
            #expect(lines[3] == fleet.path)
            #expect((Int(lines[4].filter(\.isNumber)) ?? 99) < 15)
            let pid = try #require(fleet.instance("printer/1").pid)
            #expect(File.text("/proc/\(pid)/oom_score_adj") == "400\n")
            #expect(Processes.descriptors(pid) == 3)
            fleet.stopAndCheck()
        }
    }
}
