import SupervisorCore
import Testing

@testable import FleetConfig

/// No input may crash the loader, and what it says about one must be well-formed. Seeds are fixed: a failure repeats.
@Suite struct FuzzTests {
    /// SplitMix64 (Steele, Lea, Flood 2014).
    struct Generator: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }

    /// Pieces that mean something to a TOML parser or to this one.
    static let pieces = [
        "[", "]", "[[", "]]", "{", "}", "\"", "'", "\"\"\"", "'''", "=", ".", ",", "#", "\n", "\r\n", "\\", "\\u0000",
        "\\U0010FFFF", "{port}", "{{", "}}", "-", "+", "_", "inf", "nan", "0x", "1e999", "9223372036854775807",
        "99999999999999999999", "1979-05-27T07:32:00Z", "true", "services", "[services.a]", "after = [\"auth\"]",
        "\u{FEFF}", "é", "\u{2028}", "\0", "port_base = 65535", "replicas = 10000", "a.b.c.d = 1",
    ]

    @Test(arguments: 0..<8)
    func mutations(seed: Int) {
        var generator = Generator(state: UInt64(seed) &+ 1)
        let source = Array(ConfigurationTests.contract.utf8)
        var total = 0
        while total < 400_000 {
            var bytes = source
            for _ in 0..<Int.random(in: 1...6, using: &generator) { mutate(&bytes, &generator) }
            total += bytes.count
            check(bytes)
        }
    }

    private func mutate(_ bytes: inout [UInt8], _ generator: inout Generator) {
        let position = Int.random(in: 0...bytes.count, using: &generator)
        let end = min(bytes.count, position + Int.random(in: 0...40, using: &generator))
        switch Int.random(in: 0..<6, using: &generator) {
        case 0: bytes.removeSubrange(position..<end)
        case 1: bytes.insert(contentsOf: bytes[position..<end], at: Int.random(in: 0...bytes.count, using: &generator))
        case 2: if position < bytes.count { bytes[position] = UInt8.random(in: 0...255, using: &generator) }
        case 3: bytes.removeSubrange(position...)
        case 4: if position < bytes.count { bytes[position] ^= 1 << UInt8.random(in: 0...7, using: &generator) }
        default:
            let piece = Self.pieces.randomElement(using: &generator) ?? ""
            bytes.replaceSubrange(position..<min(end, position + 8), with: Array(piece.utf8))
        }
    }

    @Test(arguments: 0..<4)
    func piecesAtRandom(seed: Int) {
        var generator = Generator(state: UInt64(seed) &+ 100)
        var total = 0
        while total < 100_000 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...60, using: &generator) {
                bytes += Array((Self.pieces.randomElement(using: &generator) ?? "").utf8)
            }
            total += bytes.count
            check(bytes)
        }
    }

    @Test(arguments: 0..<4)
    func bytesAtRandom(seed: Int) {
        var generator = Generator(state: UInt64(seed) &+ 200)
        var total = 0
        while total < 100_000 {
            let count = Int.random(in: 0...400, using: &generator)
            // Half of the inputs keep to ASCII, so that they come further than the check of the encoding.
            let range: ClosedRange<UInt8> = Bool.random(using: &generator) ? 9...126 : 0...255
            let bytes = (0..<count).map { _ in UInt8.random(in: range, using: &generator) }
            total += count
            check(bytes)
            _ = try? EnvironmentFile.parse(bytes)
            _ = Placeholders.expand(String(decoding: bytes, as: UTF8.self), service: "", index: 0, node: "", port: 1)
        }
    }

    static let hostile: [String] = [
        String(repeating: "[", count: 1_000_000), String(repeating: "a.", count: 500_000) + "a = 1",
        "a = " + String(repeating: "{a=", count: 300_000), "a = [" + String(repeating: "1,", count: 1_000_000) + "]",
        "a = \"\"\"" + String(repeating: "\\", count: 1_000_001), String(repeating: "a", count: 3_000_000) + " = 1",
        "[" + String(repeating: "a.", count: 500_000) + "a]", "a = " + String(repeating: "9", count: 1_000_000),
        "[services.a]\ncommand = [\"/" + String(repeating: "{", count: 2_000_000) + "\"]",
        String(repeating: "[[a]]\n", count: 200_000), "a = " + String(repeating: "[", count: 100_000),
        String(repeating: "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a = {", count: 30_000),
        (0..<300_000).map { "k\($0)=1\n" }.joined(), "a = \"" + String(repeating: "\\t", count: 1_000_000) + "\"",
        "a = '''" + String(repeating: "\n''", count: 1_000_000), "a = 1." + String(repeating: "0", count: 1_000_000),
        "a = { " + (0..<200_000).map { "k\($0)=1" }.joined(separator: ",") + " }",
        "# " + String(repeating: "é", count: 1_000_000) + "\u{1}",
    ]

    @Test(arguments: 0..<hostile.count)
    func hostileSizes(number: Int) {
        check(Array(Self.hostile[number].utf8))
    }

    @Test func longChainsAndCirclesOfServices() {
        let count = 20_000
        let chain = (0..<count).map { "[services.s\($0)]\ncommand=[\"/s\"]\nafter=[\"s\($0 + 1)\"]\n" }.joined()
        check(Array((chain + "[services.s\(count)]\ncommand=[\"/s\"]\n").utf8))
        check(Array((chain + "[services.s\(count)]\ncommand=[\"/s\"]\nafter=[\"s0\"]\n").utf8))
    }

    private func check(_ bytes: [UInt8]) {
        var host = FakeHost()
        host.files[main] = bytes
        switch ConfigurationLoader.load(path: main, keepingProvenance: true, host: host) {
        case .success(let configuration):
            #expect(configuration.spec.services.allSatisfy { $0.command.first?.hasPrefix("/") == true })
            _ = configuration.verboseListing()
        case .failure(let errors):
            #expect(!errors.diagnostics.isEmpty)
            let lines = 1 + bytes.count { $0 == UInt8(ascii: "\n") }
            for diagnostic in errors.diagnostics.prefix(20) {
                #expect(!diagnostic.description.contains("\n"))
                #expect((1...lines).contains(diagnostic.line ?? 1))
                #expect((1...bytes.count + 1).contains(diagnostic.column ?? 1))
            }
        }
    }
}
