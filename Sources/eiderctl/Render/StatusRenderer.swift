/// `eiderctl status` for people.
struct StatusRenderer {
    let status: StatusAnswer
    var width = 80
    var style = Style(colours: false)

    /// How old the daemon's view may be before people are warned, seconds.
    static let staleAfter = 10.0

    /// The whole node: who it is, what is not healthy, and a table.
    func node() -> String {
        let node = status.node
        let routed = status.services.filter { $0.desired > 0 && $0.ready >= $0.desired }.count
        let wanted = status.services.filter { $0.desired > 0 }.count
        let ready = status.services.reduce(0) { $0 + $1.ready }
        let desired = status.services.reduce(0) { $0 + $1.desired }
        var text = style.bold(Columns.printable(node.name)) + "  " + style.state(node.state)
        text += " for \(TimeText.span(node.since, status.at))"
        text += "  services \(routed)/\(wanted) ready, instances \(ready)/\(desired)\n"
        text += warnings()
        if let reason = node.reason, node.state != "healthy" { text += paragraph("why", reason) }
        text += drain() + troubled()
        if status.services.isEmpty { return text + "no services are configured\n" }
        return text + "\n" + table().render(width: width, style)
    }

    /// One line on how far the node's drain is.
    private func drain() -> String {
        guard let drain = status.node.drain else { return "" }
        let way = drain.phase == "drained" ? "; eiderctl undrain puts it back into service" : ""
        return Columns.clip(Columns.printable("drain: \(drain.progress)\(way)"), width) + "\n"
    }

    private func troubled() -> String {
        let troubled = status.services.filter { $0.state != "healthy" }
        guard let first = troubled.first else { return "" }
        // As under a drain of the node: the table has their names.
        if troubled.count > 3, troubled.allSatisfy({ $0.state == first.state }) {
            let all = troubled.count == status.services.count ? "all " : ""
            return paragraph("not healthy", "\(all)\(troubled.count) services (\(first.state))")
        }
        return paragraph("not healthy", troubled.map { "\($0.name) (\($0.state))" }.joined(separator: ", "))
    }

    private func warnings() -> String {
        var text = ""
        if let age = status.node.heartbeatAgeSeconds, age > Self.staleAfter {
            text += paragraph(
                "warning",
                "supervision has not moved for \(TimeText.brief(age)); what follows is that old"
            )
        }
        if let warning = status.node.warning { text += paragraph("shared", warning) }
        if let hold = status.node.hold {
            text += paragraph("hold", "\(hold): \(status.node.holdReason ?? "health stands still")")
        }
        if status.node.firstStartFinished == false { text += paragraph("note", "the first start is still going on") }
        return text
    }

    private func paragraph(_ label: String, _ text: String) -> String {
        let lines = Columns.wrap("\(label): \(Columns.printable(text))", width - 2)
        return lines.enumerated().map { $0.offset == 0 ? $0.element : "  " + $0.element }.joined(separator: "\n") + "\n"
    }

    private func table() -> Table {
        var table = Table(
            [
                .init("SERVICE"), .init("WANT", right: true), .init("READY", right: true), .init("STATE"),
                .init("SINCE"), .init("RESTARTS", right: true), .init("NOTE"),
            ],
            stateColumn: 3
        )
        for service in status.services {
            let restarts = service.restarts ?? service.instances.reduce(0) { $0 &+ $1.restarts }
            table.add([
                service.name, "\(service.desired)", "\(service.ready)", service.state,
                TimeText.span(service.since, status.at), "\(restarts)", note(service),
            ])
        }
        return table
    }

    private func note(_ service: StatusAnswer.Service) -> String {
        var parts: [String] = []
        if let roll = service.rolling { parts.append("rolling \(roll.replaced)/\(roll.total): \(roll.text)") }
        let next = service.instances.compactMap(\.nextStartInSeconds).min()
        if let next { parts.append("next in \(TimeText.brief(next))") }
        if let reason = service.reason { parts.append(reason) }
        if let breaker = service.breaker, breaker != "closed" { parts.append("breaker \(breaker)") }
        return parts.joined(separator: "; ")
    }

    // MARK: Cards

    /// One service: its facts and a table of its instances.
    func card(_ service: StatusAnswer.Service) -> String {
        var text = style.bold(Columns.printable(service.name)) + "  " + style.state(service.state)
        text += " for \(TimeText.span(service.since, status.at))  \(service.ready)/\(service.desired) ready"
        if let breaker = service.breaker { text += "  breaker \(breaker)" }
        if service.critical == true { text += "  critical" }
        text += "\n" + warnings()
        if let reason = service.reason { text += paragraph("why", reason) }
        if let roll = service.rolling {
            text += paragraph("rolling", "\(roll.replaced) of \(roll.total) replaced; \(roll.text)")
        }
        if service.instances.isEmpty { return text }
        var table = Table(
            [
                .init("INSTANCE", limit: 28), .init("STATE"), .init("PID", right: true), .init("UPTIME"),
                .init("RESTARTS", right: true), .init("LAST EXIT"),
            ],
            stateColumn: 1
        )
        for instance in service.instances {
            table.add([
                instance.name, instance.state, instance.pid.map(String.init) ?? "-",
                instance.uptimeSeconds.map(TimeText.brief) ?? "-", "\(instance.restarts)", lastExit(instance) ?? "-",
            ])
        }
        text += "\n" + table.render(width: width, style)
        if service.state != "healthy" { text += "\nmore: eiderctl why \(Columns.printable(service.name))\n" }
        return text
    }

    private func lastExit(_ instance: StatusAnswer.Instance) -> String? {
        instance.lastExit.map { exit in
            "\(TimeText.span(exit.at, status.at)) ago: \(exit.text ?? exit.cause)"
        }
    }

    /// One instance.
    func card(_ instance: StatusAnswer.Instance) -> String {
        var card = Card(width: width, style: style)
        card.title(instance.name, instance.state, TimeText.span(instance.since, status.at))
        card.row("why", instance.reason)
        card.row(
            "process",
            instance.pid.map { "pid \($0), up \(instance.uptimeSeconds.map(TimeText.brief) ?? "?")" }
        )
        card.row("ready", instance.ready ? "yes" : "no")
        card.probes(instance.probes, at: status.at ?? "")
        card.suppressions(instance.suppressed, at: status.at ?? "")
        card.row("next start", instance.nextStartInSeconds.map { "in \(TimeText.brief($0))" })
        let row = instance.crashesInARow.map { $0 > 0 ? " (crashes in a row: \($0))" : "" } ?? ""
        card.row("restarts", "\(instance.restarts)\(row)")
        card.row(
            "in flight",
            instance.inFlight.map { "\($0)\(instance.inFlightSource == "connections" ? " (connections)" : "")" }
        )
        card.row("it says", instance.statusText)
        card.row("last exit", lastExit(instance))
        card.row("intent", instance.stoppedBy)
        if instance.state != "healthy" { card.row("more", "eiderctl why \(instance.name)") }
        return card.text
    }
}

/// Labelled facts about one thing, wrapped.
struct Card {
    private static let label = 10
    let width: Int
    let style: Style
    private(set) var text = ""

    init(width: Int, style: Style) {
        self.width = width
        self.style = style
    }

    mutating func title(_ name: String, _ state: String, _ span: String) {
        text += style.bold(Columns.printable(name)) + "  " + style.state(state) + " for \(span)\n"
    }

    /// Nothing where there is no value.
    mutating func row(_ label: String, _ value: String?) {
        guard let value, !value.isEmpty else { return }
        for (index, line) in Columns.wrap(Columns.printable(value), width - Self.label - 1).enumerated() {
            text += style.dim(Columns.pad(index == 0 ? label : "", Self.label)) + " " + line + "\n"
        }
    }

    /// Like `row`, for a line that is clipped rather than wrapped.
    mutating func clipped(_ label: String, _ value: String) {
        let line = Columns.clip(Columns.printable(value), width - Self.label - 1)
        text += style.dim(Columns.pad(label, Self.label)) + " " + line + "\n"
    }

    mutating func gap() {
        text += "\n"
    }
}
