import NIOCore
import StatusBoard
import SupervisorCore
import Testing

@testable import ControlServer

/// Random and broken bytes over the real socket; afterwards the server must still answer.
@Suite(.timeLimit(.minutes(5)))
struct FuzzTests {
    private static let seeds: [UInt64] = [1, 2, 3]
    private static let bytesPerSeed = 700_000

    private static let parts = [
        "GET ", "POST ", "HEAD ", "/v1/status", "/v1/services/auth/0/why", "/v1/services/%61uth", "?", "target=auth",
        "&lines=3", "%zz", "%ff%fe", "follow=true", " HTTP/1.1\r\n", " HTTP/1.0\r\n", "Host: x\r\n", "\r\n", "\r\n\r\n",
        "Content-Length: 5\r\n", "Content-Length: 99999999999999999999\r\n", "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n", "fffffffff\r\n", "5\r\nhello\r\n", "0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{0}",
        "Upgrade: websocket\r\n", "Expect: 100-continue\r\n", "\u{16}\u{3}\u{1}",
        "GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n",
    ]

    @Test(arguments: seeds) func survives(seed: UInt64) async throws {
        var limits = ControlLimits()
        limits.requestTime = .milliseconds(500)
        let harness = try await Harness(limits: limits)
        var generator = SeededGenerator(seed: seed)
        var sent = 0
        while sent < Self.bytesPerSeed {
            guard let client = try? harness.client() else { continue }
            let message = Self.message(&generator)
            // A client that was turned away early does not count.
            if (try? client.send(message)) != nil { sent += message.count }
            // Mostly waits, so that what it sent was read; sometimes just leaves.
            if generator.next() % 8 != 0 {
                client.finishSending()
                _ = client.readToEnd()
            }
        }
        #expect(sent >= Self.bytesPerSeed)
        #expect(await eventually { (try? harness.ask("GET", "/v1/version"))?.status == 200 }, "seed \(seed)")
        #expect(harness.port.submitted.allSatisfy { $0.caller.pid == getpidNumber })
        try await harness.stop()
    }

    private static func message(_ generator: inout SeededGenerator) -> [UInt8] {
        var bytes: [UInt8] = []
        let pieces = Int(generator.next() % 60) + 1
        for _ in 0..<pieces {
            switch generator.next() % 10 {
            case 0:
                let count = Int(generator.next() % 3_000)
                bytes += (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next() >> 32) }
            default: bytes += parts[Int(generator.next() % UInt64(parts.count))].utf8
            }
        }
        return bytes
    }
}
