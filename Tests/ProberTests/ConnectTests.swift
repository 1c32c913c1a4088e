import Glibc
import NIOCore
import NIOPosix
import SupervisorCore
import Testing

@testable import Prober

@Suite("Connections")
struct ConnectTests {
    @Test("TCP: connected is enough")
    func tcp() async throws {
        let server = try await FakeServer.start([])
        #expect(try await Asker.outcome(server.tcp) == .success)
        _ = try await eventually("the end of the connection") {
            server.accepted == 1 && server.open == 0 ? true : nil
        }
        // A server that speaks first, or hangs up, has been reached too.
        for acts in [[FakeServer.Act.send("220 mail\r\n")], [.close], [.reset]] {
            let server = try await FakeServer.start(acts)
            #expect(try await Asker.outcome(server.tcp) == .success)
        }
    }

    @Test("nobody listens")
    func refused() async throws {
        let port = try await FakeServer.unusedPort()
        for text in ["127.0.0.1:\(port)", "localhost:\(port)", "[::1]:\(port)"] {
            #expect(try await Asker.outcome(.init(tcpAddress: text)) == .failure("refused the connection"), "\(text)")
        }
        let http = try await Asker.outcome(.init(httpURL: "http://127.0.0.1:\(port)/"))
        #expect(http == .failure("refused the connection"))
        let grpc = try await Asker.outcome(.init(grpcAddress: "127.0.0.1:\(port)"))
        #expect(grpc == .failure("refused the connection"))
    }

    @Test("IPv6, and localhost where only IPv6 is served")
    func ipv6() async throws {
        let answer = FakeServer.Act.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        let server = try await FakeServer.start([.readRequest, answer, .close], host: "::1")
        #expect(try await Asker.outcome(.init(httpURL: "http://[::1]:\(server.port)/")) == .success)
        #expect(server.requests.first?.contains("Host: [::1]:\(server.port)\r\n") == true)
        #expect(try await Asker.outcome(.init(httpURL: "http://localhost:\(server.port)/")) == .success)
    }

    @Test("a name that is none is unknown, not a failure")
    func unknownName() async throws {
        let outcome = try await Asker.outcome(.init(tcpAddress: "no-such-host.invalid:80"), timeout: .seconds(15))
        guard case .unknown(.name, let text) = outcome else {
            Issue.record("\(outcome)")
            return
        }
        #expect(text.contains("no-such-host.invalid"))
    }

    @Test("a name goes through the resolver, for several probes at once, and again for the next")
    func names() async throws {
        let server = try await FakeServer.start([])
        // Neither numeric for NIO nor localhost, but known to every resolver.
        let question = try #require(ProbeQuestion(tcpAddress: "127.1:\(server.port)"))
        #expect(ProbePlan(question).target == .name("127.1"))
        let asker = Asker()
        for index in 0..<5 {
            let firstAt = monotonicNow()
            asker.prober.watch(
                Asker.key(index),
                question,
                period: .milliseconds(100),
                timeout: .seconds(5),
                firstAt: firstAt
            )
        }
        let reports = try await asker.reports(20)
        #expect(reports.allSatisfy { $0.outcome == .success })
    }

    @Test("too many look-ups at once are unknown")
    func lookupLimit() {
        var limits = ProberLimits()
        limits.lookups = 0
        var lookups = Lookups(limits: limits)
        let inbox = Inbox(limits: limits, clock: { monotonicNow() }, deliver: { _ in })
        guard case .unknown(.name, _)? = lookups.begin("web", for: 1, inbox) else {
            Issue.record("it was looked up")
            return
        }
    }

    @Test("what the host is to blame for is unknown; what the other side did is a failure")
    func localErrors() {
        for code in [EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL, EAGAIN, EACCES, EPERM, EAFNOSUPPORT, EIO] {
            let outcome = Clauses.outcome(of: IOError(errnoCode: code, reason: "connect"))
            guard case .unknown(.resources, let text) = outcome else {
                Issue.record("errno \(code): \(outcome)")
                continue
            }
            #expect(text.hasPrefix("no connection could be made: "))
        }
        let failures: [(CInt, String)] = [
            (ECONNREFUSED, "refused the connection"), (ECONNRESET, "reset the connection"),
            (ETIMEDOUT, "did not answer the attempt to connect"), (EHOSTUNREACH, "is unreachable"),
            (EPIPE, "closed the connection before it answered"),
        ]
        for (code, clause) in failures {
            #expect(Clauses.outcome(of: IOError(errnoCode: code, reason: "connect")) == .failure(clause))
        }
    }
}
