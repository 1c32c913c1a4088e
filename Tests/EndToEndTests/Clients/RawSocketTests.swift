import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// K1. What arrives at an open port besides requests: each has a defined end, none is logged, none leaks.
    @Suite(.serialized) struct RawSocketTests {
        private static let rounds = 50

        @Test func everyOddConnectionHasADefinedEnd() throws {
            let fleet = try ClientFleet.started()
            let port = try fleet.healthPort()
            let before = try Footprint(fleet)
            // Held open meanwhile: it ends when its time is over.
            let silent = try Connection(port: port)
            silent.send("GET /health/orders HTT")
            let watch = Stopwatch()
            for _ in 0..<Self.rounds {
                _ = try Connection(port: port)
                try Connection(port: port).reset()
                let late = try Connection(port: port)
                late.send("GET /hea")
                late.reset()
            }
            for _ in 0..<Self.rounds { try oddSpeech(port) }
            #expect(silent.read(.seconds(10)) == [], "a request that never ends was answered")
            #expect(watch.seconds > 4.5 && watch.seconds < 9, "\(watch.seconds)")
            let settled = Deadline(.seconds(5)).wait(every: 50_000) {
                Processes.descriptors(fleet.daemon) <= before.descriptors + 1
            }
            #expect(settled, "\(Processes.descriptors(fleet.daemon)) descriptors, before \(before.descriptors)")
            let after = try Footprint(fleet)
            for (kind, count) in [("tls", 1), ("http2", 1), ("malformed", 3), ("truncated", 1)] {
                #expect(after.closed(kind, since: before) == count * Self.rounds, "\(kind) \(after.closed)")
            }
            // A reset may come before the connection is looked at or after; that of a half request counts as a reset.
            let quiet = after.closed("empty", since: before) + after.closed("reset", since: before)
            #expect(quiet == 3 * Self.rounds, "\(after.closed)")
            #expect(after.closed("slow", since: before) == 1)
            #expect(after.connections <= 1)
            #expect(after.logBytes == before.logBytes, "\(fleet.log.suffix(2000))")
            #expect(try HTTP.get("/livez", port: port).status == 200)
            fleet.stopAndCheck()
        }

        /// Connections that say something and see how it is taken.
        private func oddSpeech(_ port: Int) throws {
            // Half-closed: answered in full, then closed by us.
            let half = try exchange(port, "GET /health/orders HTTP/1.1\r\nHost: h\r\n\r\n", finishes: true)
            #expect(half.hasPrefix("HTTP/1.1 200 OK\r\n") && half.hasSuffix("}\n") || half.hasSuffix("}"), "\(half)")
            let cut = try exchange(port, "GET /health/orders HTTP/1.1\r\nHos", finishes: true)
            #expect(cut.isEmpty, "\(cut)")
            let proxied = try exchange(
                port,
                "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"
            )
            #expect(proxied.hasPrefix("HTTP/1.1 400 Bad Request\r\n"), "\(proxied)")
            #expect(!proxied.contains(" 200 "), "a second answer: \(proxied)")
            let hello: [UInt8] = [0x16, 3, 1, 0, 0xA5, 1, 0, 0, 0xA1, 3, 3] + [UInt8](repeating: 7, count: 32)
            let tls = try Connection(port: port)
            tls.send(hello)
            #expect(tls.read(.seconds(3)) == [], "TLS was answered, or not closed")
            #expect(try exchange(port, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").isEmpty)
            let large = "GET / HTTP/1.1\r\nHost: h\r\nX: " + String(repeating: "a", count: 8200) + "\r\n\r\n"
            #expect(try exchange(port, large).hasPrefix("HTTP/1.1 431 "))
            let many = "GET / HTTP/1.1\r\nHost: h\r\n" + String(repeating: "X: a\r\n", count: 200) + "\r\n"
            #expect(try exchange(port, many).hasPrefix("HTTP/1.1 431 "))
        }

        /// All that comes until we are disconnected.
        private func exchange(_ port: Int, _ text: String, finishes: Bool = false) throws -> String {
            let connection = try Connection(port: port)
            connection.send(text)
            if finishes { connection.finishSending() }
            guard let bytes = connection.read(.seconds(3)) else {
                throw TestFailure("not closed after: \(text.prefix(80))")
            }
            return String(decoding: bytes, as: UTF8.self)
        }

        @Test func aHundredPipelinedRequestsAreAnsweredInOrder() throws {
            let fleet = try ClientFleet.started()
            let port = try fleet.healthPort()
            let paths = ["/health/orders", "/livez", "/nonsense", "/health/store"]
            let states = ["200", "200", "404", "200"]
            for chunk in [1_000_000, 17] {
                let connection = try Connection(port: port)
                let text = (0..<100).map { number in
                    let last = number == 99 ? "Connection: close\r\n" : ""
                    return "GET \(paths[number % 4]) HTTP/1.1\r\nHost: h\r\n\(last)\r\n"
                }.joined()
                var rest = Array(text.utf8)[...]
                while !rest.isEmpty {
                    connection.send(Array(rest.prefix(chunk)))
                    rest = rest.dropFirst(chunk)
                }
                let bytes = try #require(connection.read(.seconds(10)), "the connection was not closed")
                let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\r\n")
                    .filter { $0.contains("HTTP/1.1 ") }
                #expect(lines.count == 100)
                for (number, line) in lines.enumerated() {
                    #expect(line.contains("HTTP/1.1 \(states[number % 4]) "), "\(number): \(line)")
                }
            }
            fleet.stopAndCheck()
        }
    }
}
