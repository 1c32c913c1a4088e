import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// What watches: Prometheus, its tool and its prober, and Monit.
    @Suite(.serialized) struct MonitoringTests {
        /// P1. Scrapes every second, while a service goes and comes back: the target is up all the time, and the series
        /// says what happened.
        @Test func prometheusScrapesThroughAnOutage() throws {
            let fleet = try ClientFleet.started()
            let prometheus = try Prometheus(target: fleet.healthPort())
            let ready = #"eider_service_ready{service="orders"}"#
            try prometheus.wait("both are ready", ready) { $0 == 2 }
            try ClientFleet.control(fleet, "stop", "orders")
            try prometheus.wait("none is ready", ready) { $0 == 0 }
            try ClientFleet.control(fleet, "stop", "store")
            try prometheus.wait("the node is not ready", "eider_node_ready") { $0 == 0 }
            try ClientFleet.control(fleet, "start", "orders", "store")
            try prometheus.wait("both are ready again", ready) { $0 == 2 }
            try prometheus.wait("the node is ready again", "eider_node_ready") { $0 == 1 }
            try prometheus.checkIsUp()
            #expect(try prometheus.query("changes(\(ready)[5m])") == 2)
            #expect(try prometheus.query("scrape_samples_scraped") ?? 0 > 40)
            #expect(prometheus.stop() == 0)
            fleet.stopAndCheck()
        }

        /// P2. Prometheus' own tool finds nothing to say, neither of a fresh fleet nor of one with a history.
        @Test func promtoolHasNothingToSay() throws {
            let fleet = try Fleet(ClientFleet.services + ClientFleet.halves)
            try fleet.start()
            try fleet.wait("one has failed") { $0["halves/1"]?.restarts == 1 }
            let promtool = try Tool.promtool.path()
            let port = try fleet.healthPort()
            for round in 1...2 {
                let body = try HTTP.get("/metrics", port: port).body
                #expect(body.utf8.count > 1000)
                let file = fleet.path + "/metrics"
                try File.write(body, to: file)
                let check = try Command.run(["/bin/sh", "-c", "\(promtool) check metrics <\(file)"])
                #expect(check.exitCode == 0 && check.output.isEmpty && check.errors.isEmpty, "\(check)\n\(body)")
                // It does find what is wrong.
                try File.write(body.replacing("eider_service_restarts_total", with: "eider_restarts"), to: file)
                let broken = try Command.run(["/bin/sh", "-c", "\(promtool) check metrics <\(file)"])
                #expect(broken.exitCode != 0)
                if round == 1 {
                    for name in ["orders/0", "orders/1"] { try ClientFleet.control(fleet, "signal", name, "KILL") }
                    try fleet.wait("both are back") { $0["orders/0"]?.restarts == 1 && $0["orders/1"]?.ready == true }
                }
            }
            fleet.stopAndCheck()
        }

        /// P3. The blackbox exporter's probes follow the state.
        @Test func blackboxProbesFollowTheState() throws {
            let fleet = try ClientFleet.started()
            let blackbox = try Client()
            let web = try Ports.free(1)
            let modules = """
                modules:
                  head:
                    prober: http
                    timeout: 5s
                    http: { method: HEAD, valid_status_codes: [200], preferred_ip_protocol: ip4 }
                  body:
                    prober: http
                    timeout: 5s
                    http:
                      valid_status_codes: [200]
                      preferred_ip_protocol: ip4
                      fail_if_body_not_matches_regexp: ['^{"status":"pass",']
                      fail_if_header_not_matches: [ { header: X-Eider-State, regexp: '^healthy$' } ]
                  tcp:
                    prober: tcp
                    timeout: 5s
                    tcp: { preferred_ip_protocol: ip4 }

                """
            try File.write(modules, to: blackbox.path + "/blackbox.yml")
            try blackbox.start(
                .blackbox,
                ["--config.file=\(blackbox.path)/blackbox.yml", "--web.listen-address=127.0.0.1:\(web)"]
            )
            try blackbox.wait("it listens") { try HTTP.get("/-/healthy", port: web).status == 200 }
            let target = "127.0.0.1:\(try fleet.healthPort())"
            func probe(_ module: String, _ target: String) throws -> Bool {
                let text = try HTTP.get("/probe?module=\(module)&target=\(target)", port: web).body
                guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("probe_success ") }) else {
                    throw TestFailure("no result: \(text)")
                }
                return line == "probe_success 1"
            }
            let url = "http://\(target)/health/orders"
            let before = try Footprint(fleet)
            #expect(try probe("head", url) && probe("body", url) && probe("tcp", target))
            try ClientFleet.control(fleet, "stop", "orders")
            #expect(try !probe("head", url) && !probe("body", url))
            #expect(try probe("tcp", target) && probe("head", "http://\(target)/livez"))
            try ClientFleet.control(fleet, "start", "orders")
            #expect(try probe("head", url) && probe("body", url))
            #expect(try Footprint(fleet).closed("empty", since: before) == 2, "two probes that only connected")
            fleet.stopAndCheck()
            #expect(try !probe("tcp", target) && !probe("head", url))
        }

        /// A Monit that looks every second.
        private func monit(_ check: (String) -> String) throws -> Client {
            let client = try Client()
            let path = client.path
            let text = """
                set daemon 1
                set log \(path)/monit.log
                set pidfile \(path)/monit.pid
                set idfile \(path)/monit.id
                set statefile \(path)/monit.state
                check host eider with address 127.0.0.1
                \(check(path))

                """
            try File.write(text, to: path + "/monitrc", mode: 0o600)
            try client.start(.monit, ["-I", "-v", "-c", path + "/monitrc"])
            return client
        }

        /// M1. Monit alerts after the second failure, not after the first, and sees the recovery.
        @Test func monitAlertsAfterTheSecondFailure() throws {
            let fleet = try ClientFleet.started()
            let port = try fleet.healthPort()
            let monit = try self.monit { path in
                """
                if failed port \(port) protocol http request "/health/orders" for 2 times within 3 cycles
                    then exec "/bin/sh -c 'echo down >>\(path)/alerts'"
                    else if succeeded then exec "/bin/sh -c 'echo up >>\(path)/alerts'"
                """
            }
            let log = { File.text(monit.path + "/monit.log") }
            let alerts = { File.text(monit.path + "/alerts").split(separator: "\n") }
            let failures = { log().split(separator: "\n").count { $0.contains("'eider' failed protocol test [HTTP]") } }
            try monit.wait("a first look") { log().contains("'eider' succeeded testing protocol [HTTP]") }
            try ClientFleet.control(fleet, "stop", "orders")
            try monit.wait("a first failure") { failures() == 1 }
            #expect(alerts().isEmpty, "\(log())")
            try monit.wait("an alert") { alerts() == ["down"] }
            #expect(failures() >= 2, "\(log())")
            try ClientFleet.control(fleet, "start", "orders")
            try monit.wait("the recovery") { alerts() == ["down", "up"] }
            monit.stop()
            fleet.stopAndCheck()
        }

        /// M2. Checks that only connect are counted, never logged.
        @Test func monitsBareConnectsAreNotLogged() throws {
            let fleet = try ClientFleet.started()
            let port = try fleet.healthPort()
            let before = try Footprint(fleet)
            let monit = try self.monit { _ in
                (1...20).map { _ in "if failed port \(port) type tcp then alert" }.joined(separator: "\n")
            }
            let counted = try Deadline(.seconds(30)).wait(every: 200_000) {
                try Footprint(fleet).closed("empty", since: before) >= 60
            }
            #expect(counted, "\(File.text(monit.path + "/monit.log").suffix(2000))")
            #expect(!File.text(monit.path + "/monit.log").contains("failed"))
            monit.stop()
            let after = try Footprint(fleet)
            #expect(after.logBytes == before.logBytes, "\(fleet.log.suffix(2000))")
            #expect(after.connections == 1 && after.descriptors <= before.descriptors + 1)
            fleet.stopAndCheck()
        }
    }
}
