/// What became of one seed.
package struct SeedResult: Sendable {
    package var seed: UInt64
    package var tally: Tally
    package var digest: UInt64
    /// nil: every rule held, and the fleet came to rest.
    package var failure: String?
    package var journal: [String] = []

    package init(seed: UInt64, tally: Tally, digest: UInt64, failure: String?, journal: [String] = []) {
        self.seed = seed
        self.tally = tally
        self.digest = digest
        self.failure = failure
        self.journal = journal
    }
}

/// What became of many seeds. The order in which they are added is no matter.
package struct Campaign: Sendable {
    /// From this many seeds on, a run in which something was never met has failed. Fewer leave too much to chance.
    package static let enoughSeeds: UInt64 = 1_000

    package private(set) var seeds: UInt64 = 0
    package private(set) var tally = Tally()
    /// Over all seeds.
    package private(set) var digest: UInt64 = 0
    /// By seed, the least first; of many only the first few.
    package private(set) var failures: [SeedResult] = []
    package private(set) var failureCount = 0

    package init() {}

    package mutating func add(_ result: SeedResult) {
        seeds += 1
        tally.add(result.tally)
        digest &+= (result.digest ^ result.seed) &* 0x9E37_79B9_7F4A_7C15
        guard result.failure != nil else { return }
        failureCount += 1
        failures.append(result)
        failures.sort { $0.seed < $1.seed }
        if failures.count > 5 { failures.removeLast() }
    }

    package mutating func add(_ other: Campaign) {
        seeds += other.seeds
        tally.add(other.tally)
        digest &+= other.digest
        failureCount += other.failureCount
        failures = Array((failures + other.failures).sorted { $0.seed < $1.seed }.prefix(5))
    }

    /// What was never met and should have been; nothing of a run that is too small to tell.
    package var missing: [String] { seeds >= Self.enoughSeeds ? tally.missing : [] }

    package var hasPassed: Bool { failureCount == 0 && missing.isEmpty }

    /// Runs one seed of the swarm.
    package static func run(seed: UInt64, hours: Double, writesJournal: Bool = false) -> SeedResult {
        var host = Host(seed: seed, hours: hours, writesJournal: writesJournal)
        var failure: String?
        do {
            try host.run()
        } catch {
            failure = "\(error)"
        }
        var tally = host.checker.tally
        tally.time = host.now - host.startedAt
        return SeedResult(
            seed: seed,
            tally: tally,
            digest: host.digest.value,
            failure: failure,
            journal: host.journal
        )
    }
}
