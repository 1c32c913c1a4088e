import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// Nodes that are drained and come back under load: no client notices, and no proxy has to hide anything.
    @Suite(.serialized) struct DrainLoadTests {
        /// What HAProxy counts when it has to help itself: retries, redispatches, connects that failed, answers that
        /// did. With retries a client sees nothing of these, and so they are what is looked at.
        private static let faults = ["wretr", "wredis", "econ", "eresp", "hrsp_4xx", "hrsp_5xx", "hrsp_other"]

        private static func checkNoFaults(_ haproxy: HAProxy, _ what: String) throws {
            for name in ["orders/BACKEND", "orders/a", "orders/b"] {
                let row = try haproxy.server(name)
                let seen = faults.filter { !["", "0"].contains(row[$0] ?? "") }.map { "\($0)=\(row[$0] ?? "")" }
                #expect(seen.isEmpty, "\(what): \(name) has \(seen)\n\(haproxy.log.suffix(2000))")
            }
        }

        /// Drains a node and takes it back, both seen by HAProxy; seconds that the drain took.
        private static func drain(_ nodes: Nodes, _ number: Int, behind haproxy: HAProxy) throws -> Double {
            let fleet = nodes.fleets[number]
            let server = "orders/" + ["a", "b"][number]
            let watch = Stopwatch()
            let drained = try fleet.control("drain")
            let seconds = watch.seconds
            #expect(drained.exitCode == 0, "\(drained)\n\(fleet.log.suffix(2000))")
            #expect(try fleet.pids().isEmpty)
            #expect(try haproxy.server(server)["status"] == "DOWN")
            let undrained = try fleet.control("undrain")
            #expect(undrained.exitCode == 0, "\(undrained)")
            try haproxy.wait(server, is: "UP")
            return seconds
        }

        /// H10 and H11. Both nodes in turn, with HAProxy's second chances and without.
        @Test(arguments: [["retries 3", "option redispatch"], ["retries 0"]])
        func nobodyNoticesDrainsBehindHAProxy(_ chances: [String]) throws {
            let rounds = Rounds.count("EIDER_DRAINS", 20)
            let nodes = try Nodes()
            let front = try Ports.free(1)
            let haproxy = try HAProxy(nodes.backend(front: front, Nodes.withState + chances))
            for name in ["orders/a", "orders/b"] { try haproxy.wait(name, is: "UP") }
            let load = try Load("http://127.0.0.1:\(front)/slow?ms=20")
            var times: [Double] = []
            for round in 0..<rounds {
                times.append(try Self.drain(nodes, round % 2, behind: haproxy))
                try Self.checkNoFaults(haproxy, "drain \(round + 1)")
            }
            let shares = try ["a", "b"].map { Int(try haproxy.server("orders/\($0)")["stot"] ?? "") ?? 0 }
            let seen = try load.end()
            #expect(seen.failures.isEmpty, "\(seen)")
            #expect(shares.allSatisfy { $0 > 100 } && seen.answered > 100 * rounds, "\(shares) \(seen)")
            report(
                "\(chances): \(rounds) drains under load, \(rounded(times.min() ?? 0)) to "
                    + "\(rounded(times.max() ?? 0)) s each, \(seen.answered) answers, \(shares) by node; retries, "
                    + "redispatches, failed connects and answers: 0"
            )
            nodes.stopAndCheck()
        }

        /// H10 with checks as slow as they often are.
        @Test func nobodyNoticesWithSlowerChecks() throws {
            let nodes = try Nodes(drain: "")
            let front = try Ports.free(1)
            let lines = Nodes.withState + ["retries 0", "default-server inter 500ms fall 3 rise 2"]
            let haproxy = try HAProxy(nodes.backend(front: front, lines))
            for name in ["orders/a", "orders/b"] { try haproxy.wait(name, is: "UP") }
            let load = try Load("http://127.0.0.1:\(front)/slow?ms=20")
            for number in 0..<2 {
                let seconds = try Self.drain(nodes, number, behind: haproxy)
                report("a drain under load behind HAProxy, 500 ms x 3: \(rounded(seconds)) s")
            }
            try Self.checkNoFaults(haproxy, "500 ms")
            let seen = try load.end()
            #expect(seen.failures.isEmpty, "\(seen)")
            nodes.stopAndCheck()
        }

        /// With nothing under way, the checks are all that a drain waits for.
        @Test func anIdleNodeIsDrainedWithinItsChecks() throws {
            let nodes = try Nodes(drain: "")
            let front = try Ports.free(1)
            let lines = Nodes.withState + ["default-server inter 500ms fall 3 rise 2"]
            let haproxy = try HAProxy(nodes.backend(front: front, lines))
            for name in ["orders/a", "orders/b"] { try haproxy.wait(name, is: "UP") }
            for _ in 0..<4 { #expect(try HTTP.get("/", port: front).status == 200) }
            let seconds = try Self.drain(nodes, 0, behind: haproxy)
            report("a drain with nothing in flight behind HAProxy, 500 ms x 3: \(rounded(seconds)) s")
            #expect(seconds < 4)
            #expect(try HTTP.get("/", port: front).status == 200)
            nodes.stopAndCheck()
        }

        /// N1. nginx asks nobody and keeps its connections: it is told on these, and sees a refused connect at most.
        @Test(arguments: ["GET", "POST"])
        func nobodyNoticesBehindNginx(_ method: String) throws {
            let nodes = try Nodes(drain: "notice_min = \"500ms\"\nnotice_max = \"3s\"")
            // How long nginx leaves a server alone that it could not reach.
            let servers = nodes.ports.map { "server 127.0.0.1:\($0) fail_timeout=1s;" }.joined(separator: " ")
            let nginx = try Nginx("upstream orders { \(servers) keepalive 32; }", to: "orders")
            let script = "wrk.method = \"\(method)\"\n" + (method == "POST" ? "wrk.body = \"amount=1\"\n" : "")
            let load = try Load(nginx.url + "/slow?ms=20", script: script)
            for fleet in nodes.fleets {
                let watch = Stopwatch()
                let drained = try fleet.control("drain")
                report("N1 \(method): drained in \(rounded(watch.seconds)) s")
                #expect(drained.exitCode == 0, "\(drained)")
                #expect(try fleet.control("undrain").exitCode == 0)
                try fleet.wait(for: "orders/0", "is given work again") { $0.in_flight ?? 0 > 0 }
            }
            let seen = try load.end()
            #expect(seen.failures.isEmpty && seen.answered > 100, "\(seen)\n\(nginx.errors.suffix(3000))")
            #expect(!nginx.errors.contains("prematurely closed"), "\(nginx.errors.suffix(3000))")
            #expect(!nginx.errors.contains("reset by peer"), "\(nginx.errors.suffix(3000))")
            report("N1 \(method): \(seen.answered) answers, two drains; nginx: \(nginx.errorLines) lines of errors")
            nodes.stopAndCheck()
        }
    }
}
