/// What became of one seed.
package struct SeedResult: Sendable {
    package var seed: UInt64
    package var tally: Tally
    package var digest: UInt64
    /// nil: every rule held, and the fleet came to rest.
    package var failure: String?
    package var journal: [String] = []
}

/// Runs seeds of the swarm.
package enum Campaign {
    /// From this many seeds on, a run in which something was never met has failed.
    package static let enoughSeeds: UInt64 = 500

    package static func run(seed: UInt64, hours: Double, writesJournal: Bool = false) -> SeedResult {
        var host = Host(seed: seed, hours: hours, writesJournal: writesJournal)
        var failure: String?
        do {
            try host.run()
        } catch {
            failure = "\(error)"
        }
        return SeedResult(
            seed: seed,
            tally: host.checker.tally,
            digest: host.digest.value,
            failure: failure,
            journal: host.journal
        )
    }
}
