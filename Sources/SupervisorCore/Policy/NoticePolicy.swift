/// Whether a load balancer has understood that it should go elsewhere: a pure function of what was seen of it.
///
/// Source: research/health-and-drain.md §5.4, "Prober acknowledgement".
enum NoticePolicy {
    /// User agents that route by what they are told, with the answers in a row that they need; others need
    /// `DrainLimits.answersUntilTold`.
    private static let routers: [(prefix: String, answers: Int)] = [("Envoy/HC", 1), ("ELB-HealthChecker", 2)]
    /// User agents that only watch: nobody is routed by them.
    private static let watchers = ["Blackbox Exporter", "Blackbox-Exporter", "Prometheus", "Monit", "monit"]
    /// HAProxy's states of a server that gets nothing new.
    private static let outStates = ["NOLB", "DOWN", "DRAIN", "MAINT"]

    /// The drain of `target` is its business: it asks for it, has asked often enough, and lately.
    ///
    /// - Parameter takesServiceOut: nobody of the drained instance's service is left to be given work.
    static func concerns(
        _ sighting: ProberSighting,
        _ target: Target?,
        takesServiceOut: Bool,
        _ now: MonotonicInstant
    ) -> Bool {
        guard sighting.requests >= DrainLimits.requestsUntilKnown, now.since(sighting.lastAt) <= DrainLimits.lately,
            !watchers.contains(where: { sighting.identity.userAgent.hasPrefix($0) })
        else { return false }
        // All it asked came at once: somebody looked, and nobody knows when, or whether, that is done again.
        if sighting.period == nil { return false }
        guard let target else { return true }
        switch (target, sighting.target) {
        case (.service(let drained), let asked?): return asked.service == drained
        case (.instance(let drained), .instance(let asked)?): return asked == drained
        case (.instance(let drained), .service(let asked)?): return takesServiceOut && asked == drained.service
        case (_, nil): return false
        }
    }

    /// Whether it has acknowledged a drain that began at `since`, and how, or what is waited for.
    static func acknowledgement(
        of sighting: ProberSighting,
        since: MonotonicInstant,
        _ now: MonotonicInstant
    ) -> (isGiven: Bool, text: String) {
        if let period = sighting.period, period > .zero {
            let silence = period * DrainLimits.silentPeriods
            if now.since(sighting.lastAt) > silence { return (true, "has not asked for \(silence.brief)") }
        }
        if sighting.isAgent {
            if sighting.outInARow > 0 { return (true, "was told \(sighting.told)") }
            return (false, "was not told yet")
        }
        if let state = sighting.haproxyState { return haproxy(state, sighting, since) }
        let needed = routers.first { sighting.identity.userAgent.hasPrefix($0.prefix) }?.answers
        let answers = needed ?? DrainLimits.answersUntilTold
        if sighting.outInARow >= answers { return (true, "was told \(sighting.told)") }
        if sighting.outInARow == 0 { return (false, "was not told yet") }
        return (false, "was told \(sighting.told) \(sighting.outInARow) of \(answers) times")
    }

    /// It says itself what it makes of our answers (`http-check send-state`).
    private static func haproxy(
        _ state: String,
        _ sighting: ProberSighting,
        _ since: MonotonicInstant
    ) -> (isGiven: Bool, text: String) {
        let sessions = sighting.haproxySessions ?? 0
        let plural = sessions == 1 ? "" : "s"
        // What it said before it could know of the drain tells nothing.
        guard outStates.contains(state), sighting.lastAt >= since else {
            return (false, "HAProxy still routes to it (\(state), \(sessions) session\(plural))")
        }
        if sessions > 0 { return (false, "HAProxy has it \(state), with \(sessions) session\(plural) left") }
        return (true, "HAProxy has it \(state)")
    }
}

/// The connections to an instance's port, or to a service's passed sockets, as they were last counted.
struct TrafficView: Sendable, Equatable {
    /// When the count was asked for; nil for never.
    var askedAt: MonotonicInstant?
    var open = 0
    /// Those with something in flight.
    var busy = 0
    /// When a new one was last seen.
    var arrivedAt: MonotonicInstant?
    /// How often what is in flight grew since the notice was over.
    var rises = 0
}
