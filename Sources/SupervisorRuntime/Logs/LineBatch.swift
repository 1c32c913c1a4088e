import SupervisorCore

/// The lines of one window as the file will have them. One is used again and again, on the collector's thread.
final class LineBatch {
    /// Whole lines: `TIME INSTANCE text`.
    private(set) var bytes: [UInt8] = []
    /// Where the texts are in `bytes`, as far as memory will keep them.
    var spans: ArraySlice<Range<Int>> { texts.suffix(LogLimits.ringLines) }
    private(set) var counted = LogCounters()
    /// When they were read: nanoseconds since 1970, whole microseconds as the file has them.
    private(set) var wallClock: Int64 = 0
    private var texts: [Range<Int>] = []
    private var tag: [UInt8] = []

    func begin(_ instance: InstanceID) {
        bytes.removeAll(keepingCapacity: true)
        texts.removeAll(keepingCapacity: true)
        counted = LogCounters()
        wallClock = Clocks.wall / 1000 * 1000
        tag = Self.tag(wallClock, instance)
    }

    func add(_ line: LineSplitter.Line) {
        bytes.append(contentsOf: tag)
        let start = bytes.count
        bytes.append(contentsOf: line.text)
        texts.append(start..<bytes.count)
        bytes.append(UInt8(ascii: "\n"))
        counted.bytes &+= UInt64(line.consumed)
        if line.cut { counted.cutLines &+= 1 }
    }

    /// The line that stands for output that is missing.
    static func gap(_ count: UInt64, _ reason: String, instance: InstanceID) -> [UInt8] {
        tag(Clocks.wall, instance) + Array("[eider] \(count) bytes of output were dropped: \(reason)\n".utf8)
    }

    private static func tag(_ wallClock: Int64, _ instance: InstanceID) -> [UInt8] {
        Array((LogTime.rfc3339(wallClock) + " \(instance) ").utf8)
    }
}
