import StatusBoard
import SupervisorCore
import Testing

@testable import ControlProtocol

struct DrainDocumentTests {
    private static let start = MonotonicInstant(nanoseconds: 0)

    private static func snapshot(_ drains: [DrainStatus]) -> StatusBoard.Snapshot {
        var fleet = FleetStatus(node: NodeStatus(name: "n", state: .draining, since: start))
        fleet.drains = drains
        return StatusBoard(fleet: fleet, now: start, wallClockOffset: 0).snapshot
    }

    private static func full() -> DrainStatus {
        var drain = Drain(
            .maintenance,
            of: nil,
            by: "ada",
            reason: "kernel",
            since: start,
            deadline: start.advanced(by: .seconds(120))
        )
        drain.deadlineReached = true
        drain.lost = [LostWork(instance: InstanceID(service: "auth", index: 0), inFlight: 3)]
        var status = DrainStatus(drain: drain)
        (status.noticeLeast, status.noticeMost) = (.seconds(2), .seconds(75))
        status.waitsFor = "new connections to cease"
        status.lastArrivalAt = start
        var sighting = ProberSighting(
            identity: .init(address: "10.0.0.1", userAgent: "HAProxy", path: "/", host: "h"),
            target: nil,
            lastAt: start,
            told: "503"
        )
        (sighting.period, sighting.haproxyState, sighting.haproxySessions) = (.milliseconds(500), "UP", 2)
        status.probers = [.init(sighting: sighting, hasAcknowledged: false, text: "still routes")]
        let id = InstanceID(service: "auth", index: 0)
        status.members = [.init(id: id, state: .draining, inFlight: 3, source: .worker)]
        return status
    }

    @Test func `a drain is told with everything that it waits for`() {
        let document = DrainDocument(Self.snapshot([Self.full()]), now: Self.start.advanced(by: .seconds(1)))
        let text = String(decoding: document.json, as: UTF8.self)
        let expected = #"""
            {"at":"1970-01-01T00:00:01.000Z","target":"node","state":"draining","phase":"notice","by":"ada",\#
            "reason":"kernel","since":"1970-01-01T00:00:00.000Z","deadline":"1970-01-01T00:02:00.000Z",\#
            "seconds_left":119,"deadline_reached":true,"waits_for":"new connections to cease",\#
            "notice":{"mode":"auto","min_seconds":2,"max_seconds":75,"seconds_left_at_most":74},\#
            "seconds_since_new_connection":1,"probers":[{"address":"10.0.0.1","user_agent":"HAProxy","path":"/",\#
            "host":"h","period_seconds":0.5,"last_seen_seconds_ago":1,"told":"503","haproxy_state":"UP",\#
            "haproxy_sessions":2,"acknowledged":false,"text":"still routes"}],"instances":[{"name":"auth/0",\#
            "state":"draining","in_flight":3,"in_flight_source":"worker"}],\#
            "lost":[{"name":"auth/0","in_flight":3}],"others":[]}
            """#
        #expect(text == expected)
    }

    @Test func `without a drain the members are the same, and empty`() {
        let text = String(decoding: DrainDocument(Self.snapshot([]), now: Self.start).json, as: UTF8.self)
        #expect(text.contains(#""target":"node","state":"none","deadline_reached":false,"probers":[],"instances":[]"#))
    }

    @Test func `drains of services stand beside the node's, and can be asked for`() {
        var other = Self.full()
        other.drain.target = .service("auth")
        other.drain.phase = .drained
        let snapshot = Self.snapshot([other])
        let node = String(decoding: DrainDocument(snapshot, now: Self.start).json, as: UTF8.self)
        #expect(node.contains(#""target":"node","state":"none""#))
        #expect(node.contains(#""others":[{"target":"auth","state":"drained","phase":"drained""#))
        let asked = DrainDocument(snapshot, now: Self.start, target: .service("auth")).json
        let service = String(decoding: asked, as: UTF8.self)
        #expect(service.contains(#""target":"auth","state":"drained""#))
        #expect(!service.contains("others"))
    }

    @Test func `probers that are listed have a bound`() {
        var status = Self.full()
        status.probers = Array(repeating: status.probers[0], count: 5_000)
        #expect(DrainDocument(Self.snapshot([status]), now: Self.start).json.count < 128 << 10)
        // As many drains as there may be at once.
        let others = (0..<1_024).map { index in
            var other = status
            other.drain.target = .instance(InstanceID(service: "auth", index: index))
            return other
        }
        #expect(DrainDocument(Self.snapshot(others), now: Self.start).json.count < 8 << 20)
        let one = DrainDocument(Self.snapshot(others), now: Self.start, target: others[7].drain.target).json
        #expect(String(decoding: one, as: UTF8.self).split(separator: "user_agent").count == 257)
    }

    @Test func `a reload is told with a reason for each instance`() {
        var plan = ReloadPlan()
        plan.steps = [.init(.restart, InstanceID(service: "auth", index: 1), reason: "changed: command")]
        plan.inForce = ["services.auth.stop.signal"]
        plan.needsDaemonRestart = ["health.listen"]
        let text = String(decoding: ReloadDocument.json(plan, result: "planned"), as: UTF8.self)
        let expected = #"""
            {"result":"planned","action":"reload","plan":{"steps":[{"action":"restart","instance":"auth/1",\#
            "reason":"changed: command"}],"in_force":["services.auth.stop.signal"],\#
            "needs_daemon_restart":["health.listen"]}}
            """#
        #expect(text == expected)
    }
}
