import StatusBoard
import SupervisorCore

/// Probes, and what the rules against thrash kept from being done.
enum HealthMetrics {
    static func write(_ snapshot: StatusBoard.Snapshot, _ writer: inout ExpositionWriter) {
        holds(snapshot, &writer)
        probes(snapshot.counters, &writer)
        suppressions(snapshot.counters, &writer)
        flaps(snapshot, &writer)
    }

    private static func holds(_ snapshot: StatusBoard.Snapshot, _ writer: inout ExpositionWriter) {
        writer.family("eider_hold", .gauge, "Whether health states (frozen) or restarts (correlated) stand still.")
        for hold in ["correlated", "frozen"] {
            writer.sample([("hold", hold)], snapshot.fleet.node.hold == hold)
        }
        writer.family("eider_freezes_total", .counter, "Times that health states were frozen.")
        writer.sample([], snapshot.counters.freezes)
    }

    private static func probes(_ counters: StatusBoard.Counters, _ writer: inout ExpositionWriter) {
        if counters.probes.isEmpty { return }
        writer.family(
            "eider_probe_results_total",
            .counter,
            "Results of probes; unknown is a probe that could not be run, and never a failure."
        )
        for figure in counters.probes {
            let results = [
                ("success", figure.counts.successes), ("failure", figure.counts.failures),
                ("unknown", figure.counts.unknowns),
            ]
            for (result, count) in results {
                writer.sample([("service", figure.service), ("probe", figure.kind.name), ("result", result)], count)
            }
        }
    }

    private static func suppressions(_ counters: StatusBoard.Counters, _ writer: inout ExpositionWriter) {
        if counters.suppressions.isEmpty { return }
        writer.family("eider_suppressed_actions_total", .counter, "Actions that a rule kept from being taken.")
        for figure in counters.suppressions {
            writer.sample([("service", figure.service), ("rule", figure.rule.rawValue)], figure.count)
        }
    }

    private static func flaps(_ snapshot: StatusBoard.Snapshot, _ writer: inout ExpositionWriter) {
        let flapping = snapshot.fleet.services.lazy.flatMap(\.instances).prefix(MetricsText.instanceLimit)
            .compactMap { instance in instance.flaps.map { (instance.id, $0) } }
        if flapping.isEmpty { return }
        writer.family("eider_instance_flap_penalty", .gauge, "Penalty for readiness that came and went; it decays.")
        for (id, flaps) in flapping {
            writer.sample(MetricsText.labels(of: id), flaps.penalty(at: snapshot.heartbeat).rounded())
        }
    }
}
