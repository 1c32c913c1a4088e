import Glibc
import LinuxPlatform
import SupervisorCore
import Synchronization
import Testing

extension EndToEnd {
    /// Sockets that Eider listens on and workers are passed: nobody is refused, whoever dies.
    @Suite(.serialized) struct PassedSocketsTests {
        private static func fleet(_ port: Int, replicas: Int = 2, _ more: String = "") throws -> Fleet {
            try Fleet(
                """
                [services.web]
                command = ["WORKER"]
                type = "notify"
                replicas = \(replicas)
                sockets = ["127.0.0.1:\(port)", "unix:DIR/web.sock"]
                restart.backoff_initial = "100ms"
                restart.backoff_max = "300ms"
                \(more)
                """
            )
        }

        private static func ask(_ connection: Connection, _ patience: Duration = .seconds(20)) -> Bool {
            guard connection.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"),
                let bytes = connection.read(patience), let answer = try? Answer(bytes)
            else { return false }
            return answer.status == 200
        }

        /// Both places, each asked once.
        private static func bothAnswer(_ fleet: Fleet, _ port: Int) throws -> Bool {
            try ask(Connection(port: port)) && ask(Connection(path: fleet.path + "/web.sock"))
        }

        /// The inode of what a process has open as descriptor 3 or 4.
        private static func identity(_ descriptor: Int32, of pid: Int32?) -> FileIdentity? {
            pid.flatMap { ProcessTable.openFile(descriptor, of: $0) }
        }

        @Test func replicasShareWhatTheyArePassed() throws {
            let port = try Ports.free(1)
            // What the exec probe sees: none of it.
            let look = "test -z $LISTEN_FDS && test ! -e /proc/self/fd/3"
            let readiness =
                "readiness = { exec = [\"/bin/sh\", \"-c\", \"\(look)\"], period = \"100ms\", success_threshold = 1 }"
            let fleet = try Self.fleet(port, readiness)
            try fleet.startAndWait()
            let pids = try fleet.pids()
            for (name, pid) in pids {
                #expect(ProcessTable.variable("LISTEN_PID", of: pid) == "\(pid)", "\(name)")
                #expect(ProcessTable.variable("LISTEN_FDS", of: pid) == "2", "\(name)")
                #expect(ProcessTable.variable("LISTEN_FDNAMES", of: pid) == "web:web", "\(name)")
            }
            for descriptor: Int32 in [3, 4] {
                let found = Set(pids.values.map { Self.identity(descriptor, of: $0) })
                #expect(found.count == 1 && !found.contains(nil))
            }
            #expect(try Self.bothAnswer(fleet, port))
            var facts = stat()
            #expect(stat(fleet.path + "/web.sock", &facts) == 0 && facts.st_mode & 0o777 == 0o666)
            fleet.stopAndCheck()
            #expect(!File.exists(fleet.path + "/web.sock") && Ports.isFree(port))
        }

        @Test func killedWorkersRefuseNobody() throws {
            let port = try Ports.free(1)
            let fleet = try Self.fleet(port, "breaker.mode = \"disabled\"")
            try fleet.startAndWait()
            let stream = try Stream(port: port, path: fleet.path + "/web.sock")
            for round in 0..<6 {
                let before = try fleet.pids()
                let victims = round % 2 == 0 ? ["web/0"] : ["web/0", "web/1"]
                for name in victims { kill(try #require(before[name]), SIGKILL) }
                try fleet.wait("all are back") { status in
                    victims.allSatisfy { status[$0]?.pid != before[$0] } && status.instances.allSatisfy(\.ready)
                }
            }
            let seen = stream.end()
            report("passed sockets: \(seen.answered) answered, \(seen.broken) lost with their worker")
            #expect(seen.refused.isEmpty)
            #expect(seen.unanswered == 0)
            #expect(seen.answered > 50)
            // Only what a worker that was killed had taken: nine are killed, and one request at a time is under way.
            #expect(seen.broken <= 9)
            fleet.stopAndCheck()
        }

        @Test func requestsWaitWhileNobodyRuns() throws {
            let port = try Ports.free(1)
            let fleet = try Self.fleet(port, "restart.backoff_jitter = 0.0")
            try fleet.startAndWait()
            #expect(try fleet.control("stop", "web").exitCode == 0)
            let waiting = try [Connection(port: port), Connection(path: fleet.path + "/web.sock")]
            for connection in waiting { connection.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n") }
            #expect(try fleet.pids().isEmpty)
            #expect(try fleet.control("start", "web").exitCode == 0)
            for connection in waiting {
                let bytes = try #require(connection.read())
                #expect(try Answer(bytes).status == 200)
            }
            fleet.stopAndCheck()
        }

        @Test func daemonAndWorkersDie() throws {
            let port = try Ports.free(1)
            let fleet = try Self.fleet(port)
            try fleet.startAndWait()
            let before = try fleet.pids()
            let sockets = [3, 4].map { Self.identity($0, of: before["web/0"]) }
            let stream = try Stream(port: port, path: fleet.path + "/web.sock")
            fleet.killDaemon()
            kill(try #require(before["web/0"]), SIGKILL)
            #expect(try Self.bothAnswer(fleet, port))
            // Now nobody is left to take one.
            kill(try #require(before["web/1"]), SIGKILL)
            let waiting = try [Connection(port: port), Connection(path: fleet.path + "/web.sock")]
            for connection in waiting { connection.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n") }
            try fleet.start()
            try fleet.waitUntilReady()
            for connection in waiting {
                let bytes = try #require(connection.read())
                #expect(try Answer(bytes).status == 200)
            }
            let seen = stream.end()
            #expect(seen.refused.isEmpty && seen.unanswered == 0 && seen.answered > 0)
            let after = try fleet.pids()
            #expect(after["web/0"] != before["web/0"] && after["web/1"] != before["web/1"])
            for name in ["web/0", "web/1"] {
                #expect([3, 4].map { Self.identity($0, of: after[name]) } == sockets, "\(name)")
            }
            fleet.stopAndCheck()
        }

        @Test func aNewShimHoldsThemAgain() throws {
            let port = try Ports.free(1)
            let fleet = try Self.fleet(port)
            try fleet.startAndWait()
            let before = try fleet.pids()
            let sockets = [3, 4].map { Self.identity($0, of: before["web/0"]) }
            let stream = try Stream(port: port, path: fleet.path + "/web.sock")
            kill(try fleet.shim(), SIGKILL)
            try fleet.wait("new workers of the new shim") { status in
                status.instances.allSatisfy { $0.ready && $0.pid != nil && $0.pid != before[$0.name] }
            }
            let seen = stream.end()
            #expect(seen.refused.isEmpty && seen.unanswered == 0)
            // And with the daemon gone it is the shim that has them.
            let pids = try fleet.pids()
            fleet.killDaemon()
            for pid in pids.values { kill(pid, SIGKILL) }
            let waiting = try Connection(port: port)
            try fleet.start()
            try fleet.waitUntilReady()
            #expect(Self.ask(waiting))
            #expect(try [3, 4].map { try Self.identity($0, of: fleet.pids()["web/1"]) } == sockets)
            fleet.stopAndCheck()
        }

        @Test func anAddressInUseIsWaitedFor() throws {
            let port = try Ports.free(1)
            let fleet = try Fleet(
                """
                [services.web]
                command = ["WORKER"]
                type = "notify"
                sockets = ["127.0.0.1:\(port)"]
                restart.backoff_initial = "100ms"
                restart.backoff_max = "300ms"
                [services.filed]
                command = ["WORKER"]
                type = "notify"
                sockets = ["unix:DIR/precious"]
                restart.backoff_max = "300ms"
                [services.homeless]
                command = ["WORKER"]
                type = "notify"
                sockets = ["unix:DIR/missing/x.sock"]
                restart.backoff_max = "300ms"
                [services.other]
                command = ["/bin/sleep", "1000"]
                """
            )
            try File.write("precious", to: fleet.path + "/precious")
            try holding(port) {
                try fleet.start()
                for name in ["web/0", "filed/0", "homeless/0"] {
                    let instance = try fleet.wait(for: name, "in backoff") { $0.state == "backoff" && $0.restarts > 1 }
                    #expect(instance.last_exit?.cause == "spawn")
                }
                #expect(try fleet.instance("other/0").ready)
                // Whatever the width of the lines.
                let why = try fleet.control("why", "web/0").output.split(whereSeparator: \.isWhitespace)
                    .joined(separator: " ")
                #expect(why.contains("cannot pass the socket 127.0.0.1:\(port): Address already in use (EADDRINUSE)"))
                #expect(why.contains("end what listens on 127.0.0.1:\(port), or correct services.web.sockets"))
                let text =
                    "bind to 127.0.0.1:\(port): Address already in use (EADDRINUSE); another program listens there"
                #expect(try fleet.event("warning", text, of: "web/0").text.hasPrefix("web/0: cannot "))
                _ = try fleet.event("warning", "a file is in its place: remove it", of: "filed/0")
                _ = try fleet.event("warning", "make its directory", of: "homeless/0")
            }
            #expect(File.text(fleet.path + "/precious") == "precious")
            unlink(fleet.path + "/precious")
            mkdir(fleet.path + "/missing", 0o755)
            try fleet.waitUntilReady()
            #expect(try Self.ask(Connection(port: port)))
            #expect(try Self.ask(Connection(path: fleet.path + "/precious")))
            #expect(try Self.ask(Connection(path: fleet.path + "/missing/x.sock")))
            fleet.stopAndCheck()
        }

        private func holding(_ port: Int, _ body: () throws -> Void) throws {
            let other = try Ports.listen(port)
            try body()
            _ = other.rawValue
        }

        @Test func aRemovedFileIsMadeAnew() throws {
            let port = try Ports.free(1)
            let fleet = try Self.fleet(port)
            try fleet.startAndWait()
            let path = fleet.path + "/web.sock"
            unlink(path)
            let warning = try fleet.event("warning", "unix:\(path) was removed, and was made anew", of: "web")
            #expect(warning.text.contains("eiderctl restart web"))
            // It waits for workers that have it.
            let waiting = try Connection(path: path)
            #expect(try fleet.control("restart", "web").exitCode == 0)
            #expect(Self.ask(waiting))
            // And while nobody looks.
            fleet.killDaemon()
            unlink(path)
            try fleet.start()
            #expect(try fleet.control("restart", "web").exitCode == 0)
            #expect(try Self.bothAnswer(fleet, port))
            fleet.stopAndCheck()
        }

        @Test func whatNobodyNamesAnyMoreIsLetGo() throws {
            let port = try Ports.free(1)
            let fleet = try Self.fleet(port, replicas: 1)
            try fleet.startAndWait()
            #expect(try fleet.control("stop", "web").exitCode == 0)
            #expect(!Ports.isFree(port))
            fleet.killDaemon()
            // The socket file is another service's now; it is the same socket.
            try fleet.write(
                """
                [services.site]
                command = ["WORKER"]
                type = "notify"
                sockets = ["unix:DIR/web.sock"]
                """
            )
            let waiting = try Connection(path: fleet.path + "/web.sock")
            try fleet.startAndWait()
            #expect(Self.ask(waiting))
            #expect(Deadline(.seconds(5)).wait { Ports.isFree(port) })
            fleet.stopAndCheck()
        }
    }
}

/// Requests one after the other, to both places in turn, from a thread of its own, until it is ended.
private final class Stream: Sendable {
    struct Seen: Sendable {
        var answered = 0
        /// Taken by a worker that then died.
        var broken = 0
        /// Neither answered nor ended in time.
        var unanswered = 0
        /// Why connects failed.
        var refused: [String] = []
    }

    private final class Shared: Sendable {
        let state = Mutex((seen: Seen(), isEnding: false))
    }

    private let shared: Shared
    private let thread: OwnThread

    init(port: Int, path: String) throws {
        let shared = Shared()
        self.shared = shared
        thread = try OwnThread.start("stream") {
            var number = 0
            while !shared.state.withLock({ $0.isEnding }) {
                number += 1
                let isTCP = number % 2 == 0
                do {
                    let connection = try isTCP ? Connection(port: port) : Connection(path: path)
                    connection.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
                    let bytes = connection.read(.seconds(20))
                    shared.state.withLock { state in
                        if let bytes {
                            if (try? Answer(bytes)) == nil { state.seen.broken += 1 } else { state.seen.answered += 1 }
                        } else {
                            state.seen.unanswered += 1
                        }
                    }
                } catch {
                    shared.state.withLock { $0.seen.refused.append("\(error)") }
                }
            }
        }
    }

    /// Ends it, and tells what came of its requests.
    func end() -> Seen {
        shared.state.withLock { $0.isEnding = true }
        thread.join()
        return shared.state.withLock { $0.seen }
    }
}
