import Glibc
import SupervisorCore
import Synchronization
import Testing

@testable import Prober

func monotonicNow() -> MonotonicInstant {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return MonotonicInstant(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
}

struct Overdue: Error, CustomStringConvertible {
    var description: String
}

/// Looks again and again until something is there.
func eventually<Value>(
    _ what: String,
    within limit: Duration = .seconds(20),
    _ look: () -> Value?
) async throws -> Value {
    let end = monotonicNow().advanced(by: limit)
    while true {
        if let value = look() { return value }
        if monotonicNow() > end { throw Overdue(description: "\(what) did not happen within \(limit.brief)") }
        try await Task.sleep(for: .milliseconds(2))
    }
}

/// Lets time pass in which something must not happen.
func pause(_ duration: Duration) async throws {
    try await Task.sleep(for: duration)
}

/// Holds the calling thread up, as a stalled host would.
func stall(_ duration: Duration) {
    usleep(UInt32(duration.clampedNanoseconds / 1000))
}

/// A prober and all that it has reported.
final class Asker: Sendable {
    private let reports: Log
    let prober: Prober

    private final class Log: Sendable {
        let all = Mutex<[ProbeReport]>([])
        let batches = Mutex<[Int]>([])
    }

    init(
        _ limits: ProberLimits = ProberLimits(),
        onDeliver: @escaping @Sendable ([ProbeReport]) -> Void = { _ in }
    ) {
        let log = Log()
        reports = log
        prober = Prober(limits: limits, clock: { monotonicNow() }) { batch in
            log.all.withLock { $0 += batch }
            log.batches.withLock { $0.append(batch.count) }
            onDeliver(batch)
        }
    }

    deinit { prober.stop() }

    var all: [ProbeReport] { reports.all.withLock { $0 } }
    var batches: [Int] { reports.batches.withLock { $0 } }

    static func key(_ index: Int = 0, _ kind: ProbeKind = .readiness) -> ProbeKey {
        ProbeKey(instance: InstanceID(service: "web", index: index), generation: Generation(1), kind: kind)
    }

    func reports(_ count: Int, within limit: Duration = .seconds(20)) async throws -> [ProbeReport] {
        try await eventually("report \(count)", within: limit) {
            let all = self.all
            return all.count >= count ? all : nil
        }
    }

    /// Asks once.
    static func ask(
        _ question: ProbeQuestion?,
        timeout: Duration = .seconds(10),
        limits: ProberLimits = ProberLimits()
    ) async throws -> ProbeReport {
        let asker = Asker(limits)
        let question = try #require(question)
        asker.prober.watch(key(), question, period: .seconds(3600), timeout: timeout, firstAt: monotonicNow())
        return try await asker.reports(1)[0]
    }

    static func outcome(
        _ question: ProbeQuestion?,
        timeout: Duration = .seconds(10),
        limits: ProberLimits = ProberLimits()
    ) async throws -> ProbeOutcome {
        try await ask(question, timeout: timeout, limits: limits).outcome
    }
}

extension ProbeOutcome {
    /// With what the other side said as part of the clause, as operators are told it.
    var inFull: ProbeOutcome {
        guard case .failure(let clause, let said) = self, !said.isEmpty else { return self }
        return .failure("\(clause): \(said)")
    }
}

/// What the kernel says about this process.
enum OwnProcess {
    static func names(in path: String) -> [String] {
        guard let folder = opendir(path) else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names
    }

    static var descriptors: Int { names(in: "/proc/self/fd").count }

    static func threads(named wanted: String) -> Int {
        names(in: "/proc/self/task").count { text(of: "/proc/self/task/\($0)/comm")?.hasPrefix(wanted) == true }
    }

    /// In bytes.
    static var residentMemory: Int {
        let pages = text(of: "/proc/self/statm")?.split(separator: " ").dropFirst().first.flatMap { Int($0) }
        return (pages ?? 0) * 4096
    }

    static func environment(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }
    }

    private static func text(of path: String) -> String? {
        let file = open(path, O_RDONLY)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = read(file, &bytes, bytes.count)
        return count < 0 ? nil : String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}

/// SplitMix64.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
