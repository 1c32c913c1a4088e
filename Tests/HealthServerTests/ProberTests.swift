import NIOCore
import NIOEmbedded
import StatusBoard
import SupervisorCore
import Testing

@testable import HealthServer

/// Who asks is known again, and what it was told is remembered.
@Suite("The register of probers")
struct ProberTests {
    private let clock = TestClock()

    /// One request on a connection of its own.
    private func ask(
        _ service: HealthService,
        _ path: String,
        from address: String = "192.0.2.1",
        agent: String? = "lb/1",
        host: String? = "node",
        method: String = "GET",
        state: String? = nil
    ) throws {
        let client = try EmbeddedClient(service, from: address)
        var text = "\(method) \(path) HTTP/1.\(host == nil ? 0 : 1)\r\n"
        if let host { text += "Host: \(host)\r\n" }
        if let agent { text += "user-agent:  \(agent) \r\n" }
        if let state { text += "X-HAPROXY-Server-State: \(state)\r\n" }
        try client.send(text + "\r\n")
        try client.end()
    }

    @discardableResult
    private func askAgent(_ service: HealthService, _ text: String, from address: String = "192.0.2.1") throws
        -> String
    {
        let channel = EmbeddedChannel(handler: AgentHandler(service))
        try channel.connect(to: SocketAddress(ipAddress: address, port: 1)).wait()
        try channel.writeInbound(ByteBuffer(string: text))
        channel.embeddedEventLoop.run()
        let answer = try channel.readOutbound(as: ByteBuffer.self)
        _ = try channel.finish(acceptAlreadyClosed: true)
        return answer.map { String(buffer: $0) } ?? ""
    }

    @Test("who it is, what about, and what it was told")
    func sighting() throws {
        let service = Fixture.health(clock: clock)
        clock.advance(.seconds(3))
        try ask(service, "/health/auth/1?verbose", state: "UP 2/3; name=b/s; scur=13/22; qcur=0")
        let sighting = try #require(service.probers.sightings().first)
        #expect(
            sighting.identity
                == .init(address: "192.0.2.1", userAgent: "lb/1", path: "/health/auth/1?verbose", host: "node")
        )
        #expect(sighting.target == .instance(InstanceID(service: "auth", index: 1)))
        #expect(!sighting.isAgent && sighting.period == nil && sighting.requests == 1)
        #expect(sighting.lastAt == clock.now && sighting.told == "200" && sighting.outInARow == 0)
        #expect(sighting.haproxyState == "UP" && sighting.haproxySessions == 13)
    }

    @Test("each part of the identity counts, the port does not; the order is that of first requests")
    func identity() throws {
        let service = Fixture.health(clock: clock)
        for _ in 0..<2 {
            try ask(service, "/")
            try ask(service, "/", from: "192.0.2.2")
            try ask(service, "/", from: "2001:db8::1")
            try ask(service, "/", from: "::ffff:192.0.2.1")
            try ask(service, "/", agent: "lb/2")
            try ask(service, "/", agent: nil)
            try ask(service, "/", host: "other")
            try ask(service, "/", host: nil)
            try ask(service, "/?verbose")
            try ask(service, "/readyz")
        }
        let sightings = service.probers.sightings()
        #expect(sightings.map(\.requests) == [4, 2, 2, 2, 2, 2, 2, 2, 2])
        #expect(
            sightings.map(\.identity.address).prefix(3) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
        )
        #expect(sightings[4].identity.userAgent == "" && sightings[6].identity.host == "")
        let client = try EmbeddedClient(service, from: "192.0.2.1", port: 4711)
        try client.send(String(repeating: "GET / HTTP/1.1\r\nHost: node\r\nUser-Agent: lb/1\r\n\r\n", count: 3))
        try client.end()
        #expect(service.probers.sightings().first?.requests == 7)
    }

    @Test("only what answers whether to route is a probe")
    func routes() throws {
        let service = Fixture.health(clock: clock)
        for path in [
            "/livez", "/startupz", "/metrics", "/health/auth/live", "/health/auth/startup", "/nope", "/health/nobody",
            "/health/auth/7", "/%zz", "/health/auth/0/1",
        ] { try ask(service, path) }
        try ask(service, "/", method: "POST")
        try ask(service, "/bad path")
        #expect(service.probers.count == 0)
        let routing: [(String, Target?)] = [
            ("/", nil), ("/readyz", nil), ("/healthz", nil), ("/health", nil), ("/health/auth", .service("auth")),
            ("/health/auth/ready", .service("auth")), ("/health/%61uth", .service("auth")),
            ("http://h/health/auth?drain=404", .service("auth")),
            ("/health/auth/0", .instance(InstanceID(service: "auth", index: 0))),
        ]
        for (path, _) in routing { try ask(service, path, method: "HEAD") }
        try ask(service, "*", method: "OPTIONS")
        let sightings = service.probers.sightings()
        #expect(sightings.map(\.target) == routing.map(\.1) + [nil])
        #expect(sightings.map(\.identity.path) == routing.map(\.0) + ["*"])
        _ = service.selfCheck()
        #expect(service.probers.count == routing.count + 1)
    }

    @Test("the period is the median of the last five intervals; a burst is one request")
    func period() throws {
        let service = Fixture.health(clock: clock)
        func period() throws -> Duration? { try #require(service.probers.sightings().first).period }
        try ask(service, "/")
        clock.advance(.milliseconds(3))
        try ask(service, "/")
        clock.advance(.milliseconds(6))
        try ask(service, "/")
        #expect(try period() == nil)
        #expect(service.probers.sightings().first?.requests == 3)
        clock.advance(.milliseconds(1991))
        try ask(service, "/")
        #expect(try period() == .seconds(2))
        // One that is late, one that was restarted: neither is its period.
        for interval in [2.0, 2, 30, 0.5] {
            clock.advance(.seconds(interval))
            try ask(service, "/")
            clock.advance(.milliseconds(1))
            try ask(service, "/")
            clock.advance(.milliseconds(-1))
            #expect(try period() == .seconds(2))
        }
        // It asks in another rhythm now.
        for _ in 0..<3 {
            clock.advance(.seconds(5))
            try ask(service, "/")
        }
        #expect(try period() == .seconds(5))
    }

    @Test("what it was told, and how often in a row that takes it out")
    func told() throws {
        let board = Fixture.board()
        let service = Fixture.health(board, clock: clock)
        func next(_ state: PublicState, _ path: String = "/health/auth?drain=404") throws -> (String, Int) {
            board.publish(
                node: Fixture.node(.healthy, ready: true),
                services: [(0, Fixture.service("auth", state, ready: state == .unhealthy ? 0 : 2))]
            )
            service.refresh()
            try ask(service, path)
            let sighting = try #require(service.probers.sightings().first)
            return (sighting.told, sighting.outInARow)
        }
        #expect(try next(.healthy) == ("200", 0))
        #expect(try next(.draining) == ("404", 1))
        #expect(try next(.drained) == ("404", 2))
        #expect(try next(.unhealthy) == ("503", 3))
        #expect(try next(.degraded) == ("200", 0))
        #expect(try next(.draining) == ("404", 1))
    }

    @Test("the agent's clients, by the name they send")
    func agents() throws {
        let board = Fixture.board()
        let service = Fixture.health(board, clock: clock)
        func set(_ state: PublicState, ready: Int = 2) {
            board.publish(
                node: Fixture.node(.healthy, ready: true),
                services: [(0, Fixture.service("auth", state, ready: ready))]
            )
            service.refresh()
        }
        for text in ["auth\n", " auth \r\n", "auth/1\n", "node\n", "\n", "nobody\n", "auth/live\n", "auth/9\n"] {
            try askAgent(service, text)
        }
        var sightings = service.probers.sightings()
        #expect(sightings.map(\.identity.path) == ["auth", "auth/1", "node", ""])
        #expect(sightings.map(\.requests) == [2, 1, 1, 1])
        #expect(sightings.allSatisfy { $0.isAgent && $0.identity.userAgent == "agent" && $0.identity.host == "" })
        #expect(
            sightings.map(\.target)
                == [.service("auth"), .instance(InstanceID(service: "auth", index: 1)), nil, nil]
        )
        let states: [(PublicState, Int, String, Int)] = [
            (.healthy, 2, "up", 0), (.draining, 2, "drain", 1), (.drained, 0, "drain", 2), (.stopped, 0, "stopped", 3),
            (.unhealthy, 0, "down", 4), (.degraded, 1, "up", 0),
        ]
        for (state, ready, word, out) in states {
            set(state, ready: ready)
            clock.advance(.seconds(1))
            try askAgent(service, "auth\n")
            sightings = service.probers.sightings()
            #expect(sightings[0].told == word && sightings[0].outInARow == out, "\(state)")
        }
        #expect(sightings[0].period == .seconds(1))
    }

    static let states: [(String, String?, UInt64?)] = [
        ("UP 2/3; name=bck/srv2; node=lb1; weight=1/2; scur=13/22; qcur=0", "UP", 13),
        ("UP; address=127.0.0.1; port=1; name=b/s; node=n; weight=1/1; scur=0/0; qcur=0", "UP", 0),
        ("NOLB 2/2; name=b/s; scur=2147483647/4; qcur=0", "NOLB", 2_147_483_647),
        ("NOLB", "NOLB", nil), ("DOWN 1/2;scur=1/2", "DOWN", 1), ("DOWN (agent); scur=3/4", "DOWN", 3),
        ("DRAIN; scur=1/1", "DRAIN", 1), ("MAINT ; scur=1/1", "MAINT", 1),
        ("no check; name=b/s; scur=7/9; qcur=0", nil, 7),
        ("", nil, nil), (";", nil, nil), (";;;scur=1/2", nil, 1), ("scur=1/2", nil, nil), ("up; scur=1/2", nil, 1),
        ("UPPER; scur=1/2", nil, 1), ("UP2/3", nil, nil), ("UP 2/", nil, nil), ("UP /3", nil, nil),
        ("UP 2/3 x", nil, nil), ("UP  2/3", nil, nil), ("UP (agent", nil, nil), ("UP -1/3", nil, nil),
        ("UP; scur=", "UP", nil), ("UP; scur=1", "UP", nil), ("UP; scur=/2", "UP", nil), ("UP; scur=-1/2", "UP", nil),
        ("UP; scur=1/2x", "UP", nil), ("UP; scur=0x1/2", "UP", nil), ("UP; scur=99999999999/1", "UP", nil),
        ("UP; scur=18446744073709551616/1", "UP", nil), ("UP; xscur=1/2", "UP", nil), ("UP; SCUR=1/2", "UP", nil),
        ("UP; scur=1/2; scur=5/6", "UP", 1), ("UP; scur=x; scur=5/6", "UP", 5), ("UP,UP", nil, nil),
        ("\u{e9}UP; scur=1/2", nil, 1),
    ]

    @Test("what HAProxy says of us; whatever is odd says nothing", arguments: states)
    func sendState(text: String, state: String?, sessions: UInt64?) throws {
        let report = Array(text.utf8).withUnsafeBytes { HAProxyReport($0, limit: 512) }
        #expect(report.state?.rawValue == state)
        #expect(report.sessions == sessions)
        let service = Fixture.health(clock: clock)
        try ask(service, "/", state: text)
        let sighting = try #require(service.probers.sightings().first)
        #expect(sighting.haproxyState == state && sighting.haproxySessions == sessions)
    }

    @Test("what HAProxy says counts for the request it came with, and no further than the limit")
    func sendStateOfTheLast() throws {
        let service = Fixture.health(clock: clock)
        try ask(service, "/", state: "DOWN; scur=1/1")
        try ask(service, "/")
        let sighting = try #require(service.probers.sightings().first)
        #expect(sighting.haproxyState == nil && sighting.haproxySessions == nil && sighting.requests == 2)
        try ask(service, "/", state: "UP; name=" + String(repeating: "x", count: 600) + "; scur=1/1")
        let cut = try #require(service.probers.sightings().first)
        #expect(cut.haproxyState == "UP" && cut.haproxySessions == nil)
    }

    @Test("texts are cut and made harmless, and what was cut off still counts")
    func texts() throws {
        let service = Fixture.health(clock: clock)
        let long = String(repeating: "a", count: 1000)
        for tail in ["x", "y", "x", "yy"] { try ask(service, "/?\(long)\(tail)", agent: "t\tab\u{80}é") }
        #expect(service.probers.count == 3)
        let sightings = service.probers.sightings()
        // Their texts are the same: they are told as one.
        #expect(sightings.map(\.requests) == [4])
        #expect(sightings[0].identity.path == "/?" + String(repeating: "a", count: 126))
        #expect(sightings[0].identity.userAgent == "t ab é")
        try ask(service, "/", agent: String(repeating: "é", count: 100), host: String(repeating: "h", count: 129))
        let last = try #require(service.probers.sightings().last)
        #expect(last.identity.userAgent == String(repeating: "é", count: 64) && last.identity.host.utf8.count == 128)
    }

    @Test("probers told as one are as far as the one that is least far")
    func merged() throws {
        let board = Fixture.board()
        let service = Fixture.health(board, clock: clock)
        let path = "/health/auth?" + String(repeating: "a", count: 200)
        try ask(service, path + "1")
        board.publish(node: Fixture.node(.healthy, ready: true), services: [(0, Fixture.service("auth", .draining))])
        service.refresh()
        clock.advance(.seconds(1))
        try ask(service, path + "2", state: "NOLB")
        let sighting = try #require(service.probers.sightings().first)
        #expect(sighting.told == "200" && sighting.outInARow == 0 && sighting.haproxyState == nil)
        #expect(sighting.requests == 2 && sighting.lastAt == clock.now)
    }

    @Test("when it is full, who came once goes first, the oldest of them before others")
    func eviction() throws {
        var limits = HealthServerLimits()
        limits.probers = 4
        let service = Fixture.health(clock: clock, limits: limits)
        func agents() -> [String] { service.probers.sightings().map(\.identity.userAgent) }
        func ask(_ agents: String...) throws {
            for agent in agents {
                clock.advance(.seconds(1))
                try self.ask(service, "/", from: "192.0.2.\(agent.utf8.first ?? 0)", agent: agent)
            }
        }
        try ask("a", "b", "a", "c", "d")
        #expect(agents() == ["a", "b", "c", "d"])
        try ask("e")
        #expect(agents() == ["a", "c", "d", "e"])
        try ask("c", "f", "g")
        #expect(agents() == ["a", "c", "f", "g"])
        // All have come back: `f` and `g` after a second or two, `a` after two and `c` after three; `a` is most
        // overdue, though it is not it that was seen first.
        try ask("f", "g")
        clock.advance(.seconds(5))
        try ask("h")
        #expect(agents() == ["c", "f", "g", "h"])
    }

    @Test("no flood pushes out a prober that comes back each period", arguments: [1, 2])
    func flood(visits: Int) throws {
        let service = Fixture.health(clock: clock)
        var random = SeededGenerator(seed: 7)
        let real = (0..<100).map { "real/\($0)" }
        for round in 0..<30 {
            for agent in real { try ask(service, "/health/auth", from: "192.0.2.\(agent.utf8.count)", agent: agent) }
            // Two visits with a pause look like a prober's.
            for _ in 0..<400 where round > 1 {
                let agent = "flood/\(random.next())"
                for _ in 0..<visits {
                    try ask(service, "/health/auth", from: "192.0.2.99", agent: agent)
                    clock.advance(.milliseconds(visits == 1 ? 1 : 11))
                }
            }
            clock.advance(.seconds(5))
        }
        let sightings = service.probers.sightings()
        #expect(sightings.count == service.limits.probers)
        #expect(sightings.prefix(real.count).map(\.identity.userAgent) == real)
        #expect(sightings.prefix(real.count).allSatisfy { $0.requests == 30 })
    }

    @Test("a new prober can come in while another address floods")
    func newDuringFlood() throws {
        let service = Fixture.health(clock: clock)
        for number in 0..<2000 {
            if number % 500 == 0 { try ask(service, "/", from: "192.0.2.2", agent: "new") }
            try ask(service, "/?\(number)", from: "192.0.2.99")
            clock.advance(.milliseconds(10))
        }
        let new = try #require(service.probers.sightings().first { $0.identity.userAgent == "new" })
        #expect(new.requests == 4 && new.period == .seconds(5))
    }

    @Test("its memory is bounded, whatever comes")
    func bounded() throws {
        let service = Fixture.health(clock: clock)
        var random = SeededGenerator(seed: 8)
        for _ in 0..<5000 {
            let text = String(repeating: "x", count: Int.random(in: 0...900, using: &random)) + "\(random.next())"
            try ask(service, "/?" + text, agent: text, host: text)
        }
        let limits = service.limits
        #expect(service.probers.count == limits.probers)
        // Arrays grow by doubling.
        #expect(service.probers.storedBytes <= limits.probers * limits.proberTextBytes * 3 * 2)
        for sighting in service.probers.sightings() {
            let identity = sighting.identity
            for text in [identity.userAgent, identity.path, identity.host] {
                #expect(text.utf8.count <= limits.proberTextBytes)
            }
        }
    }

    @Test("whoever is forgotten is new when it comes back, and nobody else is")
    func chains() throws {
        var limits = HealthServerLimits()
        limits.probers = 40
        let service = Fixture.health(clock: clock, limits: limits)
        var random = SeededGenerator(seed: 9)
        var counts: [String: UInt64] = [:]
        for _ in 0..<4000 {
            let agent = "a\(Int.random(in: 0..<60, using: &random))"
            let known = Set(service.probers.sightings().map(\.identity.userAgent))
            counts[agent] = known.contains(agent) ? (counts[agent] ?? 0) + 1 : 1
            try ask(service, "/", agent: agent)
            clock.advance(.milliseconds(Int.random(in: 1...30, using: &random)))
        }
        let sightings = service.probers.sightings()
        #expect(sightings.count == 40)
        #expect(Set(sightings.map(\.identity.userAgent)).count == 40)
        #expect(sightings.allSatisfy { counts[$0.identity.userAgent] == $0.requests })
    }
}
