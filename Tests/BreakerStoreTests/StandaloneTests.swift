import Glibc
import LinuxPlatform
import NIOCore
import SupervisorCore
import Testing

@testable import BreakerStore

extension WithRedis {
    @Suite struct StandaloneTests {
        @Test func whatOneHostDoesOthersAreTold() throws {
            let server = try RedisServer()
            let first = StoreBench([server.address], host: "host-a")
            let second = StoreBench([server.address], host: "host-b")
            try first.waitUntilConnected()
            try second.waitUntilConnected()
            _ = try first.sync()
            #expect(try second.sync().live == 2)
            let forced = try first.ask(.force(name: "db", .forceOpen, actor: "Ann", reason: "drill")).get()
            #expect(forced.entries.first?.override.mode == .forceOpen)
            try second.wait("a push") { $0.pushed.contains { $0.name == "db" && $0.override.mode == .forceOpen } }
            #expect(first.store.figures.answered == 2)
            #expect(first.store.figures.longestRoundTrip > 0)
            #expect(first.store.figures.pending == 0)
        }

        @Test func nothingIsAskedWithoutAConnection() throws {
            let port = try RedisServer.freePort()
            let bench = StoreBench(["127.0.0.1:\(port)"])
            guard case .failure(let failure) = try bench.ask(.sync(known: 0)) else {
                throw TestFailure("there can be no answer")
            }
            #expect(failure.kind == .unreachable)
            try bench.wait("several attempts") { $0.store.figures.attempts > 3 }
            // Told once for one reason.
            #expect(bench.failures.count == 1)
            #expect(bench.failures.first?.text == "cannot connect to 127.0.0.1:\(port): Connection refused")
        }

        @Test func aServerThatDiesIsFoundAgain() throws {
            let server = try RedisServer()
            let bench = StoreBench([server.address])
            try bench.waitUntilConnected()
            _ = try bench.sync()
            server.end(SIGKILL)
            try bench.wait("the loss is told") { $0.failures.count >= 1 }
            #expect(bench.failures.first?.kind == .unreachable)
            try server.start()
            try bench.waitUntilConnected(2)
            #expect(try bench.sync().verdict == .stale)
            #expect(bench.store.figures.reconnects == 1)
        }

        @Test func theSecondAddressServesWhenTheFirstDoesNot() throws {
            let server = try RedisServer()
            let bench = StoreBench(["127.0.0.1:\(try RedisServer.freePort())", server.address])
            try bench.waitUntilConnected()
            _ = try bench.sync()
        }

        @Test func aScriptThatWasForgottenIsSentAgainOnce() throws {
            let server = try RedisServer()
            let bench = StoreBench([server.address])
            try bench.waitUntilConnected()
            let client = try server.client()
            for _ in 0..<3 {
                _ = try client.call("SCRIPT", "FLUSH")
                _ = try bench.sync()
            }
            let lines = try client.text("INFO", "commandstats").split(whereSeparator: \.isNewline)
            #expect(lines.contains { $0.hasPrefix("cmdstat_eval:calls=4,") }, "\(lines.filter { $0.contains("eval") })")
        }

        @Test func everythingLostIsNoticed() throws {
            let server = try RedisServer()
            let bench = StoreBench([server.address])
            try bench.waitUntilConnected()
            let known = try bench.sync().sequence
            #expect(try bench.ask(.sync(known: known)).get().verdict == .done)
            _ = try server.client().call("FLUSHALL")
            #expect(try bench.ask(.sync(known: known)).get().verdict == .stale)
        }

        @Test func aServerThatStallsIsGivenUpAndFoundAgain() throws {
            let server = try RedisServer()
            let bench = StoreBench([server.address])
            try bench.waitUntilConnected()
            let client = try server.client()
            _ = try client.call("CLIENT", "PAUSE", "3000", "ALL")
            var kinds: Set<StoreFailure.Kind> = []
            let begin = MonotonicClock.now()
            if case .failure(let failure) = try bench.ask(.sync(known: 0)) { kinds.insert(failure.kind) }
            // No command outlives its deadline (rule R4).
            #expect(MonotonicClock.now().since(begin) < .milliseconds(600))
            #expect(kinds == [.timeout])
            try bench.wait("it is given up") { bench in
                if bench.failures.isEmpty { _ = try bench.ask(.sync(known: 0)) }
                return !bench.failures.isEmpty
            }
            #expect(bench.failures.first?.kind == .timeout)
            try bench.waitUntilConnected(2)
            _ = try bench.sync()
        }

        @Test func aPushConnectionThatIsLostIsReplaced() throws {
            let server = try RedisServer()
            let bench = StoreBench([server.address])
            try bench.waitUntilConnected()
            let client = try server.client()
            #expect(try client.text("CLIENT", "KILL", "TYPE", "pubsub") == "1")
            try bench.waitUntilConnected(2)
            let other = StoreBench([server.address], host: "host-b")
            try other.waitUntilConnected()
            _ = try other.ask(.force(name: "db", .disabled, actor: "Ann", reason: "")).get()
            try bench.wait("a push") { !$0.pushed.isEmpty }
        }

        @Test func aSilentPushConnectionIsAsked() throws {
            let server = try RedisServer()
            let bench = StoreBench([server.address])
            try bench.waitUntilConnected()
            let client = try server.client()
            try bench.wait("PING") { _ in try client.text("INFO", "commandstats").contains("cmdstat_ping") }
        }

        @Test func whatIsNotKeptInTheRightFormIsAFault() throws {
            let server = try RedisServer()
            let client = try server.client()
            _ = try client.call("SET", "eider:{test}:votes", "something else")
            let bench = StoreBench([server.address])
            try bench.wait("the fault is told") { !$0.failures.isEmpty }
            #expect(bench.failures.first?.kind == .server)
            #expect(bench.failures.first?.text.contains("WRONGTYPE") == true)
            #expect(try client.text("GET", "eider:{test}:votes") == "something else")
            _ = try client.call("DEL", "eider:{test}:votes")
            try bench.waitUntilConnected()
        }

        @Test func aReplicaIsNotServedFrom() throws {
            let primary = try RedisServer()
            let replica = try RedisServer(["--replicaof", "127.0.0.1", "\(primary.port)"])
            let bench = StoreBench([replica.address])
            try bench.wait("it is told") { $0.failures.contains { $0.text.contains("READONLY") } }
            let other = StoreBench([replica.address, primary.address])
            try other.waitUntilConnected()
            _ = try other.sync()
        }

        @Test func itStopsForGood() throws {
            let server = try RedisServer()
            let bench = StoreBench([server.address])
            try bench.waitUntilConnected()
            try bench.store.stop().wait()
            bench.forgetNews()
            guard case .failure = try bench.ask(.sync(known: 0)) else { throw TestFailure("it still answers") }
            let client = try server.client()
            try bench.wait("nobody is connected") { _ in
                try client.text("CLIENT", "LIST").split(whereSeparator: \.isNewline).count == 1
            }
        }

        @Test func tooManyRequestsAtOnceAreTurnedAway() throws {
            let server = try RedisServer()
            let bench = StoreBench([server.address], isHasty: false)
            try bench.waitUntilConnected()
            _ = try server.client().call("CLIENT", "PAUSE", "1000", "ALL")
            for number in 1_000..<1_400 {
                bench.store.submit(StoreRequest(number: UInt64(number), operation: .sync(known: 0)))
            }
            try bench.wait("all are answered") { bench in
                bench.news.count { if case .unanswered = $0 { true } else { false } } == 400
            }
            #expect(bench.store.figures.dropped == 144)
            #expect(bench.store.figures.unanswered[.timeout] == 256)
            #expect(bench.store.figures.pending == 0)
        }

        /// Loopback, two hosts: what a push takes from the request to the other host.
        @Test func aPushTakesLittleTime() throws {
            let server = try RedisServer()
            let first = StoreBench([server.address], host: "host-a")
            let second = StoreBench([server.address], host: "host-b")
            try first.waitUntilConnected()
            try second.waitUntilConnected()
            var times: [Duration] = []
            for round in 0..<300 {
                let begin = MonotonicClock.now()
                let mode = round % 2 == 0 ? BreakerMode.disabled : .auto
                let epochs = second.pushed.count
                _ = try first.ask(.force(name: "db", mode, actor: "Ann", reason: "\(round)"))
                try second.wait("a push") { $0.pushed.count > epochs }
                guard let heard = second.timedNews.last?.at else { continue }
                times.append(heard.since(begin))
            }
            times.sort()
            let client = try server.client()
            let calls = try client.text("INFO", "commandstats").split(whereSeparator: \.isNewline).first {
                $0.hasPrefix("cmdstat_evalsha:")
            }
            Report.line("propagation p50 \(times[times.count / 2]) p99 \(times[times.count * 99 / 100])")
            Report.line("round trip last \(first.store.figures.lastRoundTrip) µs; server: \(calls ?? "")")
            #expect(times[times.count / 2] < .milliseconds(20))
        }
    }
}

/// Figures for whoever reads a test's output.
enum Report {
    static func line(_ text: String) {
        let bytes = Array((text + "\n").utf8)
        _ = write(STDOUT_FILENO, bytes, bytes.count)
    }
}
