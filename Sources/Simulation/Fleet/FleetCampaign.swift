/// What became of one fleet.
package struct FleetResult: Sendable {
    package var seed: UInt64
    package var tally: FleetTally
    package var digest: UInt64
    /// nil: every rule held, and the fleet came to rest.
    package var failure: String?
    package var journal: [String]
}

/// What became of many fleets. The order in which they are added is no matter.
package struct FleetCampaign: Sendable {
    /// From this many seeds on, a run in which something was met too seldom has failed.
    package static let enoughSeeds: UInt64 = 400
    /// Of a hundred runs, those in which each mark must have been met.
    package static let leastShare: UInt64 = 5
    package static let minutes = 10.0

    package private(set) var seeds: UInt64 = 0
    package private(set) var tally = FleetTally()
    package private(set) var digest: UInt64 = 0
    /// By seed, the least first; of many only the first few.
    package private(set) var failures: [FleetResult] = []
    package private(set) var failureCount = 0

    package init() {}

    package mutating func add(_ result: FleetResult) {
        seeds += 1
        tally.add(result.tally, isOneRun: true)
        digest &+= (result.digest ^ result.seed) &* 0x9E37_79B9_7F4A_7C15
        guard result.failure != nil else { return }
        failureCount += 1
        failures.append(result)
        failures.sort { $0.seed < $1.seed }
        if failures.count > 12 { failures.removeLast() }
    }

    package mutating func add(_ other: FleetCampaign) {
        seeds += other.seeds
        tally.add(other.tally, isOneRun: false)
        digest &+= other.digest
        failureCount += other.failureCount
        failures = Array((failures + other.failures).sorted { $0.seed < $1.seed }.prefix(12))
    }

    /// What was met too seldom; nothing of a run that is too small to tell.
    package var missing: [String] {
        if seeds < Self.enoughSeeds { return [] }
        return FleetMark.allCases.compactMap { mark in
            // Hosts do not ask for probes of what is forced open: only one that has not heard of it yet does.
            if mark == .deniedForced { return tally.runs(with: mark) == 0 ? "never met: \(mark.name)" : nil }
            let runs = tally.runs(with: mark)
            return runs * 100 < seeds * Self.leastShare ? "met in \(runs) of \(seeds) runs only: \(mark.name)" : nil
        }
    }

    package var hasPassed: Bool { failureCount == 0 && missing.isEmpty }

    /// Runs one seed of the swarm.
    package static func run(
        seed: UInt64,
        minutes: Double = minutes,
        planted: PlantedFault? = nil,
        writesJournal: Bool = false
    ) -> FleetResult {
        var world = FleetWorld(seed: seed, minutes: minutes, planted: planted, writesJournal: writesJournal)
        var failure: String?
        do {
            try world.run()
        } catch {
            failure = "\(error)"
        }
        return FleetResult(
            seed: seed,
            tally: world.tally,
            digest: world.digest.value,
            failure: failure,
            journal: world.journal
        )
    }

    /// The table, in 80 columns.
    package func lines(seconds: Double) -> [String] {
        var lines = [
            "seeds \(seeds), simulated hours \(tally.time / 3_600_000_000_000), events \(tally.events), "
                + "operations \(tally.operations)",
            "starts \(tally.starts), hours per minute \(Int64(Double(tally.time) / 6e10 / max(0.001, seconds)))", "",
        ]
        for mark in FleetMark.allCases {
            let share = seeds == 0 ? 0 : tally.runs(with: mark) * 100 / seeds
            let name = mark.name + String(repeating: " ", count: max(1, 22 - mark.name.count))
            lines.append("\(name) in \(share) % of the runs, \(tally[mark]) times")
        }
        lines += missing
        for failure in failures { lines.append("seed \(failure.seed) failed: \(failure.failure ?? "")") }
        if failureCount > 0 { lines.append("\(failureCount) of \(seeds) seeds failed") }
        return lines
    }
}
