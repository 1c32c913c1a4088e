import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// What real probers make of a drain, and of its end; and what we know of them meanwhile.
    @Suite(.serialized) struct DrainClientTests {
        private static let slow = "default-server inter 500ms fall 3 rise 2"

        /// H4. HAProxy says itself what it makes of our answers: it has acknowledged at its first check after DOWN.
        @Test func haproxyAcknowledgesWithItsNextCheck() throws {
            let nodes = try Nodes(drain: "notice_min = \"4s\"")
            let haproxy = try HAProxy(nodes.backend(front: Ports.free(1), Nodes.withState + [Self.slow]))
            for name in ["orders/a", "orders/b"] { try haproxy.wait(name, is: "UP") }
            let fleet = nodes.fleets[0]
            let watch = Stopwatch()
            let drain = try fleet.controlling("drain")
            let routed = try fleet.wait(forDrain: "seen by the prober") { $0.probers.count == 1 }
            #expect(routed.phase == "notice" && routed.probers[0].haproxy_state == "UP", "\(routed)")
            #expect(routed.probers[0].acknowledged == false && routed.probers[0].path == "/health/orders", "\(routed)")
            try haproxy.wait("orders/a", is: "DOWN")
            let down = watch.seconds
            try fleet.wait(forDrain: "acknowledged") { $0.probers.first?.acknowledged == true }
            let acknowledged = watch.seconds
            report("H4: DOWN after \(rounded(down)) s, acknowledged \(rounded(acknowledged - down)) s later")
            // Three checks at most until it is down; then one check, and our look at it.
            #expect(down < 2.5 && acknowledged - down < 1.2)
            // And what a script sees of it.
            let shown = try fleet.control("drain-status", "--json")
            #expect(shown.exitCode == 0 && shown.output.contains("\"haproxy_state\":\"DOWN"), "\(shown)")
            #expect(drain.ended() == 0, "\(drain.errors)")
            #expect(try fleet.control("undrain").exitCode == 0)
            try haproxy.wait("orders/a", is: "UP")
            #expect(try fleet.drain().state == "none")
            nodes.stopAndCheck()
        }

        /// H5. `disable-on-404`: nothing new after the first check, and back in after the first one after `undrain`.
        @Test func by404ItIsOutAndInAtOnce() throws {
            let nodes = try Nodes(drain: "notice_min = \"5s\"")
            let lines = ["option httpchk GET /health/orders?drain=404", "http-check disable-on-404", Self.slow]
            let haproxy = try HAProxy(nodes.backend(front: Ports.free(1), lines))
            try checkOutAndIn(nodes, haproxy, isOut: { $0["status"]?.hasPrefix("NOLB") == true })
            nodes.stopAndCheck()
        }

        /// H6. The same by X-Eider-State.
        @Test func byHeaderItIsOutAndInAtOnce() throws {
            let nodes = try Nodes(drain: "notice_min = \"5s\"")
            let lines = [
                "option httpchk GET /health/orders",
                "http-check expect ! hdr name x-eider-state value draining error-status L7OKC",
                "http-check expect status 200", Self.slow,
            ]
            let haproxy = try HAProxy(nodes.backend(front: Ports.free(1), lines))
            try checkOutAndIn(nodes, haproxy, isOut: { $0["status"]?.hasPrefix("NOLB") == true })
            nodes.stopAndCheck()
        }

        /// H7. The agent's word is followed at once, and does not stick: not after `undrain`, and not where the daemon
        /// was killed while it was drained.
        @Test func byTheAgentItIsOutAndInAtOnce() throws {
            let nodes = try Nodes(drain: "notice_min = \"5s\"")
            let check = "agent-check agent-port AGENT agent-inter 500ms agent-send \"orders\\n\""
            let lines = ["option httpchk GET /health/orders", Self.slow]
            let haproxy = try HAProxy(nodes.backend(front: Ports.free(1), lines, check: check))
            try haproxy.wait("orders/a", "is told so by the agent") { $0["agent_status"] == "L7OK" }
            try checkOutAndIn(nodes, haproxy, isOut: { $0["status"] == "DRAIN (agent)" })
            let fleet = nodes.fleets[0]
            #expect(try fleet.control("drain", "--notice", "1s").exitCode == 0)
            let row = try haproxy.server("orders/a")
            #expect(row["status"] != "UP", "\(row["status"] ?? "")")
            fleet.killDaemon()
            try fleet.start()
            #expect(try fleet.status().node.state == "drained")
            #expect(try fleet.control("undrain").exitCode == 0)
            try haproxy.wait("orders/a", "is up") { $0["status"] == "UP" && $0["agent_status"] == "L7OK" }
            nodes.stopAndCheck()
        }

        /// Drains a node and takes it back within the notice: HAProxy gives it nothing new after a check, and something
        /// again after another.
        private func checkOutAndIn(
            _ nodes: Nodes,
            _ haproxy: HAProxy,
            isOut: ([String: String]) -> Bool
        ) throws {
            for name in ["orders/a", "orders/b"] { try haproxy.wait(name, is: "UP") }
            let fleet = nodes.fleets[0]
            let before = try fleet.pids()
            let watch = Stopwatch()
            #expect(try fleet.control("drain", "--detach").exitCode == 0)
            try haproxy.wait("orders/a", "gets nothing new", isOut)
            let out = watch.seconds
            let undrained = Stopwatch()
            #expect(try fleet.control("undrain").exitCode == 0)
            try haproxy.wait("orders/a", is: "UP")
            let back = undrained.seconds
            report("out \(rounded(out)) s after drain, in \(rounded(back)) s after undrain")
            // One check each, every 500 ms; noisy machines delay one.
            #expect(out < 1.5 && back < 1.5)
            #expect(try fleet.pids() == before)
            #expect(haproxy.lines("orders/a is DOWN").isEmpty, "\(haproxy.log)")
        }

        /// C2. A script's `curl -sf`: healthy and degraded serve, draining and drained do not.
        @Test func curlsExitCodeIsTheVerdict() throws {
            let nodes = try Nodes(drain: "notice_min = \"30s\"")
            let fleet = nodes.fleets[0]
            let port = try fleet.healthPort()
            func code(_ path: String) throws -> Int32 {
                try Tool.curl.run("-sf", "-m", "10", "http://127.0.0.1:\(port)\(path)").exitCode
            }
            #expect(try code("/health/orders") == 0)
            // One of two, the other stopped.
            #expect(try fleet.control("scale", "orders", "2").exitCode == 0)
            try fleet.waitUntilReady()
            #expect(try fleet.control("stop", "orders/1").exitCode == 0)
            #expect(try code("/health/orders") == 0)
            #expect(try fleet.control("drain", "--detach").exitCode == 0)
            for path in ["/health/orders", "/health/orders/0", "/readyz", "/"] {
                #expect(try code(path) == 22, "\(path)")
            }
            for path in ["/livez", "/metrics", "/health/orders/live"] { #expect(try code(path) == 0, "\(path)") }
            let headers = try HTTP.get("/health/orders", port: port).headers
            #expect(headers["x-eider-state"] == "draining" && headers["retry-after"] != nil, "\(headers)")
            #expect(headers["x-envoy-immediate-health-check-fail"] == "true", "\(headers)")
            #expect(try fleet.control("drain", "--notice", "0s").exitCode == 0)
            #expect(try code("/health/orders") == 22 && code("/livez") == 0)
            #expect(try HTTP.get("/health/orders", port: port).headers["x-eider-state"] == "drained")
            #expect(try fleet.control("undrain").exitCode == 0)
            #expect(try code("/health/orders") == 0 && code("/readyz") == 0)
            nodes.stopAndCheck()
        }

        /// P1. Prometheus sees the drain in its series, and the target is up through all of it.
        @Test func prometheusSeesADrain() throws {
            let nodes = try Nodes(drain: "notice_min = \"2s\"\nnotice_max = \"2s\"")
            let fleet = nodes.fleets[0]
            let prometheus = try Prometheus(target: fleet.healthPort())
            let ready = #"eider_service_ready{service="orders"}"#
            try prometheus.wait("it is ready", ready) { $0 == 1 }
            #expect(try fleet.control("drain", "--reason", "kernel update").exitCode == 0)
            try prometheus.wait("it is drained", ready) { $0 == 0 }
            for phase in ["notice", "drained"] {
                let query = #"max_over_time(eider_drain_phase{target="node",phase="\#(phase)"}[1m])"#
                try prometheus.wait("\(phase) is seen", query) { $0 == 1 }
            }
            #expect(try fleet.control("undrain").exitCode == 0)
            try prometheus.wait("it is ready again", ready) { $0 == 1 }
            try prometheus.checkIsUp()
            #expect(prometheus.stop() == 0)
            nodes.stopAndCheck()
        }
    }
}
