import StatusBoard
import SupervisorCore
import Testing

@testable import ControlProtocol

/// Golden texts: the keys of INTERFACE.md §1, in a fixed order.
struct DocumentTests {
    static let wallClock: Int64 = 1_795_248_824_120_000_000
    static let now = MonotonicInstant(nanoseconds: 1_000_000_000_000)

    static func ago(_ seconds: Int64) -> MonotonicInstant { now.advanced(by: .seconds(-seconds)) }

    static func instance(_ index: Int, _ state: PublicState, since: Int64 = 60) -> InstanceStatus {
        InstanceStatus(
            id: InstanceID(service: "auth", index: index),
            state: state,
            since: ago(since),
            generation: 7
        )
    }

    static func snapshot(_ instances: [InstanceStatus], reason: String? = nil) -> StatusBoard.Snapshot {
        var fleet = FleetStatus(node: NodeStatus(name: "host-a", state: .degraded, since: ago(3600)))
        fleet.node.reason = reason
        fleet.node.firstStartFinished = true
        var service = ServiceStatus(name: "auth", state: .degraded, since: ago(60))
        service.instances = instances
        service.ready = instances.filter(\.ready).count
        service.desired = instances.count
        fleet.services = [service]
        return StatusBoard(fleet: fleet, now: ago(1), wallClockOffset: wallClock - now.nanoseconds).snapshot
    }

    static var spec: FleetSpec {
        var spec = FleetSpec()
        var auth = ServiceSpec(name: "auth", command: ["/usr/lib/game/auth"])
        auth.kind = .notify
        auth.after = ["event-bus"]
        auth.resources.memoryMax = 512 << 20
        spec.services = [auth]
        return spec
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    /// One that fails its probes and is not restarted.
    static var failing: InstanceStatus {
        var instance = instance(0, .degraded)
        instance.pid = 4711
        instance.ready = true
        instance.checks = [
            CheckStatus(kind: .readiness, state: .passing, obstacle: "no descriptors"),
            CheckStatus(
                kind: .liveness,
                state: .failing,
                failures: 4,
                failingSince: ago(20),
                text: "answered 500"
            ),
        ]
        instance.suppressions = [Suppression(rule: .i5, text: "hold=correlated (I5)", since: ago(10))]
        instance.flaps = FlapDamper(penalty: 3_000, updatedAt: now, isHeld: true)
        return instance
    }

    @Test func probesAndWhatIsNotDone() {
        let members =
            #""probes":[{"kind":"readiness","state":"passing","unknown":"no descriptors"},"#
            + #"{"kind":"liveness","state":"failing","failures_in_a_row":4,"#
            + #""failing_since":"2026-11-21T08:13:24.120Z","text":"answered 500"}],"#
            + #""suppressed":[{"rule":"I5","text":"hold=correlated (I5)","since":"2026-11-21T08:13:34.120Z"}],"#
            + #""flap_penalty":3000,"flapping":true"#
        let status = text(StatusDocument(Self.snapshot([Self.failing]), now: Self.now).json)
        #expect(status.contains(members), "\(status)")
        var spec = Self.spec
        spec.services[0].liveness.probe = ServiceSpec.Probe(method: .http(url: "http://127.0.0.1:1/live"))
        spec.services[0].readiness = ServiceSpec.Probe(method: .exec(command: ["/x"]))
        let target = Target.instance(InstanceID(service: "auth", index: 0))
        let snapshot = Self.snapshot([Self.failing])
        let why = text(
            WhyDocument(snapshot, spec: spec, target: target, now: Self.now, events: [], logs: []).json
        )
        #expect(why.contains(members), "\(why)")
        #expect(
            why.contains(
                "readiness: exec every 5s; 3 failures in a row take it out, 2 successes bring it back; "
                    + "liveness: http every 5s; after 3 failures in a row it may be restarted (I3 to I5)"
            ),
            "\(why)"
        )
        #expect(
            why.contains(
                #""unblock":["mend what keeps its readiness probe from being run: no descriptors","#
                    + #""it must pass its liveness probe"]"#
            ),
            "\(why)"
        )
    }

    @Test func aHoldIsShown() {
        var snapshot = Self.snapshot([Self.failing])
        snapshot.fleet.node.hold = "correlated"
        snapshot.fleet.node.holdReason = "instances failed together"
        let status = text(StatusDocument(snapshot, now: Self.now).json)
        #expect(status.contains(#""hold":"correlated","hold_reason":"instances failed together""#), "\(status)")
    }

    @Test func status() {
        var first = Self.instance(0, .healthy)
        first.pid = 4711
        first.ready = true
        first.restarts = 2
        first.startedAt = Self.ago(61)
        first.inFlight = 3
        first.lastExit = LastExit(outcome: .status(.signal(.kill, coreDumped: false)), cause: .oom, at: Self.ago(62))
        var second = Self.instance(1, .backoff, since: 1)
        second.reason = "exited with code 1"
        second.nextStartAt = Self.now.advanced(by: .milliseconds(1500))
        second.lastExit = LastExit(outcome: .status(.code(1)), cause: .exit, at: Self.ago(1))
        let document = StatusDocument(Self.snapshot([first, second], reason: "auth is degraded"), now: Self.now)
        #expect(
            text(document.json)
                == #"{"at":"2026-11-21T08:13:44.120Z","node":{"name":"host-a","state":"degraded","intent":"run","#
                + #""since":"2026-11-21T07:13:44.120Z","reason":"auth is degraded","ready":false,"#
                + #""first_start_finished":true,"heartbeat_age_seconds":1},"services":[{"name":"auth","#
                + #""state":"degraded","ready":1,"desired":2,"breaker":"closed","since":"2026-11-21T08:12:44.120Z","#
                + #""critical":false,"routable":false,"restarts":2,"instances":[{"name":"auth/0","state":"healthy","#
                + #""pid":4711,"ready":true,"restarts":2,"uptime_seconds":61,"in_flight":3,"last_exit":{"#
                + #""signal":"SIGKILL","cause":"oom","at":"2026-11-21T08:12:42.120Z","#
                + #""text":"was ended by SIGKILL for lack of memory"},"since":"2026-11-21T08:12:44.120Z","#
                + #""generation":7,"crashes_in_a_row":0,"live":false,"started_once":false},{"name":"auth/1","#
                + #""state":"backoff","reason":"exited with code 1","ready":false,"restarts":0,"#
                + #""next_start_in_seconds":1.5,"last_exit":{"code":1,"cause":"exit","#
                + #""at":"2026-11-21T08:13:43.120Z","text":"exited with code 1"},"since":"2026-11-21T08:13:43.120Z","#
                + #""generation":7,"crashes_in_a_row":0,"live":false,"started_once":false}]}]}"#
        )
    }

    @Test func statusOfOne() {
        let all = Self.snapshot([Self.instance(0, .healthy), Self.instance(1, .healthy)])
        let one = text(
            StatusDocument(all, now: Self.now, target: .instance(InstanceID(service: "auth", index: 1))).json
        )
        #expect(one.contains(#""name":"auth/1""#))
        #expect(!one.contains(#""name":"auth/0""#))
        #expect(one.contains(#""desired":2"#))
    }

    @Test func failedStartsNameTheStage() {
        var instance = Self.instance(0, .backoff)
        let failure = SpawnFailure(stage: .workingDirectory, errno: 2, path: "/srv/game")
        instance.lastExit = LastExit(outcome: .spawnFailed(failure), cause: .spawn, at: Self.ago(1))
        let status = text(StatusDocument(Self.snapshot([instance]), now: Self.now).json)
        #expect(
            status.contains(
                #""last_exit":{"stage":"working-directory","errno":2,"path":"/srv/game","cause":"spawn","#
                    + #""at":"2026-11-21T08:13:43.120Z","text":"cannot enter the working directory /srv/game: "#
                    + #"No such file or directory (ENOENT)"}"#
            )
        )
    }

    private func why(_ instance: InstanceStatus, target: Target? = .instance(InstanceID(service: "auth", index: 0)))
        -> String
    {
        let line = LogLine(sequence: 9, instance: instance.id, wallClock: Self.wallClock, text: "panic: \"x\"")
        let event = EventRecord(
            sequence: 4,
            wallClock: Self.wallClock,
            subject: "auth/0",
            kind: "exited",
            text: "auth/0 exited"
        )
        return text(
            WhyDocument(
                Self.snapshot([instance]),
                spec: Self.spec,
                target: target,
                now: Self.now,
                events: [event],
                logs: [line]
            ).json
        )
    }

    @Test func whyOfACrash() {
        var instance = Self.instance(0, .backoff, since: 2)
        instance.crashesInARow = 3
        instance.nextStartAt = Self.now.advanced(by: .seconds(4))
        instance.lastExit = LastExit(outcome: .status(.signal(.kill, coreDumped: false)), cause: .oom, at: Self.ago(2))
        #expect(
            why(instance)
                == #"{"target":"auth/0","kind":"instance","state":"backoff","at":"2026-11-21T08:13:44.120Z","#
                + #""since":"2026-11-21T08:13:42.120Z","ready":false,"restarts":0,"crashes_in_a_row":3,"last_exit":{"#
                + #""signal":"SIGKILL","cause":"oom","at":"2026-11-21T08:13:42.120Z","#
                + #""text":"was ended by SIGKILL for lack of memory","explanation":"killed by the kernel for lack of "#
                + #"memory (memory_max 512MiB)"},"policy":{"restart":"always","text":"always, backoff 500ms ×2 up to "#
                + #"1m ±20 %, forgotten after 1m; gives up: never","backoff_initial_seconds":0.5,"#
                + #""backoff_multiplier":2,"backoff_max_seconds":60,"backoff_jitter":0.2,"stable_after_seconds":60},"#
                + #""next_start":{"at":"2026-11-21T08:13:48.120Z","in_seconds":4,"attempt":4},"unblock":["#
                + #""start it now: eiderctl start auth/0","raise services.auth.resources.memory_max, or find what "#
                + #"takes the memory"],"events":[{"sequence":4,"at":"2026-11-21T08:13:44.120Z","subject":"auth/0","#
                + #""kind":"exited","text":"auth/0 exited"}],"logs":[{"sequence":9,"at":"2026-11-21T08:13:44.120Z","#
                + #""instance":"auth/0","text":"panic: \"x\""}]}"#
        )
    }

    @Test func whySaysWhatWouldUnblockIt() {
        var stopped = Self.instance(0, .stopped)
        stopped.intentReason = "stopped by anna: night work"
        #expect(why(stopped).contains(#""stopped_by":"stopped by anna: night work""#))
        #expect(why(stopped).contains(#""unblock":["start it: eiderctl start auth/0"]"#))
        #expect(
            why(Self.instance(0, .starting)).contains(#""unblock":["waits for event-bus: eiderctl why event-bus"]"#)
        )
        var starting = Self.instance(0, .starting)
        starting.pid = 12
        starting.startedAt = Self.ago(20)
        #expect(
            why(starting).contains(
                #""unblock":["waits for READY=1 from pid 12, until 2026-11-21T08:15:24.120Z (startup.timeout 2m)"]"#
            )
        )
        var stopping = Self.instance(0, .stopping, since: 10)
        stopping.pid = 12
        #expect(why(stopping).contains("SIGKILL follows at 2026-11-21T08:14:04.120Z"))
        #expect(why(Self.instance(0, .failed)).contains("eiderctl start auth/0 (its restart policy, always, will not)"))
        #expect(why(Self.instance(0, .healthy)).contains(#""unblock":[]"#))
        #expect(why(Self.instance(0, .failed), target: nil).contains("auth is degraded: eiderctl why auth"))
        #expect(why(Self.instance(0, .failed), target: .service("auth")).contains(#""instances":[{"target":"auth/0""#))
    }

    @Test(arguments: [
        (ExitCause.exit, "exited with code 3"), (.operator, "exited with code 3, as it was asked to"),
        (.startupTimeout, "was not ready within 2m, so it exited with code 3"),
        (.watchdog, "gave no heartbeat, so it exited with code 3"),
        (.liveness, "its liveness probe failed, so it exited with code 3"),
    ])
    func causesInWords(cause: ExitCause, words: String) {
        let exit = LastExit(outcome: .status(.code(3)), cause: cause, at: Self.now)
        #expect(PolicyWords(spec: Self.spec.services[0]).cause(of: exit) == words)
    }

    @Test func everyEndHasWords() {
        for cause in ExitCause.allCases {
            for stage in SpawnStage.allCases {
                let failure = SpawnFailure(stage: stage, errno: 13, path: "/x")
                let exit = LastExit(outcome: .spawnFailed(failure), cause: cause, at: Self.now)
                #expect(!PolicyWords(spec: Self.spec.services[0]).cause(of: exit).isEmpty)
                #expect(stage.words.allSatisfy { $0.isLowercase || $0 == "-" })
            }
        }
    }

    @Test func smallDocuments() {
        let command = Command.signal(.service("auth"), .hangup)
        #expect(
            text(SmallDocuments.commanded(command, waited: true))
                == #"{"result":"done","action":"signal","signal":"SIGHUP","targets":["auth"]}"#
        )
        #expect(text(StreamLine.dropped(12)) == "{\"dropped\":12}\n")
        #expect(text(StreamLine.dropped(12, of: "host")) == "{\"dropped\":12,\"of\":\"host\"}\n")
        #expect(
            text(ControlError(.refused, "cannot \"x\"").json)
                == #"{"error":{"code":"refused","message":"cannot \"x\""}}"#
        )
        for code in ControlError.Code.allCases { #expect((400...503).contains(code.httpStatus)) }
    }

    @Test func releasesAreNamedByWhatIsRun() {
        func name(_ command: [String], release: String = "") -> String {
            var service = ServiceSpec(name: "auth", command: command)
            service.release = release
            return "service:auth@" + ReleaseName.configured(service)
        }
        #expect(name(["/x"], release: "r7") == "service:auth@r7")
        #expect(ReleaseName.digest(["/x"], content: 1) != ReleaseName.digest(["/x"]))
        // A name that changes with the daemon's version would forget what the breaker knows.
        #expect(name(["/usr/lib/game/auth", "--port", "{port}"]) == "service:auth@da5915fb1f7e")
        #expect(name([]) == "service:auth@9ce48422e8d7")
        let others = [["/x"], ["/x", ""], ["/x", "ab"], ["/x", "a", "b"], ["/xab"]].map { name($0) }
        #expect(Set(others).count == others.count)
        #expect(others.allSatisfy { $0.count == "service:auth@".count + 12 })
    }

    @Test func timestamps() {
        #expect(Timestamp.rfc3339(0) == "1970-01-01T00:00:00.000Z")
        #expect(Timestamp.rfc3339(-1_000_000) == "1969-12-31T23:59:59.999Z")
        #expect(Timestamp.rfc3339(951_782_400_000_000_000) == "2000-02-29T00:00:00.000Z")
    }
}
