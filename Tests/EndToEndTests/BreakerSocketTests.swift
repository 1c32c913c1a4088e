import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// What workers ask and report about their dependencies.
    @Suite(.serialized) struct BreakerSocketTests {
        private static func services(_ port: Int, _ words: [String] = []) -> String {
            let more = words.map { ", \"\($0)\"" }.joined()
            return """
                [services.a]
                command = ["WORKER", "--port", "{port}"\(more)]
                type = "notify"
                port_base = \(port)
                [dependencies.db]
                minimum_number_of_calls = 5
                wait_duration_in_open_state = "3s"
                permitted_number_of_calls_in_half_open_state = 2
                """
        }

        /// How calls of the worker went: `allowed`, `denied` and so on, and the last answer.
        private func calls(_ port: Int) throws -> [String: String] {
            var found: [String: String] = [:]
            let text = try HTTP.get("/dependency", port: port).body
            for name in ["allowed", "probes", "denied", "unanswered", "connects", "last"] {
                guard let place = text.firstRange(of: "\(name)=") else { continue }
                let rest = text[place.upperBound...].prefix { !$0.isNewline }
                found[name] = name == "last" ? String(rest) : String(rest.prefix { $0 != " " })
            }
            return found
        }

        private func last(_ port: Int, _ what: String, within patience: Duration = .seconds(20)) throws -> String {
            var seen = ""
            let came = Deadline(patience).wait(every: 20_000) {
                seen = (try? calls(port)["last"]) ?? seen
                return seen.hasPrefix(what)
            }
            if !came { throw TestFailure("the last answer was \(seen), not \(what)") }
            return seen
        }

        /// Sends a packet in the name of the worker.
        private func say(_ packet: String, _ port: Int) throws -> String {
            let encoded = packet.utf8.map { byte in
                let digits = String(byte, radix: 16)
                return "%" + (digits.count < 2 ? "0" : "") + digits
            }
            let body = try HTTP.get("/breaker?say=" + encoded.joined(), port: port).body
            return String(body.dropLast())
        }

        @Test func aDependencyThatFailsIsLeftAloneUntilItWorks() throws {
            let port = try Ports.free(1)
            let fleet = try Fleet(
                Self.services(
                    port,
                    ["--dependency", "db", "--dependency-rate", "50", "--dependency-outcome-file", "DIR/outcome"]
                )
            )
            try fleet.startAndWait()
            _ = try last(port, "ok ")
            try File.write("failed", to: fleet.path + "/outcome")
            let denial = try last(port, "deny ").split(separator: " ")
            // The wait, give or take a fifth.
            #expect(denial.count == 3 && (1...3_600).contains(Int(denial[1]) ?? 0), "\(denial)")
            let event = try fleet.event("breaker-open")
            #expect(event.text.contains("db") && event.text.contains("calls failed"), "\(event.text)")
            // A probe finds it as broken as before.
            let probed = Deadline(.seconds(20)).wait { (Int((try? calls(port)["probes"]) ?? "") ?? 0) > 0 }
            #expect(probed, "no probe was made")
            _ = try last(port, "deny ")
            try File.write("ok", to: fleet.path + "/outcome")
            _ = try last(port, "ok ", within: .seconds(40))
            #expect(try fleet.pids()["a/0"] != nil && fleet.instance("a/0").restarts == 0)
            fleet.stopAndCheck()
            #expect(access(fleet.path + "/run/breaker", F_OK) != 0, "the socket's file is left")
        }

        @Test func anOpenBreakerOutlivesTheDaemonAndItsClientsConnectAnew() throws {
            let port = try Ports.free(1)
            let text = Self.services(
                port,
                ["--dependency", "db", "--dependency-rate", "20", "--dependency-outcome-file", "DIR/outcome"]
            ).replacing("\"3s\"", with: "\"60s\"")
            let fleet = try Fleet(text)
            try fleet.startAndWait()
            _ = try last(port, "ok ")
            try File.write("failed", to: fleet.path + "/outcome")
            _ = try last(port, "deny ")
            let pid = try fleet.instance("a/0").pid
            fleet.killDaemon()
            // Nobody answers: the worker goes on without.
            _ = try last(port, "none")
            try fleet.start()
            let denial = try last(port, "deny ").split(separator: " ")
            #expect((1...72_000).contains(Int(denial[1]) ?? 0), "\(denial)")
            #expect((Int(try calls(port)["connects"] ?? "") ?? 0) >= 2)
            #expect(try fleet.instance("a/0").pid == pid)
            fleet.stopAndCheck()
        }

        @Test func strangersAreRefusedAndRemovedFilesMadeAnew() throws {
            let port = try Ports.free(1)
            let fleet = try Fleet(Self.services(port))
            try fleet.startAndWait()
            let path = fleet.path + "/run/breaker"
            let socket = try UnixSocket.connect(.sequentialPacket, path: path)
            _ = try? Packet.send(Array("ALLOW db\n".utf8), on: socket.rawValue)
            try #require(SocketWait.readable(socket.rawValue, .seconds(10)))
            guard case .closed = try Packet.receive(on: socket.rawValue, limit: 100) else {
                throw TestFailure("a stranger was answered")
            }
            let counted = Deadline(.seconds(10)).wait(every: 50_000) {
                let name = "eider_breaker_connections_refused_total{reason=\"unknown-peer\"}"
                return ((try? fleet.metric(name)) ?? 0) >= 1
            }
            #expect(counted, "the stranger is not counted")
            unlink(path)
            let isBack = Deadline(.seconds(10)).wait { access(path, F_OK) == 0 }
            #expect(isBack, "the socket was not made anew")
            #expect(try say("ALLOW db", port) == "ok 1\n")
            fleet.stopAndCheck()
        }

        @Test func whatCannotBeReadIsAnsweredAndNothingElseHappens() throws {
            let port = try Ports.free(1)
            let fleet = try Fleet(Self.services(port))
            try fleet.startAndWait()
            #expect(try say("ALLOW db\nALLOW x\n", port) == "ok 1\nok 1\n")
            let mixed = try say("hello\nALLOW db\nREPORT db 1 well 1\nALLOW \u{1}", port).split(separator: "\n")
            #expect(mixed.count == 4 && mixed[1] == "ok 1", "\(mixed)")
            for place in [0, 2, 3] where mixed.count == 4 { #expect(mixed[place].hasPrefix("error cannot ")) }
            let many = try say(String(repeating: "ALLOW db\n", count: 200), port).split(separator: "\n")
            #expect(many.count == 129 && many.last?.hasPrefix("error cannot take more than 128 lines") == true)
            #expect(try say("REPORT db 99999 failed 1\nALLOW db", port) == "ok 1\n")
            #expect(try fleet.instance("a/0").restarts == 0)
            fleet.stopAndCheck()
        }

        @Test func aFloodDelaysNobody() throws {
            let port = try Ports.free(1)
            let fleet = try Fleet(
                Self.services(port, ["--dependency-flood", "32"])
                    + "\n[services.b]\ncommand = [\"/bin/sleep\", \"1000\"]\ntype = \"simple\"\n"
            )
            try fleet.startAndWait()
            var slowest = 0.0
            for _ in 0..<20 {
                let watch = Stopwatch()
                #expect(try fleet.control("status").exitCode == 0)
                slowest = max(slowest, watch.seconds)
            }
            let watch = Stopwatch()
            #expect(try fleet.control("restart", "b").exitCode == 0)
            let restart = rounded(watch.seconds)
            report("beside 32 flooding connections: status \(rounded(slowest)) s at most, a restart \(restart) s")
            #expect(slowest < 2 && watch.seconds < 5)
            fleet.stopAndCheck()
        }
    }
}
