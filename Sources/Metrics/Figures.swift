/// What the daemon's own process uses, read by a closure that whoever wires the daemon supplies: this layer makes no
/// system call.
public struct ProcessFigures: Sendable, Equatable {
    /// Descriptors in use.
    public var openDescriptors: Int?
    /// The soft limit on descriptors.
    public var maximumDescriptors: UInt64?
    /// Bytes.
    public var residentBytes: UInt64?
    /// User and system time, seconds.
    public var cpuSeconds: Double?
    /// Seconds since 1970.
    public var startTime: Double?

    public init() {}

    /// Takes the resident set, the processor time and the start time from the text of `/proc/PID/stat`.
    ///
    /// Source: proc_pid_stat(5), fields 14, 15, 22 and 24. What cannot be read stays nil.
    ///
    /// - Parameters:
    ///   - ticksPerSecond: `sysconf(_SC_CLK_TCK)`.
    ///   - pageSize: bytes.
    ///   - bootTime: seconds since 1970 at which the host was started.
    public mutating func read(stat: some StringProtocol, ticksPerSecond: Double, pageSize: UInt64, bootTime: Double) {
        // The program's name stands in parentheses and may hold spaces and parentheses itself.
        guard let close = stat.lastIndex(of: ")"), ticksPerSecond > 0 else { return }
        let fields = stat[stat.index(after: close)...].split(separator: " ")
        func field(_ number: Int) -> Substring? {
            let index = number - 3
            return fields.indices.contains(index) ? Substring(fields[index]) : nil
        }
        if let user = field(14).flatMap({ Double($0) }), let system = field(15).flatMap({ Double($0) }) {
            cpuSeconds = (user + system) / ticksPerSecond
        }
        if let start = field(22).flatMap({ Double($0) }) { startTime = bootTime + start / ticksPerSecond }
        if let pages = field(24).flatMap({ UInt64($0) }) {
            residentBytes = pages.multipliedReportingOverflow(by: pageSize).partialValue
        }
    }
}

/// What the health server counts about itself.
public struct HealthFigures: Sendable, Equatable {
    /// Answers by status code.
    public var requests: [(code: Int, count: UInt64)]
    /// Ended connections by the way they ended.
    public var closedConnections: [(kind: String, count: UInt64)]
    /// Connections open now.
    public var openConnections: Int
    /// Times that no connection could be accepted for want of descriptors or memory.
    public var acceptFailures: UInt64
    /// Lines that the HAProxy agent port has answered.
    public var agentAnswers: UInt64

    public init(
        requests: [(code: Int, count: UInt64)] = [],
        closedConnections: [(kind: String, count: UInt64)] = [],
        openConnections: Int = 0,
        acceptFailures: UInt64 = 0,
        agentAnswers: UInt64 = 0
    ) {
        self.requests = requests
        self.closedConnections = closedConnections
        self.openConnections = openConnections
        self.acceptFailures = acceptFailures
        self.agentAnswers = agentAnswers
    }

    public static func == (left: HealthFigures, right: HealthFigures) -> Bool {
        left.openConnections == right.openConnections && left.acceptFailures == right.acceptFailures
            && left.agentAnswers == right.agentAnswers && left.requests.elementsEqual(right.requests, by: ==)
            && left.closedConnections.elementsEqual(right.closedConnections, by: ==)
    }
}
