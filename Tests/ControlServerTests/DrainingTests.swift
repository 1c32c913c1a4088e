import StatusBoard
import SupervisorCore
import Testing

@testable import ControlServer

/// Drains, scale and reload over the control socket, with supervision in the test's hands.
@Suite(.timeLimit(.minutes(2)))
struct DrainingTests {
    private static func drain(_ target: Target? = nil, _ phase: DrainPhase = .notice, by: String = "ada") -> DrainStatus
    {
        var drain = Drain(
            .maintenance,
            of: target,
            by: by,
            since: Fixture.now,
            deadline: Fixture.now.advanced(by: .seconds(120))
        )
        drain.phase = phase
        return DrainStatus(drain: drain)
    }

    private static func fleet(_ drains: [DrainStatus]) -> FleetStatus {
        var fleet = Fixture.fleet
        fleet.drains = drains
        return fleet
    }

    private static let plan: ReloadPlan = {
        var plan = ReloadPlan()
        plan.steps = [.init(.restart, InstanceID(service: "auth", index: 0), reason: "changed: command")]
        return plan
    }()

    // MARK: Drains

    @Test func aDrainIsAnsweredWithHowItStands() async throws {
        let harness = try await Harness(fleet: Self.fleet([Self.drain(nil, .drained)]))
        let done = try harness.ask("POST", "/v1/drain?deadline=60s&reason=kernel")
        #expect(done.status == 200)
        #expect(done.body.hasPrefix(#"{"result":"done","action":"drain","targets":[],"drain":{"at":"#), "\(done.body)")
        #expect(done.body.contains(#""target":"node","state":"drained","phase":"drained","by":"ada""#))
        var request = DrainRequest(target: nil)
        (request.deadline, request.reason) = (.seconds(60), "kernel")
        #expect(harness.port.submitted.map(\.command) == [.drain(request)])
        #expect(harness.port.submitted.map(\.wait) == [true])
        let accepted = try harness.ask("POST", "/v1/services/auth/drain?detach=true")
        #expect(accepted.body.hasPrefix(#"{"result":"accepted","action":"drain","targets":["auth"],"drain":{"#))
        #expect(harness.port.submitted.last?.wait == false)
        try await harness.stop()
    }

    @Test func aDrainThatLostSomethingIsDoneAllTheSame() async throws {
        var lost = Self.drain(nil, .drained)
        lost.drain.deadlineReached = true
        lost.drain.lost = [LostWork(instance: InstanceID(service: "auth", index: 0), inFlight: 2)]
        let harness = try await Harness(fleet: Self.fleet([lost]))
        harness.port.answer(.deadlineReached("the deadline was reached; killed: auth/0 (2 requests in flight)"))
        let answer = try harness.ask("POST", "/v1/drain")
        #expect(answer.status == 200)
        #expect(
            answer.body.hasPrefix(
                #"{"result":"deadline-reached","action":"drain","targets":[],"#
                    + #""text":"the deadline was reached; killed: auth/0 (2 requests in flight)","drain":{"#
            ),
            "\(answer.body)"
        )
        #expect(answer.body.contains(#""deadline_reached":true"#))
        #expect(answer.body.contains(#""lost":[{"name":"auth/0","in_flight":2}]"#))
        try await harness.stop()
    }

    @Test func aDrainThatIsRefusedSaysWhyAndWhatNext() async throws {
        let harness = try await Harness()
        harness.port.answer(
            .refused("it is the only instance of event-bus; drain event-bus as a whole, or use --force")
        )
        let refused = try harness.ask("POST", "/v1/services/event-bus/0/drain")
        #expect(refused.status == 409)
        #expect(
            refused.body == #"{"error":{"code":"refused","message":"cannot drain event-bus/0: it is the only instance "#
                + #"of event-bus; drain event-bus as a whole, or use --force"}}"# + "\n"
        )
        harness.port.answer(.failed("the drain was taken back"))
        #expect(try harness.ask("POST", "/v1/drain").status == 500)
        let unknown = try harness.ask("POST", "/v1/services/auht/drain")
        #expect(unknown.status == 404)
        #expect(unknown.body.contains(#"did you mean \"auth\"?"#))
        #expect(try harness.ask("POST", "/v1/services/auth/9/drain").status == 404)
        try await harness.stop()
    }

    @Test func aPlanChangesNothing() async throws {
        let harness = try await Harness()
        var plan = Self.drain(.service("auth"), by: "")
        (plan.noticeLeast, plan.noticeMost) = (.seconds(2), .seconds(75))
        harness.port.plan(.admitted(plan))
        let planned = try harness.ask("POST", "/v1/services/auth/drain?dry_run=true&force=true")
        #expect(planned.status == 200)
        #expect(
            planned.body.hasPrefix(#"{"result":"planned","action":"drain","targets":["auth"],"drain":{"at":"#),
            "\(planned.body)"
        )
        #expect(planned.body.contains(#""min_seconds":2,"max_seconds":75"#))
        #expect(harness.port.planned.map(\.isForced) == [true])
        harness.port.plan(.refused("the fleet is being stopped; nothing else can be asked"))
        let refused = try harness.ask("POST", "/v1/drain?dry_run=true")
        #expect(refused.status == 409)
        #expect(refused.body.contains("cannot drain the node: the fleet is being stopped; nothing else can be asked"))
        #expect(harness.port.submitted.isEmpty)
        try await harness.stop()
    }

    @Test func drainsAreTakenBackAndLookedAt() async throws {
        let harness = try await Harness(fleet: Self.fleet([Self.drain(.service("auth"))]))
        let look = try harness.ask("GET", "/v1/drain")
        #expect(look.body.contains(#""target":"node","state":"none""#))
        #expect(look.body.contains(#""others":[{"target":"auth","state":"draining","phase":"notice""#))
        #expect(try harness.ask("GET", "/v1/drain?target=auth").body.contains(#""target":"auth","state":"draining""#))
        #expect(
            try harness.ask("GET", "/v1/services/auth/1/drain").body
                .contains(#""target":"auth/1","state":"none","part_of":"auth","deadline_reached":false"#)
        )
        #expect(try !harness.ask("GET", "/v1/drain?target=event-bus").body.contains("part_of"))
        #expect(try harness.ask("GET", "/v1/services/nothing/drain").status == 404)
        #expect(try harness.ask("HEAD", "/v1/drain").status == 200)
        for (method, uri) in [("DELETE", "/v1/services/auth/drain"), ("POST", "/v1/undrain?target=auth")] {
            let back = try harness.ask(method, uri)
            #expect(back.body == #"{"result":"done","action":"undrain","targets":["auth"]}"# + "\n")
        }
        #expect(try harness.ask("DELETE", "/v1/drain").body.contains(#""targets":[]"#))
        #expect(
            harness.port.submitted.map(\.command) == [
                .undrain(.service("auth"), reason: nil), .undrain(.service("auth"), reason: nil),
                .undrain(nil, reason: nil),
            ]
        )
        let allow = try harness.ask("PUT", "/v1/drain")
        #expect(allow.status == 405)
        #expect(allow.headers["allow"] == "GET, HEAD, POST, DELETE")
        try await harness.stop()
    }

    // MARK: Scale and rolling restarts

    @Test func scaleAndRollAreCommands() async throws {
        let harness = try await Harness()
        let scaled = try harness.ask("POST", "/v1/services/auth/scale?replicas=3&reason=evening")
        #expect(scaled.body == #"{"result":"done","action":"scale","replicas":3,"targets":["auth"]}"# + "\n")
        let rolled = try harness.ask("POST", "/v1/restart?target=auth&target=event-bus&rolling=true&wait=false")
        #expect(rolled.body == #"{"result":"accepted","action":"restart","targets":["auth","event-bus"]}"# + "\n")
        #expect(
            harness.port.submitted.map(\.command) == [
                .scale(service: "auth", replicas: 3, reason: "evening"), .roll(["auth", "event-bus"], reason: nil),
            ]
        )
        harness.port.answer(
            .failed("the rolling restart of auth has stopped: auth/0 exited with code 1; 0 of 2 replaced")
        )
        let failed = try harness.ask("POST", "/v1/restart?target=auth&rolling=true")
        #expect(failed.status == 500)
        #expect(
            failed.body.contains(
                "cannot restart auth: the rolling restart of auth has stopped: auth/0 exited with code 1; "
                    + "0 of 2 replaced"
            ),
            "\(failed.body)"
        )
        try await harness.stop()
    }

    // MARK: Reload

    @Test(arguments: [
        (ReloadResult.planned(plan), "dry_run=true", 200, #""result":"planned","action":"reload","plan":{"steps":[{"#),
        (.applied(plan, .done), "wait=true", 200, #""result":"done""#),
        (.applied(plan, .done), "no_wait=true", 200, #""result":"accepted""#),
        (
            .invalid(["a.toml:1: x", "a.toml:2: y"]), "wait=true", 422,
            #""message":"cannot reload the configuration: it has 2 errors; mend the file, the old one stays in force"#
                + #"\na.toml:1: x\na.toml:2: y""#
        ),
        (.invalid(["a.toml:1: x"]), "dry_run=true", 422, "it has an error; mend"),
        (
            .refused("another reload is going on; try again in a moment"), "wait=true", 409,
            #""cannot reload the configuration: another reload is going on; try again in a moment""#
        ),
        (
            .applied(plan, .failed("auth/0 exited with code 1")), "wait=true", 500,
            #""cannot finish the reload: the new configuration is in force, but auth/0 exited with code 1; "#
                + #"see eiderctl events""#
        ),
        (
            .applied(plan, .refused("the fleet is being stopped; nothing else can be asked")), "wait=true", 409,
            #""cannot reload the configuration: the fleet is being stopped; nothing else can be asked""#
        ),
    ])
    func aReloadIsAnswered(result: ReloadResult, query: String, status: Int, text: String) async throws {
        let harness = try await Harness()
        harness.port.reloaded(result)
        let answer = try harness.ask("POST", "/v1/reload?\(query)")
        #expect(answer.status == status)
        #expect(answer.body.contains(text), "\(answer.body)")
        if status == 422 { #expect(answer.body.contains(#""code":"invalid-configuration""#)) }
        #expect(harness.port.reloads.map(\.dryRun) == [query == "dry_run=true"])
        #expect(harness.port.reloads.map(\.wait) == [query != "no_wait=true"])
        #expect(harness.port.reloads.map(\.caller.uid) == [geteuidNumber])
        try await harness.stop()
    }

    // MARK: Who may

    @Test func readersLookAtDrainsAndMakeNone() async throws {
        let harness = try await Harness(level: .reader, fleet: Self.fleet([Self.drain()]))
        #expect(try harness.ask("GET", "/v1/drain").body.contains(#""state":"draining""#))
        #expect(try harness.ask("GET", "/v1/services/auth/drain").status == 200)
        harness.port.plan(.admitted(Self.drain()))
        #expect(try harness.ask("POST", "/v1/drain?dry_run=true").status == 200)
        for (method, uri, what) in [
            ("POST", "/v1/drain", "drain the node"), ("DELETE", "/v1/drain", "undrain the node"),
            ("POST", "/v1/services/auth/drain?dry_run=false", "drain auth"),
            ("POST", "/v1/undrain", "undrain the node"),
            ("DELETE", "/v1/services/auth/0/drain", "undrain auth/0"),
            ("POST", "/v1/reload", "reload the configuration"),
            ("POST", "/v1/reload?dry_run=true", "reload the configuration"),
            ("POST", "/v1/services/auth/scale?replicas=0", "scale auth"),
            ("POST", "/v1/restart?target=auth&rolling=true", "restart auth"),
        ] {
            let denied = try harness.ask(method, uri)
            #expect(denied.status == 403, "\(method) \(uri)")
            #expect(denied.body.contains("cannot \(what): user "), "\(denied.body)")
        }
        #expect(harness.port.submitted.isEmpty && harness.port.reloads.isEmpty)
        try await harness.stop()
    }

    @Test func othersSeeNothing() async throws {
        let harness = try await Harness(level: .none)
        for (method, uri) in [("GET", "/v1/drain"), ("POST", "/v1/drain?dry_run=true"), ("POST", "/v1/reload")] {
            #expect(try harness.ask(method, uri).status == 403)
        }
        #expect(harness.port.planned.isEmpty && harness.port.reloads.isEmpty)
        try await harness.stop()
    }
}
