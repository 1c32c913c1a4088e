import Glibc
import LinuxPlatform
import SupervisorCore
import Synchronization
import Testing

extension EndToEnd {
    /// Rolling restarts under load: nobody is refused, cut off, or answered by fewer than there should be.
    @Suite(.serialized) struct RollClientTests {
        /// - Parameter more: lines of `[services.web]`.
        private static func fleet(_ more: String) throws -> Fleet {
            try Fleet(
                """
                [services.web]
                command = ["WORKER"]
                type = "notify"
                replicas = 2
                readiness = { http = "http://127.0.0.1:{port}/ready", period = "100ms", success_threshold = 1 }
                \(more)
                [services.web.rolling]
                min_ready = "200ms"
                """
            )
        }

        /// Workers that share a socket have no port of their own to be probed on.
        private static func sharing(_ port: Int) throws -> Fleet {
            try Fleet(
                """
                [services.web]
                command = ["WORKER"]
                type = "notify"
                replicas = 2
                sockets = ["127.0.0.1:\(port)"]
                [services.web.rolling]
                min_ready = "200ms"
                """
            )
        }

        /// Rolls it, and sees that both have been replaced and nothing else is left; seconds that it took.
        private static func roll(_ fleet: Fleet) throws -> Double {
            let before = try fleet.pids()
            let watch = Stopwatch()
            let rolled = try fleet.control("restart", "web", "--rolling")
            let seconds = watch.seconds
            #expect(rolled.exitCode == 0, "\(rolled)\n\(fleet.log.suffix(3000))")
            let after = try fleet.status().instances
            #expect(after.map(\.name) == ["web/0", "web/1"] && after.allSatisfy(\.ready), "\(after)")
            #expect(after.allSatisfy { $0.pid != nil && !before.values.contains($0.pid ?? 0) }, "\(before) \(after)")
            #expect(Processes.ofFleet(fleet.path).count == 2)
            return seconds
        }

        private static func rollUnderLoad(_ fleet: Fleet, _ url: String, rounds: Int, _ what: String) throws {
            let load = try Load(url + "/slow?ms=20")
            let watcher = try ReadyWatcher(fleet)
            var times: [Double] = []
            for _ in 0..<rounds { times.append(try roll(fleet)) }
            let least = watcher.end()
            let seen = try load.end()
            #expect(seen.failures.isEmpty && seen.answered > 10 * rounds, "\(seen)\n\(fleet.log.suffix(3000))")
            #expect(least.looks > rounds && least.ready >= 2, "\(least)")
            report(
                "\(what): \(rounds) rolling restarts, \(rounded(times.min() ?? 0)) to \(rounded(times.max() ?? 0)) s "
                    + "each, \(seen.answered) answers, none lost; never fewer than \(least.ready) ready in "
                    + "\(least.looks) looks"
            )
        }

        /// wrk connects to the shared socket itself, and has nobody who asks again for it.
        @Test func nobodyIsRefusedBehindASharedSocket() throws {
            let port = try Ports.free(1)
            let fleet = try Self.sharing(port)
            try fleet.startAndWait()
            let rounds = Rounds.count("EIDER_ROLLS", 20)
            try Self.rollUnderLoad(fleet, "http://127.0.0.1:\(port)", rounds: rounds, "wrk on a shared socket")
            fleet.stopAndCheck()
        }

        /// The same behind HAProxy without second chances.
        @Test func nobodyNoticesBehindHAProxy() throws {
            let ports = try [Ports.free(1), Ports.free(1)]
            let fleet = try Self.sharing(ports[0])
            try fleet.startAndWait()
            let haproxy = try HAProxy(
                """
                frontend front
                    bind 127.0.0.1:\(ports[1])
                    default_backend web
                backend web
                    retries 0
                    option httpchk GET /health/web
                    server a 127.0.0.1:\(ports[0]) check port \(try fleet.healthPort())
                """
            )
            try haproxy.wait("web/a", is: "UP")
            let rounds = Rounds.count("EIDER_ROLLS", 20) / 4
            try Self.rollUnderLoad(fleet, "http://127.0.0.1:\(ports[1])", rounds: rounds, "HAProxy on a shared socket")
            let row = try haproxy.server("web/BACKEND")
            for name in ["wretr", "wredis", "econ", "eresp", "hrsp_5xx"] { #expect(row[name] == "0", "\(name)") }
            #expect(try haproxy.server("web/a")["chkdown"] == "0", "\(haproxy.log)")
            fleet.stopAndCheck()
        }

        /// N2. The same behind nginx, which keeps connections and has one server only.
        @Test func nobodyNoticesBehindNginx() throws {
            let port = try Ports.free(1)
            let fleet = try Self.sharing(port)
            try fleet.startAndWait()
            let nginx = try Nginx("upstream web { server 127.0.0.1:\(port); keepalive 32; }", to: "web")
            try Self.rollUnderLoad(fleet, nginx.url, rounds: Rounds.count("EIDER_ROLLS", 20) / 4, "N2")
            #expect(nginx.errors.isEmpty, "\(nginx.errors)")
            fleet.stopAndCheck()
        }

        /// Each has a port of its own: an extra one is there before the first goes.
        @Test func aServiceWithPortsKeepsItsNumber() throws {
            let base = try Ports.free(3)
            let fleet = try Self.fleet("port_base = \(base)")
            try fleet.startAndWait()
            let watcher = try ReadyWatcher(fleet)
            let seconds = try Self.roll(fleet)
            let least = watcher.end()
            #expect(least.ready >= 2 && least.most == 3, "\(least)")
            report("a rolling restart of two with ports: \(rounded(seconds)) s")
            let events = try fleet.events("web").map(\.text)
            let order = events.filter { $0.hasSuffix("is being drained, to be replaced") }
            #expect(order.map { $0.prefix(5) } == ["web/0", "web/1"], "\(events)")
            fleet.stopAndCheck()
        }

        /// A new version that cannot start: the roll ends with its first, and says which.
        @Test(arguments: [true, false])
        func aNewVersionThatCannotStartStopsTheRoll(_ hasPorts: Bool) throws {
            let base = try Ports.free(3)
            let fleet = try Fleet(
                """
                [services.web]
                command = ["DIR/version", "DIR"]
                type = "notify"
                replicas = 2
                \(hasPorts ? "port_base = \(base)" : "")
                rolling.min_ready = "200ms"
                restart.backoff_initial = "200ms"
                restart.backoff_max = "300ms"
                """
            )
            let switches = hasPorts ? "" : "--no-listen"
            let good = "exec \(Command.programs)/eider-worker \(switches)"
            try File.script(good, at: fleet.path + "/version")
            try fleet.startAndWait()
            let before = try fleet.pids()
            try File.script("echo no; exit 3", at: fleet.path + "/version")
            let rolled = try fleet.control("restart", "web", "--rolling")
            let failed = hasPorts ? "web/2" : "web/0"
            #expect(rolled.exitCode == 1, "\(rolled)")
            #expect(rolled.errors.hasPrefix("eiderctl: ") && rolled.errors.contains(failed), "\(rolled.errors)")
            #expect(rolled.errors.contains("0 of 2 replaced"), "\(rolled.errors)")
            // With an extra instance neither was touched, without one the first was.
            let after = try fleet.pids()
            #expect(after["web/1"] == before["web/1"] && (after["web/0"] == before["web/0"]) == hasPorts, "\(after)")
            if hasPorts {
                try fleet.wait("the extra one is gone") { $0.instances.map(\.name) == ["web/0", "web/1"] }
            }
            // Once it is mended, all of it goes on.
            try File.script(good, at: fleet.path + "/version")
            try fleet.waitUntilReady()
            let again = try fleet.control("restart", "web", "--rolling")
            #expect(again.exitCode == 0, "\(again)")
            let last = try fleet.pids()
            #expect(last.count == 2 && last["web/1"] != before["web/1"], "\(last)")
            fleet.stopAndCheck()
        }
    }
}

/// Looks at a fleet's one service all the time, from a thread of its own.
private final class ReadyWatcher {
    struct Seen: Sendable {
        var looks = 0
        /// Fewest that were ready.
        var ready = Int.max
        /// Most instances that there were.
        var most = 0
    }

    private final class Shared: Sendable {
        let state = Mutex((seen: Seen(), isEnding: false))
    }

    private let shared: Shared
    private let thread: OwnThread

    init(_ fleet: Fleet) throws {
        let shared = Shared()
        self.shared = shared
        let socket = fleet.socket
        thread = try OwnThread.start("watcher") {
            // A look every five milliseconds, until it is ended; every change of a roll lasts longer.
            while !Deadline(.milliseconds(5)).wait({ shared.state.withLock { $0.isEnding } }) {
                guard let service = (try? Fleet.status(socket))?.services.first else { continue }
                shared.state.withLock { state in
                    state.seen.looks += 1
                    state.seen.ready = min(state.seen.ready, service.instances.count { $0.ready })
                    state.seen.most = max(state.seen.most, service.instances.count)
                }
            }
        }
    }

    func end() -> Seen {
        shared.state.withLock { $0.isEnding = true }
        thread.join()
        return shared.state.withLock { $0.seen }
    }
}
