import FoundationEssentials
import Simulation
import Testing

@testable import SupervisorCore

/// Random walks over small fleets. A failure names its seed; `EIDER_SEED=N swift test --filter RandomWalk` repeats it
/// with a journal. `EIDER_SEEDS=N` walks more seeds, `EIDER_EVENTS=N` longer.
struct RandomWalkTests {
    private static func number(_ name: String) -> UInt64? {
        ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
    }

    private struct Failure: Sendable {
        var seed: UInt64
        var text: String
    }

    @Test func `whatever happens, and whenever the daemon dies, the rules hold and the fleet comes to rest`() async {
        let events = Int(Self.number("EIDER_EVENTS") ?? 300)
        if let seed = Self.number("EIDER_SEED") {
            Self.replay(seed, events)
            return
        }
        let seeds = Self.number("EIDER_SEEDS") ?? 1_500
        let workers: UInt64 = 4
        var coverage = Coverage()
        var failures: [Failure] = []
        await withTaskGroup(of: (Coverage, [Failure]).self) { group in
            for worker in 0..<workers {
                group.addTask { Self.walk(stride(from: worker, to: seeds, by: Int(workers)), events) }
            }
            for await (covered, failed) in group {
                coverage.add(covered)
                failures += failed
            }
        }
        failures.sort { $0.seed < $1.seed }
        if failures.isEmpty, seeds >= 1_000 { Self.checkCoverage(coverage) }
        for failure in failures.prefix(5) {
            let replay = "EIDER_SEED=\(failure.seed) swift test --filter RandomWalk"
            Issue.record("seed \(failure.seed): \(failure.text)\nreplay: \(replay)")
        }
        #expect(failures.count == 0, "\(failures.count) of \(seeds) walks failed")
    }

    private static func walk(_ seeds: StrideTo<UInt64>, _ events: Int) -> (Coverage, [Failure]) {
        var coverage = Coverage()
        var failures: [Failure] = []
        for seed in seeds {
            var walk = Walk(seed: seed)
            do {
                try walk.run(events: events)
            } catch {
                failures.append(Failure(seed: seed, text: "\(error)"))
                if failures.count >= 5 { break }
            }
            coverage.add(walk.world.coverage)
        }
        return (coverage, failures)
    }

    private static func replay(_ seed: UInt64, _ events: Int) {
        var walk = Walk(seed: seed, writesJournal: true)
        do {
            try walk.run(events: events)
        } catch {
            let last = walk.journal.suffix(60).joined(separator: "\n")
            let notes = walk.world.notes.suffix(40).joined(separator: "\n")
            Issue.record("seed \(seed): \(error)\n\(last)\nnotes:\n\(notes)\neffects: \(walk.world.effects)")
        }
    }

    /// Refuses to pass when a state never met an event that it should have met.
    private static func checkCoverage(_ coverage: Coverage) {
        var missing: [String] = []
        for event in EventKind.allCases {
            for state in Coverage.expected(event).sorted() where coverage.count(state, event) == 0 {
                missing.append("\(state) never met \(event)")
            }
        }
        #expect(missing.isEmpty, "\(missing.joined(separator: "\n"))")
    }
}
