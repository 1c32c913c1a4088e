import StatusBoard
import SupervisorCore

/// The newest lines of one instance, in as little memory as they need: one array of bytes and one of entries.
struct LogRing: Sendable {
    private struct Entry: Sendable {
        var sequence: UInt64
        var wallClock: Int64
        /// Offset into `bytes`.
        var start: Int
    }

    private var bytes: [UInt8] = []
    private var entries: [Entry] = []
    /// The oldest entry that still counts; those before it are removed in bulk.
    private var first = 0

    /// Lines remembered.
    var count: Int { entries.count - first }
    /// Bytes of these lines.
    var byteCount: Int { first < entries.count ? bytes.count - entries[first].start : 0 }

    mutating func append(_ text: UnsafeRawBufferPointer, sequence: UInt64, wallClock: Int64) {
        entries.append(Entry(sequence: sequence, wallClock: wallClock, start: bytes.count))
        bytes.append(contentsOf: text)
    }

    /// Forgets the oldest lines until the limits hold. The newest stays, shortened if need be.
    mutating func trim(lines: Int, bytes limit: Int) {
        if entries.isEmpty { return }
        while count > 1, count > lines || byteCount > limit { first += 1 }
        if byteCount > limit { bytes.removeLast(byteCount - limit) }
        let offset = entries[first].start
        guard first > 0, first * 4 > entries.count || offset > limit / 4 else { return }
        bytes.removeFirst(offset)
        entries.removeFirst(first)
        first = 0
        for index in entries.indices { entries[index].start -= offset }
    }

    /// The oldest line's time, and how many lines bear the same.
    var oldest: (wallClock: Int64, count: Int)? {
        guard first < entries.count else { return nil }
        let time = entries[first].wallClock
        return (time, entries[first...].prefix { $0.wallClock == time }.count)
    }

    /// The newest lines.
    func newest(_ limit: Int, of instance: InstanceID) -> [LogLine] {
        (max(first, entries.count - max(0, limit))..<entries.count).map { line($0, instance) }
    }

    /// The oldest lines above `sequence`.
    func lines(after sequence: UInt64, limit: Int, of instance: InstanceID) -> [LogLine] {
        var low = first
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].sequence > sequence { high = middle } else { low = middle + 1 }
        }
        return (low..<min(entries.count, low + min(max(0, limit), entries.count))).map { line($0, instance) }
    }

    private func line(_ index: Int, _ instance: InstanceID) -> LogLine {
        let entry = entries[index]
        let end = index + 1 < entries.count ? entries[index + 1].start : bytes.count
        return LogLine(
            sequence: entry.sequence,
            instance: instance,
            wallClock: entry.wallClock,
            text: String(decoding: bytes[entry.start..<end], as: UTF8.self)
        )
    }
}
