/// Lines of `logs` and `events` for people.
struct LineRenderer {
    /// On a terminal, what would move its cursor is taken out.
    var onTerminal: Bool
    var style = Style(colours: false)

    /// nil: not a line for people.
    func log(_ line: String) -> String? {
        if let dropped = dropped(line) { return dropped }
        guard let log = try? JSONText.decode(LogText.self, Array(line.utf8)) else { return nil }
        return "\(style.dim(TimeText.whole(log.at))) \(log.instance) \(clean(log.text))\n"
    }

    func event(_ line: String) -> String? {
        if let dropped = dropped(line) { return dropped }
        let bytes = Array(line.utf8)
        if let event = try? JSONText.decode(EventLine.self, bytes) {
            return "\(style.dim(TimeText.whole(event.at))) \(Columns.pad(event.kind, 12)) \(clean(event.text))\n"
        }
        guard let snapshot = (try? JSONText.decode(StreamAnswer.self, bytes))?.snapshot else { return nil }
        let ready = snapshot.services.reduce(0) { $0 + $1.ready }
        let desired = snapshot.services.reduce(0) { $0 + $1.desired }
        return "\(style.dim(TimeText.whole(snapshot.at ?? "-"))) \(Columns.pad("state", 12)) "
            + "\(clean(snapshot.node.name)) is \(snapshot.node.state), \(ready) of \(desired) instances are ready\n"
    }

    private func dropped(_ line: String) -> String? {
        guard line.hasPrefix("{\"dropped\":"),
            let count = (try? JSONText.decode(StreamAnswer.self, Array(line.utf8)))?.dropped
        else { return nil }
        return style.dim("-- \(count) lines left out: this reader was too slow --") + "\n"
    }

    private func clean(_ text: String) -> String {
        onTerminal ? Columns.printable(text) : text
    }
}
