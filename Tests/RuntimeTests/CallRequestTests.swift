import LinuxPlatform
import SupervisorCore
import Testing

@testable import SupervisorRuntime

/// Lines of the breaker socket, and answers to them.
@Suite struct CallRequestTests {
    private typealias Fault = CallRequest.Fault

    private func parse(_ text: String) -> CallRequest {
        Array(text.utf8).withUnsafeBytes { CallRequest.parse($0, 0..<$0.count) }
    }

    @Test func questionsAreRead() {
        #expect(parse("ALLOW db") == .allow(name: 6..<8))
        #expect(parse("ALLOW " + String(repeating: "x", count: 128)) == .allow(name: 6..<134))
    }

    @Test(arguments: [("ok", CallOutcome.ok), ("failed", .failed), ("slow", .slow), ("ignored", .ignored)])
    func reportsAreRead(word: String, outcome: CallOutcome) {
        #expect(parse("REPORT db 7 \(word) 1500") == .report(name: 7..<9, pass: 7, outcome, microseconds: 1_500))
    }

    @Test func numbersHaveBounds() {
        let most = CallRequest.Limits.microseconds
        #expect(
            parse("REPORT db 18446744073709551615 ok 9223372036854775807")
                == .report(name: 7..<9, pass: .max, .ok, microseconds: most)
        )
        #expect(parse("REPORT db 18446744073709551616 ok 1") == .malformed(.pass))
        #expect(parse("REPORT db 1 ok 9223372036854775808") == .malformed(.duration))
    }

    @Test(arguments: [
        ("", Fault.verb), (" ", .verb), ("allow db", .verb), ("ALLOWdb", .verb), ("\0", .verb), ("ALLOW", .allowFields),
        ("ALLOW ", .allowFields), ("ALLOW  db", .allowFields), ("ALLOW db ", .allowFields),
        ("ALLOW db x", .allowFields),
        ("ALLOW d\tb", .name), ("ALLOW db\r", .name), ("ALLOW \u{7F}", .name), ("ALLOW service:a@1", .serviceName),
        ("REPORT db 1 ok", .reportFields), ("REPORT db 1 ok 1 1", .reportFields), ("REPORT db 1 ok 1 ", .reportFields),
        ("REPORT db  1 ok", .reportFields), ("REPORT db -1 ok 1", .pass), ("REPORT db +1 ok 1", .pass),
        ("REPORT db 0x1 ok 1", .pass), ("REPORT db 1 OK 1", .outcome), ("REPORT db 1 okay 1", .outcome),
        ("REPORT db 1 ok -1", .duration), ("REPORT db 1 ok 1.5", .duration), ("REPORT service: 1 ok 1", .serviceName),
    ])
    func otherLinesAreRefused(line: String, fault: CallRequest.Fault) {
        #expect(parse(line) == .malformed(fault))
    }

    @Test func aNameThatIsTooLongIsRefused() {
        #expect(parse("ALLOW " + String(repeating: "x", count: 129)) == .malformed(.name))
    }

    @Test(arguments: [
        ("", [String]()), ("\n", [""]), ("a", ["a"]), ("a\n", ["a"]), ("a\nb", ["a", "b"]),
        ("a\n\nb\n", ["a", "", "b"]),
    ])
    func linesAreSplit(text: String, lines: [String]) {
        let bytes = Array(text.utf8)
        let found = bytes.withUnsafeBytes { raw in
            CallLines(raw).map { String(decoding: raw[$0], as: UTF8.self) }
        }
        #expect(found == lines)
    }

    @Test func answersAreOneLineEach() {
        var reply = CallReply()
        reply.append(.allowed(generation: 0))
        reply.append(.allowed(generation: .max))
        reply.append(.probe(token: 10))
        reply.append(.denied(retryAfterMilliseconds: 4_980, reason: "open"))
        reply.append(nil)
        let text = String(decoding: reply.bytes, as: UTF8.self)
        #expect(text == "ok 0\nok 18446744073709551615\nprobe 10\ndeny 4980 open\nok 0\n")
        reply.clear()
        #expect(reply.isEmpty)
        for fault in CallRequest.Fault.allCases {
            reply.append(fault)
            #expect(fault.rawValue.utf8.count < 160 && !fault.rawValue.contains("\n"))
        }
    }

    @Test(arguments: ["db", "payments-api.internal:443", "größe", "a/b?c=d"])
    func namesAreKept(name: String) {
        var names = CallNames()
        for _ in 0..<3 { #expect(Array(name.utf8).withUnsafeBytes { names.name($0) } == name) }
    }

    @Test(arguments: [[0xFF], [0xC3], [0x61, 0xE2, 0x80, 0xAE], [0xC2, 0x9B], [0xC2, 0xA0], []] as [[UInt8]])
    func whatCannotBeShownIsNoName(bytes: [UInt8]) {
        var names = CallNames()
        #expect(bytes.withUnsafeBytes { names.name($0) } == nil)
    }

    /// Ten million hostile bytes: no crash, and what is read keeps its bounds.
    @Test(.timeLimit(.minutes(3))) func hostilePackets() {
        var generator = SeededGenerator(seed: 20_261_126)
        let words = [
            "ALLOW", "REPORT", " ", " ", " ", "\n", "\n", "db", "service:", "1", "18446744073709551615", "ok", "failed",
            "slow", "ignored", "-1", "\0", "\u{202E}", "€", "ALLOW db\n", "REPORT db 1 ok 1\n",
        ].map { Array($0.utf8) }
        var names = CallNames()
        var reply = CallReply()
        var total = 0
        var read = 0
        while total < 10_000_000 {
            var packet: [UInt8] = []
            let length = Int(generator.unit() * 2_000)
            let isNoise = generator.unit() < 0.2
            while packet.count < length {
                if isNoise {
                    packet.append(UInt8(truncatingIfNeeded: generator.next()))
                } else {
                    packet += words[Int(generator.unit() * Double(words.count))]
                }
            }
            if !packet.isEmpty, generator.unit() < 0.3 {
                packet[Int(generator.unit() * Double(packet.count))] ^= 1 << UInt8(generator.unit() * 8)
            }
            total += packet.count + 1
            reply.clear()
            packet.withUnsafeBytes { bytes in
                for range in CallLines(bytes) {
                    switch CallRequest.parse(bytes, range) {
                    case .allow(let name), .report(let name, _, _, _):
                        read += 1
                        #expect(name.lowerBound >= range.lowerBound && name.upperBound <= range.upperBound)
                        let text = names.name(UnsafeRawBufferPointer(rebasing: bytes[name]))
                        #expect(text.map { DependencyName.isValid($0) } ?? true)
                    case .malformed(let fault): reply.append(fault)
                    }
                }
            }
        }
        #expect(read > 1_000)
    }
}
