import StatusBoard
import SupervisorCore
import Testing

@testable import ControlProtocol

/// What `status` and `why` say of drains and rolling restarts.
struct WhyDrainTests {
    private typealias Base = DocumentTests

    private static let first = InstanceID(service: "auth", index: 0)

    private static func drain(
        _ target: Target?,
        _ phase: DrainPhase = .notice,
        _ purpose: Drain.Purpose = .maintenance,
        waitsFor: String? = nil
    ) -> DrainStatus {
        var drain = Drain(
            purpose,
            of: target,
            by: "ada",
            reason: "kernel",
            since: Base.ago(2),
            deadline: Base.now.advanced(by: .seconds(118))
        )
        drain.phase = phase
        var status = DrainStatus(drain: drain)
        status.waitsFor = waitsFor
        status.seesConnections = true
        return status
    }

    private static func leaving(_ state: PublicState = .draining) -> InstanceStatus {
        var instance = Base.instance(0, state)
        instance.pid = 4711
        return instance
    }

    private static func roll(_ text: String, failure: String? = nil) -> RollStatus {
        var roll = Roll(service: "auth", by: "ada", reason: "r8", since: Base.now, indexes: [0, 1], usesExtra: false)
        roll.left = [1]
        roll.failure = failure
        return RollStatus(roll, text: text)
    }

    private func why(
        _ target: Target?,
        _ instance: InstanceStatus = Self.leaving(),
        drains: [DrainStatus] = [],
        rolls: [RollStatus] = [],
        events: [String] = [],
        _ change: (inout FleetSpec, inout FleetStatus) -> Void = { _, _ in }
    ) -> String {
        var snapshot = Base.snapshot([instance])
        snapshot.fleet.drains = drains
        snapshot.fleet.rolls = rolls
        snapshot.fleet.services[0].state = instance.state
        var spec = Base.spec
        change(&spec, &snapshot.fleet)
        let records = events.map { EventRecord(sequence: 1, wallClock: 0, subject: "auth", kind: $0, text: "") }
        return String(
            decoding: WhyDocument(snapshot, spec: spec, target: target, now: Base.now, events: records, logs: []).json,
            as: UTF8.self
        )
    }

    // MARK: Who drains it, and the way back

    @Test func aDrainIsTold() {
        let drain = Self.drain(nil, .notice, waitsFor: "new connections to cease")
        let told =
            #""drain":{"target":"node","phase":"notice","by":"ada","reason":"kernel","seconds_left":118,"#
            + #""deadline_reached":false,"waits_for":"new connections to cease"}"#
        for target: Target? in [nil, .service("auth"), .instance(Self.first)] {
            let text = why(target, drains: [drain])
            #expect(text.contains(told), "\(text)")
            #expect(text.contains(#""unblock":["put the node back into service: eiderctl undrain"]"#), "\(text)")
        }
        #expect(!why(nil).contains(#""drain""#))
    }

    @Test func theWayBackNamesWhatIsDrained() {
        let service = Self.drain(.service("auth"), .drained)
        let instance = Self.drain(.instance(Self.first), .stopping)
        let ofService = why(.service("auth"), Self.leaving(.drained), drains: [service])
        #expect(ofService.contains(#""unblock":["put auth back into service: eiderctl undrain auth"]"#), "\(ofService)")
        #expect(ofService.contains(#""drain":{"target":"auth","phase":"drained","by":"ada","reason":"kernel","#))
        // Both have to be taken back; the one that has come furthest is told.
        let both = why(.instance(Self.first), drains: [instance, service])
        #expect(
            both.contains(
                #""unblock":["put auth/0 back into service: eiderctl undrain auth/0","#
                    + #""put auth back into service: eiderctl undrain auth"]"#
            ),
            "\(both)"
        )
        #expect(both.contains(#""drain":{"target":"auth","phase":"drained""#))
        // What is drained elsewhere is no business of the node's.
        #expect(!why(nil, drains: [instance]).contains(#""drain":{"target":"node""#))
        #expect(!why(.service("other"), drains: [service]).contains(#""drain":"#))
    }

    @Test func whatADrainCoversIsNotStarted() {
        for state in [PublicState.stopped, .backoff, .failed, .stopping] {
            let text = why(.instance(Self.first), Self.leaving(state), drains: [Self.drain(nil)])
            #expect(text.contains("put the node back into service: eiderctl undrain"), "\(text)")
            #expect(!text.contains("eiderctl start"), "\(text)")
        }
    }

    @Test func aStopOfTheFleetHasNoWayBack() {
        let drain = Self.drain(nil, .stopping, .shutdown)
        for target: Target? in [nil, .service("auth"), .instance(Self.first)] {
            let text = why(target, drains: [drain, Self.drain(nil)])
            #expect(
                text.contains(#""unblock":["nothing: the fleet is being stopped; start eiderd again afterwards"]"#),
                "\(text)"
            )
        }
    }

    @Test func theNodeListsOnlyWhatItMayWaitFor() {
        var busy = Self.leaving()
        (busy.inFlight, busy.inFlightSource) = (3, .worker)
        #expect(why(nil, busy, drains: [Self.drain(nil)]).contains(#""instances":[{"target":"auth/0""#))
        #expect(why(nil, drains: [Self.drain(nil)]).contains(#""instances":[]"#))
        #expect(why(nil, Self.leaving(.drained), drains: [Self.drain(nil, .drained)]).contains(#""instances":[]"#))
    }

    @Test func aRestartForHealthIsPutOffInWords() {
        var instance = Self.leaving()
        instance.suppressions = [Suppression(rule: .drain, text: "it is being drained", since: Base.ago(1))]
        let text = why(.instance(Self.first), instance, drains: [Self.drain(nil)])
        #expect(text.contains(#""suppressed":[{"rule":"drain","text":"it is being drained""#), "\(text)")
        #expect(text.contains("it is not restarted for its health while it is drained"), "\(text)")
    }

    // MARK: In flight

    @Test func whereTheFigureComesFrom() {
        func words(_ count: UInt64?, _ source: InFlightSource?, _ change: (inout ServiceSpec) -> Void = { _ in })
            -> String
        {
            var instance = Self.leaving()
            (instance.inFlight, instance.inFlightSource) = (count, source)
            var drain = Self.drain(nil, .inFlight)
            drain.seesConnections = source != nil
            let text = why(.instance(Self.first), instance, drains: [drain]) { spec, _ in change(&spec.services[0]) }
            let parts = text.split(separator: #""in_flight_text":""#, maxSplits: 1)
            return parts.count < 2 ? "" : String(parts[1].prefix { $0 != "\"" })
        }
        #expect(words(3, .worker) == "3 requests in flight, by the worker's own count")
        #expect(
            words(1, .connections) == "1 request in flight, by the kernel's count of connections that are not idle"
        )
        #expect(words(0, .worker) == "0 requests in flight, by the worker's own count")
        #expect(words(nil, nil) == "nobody counts its requests: it reports none and has no port")
        #expect(
            words(nil, nil) { $0.portBase = 9_000 }
                == "nobody counts its requests: it reports none, and the kernel does not tell of its connections"
        )
        #expect(
            words(nil, .worker) { $0.portBase = 9_000 } == "its connections are not counted yet"
        )
        #expect(words(nil, nil) { $0.sockets = ["unix:/run/x"] }.hasPrefix("nobody counts its requests alone"))
        // Nobody waits for the requests of what is not drained.
        #expect(!why(.instance(Self.first), Self.leaving(.healthy)).contains("in_flight"))
    }

    // MARK: Rolling restarts

    @Test func aRollIsToldWhereItIsAndWhyItStopped() {
        let going = why(.service("auth"), Self.leaving(.healthy), rolls: [Self.roll("drains auth/1")])
        #expect(
            going.contains(
                #""rolling":{"replaced":1,"total":2,"by":"ada","reason":"r8","text":"drains auth/1"}"#
            ),
            "\(going)"
        )
        #expect(going.contains(#""unblock":[]"#))
        let failure = "auth/0 exited with code 1"
        let stopped = why(
            .service("auth"),
            Self.leaving(.healthy),
            rolls: [Self.roll("has stopped: \(failure)", failure: failure)]
        )
        #expect(stopped.contains(#""failure":"auth/0 exited with code 1"}"#), "\(stopped)")
        #expect(
            stopped.contains(
                "the rolling restart has stopped: mend that (auth/0 exited with code 1), "
                    + "then eiderctl restart auth --rolling for the rest"
            ),
            "\(stopped)"
        )
    }

    @Test func aRollThatHasStoppedIsRememberedByTheEvents() {
        let way = "the rolling restart has stopped (see events): mend that, then eiderctl restart auth --rolling"
        let healthy = Self.leaving(.healthy)
        #expect(why(.service("auth"), healthy, events: ["rolling", "roll-stopped", "exited"]).contains(way))
        #expect(!why(.service("auth"), healthy, events: ["roll-stopped", "rolling"]).contains(way))
        #expect(!why(.service("auth"), healthy, events: ["roll-stopped", "rolled"]).contains(way))
    }

    @Test func whatARollDrainsComesBackByItself() {
        let text = why(.instance(Self.first), rolls: [Self.roll("drains auth/0")])
        #expect(
            text.contains(#""unblock":["nothing: it is replaced in turns, and comes back by itself"]"#),
            "\(text)"
        )
        #expect(!text.contains("undrain"))
        let gone = why(.instance(Self.first)) { $1.services[0].desired = 0 }
        #expect(gone.contains("nothing: nobody asks for it any more"), "\(gone)")
    }

    // MARK: Status

    @Test func theStatusHasTheSameFacts() {
        var snapshot = Base.snapshot([Self.leaving()])
        snapshot.fleet.drains = [Self.drain(nil, .inFlight, waitsFor: "3 requests in flight (auth/0)")]
        snapshot.fleet.rolls = [Self.roll("drains auth/1")]
        let text = String(decoding: StatusDocument(snapshot, now: Base.now).json, as: UTF8.self)
        #expect(
            text.contains(
                #""drain":{"target":"node","phase":"in-flight","by":"ada","reason":"kernel","seconds_left":118,"#
                    + #""deadline_reached":false,"waits_for":"3 requests in flight (auth/0)","#
                    + #""deadline":"2026-11-21T08:15:42.120Z"}"#
            ),
            "\(text)"
        )
        #expect(
            text.contains(#""rolling":{"replaced":1,"total":2,"by":"ada","reason":"r8","text":"drains auth/1"}"#),
            "\(text)"
        )
        snapshot.fleet.drains = [Self.drain(.service("auth"))]
        #expect(!String(decoding: StatusDocument(snapshot, now: Base.now).json, as: UTF8.self).contains(#""drain":"#))
    }
}
