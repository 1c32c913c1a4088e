// The bytes of the node's part of what is remembered, and of what is kept on disk; see `Remembered`.

extension RememberedNode {
    /// The record's bytes.
    public func encoded() -> [UInt8] {
        var writer = WireWriter()
        writer.field(1) { $0.write(firstStartFinished) }
        if let shutdownBy { writer.field(2) { $0.write(shutdownBy) } }
        writer.field(3) { $0.write(since) }
        writer.field(4) { writer in
            writer.write(list: healthRestarts) {
                $0.write($1.service)
                $0.write($1.at)
            }
        }
        if let hold { writer.field(5) { hold.write(to: &$0) } }
        if !drains.isEmpty {
            var lostLeft = DrainLimits.lostRemembered
            writer.field(6) { $0.write(list: drains) { $1.write(to: &$0, lostLeft: &lostLeft) } }
        }
        if !rolls.isEmpty { writer.field(7) { $0.write(list: rolls) { $1.write(to: &$0) } } }
        if !scales.isEmpty { writer.field(8) { $0.write(list: scales) { $1.write(to: &$0) } } }
        return writer.bytes
    }

    /// Reads what any version wrote; nil when the bytes are damaged.
    public init?(decoding bytes: [UInt8]) {
        self.init()
        var reader = WireReader(bytes)
        let whole = reader.fields { tag, field in
            switch tag {
            case 1: firstStartFinished = field.readBool() ?? false
            case 2: shutdownBy = field.readString()
            case 3: since = field.readInstant() ?? since
            case 4:
                healthRestarts =
                    field.readList { reader in
                        guard let service = reader.readString(), let at = reader.readInstant() else { return nil }
                        return HealthRestart(service: service, at: at)
                    } ?? []
            case 5: hold = CorrelatedHold(from: &field)
            case 6: drains = field.readList { Drain(from: &$0) } ?? []
            case 7: rolls = field.readList { Roll(from: &$0) } ?? []
            case 8: scales = field.readList { ScaleIntent(from: &$0) } ?? []
            default: break
            }
        }
        if !whole { return nil }
    }
}

extension StopIntent {
    func write(to writer: inout WireWriter) {
        writer.write(instance.service)
        writer.write(Int64(instance.index))
        writer.write(by)
        writer.write(reason)
    }

    init?(from reader: inout WireReader) {
        guard let service = reader.readString(), let index = reader.read(Int64.self), let by = reader.readString(),
            let reason = reader.readOptionalString(), let index = Int(exactly: index)
        else { return nil }
        self.init(instance: InstanceID(service: service, index: index), by: by, reason: reason)
    }
}
extension CorrelatedHold {
    fileprivate func write(to writer: inout WireWriter) {
        writer.field(1) { $0.write(since) }
        if let calmSince { writer.field(2) { $0.write(calmSince) } }
        if let experiment {
            writer.field(3) {
                $0.write(experiment.service)
                $0.write(Int64(experiment.index))
            }
        }
        if let experimentAt { writer.field(4) { $0.write(experimentAt) } }
    }

    fileprivate init?(from reader: inout WireReader) {
        self.init(since: MonotonicInstant(nanoseconds: 0))
        let whole = reader.fields { tag, field in
            switch tag {
            case 1: since = field.readInstant() ?? since
            case 2: calmSince = field.readInstant()
            case 3:
                guard let service = field.readString(), let index = field.read(Int64.self),
                    let index = Int(exactly: index)
                else { return }
                experiment = InstanceID(service: service, index: index)
            case 4: experimentAt = field.readInstant()
            default: break
            }
        }
        if !whole { return nil }
    }
}

extension Intents {
    /// The bytes as they are kept on disk. The stops come first, as they did alone in the first version: an older
    /// daemon reads those and no further.
    public func encoded() -> [UInt8] {
        var writer = WireWriter()
        writer.write(list: stops) { $1.write(to: &$0) }
        writer.field(1) { $0.write(list: drains) { $1.write(to: &$0) } }
        writer.field(2) { $0.write(list: scales) { $1.write(to: &$0) } }
        if breakers != RememberedBreakers() { writer.field(3) { $0.write(breakers.encoded()) } }
        return writer.bytes
    }

    /// Reads what any version wrote; nil when the bytes are damaged.
    public init?(decoding bytes: [UInt8]) {
        self.init()
        var reader = WireReader(bytes)
        guard let stops = reader.readList({ StopIntent(from: &$0) }) else { return nil }
        self.stops = stops
        var isDamaged = false
        let whole = reader.fields { tag, field in
            switch tag {
            case 1: field.readList { Drain(from: &$0) }.map { drains = $0 } ?? { isDamaged = true }()
            case 2: field.readList { ScaleIntent(from: &$0) }.map { scales = $0 } ?? { isDamaged = true }()
            case 3:
                let bytes = field.readBytes().map { Array($0) } ?? []
                RememberedBreakers(decoding: bytes).map { breakers = $0 } ?? { isDamaged = true }()
            default: break
            }
        }
        if !whole || isDamaged { return nil }
    }
}

extension ScaleIntent {
    func write(to writer: inout WireWriter) {
        writer.write(service)
        writer.write(Int64(replicas))
        writer.write(Int64(configured))
        writer.write(by)
        writer.write(reason)
    }

    init?(from reader: inout WireReader) {
        guard let service = reader.readString(), let replicas = reader.readIndex(), let configured = reader.readIndex(),
            let by = reader.readString(), let reason = reader.readOptionalString()
        else { return nil }
        self.init(service: service, replicas: replicas, configured: configured, by: by, reason: reason)
    }
}

extension Drain {
    func write(to writer: inout WireWriter) {
        var lostLeft = DrainLimits.lostRemembered
        write(to: &writer, lostLeft: &lostLeft)
    }

    /// - Parameter lostLeft: how many that were lost there is still room for.
    func write(to writer: inout WireWriter, lostLeft: inout Int) {
        let remembered = lost.prefix(max(0, lostLeft))
        lostLeft -= remembered.count
        writer.framed { writer in
            writer.field(1) { $0.write(purpose.rawValue) }
            if let target { writer.field(2) { $0.write(target.description) } }
            writer.field(3) { $0.write(by) }
            if let reason { writer.field(4) { $0.write(reason) } }
            writer.field(5) { $0.write(since) }
            writer.field(6) { $0.write(deadline) }
            if case .fixed(let time) = notice { writer.field(7) { $0.write(time.clampedNanoseconds) } }
            writer.field(8) { $0.write(phase.rawValue) }
            writer.field(9) { $0.write(phaseSince) }
            if deadlineReached { writer.field(10) { $0.write(true) } }
            for work in remembered {
                writer.field(11) { writer in
                    writer.write(work.instance.description)
                    writer.write(work.inFlight != nil)
                    writer.write(work.inFlight ?? 0)
                }
            }
        }
    }

    /// nil where the bytes are damaged, or say nothing that this version understands.
    init?(from reader: inout WireReader) {
        let zero = MonotonicInstant(nanoseconds: 0)
        self.init(.maintenance, of: nil, by: "", since: zero, deadline: zero)
        guard let bytes = reader.readBytes() else { return nil }
        var fields = WireReader(bytes)
        var isKnown = true
        let whole = fields.fields { tag, field in
            switch tag {
            case 1:
                field.read(UInt8.self).flatMap { Purpose(rawValue: $0) }.map { purpose = $0 } ?? { isKnown = false }()
            case 2: field.readString().flatMap { Target($0) }.map { target = $0 } ?? { isKnown = false }()
            case 3: by = field.readString() ?? ""
            case 4: reason = field.readString()
            case 5: since = field.readInstant() ?? since
            case 6: deadline = field.readInstant() ?? deadline
            case 7: notice = field.readDuration().map { .fixed($0) } ?? .auto
            case 8: phase = field.read(UInt8.self).flatMap { DrainPhase(rawValue: $0) } ?? .notice
            case 9: phaseSince = field.readInstant() ?? phaseSince
            case 10: deadlineReached = field.readBool() ?? false
            case 11:
                guard let id = field.readString().flatMap({ InstanceID($0) }), let isCounted = field.readBool(),
                    let count = field.read(UInt64.self)
                else { return }
                lost.append(LostWork(instance: id, inFlight: isCounted ? count : nil))
            default: break
            }
        }
        if !whole || !isKnown { return nil }
    }
}

extension Roll {
    func write(to writer: inout WireWriter) {
        writer.framed { writer in
            writer.field(1) { $0.write(service) }
            writer.field(2) { $0.write(by) }
            if let reason { writer.field(3) { $0.write(reason) } }
            writer.field(4) { $0.write(since) }
            for index in left { writer.field(5) { $0.write(Int64(index)) } }
            writer.field(6) { $0.write(Int64(total)) }
            if usesExtra { writer.field(7) { $0.write(true) } }
            writer.field(8) { step.write(to: &$0) }
            writer.field(9) { $0.write(stepSince) }
            if let failure { writer.field(10) { $0.write(failure) } }
            if let extraIndex { writer.field(11) { $0.write(Int64(extraIndex)) } }
        }
    }

    init?(from reader: inout WireReader) {
        let zero = MonotonicInstant(nanoseconds: 0)
        self.init(service: "", by: "", reason: nil, since: zero, indexes: [], usesExtra: false)
        guard let bytes = reader.readBytes() else { return nil }
        var fields = WireReader(bytes)
        let whole = fields.fields { tag, field in
            switch tag {
            case 1: service = field.readString() ?? ""
            case 2: by = field.readString() ?? ""
            case 3: reason = field.readString()
            case 4: since = field.readInstant() ?? since
            case 5: if let index = field.readIndex() { left.append(index) }
            case 6: total = field.readIndex() ?? 0
            case 7: usesExtra = field.readBool() ?? false
            case 8: step = Step(from: &field) ?? .waiting
            case 9: stepSince = field.readInstant() ?? stepSince
            case 10: failure = field.readString()
            case 11: extraIndex = field.readIndex()
            default: break
            }
        }
        if !whole || service.isEmpty { return nil }
    }
}

extension Roll.Step {
    fileprivate func write(to writer: inout WireWriter) {
        switch self {
        case .waiting: writer.write(UInt8(1))
        case .addingExtra(let after):
            writer.write(UInt8(2))
            writer.write(after)
        case .leaving(let index):
            writer.write(UInt8(3))
            writer.write(Int64(index))
        case .returning(let index, let after):
            writer.write(UInt8(4))
            writer.write(Int64(index))
            writer.write(after)
        case .proving(let index, let until):
            writer.write(UInt8(5))
            writer.write(Int64(index))
            writer.write(until)
        case .removingExtra: writer.write(UInt8(6))
        case .holding: writer.write(UInt8(7))
        }
    }

    fileprivate init?(from reader: inout WireReader) {
        switch reader.read(UInt8.self) {
        case 1?: self = .waiting
        case 2?:
            guard let after = reader.read(Generation.self) else { return nil }
            self = .addingExtra(after: after)
        case 3?:
            guard let index = reader.readIndex() else { return nil }
            self = .leaving(index: index)
        case 4?:
            guard let index = reader.readIndex(), let after = reader.read(Generation.self) else { return nil }
            self = .returning(index: index, after: after)
        case 5?:
            guard let index = reader.readIndex(), let until = reader.readInstant() else { return nil }
            self = .proving(index: index, until: until)
        case 6?: self = .removingExtra
        case 7?: self = .holding
        default: return nil
        }
    }
}
