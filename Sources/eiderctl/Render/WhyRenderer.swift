/// `eiderctl why` for people.
struct WhyRenderer {
    let why: WhyAnswer
    var width = 80
    var style = Style(colours: false)

    func render() -> String {
        var card = Card(width: width, style: style)
        facts(why.facts, &card)
        for instance in why.instances {
            card.gap()
            facts(instance, &card)
        }
        if !why.events.isEmpty { card.gap() }
        for (index, event) in why.events.enumerated() {
            // Eight columns for the time and two between, after the label.
            let lines = Columns.wrap(Columns.printable(event.text), width - 21)
            for (part, line) in lines.enumerated() {
                let time = part == 0 ? TimeText.clock(event.at) : ""
                card.clipped(index == 0 && part == 0 ? "events" : "", "\(Columns.pad(time, 8))  \(line)")
            }
        }
        if !why.logs.isEmpty { card.gap() }
        for (index, line) in why.logs.enumerated() {
            let name = why.kind == "instance" ? "" : "\(line.instance) "
            card.clipped(index == 0 ? "logs" : "", "\(TimeText.clock(line.at))  \(name)\(line.text)")
        }
        return card.text
    }

    private func facts(_ facts: WhyAnswer.Facts, _ card: inout Card) {
        card.title(facts.target, facts.state, TimeText.span(facts.since, why.at))
        card.row("stopped", facts.stoppedBy)
        if facts.stoppedBy == nil { card.row("why", facts.reason) }
        card.row("process", facts.pid.map { "pid \($0), up \(facts.uptimeSeconds.map(TimeText.brief) ?? "?")" })
        if let exit = facts.lastExit {
            let crashes = facts.crashesInARow ?? 0
            let row = crashes > 1 ? "; crashes in a row: \(crashes)" : ""
            let text = exit.explanation ?? exit.text ?? exit.cause
            card.row(
                "last exit",
                "\(text), \(TimeText.span(exit.at, why.at)) ago (\(TimeText.whole(exit.at)), cause \(exit.cause))\(row)"
            )
        }
        card.row("it says", facts.statusText)
        if let drain = facts.drain {
            let name = drain.target == "node" ? "the node" : drain.target
            card.row("drain", "of \(name), by \(drain.by)" + (drain.reason.map { ": \($0)" } ?? ""))
            card.row("", drain.progress)
        }
        if let roll = facts.rolling {
            let by = roll.by.map { ", by \($0)" + (roll.reason.map { ": \($0)" } ?? "") } ?? ""
            card.row("rolling", "\(roll.replaced) of \(roll.total) replaced\(by)")
            card.row("", roll.text)
        }
        card.row("breaker", facts.breakerText.map { "\(facts.breaker ?? "") is \($0)" })
        card.row("in flight", facts.inFlightText)
        card.row("hold", facts.hold.map { "\($0): \(facts.holdReason ?? "")" })
        card.probes(facts.probes, at: why.at)
        card.suppressions(facts.suppressed, at: why.at)
        card.row("policy", facts.policy?.text)
        card.row("health", facts.policy?.health)
        if let next = facts.nextStart {
            let attempt = next.attempt.map { "attempt \($0) " } ?? ""
            card.row("next", "\(attempt)in \(TimeText.brief(next.inSeconds)) (\(TimeText.whole(next.at)))")
        }
        for (index, way) in (facts.unblock ?? []).enumerated() { card.row(index == 0 ? "unblock" : "", way) }
    }
}

extension DrainFacts {
    /// `notice, 1m 58s left; waits for load balancers, which have 2s to see it`
    var progress: String {
        phase + (secondsLeft.map { ", \(TimeText.brief($0)) left" } ?? "")
            + (waitsFor.map { "; waits for \($0)" } ?? "")
    }
}

extension Card {
    /// One row for each probe: what it found, and for how long.
    mutating func probes(_ probes: [ProbeAnswer]?, at now: String) {
        for (index, probe) in (probes ?? []).enumerated() {
            var text = "\(probe.kind) \(probe.state)"
            if let failures = probe.failuresInARow, let since = probe.failingSince {
                text += ", \(failures) failed in a row for \(TimeText.span(since, now)): \(probe.text ?? "")"
            }
            if let obstacle = probe.unknown { text += ", cannot be run: \(obstacle)" }
            row(index == 0 ? "probes" : "", text)
        }
    }

    /// One row for each thing that is not done, with the rule that keeps it from being done.
    mutating func suppressions(_ suppressions: [SuppressionAnswer]?, at now: String) {
        for (index, suppression) in (suppressions ?? []).enumerated() {
            row(index == 0 ? "not done" : "", "\(suppression.text), for \(TimeText.span(suppression.since, now))")
        }
    }
}
