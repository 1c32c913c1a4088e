import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// Clients that ask as fast as they can: nothing may be refused, reset or answered wrongly.
    @Suite(.serialized) struct LoadTests {
        /// Workers that take every processor there is.
        private static let burners = """
            [services.burner]
            command = ["/bin/sh", "-c", "while :; do :; done"]
            type = "simple"
            replicas = 4

            """

        /// Longest time of 99 in 100 answers, milliseconds. 256 requests are always under way here, so that an answer
        /// takes 256 times what one costs: wrk's four threads, four burners and a debug build of the daemon share what
        /// may be two busy cores (measured: 83 ms; 400 to 1,100 ms while the daemon had no priority over its workers).
        private static let longest99th = 1000.0

        /// W1. 256 connections while workers saturate the machine.
        @Test func wrkWhileWorkersTakeAllProcessors() throws {
            let fleet = try ClientFleet.started(Self.burners)
            let url = "http://127.0.0.1:\(try fleet.healthPort())/health/orders"
            // The log is written on a thread that has to wait for a processor, too.
            #expect(Deadline(.seconds(20)).wait { fleet.log.contains("the first start is finished") })
            let before = try Footprint(fleet)
            let run = try Tool.wrk.run("-t4", "-c256", "-d8s", "--timeout", "5s", "--latency", url)
            #expect(run.exitCode == 0, "\(run.errors)")
            // wrk says these only where there is something to say.
            #expect(!run.output.contains("Socket errors"), "\(run.output)")
            #expect(!run.output.contains("Non-2xx"), "\(run.output)")
            let slowest = try #require(Self.milliseconds(after: "99%", run.output), "\(run.output)")
            let rate = try #require(Self.number(after: "Requests/sec:", run.output), "\(run.output)")
            report("W1: \(rounded(rate)) answers a second, 99 in 100 within \(rounded(slowest)) ms")
            #expect(slowest < Self.longest99th, "\(run.output)")
            #expect(rate > 500, "\(run.output)")
            // wrk first connects once without a word.
            let after = try Footprint(fleet)
            #expect(after.closed("empty", since: before) >= 1)
            #expect(after.connections <= 1 && after.descriptors <= before.descriptors + 1)
            #expect(after.logBytes == before.logBytes, "\(fleet.log.suffix(2000))")
            fleet.stopAndCheck()
        }

        /// A1. ab: a connection for each request, kept connections, and HEAD.
        @Test func abInItsThreeWays() throws {
            let fleet = try ClientFleet.started()
            let url = "http://127.0.0.1:\(try fleet.healthPort())/health/orders"
            for ways in [[], ["-k"], ["-i"]] {
                let run = try Tool.ab.run(["-q", "-n", "20000", "-c", "50", "-s", "10"] + ways + [url])
                #expect(run.exitCode == 0, "\(ways): \(run.errors)")
                #expect(Self.number(after: "Complete requests:", run.output) == 20_000, "\(ways): \(run.output)")
                #expect(Self.number(after: "Failed requests:", run.output) == 0, "\(ways): \(run.output)")
                #expect(!run.output.contains("Non-2xx"), "\(ways): \(run.output)")
                #expect(!run.output.contains("Write errors"), "\(ways): \(run.output)")
                let kept = Self.number(after: "Keep-Alive requests:", run.output)
                #expect(kept == (ways.contains("-k") ? 20_000 : nil), "\(ways): \(run.output)")
                let body = Self.number(after: "HTML transferred:", run.output)
                #expect((body == 0) == ways.contains("-i"), "\(ways): \(run.output)")
                report("A1: ab \(ways): \(Self.number(after: "Requests per second:", run.output) ?? 0) a second")
            }
            fleet.stopAndCheck()
        }

        /// L1. h2load pipelines eight requests on each of 64 connections.
        @Test func h2loadPipelines() throws {
            let fleet = try ClientFleet.started()
            let url = "http://127.0.0.1:\(try fleet.healthPort())/health/orders"
            let run = try Tool.h2load.run("--h1", "-n", "20000", "-c", "64", "-m", "8", url)
            #expect(run.exitCode == 0)
            #expect(run.output.contains("20000 succeeded, 0 failed, 0 errored, 0 timeout"), "\(run.output)")
            #expect(run.output.contains("status codes: 20000 2xx, 0 3xx, 0 4xx, 0 5xx"), "\(run.output)")
            fleet.stopAndCheck()
        }

        /// L1. HTTP/2, which is not spoken here, is refused at once, and nobody else notices.
        @Test func http2IsRefusedQuickly() throws {
            let fleet = try ClientFleet.started()
            let port = try fleet.healthPort()
            let before = try Footprint(fleet)
            let watch = Stopwatch()
            let run = try Tool.h2load.run(
                ["-n", "200", "-c", "20", "http://127.0.0.1:\(port)/health/orders"],
                patience: .seconds(20)
            )
            #expect(run.exitCode != -1000, "h2load was left waiting")
            #expect(watch.seconds < 5)
            #expect(run.output.contains(" 0 succeeded"), "\(run.output)")
            #expect(try HTTP.get("/health/orders", port: port).status == 200)
            let after = try Footprint(fleet)
            #expect(after.closed("http2", since: before) >= 20, "\(after.closed)")
            #expect(after.connections <= 1 && after.descriptors <= before.descriptors + 1)
            #expect(after.logBytes == before.logBytes, "\(fleet.log.suffix(2000))")
            fleet.stopAndCheck()
        }

        /// The first number after `label`.
        private static func number(after label: String, _ text: String) -> Double? {
            word(after: label, text).flatMap { Double($0) }
        }

        /// A time as wrk writes it, like `12.34ms`.
        private static func milliseconds(after label: String, _ text: String) -> Double? {
            guard let word = word(after: label, text) else { return nil }
            let units = [("us", 0.001), ("ms", 1), ("s", 1000), ("m", 60_000)]
            for (unit, factor) in units where word.hasSuffix(unit) {
                return Double(word.dropLast(unit.count)).map { $0 * factor }
            }
            return nil
        }

        private static func word(after label: String, _ text: String) -> Substring? {
            guard let place = text.firstRange(of: label) else { return nil }
            return text[place.upperBound...].split(maxSplits: 1, whereSeparator: \.isWhitespace).first
        }
    }
}
