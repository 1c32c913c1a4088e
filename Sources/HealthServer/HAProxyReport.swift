/// What HAProxy says of us in the header field that `http-check send-state` adds to its probes.
///
/// Its form is `UP 2/3; address=…; port=…; name=BACKEND/SERVER; node=…; weight=1/2; scur=13/22; qcur=0`. Source:
/// HAProxy 2.6's configuration manual, `http-check send-state`, and what 2.6.12 sends: `UP`, `DOWN` and `NOLB` with
/// checks in a row while it is about to change its mind, and `no check`. A server that its own operator or our agent
/// drains is still `UP` there, and one in maintenance is not probed at all; `DRAIN` and `MAINT` are read in case
/// another version says so. Foreign bytes: what is not of this form is nil.
struct HAProxyReport: Equatable {
    /// The words that say something about whether it sends us requests.
    enum State: String, CaseIterable {
        case down = "DOWN"
        case drain = "DRAIN"
        case maintenance = "MAINT"
        /// Nothing new, for a 404 with `disable-on-404`.
        case noLoadBalancing = "NOLB"
        case up = "UP"
    }

    var state: State?
    /// Sessions that it has with this server now.
    var sessions: UInt64?

    /// It says nothing.
    static let none = HAProxyReport()

    private init() {}

    /// - Parameter limit: bytes that are looked at; what stands behind them is not.
    init(_ value: UnsafeRawBufferPointer, limit: Int) {
        let end = min(value.count, limit)
        var start = 0
        var isFirst = true
        while start < end {
            var stop = start
            while stop < end, value[stop] != UInt8(ascii: ";") { stop &+= 1 }
            let part = Self.trimmed(value, start..<stop)
            if isFirst {
                state = Self.state(part)
            } else if sessions == nil, part.starts(with: "scur=") {
                sessions = Self.fraction(part, from: 5)
            }
            isFirst = false
            start = stop &+ 1
        }
    }

    private static func trimmed(_ value: UnsafeRawBufferPointer, _ range: Range<Int>) -> UnsafeRawBufferPointer {
        var range = range
        while let first = range.first, value[first].isBlank { range = range.dropFirst() }
        while let last = range.last, value[last].isBlank { range = range.dropLast() }
        return UnsafeRawBufferPointer(rebasing: value[range])
    }

    private static func state(_ part: UnsafeRawBufferPointer) -> State? {
        guard let state = word(part) else { return nil }
        let length = state.rawValue.utf8.count
        if part.count == length { return state }
        guard part[length] == .space else { return nil }
        if fraction(part, from: length + 1) != nil { return state }
        return UnsafeRawBufferPointer(rebasing: part[(length + 1)...]).isAll("(agent)") ? state : nil
    }

    private static func word(_ part: UnsafeRawBufferPointer) -> State? {
        if part.starts(with: "UP") { return .up }
        if part.starts(with: "DOWN") { return .down }
        if part.starts(with: "NOLB") { return .noLoadBalancing }
        if part.starts(with: "DRAIN") { return .drain }
        return part.starts(with: "MAINT") ? .maintenance : nil
    }

    /// The first of `N/M`, which is all there is from `start` on.
    private static func fraction(_ part: UnsafeRawBufferPointer, from start: Int) -> UInt64? {
        var position = start
        guard let value = number(part, &position), position < part.count, part[position] == UInt8(ascii: "/") else {
            return nil
        }
        position &+= 1
        guard number(part, &position) != nil, position == part.count else { return nil }
        return value
    }

    /// HAProxy's numbers are C's `int`: ten digits.
    private static func number(_ part: UnsafeRawBufferPointer, _ position: inout Int) -> UInt64? {
        let start = position
        var value: UInt64 = 0
        while position < part.count, part[position].isDigit, position &- start < 11 {
            value = value &* 10 &+ UInt64(part[position] &- UInt8(ascii: "0"))
            position &+= 1
        }
        return (1...10).contains(position &- start) ? value : nil
    }
}
