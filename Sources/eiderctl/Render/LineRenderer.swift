/// Lines of `logs` and `events` for people.
struct LineRenderer {
    /// Tabs become spaces on a terminal. What would move its cursor is taken out everywhere; `--json` has it.
    var onTerminal: Bool
    var style = Style(colours: false)

    /// nil: not a line for people.
    func log(_ line: String) -> String? {
        guard let log = try? JSONText.decode(LogText.self, Array(line.utf8)) else { return nil }
        return "\(style.dim(TimeText.whole(log.at))) \(log.instance) \(clean(log.text))\n"
    }

    func event(_ line: String) -> String? {
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

    /// What a line of the stream says of lines that are missing; nil: it is another line.
    static func loss(_ line: String) -> String? {
        guard line.hasPrefix("{\"dropped\":"),
            let answer = try? JSONText.decode(StreamAnswer.self, Array(line.utf8)), let count = answer.dropped
        else { return nil }
        // Of the host's lines only some, or none, were the reader's.
        return "cannot show \(answer.of == nil ? "" : "up to ")\(count) lines: they left the daemon's memory before "
            + "they could be taken; the log files may have them"
    }

    private func clean(_ text: String) -> String {
        Columns.printable(text, keepingTabs: !onTerminal)
    }
}
