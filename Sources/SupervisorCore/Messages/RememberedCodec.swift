// The bytes of what is remembered: tag, length, value, for each field. Tags are never reused; see `Remembered`.

extension WireWriter {
    mutating func field(_ tag: UInt8, _ body: (inout WireWriter) -> Void) {
        write(tag)
        framed(body)
    }

    mutating func write(_ instant: MonotonicInstant) { write(instant.nanoseconds) }

    mutating func write(_ value: String?) {
        write(value != nil)
        if let value { write(value) }
    }
}

extension WireReader {
    /// Calls `body` for each field; one that it does not know it leaves alone. False when the bytes are damaged.
    mutating func fields(_ body: (UInt8, inout WireReader) -> Void) -> Bool {
        while remaining > 0 {
            guard let tag = read(UInt8.self), let bytes = readBytes() else { return false }
            var field = WireReader(bytes)
            body(tag, &field)
        }
        return true
    }

    mutating func readInstant() -> MonotonicInstant? {
        read(Int64.self).map { MonotonicInstant(nanoseconds: $0) }
    }

    /// A count, or an index from 0.
    mutating func readIndex() -> Int? { read(Int64.self).flatMap { Int(exactly: $0) }.flatMap { $0 >= 0 ? $0 : nil } }

    mutating func readDuration() -> Duration? { read(Int64.self).map { .nanoseconds($0) } }

    mutating func readOptionalString() -> String?? {
        guard let present = readBool() else { return nil }
        if !present { return .some(nil) }
        return readString().map { .some($0) }
    }
}

extension RememberedInstance {
    /// The record's bytes.
    public func encoded() -> [UInt8] {
        var writer = WireWriter()
        writer.field(1) { state.write(to: &$0) }
        writer.field(2) { $0.write(since) }
        writer.field(3) { $0.write(generation) }
        if let stopIntent { writer.field(4) { stopIntent.write(to: &$0) } }
        if let run { writer.field(5) { run.write(to: &$0) } }
        writer.field(6) { $0.write(Int64(crashes)) }
        writer.field(7) { $0.write(restarts) }
        if !restartsByCause.isEmpty {
            writer.field(8) { writer in
                for cause in ExitCause.allCases {
                    guard let count = restartsByCause[cause] else { continue }
                    writer.write(cause.rawValue)
                    writer.write(count)
                }
            }
        }
        if let lastExit { writer.field(9) { lastExit.write(to: &$0) } }
        writer.field(10) { $0.write(startedOnce) }
        writer.field(11) { $0.write(firstAttemptOver) }
        if let flaps { writer.field(12) { flaps.write(to: &$0) } }
        if let lastTroubleAt { writer.field(13) { $0.write(lastTroubleAt) } }
        if isDrained { writer.field(14) { $0.write(true) } }
        if state == .held { writer.field(15) { $0.write(true) } }
        return writer.bytes
    }

    /// Reads what any version wrote; nil when the bytes are damaged or say nothing that this version understands.
    public init?(decoding bytes: [UInt8]) {
        self.init(state: .waiting, since: MonotonicInstant(nanoseconds: 0))
        var state: InstanceState?
        var isHeld = false
        var reader = WireReader(bytes)
        let whole = reader.fields { tag, field in
            switch tag {
            case 1: state = InstanceState(from: &field)
            case 2: since = field.readInstant() ?? since
            case 3: generation = field.read() ?? 0
            case 4: stopIntent = StopIntent(from: &field)
            case 5: run = Run(from: &field)
            case 6: crashes = field.read(Int64.self).flatMap { Int(exactly: $0) }.map { max(0, $0) } ?? 0
            case 7: restarts = field.read() ?? 0
            case 8:
                while field.remaining > 0, let name = field.readString(), let count = field.read(UInt64.self) {
                    if let cause = ExitCause(rawValue: name) { restartsByCause[cause] = count }
                }
            case 9: lastExit = LastExit(from: &field)
            case 10: startedOnce = field.readBool() ?? false
            case 11: firstAttemptOver = field.readBool() ?? false
            case 12: flaps = FlapDamper(from: &field)
            case 13: lastTroubleAt = field.readInstant()
            case 14: isDrained = field.readBool() ?? false
            case 15: isHeld = field.readBool() ?? false
            default: break
            }
        }
        guard whole, let state, state.hasProcess == (run != nil) else { return nil }
        self.state = isHeld && state == .queued ? .held : state
    }
}

extension RememberedInstance.Run {
    fileprivate func write(to writer: inout WireWriter) {
        writer.field(1) { $0.write(pid ?? 0) }
        writer.field(2) { $0.write(startedAt) }
        if let readyAt { writer.field(3) { $0.write(readyAt) } }
        if let statusText { writer.field(4) { $0.write(statusText) } }
        if let inFlight { writer.field(5) { $0.write(inFlight) } }
        writer.field(6) { $0.write(reloading) }
        writer.field(7) { $0.write(heartbeatLate) }
        if let watchdog { writer.field(8) { $0.write(watchdog.clampedNanoseconds) } }
        if let servingAt { writer.field(9) { $0.write(servingAt) } }
        if let readiness { writer.field(10) { $0.write(readiness.rawValue) } }
        if readinessOverdue { writer.field(11) { $0.write(true) } }
        if livenessFailing { writer.field(12) { $0.write(true) } }
        if !breaker.isEmpty { writer.field(13) { $0.write(breaker) } }
    }

    fileprivate init?(from reader: inout WireReader) {
        self.init(startedAt: MonotonicInstant(nanoseconds: 0))
        let whole = reader.fields { tag, field in
            switch tag {
            case 1: pid = field.read(Int32.self).flatMap { $0 > 0 ? $0 : nil }
            case 2: startedAt = field.readInstant() ?? startedAt
            case 3: readyAt = field.readInstant()
            case 4: statusText = field.readString()
            case 5: inFlight = field.read()
            case 6: reloading = field.readBool() ?? false
            case 7: heartbeatLate = field.readBool() ?? false
            case 8: watchdog = field.readDuration()
            case 9: servingAt = field.readInstant()
            case 10: readiness = field.read(UInt8.self).flatMap { RememberedInstance.Readiness(rawValue: $0) }
            case 11: readinessOverdue = field.readBool() ?? false
            case 12: livenessFailing = field.readBool() ?? false
            case 13: breaker = field.readString() ?? ""
            default: break
            }
        }
        if !whole { return nil }
    }
}

extension FlapDamper {
    fileprivate func write(to writer: inout WireWriter) {
        writer.write(penalty.bitPattern)
        writer.write(updatedAt)
        writer.write(isHeld)
    }

    fileprivate init?(from reader: inout WireReader) {
        guard let bits = reader.read(UInt64.self), let updatedAt = reader.readInstant(), let isHeld = reader.readBool()
        else { return nil }
        let penalty = Double(bitPattern: bits)
        guard penalty.isFinite, penalty >= 0 else { return nil }
        self.init(penalty: penalty, updatedAt: updatedAt, isHeld: isHeld)
    }
}

extension InstanceState {
    fileprivate func write(to writer: inout WireWriter) {
        switch self {
        case .stopped(let reason):
            writer.write(UInt8(1))
            writer.write(reason.rawValue)
        case .waiting: writer.write(UInt8(2))
        // To a version without breakers it is queued: the field that says more it does not read.
        case .queued, .held: writer.write(UInt8(3))
        case .starting(let deadline):
            writer.write(UInt8(4))
            writer.write(deadline)
        case .ready: writer.write(UInt8(5))
        case .running: writer.write(UInt8(6))
        case .stopping(let stop):
            writer.write(UInt8(7))
            stop.write(to: &writer)
        case .backoff(let until):
            writer.write(UInt8(8))
            writer.write(until)
        case .completed: writer.write(UInt8(9))
        case .failed: writer.write(UInt8(10))
        }
    }

    fileprivate init?(from reader: inout WireReader) {
        switch reader.read(UInt8.self) {
        case 1?: self = .stopped(reader.read(UInt8.self).flatMap { StopReason(rawValue: $0) } ?? .intent)
        case 2?: self = .waiting
        case 3?: self = .queued
        case 4?:
            guard let deadline = reader.readInstant() else { return nil }
            self = .starting(deadline: deadline)
        case 5?: self = .ready
        case 6?: self = .running
        case 7?:
            guard let stop = Stop(from: &reader) else { return nil }
            self = .stopping(stop)
        case 8?:
            guard let until = reader.readInstant() else { return nil }
            self = .backoff(until: until)
        case 9?: self = .completed
        case 10?: self = .failed
        default: return nil
        }
    }
}

extension InstanceState.Stop {
    fileprivate func write(to writer: inout WireWriter) {
        writer.field(1) { $0.write(cause.rawValue) }
        if let graceEnds { writer.field(2) { $0.write(graceEnds) } }
        writer.field(3) { $0.write(mainGone) }
        writer.field(4) {
            $0.write(Int64(remaining))
            $0.write(remainingExample)
        }
        writer.field(5) { $0.write(signalled) }
        if let latest { writer.field(6) { $0.write(latest) } }
    }

    fileprivate init?(from reader: inout WireReader) {
        self.init(cause: .operator, graceEnds: nil)
        let whole = reader.fields { tag, field in
            switch tag {
            case 1: cause = field.readString().flatMap { ExitCause(rawValue: $0) } ?? .operator
            case 2: graceEnds = field.readInstant()
            case 3: mainGone = field.readBool() ?? false
            case 4:
                remaining = field.read(Int64.self).flatMap { Int(exactly: $0) } ?? 0
                remainingExample = field.read() ?? 0
            case 5: signalled = field.readBool() ?? false
            case 6: latest = field.readInstant()
            default: break
            }
        }
        if !whole { return nil }
    }
}

extension LastExit {
    fileprivate func write(to writer: inout WireWriter) {
        writer.field(1) { outcome.write(to: &$0) }
        writer.field(2) { $0.write(cause.rawValue) }
        writer.field(3) { $0.write(at) }
        writer.field(4) {
            $0.write(usage.userMicroseconds)
            $0.write(usage.systemMicroseconds)
            $0.write(usage.maximumResidentKibibytes)
        }
    }

    fileprivate init?(from reader: inout WireReader) {
        self.init(outcome: .status(.code(0)), cause: .exit, at: MonotonicInstant(nanoseconds: 0))
        let whole = reader.fields { tag, field in
            switch tag {
            case 1: outcome = Outcome(from: &field) ?? outcome
            case 2: cause = field.readString().flatMap { ExitCause(rawValue: $0) } ?? .exit
            case 3: at = field.readInstant() ?? at
            case 4:
                usage = ResourceUsage(
                    userMicroseconds: field.read() ?? 0,
                    systemMicroseconds: field.read() ?? 0,
                    maximumResidentKibibytes: field.read() ?? 0
                )
            default: break
            }
        }
        if !whole { return nil }
    }
}

extension LastExit.Outcome {
    fileprivate func write(to writer: inout WireWriter) {
        switch self {
        case .status(.code(let code)):
            writer.write(UInt8(1))
            writer.write(code)
        case .status(.signal(let signal, let core)):
            writer.write(UInt8(2))
            writer.write(signal.rawValue)
            writer.write(core)
        case .spawnFailed(let failure):
            writer.write(UInt8(3))
            writer.write(failure.stage.rawValue)
            writer.write(failure.errno)
            writer.write(failure.path)
        }
    }

    fileprivate init?(from reader: inout WireReader) {
        switch reader.read(UInt8.self) {
        case 1?:
            guard let code = reader.read(Int32.self) else { return nil }
            self = .status(.code(code))
        case 2?:
            guard let number = reader.read(Int32.self), let core = reader.readBool() else { return nil }
            self = .status(.signal(SignalNumber(rawValue: number), coreDumped: core))
        case 3?:
            guard let stage = reader.read(UInt8.self).flatMap(SpawnStage.init(rawValue:)),
                let errno = reader.read(Int32.self), let path = reader.readString()
            else { return nil }
            self = .spawnFailed(SpawnFailure(stage: stage, errno: errno, path: path))
        default: return nil
        }
    }
}
