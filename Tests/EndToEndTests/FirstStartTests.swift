import FoundationEssentials
import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// The example fleet, as it is installed but for directories and ports: 23 services, 45 processes.
    @Suite(.serialized) struct FirstStartTests {
        /// Config/eider.toml with local directories, ports and the worker of this build.
        static func example(_ extra: String = "") throws -> Fleet {
            let base = try Ports.free(240)
            return try Fleet { directory in
                let path = Command.repository + "/Config/eider.toml"
                var text = File.text(path)
                if text.isEmpty { throw TestFailure("cannot read \(path)") }
                text = text.replacing("/usr/lib/eider/eider-worker", with: Command.programs + "/eider-worker")
                text = text.replacing("\"/var/lib/eider\"", with: "\"\(directory)/state\"")
                text = text.replacing("\"/run/eider\"", with: "\"\(directory)/run\"")
                text = text.replacing("\"/run/eider/control.sock\"", with: "\"\(directory)/control.sock\"")
                text = text.replacing("\"0.0.0.0:8080\"", with: "\"127.0.0.1:0\"")
                text = text.replacing("[defaults.restart]", with: "[defaults.restart]\n\(extra)")
                for port in stride(from: 9000, through: 9220, by: 10) {
                    text = text.replacing("port_base = \(port)", with: "port_base = \(base + port - 9000)")
                }
                return text
            }
        }

        @Test func theExampleFleetAnswersWhileItStartsRunsAndStops() throws {
            let fleet = try Self.example()
            let watch = Stopwatch()
            try fleet.start()
            let port = try fleet.healthPort()
            try checkStarting(fleet, port)
            try fleet.waitUntilReady()
            report("the example fleet is ready after \(rounded(watch.seconds)) s")
            let status = try fleet.status()
            #expect(status.services.count == 23)
            #expect(status.instances.count == 45)
            #expect(Set(status.instances.compactMap(\.pid)).count == 45)
            #expect(status.instances.allSatisfy { $0.state == "healthy" && $0.restarts == 0 })
            try checkContract(fleet)
            try checkReady(port)
            try checkStopping(fleet, port)
        }

        private func checkStarting(_ fleet: Fleet, _ port: Int) throws {
            // Not a race: 45 workers of a debug build are not ready in the time of one request.
            let answer = try HTTP.get("/startupz", port: port)
            let status = try fleet.status()
            if !status.node.first_start_finished { #expect(answer.status == 503) }
            #expect(try HTTP.get("/livez", port: port).status == 200)
            #expect(try HTTP.get("/metrics", port: port).status == 200)
        }

        /// The keys of INTERFACE.md §1, by eiderctl itself.
        private func checkContract(_ fleet: Fleet) throws {
            let answer = try fleet.control("--json", "status")
            #expect(answer.exitCode == 0)
            #expect(answer.errors.isEmpty)
            for key in [
                "\"node\":{\"name\":", "\"state\":\"healthy\"", "\"intent\":\"", "\"since\":\"", "\"services\":[",
                "\"ready\":2,\"desired\":2", "\"breaker\":\"closed\"", "\"instances\":[", "\"name\":\"auth/0\"",
                "\"pid\":", "\"restarts\":0", "\"uptime_seconds\":",
            ] {
                #expect(answer.output.contains(key), "\(key)")
            }
            let decoded = try JSONDecoder().decode(Status.self, from: Data(answer.output.utf8))
            #expect(decoded.services.first?.name == "http-nats-gateway")
            let people = try fleet.control("status")
            #expect(people.exitCode == 0)
            #expect(people.output.contains("http-nats-gateway"))
            #expect(!people.output.contains("\u{1B}"))
        }

        private func checkReady(_ port: Int) throws {
            for path in [
                "/", "/readyz", "/healthz", "/livez", "/startupz", "/health", "/health/auth", "/health/auth/0",
                "/health/auth/live", "/health/auth/ready", "/health/auth/startup", "/metrics",
            ] {
                let answer = try HTTP.get(path, port: port)
                #expect(answer.status == 200, "\(path)")
                #expect(answer.headers["content-length"] == "\(answer.body.utf8.count)", "\(path)")
                let head = try HTTP.get(path, port: port, method: "HEAD")
                #expect(head.status == 200 && head.body.isEmpty, "\(path)")
            }
            let node = try HTTP.get("/", port: port)
            #expect(node.body.hasPrefix("ok"))
            #expect(node.headers["cache-control"] == "no-store")
            #expect(node.headers["x-content-type-options"] == "nosniff")
            #expect(node.headers["x-eider-state"] == "healthy")
            let service = try HTTP.get("/health/auth", port: port)
            #expect(service.headers["content-type"]?.hasPrefix("application/health+json") == true)
            #expect(service.body.hasPrefix("{\"status\":\"pass\""))
            #expect(service.body.utf8.count < 512)
            #expect(try HTTP.get("/health/nobody", port: port).status == 404)
            let refused = try HTTP.get("/", port: port, method: "POST")
            #expect(refused.status == 405 && refused.headers["allow"] != nil)
            let metrics = try HTTP.get("/metrics", port: port).body
            #expect(metrics.contains("eider_service_ready{service=\"auth\"} 2\n"))
        }

        private func checkStopping(_ fleet: Fleet, _ port: Int) throws {
            // A request that takes a while keeps its worker, and so the fleet, stopping for as long.
            let gateway = try #require(fleet.pids()["http-nats-gateway/0"])
            kill(gateway, SIGSTOP)
            kill(fleet.daemon, SIGTERM)
            let stopping = Deadline(.seconds(5)).wait { (try? HTTP.get("/", port: port).status) == 503 }
            #expect(stopping)
            #expect(try HTTP.get("/livez", port: port).status == 200)
            #expect(try HTTP.get("/", port: port).headers["x-eider-state"] == "draining")
            #expect(try HTTP.get("/", port: port).headers["x-envoy-immediate-health-check-fail"] == "true")
            #expect(try HTTP.get("/?drain=404", port: port).status == 404)
            #expect(try HTTP.get("/health/auth", port: port).status == 503)
            #expect(try fleet.status().node.intent == "stop")
            kill(gateway, SIGCONT)
            #expect(fleet.ended() == 0)
            fleet.checkNothingLeft()
        }

        @Test func eachOf45KilledInTurnComesBackOnce() throws {
            let fleet = try Self.example()
            try fleet.startAndWait()
            let before = try fleet.pids()
            #expect(before.count == 45)
            let watch = Stopwatch()
            for name in before.keys.sorted() {
                guard let old = before[name] else { continue }
                kill(old, SIGKILL)
                // While it is away, its successor is not there yet: never a twin.
                let now = try fleet.wait(for: name, "is restarted") { $0.restarts == 1 }
                #expect(!Processes.lives(old))
                #expect(now.pid != old)
                #expect(now.last_exit?.signal == "SIGKILL")
                #expect(now.last_exit?.cause == "signal")
            }
            report("45 kills were noticed and dealt with in \(rounded(watch.seconds)) s")
            try fleet.waitUntilReady()
            let after = try fleet.status()
            #expect(after.instances.allSatisfy { $0.restarts == 1 && $0.generation == 2 })
            #expect(Processes.ofFleet(fleet.path).isEmpty == false)
            // By the daemon's own events: the first crash before it was stable waits backoff_initial ± jitter.
            let events = try fleet.events()
            for name in before.keys {
                let mine = events.filter { $0.subject == name }
                guard let exited = mine.first(where: { $0.kind == "exited" }),
                    let again = mine.last(where: { $0.kind == "started" })
                else {
                    Issue.record("\(name): \(mine.map(\.text))")
                    continue
                }
                let delay = again.seconds - exited.seconds
                #expect((0.39...0.9).contains(delay), "\(name) came back after \(delay) s")
            }
            let workers = Processes.ofFleet(fleet.path).count
            #expect(workers == 45, "\(workers) workers")
            fleet.stopAndCheck()
        }

        @Test func repeatedCrashesWaitLongerAndLonger() throws {
            let fleet = try Fleet(
                """
                [services.sleeper]
                command = ["/bin/sleep", "1000"]
                type = "simple"
                replicas = 2
                breaker.mode = "disabled"
                [services.sleeper.restart]
                backoff_initial = "150ms"
                backoff_jitter = 0.1
                backoff_max = "1s"
                stable_after = "60s"
                """
            )
            try fleet.startAndWait()
            let sibling = try #require(fleet.instance("sleeper/1").pid)
            for crash in 1...5 {
                let pid = try #require(fleet.wait(for: "sleeper/0", "up") { $0.ready && $0.pid != nil }.pid)
                kill(pid, SIGKILL)
                try fleet.wait(for: "sleeper/0", "crashed") { $0.restarts == crash }
            }
            try fleet.waitUntilReady()
            let events = try fleet.events("sleeper/0")
            let exits = events.filter { $0.kind == "exited" }.map(\.seconds)
            let starts = events.filter { $0.kind == "started" }.map(\.seconds).dropFirst()
            let delays = zip(exits, starts).map { $1 - $0 }
            report("delays of five crashes in a row: \(delays.map(rounded))")
            // The clock of events has milliseconds, and a start takes a few.
            for (delay, expected) in zip(delays, [0.15, 0.3, 0.6, 1, 1]) {
                #expect((expected * 0.88...expected * 1.1 + 0.15).contains(delay), "\(delay), wanted \(expected)")
            }
            #expect(delays.count == 5)
            #expect(try fleet.instance("sleeper/1").pid == sibling)
            fleet.stopAndCheck()
        }

        @Test func theFirstRestartAfterAStableRunIsImmediate() throws {
            let fleet = try Fleet(
                """
                [services.sleeper]
                command = ["/bin/sleep", "1000"]
                type = "simple"
                [services.sleeper.restart]
                backoff_initial = "30s"
                stable_after = "200ms"
                """
            )
            try fleet.startAndWait()
            try fleet.wait(for: "sleeper/0", "stable") { ($0.uptime_seconds ?? 0) > 0.3 }
            let pid = try #require(fleet.instance("sleeper/0").pid)
            kill(pid, SIGKILL)
            try fleet.wait(for: "sleeper/0", "back") { $0.ready && $0.pid != pid }
            let events = try fleet.events("sleeper/0")
            let exited = try #require(events.last { $0.kind == "exited" })
            let started = try #require(events.last { $0.kind == "started" })
            #expect(started.seconds - exited.seconds < 0.2)
            fleet.stopAndCheck()
        }
    }
}
