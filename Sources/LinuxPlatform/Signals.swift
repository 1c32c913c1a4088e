import CLinux
public import SupervisorCore

/// Signals that are read from a descriptor instead of being handled.
public struct SignalDescriptor: ~Copyable, Sendable {
    public struct Arrival: Hashable, Sendable {
        public var signal: SignalNumber
        /// The sender; 0 when it was the kernel.
        public var pid: Int32
        public var uid: UInt32
    }

    private let descriptor: Descriptor

    public var rawValue: Int32 { descriptor.rawValue }

    /// Blocks the signals for this thread (call it before any other is started) and reads them from now on.
    public init(_ signals: [SignalNumber]) throws(SystemError) {
        let mask = Signals.mask(signals)
        try SystemError.check(clinux_signals_block(mask), "block signals")
        descriptor = Descriptor(try SystemError.check(clinux_signalfd(mask), "create a signal descriptor"))
    }

    /// The next signal that has arrived on a descriptor of this kind; nil when there is none.
    public static func next(on descriptor: Int32) -> SignalNumber? {
        var raw = clinux_signal()
        guard clinux_signalfd_read(descriptor, &raw) >= 0 else { return nil }
        return SignalNumber(rawValue: raw.number)
    }

    /// The next signal that has arrived; nil when there is none.
    public func next() throws(SystemError) -> Arrival? {
        var raw = clinux_signal()
        let result = clinux_signalfd_read(descriptor.rawValue, &raw)
        if result == -11 { return nil }
        try SystemError.check(result, "read a signal")
        return Arrival(signal: SignalNumber(rawValue: raw.number), pid: raw.pid, uid: raw.uid)
    }
}

/// Signals to processes, and what this process does with its own.
public enum Signals {
    /// SIGCHLD, which SupervisorCore has no use for.
    public static let child = SignalNumber(rawValue: 17)
    public static let user1 = SignalNumber(rawValue: 10)
    public static let user2 = SignalNumber(rawValue: 12)
    public static let stop = SignalNumber(rawValue: 19)
    public static let `continue` = SignalNumber(rawValue: 18)
    public static let brokenPipe = SignalNumber(rawValue: 13)

    /// Sends a signal. A negative pid names a process group.
    public static func send(_ signal: SignalNumber, to pid: Int32) throws(SystemError) {
        try SystemError.check(clinux_kill(pid, signal.rawValue), "send \(signal) to process", "\(pid)")
    }

    /// Ignores a signal, in this process and in those it starts, unless they say otherwise.
    public static func ignore(_ signal: SignalNumber) throws(SystemError) {
        try SystemError.check(clinux_signal_ignore(signal.rawValue), "ignore \(signal)")
    }

    /// Back to what the kernel does with it by itself.
    public static func restore(_ signal: SignalNumber) throws(SystemError) {
        try SystemError.check(clinux_signal_default(signal.rawValue), "restore \(signal)")
    }

    /// Blocks signals for this thread and those it starts.
    public static func block(_ signals: [SignalNumber]) throws(SystemError) {
        try SystemError.check(clinux_signals_block(mask(signals)), "block signals")
    }

    static func mask(_ signals: [SignalNumber]) -> UInt64 {
        signals.reduce(0) { mask, signal in
            (1...64).contains(signal.rawValue) ? mask | 1 << UInt64(signal.rawValue - 1) : mask
        }
    }
}
