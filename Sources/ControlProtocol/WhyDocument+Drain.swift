import StatusBoard
import SupervisorCore

// What a drain, or a rolling restart, has to do with it: who asked for it, what it waits for, and the way back.
extension WhyDocument {
    // MARK: Drains

    /// The drains that take out what is asked about; none of them is part of anything else.
    func drains(covering target: Target?) -> [DrainStatus] {
        snapshot.fleet.drains.filter { status in
            guard let drained = status.drain.target else { return true }
            switch target {
            case nil: return false
            case .service?: return drained == target
            case .instance(let id)?: return status.drain.covers(id)
            }
        }
    }

    /// The one that says most, as in the core: of the fleet's stop, else the one that has come furthest.
    private func foremost(_ drains: [DrainStatus]) -> DrainStatus? {
        drains.first { $0.drain.purpose == .shutdown } ?? drains.max { $0.drain.phase < $1.drain.phase }
    }

    /// `"drain":{"target","phase","by","reason"?,"seconds_left"?,"deadline_reached","waits_for"?}`
    func writeDrain(of target: Target?, _ writer: inout JSONWriter) {
        guard let status = foremost(drains(covering: target)) else { return }
        writer.member("drain", object: { DrainFacts(status, now: now).write(&$0) })
    }

    /// How to put it back into service: each drain has to be taken back.
    func waysOutOfDrain(of target: Target?) -> [String] {
        let drains = drains(covering: target)
        if snapshot.fleet.node.intent == .stop || drains.contains(where: { $0.drain.purpose == .shutdown }) {
            return ["nothing: the fleet is being stopped; start eiderd again afterwards"]
        }
        return drains.map { status in
            "put \(status.drain.target.map { "\($0)" } ?? "the node") back into service: eiderctl undrain"
                + (status.drain.target.map { " \($0)" } ?? "")
        }
    }

    /// An instance that leaves, or has left, without anybody having asked for just that.
    func waysOutOfLeaving(_ instance: InstanceStatus) -> [String] {
        let ways = waysOutOfDrain(of: .instance(instance.id))
        let isSuppressed = instance.suppressions.contains { $0.rule == .drain }
        let rule = "it is not restarted for its health while it is drained: its end is near anyway"
        if !ways.isEmpty { return ways + (isSuppressed ? [rule] : []) }
        let service = instance.id.service
        let desired = snapshot.fleet.services.first { $0.name == service }?.desired ?? 0
        if instance.id.index < desired, snapshot.fleet.rolls.contains(where: { $0.service == service }) {
            return ["nothing: it is replaced in turns, and comes back by itself"]
        }
        return ["nothing: nobody asks for it any more; it ends when what it has in flight is done"]
    }

    // MARK: Rolling restarts

    func roll(of service: String) -> RollStatus? { snapshot.fleet.rolls.first { $0.service == service } }

    /// `"rolling":{"replaced","total","by","reason"?,"text","failure"?}`
    func writeRoll(of service: String, _ writer: inout JSONWriter) {
        guard let roll = roll(of: service) else { return }
        writer.member("rolling", object: { RollFacts(roll).write(&$0) })
    }

    /// What to do about a rolling restart that goes no further; nil where there is none.
    func wayOutOfRoll(of service: String) -> String? {
        let again = "then eiderctl restart \(service) --rolling for the rest"
        if let roll = roll(of: service) {
            return roll.failure.map { "the rolling restart has stopped: mend that (\($0)), \(again)" }
        }
        // One that has stopped is over; the last events still tell of it.
        let last = events.last { ["rolling", "rolled", "roll-stopped"].contains($0.kind) }
        return last?.kind == "roll-stopped" ? "the rolling restart has stopped (see events): mend that, \(again)" : nil
    }

    // MARK: In flight

    /// `"in_flight"?,"in_flight_source"?,"in_flight_text"?`: how many, and by whose count.
    func writeInFlight(_ instance: InstanceStatus, _ writer: inout JSONWriter) {
        writer.member("in_flight", ifPresent: instance.inFlight)
        writer.member("in_flight_source", ifPresent: instance.inFlightSource?.rawValue)
        writer.member("in_flight_text", ifPresent: inFlightWords(instance))
    }

    private func inFlightWords(_ instance: InstanceStatus) -> String? {
        if let count = instance.inFlight, let source = instance.inFlightSource {
            return "\(count) request\(count == 1 ? "" : "s") in flight, by \(source.inWords)"
        }
        // Only a drain waits for them.
        guard instance.state == .draining, instance.pid != nil else { return nil }
        let service = serviceSpec(instance.id.service)
        if service.portBase == nil, service.sockets.isEmpty {
            return "nobody counts its requests: it reports none and has no port"
        }
        if service.portBase == nil {
            return "nobody counts its requests alone: it reports none, and shares its sockets with its siblings"
        }
        let drain = foremost(drains(covering: .instance(instance.id)))
        if drain?.seesConnections == false, drain?.drain.phase != .notice {
            return "nobody counts its requests: it reports none, and the kernel does not tell of its connections"
        }
        return "its connections are not counted yet"
    }
}

extension InFlightSource {
    /// To stand after "by".
    var inWords: String {
        switch self {
        case .worker: "the worker's own count"
        case .connections: "the kernel's count of connections that are not idle"
        }
    }
}

/// A drain within `status` and `why`.
struct DrainFacts {
    private let status: DrainStatus
    private let now: MonotonicInstant

    init(_ status: DrainStatus, now: MonotonicInstant) {
        self.status = status
        self.now = now
    }

    func write(_ writer: inout JSONWriter) {
        let drain = status.drain
        writer.member("target", drain.target?.description ?? "node")
        writer.member("phase", drain.phase.name)
        writer.member("by", drain.by)
        writer.member("reason", ifPresent: drain.reason)
        if drain.phase != .drained {
            writer.member("seconds_left", rounded: max(0, drain.deadline.since(now).inSeconds))
        }
        writer.member("deadline_reached", drain.deadlineReached)
        writer.member("waits_for", ifPresent: status.waitsFor)
    }
}

/// A rolling restart within `status` and `why`.
struct RollFacts {
    private let roll: RollStatus

    init(_ roll: RollStatus) {
        self.roll = roll
    }

    func write(_ writer: inout JSONWriter) {
        writer.member("replaced", roll.replaced)
        writer.member("total", roll.total)
        writer.member("by", roll.by)
        writer.member("reason", ifPresent: roll.reason)
        writer.member("text", roll.text)
        writer.member("failure", ifPresent: roll.failure)
    }
}
