import Simulation
import Synchronization

/// Fleets with shared breakers, one seed or many.
final class FleetRun: Sendable {
    private let arguments: Arguments
    private let began = ContinuousClock().now
    private let next = Atomic<UInt64>(0)
    private let total = Mutex(FleetCampaign())

    init(_ arguments: Arguments) { self.arguments = arguments }

    /// Wall time since the beginning.
    private var seconds: Double {
        let time = began.duration(to: ContinuousClock().now).components
        return Double(time.seconds) + Double(time.attoseconds) / 1e18
    }

    /// Whether every rule held.
    func run() async -> Bool {
        if let seed = arguments.only { return runOne(seed) }
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<arguments.jobs { group.addTask { self.work() } }
        }
        let campaign = total.withLock { $0 }
        if !arguments.quiet { for line in campaign.lines(seconds: seconds) { print(line) } }
        if let first = campaign.failures.first { print("again: eider-sim fleet --seed \(first.seed) --verbose") }
        for text in arguments.quiet ? campaign.missing : [] { print(text) }
        print(campaign.hasPassed ? "every rule held in \(campaign.seeds) fleets" : "failed")
        return campaign.hasPassed
    }

    private func work() {
        while arguments.until.map({ seconds < $0 }) ?? true {
            let seed = next.wrappingAdd(1, ordering: .relaxed).oldValue
            if seed >= arguments.seeds { return }
            let result = FleetCampaign.run(seed: seed)
            total.withLock { $0.add(result) }
        }
    }

    private func runOne(_ seed: UInt64) -> Bool {
        let result = FleetCampaign.run(seed: seed, writesJournal: true)
        for line in arguments.verbose ? result.journal[...] : result.journal.suffix(result.failure == nil ? 0 : 40) {
            print(line)
        }
        print("fleet \(seed): \(result.tally.events) events, digest \(String(result.digest, radix: 16))")
        print(result.failure.map { "failed: \($0)" } ?? "every rule held, and the fleet came to rest")
        if result.failure != nil { print("again: eider-sim fleet --seed \(seed) --verbose") }
        return result.failure == nil
    }
}
