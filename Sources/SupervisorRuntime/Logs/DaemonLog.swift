import CLinux
import Glibc
import Synchronization

/// The daemon's own log: one line each on standard error.
///
/// Under systemd (`JOURNAL_STREAM`) each line begins with its priority, `<4>`; otherwise with `eiderd:`, after the time
/// where nobody watches a terminal. Until `attach` lines are written at once; from then on by the writer's thread, so
/// that a standard error that nobody reads holds up nothing.
public final class DaemonLog: Sendable {
    /// Priorities of syslog(3).
    public enum Level: Int, Sendable, Comparable, CaseIterable {
        case error = 3
        case warning, notice, info

        public static func < (left: Level, right: Level) -> Bool { left.rawValue < right.rawValue }
    }

    private enum Style: Sendable {
        case journal, terminal, plain
    }

    /// Bytes of one message.
    private static let messageBytes = 8 << 10

    private let descriptor: Int32
    private let style: Style
    private let threshold: Level
    private let queue = Mutex<LogQueue?>(nil)

    /// The value of `JOURNAL_STREAM` in the environment.
    public static var environmentJournalStream: String? {
        getenv("JOURNAL_STREAM").map { String(cString: $0) }
    }

    /// - Parameters:
    ///   - threshold: less important lines are left out.
    ///   - journalStream: the value of `JOURNAL_STREAM`; it counts when it names `descriptor` (systemd.exec(5)).
    public init(
        descriptor: Int32 = 2,
        threshold: Level = .info,
        journalStream: String? = DaemonLog.environmentJournalStream
    ) {
        self.descriptor = descriptor
        self.threshold = threshold
        var device: UInt64 = 0
        var inode: UInt64 = 0
        if let journalStream, clinux_identity(descriptor, &device, &inode) >= 0,
            journalStream == "\(device):\(inode)"
        {
            style = .journal
        } else {
            style = isatty(descriptor) == 1 ? .terminal : .plain
        }
    }

    /// Says what could not be done.
    public func error(_ text: String) { log(.error, text) }
    /// Says what may need somebody.
    public func warning(_ text: String) { log(.warning, text) }
    /// Says what is worth noting.
    public func notice(_ text: String) { log(.notice, text) }
    /// Says what happened.
    public func info(_ text: String) { log(.info, text) }

    /// Logs one message; each line of it becomes a line of the log.
    public func log(_ level: Level, _ text: String) {
        guard level <= threshold else { return }
        let lines = format(level, text)
        if let queue = queue.withLock({ $0 }) { queue.appendErrorLines(lines) } else { writeNow(lines) }
    }

    /// Logs one message and returns when it is written: for the last words before the process ends.
    public func logNow(_ level: Level, _ text: String) {
        guard level <= threshold else { return }
        writeNow(format(level, text))
    }

    /// From now on the writer's thread writes.
    public func attach(_ writer: LogWriter) {
        queue.withLock { $0 = writer.queue }
    }

    /// From now on lines are written at once again: before the writer is stopped.
    public func detach() {
        queue.withLock { $0 = nil }
    }

    private func format(_ level: Level, _ text: String) -> [UInt8] {
        let prefix =
            switch style {
            case .journal: "<\(level.rawValue)>"
            case .terminal: "eiderd: "
            case .plain: LogTime.rfc3339(Clocks.wall) + " eiderd: "
            }
        var lines: [UInt8] = []
        for line in text.utf8.prefix(Self.messageBytes).split(separator: UInt8(ascii: "\n")) {
            lines.append(contentsOf: prefix.utf8)
            lines.append(contentsOf: line)
            lines.append(UInt8(ascii: "\n"))
        }
        return lines
    }

    private func writeNow(_ lines: [UInt8]) {
        var position = 0
        while position < lines.count {
            let written = lines.withUnsafeBytes { bytes in
                clinux_write(descriptor, bytes.baseAddress.map { $0 + position }, lines.count - position)
            }
            if written <= 0 { return }
            position += written
        }
    }
}
