import NIOCore
import Testing

@testable import BreakerStore
@testable import SupervisorCore

/// RESP in and out, whatever comes (rule R7).
@Suite struct CodecTests {
    private func read(_ bytes: [UInt8], splits: [Int] = []) throws -> [RESPValue] {
        let reader = RESPReader()
        var values: [RESPValue] = []
        var start = 0
        for end in splits + [bytes.count] where end >= start {
            try bytes[start..<end].withUnsafeBytes { part in
                try reader.read(part) { values.append($0) }
            }
            start = end
        }
        return values
    }

    private func encode(_ value: RESPValue) -> [UInt8] {
        switch value {
        case .text(let bytes): Array("$\(bytes.count)\r\n".utf8) + bytes + Array("\r\n".utf8)
        case .status(let bytes): Array("+".utf8) + bytes + Array("\r\n".utf8)
        case .error(let bytes): Array("-".utf8) + bytes + Array("\r\n".utf8)
        case .integer(let number): Array(":\(number)\r\n".utf8)
        case .array(let values): Array("*\(values.count)\r\n".utf8) + values.flatMap { encode($0) }
        case .null: Array("$-1\r\n".utf8)
        }
    }

    private func random(_ generator: inout SeededGenerator, depth: Int = 0) -> RESPValue {
        let line = (0..<generator.next() % 20).map { _ in UInt8(32 + generator.next() % 90) }
        switch generator.next() % (depth < 5 ? 7 : 5) {
        case 0: return .text((0..<generator.next() % 3_000).map { _ in UInt8(truncatingIfNeeded: generator.next()) })
        case 1: return .status(line)
        case 2: return .error(line)
        case 3: return .integer(Int64(bitPattern: generator.next()))
        case 4: return .null
        default: return .array((0..<generator.next() % 5).map { _ in random(&generator, depth: depth + 1) })
        }
    }

    @Test func anySplitYieldsTheSame() throws {
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<600 {
            let values = (0..<3).map { _ in random(&generator) }
            let bytes = values.flatMap { encode($0) }
            let splits = (0..<8).map { _ in Int(generator.next() % UInt64(bytes.count)) }.sorted()
            #expect(try read(bytes, splits: splits) == values)
        }
        let value = RESPValue.array([.text(Array("message".utf8)), .integer(-5), .null, .array([])])
        #expect(try read(encode(value), splits: Array(0..<encode(value).count)) == [value])
    }

    @Test func anyBytesYieldValuesOrAFault() {
        var generator = SeededGenerator(seed: 2)
        let alphabet = Array("*$+-:\r\n0123456789abc".utf8)
        var faults = 0
        for round in 0..<20_000 {
            var bytes = (0..<generator.next() % 60).map { _ in alphabet[Int(generator.next() % UInt64(alphabet.count))]
            }
            if round % 2 == 0 {
                bytes = encode(random(&generator))
                if bytes.isEmpty { continue }
                let place = Int(generator.next() % UInt64(bytes.count))
                bytes[place] = UInt8(truncatingIfNeeded: generator.next())
            }
            let values = try? read(bytes, splits: [bytes.count / 2])
            if values == nil { faults += 1 }
            // What is read goes on to be understood.
            for value in values ?? [] {
                _ = LedgerCodec.reply(value)
                _ = ClusterView(value, slot: 5, askedAt: "h")
                if case .error(let text) = value { _ = ServerComplaint(text, from: RedisAddress(host: "h", port: 1)) }
            }
        }
        #expect(faults > 1_000)
    }

    @Test(
        arguments: [
            "*2147483647\r\n", "*65537\r\n", "*-5\r\n", "*99999999999999999999\r\n", ">1\r\n", "%1\r\n", "_\r\n",
            "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n",
        ]
    ) func hostileHeadersAreFaults(text: String) {
        #expect(throws: RESPFault.self) { try read(Array(text.utf8)) }
    }

    @Test func repliesAreBounded() throws {
        // Many arrays within the bound of each, beyond the bound of all.
        let inner = "*30000\r\n" + String(repeating: ":1\r\n", count: 30_000)
        #expect(throws: RESPFault.self) { try read(Array(("*3\r\n" + inner + inner + inner).utf8)) }
        #expect(try read(Array(inner.utf8) + Array(inner.utf8) + Array(inner.utf8)).count == 3)
        let long = [UInt8](repeating: 65, count: RESPLimits.stringBytes)
        #expect(try read(encode(.text(long))) == [.text(long)])
        #expect(throws: RESPFault.self) { try read(encode(.text(long + [65]))) }
        #expect(throws: RESPFault.self) { try read(Array(repeating: 43, count: RESPLimits.replyBytes + 1)) }
        let many = RESPValue.array(Array(repeating: .text(long), count: 5))
        #expect(throws: RESPFault.self) { try read(encode(many)) }
    }

    @Test func aFaultLasts() {
        let reader = RESPReader()
        let bad = Array("?\r\n".utf8)
        let good = Array("+OK\r\n".utf8)
        #expect(throws: RESPFault.self) { try bad.withUnsafeBytes { try reader.read($0) { _ in } } }
        #expect(throws: RESPFault.self) { try good.withUnsafeBytes { try reader.read($0) { _ in } } }
    }

    @Test func commandsAreFormatted() throws {
        let command = RESPWriter.command([Array("SET".utf8), [], [0, 13, 10]], ByteBufferAllocator())
        #expect(
            command.map { Array($0.readableBytesView) } == Array("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$3\r\n\0\r\n\r\n".utf8)
        )
        #expect(RESPWriter.command([[]], ByteBufferAllocator()).map { $0.readableBytes } == 10)
    }

    @Test func entriesAnyoneMayPublishAreReadOrNot() {
        var generator = SeededGenerator(seed: 3)
        var register = BreakerRegister()
        register.leases = [BreakerLease(token: 1, host: "a", incarnation: .max, expiresAt: 5, span: 6)]
        let override = LedgerCodec.text(of: BreakerOverride())
        let fields = ["db", LedgerCodec.text(of: register), override, "a\u{1e}b", "", "2", "7"]
        let good = Array(fields.joined(separator: "\u{1f}").utf8)
        #expect(LedgerCodec.entry(good)?.register == register)
        #expect(LedgerCodec.entry(good)?.tripped == ["a", "b"])
        for _ in 0..<20_000 {
            var bytes = good
            let place = Int(generator.next() % UInt64(bytes.count))
            switch generator.next() % 3 {
            case 0: bytes[place] = UInt8(truncatingIfNeeded: generator.next())
            case 1: bytes.removeSubrange(place...)
            default: bytes.insert(contentsOf: Array("9223372036854775807".utf8), at: place)
            }
            guard let entry = LedgerCodec.entry(bytes) else { continue }
            // Nothing that is read can make sums overflow.
            _ = entry.register.rebuilt(at: 1 << 52).remaining(at: 0)
        }
    }

    @Test func theSlotIsThatOfTheSpecification() {
        #expect(HashSlot.of(tag: "123456789") == 0x31C3 & 16_383)
        #expect(HashSlot.of(tag: "foo") == 12_182)
    }

    @Test func addressesAreSplitAtTheLastColon() {
        #expect(RedisAddress("redis-0:6379") == RedisAddress(host: "redis-0", port: 6_379))
        #expect(RedisAddress("::1:6379") == RedisAddress(host: "::1", port: 6_379))
        #expect(RedisAddress("[::1]:6379") == RedisAddress(host: "::1", port: 6_379))
        #expect(RedisAddress(":6379", fallback: "h") == RedisAddress(host: "h", port: 6_379))
        for text in ["", ":", "host", ":6379", "host:0", "host:65536", "host:x", "a b:1"] {
            #expect(RedisAddress(text) == nil, "\(text)")
        }
    }

    @Test func theHashIsThatOfTheText() {
        #expect(ScriptHash.of("abc") == "a9993e364706816aba3e25717850c26c9cd0d89d")
    }
}
