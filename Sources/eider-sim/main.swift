import Simulation
var total = Tally()
let clock = ContinuousClock()
let begin = clock.now
let args = CommandLine.arguments.dropFirst().compactMap { UInt64($0) }
let from = args.first ?? 0, to = args.dropFirst().first ?? 20
var bad = 0
for seed in from..<to {
    let r = Campaign.run(seed: seed, hours: 1, writesJournal: args.count > 2)
    total.add(r.tally)
    if let f = r.failure { bad += 1; print(seed, f); if args.count > 2 { for l in r.journal { print(l) } } }
}
let t = begin.duration(to: clock.now)
print(bad, "failed", total.events, "events", Double(total.time) / 3.6e12, "hours", t)
print(total.missing.joined(separator: "\n"))
