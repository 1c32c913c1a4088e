/// One worker's place in the fleet: replica `index` of `service`. Written `auth/0`.
public struct InstanceID: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var service: String
    /// From 0.
    public var index: Int

    public init(service: String, index: Int) {
        self.service = service
        self.index = index
    }

    /// Reads `SERVICE/INDEX`; nil when it is anything else.
    public init?(_ text: some StringProtocol) {
        guard let slash = text.lastIndex(of: "/") else { return nil }
        let digits = text[text.index(after: slash)...]
        guard let index = Int(digits), index >= 0, String(index) == digits, slash != text.startIndex else { return nil }
        self.init(service: String(text[..<slash]), index: index)
    }

    public var description: String { "\(service)/\(index)" }

    public static func < (left: InstanceID, right: InstanceID) -> Bool {
        (left.service, left.index) < (right.service, right.index)
    }
}

/// Counts the starts of one instance, over every daemon's life. Rule P4: each callback carries it, and one with an
/// old generation is dropped and counted.
public typealias Generation = UInt64

/// A Linux signal number.
public struct SignalNumber: Hashable, Sendable, CustomStringConvertible {
    public var rawValue: Int32

    public init(rawValue: Int32) {
        self.rawValue = rawValue
    }

    public static let hangup = SignalNumber(rawValue: 1)
    public static let interrupt = SignalNumber(rawValue: 2)
    public static let quit = SignalNumber(rawValue: 3)
    public static let abort = SignalNumber(rawValue: 6)
    public static let kill = SignalNumber(rawValue: 9)
    public static let terminate = SignalNumber(rawValue: 15)

    /// Names by number, as on every Linux port that Debian 12 has a Swift for (x86-64 and arm64).
    private static let names: [String] = [
        "", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ]

    /// Reads `SIGTERM`, `TERM`, `term`, `15` or `SIGRTMIN+3`; nil when there is no such signal.
    public init?(name: String) {
        if let number = Int32(name), (1...64).contains(number) {
            self.init(rawValue: number)
            return
        }
        var bare = name.uppercased()
        if bare.hasPrefix("SIG") { bare.removeFirst(3) }
        if bare.hasPrefix("RTMIN+"), let offset = Int32(bare.dropFirst(6)), (0...30).contains(offset) {
            self.init(rawValue: 34 + offset)
            return
        }
        guard !bare.isEmpty, let number = Self.names.firstIndex(of: bare) else { return nil }
        self.init(rawValue: Int32(number))
    }

    /// `SIGTERM`, `SIGRTMIN+3`, or the number where it has no name.
    public var description: String {
        if rawValue > 0, rawValue < Self.names.count { return "SIG" + Self.names[Int(rawValue)] }
        if (34...64).contains(rawValue) { return "SIGRTMIN+\(rawValue - 34)" }
        return "signal \(rawValue)"
    }
}
