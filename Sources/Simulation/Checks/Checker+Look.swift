package import SupervisorCore

// What users see, against the checker's own books.
extension Checker {
    /// Rules I1, I8, I10, and that each suppression and hold is shown. `live` says which instances have a live tree.
    package mutating func look(_ machine: FleetMachine, live: (InstanceID) -> Bool, connected: Bool) throws {
        var machine = machine
        let status = machine.fleetStatus(at: MonotonicInstant(nanoseconds: now))
        for (position, service) in status.services.enumerated() {
            var told: UInt64 = 0
            for instance in service.instances {
                guard let slot = slotOf[instance.id] else { continue }
                try look(instance, slot, service)
            }
            // The extra instances of rolling restarts too, which are gone by now.
            for entry in entries where entry.id.service == service.name { told += UInt64(entry.told) }
            var counted: UInt64 = 0
            for rule in SuppressionRule.allCases { counted += machine.suppressions(ofService: position, rule) }
            // A service that lost instances to another configuration is told of by its new ones only.
            if counted != told {
                throw ShadowViolation("I10: \(counted) suppressions of \(service.name) are counted, \(told) were told")
            }
            if counted > 0 { tally.count(.suppressionCounted) }
        }
        if !isFrozen, status.node.hold == "correlated", hold == nil, now != frozenUntil {
            throw ShadowViolation("I5: a hold is shown, and there is none")
        }
        if hold != nil, status.node.hold == nil { throw ShadowViolation("I5: the hold is not shown") }
        if let calm = hold?.calmSince, now > max(calm, daemonBeganAt, extraSeenAt) + 121_000_000_000 {
            throw ShadowViolation("I5: the hold goes on, and nothing fails")
        }
        if connected { try countLive(live) }
    }

    private mutating func look(_ instance: InstanceStatus, _ slot: Int, _ service: ServiceStatus) throws {
        if !instance.ready, instance.state != .starting, instance.reason == nil {
            throw ShadowViolation("P3: \(instance.id) is \(instance.state) without a reason")
        }
        if entries[slot].isHeld, entries[slot].spec?.readiness != nil {
            let other = service.instances.contains { other in
                other.id != instance.id && other.ready && !(slotOf[other.id].map { entries[$0].isHeld } ?? false)
            }
            if other, instance.ready {
                throw ShadowViolation("I8: \(instance.id) is held and given work while another one is ready")
            }
        }
        guard let run = entries[slot].record?.run, entries[slot].inTrouble, instance.suppressions.isEmpty else {
            return
        }
        // It has shown that it is in trouble since, and the shell has had the time to look at the pressure.
        let since = max(entries[slot].troubleAt ?? now, daemonBeganAt)
        let shownAt = entries[slot].livenessFailedAt
        let isShown =
            run.heartbeatLate ? now - since > 120_000_000_000 : shownAt > since && now - shownAt > 1_000_000_000
        if isShown { throw ShadowViolation("I10: \(instance.id) is in trouble, and nothing is shown of it") }
    }

    /// Rule I1: never more live trees than are wanted; what is asked to end counts no more.
    private mutating func countLive(_ live: (InstanceID) -> Bool) throws {
        var wanted = 0
        var count = 0
        for entry in entries {
            let isWanted = entry.spec != nil && entry.record?.stopIntent == nil
            if isWanted { wanted += 1 }
            if isWanted, live(entry.id) { count += 1 }
        }
        let extra = entries.count { entry in
            guard entry.spec == nil, let state = entry.record?.state else { return false }
            if case .stopping = state { return false }
            return state.hasProcess && !drains.contains { $0.covers(entry.id) } && live(entry.id)
        }
        if extra > 1 { throw ShadowViolation("I1: \(extra) more than are wanted are live") }
        if count > wanted + 1 { throw ShadowViolation("I1: \(count) are live, \(wanted) are wanted") }
        if count == wanted, count > 0 { tally.count(.everyPlaceLive) }
    }
}
