import NIOCore
import Testing

@testable import HealthServer

/// Hostile bytes, from seeds that a failure names.
@Suite("Hostile input")
struct FuzzTests {
    private struct Ending: Equatable {
        var received: [UInt8]
        var isOpen: Bool
        var kinds: [UInt64]
    }

    private static let wholePieces = 6
    private static let pieces: [String] = [
        "GET /nope HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD /health/auth HTTP/1.1\r\nHost: h\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /health/%61uth?verbose&drain=404 HTTP/1.1\r\nhost: h\r\nConnection: keep-alive\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\nGET / H", "GET / HTTP/1.0\r\n\r\n", "\r\n", "\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "Content-Length: 3\r\n", "Host: a\r\n", "GET ", "/", "%",
        "HTTP/1.1", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\u{16}\u{3}\u{1}", "\u{0}", ": ", "\r", " ", "?", "#",
        "Transfer-Encoding: chunked\r\n", "Connection: close\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    ]

    private static func stream(_ random: inout SeededGenerator) -> [UInt8] {
        var bytes: [UInt8] = []
        let damage = Int.random(in: 0...3, using: &random)
        for _ in 0..<Int.random(in: 1...12, using: &random) {
            // The first pieces are whole requests; most streams are made of them, or none would come far.
            let isWhole = Int.random(in: 0..<4, using: &random) >= damage
            var piece = Array(pieces[Int.random(in: 0..<(isWhole ? wholePieces : pieces.count), using: &random)].utf8)
            if !isWhole, Bool.random(using: &random) {
                let index = Int.random(in: 0..<piece.count, using: &random)
                piece[index] = UInt8.random(in: .min ... .max, using: &random)
            }
            bytes += piece
            if !isWhole, Int.random(in: 0..<10, using: &random) == 0 {
                bytes += Array(
                    (["GET /", "GET / HTTP/1.1\r\nX: ", "GET / HTTP/1.1\r\nX: "].randomElement(using: &random) ?? "")
                        .utf8
                )
                bytes += Array(repeating: UInt8(ascii: "a"), count: Int.random(in: 3900...10000, using: &random))
            }
        }
        return bytes
    }

    private static func run(_ service: HealthService, _ chunks: [ArraySlice<UInt8>]) throws -> Ending {
        let before = CloseKind.allCases.map { service.counters.count(of: $0) }
        let client = try EmbeddedClient(service)
        for chunk in chunks { try client.send(chunk) }
        let isOpen = client.isOpen
        try client.end()
        let kinds = zip(CloseKind.allCases, before).map { service.counters.count(of: $0) - $1 }
        return Ending(received: client.received, isOpen: isOpen, kinds: kinds)
    }

    private static func chunks(
        _ bytes: [UInt8],
        upTo size: Int,
        _ random: inout SeededGenerator
    ) -> [ArraySlice<UInt8>] {
        var chunks: [ArraySlice<UInt8>] = []
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + Int.random(in: 1...size, using: &random))
            chunks.append(bytes[start..<end])
            start = end
        }
        return chunks
    }

    @Test("how bytes are split changes no answer; more than 2 MB", arguments: [1, 2, 3, 4])
    func splitting(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let service = Fixture.health()
        var total = 0
        while total < 500_000 {
            let bytes = Self.stream(&random)
            let whole = try Self.run(service, [bytes[...]])
            let size = [2, 40, 600].randomElement(using: &random) ?? 1
            let split = try Self.run(service, Self.chunks(bytes, upTo: size, &random))
            total += bytes.count
            guard whole == split else {
                let text = String(decoding: bytes.prefix(2000), as: UTF8.self)
                Issue.record("seed \(seed), after \(total) bytes: \(text)")
                return
            }
            #expect(service.openConnections == 0)
        }
        // The streams reach what they are meant to reach.
        for code in [200, 400, 404, 405, 414, 431] { #expect(service.counters.count(ofCode: code) > 0, "\(code)") }
        for kind in [CloseKind.normal, .malformed, .tls, .http2, .truncated] {
            #expect(service.counters.count(of: kind) > 0, "\(kind)")
        }
    }

    @Test("random bytes crash nothing and leave nothing behind", arguments: [11, 12])
    func noise(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let service = Fixture.health()
        var total = 0
        while total < 500_000 {
            let bytes = (0..<Int.random(in: 1...3000, using: &random)).map { _ in
                UInt8.random(in: .min ... .max, using: &random)
            }
            _ = try Self.run(service, Self.chunks(bytes, upTo: 900, &random))
            total += bytes.count
        }
        #expect(service.openConnections == 0)
    }

    @Test("whatever a path or query holds, the answer is a whole one", arguments: [21])
    func targets(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let service = Fixture.health()
        for _ in 0..<3000 {
            let target = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                "/%?&=#.auth0123live%41%2f%ff".unicodeScalars.randomElement(using: &random) ?? "/"
            }
            let path = "/health" + String(String.UnicodeScalarView(target))
            let response = try #require(try EmbeddedClient.get(service, path))
            #expect([200, 400, 404].contains(response.code))
        }
    }
}
