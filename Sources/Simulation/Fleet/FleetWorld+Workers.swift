import SupervisorCore

// Workers, what they call, and who deploys them.
extension FleetWorld {
    // MARK: Runs

    mutating func workerBegins(_ host: Int, _ id: InstanceID, _ generation: UInt64) {
        tally.starts += 1
        guard let service = hosts[host].spec.services.first(where: { $0.name == id.service }) else { return }
        let release = hosts[host].release(of: service)
        hosts[host].workers[id] = FleetHost.Worker(generation: generation, release: release)
        let ready = time(scenario.startTime.lowerBound, scenario.startTime.upperBound)
        plan(.workerReady(host, id, generation), after: service.kind == .simple ? 1 : ready)
        guard isBad(host, id.service, release) else { return }
        // Before it is ready, or soon after, or so late that it seems to have worked.
        let life = random.chance(85) ? time(0.05, 4) : time(5, 40)
        plan(.workerEnds(host, id, generation, 1), after: life)
    }

    func isBad(_ host: Int, _ service: String, _ release: String) -> Bool {
        now < badUntil["\(service)@\(release)"] ?? 0 || now < hosts[host].crashesUntil
    }

    mutating func workerReady(_ host: Int, _ id: InstanceID, _ generation: UInt64) throws {
        guard var worker = hosts[host].workers[id], worker.generation == generation, !worker.isEnding else { return }
        worker.isReady = true
        hosts[host].workers[id] = worker
        var message = NotifyMessage()
        message.ready = true
        hosts[host].shim.say(id, message)
        guard hosts[host].lives else { return }
        let said = hosts[host].shim.datagrams
        hosts[host].shim.datagrams = []
        for datagram in said { try send(host, .notified(datagram.instance, datagram.generation, datagram.message)) }
    }

    mutating func workerEnds(_ host: Int, _ id: InstanceID, _ generation: UInt64, _ code: Int32) {
        guard let worker = hosts[host].workers[id], worker.generation == generation else { return }
        // A release that has become good meanwhile does not crash any more.
        if code != 0, !isBad(host, id.service, worker.release) { return }
        hosts[host].workers[id] = nil
        hosts[host].shim.mainEnds(id, .code(code), at: hosts[host].instant(now))
        workerIsGone(host, id)
    }

    mutating func treeEnds(_ host: Int, _ id: InstanceID, _ generation: UInt64) {
        guard hosts[host].workers[id]?.generation == generation || hosts[host].shim.processes[id] != nil else { return }
        hosts[host].workers[id] = nil
        hosts[host].shim.treeEnds(id, at: hosts[host].instant(now))
        workerIsGone(host, id)
    }

    private mutating func workerIsGone(_ host: Int, _ id: InstanceID) {
        planReports(host)
        guard hosts[host].lives, now >= hosts[host].pausedUntil else { return }
        hosts[host].machine.workerGone(Self.connection(id), at: hosts[host].instant(now))
        hosts[host].books.workerGone(Self.connection(id))
        if hosts[host].machine.hasCallsToSettle {
            hosts[host].backlog.append(.callsSettled)
            plan(.resumes(host), after: 1)
        }
    }

    /// A number for a worker's connection.
    private static func connection(_ id: InstanceID) -> UInt64 { UInt64(id.index) * 2 + (id.service == "web" ? 1 : 2) }

    mutating func identifyReleases(_ host: Int, _ epoch: UInt64, _ names: [String]) throws {
        guard hosts[host].lives, hosts[host].epoch == epoch else { return }
        var found: [String: String] = [:]
        for service in hosts[host].spec.services where service.release.isEmpty && names.contains(service.name) {
            found[service.name] = hosts[host].content[service.name]
        }
        try send(host, .releasesIdentified(found))
    }

    // MARK: Deployment

    /// Another release of a service, on all hosts one after the other.
    mutating func deploy(_ service: String, isBad: Bool) throws {
        releasesMade += 1
        let release = "r\(releasesMade)"
        tally.count(.newRelease)
        if isBad { badUntil["\(service)@\(release)"] = now + time(20, 240) }
        note("\(service): \(release) is deployed, and is \(isBad ? "bad" : "good")")
        for host in hosts.indices {
            let index = hosts[host].spec.services.firstIndex { $0.name == service }
            guard let index else { continue }
            if hosts[host].spec.services[index].release.isEmpty {
                hosts[host].content[service] = release
                plan(.releases(host, hosts[host].epoch, [service]), after: time(0.1, 3))
                continue
            }
            hosts[host].spec.services[index].release = release
            hosts[host].books.configure(hosts[host].spec)
            hosts[host].nextOperation += 1
            let event = Event.reconfigured(
                hosts[host].nextOperation,
                hosts[host].spec,
                restarting: [service: "release"],
                by: "ops"
            )
            try send(host, event)
        }
    }

    // MARK: Calls

    mutating func call(_ host: Int) throws {
        plan(.call(host), after: time(scenario.callPause.lowerBound, scenario.callPause.upperBound))
        guard hosts[host].lives, now >= hosts[host].pausedUntil else { return }
        let ready = hosts[host].workers.keys.sorted().filter { hosts[host].workers[$0]?.isReady == true }
        guard let id = random.pick(ready), let worker = hosts[host].workers[id] else { return }
        let name = random.chance(75) ? "db" : "mail"
        for _ in 0..<random.pick(1...3) {
            let answer = hosts[host].machine.ask(
                dependency: name,
                worker: Self.connection(id),
                at: hosts[host].instant(now)
            )
            try hosts[host].books.checkCall(name, answer, hosts[host], at: now, &tally)
            switch answer {
            case .allowed(let pass): makeCall(host, name, id, worker, pass, isProbe: false)
            case .probe(let pass): makeCall(host, name, id, worker, pass, isProbe: true)
            case .denied, nil: break
            }
        }
        if hosts[host].machine.hasCallsToSettle { try send(host, .callsSettled) }
    }

    private mutating func makeCall(
        _ host: Int,
        _ name: String,
        _ id: InstanceID,
        _ worker: FleetHost.Worker,
        _ pass: UInt64,
        isProbe: Bool
    ) {
        callsMade += 1
        let takes = now < slowUntil[name] ?? 0 ? time(2.1, 4) : time(0.001, 0.2)
        let call = FleetCall(
            dependency: name,
            worker: id,
            generation: worker.generation,
            number: callsMade,
            pass: pass,
            isProbe: isProbe,
            microseconds: takes / 1_000
        )
        plan(.callEnds(host, hosts[host].epoch, call), after: takes)
    }

    mutating func callEnds(_ host: Int, _ epoch: UInt64, _ call: FleetCall) throws {
        guard hosts[host].lives, hosts[host].epoch == epoch, now >= hosts[host].pausedUntil,
            hosts[host].workers[call.worker]?.generation == call.generation
        else { return }
        let fails = now < failingUntil[call.dependency] ?? 0
        let outcome: CallOutcome = fails ? .failed : random.chance(2) ? .ignored : .ok
        hosts[host].books.reported(call, outcome)
        hosts[host].machine.report(
            dependency: call.dependency,
            pass: call.pass,
            worker: Self.connection(call.worker),
            outcome,
            microseconds: call.microseconds,
            at: hosts[host].instant(now)
        )
        if hosts[host].machine.hasCallsToSettle { try send(host, .callsSettled) }
    }
}
