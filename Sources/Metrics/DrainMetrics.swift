import StatusBoard
import SupervisorCore

/// Drains that go on or are done, and rolling restarts.
enum DrainMetrics {
    /// Drains beyond this are not written.
    static let drainLimit = 256
    /// Probers beyond this, over all drains, are not written.
    static let proberLimit = 64
    /// Longest value of a label that is a prober's own word, bytes.
    static let labelBytes = 128

    private typealias Named = (target: String, status: DrainStatus)

    static func write(_ snapshot: StatusBoard.Snapshot, _ writer: inout ExpositionWriter) {
        let drains = named(snapshot.fleet.drains)
        if !drains.isEmpty {
            phases(drains, snapshot, &writer)
            losses(drains, &writer)
            probers(drains, &writer)
        }
        rolls(snapshot.fleet.rolls, &writer)
    }

    /// Each with its label. A service may be called `node` too: a series must not be there twice.
    private static func named(_ drains: [DrainStatus]) -> [Named] {
        var taken: Set<String> = []
        return drains.prefix(drainLimit).compactMap { status in
            let target = status.drain.target?.description ?? "node"
            return taken.insert(target).inserted ? (target, status) : nil
        }
    }

    private static func phases(
        _ drains: [Named],
        _ snapshot: StatusBoard.Snapshot,
        _ writer: inout ExpositionWriter
    ) {
        writer.family("eider_drain_phase", .gauge, "The phase of a drain: 1 for the present one.")
        for (target, status) in drains {
            for phase in DrainPhase.allCases {
                writer.sample([("target", target), ("phase", phase.name)], status.drain.phase == phase)
            }
        }
        writer.family(
            "eider_drain_deadline_timestamp_seconds",
            .gauge,
            "When nothing of what is drained runs any more, at the latest, since 1970."
        )
        for (target, status) in drains {
            let deadline = snapshot.wallClock(status.drain.deadline)
            writer.sample([("target", target)], Double(deadline) / 1e9)
        }
    }

    private static func losses(_ drains: [Named], _ writer: inout ExpositionWriter) {
        let late = drains.filter { $0.status.drain.deadlineReached }
        if late.isEmpty { return }
        writer.family(
            "eider_drain_lost_requests",
            .gauge,
            "Requests in flight, as far as was known, in what was killed at the deadline; only where it was reached."
        )
        for (target, status) in late {
            var lost: UInt64 = 0
            for work in status.drain.lost {
                let (sum, overflow) = lost.addingReportingOverflow(work.inFlight ?? 0)
                lost = overflow ? .max : sum
            }
            writer.sample([("target", target)], lost)
        }
    }

    private static func probers(_ drains: [Named], _ writer: inout ExpositionWriter) {
        // Two that differ only in what is no label, or was cut off, are one series: 1 when both have.
        var series: [(labels: [(String, String)], hasAcknowledged: Bool)] = []
        var places: [[String]: Int] = [:]
        for (target, status) in drains {
            for prober in status.probers {
                let identity = prober.sighting.identity
                let values = [target] + [identity.address, identity.userAgent, identity.path].map(cut)
                if let place = places[values] {
                    series[place].hasAcknowledged = series[place].hasAcknowledged && prober.hasAcknowledged
                } else if series.count < proberLimit {
                    places[values] = series.count
                    let labels = zip(["target", "address", "user_agent", "path"], values).map { ($0, $1) }
                    series.append((labels, prober.hasAcknowledged))
                }
            }
        }
        if series.isEmpty { return }
        writer.family(
            "eider_prober_acknowledged",
            .gauge,
            "Whether a prober of what is drained has seen that it is, or has gone."
        )
        for (labels, hasAcknowledged) in series { writer.sample(labels, hasAcknowledged) }
    }

    /// At most `labelBytes`, between two characters of Unicode.
    private static func cut(_ text: String) -> String {
        if text.utf8.count <= labelBytes { return text }
        var result = ""
        var bytes = 0
        for scalar in text.unicodeScalars {
            bytes += UTF8.width(scalar)
            if bytes > labelBytes { break }
            result.unicodeScalars.append(scalar)
        }
        return result
    }

    private static func rolls(_ rolls: [RollStatus], _ writer: inout ExpositionWriter) {
        if rolls.isEmpty { return }
        writer.family(
            "eider_rolling_restart_replaced",
            .gauge,
            "Instances that a rolling restart has replaced so far; while it goes on."
        )
        for roll in rolls { writer.sample([("service", roll.service)], roll.replaced) }
        writer.family(
            "eider_rolling_restart_instances",
            .gauge,
            "Instances that a rolling restart is to replace in all; while it goes on."
        )
        for roll in rolls { writer.sample([("service", roll.service)], roll.total) }
    }
}
