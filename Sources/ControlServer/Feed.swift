import ControlProtocol
import StatusBoard
import SupervisorCore

/// Lines for one reader, taken from a bounded memory as fast as the reader takes them. Nothing is queued here: a
/// reader that is too slow for the memory is skipped forward and told so.
enum Feed {
    case logs(LogFeed)
    case events(EventFeed)

    /// The next lines, as bytes; nil when there are none now.
    mutating func next(_ limit: Int) -> [UInt8]? {
        switch self {
        case .logs(var feed):
            let bytes = feed.next(limit)
            self = .logs(feed)
            return bytes
        case .events(var feed):
            let bytes = feed.next(limit)
            self = .events(feed)
            return bytes
        }
    }

    /// Calls `wake` when there may be more.
    func observe(_ wake: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        switch self {
        case .logs(let feed): feed.reader.observe(wake)
        case .events(let feed): feed.reader.observe(wake)
        }
    }
}

struct LogFeed {
    let reader: any LogReading
    private let target: Target?
    private var cursor: UInt64
    /// Lines that memory no longer has, of the past that was asked for; what can be read of them is bounded.
    private var older: ArraySlice<LogLine> = []
    /// What is missing above this was lost by the reader; what is missing below, memory no longer had at the start.
    private let start: UInt64
    /// For one who does not follow: the last line to give.
    private let end: UInt64

    init(_ reader: any LogReading, _ stream: ControlRequest.Stream) {
        self.reader = reader
        target = stream.target
        let newest = reader.tail(nil, limit: 1).last?.sequence ?? 0
        if let after = stream.after {
            cursor = after
        } else {
            // A line of before `newest` is always in; one of after it is taken in by following.
            let past = stream.lines > 0 ? reader.tail(target, limit: stream.lines) : []
            let before = past.first.map { $0.sequence > 0 ? $0.sequence - 1 : 0 } ?? newest
            if let kept = past.isEmpty ? nil : reader.lines(after: before, target, limit: 1).first {
                older = past.prefix { $0.sequence < kept.sequence }
                cursor = older.isEmpty ? before : kept.sequence - 1
            } else {
                older = past[...]
                cursor = max(newest, past.last?.sequence ?? 0)
            }
        }
        start = stream.after ?? newest
        end = stream.follow ? .max : newest
    }

    mutating func next(_ limit: Int) -> [UInt8]? {
        if !older.isEmpty {
            defer { older = older.dropFirst(limit) }
            return older.prefix(limit).flatMap(StreamLine.log)
        }
        guard cursor < end else { return nil }
        let newest = reader.tail(nil, limit: 1).last?.sequence ?? 0
        guard newest > cursor else { return nil }
        let lines = reader.lines(after: cursor, target, limit: limit)
        var bytes = gap(before: lines)
        for line in lines where line.sequence <= end { bytes += StreamLine.log(line) }
        if let last = lines.last { cursor = max(cursor, last.sequence) }
        // Nothing more for this target: no need to look through the others' lines again.
        if lines.count < limit { cursor = max(cursor, newest) }
        return bytes.isEmpty && cursor >= min(newest, end) ? nil : bytes
    }

    /// Says how many lines were gone before they could be taken.
    private mutating func gap(before lines: [LogLine]) -> [UInt8] {
        // For one target the others' lines are gaps, too; what tells is the oldest line of all.
        let oldest = target == nil ? lines.first : reader.lines(after: cursor, nil, limit: 1).first
        let known = max(cursor, start)
        guard let oldest, known > 0, oldest.sequence > known, oldest.sequence - known > 1 else { return [] }
        let count = oldest.sequence - known - 1
        return StreamLine.dropped(count, of: target == nil ? nil : "host")
    }
}

struct EventFeed {
    let reader: any EventReading
    private let subject: String?
    private let perTurn: Int
    private let follow: Bool
    private var cursor: UInt64
    private var snapshot: [UInt8]?
    /// Taken and not yet given: at most `perTurn`.
    private var pending: ArraySlice<EventRecord>

    init(
        _ reader: any EventReading,
        _ stream: ControlRequest.Stream,
        last: UInt64,
        perTurn: Int,
        snapshot: [UInt8]?
    ) {
        self.reader = reader
        self.perTurn = perTurn
        self.snapshot = snapshot
        subject = stream.target?.description
        follow = stream.follow
        let past = reader.events(
            after: stream.after ?? 0,
            subject: subject,
            limit: min(stream.lines, perTurn)
        )
        pending = past.filter { $0.sequence <= last }[...]
        cursor = last
    }

    mutating func next(_ limit: Int) -> [UInt8]? {
        var bytes = snapshot ?? []
        snapshot = nil
        if pending.isEmpty, follow {
            pending = reader.events(after: cursor, subject: subject, limit: perTurn)[...]
            if let first = pending.first {
                if subject == nil, first.sequence > cursor &+ 1 {
                    bytes += StreamLine.dropped(first.sequence - cursor - 1)
                }
                cursor = max(cursor, pending.last?.sequence ?? 0)
            }
        }
        for event in pending.prefix(limit) { bytes += StreamLine.event(event) }
        pending = pending.dropFirst(limit)
        return bytes.isEmpty ? nil : bytes
    }
}
