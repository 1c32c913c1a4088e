import SupervisorCore

// What must hold at any moment, whatever happened last.
extension HostBooks {
    /// Rules C2, L3, L6, L8, L9 and P3, of one host alone.
    mutating func look(_ host: FleetHost, at now: Int64) throws {
        let time = (now + host.clockAhead) / 1_000_000
        // It stood still, or there was no daemon: nothing was to be done meanwhile.
        if now - lookedAt > 3_000_000_000 { (overdueSince, heldSince) = ([:], [:]) }
        lookedAt = now
        let status = host.machine.breakersStatus(at: host.instant(now))
        for breaker in status.breakers {
            guard let numbers = FleetWorld.numbers(breaker.name, spec) else { continue }
            if let retryAt = breaker.retryAt, breaker.state == .open,
                retryAt.nanoseconds / 1_000_000 - time > numbers.waitMost
            {
                throw ShadowViolation("C2: \(host.name): \(breaker.name) waits longer than it may")
            }
        }
        for service in spec.services {
            let name = "service:\(service.name)@\(host.release(of: service))"
            guard let breaker = status.breakers.first(where: { $0.name == name }) else { continue }
            try checkHeld(host, service, breaker, time, now)
            try checkProtection(host, service, breaker, time, now)
        }
    }

    /// What is held has a reason: a breaker that is not closed, or its turn that has not come (rules P3, L6, L9, S16).
    private mutating func checkHeld(
        _ host: FleetHost,
        _ service: ServiceSpec,
        _ breaker: BreakerStatus,
        _ time: Int64,
        _ now: Int64
    ) throws {
        if now <= caughtUpAt { return }
        let held = host.shim.memory.keys.sorted().filter {
            $0.service == service.name && $0.index < service.replicas && host.shim.memory[$0]?.state == .held
        }
        switch breaker.state {
        case .closed, .forcedClosed, .disabled, .metricsOnly:
            let since = closedAt[service.name] ?? 0
            for id in held {
                let heldFor = now - (heldSince[id] ?? now)
                if heldSince[id] == nil { heldSince[id] = now }
                if heldFor > 2_500_000_000, breaker.state != .closed || now - since > 33_000_000_000 {
                    throw ShadowViolation("P3: \(host.name): \(id) is held, and \(breaker.name) is \(breaker.state)")
                }
            }
            if held.isEmpty { heldSince = heldSince.filter { $0.key.service != service.name } }
            overdueSince[breaker.name] = nil
        case .open, .halfOpen, .forcedOpen:
            heldSince = heldSince.filter { $0.key.service != service.name }
            try checkProbes(host, breaker, isHeld: !held.isEmpty, time, now)
        }
    }

    /// Rule L3: whoever waits for a probe that is due, has one made.
    private mutating func checkProbes(
        _ host: FleetHost,
        _ breaker: BreakerStatus,
        isHeld: Bool,
        _ time: Int64,
        _ now: Int64
    ) throws {
        let isDue = breaker.state == .open && (breaker.retryAt?.nanoseconds ?? .max) / 1_000_000 < time
        guard isDue, isHeld else { return overdueSince[breaker.name] = nil }
        let since = overdueSince[breaker.name] ?? now
        overdueSince[breaker.name] = since
        // On an island it is spread over a minute, and so is a fleet's that comes out of one.
        let patience: Int64 = breaker.isOfHostAlone ? 5_000_000_000 : 85_000_000_000
        if now - since > patience {
            throw ShadowViolation("L3: \(host.name): nobody probes \(breaker.name), which is due")
        }
    }

    /// Rule L8: whatever is with the store, a host does not go on starting what crashes.
    private func checkProtection(
        _ host: FleetHost,
        _ service: ServiceSpec,
        _ breaker: BreakerStatus,
        _ time: Int64,
        _ now: Int64
    ) throws {
        guard breaker.state == .closed, let known = crashes[breaker.name] else { return }
        let window = service.breaker.crashWindow.clampedNanoseconds / 1_000_000
        let threshold = service.breaker.crashThreshold
        let recent = known.all.filter { time - $0 < window - 1_000 }
        // What crashed before a takeover, or before it was closed, may count no more.
        let began = max(daemonBeganAt, closedAt[service.name] ?? 0) + 2_000_000_000
        let counted = recent.count { $0 > (began + host.clockAhead) / 1_000_000 }
        if counted >= threshold + 1 {
            throw ShadowViolation("L8: \(host.name): \(breaker.name) is closed after \(counted) crashes")
        }
    }

    /// Rule L4, and S13 with it: a host that has long been connected shows what the store holds, and holds nothing
    /// greater that the store has not got.
    func compare(_ host: FleetHost, _ ledger: BreakerLedger, _ storeNow: Int64, at now: Int64) throws {
        if now <= looseUntil || isIsland || now - daemonBeganAt < 20_000_000_000 { return }
        for breaker in host.machine.breakersStatus(at: host.instant(now)).breakers {
            let stored = ledger.registers[breaker.name] ?? BreakerRegister()
            let mode = ledger.overrides[breaker.name]?.mode ?? .auto
            // What the store has had for long enough to be told of, also without pushes.
            if storeNow - stored.changedAt < 3_500 { continue }
            // What was given back to it is older than it has had it: its place in the order of changes tells since
            // when.
            if storeNow - (ledger.changes[breaker.name] ?? 0) < 3_500 { continue }
            if let changedAt = ledger.overrides[breaker.name]?.changedAt, storeNow - changedAt < 3_500 { continue }
            let expected: BreakerPublicState =
                switch (mode, stored.state) {
                case (.forceOpen, _): .forcedOpen
                case (.forceClosed, _): .forcedClosed
                case (.disabled, _): .disabled
                case (.metricsOnly, _): .metricsOnly
                case (.auto, .open): .open
                case (.auto, .halfOpen): .halfOpen
                case (.auto, .closed): .closed
                }
            if breaker.state == expected || breaker.isOfHostAlone { continue }
            throw ShadowViolation(
                "L4: \(breaker.name) is \(breaker.state.rawValue), and \(expected.rawValue) in the store"
            )
        }
    }
}
