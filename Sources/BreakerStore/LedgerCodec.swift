import SupervisorCore

/// Requests to the script, and its answers, as they travel.
///
/// Fields are separated by the ASCII separators, which no text in a ledger holds: what a host says is freed of control
/// bytes before it is sent. Whatever comes back may be anything, because others can write to a Redis.
enum LedgerCodec {
    private static let unit = UInt8(31)
    private static let record = UInt8(30)
    private static let group = UInt8(29)
    private static let form = "1"
    /// Numbers are doubles in the script.
    private static let exact = Int64(1) << 53
    private static let counts: ClosedRange<Int64> = 0...1_000_000_000
    private static let longest: ClosedRange<Int64> = 0...1_000_000_000_000

    // MARK: Requests

    /// ARGV of the script.
    static func arguments(
        _ operation: BreakerOperation,
        by caller: LedgerCaller,
        channel: String
    ) -> [[UInt8]] {
        var all = words(operation)
        all.insert(contentsOf: [caller.host, "\(caller.incarnation)", channel], at: 1)
        return all.map { Array($0.utf8) }
    }

    private static func words(_ operation: BreakerOperation) -> [String] {
        switch operation {
        case .sync(let known): ["sync", "\(known)"]
        case .vote(let name, let grade, let reason, let policy, let draw):
            ["vote", name, "\(grade.rawValue)", reason, "\(draw)"] + policy.numbers.map { "\($0)" }
        case .lease(let name, let policy, let draw): ["lease", name, "\(draw)"] + policy.numbers.map { "\($0)" }
        case .renew(let name, let token): ["renew", name, "\(token)"]
        case .result(let name, let token, let verdict, let reason, let policy, let draw):
            ["result", name, "\(token)", "\(verdict.rawValue)", reason, "\(draw)"] + policy.numbers.map { "\($0)" }
        case .force(let name, let mode, let actor, let reason): ["force", name, "\(mode.rawValue)", actor, reason]
        case .reset(let name, let actor, let reason): ["reset", name, actor, reason]
        case .restore(let name, let register, let override): ["restore", name, text(of: register), text(of: override)]
        case .leave: ["leave"]
        }
    }

    /// A register as it is stored.
    static func text(of register: BreakerRegister) -> String {
        let leases = register.leases.map { lease in
            [
                "\(lease.token)", clean(lease.host), "\(lease.incarnation)", "\(lease.expiresAt)", "\(lease.span)",
            ].joined(separator: "\u{1d}")
        }
        let numbers = [
            Int64(register.state.rawValue), register.epoch, register.openCount, register.changedAt, register.retryAt,
            register.wait, register.deadline, register.span, register.granted, register.succeeded, register.failed,
            register.slow, register.inconclusive,
        ]
        let texts = [clean(register.origin), clean(register.lastFailed), clean(register.reason)]
        let fields = [form] + numbers.map { "\($0)" } + texts + [leases.joined(separator: "\u{1e}")]
        return fields.joined(separator: "\u{1f}")
    }

    static func text(of override: BreakerOverride) -> String {
        [
            form, "\(override.mode.rawValue)", "\(override.epoch)", "\(override.changedAt)", clean(override.actor),
            clean(override.reason),
        ].joined(separator: "\u{1f}")
    }

    static func clean(_ text: String) -> String {
        if text.utf8.allSatisfy({ $0 >= 32 && $0 != 127 }) { return text }
        return String(decoding: text.utf8.map { $0 < 32 || $0 == 127 ? 32 : $0 }, as: UTF8.self)
    }

    // MARK: Answers

    /// The script's answer; nil for one that no script of ours gives. An entry that cannot be read is left out.
    static func reply(_ value: RESPValue) -> LedgerReply? {
        guard let fields = value.array, fields.count >= 3, let verdict = fields[0].bytes.flatMap(verdict),
            let live = fields[1].bytes.flatMap({ number($0[...]) }), counts.contains(live),
            let sequence = fields[2].bytes.flatMap({ number($0[...]) })
        else { return nil }
        let entries = fields.dropFirst(3).compactMap { $0.bytes.flatMap(entry) }
        return LedgerReply(verdict: verdict, entries: entries, live: live, sequence: sequence)
    }

    private static func verdict(_ bytes: [UInt8]) -> LedgerVerdict? {
        let fields = bytes.split(separator: unit, omittingEmptySubsequences: false)
        switch (String(decoding: fields[0], as: UTF8.self), fields.count) {
        case ("done", 1): return .done
        case ("stale", 1): return .stale
        case ("granted", 3):
            guard let token = number(fields[1]), let span = number(fields[2]), longest.contains(span) else {
                return nil
            }
            return .granted(token: token, span: span)
        case ("denied", 2):
            return number(fields[1]).flatMap { UInt8(exactly: $0) }.flatMap { LedgerDenial(rawValue: $0) }
                .map { .denied($0) }
        default: return nil
        }
    }

    /// What the script tells of one breaker, in an answer or on the channel.
    static func entry(_ bytes: [UInt8]) -> BreakerEntry? {
        let fields = bytes.split(separator: unit, omittingEmptySubsequences: false)
        guard fields.count == 29, !fields[0].isEmpty, let register = register(fields[1..<19]),
            let override = override(fields[19..<25]), let live = number(fields[27]), counts.contains(live),
            let sequence = number(fields[28])
        else { return nil }
        return BreakerEntry(
            name: text(fields[0]),
            register: register,
            override: override,
            tripped: hosts(fields[25]),
            suspecting: hosts(fields[26]),
            live: live,
            sequence: sequence
        )
    }

    private static func register(_ fields: ArraySlice<ArraySlice<UInt8>>) -> BreakerRegister? {
        let fields = Array(fields)
        let numbers = fields[1..<14].compactMap(number)
        guard text(fields[0]) == form, numbers.count == 13,
            let state = UInt8(exactly: numbers[0]).flatMap({ BreakerState(rawValue: $0) }), numbers[1] >= 0,
            longest.contains(numbers[5]), longest.contains(numbers[7]), counts.contains(numbers[2]),
            numbers[8...].allSatisfy(counts.contains), let leases = leases(fields[17])
        else { return nil }
        var register = BreakerRegister()
        register.state = state
        register.epoch = numbers[1]
        register.openCount = numbers[2]
        register.changedAt = numbers[3]
        register.retryAt = numbers[4]
        register.wait = numbers[5]
        register.deadline = numbers[6]
        register.span = numbers[7]
        register.granted = numbers[8]
        register.succeeded = numbers[9]
        register.failed = numbers[10]
        register.slow = numbers[11]
        register.inconclusive = numbers[12]
        register.origin = text(fields[14])
        register.lastFailed = text(fields[15])
        register.reason = text(fields[16])
        register.leases = leases
        return register
    }

    private static func leases(_ field: ArraySlice<UInt8>) -> [BreakerLease]? {
        if field.isEmpty { return [] }
        var leases: [BreakerLease] = []
        for part in field.split(separator: record, omittingEmptySubsequences: false) {
            let fields = part.split(separator: group, omittingEmptySubsequences: false)
            guard fields.count == 5, leases.count < 64, let token = number(fields[0]),
                let incarnation = Int64(text(fields[2])), let expiresAt = number(fields[3]),
                let span = number(fields[4]), longest.contains(span)
            else { return nil }
            leases.append(
                BreakerLease(
                    token: token,
                    host: text(fields[1]),
                    incarnation: incarnation,
                    expiresAt: expiresAt,
                    span: span
                )
            )
        }
        return leases
    }

    private static func override(_ fields: ArraySlice<ArraySlice<UInt8>>) -> BreakerOverride? {
        let fields = Array(fields)
        guard text(fields[0]) == form,
            let mode = number(fields[1]).flatMap({ UInt8(exactly: $0) }).flatMap({ BreakerMode(rawValue: $0) }),
            let epoch = number(fields[2]), epoch >= 0, let changedAt = number(fields[3])
        else { return nil }
        var override = BreakerOverride()
        override.mode = mode
        override.epoch = epoch
        override.changedAt = changedAt
        override.actor = text(fields[4])
        override.reason = text(fields[5])
        return override
    }

    private static func hosts(_ field: ArraySlice<UInt8>) -> [String] {
        field.isEmpty ? [] : field.split(separator: record, omittingEmptySubsequences: false).map(text)
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }

    private static func number(_ bytes: ArraySlice<UInt8>) -> Int64? {
        guard bytes.count <= 17, let value = Int64(text(bytes)), -exact < value, value < exact else { return nil }
        return value
    }
}
