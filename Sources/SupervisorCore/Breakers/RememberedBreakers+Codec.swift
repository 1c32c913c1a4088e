// The bytes of what is remembered of breakers: tagged fields, as in `RememberedCodec`. Tags are never reused.
extension RememberedBreakers {
    /// Breakers, crashes and releases that a record holds: more than a host has.
    private static let mostEntries = 8_192

    /// The record's bytes.
    public func encoded() -> [UInt8] {
        var writer = WireWriter()
        if let incarnation { writer.field(1) { $0.write(incarnation) } }
        for kept in own { writer.field(2) { kept.write(to: &$0) } }
        for kept in fleet { writer.field(3) { kept.write(to: &$0) } }
        for seat in seats { writer.field(4) { seat.write(to: &$0) } }
        for release in releases {
            writer.field(5) { writer in
                writer.write(release.service)
                writer.write(release.command)
                writer.write(release.release)
            }
        }
        return writer.bytes
    }

    /// Reads what any version wrote; nil when the bytes are damaged.
    public init?(decoding bytes: [UInt8]) {
        self.init()
        var reader = WireReader(bytes)
        var count = 0
        let whole = reader.fields { tag, field in
            count += 1
            if count > Self.mostEntries { return }
            switch tag {
            case 1: incarnation = field.read()
            case 2: if let kept = Kept(from: &field) { own.append(kept) }
            case 3: if let kept = Kept(from: &field) { fleet.append(kept) }
            case 4: if let seat = Seat(from: &field) { seats.append(seat) }
            case 5:
                if let service = field.readString(), let command = field.readString(),
                    let release = field.readString()
                {
                    releases.append(Release(service: service, command: command, release: release))
                }
            default: break
            }
        }
        if !whole { return nil }
    }
}

extension RememberedBreakers.Kept {
    fileprivate func write(to writer: inout WireWriter) {
        writer.field(1) { $0.write(name) }
        writer.field(2) { register.write(to: &$0) }
        if override.epoch > 0 { writer.field(3) { override.write(to: &$0) } }
    }

    fileprivate init?(from reader: inout WireReader) {
        self.init(name: "", register: BreakerRegister(), override: BreakerOverride())
        let whole = reader.fields { tag, field in
            switch tag {
            case 1: name = field.readString() ?? ""
            case 2: register = BreakerRegister(from: &field) ?? BreakerRegister()
            case 3: override = BreakerOverride(from: &field) ?? BreakerOverride()
            default: break
            }
        }
        if !whole || name.isEmpty { return nil }
    }
}

extension BreakerRegister {
    fileprivate func write(to writer: inout WireWriter) {
        writer.field(1) { $0.write(state.rawValue) }
        writer.field(2) { writer in
            for number in [epoch, openCount, changedAt, retryAt, wait, deadline, span] { writer.write(number) }
        }
        writer.field(3) { $0.write(origin) }
        writer.field(4) { writer in
            for number in [granted, succeeded, failed, slow, inconclusive] { writer.write(number) }
        }
        for lease in leases {
            writer.field(5) { writer in
                for number in [lease.token, lease.incarnation, lease.expiresAt, lease.span] { writer.write(number) }
                writer.write(lease.host)
            }
        }
        writer.field(6) { $0.write(lastFailed) }
        writer.field(7) { $0.write(reason) }
    }

    fileprivate init?(from reader: inout WireReader) {
        self.init()
        let whole = reader.fields { tag, field in
            switch tag {
            case 1: state = field.read(UInt8.self).flatMap { BreakerState(rawValue: $0) } ?? .closed
            case 2:
                let numbers = field.readNumbers(7)
                (epoch, openCount, changedAt, retryAt) = (numbers[0], numbers[1], numbers[2], numbers[3])
                (wait, deadline, span) = (numbers[4], numbers[5], numbers[6])
            case 3: origin = field.readString() ?? ""
            case 4:
                let numbers = field.readNumbers(5)
                (granted, succeeded, failed, slow) = (numbers[0], numbers[1], numbers[2], numbers[3])
                inconclusive = numbers[4]
            case 5:
                let numbers = field.readNumbers(4)
                guard let host = field.readString(), leases.count < 64 else { return }
                leases.append(
                    BreakerLease(
                        token: numbers[0],
                        host: host,
                        incarnation: numbers[1],
                        expiresAt: numbers[2],
                        span: numbers[3]
                    )
                )
            case 6: lastFailed = field.readString() ?? ""
            case 7: reason = field.readString() ?? ""
            default: break
            }
        }
        if !whole { return nil }
    }
}

extension BreakerOverride {
    fileprivate func write(to writer: inout WireWriter) {
        writer.field(1) { $0.write(mode.rawValue) }
        writer.field(2) { $0.write(epoch) }
        writer.field(3) { $0.write(actor) }
        writer.field(4) { $0.write(reason) }
        writer.field(5) { $0.write(changedAt) }
    }

    fileprivate init?(from reader: inout WireReader) {
        self.init()
        let whole = reader.fields { tag, field in
            switch tag {
            case 1: mode = field.read(UInt8.self).flatMap { BreakerMode(rawValue: $0) } ?? .auto
            case 2: epoch = field.read() ?? 0
            case 3: actor = field.readString() ?? ""
            case 4: reason = field.readString() ?? ""
            case 5: changedAt = field.read() ?? 0
            default: break
            }
        }
        if !whole { return nil }
    }
}

extension RememberedBreakers.Seat {
    fileprivate func write(to writer: inout WireWriter) {
        writer.field(1) { $0.write(name) }
        for crash in crashes {
            writer.field(2) { writer in
                writer.write(crash.at)
                writer.write(crash.isOfHost)
            }
        }
        if let hold { writer.field(3) { hold.write(to: &$0) } }
        if isSharedTrip { writer.field(4) { $0.write(true) } }
        writer.field(5) { writer in
            writer.write(rampUntil)
            writer.write(alertUntil)
        }
    }

    fileprivate init?(from reader: inout WireReader) {
        self.init(name: "", crashes: [], hold: nil, isSharedTrip: false, rampUntil: 0, alertUntil: 0)
        let whole = reader.fields { tag, field in
            switch tag {
            case 1: name = field.readString() ?? ""
            case 2:
                if let at = field.read(Int64.self), let isOfHost = field.readBool() {
                    crashes.append(CrashWindow.Crash(at: at, isOfHost: isOfHost))
                }
            case 3: hold = ProbeHold(from: &field)
            case 4: isSharedTrip = field.readBool() ?? false
            case 5:
                let numbers = field.readNumbers(2)
                (rampUntil, alertUntil) = (numbers[0], numbers[1])
            default: break
            }
        }
        if !whole || name.isEmpty { return nil }
    }
}

extension ProbeHold {
    fileprivate func write(to writer: inout WireWriter) {
        writer.write(source.rawValue)
        for number in [token, span, expiresAt] { writer.write(number) }
        writer.write(run != nil)
        if let run {
            writer.write(run.instance.service)
            writer.write(Int64(run.instance.index))
            writer.write(run.generation)
            writer.write(run.readySince ?? -1)
            writer.write(run.wasRunning)
        }
    }

    fileprivate init?(from reader: inout WireReader) {
        guard let source = reader.read(UInt8.self).flatMap(Source.init(rawValue:)) else { return nil }
        let numbers = reader.readNumbers(3)
        self.init(source: source, token: numbers[0], span: max(0, numbers[1]), expiresAt: numbers[2], renewAt: 0)
        guard reader.readBool() == true else { return }
        guard let service = reader.readString(), let index = reader.readIndex(),
            let generation = reader.read(Generation.self), let since = reader.read(Int64.self)
        else { return nil }
        run = Run(
            instance: InstanceID(service: service, index: index),
            generation: generation,
            readySince: since < 0 ? nil : since,
            wasRunning: reader.readBool() ?? false
        )
    }
}

extension WireReader {
    /// As many numbers; 0 for those that are missing.
    fileprivate mutating func readNumbers(_ count: Int) -> [Int64] {
        (0..<count).map { _ in read(Int64.self) ?? 0 }
    }
}
