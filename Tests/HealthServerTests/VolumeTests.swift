import Glibc
import NIOCore
import NIOEmbedded
import StatusBoard
import SupervisorCore
import Testing

@testable import HealthServer

/// What one run of a fuzzer draws from and watches.
private struct FuzzRun {
    /// `EIDER_SEED` draws other input than usual.
    static let seed = getenv("EIDER_SEED").flatMap { UInt64(String(cString: $0)) } ?? 20_261_126
    static let bytes = 10_000_000
    /// Most that the process may grow while all this goes through it, bytes. Other tests run beside this one; a
    /// connection that is kept, or input that is, would take ten times as much.
    static let growth = 64 << 20

    var random: SeededGenerator
    var total = 0
    private let began: Int

    init(_ name: String) {
        random = SeededGenerator(seed: Self.seed)
        began = Self.residentBytes()
        // A crash leaves no other trace.
        let line = Array("fuzz: \(name) with EIDER_SEED=\(Self.seed)\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
    }

    var isDone: Bool { total >= Self.bytes }

    /// For messages of failures.
    var place: Comment { "EIDER_SEED=\(Self.seed), after \(total) bytes" }

    func checkGrowth() {
        let grown = Self.residentBytes() - began
        #expect(grown < Self.growth, "EIDER_SEED=\(Self.seed): \(grown) bytes more are resident")
    }

    /// The second number of /proc/self/statm, in bytes.
    static func residentBytes() -> Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var text = [CChar](repeating: 0, count: 256)
        guard fgets(&text, 256, file) != nil else { return 0 }
        let fields = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return fields.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 * Int(getpagesize()) } ?? 0
    }

    mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }

    mutating func oneIn(_ count: Int) -> Bool { number(1...count) == 1 }

    mutating func noise(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        while bytes.count < count {
            var word = random.next()
            for _ in 0..<8 {
                bytes.append(UInt8(truncatingIfNeeded: word))
                word >>= 8
            }
        }
        return bytes
    }

    /// Flips, cuts out, doubles and puts in bytes of valid input.
    mutating func mutate(_ bytes: inout [UInt8]) {
        for _ in 0..<number(1...6) where !bytes.isEmpty {
            let place = number(0...bytes.count - 1)
            switch number(0...4) {
            case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
            case 1: bytes[place] ^= 1 << UInt8(number(0...7))
            case 2: bytes.removeSubrange(place..<min(bytes.count, place + number(1...20)))
            case 3: bytes.insert(contentsOf: Array(bytes[place...].prefix(number(1...200))), at: place)
            default: bytes.insert(contentsOf: noise(number(1...16)), at: place)
            }
        }
    }

    /// Splits input as a network might: all at once, in pieces, or byte by byte.
    mutating func chunks(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        let largest = [1, 7, 100, 1500, 65_536][number(0...4)]
        // Byte by byte takes as many steps as there are bytes: not for what is long.
        let limit = largest == 1 && bytes.count > 600 ? 64 : largest
        var chunks: [ArraySlice<UInt8>] = []
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + (limit == 65_536 ? limit : number(1...limit)))
            chunks.append(bytes[start..<end])
            start = end
        }
        return chunks
    }
}

/// Ten million hostile bytes for each parser behind a port: no crash, no hang, nothing kept.
@Suite("Ten million hostile bytes", .serialized, .timeLimit(.minutes(3)))
struct VolumeTests {
    private static let valid: [[UInt8]] = [
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD /health/auth HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /health/%61uth/0?verbose&drain=404 HTTP/1.1\r\nhost: h\r\nConnection: keep-alive, x\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world",
        "GET http://h/health HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: h\r\nAccept: text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{0}\u{A5}",
        "GET /health/auth HTTP/1.1\r\nHost: h\r\nUser-Agent: lb/1\r\nX-Haproxy-Server-State: "
            + "UP 2/3; address=127.0.0.1; port=1; name=b/s; node=n; weight=1/2; scur=13/22; qcur=0\r\n\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", "GET / HTTP/1.1\nHost: h\n\n",
    ].map { Array($0.utf8) }

    /// Requests of probers, known and new, with what HAProxy might say and what it never would.
    private func probing(_ run: inout FuzzRun) -> [UInt8] {
        let states = [
            "UP 2/3", "DOWN", "NOLB 1/2", "no check", "UP (agent)", "; ", "scur=", "1/2", "99999999999/1", " ",
        ]
        var bytes: [UInt8] = []
        for _ in 0..<run.number(1...12) {
            let agent = run.oneIn(3) ? "lb/\(run.number(0...9))" : "lb/\(run.random.next())"
            let path = ["/", "/health", "/health/auth", "/health/auth/0", "/?\(run.random.next())"][run.number(0...4)]
            bytes += Array("GET \(path) HTTP/1.1\r\nHost: h\r\nUser-Agent: \(agent)\r\n".utf8)
            bytes += Array("X-Haproxy-Server-State: ".utf8)
            if run.oneIn(4) {
                // No control characters, or the request is refused before it is looked at.
                bytes += run.noise(run.number(0...700)).map { $0 < 0x20 || $0 == 0x7F ? UInt8(ascii: ";") : $0 }
            } else {
                for _ in 0..<run.number(0...8) { bytes += Array(states[run.number(0...states.count - 1)].utf8) }
            }
            bytes += Array("\r\n\r\n".utf8)
        }
        if run.oneIn(4) { run.mutate(&bytes) }
        return bytes
    }

    /// What one client says on one connection.
    private func speech(_ run: inout FuzzRun) -> [UInt8] {
        let kind = run.number(0...99)
        if kind >= 70 { return probing(&run) }
        if kind < 3 { return run.noise(run.number(1...20_000)) }
        var bytes: [UInt8] = []
        for _ in 0..<run.number(1...8) { bytes += Self.valid[run.number(0...Self.valid.count - 1)] }
        switch kind {
        // A head or a body that does not end.
        case 3..<6:
            bytes += Array(
                ["GET /", "GET / HTTP/1.1\r\nX: ", "POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n"][kind % 3].utf8
            )
            bytes += [UInt8](repeating: UInt8(run.number(32...126)), count: run.number(3000...40_000))
        case 6..<30: break
        case 30..<50: bytes.removeLast(run.number(1...bytes.count))
        default: run.mutate(&bytes)
        }
        return bytes
    }

    @Test("the HTTP connection handler")
    func http() throws {
        var run = FuzzRun("HTTP")
        let clock = TestClock()
        let board = Fixture.board()
        let service = Fixture.health(board, clock: clock)
        let known = Set(["200", "400", "404", "405", "414", "431", "505"])
        var connections = 0
        while !run.isDone {
            let bytes = speech(&run)
            weak var handler: ConnectionHandler?
            do {
                let client = try EmbeddedClient(service, from: "192.0.2.\(run.number(1...9))")
                handler = client.handler
                for chunk in run.chunks(bytes) where client.isOpen { try client.send(chunk) }
                // Who is silent is cut off in the end; who leaves, leaves.
                if run.oneIn(40) { for _ in 0..<30 { service.sweep() } }
                try client.end()
                let answer = client.received.prefix(12)
                if !answer.isEmpty {
                    let words = String(decoding: answer, as: UTF8.self).split(separator: " ")
                    try #require(
                        words.count == 2 && words[0] == "HTTP/1.1" && known.contains(String(words[1])),
                        run.place
                    )
                }
            }
            try #require(handler == nil, run.place)
            run.total += bytes.count
            connections += 1
            clock.advance(.milliseconds(run.number(0...30)))
            if run.oneIn(100) { try checkProbers(service, run) }
        }
        try checkProbers(service, run)
        #expect(service.probers.count == service.limits.probers, run.place)
        #expect(service.openConnections == 0, run.place)
        #expect(connections > 5000)
        // It came everywhere.
        for code in [200, 400, 404, 405, 414, 431, 505] { #expect(service.counters.count(ofCode: code) > 0, "\(code)") }
        for kind in [CloseKind.normal, .malformed, .tls, .http2, .truncated, .slow] {
            #expect(service.counters.count(of: kind) > 0, "\(kind)")
        }
        board.beat(at: clock.now, wallClockOffset: Fixture.wallClockOffset)
        let fresh = try #require(try EmbeddedClient.get(service, "/livez"))
        #expect(fresh.code == 200)
        run.checkGrowth()
    }

    private func checkProbers(_ service: HealthService, _ run: FuzzRun) throws {
        let sightings = service.probers.sightings()
        try #require(sightings.count <= service.limits.probers, run.place)
        try #require(Set(sightings.map(\.identity)).count == sightings.count, run.place)
        for sighting in sightings {
            let identity = sighting.identity
            let texts = [identity.address, identity.userAgent, identity.path, identity.host]
            try #require(texts.allSatisfy { $0.utf8.count <= service.limits.proberTextBytes }, run.place)
            try #require(!texts.joined().unicodeScalars.contains { $0.value < 0x20 }, run.place)
            let isKnown = ["200", "404", "503"].contains(sighting.told) || sighting.isAgent
            try #require(isKnown && sighting.requests > 0 && sighting.period != .zero, run.place)
        }
    }

    @Test("the agent's connection handler")
    func agent() throws {
        var run = FuzzRun("agent")
        let service = Fixture.health()
        let valid = [
            "auth\n", "auth/0\n", "node\n", "\n", " auth \r\n", "nobody\n", "auth/99999999999999999999\n",
            "auth/live\n",
        ]
        .map { Array($0.utf8) }
        var answers = 0
        var connections = 0
        while !run.isDone {
            var bytes: [UInt8] = []
            switch run.number(0...9) {
            case 0: bytes = run.noise(run.number(1...2_000))
            case 1: bytes = [UInt8](repeating: UInt8(run.number(32...126)), count: run.number(200...10_000))
            default:
                for _ in 0..<run.number(1...4) { bytes += valid[run.number(0...valid.count - 1)] }
                if run.oneIn(3) { bytes.removeLast() }
                if !run.oneIn(3) { run.mutate(&bytes) }
                bytes += run.noise(run.number(0...1) * run.number(0...2000))
            }
            weak var handler: AgentHandler?
            do {
                let channel = try agentChannel(service, &handler)
                let received = try say(run.chunks(bytes), on: channel)
                if let line = received {
                    answers += 1
                    let isWhole = line.hasSuffix("\n") && line.count { $0 == "\n" } == 1 && line.utf8.count < 256
                    let isKnown = ["up ready ", "up drain\n", "down # ", "stopped # "].contains { line.hasPrefix($0) }
                    try #require(isWhole && isKnown, run.place)
                }
            }
            try #require(handler == nil, run.place)
            run.total += bytes.count
            connections += 1
        }
        #expect(service.openAgentConnections == 0, run.place)
        #expect(answers > 1000 && answers < connections)
        #expect(service.probers.count == service.limits.probers || service.probers.count > 3, run.place)
        try checkProbers(service, run)
        run.checkGrowth()
    }

    private func agentChannel(_ service: HealthService, _ handler: inout AgentHandler?) throws -> EmbeddedChannel {
        let made = AgentHandler(service)
        handler = made
        let channel = EmbeddedChannel(handler: made)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        return channel
    }

    /// What was answered, once the client has said everything and left.
    private func say(_ chunks: [ArraySlice<UInt8>], on channel: EmbeddedChannel) throws -> String? {
        for chunk in chunks where channel.isActive { try channel.writeInbound(ByteBuffer(bytes: chunk)) }
        if channel.isActive { channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed) }
        channel.embeddedEventLoop.run()
        var received: [UInt8] = []
        while let buffer = try channel.readOutbound(as: ByteBuffer.self) { received += buffer.readableBytesView }
        if channel.isActive { _ = try channel.finish(acceptAlreadyClosed: true) }
        return received.isEmpty ? nil : String(decoding: received, as: UTF8.self)
    }
}
