/// Circuit breakers for people.
struct BreakerRenderer {
    var width = 80
    var style = Style(colours: false)

    /// All of them, a line each.
    func list(_ answer: BreakersAnswer) -> String {
        var text = "store \(answer.store)" + (answer.liveHosts.map { ", \($0) host\($0 == 1 ? "" : "s") live" } ?? "")
        text += "\n"
        if let problem = answer.storeProblem {
            let lines = Columns.wrap("not shared: \(Columns.printable(problem))", width - 2)
            text += lines.joined(separator: "\n  ") + "\n"
        }
        if answer.breakers.isEmpty { return text + "no breakers\n" }
        var table = Table(
            [.init("BREAKER", limit: 40), .init("STATE"), .init("SINCE", limit: 20), .init("NOTE", limit: width)],
            stateColumn: 1
        )
        for breaker in answer.breakers {
            table.add([breaker.name, breaker.state, TimeText.whole(breaker.since), note(breaker)])
        }
        return text + "\n" + table.render(width: width, style)
    }

    private func note(_ breaker: BreakersAnswer.Breaker) -> String {
        var parts: [String] = []
        if let holder = breaker.probeHolder { parts.append("probe on \(holder)") }
        if let retry = breaker.retryInSeconds {
            parts.append(retry > 0 ? "probe in \(TimeText.brief(retry))" : "probe due")
        }
        if breaker.scope == "host" { parts.append("this host alone") }
        if let reason = breaker.reason { parts.append(reason) }
        return parts.joined(separator: "; ")
    }

    /// One, with all its facts.
    func card(_ breaker: BreakersAnswer.Breaker) -> String {
        var card = Card(width: width, style: style)
        card.row("breaker", breaker.name)
        card.row("state", breaker.state + (breaker.scope == "host" ? " (on this host alone)" : ""))
        card.row("since", TimeText.whole(breaker.since))
        card.row("why", breaker.reason)
        card.row("by", breaker.openedBy)
        card.row("probe", breaker.probeHolder.map { "is made by \($0)" })
        card.row("probe", breaker.retryInSeconds.map { $0 > 0 ? "in \(TimeText.brief($0))" : "is due" })
        card.row("openings", breaker.openings.map { "\($0) since it was last closed for long" })
        if let votes = breaker.votes, let quorum = breaker.quorum {
            let voters = (breaker.voters ?? []).joined(separator: ", ")
            card.row("votes", "\(votes), \(quorum) open it" + (voters.isEmpty ? "" : ": \(voters)"))
        }
        card.row("suspects", breaker.suspects.map { $0.joined(separator: ", ") })
        if breaker.kind == "service" {
            card.row("crashes", breaker.crashes.map { "\($0) on this host within the window" })
        } else {
            card.row("calls", breaker.calls.map { calls($0, breaker) })
        }
        card.row("held back", breaker.notPermitted.map { "\($0) since the daemon began" })
        return card.text
    }

    private func calls(_ count: Int, _ breaker: BreakersAnswer.Breaker) -> String {
        guard let failures = breaker.failureRate, let slow = breaker.slowCallRate else {
            return "\(count) within the window: too few to judge"
        }
        return "\(count) within the window, \(percent(failures)) failed, \(percent(slow)) slow"
    }

    private func percent(_ rate: Double) -> String { "\(Int(rate.rounded())) %" }
}
