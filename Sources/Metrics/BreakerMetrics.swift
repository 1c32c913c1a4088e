import StatusBoard
import SupervisorCore

/// Circuit breakers: their states, what they held back, and how they are shared.
enum BreakerMetrics {
    /// Breakers beyond this are not written.
    static let limit = 1_200

    /// Numbers of states, as in research/circuit-breakers.md §7.
    private static func number(_ state: BreakerPublicState) -> Int {
        switch state {
        case .closed: 0
        case .halfOpen: 1
        case .open: 2
        case .forcedOpen: 3
        case .disabled: 4
        case .metricsOnly: 5
        case .forcedClosed: 6
        }
    }

    static func write(_ snapshot: StatusBoard.Snapshot, _ writer: inout ExpositionWriter) {
        let all = snapshot.fleet.breakers
        store(all, &writer)
        let breakers = Array(all.breakers.prefix(limit))
        if breakers.isEmpty { return }
        states(breakers, snapshot, &writer)
        counts(breakers, &writer)
        rates(breakers.filter { $0.kind == .dependency }, &writer)
    }

    private static func labels(_ breaker: BreakerStatus) -> [(String, String)] {
        [("name", breaker.name), ("kind", breaker.kind.rawValue)]
    }

    private static func store(_ all: BreakersStatus, _ writer: inout ExpositionWriter) {
        writer.family(
            "eider_breaker_store",
            .gauge,
            "Where breakers are shared: 1 for the present place; an island shares with nobody."
        )
        for state in [BreakerStoreState.local, .redis, .island] {
            writer.sample([("store", state.rawValue)], all.store == state)
        }
        if all.store == .local { return }
        writer.family("eider_breaker_live_hosts", .gauge, "Hosts of the fleet that are there; 0 where unknown.")
        writer.sample([], all.liveHosts)
    }

    private static func states(
        _ breakers: [BreakerStatus],
        _ snapshot: StatusBoard.Snapshot,
        _ writer: inout ExpositionWriter
    ) {
        writer.family(
            "eider_breaker_state",
            .gauge,
            "0 closed, 1 half-open, 2 open, 3 forced open, 4 disabled, 5 metrics only, 6 forced closed."
        )
        for breaker in breakers { writer.sample(labels(breaker), number(breaker.state)) }
        writer.family("eider_breaker_since_timestamp_seconds", .gauge, "When the state began, since 1970.")
        for breaker in breakers { writer.sample(labels(breaker), Double(snapshot.wallClock(breaker.since)) / 1e9) }
        writer.family("eider_breaker_openings", .gauge, "Openings since it was last closed for long.")
        for breaker in breakers { writer.sample(labels(breaker), breaker.openings) }
        writer.family("eider_breaker_votes", .gauge, "Hosts that find it broken.")
        for breaker in breakers { writer.sample(labels(breaker), breaker.votes.count) }
        writer.family("eider_breaker_probe_held", .gauge, "Whether some host makes a probe.")
        for breaker in breakers { writer.sample(labels(breaker), breaker.probeHolder != nil) }
    }

    private static func counts(_ breakers: [BreakerStatus], _ writer: inout ExpositionWriter) {
        writer.family("eider_breaker_permitted_total", .counter, "Starts or calls that were let through.")
        for breaker in breakers { writer.sample(labels(breaker), breaker.counts.allowed) }
        writer.family("eider_breaker_not_permitted_total", .counter, "Starts or calls that were held back, by reason.")
        for breaker in breakers {
            let counts = breaker.counts
            let reasons = [
                ("open", counts.notPermittedOpen), ("half-open", counts.notPermittedHalfOpen),
                ("forced-open", counts.notPermittedForced),
            ]
            for (reason, count) in reasons { writer.sample(labels(breaker) + [("reason", reason)], count) }
        }
        writer.family("eider_breaker_transitions_total", .counter, "Transitions that this host has seen, by new state.")
        for breaker in breakers {
            let counts = breaker.counts
            let states = [("open", counts.opened), ("half-open", counts.halfOpened), ("closed", counts.closed)]
            for (state, count) in states { writer.sample(labels(breaker) + [("to", state)], count) }
        }
        writer.family("eider_breaker_probes_total", .counter, "Probes on this host that have ended, by result.")
        for breaker in breakers {
            let counts = breaker.counts
            let results = [
                ("ok", counts.probesSucceeded), ("failed", counts.probesFailed),
                ("inconclusive", counts.probesInconclusive),
            ]
            for (result, count) in results { writer.sample(labels(breaker) + [("result", result)], count) }
        }
    }

    private static func rates(_ breakers: [BreakerStatus], _ writer: inout ExpositionWriter) {
        if breakers.isEmpty { return }
        writer.family("eider_breaker_calls_total", .counter, "Calls that workers reported, by outcome.")
        for breaker in breakers {
            let counts = breaker.counts
            let outcomes = [
                ("ok", counts.callsSucceeded), ("failed", counts.callsFailed), ("slow", counts.callsSlow),
                ("ignored", counts.callsIgnored), ("stale", counts.reportsStale),
            ]
            for (outcome, count) in outcomes { writer.sample(labels(breaker) + [("outcome", outcome)], count) }
        }
        writer.family("eider_breaker_buffered_calls", .gauge, "Calls within the sliding window.")
        for breaker in breakers { writer.sample(labels(breaker), breaker.bufferedCalls) }
        writer.family("eider_breaker_failure_rate", .gauge, "Percent of them that failed; -1 while too few to judge.")
        for breaker in breakers { writer.sample(labels(breaker), breaker.failureRate ?? -1) }
        writer.family("eider_breaker_slow_call_rate", .gauge, "Percent of them that were slow; -1 while too few.")
        for breaker in breakers { writer.sample(labels(breaker), breaker.slowCallRate ?? -1) }
    }
}
