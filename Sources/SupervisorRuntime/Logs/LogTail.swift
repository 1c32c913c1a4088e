import CLinux
import Glibc
import StatusBoard
import SupervisorCore

/// The end of a file.
enum FileTail {
    /// At most `limit` bytes from the end, from the beginning of a line on; empty when it cannot be read.
    static func read(_ path: String, limit: Int) -> [UInt8] {
        let descriptor = clinux_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0)
        guard descriptor >= 0, limit > 0 else { return [] }
        defer { _ = clinux_close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size > 0 else {
            return []
        }
        let size = Int64(status.st_size)
        let count = Int(min(size, Int64(limit)))
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled = 0
            while filled < count, let base = buffer.baseAddress {
                let part = clinux_pread(descriptor, base + filled, count - filled, size - Int64(count - filled))
                if part <= 0 { return }
                filled += part
            }
        }
        if Int64(count) == size { return bytes }
        guard let newline = bytes.firstIndex(of: 0x0A) else { return [] }
        return Array(bytes[(newline + 1)...])
    }
}

/// Lines of workers from the end of a log file.
enum LogTail {
    /// What memory has of an instance already: its oldest line's time, and how many of its lines bear that time.
    typealias Known = [InstanceID: (wallClock: Int64, count: Int)]

    /// The newest lines of the service, or of one instance, that are older than what memory has; in order, at most
    /// `limit`. Their sequence number is 0.
    static func read(
        _ file: LogFile,
        service: String,
        instance: InstanceID?,
        known: Known,
        limit: Int,
        bytes: Int
    ) -> [LogLine] {
        var lines: [LogLine] = []
        var sameTime: [InstanceID: Int] = [:]
        var budget = bytes
        for path in [file.path, file.path + ".1"] where lines.count < limit && budget > 0 {
            let content = FileTail.read(path, limit: budget)
            budget -= content.count
            for line in content.split(separator: 0x0A).reversed() where lines.count < limit {
                guard let parsed = parse(line), parsed.instance.service == service,
                    instance == nil || parsed.instance == instance
                else { continue }
                if let known = known[parsed.instance] {
                    if parsed.wallClock > known.wallClock { continue }
                    if parsed.wallClock == known.wallClock, sameTime[parsed.instance, default: 0] < known.count {
                        sameTime[parsed.instance, default: 0] += 1
                        continue
                    }
                }
                lines.append(parsed)
            }
        }
        return lines.reversed()
    }

    private static func parse(_ line: ArraySlice<UInt8>) -> LogLine? {
        let space = UInt8(ascii: " ")
        guard let first = line.firstIndex(of: space), let wallClock = LogTime.parse(line[..<first]) else { return nil }
        let rest = line[(first + 1)...]
        guard let second = rest.firstIndex(of: space),
            let instance = InstanceID(String(decoding: rest[..<second], as: UTF8.self))
        else { return nil }
        return LogLine(
            sequence: 0,
            instance: instance,
            wallClock: wallClock,
            text: String(decoding: rest[(second + 1)...], as: UTF8.self)
        )
    }
}
