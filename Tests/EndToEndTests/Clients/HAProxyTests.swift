import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// HAProxy's probes, as Debian ships it.
    @Suite(.serialized) struct HAProxyTests {
        private func backend(_ name: String, _ lines: [String], _ server: String) -> String {
            "backend \(name)\n" + lines.map { "    \($0)\n" }.joined() + "    server eider \(server)\n"
        }

        /// How many checks failed until HAProxy took a server out for the first time.
        private func failuresBeforeDown(_ haproxy: HAProxy, _ backend: String) -> Int {
            let lines = haproxy.lines("Health check for server \(backend)/eider failed")
            return (lines.firstIndex { $0.contains("0/2 DOWN") } ?? -1) + 1
        }

        /// H1. HAProxy's own default, `OPTIONS / HTTP/1.0` without a header, takes the node out and back in.
        @Test func theDefaultProbeCarriesTheNodesVerdict() throws {
            let fleet = try ClientFleet.started()
            let haproxy = try HAProxy(
                backend("node", ["option httpchk"], "127.0.0.1:\(fleet.healthPort()) check")
            )
            let up = try haproxy.wait("node/eider", is: "UP")
            #expect(up["check_status"] == "L7OK" && up["check_code"] == "200")
            // Nobody depends on these.
            try ClientFleet.control(fleet, "stop", "orders")
            try ClientFleet.control(fleet, "stop", "store", "--reason", "maintenance")
            let down = try haproxy.wait("node/eider", is: "DOWN")
            #expect(down["check_status"] == "L7STS" && down["check_code"] == "503")
            #expect(failuresBeforeDown(haproxy, "node") == 3, "\(haproxy.log)")
            try ClientFleet.control(fleet, "start", "store")
            let back = try haproxy.wait("node/eider", is: "UP")
            #expect(back["check_code"] == "200")
            #expect(back["chkdown"] == "1", "a service that is not critical took the node out:\n\(haproxy.log)")
            fleet.stopAndCheck()
        }

        /// H2. HEAD, without any header: the same verdict, and not a byte of body.
        @Test func headIsEnough() throws {
            let fleet = try ClientFleet.started()
            let port = try fleet.healthPort()
            let haproxy = try HAProxy(
                backend("orders", ["option httpchk HEAD /health/orders"], "127.0.0.1:\(port) check")
            )
            let up = try haproxy.wait("orders/eider", is: "UP")
            #expect(up["check_status"] == "L7OK" && up["check_code"] == "200")
            let connection = try Connection(port: port)
            connection.send("HEAD /health/orders HTTP/1.0\r\n\r\n")
            let bytes = try #require(connection.read())
            let text = String(decoding: bytes, as: UTF8.self)
            #expect(text.hasPrefix("HTTP/1.1 200 OK\r\n") && text.hasSuffix("\r\n\r\n"), "\(text)")
            let full = try HTTP.get("/health/orders", port: port)
            #expect(try Answer(bytes).headers["content-length"] == "\(full.body.utf8.count)")
            try ClientFleet.control(fleet, "stop", "orders")
            #expect(try haproxy.wait("orders/eider", is: "DOWN")["check_code"] == "503")
            try ClientFleet.control(fleet, "start", "orders")
            try haproxy.wait("orders/eider", is: "UP")
            fleet.stopAndCheck()
        }

        /// H3. GET over HTTP/1.1 with Host and HAProxy's own view in a header; status and body are what is expected.
        @Test func getOverHTTP11WithExpectations() throws {
            let fleet = try ClientFleet.started()
            let check = [
                "option httpchk", "http-check send-state",
                "http-check send meth GET uri /health/orders ver HTTP/1.1 hdr Host x",
            ]
            let server = "127.0.0.1:\(try fleet.healthPort()) check"
            let haproxy = try HAProxy(
                backend("code", check + ["http-check expect status 200"], server)
                    + backend("body", check + ["http-check expect string '\"status\":\"pass\"'"], server)
            )
            let up = try haproxy.wait("code/eider", is: "UP")
            #expect(up["check_status"] == "L7OK" && up["check_code"] == "200")
            try haproxy.wait("body/eider", is: "UP")
            // One of two dies: the code stays, while the body says no longer `pass`.
            try ClientFleet.control(fleet, "signal", "orders/1", "KILL")
            try haproxy.wait("body/eider", is: "DOWN")
            #expect(try haproxy.server("code/eider")["chkfail"] == "0")
            try haproxy.wait("body/eider", is: "UP")
            try ClientFleet.control(fleet, "stop", "orders")
            #expect(try haproxy.wait("code/eider", is: "DOWN")["check_code"] == "503")
            try haproxy.wait("body/eider", is: "DOWN")
            #expect(failuresBeforeDown(haproxy, "code") == 3, "\(haproxy.log)")
            try ClientFleet.control(fleet, "start", "orders")
            try haproxy.wait("code/eider", is: "UP")
            try haproxy.wait("body/eider", is: "UP")
            fleet.stopAndCheck()
        }

        /// H6, and H5 up to the drain: a draining node gets no new work at the first check, by X-Eider-State or by
        /// 404; one that fails is out after three.
        @Test func drainingIsSeenAtOnceAndFailureAfterThree() throws {
            let fleet = try ClientFleet.started(ClientFleet.slowToStop)
            let server = "127.0.0.1:\(try fleet.healthPort()) check"
            let byHeader = [
                "option httpchk GET /health/slow",
                "http-check expect ! hdr name x-eider-state value draining error-status L7OKC",
                "http-check expect status 200",
            ]
            let haproxy = try HAProxy(
                backend("header", byHeader, server)
                    + backend(
                        "code",
                        ["option httpchk GET /health/slow?drain=404", "http-check disable-on-404"],
                        server
                    )
            )
            try haproxy.wait("header/eider", is: "UP")
            try haproxy.wait("code/eider", is: "UP")
            try ClientFleet.control(fleet, "signal", "slow/0", "KILL")
            // Down for a second, and three checks take a third of it.
            try haproxy.wait("header/eider", is: "DOWN")
            #expect(failuresBeforeDown(haproxy, "header") == 3, "\(haproxy.log)")
            #expect(haproxy.lines("stopping").isEmpty, "failure was taken for a drain:\n\(haproxy.log)")
            try haproxy.wait("header/eider", is: "UP")
            try haproxy.wait("code/eider", is: "UP")
            kill(fleet.daemon, SIGTERM)
            try haproxy.wait("header/eider", "gets no new work") { $0["status"]?.hasPrefix("NOLB") == true }
            try haproxy.wait("code/eider", "gets no new work") { $0["status"]?.hasPrefix("NOLB") == true }
            // No check failed on the way there.
            for name in ["header", "code"] {
                let after = haproxy.lines("\(name)/eider").reversed().prefix { !$0.contains("is UP") }
                #expect(!after.contains { $0.contains("failed") }, "\(after.joined(separator: "\n"))")
            }
            #expect(fleet.ended() == 0)
            fleet.checkNothingLeft()
        }

        /// H7. The agent's words: weight while degraded, down with the operator's reason, and back, also when the
        /// daemon was replaced meanwhile. HAProxy's memory of an earlier word does not stick.
        @Test func theAgentsWordsDoNotStick() throws {
            let fleet = try ClientFleet.started()
            let agent = "agent-check agent-port \(try fleet.agentPort()) agent-inter 100ms agent-send \"orders\\n\""
            let haproxy = try HAProxy(
                backend("orders", [], "127.0.0.1:\(try fleet.healthPort()) check weight 100 \(agent)")
            )
            let isWhole: ([String: String]) -> Bool = {
                $0["status"] == "UP" && $0["agent_status"] == "L7OK" && $0["weight"] == "100"
            }
            try haproxy.wait("orders/eider", "is up", isWhole)
            try ClientFleet.control(fleet, "signal", "orders/1", "KILL")
            try haproxy.wait("orders/eider", "has half its weight") { $0["status"] == "UP" && $0["weight"] == "50" }
            try haproxy.wait("orders/eider", "has its weight again", isWhole)
            for replacesDaemon in [false, true] {
                try ClientFleet.control(fleet, "stop", "orders", "--reason", "a look")
                let down = try haproxy.wait("orders/eider", "is down") { $0["status"] == "DOWN (agent)" }
                #expect(down["last_agt"]?.contains("a look") == true, "\(down["last_agt"] ?? "")")
                if replacesDaemon {
                    // Both asked for port 0, and each is given its own socket back.
                    let ports = try [fleet.healthPort(), fleet.agentPort()]
                    fleet.killDaemon()
                    try fleet.start()
                    let announced = Deadline(.seconds(5)).wait {
                        (try? fleet.events().count { $0.kind == "listening" }) == 4
                    }
                    #expect(announced)
                    #expect(try [fleet.healthPort(), fleet.agentPort()] == ports)
                }
                try ClientFleet.control(fleet, "start", "orders")
                try haproxy.wait("orders/eider", "is up again", isWhole)
            }
            fleet.stopAndCheck()
        }

        /// H7, the other word: a draining fleet is set to drain, not to down.
        @Test func theAgentSaysDrain() throws {
            let fleet = try ClientFleet.started(ClientFleet.slowToStop)
            let agent = "agent-check agent-port \(try fleet.agentPort()) agent-inter 100ms"
            let haproxy = try HAProxy(
                backend("slow", [], "127.0.0.1:\(try fleet.healthPort()) check \(agent) agent-send \"slow\\n\"")
            )
            try haproxy.wait("slow/eider", "is up") { $0["status"] == "UP" && $0["agent_status"] == "L7OK" }
            kill(fleet.daemon, SIGTERM)
            try haproxy.wait("slow/eider", "drains") { $0["status"] == "DRAIN (agent)" || $0["status"] == "DRAIN" }
            #expect(fleet.ended() == 0)
            #expect(haproxy.lines("slow/eider is DOWN").isEmpty, "\(haproxy.log)")
        }

        /// H8. All workers die: HAProxy takes the service out with our words, and in again without anybody's help.
        @Test func theAgentReportsDeadWorkers() throws {
            let fleet = try ClientFleet.started()
            let agent = "agent-check agent-port \(try fleet.agentPort()) agent-inter 100ms agent-send \"orders\\n\""
            let haproxy = try HAProxy(backend("orders", [], "127.0.0.1:\(try fleet.healthPort()) check \(agent)"))
            try haproxy.wait("orders/eider", "is up") { $0["status"] == "UP" && $0["agent_status"] == "L7OK" }
            for (_, pid) in try fleet.pids().filter({ $0.key.hasPrefix("orders") }) { kill(pid, SIGKILL) }
            let down = try haproxy.wait("orders/eider", "is down") { $0["status"] == "DOWN (agent)" }
            let words = down["last_agt"] ?? ""
            #expect(words.contains("unhealthy: orders/0"), "\(words)")
            try haproxy.wait("orders/eider", "is up again") { $0["status"] == "UP" && $0["agent_status"] == "L7OK" }
            fleet.stopAndCheck()
        }

        /// H9. Checks that only connect leave no trace: HAProxy resets them before they are accepted.
        @Test func bareConnectsLeaveNoTrace() throws {
            let fleet = try ClientFleet.started()
            let port = try fleet.healthPort()
            let before = try Footprint(fleet)
            let sent = Self.resetsSent()
            let servers = (1...20).map { "    server s\($0) 127.0.0.1:\(port) check" }.joined(separator: "\n")
            let haproxy = try HAProxy("backend many\n\(servers)\n")
            // Each check ends in a reset, which the kernel counts.
            let checked = Deadline(.seconds(20)).wait(every: 50_000) { Self.resetsSent() - sent >= 600 }
            #expect(checked, "\(Self.resetsSent() - sent) checks")
            for number in [1, 20] {
                #expect(try haproxy.wait("many/s\(number)", is: "UP")["check_status"] == "L4OK")
            }
            let after = try Footprint(fleet)
            #expect(after.logBytes == before.logBytes, "\(fleet.log.suffix(2000))")
            #expect(after.descriptors <= before.descriptors + 1)
            let seen = ["empty", "reset", "normal"].map { after.closed($0, since: before) }
            report("H9: \(Self.resetsSent() - sent) bare checks; ended as empty, reset, normal: \(seen)")
            #expect(after.closed("reset", since: before) + after.closed("empty", since: before) <= 6)
            fleet.stopAndCheck()
        }

        /// Resets that this host's TCP has sent.
        private static func resetsSent() -> Int {
            let lines = File.text("/proc/net/snmp").split(separator: "\n").filter { $0.hasPrefix("Tcp:") }
                .map { $0.split(separator: " ") }
            guard lines.count == 2, let place = lines[0].firstIndex(of: "OutRsts") else { return 0 }
            return Int(lines[1][place]) ?? 0
        }

        /// H12. A fresh HAProxy takes a server out at its first failed check: a degraded service must have none.
        @Test func reloadsWhileDegradedTakeNothingOut() throws {
            let fleet = try Fleet(ClientFleet.services + ClientFleet.halves)
            try fleet.start()
            try fleet.wait("one half is up") { status in
                status.node.first_start_finished
                    && status.services.contains { $0.name == "halves" && $0.state == "degraded" }
            }
            let server = "127.0.0.1:\(try fleet.healthPort()) check"
            let haproxy = try HAProxy(
                backend("node", ["option httpchk"], server)
                    + backend("halves", ["option httpchk GET /health/halves"], server)
            )
            for round in 1...6 {
                for name in ["node/eider", "halves/eider"] {
                    let row = try haproxy.wait(name, is: "UP")
                    #expect(row["check_code"] == "200" && row["chkdown"] == "0" && row["chkfail"] == "0", "\(round)")
                }
                if round < 6 { try haproxy.reload() }
            }
            #expect(haproxy.lines("is DOWN").isEmpty, "\(haproxy.log)")
            fleet.stopAndCheck()
        }
    }
}
