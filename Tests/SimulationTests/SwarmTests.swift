import Simulation
import SupervisorCore
import Testing

/// The swarm, a hundred seeds of it: `eider-sim --seeds 2000` runs the rest.
struct SwarmTests {
    @Test func `whatever goes wrong, the rules hold and the fleet comes to rest`() async {
        let campaigns = await withTaskGroup(of: Campaign.self) { group in
            for worker in 0..<2 {
                group.addTask {
                    var campaign = Campaign()
                    for seed in stride(from: UInt64(worker), to: 100, by: 2) {
                        campaign.add(Campaign.run(seed: seed, hours: 0.5))
                    }
                    return campaign
                }
            }
            var all: [Campaign] = []
            for await campaign in group { all.append(campaign) }
            return all
        }
        var total = Campaign()
        for campaign in campaigns { total.add(campaign) }
        for failure in total.failures {
            Issue.record("seed \(failure.seed): \(failure.failure ?? ""); eider-sim --seed \(failure.seed) --hours 0.5")
        }
        #expect(total.seeds == 100)
        #expect(total.failureCount == 0)
        // Most of what two thousand seeds must meet, a hundred meet too.
        #expect(total.tally.missing.count < 20, "\(total.tally.missing)")
    }

    @Test(arguments: [3, 14, 37] as [UInt64])
    func `a seed is the same run each time, with a journal or without`(seed: UInt64) {
        let first = Campaign.run(seed: seed, hours: 0.5)
        let second = Campaign.run(seed: seed, hours: 0.5, writesJournal: true)
        #expect(first.digest == second.digest)
        #expect(first.tally == second.tally)
        #expect(first.journal.isEmpty && !second.journal.isEmpty)
    }

    @Test func `other seeds are other runs`() {
        let digests = (UInt64(0)..<8).map { Campaign.run(seed: $0, hours: 0.2).digest }
        #expect(Set(digests).count == digests.count)
    }

    @Test func `a campaign is the sum of its seeds, in whatever order`() {
        let results = (UInt64(0)..<4).map { Campaign.run(seed: $0, hours: 0.1) }
        var forward = Campaign()
        for result in results { forward.add(result) }
        var left = Campaign()
        var right = Campaign()
        for (position, result) in results.enumerated().reversed() {
            if position % 2 == 0 { left.add(result) } else { right.add(result) }
        }
        right.add(left)
        #expect(forward.digest == right.digest)
        #expect(forward.tally == right.tally)
        #expect(forward.seeds == right.seeds)
    }

    @Test func `a run of many seeds that never met something has failed, and says what`() {
        var campaign = Campaign()
        for seed in 0..<Campaign.enoughSeeds {
            campaign.add(SeedResult(seed: seed, tally: Tally(), digest: seed, failure: nil))
        }
        #expect(!campaign.hasPassed)
        #expect(campaign.missing.contains { $0.contains("I5 hold began") })
        #expect(campaign.missing.contains { $0.contains("ready to running") })
        let lines = Report(campaign, seconds: 1).lines
        #expect(lines.allSatisfy { $0.count <= 80 })
    }

    @Test func `a failure is told with its seed and how to see it again`() {
        var campaign = Campaign()
        campaign.add(SeedResult(seed: 42, tally: Tally(), digest: 1, failure: "P1: two of them"))
        #expect(!campaign.hasPassed)
        let text = Report(campaign, seconds: 1).lines.joined(separator: "\n")
        #expect(text.contains("P1: two of them") && text.contains("eider-sim --seed 42"))
    }
}
