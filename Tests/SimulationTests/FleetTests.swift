import Simulation
import Testing

/// Fleets with shared breakers: `eider-sim fleet --seeds 2000` runs the rest.
struct FleetTests {
    @Test func `a fleet is the same run each time, with a journal or without`() {
        let first = FleetCampaign.run(seed: 5, minutes: 4)
        let second = FleetCampaign.run(seed: 5, minutes: 4, writesJournal: true)
        #expect(first.digest == second.digest)
        #expect(first.tally == second.tally)
        #expect(first.journal.isEmpty && !second.journal.isEmpty)
    }

    @Test func `a run in which something was met too seldom has failed, and says what`() {
        var campaign = FleetCampaign()
        let result = FleetCampaign.run(seed: 1, minutes: 0.1)
        for _ in 0..<FleetCampaign.enoughSeeds { campaign.add(result) }
        #expect(!campaign.hasPassed)
        #expect(campaign.missing.contains { $0.contains("t7") })
    }

    /// A checker that does not see what is planted in the models is worth nothing: seeds that hold without it fail
    /// with it, by the rule that it breaks.
    @Test(arguments: [
        (PlantedFault.quorumIgnored, "S5"), (.openExpires, "S1"), (.probesUnlimited, "S"),
        (.connectResets, "S19"), (.openingKills, "S14"), (.breakersMixed, "S15"), (.roundsEndless, "L"),
        (.opensTwice, "S1"), (.syncTellsNothing, "L"), (.restoresLost, "L4"),
    ])
    func `what is planted is found`(planted: PlantedFault, rule: String) {
        let found = (UInt64(0)..<60).contains { seed in
            let failure = FleetCampaign.run(seed: seed, planted: planted).failure
            guard let failure, failure.contains(rule) else { return false }
            return FleetCampaign.run(seed: seed).failure == nil
        }
        #expect(found, "\(planted)")
    }
}
