import SupervisorCore

// What goes wrong, and the end of it.
extension FleetWorld {
    mutating func strike(_ fault: FleetFault) throws {
        if fault.isOfStore {
            if hosts[0].spec.breaker.store == .local { return }
            storeTroubleUntil = max(storeTroubleUntil, now)
            return try strikeStore(fault)
        }
        let host = random.below(hosts.count)
        switch fault {
        case .daemonKilled:
            daemonDies(host)
            plan(.daemonBegins(host), after: random.chance(80) ? time(0.001, 1) : time(5, 60))
        case .shimReplaced, .reboot: replaceShim(host, reboots: fault == .reboot)
        case .hostPaused: pause(host)
        case .hostStopped:
            daemonDies(host)
            plan(.daemonBegins(host), after: time(10, 90))
        case .startsFail:
            let number: Int32 = random.pick([24, 28, 2, 11, 12]) ?? 24
            let stage: SpawnStage = number == 2 ? .execute : .clone
            hosts[host].startFault = SpawnFailure(stage: stage, errno: number, path: "/bin/x")
            hosts[host].startsFailUntil = now + time(2, 60)
            note("\(hosts[host].name): starts fail with errno \(number)")
            try killWorkers(host)
        case .hostCrashes:
            hosts[host].crashesUntil = now + time(5, 60)
            note("\(hosts[host].name): its workers crash")
            try killWorkers(host)
        case .badRelease, .releaseDeployed: try spoil(fault)
        case .dependencyFails:
            let name = random.chance(70) ? "db" : "mail"
            failingUntil[name] = now + time(5, 90)
            note("\(name) fails")
        case .dependencySlow:
            slowUntil["db"] = now + time(5, 60)
            note("db is slow")
        case .operators: try operatorActs(host)
        default: break
        }
    }

    private mutating func strikeStore(_ fault: FleetFault) throws {
        switch fault {
        case .failover: try failOver()
        case .splitBrain: try split()
        case .flush:
            note("FLUSHALL")
            tally.count(.flushed)
            for side in store.sides.indices { store.sides[side] = StoreModel.Side() }
        case .keyLost:
            guard let name = store.sides[0].ledger.registers.keys.sorted().first else { return }
            note("the key of \(name) is lost")
            store.sides[0].ledger.registers[name] = nil
            store.sides[0].ledger.changes[name] = nil
            // Nobody is told; whoever holds it finds out when it asks for everything.
            keyLostUntil = now + 40_000_000_000
            storeTroubleUntil = max(storeTroubleUntil, keyLostUntil)
        case .scriptsFlushed: store.scriptsLost = true
        case .clockStep:
            let step = time(-60, 60) / 1_000_000
            note("the clock of Redis is set by \(step) ms")
            store.offset += step
            if step < 0 { for side in store.sides.indices { store.sides[side].books.clockWentBack() } }
        case .slowAnswers:
            store.slowUntil = now + time(1, 15)
            storeTroubleUntil = max(storeTroubleUntil, store.slowUntil)
        case .storeAway:
            takeStoreAway(for: random.chance(50) ? time(0.2, 8) : time(20, 150))
            for host in hosts.indices { try disconnect(host) }
        case .wrongPassword:
            store.refusesUntil = now + time(5, 60)
            storeTroubleUntil = max(storeTroubleUntil, store.refusesUntil)
            for host in hosts.indices { try disconnect(host) }
        case .pushesUnreliable: store.pushesBadUntil = now + time(5, 60)
        default:
            let host = random.below(hosts.count)
            hosts[host].cutUntil = now + time(0.5, 60)
            storeTroubleUntil = max(storeTroubleUntil, hosts[host].cutUntil)
            note("\(hosts[host].name) is partitioned")
            // It notices by its timeouts, or at once.
            if random.chance(60) { try disconnect(host) }
        }
    }

    private mutating func failOver() throws {
        note("a failover: the newest writes are lost")
        tally.count(.failover)
        if store.sides.count == 1 { store.sides[0] = store.replica }
        store.offset += time(-0.2, 0.2) / 1_000_000
        store.sides[0].books.clockWentBack()
        for host in hosts.indices { try disconnect(host) }
    }

    private mutating func split() throws {
        guard store.sides.count == 1, hosts.count > 1 else { return }
        note("the store is split: two primaries")
        tally.count(.split)
        store.sides.append(store.replica)
        let length = time(1, 20)
        storeTroubleUntil = max(storeTroubleUntil, now + length)
        for host in hosts.indices where random.chance(40) {
            try disconnect(host)
            hosts[host].side = 1
        }
        plan(.splitHeals, after: length)
    }

    private mutating func replaceShim(_ host: Int, reboots: Bool) {
        daemonDies(host)
        hosts[host].shim.isReplaced()
        hosts[host].workers = [:]
        hosts[host].books.shimReplaced(reboots: reboots)
        if reboots {
            tally.count(.reboot)
            hosts[host].clockAhead = Int64(random.below(1_000_000)) * 1_000_000
            hosts[host].books.clockChanged()
        }
        plan(.daemonBegins(host), after: reboots ? time(5, 60) : time(0.1, 5))
    }

    private mutating func pause(_ host: Int) {
        guard hosts[host].lives else { return }
        tally.count(.paused)
        let length = random.chance(50) ? time(0.5, 5) : time(14, 40)
        hosts[host].pausedUntil = now + length
        hosts[host].books.stoodStill(until: now + length)
        storeTroubleUntil = max(storeTroubleUntil, now + length)
        note("\(hosts[host].name): the daemon stands still for \(length / 1_000_000) ms")
        plan(.resumes(host), after: length + Int64(random.below(3)))
    }

    private mutating func killWorkers(_ host: Int) throws {
        for id in hosts[host].workers.keys.sorted() {
            guard let worker = hosts[host].workers[id], random.chance(70) else { continue }
            hosts[host].workers[id] = nil
            hosts[host].shim.mainEnds(id, .code(1), at: hosts[host].instant(now))
            note("\(hosts[host].name): \(id) #\(worker.generation) crashes")
            planReports(host)
        }
    }

    /// A release turns out bad, or another one is deployed.
    private mutating func spoil(_ fault: FleetFault) throws {
        guard let service = random.pick(hosts[0].spec.services) else { return }
        if fault == .releaseDeployed || random.chance(40) {
            return try deploy(service.name, isBad: fault == .badRelease)
        }
        let release = hosts[0].release(of: service)
        badUntil["\(service.name)@\(release)"] = now + time(10, 200)
        note("\(service.name)@\(release) is bad now")
        for host in hosts.indices {
            for id in hosts[host].workers.keys.sorted() where id.service == service.name {
                guard let worker = hosts[host].workers[id] else { continue }
                plan(.workerEnds(host, id, worker.generation, 1), after: time(0.05, 8))
            }
        }
    }

    private mutating func operatorActs(_ host: Int) throws {
        let name = random.chance(60) ? random.pick(hosts[0].spec.services)?.name ?? "web" : "db"
        let action: BreakerAction = random.pick([.forceOpen, .forceClosed, .auto, .auto, .reset]) ?? .auto
        hosts[host].nextOperation += 1
        note("\(hosts[host].name): somebody wants \(name) \(action.rawValue)")
        let command = Command.breaker(name, action, reason: "because")
        try send(host, .commanded(hosts[host].nextOperation, command, by: "ops"))
    }

    // MARK: Looking

    /// The store and every way to it have been as they should be for so long, nanoseconds.
    var calm: Int64 { now - storeTroubleUntil }

    mutating func look() throws {
        plan(.look, after: 1_000_000_000)
        let store = store
        let storeNow = store.clock(now)
        for host in hosts.indices {
            guard hosts[host].lives, now >= hosts[host].pausedUntil else { continue }
            try hosts[host].books.look(hosts[host], at: now)
            guard hosts[host].isLinked, store.sides.count == 1, calm > 6_000_000_000 else { continue }
            do {
                try hosts[host].books.compare(hosts[host], store.sides[0].ledger, storeNow, at: now)
            } catch {
                throw ShadowViolation("\(hosts[host].name): \(error)")
            }
        }
        if isResting, unrest == nil { isConverged = true }
    }

    // MARK: Rest

    mutating func rest() throws {
        isResting = true
        note("the faults are over")
        (store.awayUntil, store.slowUntil, store.refusesUntil, store.pushesBadUntil) = (0, 0, 0, 0)
        storeTroubleUntil = max(now, keyLostUntil)
        try healSplit()
        badUntil = [:]
        failingUntil = [:]
        slowUntil = [:]
        for host in hosts.indices {
            hosts[host].startsFailUntil = 0
            hosts[host].crashesUntil = 0
            hosts[host].cutUntil = 0
            hosts[host].pausedUntil = min(hosts[host].pausedUntil, now)
            try resume(host)
            plan(.daemonBegins(host), after: time(0, 1))
        }
        // Until all are connected again: some wait 10 s before they try.
        try run(until: now + 25_000_000_000)
        // What operators decided they take back.
        for name in hosts[0].spec.services.map(\.name) + ["db", "mail"] {
            hosts[0].nextOperation += 1
            let command = Command.breaker(name, .auto, reason: nil)
            try send(0, .commanded(hosts[0].nextOperation, command, by: "ops"))
        }
        try run(until: now + 480_000_000_000)
        guard isConverged else { throw ShadowViolation("L2: it does not converge: \(unrest ?? "")") }
        tally.count(.converged)
    }

    /// What is not as it should be; nil where all is well.
    var unrest: String? {
        for host in hosts {
            if !host.lives { return "\(host.name) has no daemon" }
            let status = host.machine.breakersStatus(at: host.instant(now))
            if status.store == .island { return "\(host.name) is on its own" }
            for service in host.spec.services {
                for id in service.instanceIDs where host.workers[id]?.isReady != true {
                    return "\(host.name): \(id) does not run: \(host.shim.memory[id]?.state as Any)"
                }
            }
        }
        return openPresent
    }

    /// The breaker of a present release that is not closed. Where all of its workers run, nobody is there to be the
    /// probe, and it stays as it is: that is no unrest, but see the report on L2.
    private var openPresent: String? {
        for host in hosts {
            for breaker in host.machine.breakersStatus(at: host.instant(now)).breakers {
                let isPresent = host.spec.services.contains {
                    breaker.name == "service:\($0.name)@\(host.release(of: $0))"
                }
                if isPresent, breaker.state == .forcedOpen || breaker.state == .forcedClosed {
                    return "\(host.name): \(breaker.name) is \(breaker.state.rawValue)"
                }
            }
        }
        return nil
    }
}

extension StoreBooks {
    /// What waits by the store's clock may wait so much longer, once.
    mutating func clockWentBack() { wentBack = true }
}
