public import StatusBoard
import SupervisorCore

/// `/metrics`: a snapshot of the fleet and the daemon's own figures as Prometheus text 0.0.4.
///
/// Pure. The number of series is bounded by the fleet: eight for each service's state, five and less for an instance;
/// by `BreakerMetrics` for breakers; and, while something is drained, by `DrainMetrics`.
public enum MetricsText {
    /// The value of `Content-Type`.
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// Instances beyond this are not written; what bounds the scrape bounds the time it takes.
    public static let instanceLimit = 10_000

    /// States that a node or a service can show.
    private static let states: [PublicState] = [
        .stopped, .drained, .draining, .starting, .unhealthy, .breakerOpen, .degraded, .healthy,
    ]

    /// The text for one scrape.
    ///
    /// - Parameters:
    ///   - snapshot: what supervision last published.
    ///   - version: the daemon's version.
    ///   - health: the health server's own figures.
    ///   - process: the daemon's process, where it could be read.
    public static func render(
        _ snapshot: StatusBoard.Snapshot,
        version: String,
        health: HealthFigures = HealthFigures(),
        process: ProcessFigures? = nil
    ) -> [UInt8] {
        var writer = ExpositionWriter()
        writer.family("eider_build_info", .gauge, "The running daemon's version, as a label; always 1.")
        writer.sample([("version", version)], 1)
        node(snapshot.fleet.node, &writer)
        services(snapshot.fleet.services, &writer)
        instances(snapshot, &writer)
        daemon(snapshot.counters, &writer)
        HealthMetrics.write(snapshot, &writer)
        DrainMetrics.write(snapshot, &writer)
        BreakerMetrics.write(snapshot, &writer)
        healthServer(health, &writer)
        if let process { self.process(process, &writer) }
        return writer.bytes
    }

    private static func node(_ node: NodeStatus, _ writer: inout ExpositionWriter) {
        writer.family("eider_node_ready", .gauge, "Whether the node may take traffic.")
        writer.sample([], node.ready)
        writer.family("eider_node_first_start_finished", .gauge, "Whether the first start has finished.")
        writer.sample([], node.firstStartFinished)
        writer.family("eider_node_state", .gauge, "The state of the node: 1 for the present one.")
        for state in states { writer.sample([("state", state.rawValue)], node.state == state) }
    }

    private static func services(_ services: [ServiceStatus], _ writer: inout ExpositionWriter) {
        if services.isEmpty { return }
        writer.family("eider_service_desired", .gauge, "Instances that are asked for.")
        for service in services { writer.sample([("service", service.name)], service.desired) }
        writer.family("eider_service_ready", .gauge, "Instances that may be given work.")
        for service in services { writer.sample([("service", service.name)], service.ready) }
        writer.family("eider_service_routable", .gauge, "Whether the service may be routed to on this node.")
        for service in services { writer.sample([("service", service.name)], service.routable) }
        writer.family("eider_service_state", .gauge, "The state of a service: 1 for the present one.")
        for service in services {
            for state in states {
                writer.sample([("service", service.name), ("state", state.rawValue)], service.state == state)
            }
        }
        writer.family("eider_service_restarts_total", .counter, "Restarts that nobody asked for, by cause.")
        for service in services {
            for cause in ExitCause.allCases {
                let count = service.restartsByCause[cause] ?? 0
                writer.sample([("service", service.name), ("cause", cause.rawValue)], count)
            }
        }
    }

    private static func instances(_ snapshot: StatusBoard.Snapshot, _ writer: inout ExpositionWriter) {
        let all = snapshot.fleet.services.lazy.flatMap(\.instances).prefix(instanceLimit)
        let instances = all.map { (labels: labels(of: $0.id), status: $0) }
        if instances.isEmpty { return }
        writer.family("eider_instance_ready", .gauge, "Whether the instance may be given work.")
        for (labels, status) in instances { writer.sample(labels, status.ready) }
        writer.family("eider_instance_up", .gauge, "Whether the instance has a live process.")
        for (labels, status) in instances { writer.sample(labels, status.live) }
        writer.family("eider_instance_restarts_total", .counter, "Restarts of the instance that nobody asked for.")
        for (labels, status) in instances { writer.sample(labels, status.restarts) }

        let started = instances.compactMap { entry in entry.status.startedAt.map { (entry.labels, $0) } }
        if !started.isEmpty {
            writer.family(
                "eider_instance_start_time_seconds",
                .gauge,
                "When the present process was started, since 1970."
            )
            for (labels, start) in started { writer.sample(labels, Double(snapshot.wallClock(start)) / 1e9) }
        }
        let busy = instances.compactMap { entry in entry.status.inFlight.map { (entry.labels, $0) } }
        if !busy.isEmpty {
            writer.family(
                "eider_instance_in_flight",
                .gauge,
                "Requests in flight, as the worker reports them; else connections that are not idle."
            )
            for (labels, count) in busy { writer.sample(labels, count) }
        }
    }

    static func labels(of id: InstanceID) -> [(String, String)] {
        [("service", id.service), ("instance", "\(id.index)")]
    }

    private static func daemon(_ counters: StatusBoard.Counters, _ writer: inout ExpositionWriter) {
        writer.family(
            "eider_loop_delay_seconds",
            .gauge,
            "How late the supervision loop came to its last heartbeat."
        )
        writer.sample([], counters.loopDelaySeconds)
        writer.family(
            "eider_stale_callbacks_total",
            .counter,
            "Callbacks of an older generation that were dropped."
        )
        writer.sample([], counters.staleCallbacks)
        writer.family("eider_spawn_failures_total", .counter, "Processes that could not be started.")
        writer.sample([], counters.spawnFailures)
        labelled(
            counters.notifyDropped,
            "eider_notify_dropped_total",
            "reason",
            "Messages from workers that were refused.",
            &writer
        )
        labelled(
            counters.breakerConnectionsRefused,
            "eider_breaker_connections_refused_total",
            "reason",
            "Workers' connections to the breaker socket that were not taken or were ended.",
            &writer
        )
        labelled(
            counters.logBytes,
            "eider_log_bytes_total",
            "service",
            "Bytes of workers' output that were read.",
            &writer
        )
        labelled(
            counters.logBytesDropped,
            "eider_log_dropped_bytes_total",
            "service",
            "Bytes of workers' output that were dropped.",
            &writer
        )
    }

    /// In the order of the label's values, so that two scrapes are comparable line by line.
    private static func labelled(
        _ values: [String: UInt64],
        _ name: String,
        _ label: String,
        _ help: String,
        _ writer: inout ExpositionWriter
    ) {
        if values.isEmpty { return }
        writer.family(name, .counter, help)
        for (key, value) in values.sorted(by: { $0.key < $1.key }) { writer.sample([(label, key)], value) }
    }

    private static func healthServer(_ health: HealthFigures, _ writer: inout ExpositionWriter) {
        writer.family("eider_health_connections", .gauge, "Connections to the health port that are open now.")
        writer.sample([], health.openConnections)
        writer.family(
            "eider_health_accept_failures_total",
            .counter,
            "Times that no connection could be accepted for want of descriptors or memory."
        )
        writer.sample([], health.acceptFailures)
        writer.family("eider_health_agent_answers_total", .counter, "Answers of the HAProxy agent port.")
        writer.sample([], health.agentAnswers)
        if !health.requests.isEmpty {
            writer.family("eider_health_requests_total", .counter, "Answers of the health port by status code.")
            for (code, count) in health.requests { writer.sample([("code", "\(code)")], count) }
        }
        if !health.closedConnections.isEmpty {
            writer.family(
                "eider_health_connections_closed_total",
                .counter,
                "Ended connections to the health port by the way they ended."
            )
            for (kind, count) in health.closedConnections { writer.sample([("kind", kind)], count) }
        }
    }

    private static func process(_ process: ProcessFigures, _ writer: inout ExpositionWriter) {
        if let count = process.openDescriptors {
            writer.family("process_open_fds", .gauge, "Number of open file descriptors.")
            writer.sample([], count)
        }
        if let limit = process.maximumDescriptors {
            writer.family("process_max_fds", .gauge, "Maximum number of open file descriptors.")
            writer.sample([], limit)
        }
        if let bytes = process.residentBytes {
            writer.family("process_resident_memory_bytes", .gauge, "Resident memory size in bytes.")
            writer.sample([], bytes)
        }
        if let seconds = process.cpuSeconds {
            writer.family("process_cpu_seconds_total", .counter, "Total user and system CPU time spent in seconds.")
            writer.sample([], seconds)
        }
        if let start = process.startTime {
            writer.family(
                "process_start_time_seconds",
                .gauge,
                "Start time of the process since unix epoch in seconds."
            )
            writer.sample([], start)
        }
    }
}
