import SupervisorCore
import Testing

@testable import ControlProtocol

struct RequestRouterTests {
    private static let auth = Target.service("auth")
    private static let first = Target.instance(InstanceID(service: "auth", index: 0))

    private static func drain(
        _ target: Target?,
        _ deadline: Duration? = nil,
        _ notice: DrainNotice? = nil,
        _ reason: String? = nil,
        isForced: Bool = false
    ) -> DrainRequest {
        var request = DrainRequest(target: target)
        (request.deadline, request.notice, request.reason, request.isForced) = (deadline, notice, reason, isForced)
        return request
    }

    static let routes: [(String, String, ControlRequest)] = [
        ("GET", "/v1/status", .status(nil)),
        ("HEAD", "/v1/status", .status(nil)),
        ("GET", "/v1/status/", .status(nil)),
        ("GET", "/v1/status?target=auth", .status(auth)),
        ("GET", "/v1/status/auth/0", .status(first)),
        ("GET", "/v1/services", .status(nil)),
        ("GET", "/v1/services/auth", .status(auth)),
        ("GET", "/v1/services/auth/0", .status(first)),
        ("GET", "/v1/services/%61uth/0", .status(first)),
        ("GET", "/v1/services/why", .status(.service("why"))),
        ("GET", "/v1/services/auth/why", .why(auth)),
        ("GET", "/v1/services/auth/0/why", .why(first)),
        ("GET", "/v1/why", .why(nil)),
        ("GET", "/v1/why?target=auth/0", .why(first)),
        ("GET", "/v1/why?target=auth%2F0", .why(first)),
        ("POST", "/v1/services/auth/0/start", .command(.start([first], reason: nil), wait: true)),
        ("POST", "/v1/services/auth/stop?wait=false", .command(.stop([auth], reason: nil), wait: false)),
        ("POST", "/v1/services/auth/stop?no_wait=true", .command(.stop([auth], reason: nil), wait: false)),
        ("POST", "/v1/services/auth/stop?no_wait", .command(.stop([auth], reason: nil), wait: false)),
        ("POST", "/v1/start?target=auth&no_wait=false", .command(.start([auth], reason: nil), wait: true)),
        (
            "POST", "/v1/services/auth/0/signal?signal=HUP&no_wait=true",
            .command(.signal(first, .hangup), wait: false)
        ),
        ("POST", "/v1/services/auth/restart?reason=a+b%2Bc", .command(.restart([auth], reason: "a b+c"), wait: true)),
        ("POST", "/v1/services/auth/0/signal?signal=HUP", .command(.signal(first, .hangup), wait: true)),
        (
            "POST", "/v1/services/auth/signal?signal=SIGRTMIN+3",
            .command(.signal(auth, SignalNumber(rawValue: 37)), wait: true)
        ),
        (
            "POST", "/v1/stop?target=auth&target=auth/0&target=auth",
            .command(.stop([auth, first], reason: nil), wait: true)
        ),
        ("POST", "/v1/start?target=auth&reason=", .command(.start([auth], reason: nil), wait: true)),
        ("POST", "/v1/restart?target=auth&reason=x%0Ay", .command(.restart([auth], reason: "x y"), wait: true)),
        ("POST", "/v1/restart?target=auth&rolling=true", .command(.roll(["auth"], reason: nil), wait: true)),
        ("POST", "/v1/services/auth/restart?rolling", .command(.roll(["auth"], reason: nil), wait: true)),
        ("GET", "/v1/logs", .logs(.init(target: nil, lines: 100))),
        ("GET", "/v1/logs/auth?follow=true", .logs(.init(target: auth, lines: 100, follow: true))),
        ("GET", "/v1/logs/auth/0?lines=0", .logs(.init(target: first, lines: 0))),
        ("GET", "/v1/services/auth/0/logs?lines=7", .logs(.init(target: first, lines: 7))),
        ("GET", "/v1/logs/auth?n=7", .logs(.init(target: auth, lines: 7))),
        ("GET", "/v1/events?n=5", .events(.init(target: nil, lines: 5))),
        ("GET", "/v1/logs?after=12", .logs(.init(target: nil, lines: 10_000, after: 12))),
        ("GET", "/v1/events", .events(.init(target: nil, lines: 100))),
        ("GET", "/v1/events?follow", .events(.init(target: nil, lines: 0, follow: true))),
        ("GET", "/v1/events?follow=1&lines=5&target=auth", .events(.init(target: auth, lines: 5, follow: true))),
        ("GET", "/v1/version", .version),
        ("GET", "/v1/breakers", .breakers(nil)),
        ("GET", "/v1/breakers/svc.payment.v1", .breakers("svc.payment.v1")),
        ("POST", "/v1/upgrade", .upgrade),
        ("GET", "/v1/drain", .drainStatus(nil)), ("GET", "/v1/services/auth/0/drain", .drainStatus(first)),
        ("DELETE", "/v1/drain", .command(.undrain(nil, reason: nil), wait: true)),
        ("POST", "/v1/undrain?reason=done&wait=false", .command(.undrain(nil, reason: "done"), wait: false)),
        ("DELETE", "/v1/services/auth/drain", .command(.undrain(auth, reason: nil), wait: true)),
        ("POST", "/v1/services/auth/0/undrain", .command(.undrain(first, reason: nil), wait: true)),
        ("POST", "/v1/drain", .command(.drain(drain(nil)), wait: true)),
        ("POST", "/v1/drain?target=auth&detach", .command(.drain(drain(auth)), wait: false)),
        (
            "POST", "/v1/services/auth/0/drain?deadline=1m30s&notice=250ms&reason=x&force=true",
            .command(
                .drain(drain(first, .seconds(90), .fixed(.milliseconds(250)), "x", isForced: true)),
                wait: true
            )
        ),
        ("HEAD", "/v1/drain?target=auth", .drainStatus(auth)),
        ("POST", "/v1/undrain?target=auth/0&no_wait", .command(.undrain(first, reason: nil), wait: false)),
        ("POST", "/v1/drain?target=auth&target=auth&detach=false", .command(.drain(drain(auth)), wait: true)),
        ("POST", "/v1/drain?deadline=500ms", .command(.drain(drain(nil, .milliseconds(500))), wait: true)),
        (
            "POST", "/v1/restart?rolling=true&target=auth&target=db&target=auth&reason=x",
            .command(.roll(["auth", "db"], reason: "x"), wait: true)
        ),
        ("POST", "/v1/restart?rolling=false&target=auth/0", .command(.restart([first], reason: nil), wait: true)),
        ("POST", "/v1/reload", .reload(dryRun: false, wait: true)),
        ("POST", "/v1/drain?notice=auto&dry_run=true", .planDrain(drain(nil, nil, .auto))),
        (
            "POST", "/v1/drain?notice=0s&deadline=24h",
            .command(.drain(drain(nil, .seconds(86_400), .fixed(.zero))), wait: true)
        ),
        ("POST", "/v1/reload?dry_run=true", .reload(dryRun: true, wait: true)),
        ("POST", "/v1/reload?no_wait", .reload(dryRun: false, wait: false)),
        (
            "POST", "/v1/services/auth/scale?replicas=3",
            .command(.scale(service: "auth", replicas: 3, reason: nil), wait: true)
        ),
        (
            "POST", "/v1/services/auth/scale?replicas=0&reason=night&wait=false",
            .command(.scale(service: "auth", replicas: 0, reason: "night"), wait: false)
        ),
        (
            "POST", "/v1/breakers/service%3Aauth%40r1/force-open?reason=x",
            .command(.breaker("service:auth@r1", .forceOpen, reason: "x"), wait: true)
        ),
    ]

    @Test(arguments: routes.indices) func understands(index: Int) throws {
        let (method, uri, expected) = Self.routes[index]
        #expect(try RequestRouter.route(method: method, uri: uri) == expected, "\(method) \(uri)")
    }

    static let errors: [(String, String, ControlError.Code)] = [
        ("POST", "/v1/drain?deadline=60", .badRequest), ("POST", "/v1/drain?deadline=", .badRequest),
        ("POST", "/v1/drain?deadline=0s", .badRequest), ("POST", "/v1/drain?deadline=-5s", .badRequest),
        ("POST", "/v1/drain?deadline=25h", .badRequest), ("POST", "/v1/drain?deadline=9999999999999h", .badRequest),
        ("POST", "/v1/drain?notice=soon", .badRequest), ("POST", "/v1/drain?notice=5", .badRequest),
        ("POST", "/v1/drain?wait=false&detach=true", .badRequest), ("POST", "/v1/drain?dedline=5s", .badRequest),
        ("POST", "/v1/drain?target=auth&target=db", .badRequest), ("PUT", "/v1/drain", .methodNotAllowed),
        ("GET", "/v1/undrain", .methodNotAllowed), ("GET", "/v1/reload", .methodNotAllowed),
        ("POST", "/v1/reload?force=true", .badRequest), ("POST", "/v1/drain/auth", .notFound),
        ("POST", "/v1/services/auth/scale", .badRequest), ("POST", "/v1/services/auth/scale?replicas=-1", .badRequest),
        ("POST", "/v1/services/auth/scale?replicas=10001", .badRequest),
        ("POST", "/v1/services/auth/scale?replicas=two", .badRequest),
        ("POST", "/v1/services/auth/0/scale?replicas=2", .badRequest), ("POST", "/v1/scale?replicas=2", .notFound),
        ("POST", "/v1/services/auth/scale?replicas=99999999999999999999999", .badRequest),
        ("POST", "/v1/services/auth/scale?replicas=2&replicas=3", .badRequest),
        ("POST", "/v1/services/auth/scale?replica=2", .badRequest),
        ("POST", "/v1/drain?notice=9999h", .badRequest), ("POST", "/v1/drain?notice=-1s", .badRequest),
        ("POST", "/v1/drain?notice=", .badRequest), ("POST", "/v1/drain?deadline=24h1us", .badRequest),
        ("POST", "/v1/drain?deadline=99999999999999999999999999s", .badRequest),
        ("POST", "/v1/drain?deadline=1s&deadline=2s", .badRequest), ("POST", "/v1/drain?force=maybe", .badRequest),
        ("POST", "/v1/drain?wait=true&detach=true", .badRequest),
        ("POST", "/v1/drain?no_wait=false&detach=true", .badRequest),
        ("POST", "/v1/drain?wait=true&no_wait=true", .badRequest),
        ("POST", "/v1/drain?target=auth/-1", .badRequest), ("POST", "/v1/services/auth/-1/drain", .badRequest),
        ("POST", "/v1/services/auth/drain?target=db", .badRequest),
        ("GET", "/v1/services/auth/drain?target=db", .badRequest),
        ("DELETE", "/v1/services/auth/drain?target=db", .badRequest),
        ("POST", "/v1/services/auth/undrain?target=db", .badRequest),
        ("GET", "/v1/drain?deadline=1s", .badRequest), ("GET", "/v1/drain?target=auth&target=db", .badRequest),
        ("DELETE", "/v1/drain?deadline=1s", .badRequest), ("DELETE", "/v1/drain?detach=true", .badRequest),
        ("DELETE", "/v1/undrain", .methodNotAllowed), ("POST", "/v1/undrain?force=true", .badRequest),
        ("DELETE", "/v1/reload", .methodNotAllowed), ("POST", "/v1/reload?dry_run=perhaps", .badRequest),
        ("POST", "/v1/reload/auth", .notFound), ("POST", "/v1/undrain/auth", .notFound),
        ("PATCH", "/v1/services/auth/drain", .methodNotAllowed),
        ("POST", "/v1/services/auth/stop?rolling=true", .badRequest),
        ("POST", "/v1/restart?rolling=true", .badRequest),
        ("GET", "/v1/services/auth/scale?replicas=2", .methodNotAllowed),
        ("POST", "/v1/services/auth/0/restart?rolling=true", .badRequest),
        ("POST", "/v1/restart?rolling=true&target=auth&target=auth/0", .badRequest),
        ("GET", "", .notFound), ("GET", "/", .notFound), ("GET", "*", .notFound), ("GET", "/v1", .notFound),
        ("GET", "/v2/status", .notFound), ("GET", "/v1/nothing", .notFound), ("GET", "/v1/version/2", .notFound),
        ("GET", "/v1/services/auth/0/nothing", .notFound), ("GET", "/v1/services/auth/0/1/why", .notFound),
        ("GET", "/v1/status/a/b/c", .notFound), ("POST", "/v1/stop/auth", .notFound),
        ("POST", "/v1/status", .methodNotAllowed), ("GET", "/v1/services/auth/stop", .methodNotAllowed),
        ("PUT", "/v1/drain", .methodNotAllowed), ("GET", "/v1/upgrade", .methodNotAllowed),
        ("GET", "/v1/services/auth/-1", .badRequest), ("GET", "/v1/services/auth/01", .badRequest),
        ("GET", "/v1/services/%zz", .badRequest), ("GET", "/v1/services/%ff", .badRequest),
        ("GET", "/v1/services/%4", .badRequest), ("GET", "/v1/why?target=auth/x", .badRequest),
        ("GET", "/v1/why?target=auth&target=b", .badRequest), ("GET", "/v1/why/auth?target=b", .badRequest),
        ("GET", "/v1/logs?lines=-1", .badRequest), ("GET", "/v1/logs?lines=10001", .badRequest),
        ("GET", "/v1/logs?lines=1&lines=2", .badRequest), ("GET", "/v1/logs?follow=maybe", .badRequest),
        ("GET", "/v1/logs?line=4", .badRequest), ("GET", "/v1/logs?after=99999999999999999999", .badRequest),
        ("POST", "/v1/stop", .badRequest), ("POST", "/v1/stop?target=", .badRequest),
        ("POST", "/v1/services/auth/signal", .badRequest), ("POST", "/v1/services/auth/signal?signal=FOO", .badRequest),
        ("POST", "/v1/services/auth/stop?wiat=false", .badRequest),
        ("POST", "/v1/services/auth/stop?wait=true&no_wait=true", .badRequest),
        ("POST", "/v1/services/auth/stop?no_wait=maybe", .badRequest),
        ("GET", "/v1/logs?n=-1", .badRequest), ("GET", "/v1/logs?n=1&lines=1", .badRequest),
        ("GET", "/v1/status?" + String(repeating: "x", count: 9_000), .tooLarge),
        ("POST", "/v1/stop?target=a&reason=" + String(repeating: "x", count: 1_025), .badRequest),
        ("POST", "/v1/stop?" + (0..<300).map { "target=s\($0)" }.joined(separator: "&"), .badRequest),
        ("GET", "/v1/status?" + String(repeating: "a=&", count: 600), .badRequest),
    ]

    @Test(arguments: errors.indices) func refuses(index: Int) {
        let (method, uri, code) = Self.errors[index]
        let error = #expect(throws: ControlError.self) { try RequestRouter.route(method: method, uri: uri) }
        #expect(error?.code == code, "\(method) \(uri.prefix(80))")
        #expect(error?.message.hasPrefix("cannot ") == true)
        #expect(error?.message.utf8.count ?? 0 < 500)
    }

    @Test func suggestsParameters() {
        let error = #expect(throws: ControlError.self) {
            try RequestRouter.route(method: "POST", uri: "/v1/services/auth/stop?wiat=false")
        }
        #expect(error?.message == #"cannot use the query parameter "wiat" here; did you mean "wait"?"#)
    }

    static let texts: [(String, String)] = [
        (
            "/v1/drain?deadline=60",
            #"cannot use deadline="60"; use a duration with a unit, such as 60s or 2m"#
        ),
        ("/v1/drain?deadline=0s", #"cannot use deadline="0s"; use more than 0s and at most 24h"#),
        ("/v1/drain?notice=9999h", #"cannot use notice="9999h"; use auto, or at most 24h"#),
        (
            "/v1/drain?notice=soon",
            #"cannot use notice="soon"; use auto, or a duration with a unit, such as 60s or 2m"#
        ),
        ("/v1/drain?dedline=5s", #"cannot use the query parameter "dedline" here; did you mean "deadline"?"#),
        ("/v1/drain?wait=true&detach=true", "cannot take both wait and detach; use one of them"),
        ("/v1/drain?target=auth&target=db", "cannot drain several targets at once; ask for each"),
        (
            "/v1/services/auth/0/scale?replicas=2",
            "cannot scale auth/0: an instance is one; say how many auth is to have"
        ),
        ("/v1/services/auth/scale", "cannot scale auth to nothing said; say how many with replicas=2"),
        (
            "/v1/services/auth/0/restart?rolling=true",
            "cannot restart auth/0 in turns: that takes services; leave out rolling, or the index"
        ),
        (
            "/v1/breakers/x/reset?because=y",
            #"cannot use the query parameter "because" here; it takes reason, wait, no_wait"#
        ),
    ]

    @Test(arguments: texts.indices) func saysWhatToUse(index: Int) {
        let (uri, text) = Self.texts[index]
        do throws(ControlError) {
            let request = try RequestRouter.route(method: "POST", uri: uri)
            Issue.record("\(uri) is understood as \(request)")
        } catch {
            #expect(error.message == text)
        }
    }

    @Test func onlyCommandsAct() throws {
        for (_, _, request) in Self.routes {
            switch request {
            case .command, .upgrade, .reload: #expect(request.acts)
            default: #expect(!request.acts)
            }
        }
    }

    @Test(arguments: [UInt64(1), 2]) func neverTraps(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let parts = [
            "/", "v1", "services", "auth", "0", "-1", "why", "stop", "?", "&", "=", "%", "%41", "%c3", "+", "target",
            "lines", "18446744073709551616", "reason", "signal", "SIGRTMIN+99", "follow", "\u{0}", "é", "//",
        ]
        for _ in 0..<20_000 {
            let count = Int(generator.next() % 12)
            let uri = (0..<count).map { _ in parts[Int(generator.next() % UInt64(parts.count))] }.joined()
            _ = try? RequestRouter.route(method: generator.next() % 2 == 0 ? "GET" : "POST", uri: "/v1/" + uri)
        }
    }
}

struct NearestNameTests {
    @Test func findsSlips() {
        let names = ["auth", "event-bus", "gateway"]
        #expect(NearestName.find("auht", among: names) == "auth")
        #expect(NearestName.find("eventbus", among: names) == "event-bus")
        #expect(NearestName.find("gatway", among: names) == "gateway")
        #expect(NearestName.find("payments", among: names) == nil)
        #expect(NearestName.find("", among: names) == nil)
        #expect(NearestName.find("auth", among: []) == nil)
    }
}

struct TargetCatalogTests {
    @Test func saysWhatThereIs() {
        var spec = FleetSpec()
        var auth = ServiceSpec(name: "auth", command: ["/x"])
        auth.replicas = 3
        spec.services = [auth, ServiceSpec(name: "event-bus", command: ["/y"])]
        var fleet = FleetStatus(node: NodeStatus(name: "n", state: .healthy, since: MonotonicInstant(nanoseconds: 0)))
        var old = ServiceStatus(name: "old", state: .healthy, since: MonotonicInstant(nanoseconds: 0))
        old.instances = [
            InstanceStatus(
                id: InstanceID(service: "old", index: 4),
                state: .healthy,
                since: MonotonicInstant(nanoseconds: 0),
                generation: 1
            )
        ]
        fleet.services = [old]
        let catalog = TargetCatalog(spec, fleet)
        let problem: (String) -> String? = { Target($0).flatMap { catalog.problem(with: $0) }?.message }
        #expect(problem("auth") == nil)
        #expect(problem("auth/2") == nil)
        #expect(problem("old/4") == nil)
        #expect(problem("auth/3") == "cannot find auth/3: auth has instances 0 to 2")
        #expect(problem("event-bus/1") == "cannot find event-bus/1: event-bus has one instance, 0")
        #expect(problem("auht") == #"cannot find a service named "auht"; did you mean "auth"?"#)
        #expect(problem("zzz") == #"cannot find a service named "zzz"; there are auth, event-bus, old"#)
    }
}
