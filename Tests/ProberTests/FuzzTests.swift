import NIOCore
import SupervisorCore
import Testing

@testable import Prober

/// Hostile answers, from seeds that a failure names; `EIDER_SEED` takes another.
@Suite("Hostile answers")
struct FuzzTests {
    private static let budget = 10_000_000
    private static let grownBytes = 48 << 20

    static func seeds(_ usual: [UInt64]) -> [UInt64] {
        guard let own = OwnProcess.environment("EIDER_SEED").flatMap({ UInt64($0) }) else { return usual }
        return [own]
    }

    // MARK: Material

    private static let heads = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 503 X\r\nContent-Length: 9\r\n\r\nnot ready",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.0 500 Oops\r\n\r\nuntil the end\n",
        "HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\nX: y\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nServer: x\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n\r\n\u{1f}",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://a/\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    ].map { Array($0.utf8) }

    private static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt8, _ payload: [UInt8]) -> [UInt8] {
        let count = payload.count
        return [UInt8(count >> 16 & 255), UInt8(count >> 8 & 255), UInt8(count & 255), type, flags, 0, 0, 0, stream]
            + payload
    }

    /// Without Huffman codes, not indexed.
    private static func field(_ name: String, _ value: String) -> [UInt8] {
        [0, UInt8(name.utf8.count)] + Array(name.utf8) + [UInt8(value.utf8.count)] + Array(value.utf8)
    }

    private static let settings = frame(4, 0, 0, [0, 3, 0, 0, 0, 100])
    private static let head = frame(1, 4, 1, [0x88] + field("content-type", "application/grpc"))
    private static let message: [UInt8] = [0, 0, 0, 0, 2, 8, 1]
    private static let trailers = frame(1, 5, 1, field("grpc-status", "0"))
    private static let calls: [[UInt8]] = [
        settings + head + frame(0, 0, 1, message) + trailers,
        settings + frame(4, 1, 0, []) + head + frame(0, 0, 1, [0, 0, 0, 0]) + frame(0, 0, 1, [2, 8, 2]) + trailers,
        settings + frame(1, 5, 1, [0x88] + field("content-type", "application/grpc") + field("grpc-status", "12")),
        settings + frame(7, 0, 0, [0, 0, 0, 0, 0, 0, 0, 0]), settings + frame(3, 0, 1, [0, 0, 0, 8]),
        settings + frame(6, 0, 0, [1, 2, 3, 4, 5, 6, 7, 8]) + frame(8, 0, 0, [0, 0, 1, 0]) + head + trailers,
        settings + frame(1, 0, 1, [0x88]) + frame(9, 4, 1, field("content-type", "application/grpc")) + trailers,
        settings + head + frame(0, 8, 1, [3] + message + [0, 0, 0]) + trailers,
        settings + frame(1, 0x24, 1, [0, 0, 0, 0, 9, 0x88]), settings + frame(5, 4, 1, [0, 0, 0, 2, 0x88]),
    ]

    /// Valid, mutated, cut, repeated, glued together, or noise.
    private static func stream(_ valid: [[UInt8]], _ random: inout SeededGenerator) -> [UInt8] {
        var bytes = valid[Int.random(in: 0..<valid.count, using: &random)]
        switch Int.random(in: 0..<10, using: &random) {
        case 0:
            let count = Int.random(in: 1...600, using: &random)
            return (0..<count / 8 + 1).flatMap { _ in withUnsafeBytes(of: random.next()) { Array($0) } }
        case 1: return Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &random)))
        case 2: return bytes
        case 3, 4:
            let place = Int.random(in: 0...bytes.count, using: &random)
            let filler = UInt8.random(in: .min ... .max, using: &random)
            let count = Int.random(in: 1...20_000, using: &random)
            bytes.insert(contentsOf: repeatElement(filler, count: count), at: place)
        case 5: bytes += valid[Int.random(in: 0..<valid.count, using: &random)]
        default: break
        }
        for _ in 0..<Int.random(in: 1...6, using: &random) where !bytes.isEmpty {
            let place = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bytes[place] = UInt8.random(in: .min ... .max, using: &random)
            case 1: bytes[place] ^= 1 << UInt8.random(in: 0...7, using: &random)
            case 2: bytes.remove(at: place)
            default: bytes.insert(UInt8.random(in: .min ... .max, using: &random), at: place)
            }
        }
        return bytes
    }

    /// Calls `take` with pieces of `bytes` while it wants more; returns how many bytes it got.
    private static func feed(
        _ bytes: [UInt8],
        _ random: inout SeededGenerator,
        _ take: (ArraySlice<UInt8>) -> Bool
    ) -> Int {
        // Byte by byte is for answers that have something to say at each byte, not for 20,000 times the same.
        let sizes = bytes.count < 400 ? [1, 7, 100, 400] : [300, 4096, 65_536]
        let largest = sizes[Int.random(in: 0..<sizes.count, using: &random)]
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + Int.random(in: 1...largest, using: &random))
            let wantsMore = take(bytes[start..<end])
            start = end
            if !wantsMore { break }
        }
        return start
    }

    /// Nil where the outcome is one that may be shown.
    private static func fault(_ outcome: ProbeOutcome?) -> String? {
        switch outcome {
        case nil: return "no outcome"
        case .success: return nil
        case .unknown(let obstacle, let text): return "unknown: \(obstacle) \(text)"
        case .failure(let clause, let said):
            let text = clause + said
            if text.utf8.count > 400 { return "a clause of \(text.utf8.count) bytes" }
            let isClean = text.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7f...0x9f).contains($0.value) }
            return isClean ? nil : "control characters in \(text.debugDescription)"
        }
    }

    private static func run(
        _ question: ProbeQuestion?,
        _ valid: [[UInt8]],
        bytes budget: Int,
        seed: UInt64
    ) throws -> Set<String> {
        let plan = ProbePlan(try #require(question))
        var random = SeededGenerator(seed: seed)
        var total = 0
        var memory: Int?
        var kinds: Set<String> = []
        while total < budget {
            if memory == nil, total > budget / 10 { memory = OwnProcess.residentMemory }
            let bytes = stream(valid, &random)
            let exchange = try EmbeddedExchange(plan)
            // What nobody reads costs no more than an exchange: at least so much is counted.
            total += max(1, feed(bytes, &random) { exchange.receive($0) })
            exchange.end()
            // The short way agrees with the parser, or has no opinion.
            if case .http = plan.question, exchange.outcome != .success,
                bytes.prefix(2048).withUnsafeBytes(PlainSuccess.isOne)
            {
                Issue.record(
                    "seed \(seed), after \(total) bytes: a plain success, but \(exchange.outcome as Any): \(bytes)"
                )
                return kinds
            }
            if let fault = fault(exchange.outcome) {
                Issue.record("seed \(seed), after \(total) bytes: \(fault) for \(bytes.prefix(2000))")
                return kinds
            }
            if case .failure(let text, _)? = exchange.outcome {
                kinds.insert(String(text.prefix(24)))
            } else {
                kinds.insert("success")
            }
        }
        let grown = OwnProcess.residentMemory - (memory ?? 0)
        #expect(grown < grownBytes, "seed \(seed): \(grown) bytes more")
        return kinds
    }

    // MARK: Tests

    @Test("10,000,000 bytes through the HTTP reply path", arguments: seeds([1, 2]))
    func http(seed: UInt64) throws {
        let question = ProbeQuestion(httpURL: "http://127.0.0.1:1/")
        let kinds = try Self.run(question, Self.heads, bytes: Self.budget / 2, seed: seed)
        for kind in [
            "success", "answered 503 Service Unavailable", "answered something that is not HTTP",
            "closed the connection in the middle of its answer", "closed the connection before it answered",
            "answered with a head of more than",
        ] { #expect(kinds.contains(String(kind.prefix(24))), "seed \(seed) never came to \(kind)") }
    }

    @Test("2,000,000 bytes through the HTTP/2 client and the gRPC reply path", arguments: seeds([11, 12]))
    func grpc(seed: UInt64) throws {
        let question = ProbeQuestion(grpcAddress: "127.0.0.1:1")
        let kinds = try Self.run(question, Self.calls, bytes: Self.budget / 10, seed: seed)
        for kind in [
            "success", "is NOT_SERVING", "answered grpc-status 12 (UNIMPLEMENTED)", "is going away (NO_ERROR)",
            "reset the call (CANCEL)", "broke the rules of HTTP/2", "answered something that is not HTTP/2",
            "answered with a malformed message", "closed the connection before it answered",
        ] { #expect(kinds.contains(String(kind.prefix(24))), "seed \(seed) never came to \(kind)") }
    }

    @Test("10,000,000 bytes through the parser of the gRPC message", arguments: seeds([21]))
    func message(seed: UInt64) {
        let valid: [[UInt8]] = [
            Self.message, [0, 0, 0, 0, 0], [0, 0, 0, 0, 13, 0x12, 4, 1, 2, 3, 4, 8, 2, 0x15, 1, 2, 3, 4],
            [0, 0, 0, 0, 11, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], [1, 0, 0, 0, 2, 8, 1],
            [0, 0, 0, 4, 0, 0x12, 0xfd, 7] + [UInt8](repeating: 1, count: 1021),
        ]
        var random = SeededGenerator(seed: seed)
        var total = 0
        var found = 0
        var memory: Int?
        while total < Self.budget {
            if memory == nil, total > Self.budget / 10 { memory = OwnProcess.residentMemory }
            let bytes = Self.stream(valid, &random)
            var split = HealthCheckReply(limit: 1024)
            var problem: HealthCheckReply.Problem?
            let taken = Self.feed(bytes, &random) { piece in
                do throws(HealthCheckReply.Problem) { try split.consume(piece) } catch { problem = error }
                return problem == nil
            }
            total += max(1, taken)
            // However it is split, it means the same.
            var whole = HealthCheckReply(limit: 1024)
            var other: HealthCheckReply.Problem?
            do throws(HealthCheckReply.Problem) { try whole.consume(bytes) } catch { other = error }
            guard problem == other, problem != nil || split.status == whole.status else {
                Issue.record("seed \(seed), after \(total) bytes: \(bytes.prefix(2000))")
                return
            }
            if split.status == .serving, problem == nil { found += 1 }
        }
        #expect(found > 100)
        #expect(OwnProcess.residentMemory - (memory ?? 0) < Self.grownBytes, "seed \(seed)")
    }
}
