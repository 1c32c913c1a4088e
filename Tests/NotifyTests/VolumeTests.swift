import Glibc
import SupervisorCore
import Testing

@testable import SupervisorRuntime

/// Numbers that a seed repeats (SplitMix64), and hostile datagrams made of them.
private struct DatagramFuzzer: RandomNumberGenerator {
    /// `EIDER_SEED` draws other input than usual.
    static let seed = getenv("EIDER_SEED").flatMap { UInt64(String(cString: $0)) } ?? 20_261_126

    private static let words = [
        "READY=1", "STOPPING=1", "RELOADING=1", "STATUS=", "WATCHDOG=", "WATCHDOG_USEC=", "MAINPID=", "ERRNO=",
        "EXTEND_TIMEOUT_USEC=", "X_EIDER_IN_FLIGHT=", "BARRIER=1", "MONOTONIC_USEC=", "\n", "\n", "=", "1", "-1", "\0",
        "18446744073709551615", "99999999999999999999", "trigger", "\u{202E}", "\u{1B}[31m", "€", "FDSTORE=1",
    ].map { Array($0.utf8) }

    private static let valid = [
        "READY=1\nSTATUS=Processing requests… 12\nMAINPID=4711", "WATCHDOG=1", "WATCHDOG=trigger",
        "EXTEND_TIMEOUT_USEC=5000000\nSTATUS=still at it\n", "RELOADING=1\nMONOTONIC_USEC=8273", "STOPPING=1\nERRNO=2",
        "X_EIDER_IN_FLIGHT=17\nWATCHDOG=1\nWATCHDOG_USEC=20000000\0",
    ].map { Array($0.utf8) }

    private var state = seed
    var total = 0
    private let began = residentBytes()

    init(_ name: String) {
        // A crash leaves no other trace.
        let line = Array("fuzz: \(name) with EIDER_SEED=\(Self.seed)\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
    }

    var place: Comment { "EIDER_SEED=\(Self.seed), after \(total) bytes" }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }

    mutating func number(below bound: Int) -> Int { Int(next() >> 33) % bound }

    /// Of any length up to somewhat more than is read.
    mutating func datagram() -> [UInt8] {
        let length = number(below: 8) == 0 ? number(below: 4300) : number(below: 600) + 1
        var bytes: [UInt8] = []
        bytes.reserveCapacity(length + 64)
        switch number(below: 4) {
        case 0:
            while bytes.count < length { for shift in [0, 8, 16, 24] { bytes.append(UInt8(next() >> shift & 0xFF)) } }
        case 1:
            while bytes.count < length { bytes += Self.words[number(below: Self.words.count)] }
        default:
            while bytes.count < length {
                bytes += Self.valid[number(below: Self.valid.count)]
                if number(below: 3) != 0 { bytes.append(UInt8(ascii: "\n")) }
            }
            for _ in 0..<number(below: 5) { bytes[number(below: bytes.count)] ^= 1 << UInt8(number(below: 8)) }
            // Cut off anywhere.
            if number(below: 3) == 0 { bytes.removeLast(number(below: bytes.count)) }
        }
        total += bytes.count
        return bytes
    }

    func checkGrowth() {
        let grown = Self.residentBytes() - began
        #expect(grown < 64 << 20, "EIDER_SEED=\(Self.seed): \(grown) bytes more are resident")
    }

    /// The second number of /proc/self/statm, in bytes.
    private static func residentBytes() -> Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var text = [CChar](repeating: 0, count: 256)
        guard fgets(&text, 256, file) != nil else { return 0 }
        let fields = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return fields.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 * Int(getpagesize()) } ?? 0
    }
}

/// Ten million hostile bytes: no crash, no hang, nothing kept, and what is read keeps its bounds.
@Suite("Ten million hostile bytes of notifications", .serialized, .timeLimit(.minutes(3)))
struct VolumeTests {
    private static let bytes = 10_000_000

    private func isWithinBounds(_ message: NotifyMessage) -> Bool {
        let status = message.status ?? ""
        return status.utf8.count <= NotifyMessage.Limits.statusBytes
            && !status.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x202E }
            && message.mainPid ?? 2 > 1 && (1...4095).contains(message.errno ?? 1)
            && message.watchdogUsec ?? 0 <= NotifyMessage.Limits.microseconds
            && message.extendTimeout ?? .zero <= .microseconds(Int64(NotifyMessage.Limits.microseconds))
            && message.inFlight ?? 0 <= NotifyMessage.Limits.inFlight
    }

    @Test func theParser() throws {
        var fuzzer = DatagramFuzzer("notify parser")
        var read = 0
        var refused = 0
        var folded = NotifyMessage()
        while fuzzer.total < Self.bytes {
            guard let message = NotifyMessage.parse(fuzzer.datagram()) else {
                refused += 1
                continue
            }
            read += 1
            folded.merge(message)
            try #require(isWithinBounds(message) && isWithinBounds(folded), fuzzer.place)
        }
        #expect(read > 1000 && refused > 1000)
        fuzzer.checkGrowth()
    }

    /// The same through a real socket, credentials and all.
    @Test func theIntake() throws {
        var fuzzer = DatagramFuzzer("notify intake")
        let sockets = try Sockets()
        var intake = NotifyIntake(descriptor: sockets.receiver)
        var now = MonotonicInstant(nanoseconds: 1_000_000_000)
        var sent = 0
        var received = 0
        var delivered = 0
        while fuzzer.total < Self.bytes {
            // The queue holds few (net.unix.max_dgram_qlen).
            for _ in 0..<fuzzer.number(below: 8) + 1 where sockets.send(fuzzer.datagram()) >= 0 { sent += 1 }
            now = now.advanced(by: .milliseconds(fuzzer.number(below: 30)))
            let outcome = intake.drain(budget: 64, now: now, admit: { _, _ in .main }) { pid, _, message in
                delivered += 1
                return pid == getpid() && isWithinBounds(message)
            }
            received += outcome.received
            try #require(outcome.errno == nil && !outcome.more, fuzzer.place)
        }
        // Every datagram is taken out, and one that was delivered was in order.
        #expect(received == sent && sockets.isEmpty, fuzzer.place)
        #expect(intake.dropped[.unknownSender] == nil, fuzzer.place)
        #expect(delivered > 1000)
        #expect(intake.dropped[.malformed] ?? 0 > 100 && intake.dropped[.oversize] ?? 0 > 10)
        fuzzer.checkGrowth()
    }
}
