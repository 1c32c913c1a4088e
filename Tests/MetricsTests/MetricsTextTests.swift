import Metrics
import StatusBoard
import SupervisorCore
import Testing

@Suite("Metrics text")
struct MetricsTextTests {
    private static func snapshot(serviceName: String = "auth") -> StatusBoard.Snapshot {
        var node = NodeStatus(name: "host-a", state: .degraded, since: MonotonicInstant(nanoseconds: 0))
        node.ready = true
        var fleet = FleetStatus(node: node)
        var service = ServiceStatus(name: serviceName, state: .degraded, since: node.since)
        service.ready = 1
        service.desired = 2
        service.routable = true
        service.restartsByCause = [.oom: 3, .exit: 1]
        service.instances = (0..<2).map { index in
            InstanceStatus(
                id: InstanceID(service: serviceName, index: index),
                state: .healthy,
                since: node.since,
                generation: 1
            )
        }
        service.instances[0].ready = true
        service.instances[0].live = true
        service.instances[0].restarts = 4
        service.instances[0].startedAt = MonotonicInstant(nanoseconds: 1_500_000_000)
        service.instances[0].inFlight = 7
        fleet.services = [service]
        let board = StatusBoard(fleet: fleet, now: node.since, wallClockOffset: 1_700_000_000_000_000_000)
        board.count {
            $0.notifyDropped = ["not a \"worker\"": 5]
            $0.logBytes = [serviceName: 100]
            $0.logBytesDropped = [serviceName: 1]
            $0.staleCallbacks = 2
            $0.loopDelaySeconds = 0.0125
        }
        return board.snapshot
    }

    private static var process: ProcessFigures {
        var process = ProcessFigures()
        process.openDescriptors = 12
        process.maximumDescriptors = .max
        process.residentBytes = 9_000_000
        process.cpuSeconds = 1.25
        process.startTime = 1_700_000_000.5
        return process
    }

    @Test("Probes, holds, suppressed actions and flaps are counted")
    func health() throws {
        var snapshot = Self.snapshot()
        snapshot.fleet.node.hold = "correlated"
        var counts = ProbeCounts()
        (counts.successes, counts.failures, counts.unknowns) = (5, 2, 1)
        snapshot.counters.probes = [.init(service: "auth", kind: .readiness, counts: counts)]
        snapshot.counters.suppressions = [.init(service: "auth", rule: .i5, count: 3)]
        snapshot.counters.freezes = 4
        snapshot.fleet.services[0].instances[1].flaps = FlapDamper(penalty: 1_000, updatedAt: snapshot.heartbeat)
        let text = String(decoding: MetricsText.render(snapshot, version: "1"), as: UTF8.self)
        for line in [
            #"eider_hold{hold="correlated"} 1"#, #"eider_hold{hold="frozen"} 0"#, "eider_freezes_total 4",
            #"eider_probe_results_total{service="auth",probe="readiness",result="success"} 5"#,
            #"eider_probe_results_total{service="auth",probe="readiness",result="failure"} 2"#,
            #"eider_probe_results_total{service="auth",probe="readiness",result="unknown"} 1"#,
            #"eider_suppressed_actions_total{service="auth",rule="I5"} 3"#,
            #"eider_instance_flap_penalty{service="auth",instance="1"} 1000"#,
        ] { #expect(text.contains(line + "\n"), "\(line)") }
    }

    @Test("every line is well formed and says what the snapshot says")
    func values() {
        let health = HealthFigures(
            requests: [(code: 200, count: 9), (code: 503, count: 1)],
            closedConnections: [(kind: "empty", count: 2)],
            openConnections: 3,
            acceptFailures: 4,
            agentAnswers: 6
        )
        let text = MetricsText.render(Self.snapshot(), version: "1.2.3", health: health, process: Self.process)
        let checker = ExpositionChecker(text)
        #expect(checker.problems == [])
        #expect(checker.value("eider_build_info", ["version": "1.2.3"]) == 1)
        #expect(checker.value("eider_node_ready") == 1)
        #expect(checker.value("eider_node_state", ["state": "degraded"]) == 1)
        #expect(checker.value("eider_node_state", ["state": "healthy"]) == 0)
        #expect(checker.value("eider_service_ready", ["service": "auth"]) == 1)
        #expect(checker.value("eider_service_desired", ["service": "auth"]) == 2)
        #expect(checker.value("eider_service_restarts_total", ["service": "auth", "cause": "oom"]) == 3)
        #expect(checker.value("eider_service_restarts_total", ["service": "auth", "cause": "watchdog"]) == 0)
        let first = ["service": "auth", "instance": "0"]
        #expect(checker.value("eider_instance_restarts_total", first) == 4)
        #expect(checker.value("eider_instance_up", first) == 1)
        #expect(checker.value("eider_instance_in_flight", first) == 7)
        #expect(checker.value("eider_instance_start_time_seconds", first) == 1_700_000_001.5)
        #expect(checker.value("eider_instance_start_time_seconds", ["service": "auth", "instance": "1"]) == nil)
        #expect(checker.value("eider_notify_dropped_total", ["reason": "not a \"worker\""]) == 5)
        #expect(checker.value("eider_loop_delay_seconds") == 0.0125)
        #expect(checker.value("eider_health_requests_total", ["code": "503"]) == 1)
        #expect(checker.value("eider_health_connections_closed_total", ["kind": "empty"]) == 2)
        #expect(checker.value("process_open_fds") == 12)
        #expect(checker.value("process_cpu_seconds_total") == 1.25)
    }

    @Test("label values are escaped", arguments: ["a\"b", "a\\b", "a\nb", "a\\\"\n", "ü€😀", "{}=,"])
    func escapes(name: String) {
        let checker = ExpositionChecker(MetricsText.render(Self.snapshot(serviceName: name), version: name))
        #expect(checker.problems == [])
        #expect(checker.value("eider_service_ready", ["service": name]) == 1)
    }

    @Test("an empty fleet renders")
    func empty() {
        let node = NodeStatus(name: "", state: .starting, since: MonotonicInstant(nanoseconds: 0))
        let board = StatusBoard(fleet: FleetStatus(node: node), now: node.since, wallClockOffset: 0)
        #expect(ExpositionChecker(MetricsText.render(board.snapshot, version: "")).problems == [])
    }

    @Test("the number of series is bounded by services and instances")
    func cardinality() {
        var fleet = Self.snapshot().fleet
        func series(_ fleet: FleetStatus) -> Int {
            let board = StatusBoard(fleet: fleet, now: fleet.node.since, wallClockOffset: 0)
            return ExpositionChecker(MetricsText.render(board.snapshot, version: "1")).samples.count
        }
        let one = series(fleet)
        var extra = fleet.services[0].instances[0]
        extra.id.index = 9
        fleet.services[0].instances.append(extra)
        #expect(series(fleet) - one == 5)
    }

    @Test("what proc(5) says of the process is read")
    func stat() {
        let line =
            "4711 (ei) der (d) S 1 4711 4711 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 1000 99999999 2500 18446"
        var figures = ProcessFigures()
        figures.read(stat: line, ticksPerSecond: 100, pageSize: 4096, bootTime: 5000)
        #expect(figures.cpuSeconds == 3)
        #expect(figures.startTime == 5010)
        #expect(figures.residentBytes == 2500 * 4096)
    }

    @Test(
        "a line that is not one leaves the figures unknown",
        arguments: ["", ")", "1 (x) S", "1 (x", "1 (x) S a b c"]
    )
    func badStat(line: String) {
        var figures = ProcessFigures()
        figures.read(stat: line, ticksPerSecond: 100, pageSize: 4096, bootTime: 0)
        #expect(figures == ProcessFigures())
    }
}
