import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// Probes against real workers: what they change, and what they must not.
    @Suite(.serialized) struct ProbeTests {
        private static let quick =
            "period = \"100ms\"\ntimeout = \"500ms\"\nsuccess_threshold = 2\nfailure_threshold = 3"

        private func set(_ port: Int, _ query: String) throws {
            #expect(try HTTP.get("/set?\(query)", port: port).status == 200)
        }

        @Test func readinessRoutesAndNothingElse() throws {
            let port = try Ports.free(2)
            let fleet = try Fleet(
                """
                [services.a]
                command = ["WORKER", "--port", "{port}"]
                type = "notify"
                replicas = 2
                port_base = \(port)
                [services.a.readiness]
                http = "http://127.0.0.1:{port}/ready"
                \(Self.quick)
                """
            )
            try fleet.startAndWait()
            let health = try fleet.healthPort()
            let pids = try fleet.pids()
            #expect(try HTTP.get("/health/a", port: health).status == 200)

            try set(port, "ready=503")
            let out = try fleet.wait(for: "a/0", "is out") { !$0.ready }
            #expect(out.state == "unhealthy")
            #expect(out.reason?.contains("503") == true, "\(out.reason ?? "")")
            let degraded = try HTTP.get("/health/a", port: health)
            #expect(degraded.status == 200)
            #expect(degraded.headers["x-envoy-degraded"] == "true")
            #expect(try HTTP.get("/health/a/0", port: health).status == 503)
            #expect(try HTTP.get("/health/a/0/x", port: health).status == 404)

            try set(port + 1, "ready=503")
            try fleet.wait(for: "a/1", "is out") { !$0.ready }
            #expect(try HTTP.get("/health/a", port: health).status == 503)
            #expect(try HTTP.get("/health/a/live", port: health).status == 200)

            try set(port, "ready=200")
            try fleet.wait(for: "a/0", "is back") { $0.ready }
            #expect(try HTTP.get("/health/a", port: health).status == 200)
            // I2: nothing was started, stopped or signalled.
            #expect(try fleet.pids() == pids)
            #expect(try fleet.status().instances.allSatisfy { $0.restarts == 0 })
            let why = try fleet.control("why", "a/1").output
            #expect(why.contains("readiness failing") && why.contains("answered 503"), "\(why)")
            let failures = "eider_probe_results_total{service=\"a\",probe=\"readiness\",result=\"failure\"}"
            let counted = Deadline(.seconds(5)).wait { (try? fleet.metric(failures)).map { $0 > 3 } ?? false }
            #expect(counted, "the failures are not counted")
            fleet.stopAndCheck()
        }

        @Test func aWorkerThatNeverPassesIsKeptAndShown() throws {
            let port = try Ports.free(1)
            let fleet = try Fleet(
                """
                [services.a]
                command = ["WORKER", "--port", "{port}", "--never-ready"]
                type = "simple"
                port_base = \(port)
                startup.timeout = "1s"
                [services.a.readiness]
                http = "http://127.0.0.1:{port}/ready"
                \(Self.quick)
                [services.b]
                command = ["/bin/sleep", "1000"]
                after = ["a"]
                """
            )
            try fleet.start()
            let late = try fleet.wait(for: "a/0", "is overdue") { $0.state == "unhealthy" }
            #expect(late.reason?.contains("has not passed its readiness probe within 1s") == true)
            let status = try fleet.wait("the first start is over") { $0.node.first_start_finished }
            #expect(status["a/0"]?.restarts == 0 && status["a/0"]?.pid == late.pid)
            #expect(status["b/0"]?.state == "starting", "it waits for a")
            #expect(try HTTP.get("/health/a", port: fleet.healthPort()).status == 503)
            let start = try fleet.control("restart", "a")
            #expect(start.exitCode == 1)
            #expect(start.errors.contains("has not passed its readiness probe"), "\(start.errors)")
            fleet.stopAndCheck()
        }

        @Test func aStartupProbeSaysWhenTheStartIsDone() throws {
            let port = try Ports.free(1)
            let fleet = try Fleet(
                """
                [services.a]
                command = ["WORKER", "--port", "{port}", "--start-slowly", "700ms"]
                type = "simple"
                port_base = \(port)
                [services.a.startup]
                tcp = "127.0.0.1:{port}"
                period = "100ms"
                timeout = "20s"
                """
            )
            try fleet.start()
            #expect(try fleet.instance("a/0").state == "starting")
            let ready = try fleet.wait(for: "a/0", "is ready") { $0.ready }
            #expect((ready.uptime_seconds ?? 0) >= 0.7)
            #expect(ready.restarts == 0)
            fleet.stopAndCheck()
        }

        @Test func execProbesRunAsTheServiceAndDieAsATree() throws {
            let fleet = try Fleet(
                """
                [services.a]
                command = ["/bin/sleep", "1000"]
                user = "nobody"
                group = "nogroup"
                port_base = 9100
                environment = { WORD = "hello" }
                working_directory = "DIR/open"
                [services.a.readiness]
                exec = ["/bin/sh", "DIR/open/probe", "{index}"]
                \(Self.quick)
                """
            )
            let open = fleet.path + "/open"
            #expect(mkdir(open, 0o777) == 0 && chmod(open, 0o777) == 0 && chmod(fleet.path, 0o755) == 0)
            let probe = open + "/probe"
            try File.script("echo $(id -un) $WORD $PORT $EIDER_SERVICE $1 ${NOTIFY_SOCKET:-none} > said", at: probe)
            try fleet.startAndWait()
            #expect(File.text(open + "/said") == "nobody hello 9100 a 0 none\n")

            // One that leaves a daemon of its own and does not end.
            try File.script("echo cannot reach it; setsid sleep 4321 & sleep 4322", at: probe)
            let out = try fleet.wait(for: "a/0", "is out") { !$0.ready }
            #expect(out.reason?.contains("did not end within 500ms") == true, "\(out.reason ?? "")")
            try File.script("echo the disk is full; exit 3", at: probe)
            let failed = try fleet.wait(for: "a/0", "says why") { $0.reason?.contains("code 3") == true }
            // What it said is for operators, not for everybody.
            #expect(failed.reason?.contains("the disk is full") == false, "\(failed.reason ?? "")")
            #expect(try !HTTP.get("/health/a?verbose", port: fleet.healthPort()).body.contains("the disk"))
            #expect(try fleet.control("why", "a/0").output.contains("the disk is full"))
            let gone = Deadline(.seconds(5)).wait {
                !Processes.ofFleet(fleet.path).contains { Processes.commandLine($0).contains("sleep 432") }
            }
            #expect(gone, "a probe left something")
            #expect(try fleet.instance("a/0").restarts == 0)
            fleet.stopAndCheck()
        }

        @Test func aProbeThatCannotBeRunIsNoFailure() throws {
            let fleet = try Fleet(
                """
                [services.a]
                command = ["/bin/sleep", "1000"]
                [services.a.readiness]
                exec = ["DIR/probe"]
                \(Self.quick)
                """
            )
            let probe = fleet.path + "/probe"
            try File.script("exit 0", at: probe)
            try fleet.startAndWait()
            #expect(unlink(probe) == 0)
            let shown = try fleet.wait(for: "a/0", "is shown as unprobed") { $0.state == "degraded" }
            #expect(shown.ready)
            #expect(shown.reason?.contains("cannot be probed: cannot execute") == true, "\(shown.reason ?? "")")
            #expect(try HTTP.get("/health/a", port: fleet.healthPort()).status == 200)
            let unknown = "eider_probe_results_total{service=\"a\",probe=\"readiness\",result=\"unknown\"}"
            #expect(Deadline(.seconds(5)).wait { (try? fleet.metric(unknown)).map { $0 > 0 } ?? false })
            try File.script("exit 0", at: probe)
            try fleet.wait(for: "a/0", "is healthy again") { $0.state == "healthy" }
            fleet.stopAndCheck()
        }

        @Test func whatProbesDecidedOutlivesTheDaemon() throws {
            let port = try Ports.free(2)
            let fleet = try Fleet(
                """
                [services.a]
                command = ["WORKER", "--port", "{port}"]
                type = "notify"
                replicas = 2
                port_base = \(port)
                [services.a.readiness]
                http = "http://127.0.0.1:{port}/ready"
                \(Self.quick)
                [services.b]
                command = ["/bin/sleep", "1000"]
                [services.b.readiness]
                exec = ["/bin/sh", "-c", "test -e DIR/slow || exit 0; sleep 4323"]
                period = "200ms"
                timeout = "60s"
                """
            )
            try fleet.startAndWait()
            try set(port, "ready=503")
            try fleet.wait(for: "a/0", "is out") { !$0.ready }
            try File.write("", to: fleet.path + "/slow")
            let probing = {
                Processes.ofFleet(fleet.path).contains { Processes.commandLine($0).contains("sleep 4323") }
            }
            #expect(Deadline(.seconds(10)).wait { probing() }, "the slow probe does not run")
            let pids = try fleet.pids()
            fleet.killDaemon()
            // The predecessor's probe is ended by the successor, or its pid would be another's.
            try fleet.start()
            let first = try fleet.status()
            #expect(first["a/0"]?.ready == false && first["a/1"]?.ready == true && first["b/0"]?.ready == true)
            #expect(try fleet.pids() == pids)
            try set(port, "ready=200")
            try fleet.wait(for: "a/0", "is back") { $0.ready }
            // A stop ends a probe that runs, too.
            #expect(Deadline(.seconds(10)).wait { probing() }, "the slow probe does not run")
            fleet.stopAndCheck()
        }
    }
}
