public import SupervisorCore

/// One line of a worker's packet on the breaker socket (INTERFACE.md §5). Names stay where they are, in the packet:
/// reading one allocates nothing.
///
///     ALLOW NAME
///     REPORT NAME GENERATION|TOKEN ok|failed|slow|ignored DURATION_US
public enum CallRequest: Sendable, Equatable {
    case allow(name: Range<Int>)
    case report(name: Range<Int>, pass: UInt64, CallOutcome, microseconds: Int64)
    case malformed(Fault)

    /// Named limits (rule P7).
    public enum Limits {
        /// Of one packet; a longer one is refused as a whole.
        public static let packetBytes = 8_192
        /// Of one packet; what comes after them is refused with one answer.
        public static let lines = 128
        /// A call that takes longer has not been measured: 31 years.
        public static let microseconds: Int64 = 1_000_000_000_000_000
    }

    /// Why a line cannot be used: what the worker is answered after `error`.
    public enum Fault: String, Sendable, CaseIterable, Error {
        case verb = "cannot read the line: it begins with neither ALLOW nor REPORT"
        case allowFields = "cannot read the line: write ALLOW NAME, with one space"
        case reportFields =
            "cannot read the line: write REPORT NAME GENERATION|TOKEN ok|failed|slow|ignored DURATION_US"
        case name = "cannot use the name: it is 1 to 128 bytes of UTF-8 without spaces or control characters"
        case serviceName = "cannot use the name: those that begin with service: are not for workers"
        case pass = "cannot use the number: say what ok or probe was answered with"
        case outcome = "cannot use the outcome: it is ok, failed, slow or ignored"
        case duration = "cannot use the duration: it is a whole number of microseconds"
        case tooManyLines = "cannot take more than 128 lines in a packet: the rest of it was left out"
        case tooLong = "cannot take more than 8192 bytes in a packet: all of it was left out"
    }

    /// Reads the line at `range` of `bytes`, without its newline. Names refer to `bytes`.
    public static func parse(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) -> CallRequest {
        var fields = Fields(bytes: bytes, rest: range)
        guard let verb = fields.next() else { return .malformed(.verb) }
        do throws(Fault) {
            if equal(bytes, verb, "ALLOW") {
                guard let name = fields.next(), fields.isAtEnd else { throw .allowFields }
                try check(bytes, name)
                return .allow(name: name)
            }
            guard equal(bytes, verb, "REPORT") else { throw .verb }
            guard let name = fields.next(), let pass = fields.next(), let outcome = fields.next(),
                let duration = fields.next(), fields.isAtEnd
            else { throw .reportFields }
            try check(bytes, name)
            guard let number = number(bytes, pass) else { throw .pass }
            guard let ending = self.outcome(bytes, outcome) else { throw .outcome }
            guard let time = microseconds(bytes, duration) else { throw .duration }
            return .report(name: name, pass: number, ending, microseconds: time)
        } catch {
            return .malformed(error)
        }
    }

    /// Words with one space between them.
    private struct Fields {
        let bytes: UnsafeRawBufferPointer
        var rest: Range<Int>
        var isAtEnd = false

        init(bytes: UnsafeRawBufferPointer, rest: Range<Int>) {
            self.bytes = bytes
            self.rest = rest
        }

        /// nil when there is none, or an empty one.
        mutating func next() -> Range<Int>? {
            if isAtEnd { return nil }
            let end = rest.first { bytes[$0] == 32 } ?? rest.upperBound
            let word = rest.lowerBound..<end
            isAtEnd = end == rest.upperBound
            rest = min(end + 1, rest.upperBound)..<rest.upperBound
            return word.isEmpty ? nil : word
        }
    }

    private static func equal(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, _ text: StaticString) -> Bool {
        guard range.count == text.utf8CodeUnitCount else { return false }
        for offset in 0..<range.count where bytes[range.lowerBound + offset] != text.utf8Start[offset] { return false }
        return true
    }

    /// What can be said of a name byte by byte; whether it is UTF-8 and can be shown is asked when it is first met.
    private static func check(_ bytes: UnsafeRawBufferPointer, _ name: Range<Int>) throws(Fault) {
        guard name.count <= DependencyName.maximumBytes else { throw .name }
        for index in name where bytes[index] < 33 || bytes[index] == 127 { throw .name }
        let prefix: StaticString = "service:"
        let count = prefix.utf8CodeUnitCount
        if name.count >= count, equal(bytes, name.lowerBound..<(name.lowerBound + count), prefix) { throw .serviceName }
    }

    /// Decimal digits and nothing else.
    private static func number(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) -> UInt64? {
        guard range.count <= 20 else { return nil }
        var value: UInt64 = 0
        for index in range {
            guard (48...57).contains(bytes[index]) else { return nil }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt64(bytes[index] - 48))
            if overflow || carry { return nil }
            value = sum
        }
        return value
    }

    private static func microseconds(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) -> Int64? {
        number(bytes, range).flatMap { Int64(exactly: $0) }.map { min($0, Limits.microseconds) }
    }

    private static func outcome(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) -> CallOutcome? {
        if equal(bytes, range, "ok") { return .ok }
        if equal(bytes, range, "failed") { return .failed }
        if equal(bytes, range, "slow") { return .slow }
        return equal(bytes, range, "ignored") ? .ignored : nil
    }
}

/// The lines of a packet, in order. A newline at its end ends the last line and begins none.
public struct CallLines: Sequence, IteratorProtocol {
    private let bytes: UnsafeRawBufferPointer
    private var place = 0

    /// - Parameter bytes: must outlive this.
    public init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    public mutating func next() -> Range<Int>? {
        guard place < bytes.count else { return nil }
        let start = place
        while place < bytes.count, bytes[place] != 10 { place += 1 }
        defer { place += 1 }
        return start..<place
    }
}
