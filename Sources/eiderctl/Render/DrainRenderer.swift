/// A drain for people: a card, a few lines of progress, one line, or a plan.
struct DrainRenderer {
    /// Lines of each kind, in a progress.
    private static let most = 3

    private let drain: DrainAnswer
    private let width: Int
    private let style: Style

    init(_ drain: DrainAnswer, width: Int = 80, style: Style = Style(colours: false)) {
        self.drain = drain
        self.width = width
        self.style = style
    }

    private var name: String { drain.target == "node" ? "the node" : drain.target }

    /// `the node: notice, 112s left; waits for 127.0.0.1 (HAProxy): was told 503 1 of 3 times`
    func line() -> String {
        var text = "\(name): \(drain.phase ?? drain.state)"
        if let left = drain.secondsLeft { text += ", \(TimeText.brief(left)) left" }
        if let waits = drain.waitsFor { text += "; waits for \(waits)" }
        return Columns.printable(text)
    }

    /// At most eight lines.
    func progress() -> [String] {
        var lines = ["draining \(name): \(drain.phase ?? "")" + time()]
        if let waits = drain.waitsFor { lines.append("  waits for \(waits)") }
        let open = drain.probers.filter { !$0.acknowledged }
        lines += Self.few(open.map { "  still routes: \($0.who)  \($0.text)" }, "more that still route")
        let busy = drain.instances.filter { ($0.inFlight ?? 0) > 0 }
        if busy.isEmpty {
            let left = drain.instances.filter { !["drained", "stopped", "failed"].contains($0.state) }.count
            lines.append("  \(left) of \(drain.instances.count) instances left, nothing known to be in flight")
        } else {
            let texts = busy.map { "  in flight: \($0.name) \($0.inFlightText)" }
            lines += Self.few(texts, "more with something in flight")
        }
        return lines.map { Columns.clip(Columns.printable($0), width - 1) }
    }

    private func time() -> String {
        drain.secondsLeft.map { ", \(TimeText.brief($0)) until the deadline" } ?? ""
    }

    /// The first ones, and how many there are besides.
    private static func few(_ lines: [String], _ what: String) -> [String] {
        if lines.count <= most { return lines }
        return lines.prefix(most - 1) + ["  and \(lines.count - most + 1) \(what)"]
    }

    /// Everything.
    func card() -> String {
        if drain.state == "none" {
            let others = (drain.others ?? []).map { DrainRenderer($0, width: width, style: style).card() }
            return ([none] + others).joined(separator: "\n")
        }
        var rows: [(String, String)] = []
        rows.append(("phase", (drain.phase ?? "") + time()))
        rows.append(("by", (drain.by ?? "?") + (drain.reason.map { ": \($0)" } ?? "")))
        if let since = drain.since { rows.append(("since", TimeText.whole(since))) }
        if let deadline = drain.deadline { rows.append(("deadline", TimeText.whole(deadline))) }
        if let waits = drain.waitsFor { rows.append(("waits for", waits)) }
        if let arrival = drain.secondsSinceNewConnection {
            rows.append(("new connection", "\(TimeText.brief(arrival)) ago"))
        }
        if drain.deadlineReached {
            let names = drain.lost.map { lost in
                lost.name + (lost.inFlight.map { $0 > 0 ? " (\($0) in flight)" : "" } ?? "")
            }
            rows.append(("killed", "at the deadline: " + names.joined(separator: ", ")))
        }
        if drain.state == "drained" { rows.append(("way back", "eiderctl undrain" + (isNode ? "" : " \(name)"))) }
        var text = "\(style.bold(name))  \(style.state(drain.state))\n"
        for (title, value) in rows {
            let lines = Columns.wrap(Columns.printable(value), width - 18)
            text += "  \(Columns.pad(title, 15)) \(lines.joined(separator: "\n" + String(repeating: " ", count: 18)))\n"
        }
        text += probers() + instances()
        for other in drain.others ?? [] { text += "\n" + DrainRenderer(other, width: width, style: style).card() }
        return text
    }

    /// It has no drain of its own.
    private var none: String {
        switch drain.partOf {
        case nil: "\(name) is not being drained\n"
        case "node"?: "\(name) is drained as a part of the node: eiderctl drain-status\n"
        case let whole?: "\(name) is drained as a part of \(whole): eiderctl drain-status \(whole)\n"
        }
    }

    private var isNode: Bool { drain.target == "node" }

    private func probers() -> String {
        if drain.probers.isEmpty { return "" }
        var table = Table([
            .init("PROBER", limit: 34), .init("ASKS", limit: 22), .init("ROUTES"), .init("WHY", limit: 60),
        ])
        for prober in drain.probers {
            table.add([prober.who, prober.path, prober.acknowledged ? "no more" : "still", prober.text])
        }
        return "\n" + table.render(width: width, style)
    }

    private func instances() -> String {
        if drain.instances.isEmpty { return "" }
        var table = Table(
            [.init("INSTANCE", limit: 40), .init("STATE"), .init("IN FLIGHT", limit: 40)],
            stateColumn: 1
        )
        for instance in drain.instances { table.add([instance.name, instance.state, instance.inFlightText]) }
        return "\n" + table.render(width: width, style)
    }

    private static func count(_ list: [some Any], _ what: String) -> String {
        "\(list.count) \(what)\(list.count == 1 ? "" : "s")"
    }

    /// What would be done.
    func plan() -> String {
        var lines = ["draining \(name) would be admitted; nothing was changed"]
        if let notice = drain.notice {
            let (least, most) = (TimeText.brief(notice.minSeconds), TimeText.brief(notice.maxSeconds))
            lines.append(
                "notice    " + (least == most ? least : "\(least) to \(most), until load balancers have seen it")
            )
        }
        lines.append("deadline  " + (drain.secondsLeft.map { TimeText.brief($0) } ?? "?"))
        lines.append(
            "told      " + (drain.probers.isEmpty ? "nobody who asks now" : Self.count(drain.probers, "prober"))
        )
        lines += drain.probers.map { "          \($0.who)  \($0.path)" }
        lines.append("stopped   " + Self.count(drain.instances, "instance"))
        let wide = drain.instances.map(\.name.count).max() ?? 0
        lines += drain.instances.map { instance in
            let inFlight = instance.inFlight.map { ", \($0) in flight" } ?? ""
            return "          \(Columns.pad(instance.name, wide))  \(instance.state)\(inFlight)"
        }
        return lines.map { Columns.clip(Columns.printable($0), width) + "\n" }.joined()
    }
}

extension DrainAnswer.Prober {
    fileprivate var who: String { userAgent.isEmpty ? address : "\(address) \(userAgent)" }
}

extension DrainAnswer.Instance {
    /// `3 (connections)`
    fileprivate var inFlightText: String {
        guard let inFlight else { return ["drained", "stopped", "failed"].contains(state) ? "-" : "unknown" }
        return "\(inFlight)" + (inFlightSource == "connections" ? " (connections)" : "")
    }
}
