// What a drain sees: who probes us and what each was told, new connections, and what is in flight.
extension FleetMachine {
    // MARK: Looking

    /// Drains that wait for what is seen.
    private var isWatching: Bool { node.drains.contains { $0.phase <= .inFlight } }

    /// Asks the shell to look now.
    mutating func look(_ turn: inout Turn) {
        lookIsWanted = false
        guard isWatching else { return }
        lookedAt = turn.now
        if node.drains.contains(where: { $0.phase == .notice }) { turn.act(.lookAtProbers) }
        let names = services.indices.filter { isCounted($0) }.map { services[$0].name }
        if names.isEmpty || countAskedAt != nil { return }
        countAskedAt = turn.now
        turn.act(.countConnections(names))
    }

    /// It has ports or sockets, and instances that are leaving.
    private func isCounted(_ index: Int) -> Bool {
        let service = services[index]
        guard service.portBase != nil || service.hasSockets else { return false }
        return service.slots.contains { instances[$0].isLeaving && instances[$0].state.hasProcess }
    }

    var lookDue: MonotonicInstant? { isWatching ? lookedAt.advanced(by: DrainLimits.lookPeriod) : nil }

    mutating func probersSeen(_ sightings: [ProberSighting], _ turn: inout Turn) {
        self.sightings = sightings
        sightedAt = turn.now
        if !node.drains.isEmpty { drainsMoved = true }
    }

    mutating func connectionsCounted(_ figures: [TrafficFigure]?, _ turn: inout Turn) {
        let askedAt = countAskedAt
        countAskedAt = nil
        guard let figures, let askedAt else {
            seesConnections = false
            return
        }
        seesConnections = true
        drainsMoved = true
        // Of what there is no figure there are no connections.
        let before = instances.indices.map { inFlight($0)?.count }
        for slot in instances.indices where instances[slot].isLeaving && hasPort(slot) {
            instances[slot].traffic.countsAsAsked(askedAt)
        }
        for figure in figures {
            switch figure.target {
            case .instance(let id):
                guard let slot = slotOf[id], let service = instances[slot].service else { continue }
                instances[slot].traffic.take(figure, askedAt: askedAt, turn.now)
                if let before = before[slot], let after = inFlight(slot) {
                    countRise(slot, from: before, to: after.count)
                }
                markDirty(service: service)
            case .service(let name):
                guard let index = services.firstIndex(where: { $0.name == name }) else { continue }
                services[index].traffic.take(figure, askedAt: askedAt, turn.now)
            }
        }
    }

    /// What is in flight grew: new work has come.
    mutating func countRise(_ slot: Int, from before: UInt64, to after: UInt64) {
        if after > before, instances[slot].isLeaving { instances[slot].traffic.rises &+= 1 }
    }

    // MARK: Notice

    /// Earliest and latest end of the notice, from its beginning on.
    func noticeBounds(_ drain: Drain) -> (least: Duration, most: Duration) {
        switch drain.notice {
        case .fixed(let time): return (time, time)
        case .auto: break
        }
        if isPartOfMore(drain), !hasConcernedProber(drain) { return (.zero, .zero) }
        return (drainSpec.noticeMinimum, drainSpec.noticeMaximum)
    }

    /// A rolling restart, or an instance that goes: others stand in for it, and only who asks for it by name is told.
    private func isPartOfMore(_ drain: Drain) -> Bool { drain.purpose == .roll || drain.purpose == .removal }

    /// When the stop signal must be sent at the latest, so that there is time to end in order.
    func stopDue(_ drain: Drain) -> MonotonicInstant {
        let total = drain.deadline.since(drain.since)
        let margin = min(DrainLimits.stopMargin, total / 2)
        return drain.deadline.advanced(by: .zero - margin)
    }

    /// What the notice still waits for, in one clause; nil when it is over.
    func whatNoticeWaitsFor(_ drain: Drain, _ now: MonotonicInstant) -> String? {
        if now >= stopDue(drain) || !slots(of: drain).contains(where: { isServing($0) }) { return nil }
        let (least, most) = noticeBounds(drain)
        let elapsed = now.since(drain.since)
        if elapsed >= most { return nil }
        if elapsed < least || least == most { return "load balancers, which have \(least.brief) to see it" }
        guard let sightedAt, sightedAt >= drain.since else { return "the health server to say who probes us" }
        let concerned = concerned(drain, now)
        // Nobody asks whether to route to us: a longer notice would reach nobody either.
        if concerned.isEmpty { return nil }
        let waiting = concerned.filter { !acknowledged($0, drain, now).isGiven }
        if let first = waiting.first {
            let more = waiting.count > 1 ? " and \(waiting.count - 1) more" : ""
            let text = acknowledged(first, drain, now).text
            return "\(first.identity.address) (\(first.identity.shownAgent))\(more): \(text)"
        }
        if isPartOfMore(drain) { return nil }
        return whatQuietWaitsFor(drain, now)
    }

    private func whatQuietWaitsFor(_ drain: Drain, _ now: MonotonicInstant) -> String? {
        guard seesConnections, let at = lastArrival(drain), now.since(at) < DrainLimits.quiet else { return nil }
        return "new connections to cease"
    }

    /// When a new connection to what is drained was last seen.
    func lastArrival(_ drain: Drain) -> MonotonicInstant? {
        var last: MonotonicInstant?
        for slot in slots(of: drain) {
            if let at = instances[slot].traffic.arrivedAt { last = max(last ?? at, at) }
        }
        for index in wholeServices(drain) {
            if let at = services[index].traffic.arrivedAt { last = max(last ?? at, at) }
        }
        return last
    }

    /// Services that are drained as a whole, so that what arrives on their passed sockets counts.
    private func wholeServices(_ drain: Drain) -> [Int] {
        switch drain.target {
        case nil: Array(services.indices)
        case .service(let name)?: services.indices.filter { services[$0].name == name }
        case .instance?: []
        }
    }

    /// The probers that the notice of a drain is for.
    func concerned(_ drain: Drain, _ now: MonotonicInstant) -> [ProberSighting] {
        let takesOut = takesServiceOut(drain)
        return sightings.filter { NoticePolicy.concerns($0, drain.target, takesServiceOut: takesOut, now) }
    }

    private func hasConcernedProber(_ drain: Drain) -> Bool {
        guard let sightedAt, sightedAt >= drain.since else { return true }
        return !concerned(drain, sightedAt).isEmpty
    }

    func acknowledged(
        _ sighting: ProberSighting,
        _ drain: Drain,
        _ now: MonotonicInstant
    ) -> (isGiven: Bool, text: String) {
        // As of when it was looked at: where the look itself comes late, nobody has fallen silent by that.
        NoticePolicy.acknowledgement(of: sighting, since: drain.since, min(now, sightedAt ?? now))
    }

    /// Without the drained instance nobody of its service is given work.
    private func takesServiceOut(_ drain: Drain) -> Bool {
        guard case .instance(let id)? = drain.target, let slots = resolve(.service(id.service)) else { return true }
        return !slots.contains { instances[$0].id != id && isServing($0) && !instances[$0].isLeaving }
    }

    // MARK: In flight

    /// Requests in flight, and who says so; nil when nobody can tell.
    func inFlight(_ slot: Int) -> (count: UInt64, source: InFlightSource)? {
        guard let run = instances[slot].memory.run else { return nil }
        if let count = run.inFlight { return (count, .worker) }
        let traffic = instances[slot].traffic
        guard traffic.askedAt != nil, instances[slot].isLeaving else { return nil }
        return (UInt64(max(0, traffic.busy)), .connections)
    }

    /// What a drain still has in flight, in one clause; nil when nothing is waited for any more.
    func whatFlightWaitsFor(_ drain: Drain, _ now: MonotonicInstant) -> String? {
        if now >= stopDue(drain) { return nil }
        if now.since(drain.phaseSince) < DrainLimits.countPatience, isUncounted(drain) {
            return "connections to be counted"
        }
        var total: UInt64 = 0
        var busy: [String] = []
        for slot in slots(of: drain) where isServing(slot) && !sharesSocketsInUse(slot, drain) {
            guard let count = inFlight(slot)?.count, count > 0, !isFed(slot) else { continue }
            total &+= count
            busy.append(instances[slot].id.description)
        }
        for index in wholeServices(drain) where services[index].hasSockets && services[index].traffic.busy > 0 {
            if services[index].slots.contains(where: { inFlight($0)?.source == .worker }) { continue }
            total &+= UInt64(services[index].traffic.busy)
            busy.append("the sockets of \(services[index].name)")
        }
        guard let first = busy.first else { return nil }
        let more = busy.count > 1 ? " and \(busy.count - 1) more" : ""
        return "\(total) request\(total == 1 ? "" : "s") in flight (\(first)\(more))"
    }

    /// It accepts from sockets that others accept from too, for as long as it lives: it is told to stop at once, and
    /// finishes what it has.
    private func sharesSocketsInUse(_ slot: Int, _ drain: Drain) -> Bool {
        guard isPartOfMore(drain), let service = instances[slot].service else { return false }
        return services[service].hasSockets
    }

    /// A count of connections is needed and is not there yet, of the time since the notice was over.
    private func isUncounted(_ drain: Drain) -> Bool {
        slots(of: drain).contains { slot in
            guard isServing(slot), let service = instances[slot].service, services[service].portBase != nil,
                instances[slot].memory.run?.inFlight == nil
            else { return false }
            return instances[slot].traffic.askedAt.map { $0 < drain.phaseSince } ?? true
        }
    }

    /// It has a port of its own, so that its connections can be told from others'.
    private func hasPort(_ slot: Int) -> Bool {
        instances[slot].service.map { services[$0].portBase != nil } ?? false
    }

    private func isFed(_ slot: Int) -> Bool { instances[slot].traffic.rises >= DrainLimits.risesUntilFed }

    // MARK: Time

    /// The next moment at which a drain has to be looked at.
    func drainDue(_ now: MonotonicInstant) -> MonotonicInstant? {
        var due = lookDue
        for drain in node.drains {
            let next: MonotonicInstant?
            switch drain.phase {
            case .notice:
                let (least, most) = noticeBounds(drain)
                let ends = [least, most].map { drain.since.advanced(by: $0) }.filter { $0 > now }
                next = min(stopDue(drain), ends.min() ?? stopDue(drain))
            case .inFlight: next = stopDue(drain)
            case .stopping: next = drain.deadline
            case .enforce, .drained: next = nil
            }
            if let next { due = min(due ?? next, next) }
        }
        return due
    }
}

extension TrafficView {
    fileprivate mutating func countsAsAsked(_ at: MonotonicInstant) {
        askedAt = at
        open = 0
        busy = 0
    }

    mutating func take(_ figure: TrafficFigure, askedAt: MonotonicInstant, _ now: MonotonicInstant) {
        self.askedAt = askedAt
        open = figure.open
        busy = figure.busy
        if figure.arrived > 0 { arrivedAt = now }
    }
}

extension ProberSighting.Identity {
    /// Its user agent, or what it asks where it names none.
    var shownAgent: String { userAgent.isEmpty ? path : userAgent }
}
