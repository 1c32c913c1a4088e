/// The table of a campaign, in 80 columns.
package struct Report {
    private let campaign: Campaign
    /// Wall time, seconds.
    private let seconds: Double

    package init(_ campaign: Campaign, seconds: Double) {
        self.campaign = campaign
        self.seconds = max(seconds, 0.001)
    }

    package var lines: [String] { summary + [""] + states + [""] + rules + verdict }

    private var summary: [String] {
        let hours = Double(campaign.tally.time) / 3.6e12
        return [
            pair("seeds", "\(campaign.seeds)", "simulated hours", fixed(hours)),
            pair("events", "\(campaign.tally.events)", "hours per minute", fixed(hours / seconds * 60)),
            pair(
                "events per second",
                fixed(Double(campaign.tally.events) / seconds),
                "processes started",
                "\(campaign.tally.starts)"
            ),
            "digest                 \(hexadecimal(campaign.digest))",
        ]
    }

    /// From each state to each other that is documented to follow.
    private var states: [String] {
        var lines = ["from          to, with counts; taken over in it"]
        for from in StateKind.allCases {
            let successors = StateKind.allCases.filter { from.mayBecome($0) }
            var line = pad("\(from)", 10)
            var rest = successors.map { "\($0) \(campaign.tally.count(from: from, to: $0))" }
            rest.append("taken over \(campaign.tally.takeovers(from))")
            for (position, text) in rest.enumerated() {
                let piece = text + (position < rest.count - 1 ? "," : "")
                if line.count + 1 + piece.count > 80 {
                    lines.append(line)
                    line = pad("", 10)
                }
                line += " " + piece
            }
            lines.append(line)
        }
        return lines
    }

    private var rules: [String] {
        let cells = Exercise.allCases.map { pad($0.name, 29) + right("\(campaign.tally[$0])", 9) }
        let half = (cells.count + 1) / 2
        return (0..<half).map { row in
            row + half < cells.count ? cells[row] + "    " + cells[row + half] : cells[row]
        }
    }

    private var verdict: [String] {
        var lines = campaign.missing.isEmpty ? [] : [""] + campaign.missing
        for failure in campaign.failures {
            lines.append("")
            lines.append("seed \(failure.seed) failed: \(failure.failure ?? "")")
            lines.append("  again: eider-sim --seed \(failure.seed)")
        }
        if campaign.failureCount > 0 {
            lines.append("\(campaign.failureCount) of \(campaign.seeds) seeds failed")
        }
        return lines
    }

    // MARK: Text

    private func pair(_ left: String, _ leftValue: String, _ right: String, _ rightValue: String) -> String {
        pad(left, 22) + " " + pad(leftValue, 18) + " " + pad(right, 18) + " " + rightValue
    }

    private func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    private func right(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }

    private func fixed(_ number: Double) -> String { "\(Int64(number))" }

    private func hexadecimal(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
