public import StatusBoard
import Synchronization

/// What happened, newest last: a bounded ring in memory and `STATE/events.log`, from whose end the ring is filled when
/// the daemon begins, so that `events` and `why` go on over its death.
///
/// A line of the file is `SEQUENCE TAB NANOSECONDS TAB SUBJECT TAB KIND TAB TEXT`; an empty subject is the node; tab,
/// newline and backslash are written `\t`, `\n` and `\\`.
public final class EventHistory: EventReading {
    /// Named limits (rule P7).
    public enum Limits {
        /// Events remembered.
        public static let records = 2048
        /// Bytes of one text, as UTF-8.
        public static let textBytes = 1024
        /// Bytes after which the file is rotated, and rotated files kept.
        public static let fileBytes: UInt64 = 8 << 20
        public static let filesKept = 1
        /// Bytes read back of each file when the daemon begins.
        static let preloadBytes = 512 << 10
    }

    private struct State: Sendable {
        /// A ring once it is full: `next` is then the oldest.
        var records: [EventRecord] = []
        var next = 0
        var sequence: UInt64 = 1
        var observers = LogObservers()

        mutating func append(_ record: EventRecord) {
            if records.count < Limits.records {
                records.append(record)
            } else {
                records[next] = record
                next = (next + 1) % Limits.records
            }
            sequence = record.sequence &+ 1
        }
    }

    private let state = Mutex(State())
    private let queue: LogQueue?

    /// Reads the end of the file. Without a writer events are remembered in memory only.
    public init(writer: LogWriter?) {
        queue = writer?.queue
        guard let writer else { return }
        writer.queue.configure("", writer.eventsFile)
        state.withLock { state in
            for record in Self.preload(writer.eventsFile.path) where record.sequence >= state.sequence {
                state.append(record)
            }
        }
    }

    /// Remembers one event and answers its sequence number.
    ///
    /// - Parameter wallClock: nanoseconds since 1970.
    @discardableResult
    public func append(subject: String?, kind: String, text: String, wallClock: Int64) -> UInt64 {
        let shortened = String(decoding: text.utf8.prefix(Limits.textBytes), as: UTF8.self)
        let (sequence, observers) = state.withLock { state in
            let record = EventRecord(
                sequence: state.sequence,
                wallClock: wallClock,
                subject: subject,
                kind: kind,
                text: shortened
            )
            state.append(record)
            // Within the lock, so that the file has them in order. A full queue costs the file an event, not us.
            _ = queue?.append("", Self.line(record))
            return (record.sequence, state.observers.all)
        }
        for observer in observers { observer() }
        return sequence
    }

    public func events(after sequence: UInt64, subject: String?, limit: Int) -> [EventRecord] {
        state.withLock { state in
            let count = state.records.count
            var found: [EventRecord] = []
            for offset in stride(from: count - 1, through: 0, by: -1) where found.count < limit {
                let record = state.records[(state.next + offset) % max(1, count)]
                if record.sequence <= sequence { break }
                if Self.matches(record.subject, subject) { found.append(record) }
            }
            return found.reversed()
        }
    }

    public func observe(_ wake: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        let token = state.withLock { $0.observers.add(wake) }
        return { [weak self] in self?.state.withLock { $0.observers.remove(token) } }
    }

    private static func matches(_ subject: String?, _ wanted: String?) -> Bool {
        guard let wanted else { return true }
        guard let subject else { return false }
        return subject == wanted || (subject.hasPrefix(wanted) && subject.dropFirst(wanted.count).first == "/")
    }

    // MARK: The file

    static func line(_ record: EventRecord) -> [UInt8] {
        var line = Array("\(record.sequence)\t\(record.wallClock)".utf8)
        for field in [record.subject ?? "", record.kind, record.text] {
            line.append(UInt8(ascii: "\t"))
            for byte in field.utf8 {
                switch byte {
                case UInt8(ascii: "\t"): line.append(contentsOf: "\\t".utf8)
                case UInt8(ascii: "\n"): line.append(contentsOf: "\\n".utf8)
                case UInt8(ascii: "\\"): line.append(contentsOf: "\\\\".utf8)
                default: line.append(byte)
                }
            }
        }
        line.append(UInt8(ascii: "\n"))
        return line
    }

    /// Reads what `line` wrote, without its newline; nil when it is anything else.
    static func record(_ line: ArraySlice<UInt8>) -> EventRecord? {
        let fields = line.split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false)
        guard fields.count == 5, let sequence = UInt64(String(decoding: fields[0], as: UTF8.self)),
            sequence < UInt64(Int64.max), let wallClock = Int64(String(decoding: fields[1], as: UTF8.self))
        else { return nil }
        let subject = unescaped(fields[2])
        return EventRecord(
            sequence: sequence,
            wallClock: wallClock,
            subject: subject.isEmpty ? nil : subject,
            kind: unescaped(fields[3]),
            text: unescaped(fields[4])
        )
    }

    private static func unescaped(_ field: ArraySlice<UInt8>) -> String {
        var bytes: [UInt8] = []
        var escaped = false
        for byte in field {
            if escaped {
                bytes.append(byte == UInt8(ascii: "t") ? 0x09 : byte == UInt8(ascii: "n") ? 0x0A : byte)
                escaped = false
            } else if byte == UInt8(ascii: "\\") {
                escaped = true
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func preload(_ path: String) -> [EventRecord] {
        var records: [EventRecord] = []
        for file in [path + ".1", path] {
            let bytes = FileTail.read(file, limit: Limits.preloadBytes)
            records += bytes.split(separator: UInt8(ascii: "\n")).compactMap { record($0) }
        }
        return records.suffix(Limits.records)
    }
}

/// Those who want to hear of something new.
struct LogObservers: Sendable {
    private var entries: [(token: UInt64, wake: @Sendable () -> Void)] = []
    private var next: UInt64 = 0

    var all: [@Sendable () -> Void] { entries.map(\.wake) }

    mutating func add(_ wake: @escaping @Sendable () -> Void) -> UInt64 {
        next &+= 1
        entries.append((next, wake))
        return next
    }

    mutating func remove(_ token: UInt64) {
        entries.removeAll { $0.token == token }
    }
}
