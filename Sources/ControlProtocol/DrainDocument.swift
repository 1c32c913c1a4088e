public import StatusBoard
public import SupervisorCore

/// The JSON of `drain-status --json` and of `GET /v1/drain`.
///
/// `{"at","target","state":"none|draining|drained","part_of"?,"phase"?,"by"?,"reason"?,"since"?,"deadline"?,
/// "seconds_left"?,"deadline_reached","notice"?,"waits_for"?,"probers":[…],"instances":[…],"lost":[…],"others":[…]}`;
/// in `others` are the drains of services and instances, in the same form. `part_of` names what is drained as a whole,
/// and the target with it: `node`, or its service.
public struct DrainDocument: Sendable {
    /// Probers that are listed; and of each of the others, of which there may be many.
    static let probers = 256
    static let probersOfOthers = 16

    private let snapshot: StatusBoard.Snapshot
    private let now: MonotonicInstant
    private let target: Target?
    private let drains: [DrainStatus]

    /// - Parameter target: the drain of this service or instance; nil: of the node, with all others.
    public init(_ snapshot: StatusBoard.Snapshot, now: MonotonicInstant, target: Target? = nil) {
        self.snapshot = snapshot
        self.now = now
        self.target = target
        drains = snapshot.fleet.drains
    }

    /// A drain that is only planned.
    public init(_ plan: DrainStatus, _ snapshot: StatusBoard.Snapshot, now: MonotonicInstant) {
        self.snapshot = snapshot
        self.now = now
        target = plan.drain.target
        drains = [plan]
    }

    public var json: [UInt8] {
        var writer = JSONWriter()
        writer.object(write)
        return writer.bytes
    }

    /// Writes the members of the document.
    func write(_ writer: inout JSONWriter) {
        writer.member("at", time(now))
        writeDrain(drains.first { $0.drain.target == target }, target, &writer)
        guard target == nil else { return }
        writer.member(
            "others",
            array: { list in
                for status in drains where status.drain.target != nil {
                    list.object { writeDrain(status, status.drain.target, &$0) }
                }
            }
        )
    }

    private func time(_ instant: MonotonicInstant) -> String { Timestamp.rfc3339(snapshot.wallClock(instant)) }

    private func writeDrain(_ status: DrainStatus?, _ target: Target?, _ writer: inout JSONWriter) {
        writer.member("target", target?.description ?? "node")
        guard let status else {
            writer.member("state", "none")
            writer.member("part_of", ifPresent: broader(than: target))
            writer.member("deadline_reached", false)
            for name in ["probers", "instances", "lost"] { writer.member(name, array: { _ in }) }
            return
        }
        let drain = status.drain
        writer.member("state", drain.phase == .drained ? "drained" : "draining")
        writer.member("phase", drain.phase.name)
        writer.member("by", drain.by)
        writer.member("reason", ifPresent: drain.reason)
        writer.member("since", time(drain.since))
        writer.member("deadline", time(drain.deadline))
        if drain.phase != .drained {
            writer.member("seconds_left", rounded: max(0, drain.deadline.since(now).inSeconds))
        }
        writer.member("deadline_reached", drain.deadlineReached)
        writer.member("waits_for", ifPresent: status.waitsFor)
        writer.member("notice", object: { writeNotice(status, &$0) })
        if let at = status.lastArrivalAt {
            writer.member("seconds_since_new_connection", rounded: max(0, now.since(at).inSeconds))
        }
        writer.member(
            "probers",
            array: { list in
                let most = target == self.target ? Self.probers : Self.probersOfOthers
                for prober in status.probers.prefix(most) { list.object { write(prober, &$0) } }
            }
        )
        writer.member(
            "instances",
            array: { list in
                for member in status.members { list.object { write(member, &$0) } }
            }
        )
        writer.member(
            "lost",
            array: { list in
                for lost in drain.lost {
                    list.object { writer in
                        writer.member("name", lost.instance.description)
                        writer.member("in_flight", ifPresent: lost.inFlight)
                    }
                }
            }
        )
    }

    /// What is drained as a whole, and the target with it: the node or its service.
    private func broader(than target: Target?) -> String? {
        guard let target else { return nil }
        if drains.contains(where: { $0.drain.target == nil }) { return "node" }
        let service = Target.service(target.service)
        return drains.contains { $0.drain.target == service } ? service.description : nil
    }

    private func writeNotice(_ status: DrainStatus, _ writer: inout JSONWriter) {
        writer.member("mode", status.drain.notice == .auto ? "auto" : "fixed")
        writer.member("min_seconds", rounded: status.noticeLeast.inSeconds)
        writer.member("max_seconds", rounded: status.noticeMost.inSeconds)
        if status.drain.phase == .notice {
            let end = status.drain.since.advanced(by: status.noticeMost)
            writer.member("seconds_left_at_most", rounded: max(0, end.since(now).inSeconds))
        }
    }

    private func write(_ prober: DrainStatus.Prober, _ writer: inout JSONWriter) {
        let sighting = prober.sighting
        writer.member("address", sighting.identity.address)
        writer.member("user_agent", sighting.identity.userAgent)
        writer.member("path", sighting.identity.path)
        writer.member("host", sighting.identity.host)
        if let period = sighting.period { writer.member("period_seconds", rounded: period.inSeconds) }
        writer.member("last_seen_seconds_ago", rounded: max(0, now.since(sighting.lastAt).inSeconds))
        writer.member("told", sighting.told)
        writer.member("haproxy_state", ifPresent: sighting.haproxyState)
        writer.member("haproxy_sessions", ifPresent: sighting.haproxySessions)
        writer.member("acknowledged", prober.hasAcknowledged)
        writer.member("text", prober.text)
    }

    private func write(_ member: DrainStatus.Member, _ writer: inout JSONWriter) {
        writer.member("name", member.id.description)
        writer.member("state", member.state.rawValue)
        writer.member("in_flight", ifPresent: member.inFlight)
        writer.member("in_flight_source", ifPresent: member.source?.rawValue)
    }
}

/// The JSON of a reload: `{"result":"planned|done|accepted","action":"reload","plan":{…}}`.
public enum ReloadDocument {
    /// - Parameter result: `planned`, `done` or `accepted`.
    public static func json(_ plan: ReloadPlan, result: String) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("result", result)
            writer.member("action", "reload")
            writer.member("plan", object: { write(plan, &$0) })
        }
        return writer.bytes
    }

    private static func write(_ plan: ReloadPlan, _ writer: inout JSONWriter) {
        writer.member(
            "steps",
            array: { list in
                for step in plan.steps {
                    list.object { writer in
                        writer.member("action", step.action.rawValue)
                        writer.member("instance", step.instance.description)
                        writer.member("reason", step.reason)
                    }
                }
            }
        )
        for (name, keys) in [("in_force", plan.inForce), ("needs_daemon_restart", plan.needsDaemonRestart)] {
            writer.member(name, array: { list in for key in keys { list.value(key) } })
        }
    }
}
