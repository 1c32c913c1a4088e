/// What a daemon knows of breakers, as its successor takes it over (rule P8). Times are milliseconds of the host's
/// monotonic clock.
public struct RememberedBreakers: Sendable, Equatable {
    /// Of all daemons that came after one another: a lease that one of them holds, the next one holds.
    public var incarnation: Int64?
    /// This host's own breakers, then those of the fleet as last known.
    public var own: [Kept] = []
    public var fleet: [Kept] = []
    /// Crashes within their windows, and the probes that go on, by the breaker's name.
    public var seats: [Seat] = []
    /// The release of each service as it was last identified.
    public var releases: [Release] = []

    /// One breaker.
    public struct Kept: Sendable, Equatable {
        public var name: String
        public var register: BreakerRegister
        public var override: BreakerOverride
    }

    /// What one breaker's host has of its own.
    public struct Seat: Sendable, Equatable {
        public var name: String
        var crashes: [CrashWindow.Crash]
        var hold: ProbeHold?
        var isSharedTrip: Bool
        var rampUntil: Int64
        var alertUntil: Int64
    }

    /// The release of a service, and the digest of the command that it was identified for.
    public struct Release: Sendable, Equatable {
        public var service: String
        public var command: String
        public var release: String
    }

    public init() {}

    /// What counts after a reboot, too: what is open, and what operators decided.
    public var durable: RememberedBreakers {
        var durable = RememberedBreakers()
        durable.own = own.compactMap(\.durable)
        durable.fleet = fleet.compactMap(\.durable)
        return durable
    }

    /// The same with every time moved, from one clock to another.
    public func moved(byMilliseconds offset: Int64) -> RememberedBreakers {
        var moved = self
        moved.own = own.map { $0.moved(by: offset) }
        moved.fleet = fleet.map { $0.moved(by: offset) }
        return moved
    }
}

extension RememberedBreakers.Kept {
    fileprivate var durable: RememberedBreakers.Kept? {
        guard register.state != .closed || override.mode != .auto else { return nil }
        var kept = self
        // Nobody's probe outlives the host.
        kept.register.leases = []
        return kept
    }

    fileprivate func moved(by offset: Int64) -> RememberedBreakers.Kept {
        func shifted(_ time: Int64) -> Int64 { time == 0 ? 0 : time &+ offset }
        var moved = self
        moved.register.changedAt = shifted(register.changedAt)
        moved.register.retryAt = shifted(register.retryAt)
        moved.register.deadline = shifted(register.deadline)
        moved.override.changedAt = shifted(override.changedAt)
        for index in moved.register.leases.indices {
            moved.register.leases[index].expiresAt = shifted(register.leases[index].expiresAt)
        }
        return moved
    }
}

extension ProbeHold {
    /// What was asked of the store meanwhile, nobody answers to a successor: it asks anew.
    fileprivate var worthRemembering: ProbeHold {
        var kept = self
        (kept.renewAt, kept.renewal) = (0, nil)
        return kept
    }
}

extension BreakerMachine {
    /// What a successor needs.
    func remembered(releases: [RememberedBreakers.Release]) -> RememberedBreakers {
        var remembered = RememberedBreakers()
        remembered.incarnation = caller.incarnation
        remembered.own = Self.kept(own)
        remembered.fleet = Self.kept(fleet)
        remembered.releases = releases
        for seat in seats
        where seat.crashes.count > 0 || seat.claim.hold != nil || seat.isSharedTrip || seat.rampUntil > 0
            || seat.alertUntil > 0
        {
            remembered.seats.append(
                RememberedBreakers.Seat(
                    name: seat.name,
                    crashes: seat.crashes.crashes,
                    hold: seat.kind == .service ? seat.claim.hold?.worthRemembering : nil,
                    isSharedTrip: seat.isSharedTrip,
                    rampUntil: seat.rampUntil,
                    alertUntil: seat.alertUntil
                )
            )
        }
        return remembered
    }

    private static func kept(_ ledger: BreakerLedger) -> [RememberedBreakers.Kept] {
        let names = Set(ledger.registers.keys).union(ledger.overrides.keys).sorted()
        return names.map { name in
            RememberedBreakers.Kept(
                name: name,
                register: ledger.registers[name] ?? BreakerRegister(),
                override: ledger.overrides[name] ?? BreakerOverride()
            )
        }
    }

    /// Takes over. Nothing here changes a shared register: the store is asked first (rule S19).
    mutating func take(_ remembered: RememberedBreakers, at now: Int64) {
        if let incarnation = remembered.incarnation {
            caller = LedgerCaller(host: caller.host, incarnation: incarnation)
        }
        for kept in remembered.own { own.keep(kept, at: now) }
        // A host that shared nothing before has nothing of the fleet's to give.
        for kept in isShared ? remembered.fleet : [] { fleet.keep(kept, at: now) }
        for kept in remembered.own + remembered.fleet where seatOf[kept.name] == nil {
            guard DependencyName.isValid(kept.name) else { continue }
            _ = seatOfDependency(kept.name, now)
        }
        for memory in remembered.seats {
            guard let index = seatOf[memory.name] else { continue }
            for crash in memory.crashes where crash.at <= now {
                seats[index].crashes.add(crash, capacity: seats[index].crashThreshold)
            }
            seats[index].isSharedTrip = memory.isSharedTrip
            seats[index].rampUntil = min(memory.rampUntil, now + BreakerLimits.recoveryRamp)
            seats[index].alertUntil = min(memory.alertUntil, now + BreakerLimits.recoveryRamp)
            if var hold = memory.hold, hold.run != nil {
                // It goes on: renewed at once, or lost.
                hold.renewal = nil
                hold.renewAt = now
                seats[index].claim = .held(hold)
                seats[index].wantedAt = now
            }
        }
        for index in seats.indices { refresh(index, now) }
        moved = true
    }
}

extension BreakerLedger {
    fileprivate mutating func keep(_ kept: RememberedBreakers.Kept, at now: Int64) {
        var register = kept.register
        // By another boot's clock it may lie anywhere: no wait is longer than it may be.
        register.changedAt = min(register.changedAt, now)
        register.retryAt = min(register.retryAt, now + max(0, register.wait))
        register.deadline = min(register.deadline, now + max(0, register.span))
        if register.epoch > 0 { registers[kept.name] = register }
        if kept.override.epoch > 0 { overrides[kept.name] = kept.override }
        sequence = max(sequence, now) + 1
        changes[kept.name] = sequence
    }
}
