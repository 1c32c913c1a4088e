import Metrics
import StatusBoard
import SupervisorCore
import Testing

@Suite("Metrics of drains and rolling restarts")
struct DrainMetricsTests {
    private static let start = MonotonicInstant(nanoseconds: 10_000_000_000)

    private static func drain(_ target: Target?, _ phase: DrainPhase = .notice) -> DrainStatus {
        var drain = Drain(
            .maintenance,
            of: target,
            by: "root",
            since: start,
            deadline: start.advanced(by: .seconds(120))
        )
        drain.phase = phase
        return DrainStatus(drain: drain)
    }

    private static func prober(
        _ number: Int,
        agent: String = "lb",
        host: String = "h",
        acknowledged: Bool = false
    ) -> DrainStatus.Prober {
        let sighting = ProberSighting(
            identity: .init(address: "192.0.2.\(number)", userAgent: agent, path: "/readyz", host: host),
            target: nil,
            lastAt: start,
            told: "503"
        )
        return DrainStatus.Prober(sighting: sighting, hasAcknowledged: acknowledged, text: "")
    }

    private static func render(_ drains: [DrainStatus], rolls: [RollStatus] = []) -> ExpositionChecker {
        var fleet = FleetStatus(node: NodeStatus(name: "host-a", state: .draining, since: start))
        fleet.drains = drains
        fleet.rolls = rolls
        let board = StatusBoard(fleet: fleet, now: start, wallClockOffset: 1_700_000_000_000_000_000)
        let checker = ExpositionChecker(MetricsText.render(board.snapshot, version: "1"))
        #expect(checker.problems == [])
        return checker
    }

    @Test("each drain has one phase and a deadline, and nothing that does not apply")
    func phases() {
        let auth = Target.service("auth")
        let instance = Target.instance(InstanceID(service: "chat", index: 1))
        let checker = Self.render([Self.drain(nil), Self.drain(auth, .inFlight), Self.drain(instance, .drained)])
        for (target, present) in [("node", "notice"), ("auth", "in-flight"), ("chat/1", "drained")] {
            for phase in ["notice", "in-flight", "stopping", "enforce", "drained"] {
                let value = checker.value("eider_drain_phase", ["target": target, "phase": phase])
                #expect(value == (phase == present ? 1 : 0))
            }
            #expect(
                checker.value("eider_drain_deadline_timestamp_seconds", ["target": target]) == 1_700_000_130
            )
        }
        let names = Set(checker.samples.map(\.name))
        for name in [
            "eider_drain_lost_requests", "eider_prober_acknowledged", "eider_rolling_restart_replaced",
            "eider_rolling_restart_instances",
        ] { #expect(!names.contains(name)) }
        #expect(!Self.render([]).samples.contains { $0.name.hasPrefix("eider_drain") })
    }

    @Test("what was lost is told where the deadline was reached")
    func losses() {
        var late = Self.drain(nil, .drained)
        late.drain.deadlineReached = true
        late.drain.lost = [3, nil, 4].enumerated().map { index, count in
            LostWork(instance: InstanceID(service: "auth", index: index), inFlight: count)
        }
        var endless = Self.drain(.service("auth"), .drained)
        endless.drain.deadlineReached = true
        endless.drain.lost = [.max, .max].map {
            LostWork(instance: InstanceID(service: "auth", index: 0), inFlight: $0)
        }
        var idle = Self.drain(.service("chat"), .drained)
        idle.drain.deadlineReached = true
        let checker = Self.render([late, endless, idle, Self.drain(.service("orders"))])
        #expect(checker.value("eider_drain_lost_requests", ["target": "node"]) == 7)
        #expect(checker.value("eider_drain_lost_requests", ["target": "auth"]) == Double(UInt64.max))
        #expect(checker.value("eider_drain_lost_requests", ["target": "chat"]) == 0)
        #expect(checker.value("eider_drain_lost_requests", ["target": "orders"]) == nil)
    }

    @Test("probers are bounded, their words escaped and cut, and no series is there twice")
    func probers() {
        var status = Self.drain(nil)
        let long = "\"\\\n" + String(repeating: "é", count: 200)
        status.probers = [
            Self.prober(1, acknowledged: true), Self.prober(1, host: "other"), Self.prober(2, acknowledged: true),
            Self.prober(3, agent: long), Self.prober(3, agent: long + "x", acknowledged: true),
        ]
        var checker = Self.render([status, Self.drain(.service("node")), Self.drain(nil)])
        func value(_ number: Int, _ agent: String = "lb") -> Double? {
            checker.value(
                "eider_prober_acknowledged",
                ["target": "node", "address": "192.0.2.\(number)", "user_agent": agent, "path": "/readyz"]
            )
        }
        #expect(value(1) == 0 && value(2) == 1)
        #expect(value(3, "\"\\\n" + String(repeating: "é", count: 62)) == 0)
        status.probers = (0..<200).map { Self.prober($0) }
        checker = Self.render([status, status])
        #expect(checker.samples.count { $0.name == "eider_prober_acknowledged" } == 64)
        checker = Self.render((0..<1000).map { Self.drain(.service("s\($0)")) })
        #expect(checker.samples.count { $0.name.hasPrefix("eider_drain") } == 256 * 6)
    }

    @Test("a rolling restart tells how far it is")
    func rolls() {
        var roll = Roll(
            service: "auth",
            by: "root",
            reason: nil,
            since: Self.start,
            indexes: [0, 1, 2],
            usesExtra: true
        )
        roll.left = [2]
        let checker = Self.render([], rolls: [RollStatus(roll, text: "")])
        #expect(checker.value("eider_rolling_restart_replaced", ["service": "auth"]) == 2)
        #expect(checker.value("eider_rolling_restart_instances", ["service": "auth"]) == 3)
    }
}
