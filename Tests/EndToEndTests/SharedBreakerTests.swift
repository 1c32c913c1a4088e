import FoundationEssentials
import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

/// `breaker list --json`, as INTERFACE.md has it.
struct Breakers: Decodable {
    struct Breaker: Decodable {
        var name: String
        var kind: String
        var state: String
        var since: String
        var reason: String?
        var retry_in_seconds: Double?
        var opened_by: String?
        var votes: Int?
        var quorum: Int?
        var probe_holder: String?
    }

    var store: String
    var breakers: [Breaker]

    init(_ fleet: Fleet) throws {
        let answer = try fleet.control("--json", "breaker", "list")
        guard answer.exitCode == 0 else { throw TestFailure(answer.errors) }
        self = try JSONDecoder().decode(Breakers.self, from: Data(answer.output.utf8))
    }

    /// A service's, of its present release.
    func of(_ service: String) -> Breaker? { breakers.first { $0.name.hasPrefix("service:\(service)@") } }
}

/// Three daemons on one machine that share their breakers through Redis.
final class SharedFleets {
    let redis: RedisServer
    let fleets: [Fleet]
    /// The program of the service `app`, which all hosts run: replaced by `release`.
    let program: TemporaryDirectory

    init(_ breaker: String = "wait_duration_in_open_state = \"1s\"", redis lines: String = "") throws {
        redis = try RedisServer()
        program = try TemporaryDirectory()
        let path = program.path + "/app"
        let port = redis.port
        fleets = try (0..<3).map { number in
            try Fleet(
                """
                [services.app]
                command = ["\(path)"]
                [services.app.restart]
                backoff_initial = "100ms"
                [services.app.breaker]
                \(breaker)
                [services.steady]
                command = ["/bin/sleep", "1000"]
                """,
                [
                    "name": "host-\(number)",
                    "breaker": """
                    store = "redis"
                    fleet = "test"
                    [breaker.redis]
                    addresses = ["127.0.0.1:\(port)"]
                    \(lines)
                    """,
                ]
            )
        }
    }

    /// Puts another program in place of the one before, in one step as a package manager does.
    func release(_ script: String) throws {
        let aside = program.path + "/app.new"
        try File.write("#!/bin/sh\n\(script)\n", to: aside)
        chmod(aside, 0o755)
        rename(aside, program.path + "/app")
    }

    func start() throws {
        for fleet in fleets { try fleet.launch() }
        for fleet in fleets { try fleet.wait("answers") { _ in true } }
    }

    func wait(_ what: String, within patience: Duration = .seconds(20), _ isMet: (Breakers) -> Bool) throws {
        for fleet in fleets {
            let came = Deadline(patience).wait(every: 20_000) { (try? Breakers(fleet)).map(isMet) ?? false }
            if !came { throw TestFailure("\(what): not reached\n\(fleet.log.suffix(3000))") }
        }
    }

    func stop() {
        for fleet in fleets { fleet.stopAndCheck() }
    }
}

extension EndToEnd {
    @Suite(.serialized) struct SharedBreakerTests {
        @Test func aBadReleaseIsStoppedEverywhereAndTheNextOneStartsAtOnce() throws {
            let shared = try SharedFleets()
            try shared.release("sleep 0.1; exit 3")
            let begin = MonotonicClock.now()
            try shared.start()
            try shared.wait("open everywhere", within: .seconds(10)) {
                $0.of("app").map { $0.state != "closed" } ?? false
            }
            #expect(MonotonicClock.now().since(begin) < .seconds(10))
            for fleet in shared.fleets {
                let events = try fleet.events()
                let opened = try #require(events.first { $0.kind == "breaker-open" }).sequence
                let starts = events.filter { $0.kind == "started" && $0.subject == "app/0" && $0.sequence < opened }
                #expect(starts.count <= 5, "\(starts.count) starts on \(fleet.path)")
                let breakers = try Breakers(fleet)
                #expect(breakers.store == "redis")
                #expect(breakers.of("app")?.quorum == 2)
                #expect(breakers.of("steady")?.state == "closed")
                #expect(try fleet.instance("steady/0").ready)
            }
            // Some rounds: one probe for each wait, in the whole fleet.
            let rounds = Deadline(.seconds(30)).wait(every: 50_000) { probes(shared) >= 3 }
            #expect(rounds)
            let halfOpened = try shared.fleets[0].events().count { $0.kind == "breaker-half-open" }
            #expect(probes(shared) - halfOpened <= 1, "\(probes(shared)) probes in \(halfOpened) rounds")
            try shared.release("exec sleep 1000")
            let replaced = MonotonicClock.now()
            for fleet in shared.fleets {
                try fleet.wait(for: "app/0", "runs", within: .seconds(10)) {
                    $0.ready && ($0.uptime_seconds ?? 0) > 0.5
                }
            }
            #expect(MonotonicClock.now().since(replaced) < .seconds(5))
            shared.stop()
        }

        private func probes(_ shared: SharedFleets) -> Int {
            shared.fleets.reduce(0) { $0 + ((try? $1.events().count { $0.kind == "probe" }) ?? 0) }
        }

        @Test func redisComesAndGoesAndNothingChangesForIt() throws {
            let shared = try SharedFleets("wait_duration_in_open_state = \"100s\"")
            try shared.release("sleep 0.1; exit 3")
            try shared.start()
            try shared.wait("open") { $0.of("app")?.state == "open" }
            let since = try shared.fleets.map { try Breakers($0).of("app")?.since }
            shared.redis.kill()
            try shared.wait("an island") { $0.store == "island" }
            try shared.wait("still open") { $0.of("app")?.state == "open" }
            let fleet = shared.fleets[0]
            let health = try HTTP.get("/health", port: fleet.healthPort())
            #expect(health.status == 200)
            #expect(health.body.hasPrefix(#"{"status":"warn""#))
            #expect(health.body.contains("Redis"))
            #expect(try HTTP.get("/readyz", port: fleet.healthPort()).status == 200)
            // It comes back, and knows nothing.
            try shared.redis.start()
            try shared.wait("shared again", within: .seconds(30)) { $0.store == "redis" }
            try shared.wait("still open") { $0.of("app")?.state == "open" }
            #expect(
                try shared.fleets.map { try Breakers($0).of("app")?.since.prefix(19) } == since.map { $0?.prefix(19) }
            )
            #expect(try shared.redis.ask("KEYS", "*").contains("eider:{test}"))
            for fleet in shared.fleets {
                let lines = fleet.log.split(separator: "\n")
                #expect(lines.count { $0.contains("breakers act on this host alone until Redis is back") } == 1)
                #expect(lines.count { $0.contains("Redis is back: breakers are shared") } == 1)
            }
            shared.stop()
        }

        @Test func anOperatorTakesAServiceOutOnAllHosts() throws {
            let shared = try SharedFleets()
            try shared.release("exec sleep 1000")
            try shared.start()
            for fleet in shared.fleets { try fleet.waitUntilReady() }
            let (one, other) = (shared.fleets[0], shared.fleets[1])
            let pid = try other.instance("app/0").pid
            let forced = try one.control("breaker", "force-open", "app", "--reason", "bad build 41")
            #expect(forced.exitCode == 0, "\(forced.errors)")
            try shared.wait("forced open") { $0.of("app")?.state == "forced-open" }
            let health = try HTTP.get("/health/app", port: other.healthPort())
            #expect(health.status == 503)
            #expect(health.body.contains("bad build 41"))
            #expect(try other.instance("app/0").pid == pid, "what runs is left alone")
            let why = try other.control("why", "app").output
            #expect(why.contains("forced-open by root: bad build 41"), "\(why)")
            #expect(try other.control("breaker", "auto", "app").exitCode == 0)
            try shared.wait("not forced") { $0.of("app")?.state == "open" || $0.of("app")?.state == "half-open" }
            #expect(try one.control("breaker", "reset", "app", "--reason", "checked").exitCode == 0)
            try shared.wait("closed") { $0.of("app")?.state == "closed" }
            #expect(try HTTP.get("/health/app", port: other.healthPort()).status == 200)
            let typo = try one.control("breaker", "reset", "ap")
            #expect(typo.exitCode == 1)
            #expect(typo.errors.contains(#"did you mean "app"?"#), "\(typo.errors)")
            shared.stop()
        }

        @Test func aWrongPasswordIsSaidOnceAndNeverShown() throws {
            let secret = try TemporaryDirectory()
            try File.write("hunter2-wrong\n", to: secret.path + "/password")
            let shared = try SharedFleets(redis: "password_file = \"\(secret.path)/password\"")
            _ = try shared.redis.ask("CONFIG", "SET", "requirepass", "the-right-one")
            try shared.release("exec sleep 1000")
            try shared.start()
            try shared.wait("an island") { $0.store == "island" }
            let fleet = shared.fleets[0]
            #expect(try fleet.instance("app/0").ready)
            let shown =
                try fleet.log + fleet.control("status").output + fleet.control("breaker", "list").output
                + HTTP.get("/metrics", port: fleet.healthPort()).body
            #expect(shown.contains("WRONGPASS") || shown.contains("password"), "\(shown.suffix(2000))")
            #expect(!shown.contains("hunter2"))
            #expect(fleet.log.split(separator: "\n").count { $0.contains("on this host alone") } <= 2)
            shared.stop()
        }

        @Test func aDaemonsDeathForgetsNothingWithoutRedis() throws {
            let fleet = try Fleet(
                """
                [services.app]
                command = ["/bin/sh", "-c", "sleep 0.05; exit 3"]
                restart.backoff_initial = "50ms"
                breaker.wait_duration_in_open_state = "100s"
                """
            )
            try fleet.start()
            try fleet.wait(for: "app/0", "is held") { $0.state == "breaker-open" }
            let before = try #require(Breakers(fleet).of("app"))
            let events = try fleet.events().count { $0.kind == "started" }
            #expect(events <= 5)
            fleet.killDaemon()
            try fleet.start()
            let after = try #require(Breakers(fleet).of("app"))
            #expect((after.state, after.since, after.reason) == (before.state, before.since, before.reason))
            let tried = try fleet.events().filter { $0.kind == "started" }
            #expect(tried.count == events, "nothing was tried")
            #expect(try fleet.control("status").exitCode == 0)
            let why = try fleet.control("why", "app/0").output
            #expect(why.contains("eiderctl breaker force-closed"), "\(why)")
            // Over a stop and a start of the whole, too.
            #expect(fleet.stop() == 0)
            try fleet.start()
            try fleet.wait(for: "app/0", "is held") { $0.state == "breaker-open" }
            fleet.stopAndCheck()
        }
    }
}
