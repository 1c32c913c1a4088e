/// What a worker says about itself in one datagram of systemd's notify protocol (sd_notify(3)): assignments, one per
/// line. The text says nothing about who sent it; only the sender's credentials do.
public struct NotifyMessage: Sendable, Equatable {
    public enum WatchdogSignal: Sendable, Equatable {
        /// `WATCHDOG=1`: the heartbeat.
        case alive
        /// `WATCHDOG=trigger`: treat me as if the heartbeat had stopped.
        case trigger
    }

    /// Named limits of the parser.
    public enum Limits {
        /// Bytes of one datagram.
        public static let datagramBytes = 4096
        /// Bytes of `STATUS=`, as UTF-8.
        public static let statusBytes = 512
        /// Longest time that a worker may ask for: one year, in microseconds. Longer ones count as this.
        public static let microseconds: UInt64 = 365 * 86_400 * 1_000_000
        /// Most requests in flight that are believed; more count as this.
        public static let inFlight = UInt64(UInt32.max)
    }

    /// `READY=1`. Where `reloading` is set too, it came before.
    public var ready = false
    /// `STOPPING=1`
    public var stopping = false
    /// `RELOADING=1`
    public var reloading = false
    /// `STATUS=`: one line for people, at most `Limits.statusBytes`, without control characters.
    public var status: String?
    public var watchdog: WatchdogSignal?
    /// `WATCHDOG_USEC=`: a new heartbeat period, microseconds; 0 asks for none.
    public var watchdogUsec: UInt64?
    /// `EXTEND_TIMEOUT_USEC=`: at most this much longer, from now.
    public var extendTimeout: Duration?
    /// `MAINPID=`: not yet checked against the sender's tree.
    public var mainPid: Int32?
    /// `X_EIDER_IN_FLIGHT=`: requests being served.
    public var inFlight: UInt64?
    /// `ERRNO=`: why it failed, by its own word.
    public var errno: Int32?
    /// `BARRIER=1`: the sender waits until its descriptor is closed.
    public var barrier = false
    /// Assignments that were not understood: unknown names, and values that cannot be.
    public var ignored = 0

    public init() {}

    /// True when losing this message would leave the supervisor with a wrong idea of the worker: it must be acted
    /// upon before the socket forgets it. Heartbeats, status texts and figures are repeated by their sender.
    public var changesState: Bool {
        ready || stopping || reloading || mainPid != nil || extendTimeout != nil || watchdogUsec != nil
            || watchdog == .trigger
    }

    /// Reads one datagram; nil when it is malformed: empty, too long, with a NUL byte (one at the end is tolerated, as
    /// systemd does), or without a single assignment. Of several assignments to one name the last counts.
    public static func parse(_ bytes: [UInt8]) -> NotifyMessage? {
        parse(bytes[...])
    }

    /// Reads one datagram, as `parse(_: [UInt8])`.
    public static func parse(_ bytes: ArraySlice<UInt8>) -> NotifyMessage? {
        var bytes = bytes
        guard bytes.count <= Limits.datagramBytes else { return nil }
        if bytes.last == 0 { bytes.removeLast() }
        guard !bytes.contains(0) else { return nil }
        var message = NotifyMessage()
        var assignments = 0
        for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: true) {
            guard let equals = line.firstIndex(of: UInt8(ascii: "=")), equals > line.startIndex else {
                message.ignored &+= 1
                continue
            }
            assignments &+= 1
            let name = String(decoding: line[..<equals], as: UTF8.self)
            if !message.assign(name, line[line.index(after: equals)...]) { message.ignored &+= 1 }
        }
        return assignments > 0 ? message : nil
    }

    /// Takes over one assignment; false when the name is unknown or the value cannot be.
    private mutating func assign(_ name: String, _ value: ArraySlice<UInt8>) -> Bool {
        switch name {
        case "READY": return Self.set(&ready, value)
        case "STOPPING": return Self.set(&stopping, value)
        case "RELOADING": return Self.set(&reloading, value)
        case "BARRIER": return Self.set(&barrier, value)
        case "STATUS": status = Self.displayable(value)
        case "WATCHDOG": return assignWatchdog(value)
        case "WATCHDOG_USEC":
            guard let number = Self.number(value) else { return false }
            watchdogUsec = min(number, Limits.microseconds)
        case "EXTEND_TIMEOUT_USEC":
            guard let number = Self.number(value) else { return false }
            extendTimeout = .microseconds(Int64(min(number, Limits.microseconds)))
        case "MAINPID":
            guard let number = Self.number(value), let pid = Int32(exactly: number), pid > 1 else { return false }
            mainPid = pid
        case "X_EIDER_IN_FLIGHT":
            guard let number = Self.number(value) else { return false }
            inFlight = min(number, Limits.inFlight)
        case "ERRNO":
            // The kernel's MAX_ERRNO.
            guard let number = Self.number(value), (1...4095).contains(number) else { return false }
            errno = Int32(number)
        case "MONOTONIC_USEC":
            // Goes with RELOADING=1 (Type=notify-reload); nothing here needs it.
            return Self.number(value) != nil
        default:
            return false
        }
        return true
    }

    private mutating func assignWatchdog(_ value: ArraySlice<UInt8>) -> Bool {
        if value.elementsEqual("1".utf8) {
            watchdog = .alive
        } else if value.elementsEqual("trigger".utf8) {
            watchdog = .trigger
        } else {
            return false
        }
        return true
    }

    private static func set(_ flag: inout Bool, _ value: ArraySlice<UInt8>) -> Bool {
        guard value.elementsEqual("1".utf8) else { return false }
        flag = true
        return true
    }

    /// Decimal digits only, at most what 64 bits hold.
    private static func number(_ value: ArraySlice<UInt8>) -> UInt64? {
        guard !value.isEmpty, value.count <= 20 else { return nil }
        var result: UInt64 = 0
        for byte in value {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            let (product, overflow) = result.multipliedReportingOverflow(by: 10)
            let (sum, carried) = product.addingReportingOverflow(UInt64(byte &- UInt8(ascii: "0")))
            guard !overflow, !carried else { return nil }
            result = sum
        }
        return result
    }

    /// The text as one harmless line: cut at a character's boundary, bytes that are not UTF-8 and characters that
    /// would steer a terminal or reorder the line replaced.
    private static func displayable(_ value: ArraySlice<UInt8>) -> String {
        var text = String.UnicodeScalarView()
        var bytes = 0
        for scalar in String(decoding: value, as: UTF8.self).unicodeScalars {
            let shown = steers(scalar) ? "\u{FFFD}" : scalar
            bytes &+= UTF8.width(shown)
            if bytes > Limits.statusBytes { break }
            text.append(shown)
        }
        return String(text)
    }

    private static func steers(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F..<0xA0: true
        case 0x200E, 0x200F, 0x2028...0x202E, 0x2066...0x2069: true
        default: false
        }
    }

    /// Folds a later message of the same sender into this one, so that both can be delivered as one.
    ///
    /// A later READY ends an earlier RELOADING; a demand to be treated as hung is never taken back by a heartbeat;
    /// of values the newer counts.
    public mutating func merge(_ newer: NotifyMessage) {
        reloading = newer.reloading || (reloading && !newer.ready)
        ready = ready || newer.ready
        stopping = stopping || newer.stopping
        barrier = barrier || newer.barrier
        status = newer.status ?? status
        watchdog = watchdog == .trigger ? .trigger : newer.watchdog ?? watchdog
        watchdogUsec = newer.watchdogUsec ?? watchdogUsec
        extendTimeout = newer.extendTimeout ?? extendTimeout
        mainPid = newer.mainPid ?? mainPid
        inFlight = newer.inFlight ?? inFlight
        errno = newer.errno ?? errno
        ignored &+= newer.ignored
    }
}
