import SupervisorCore

/// What must hold between the values of one service.
enum ServiceRules {
    static func check(_ service: DecodedService, _ problems: inout Problems) {
        checkCommand(service, &problems)
        checkKind(service, &problems)
        checkOrder(service, &problems)
        checkPorts(service, &problems)
        PlaceholderRules.check(service, &problems)
        ProbeRules.check(service, &problems)
    }

    private static func checkCommand(_ service: DecodedService, _ problems: inout Problems) {
        if service.isSet("command") { return }
        let text = "cannot do without it; name program and arguments, such as [\"/usr/bin/program\", \"argument\"]"
        problems.add(service.path + ["command"], text, at: service.table.location)
    }

    private static func checkKind(_ service: DecodedService, _ problems: inout Problems) {
        let spec = service.draft.spec
        if spec.kind == .oneshot, spec.restart.policy == .always {
            let text = "cannot use \"always\" with type = \"oneshot\"; use on-failure or never"
            add(service, ["restart", "policy"], text, &problems)
        }
        if spec.kind != .notify, spec.liveness.watchdog != nil {
            let kind = spec.kind.rawValue
            let text = "cannot be used with type = \"\(kind)\"; set type = \"notify\", or \"0s\" for no watchdog"
            add(service, ["liveness", "watchdog"], text, &problems)
        }
    }

    private static func checkOrder(_ service: DecodedService, _ problems: inout Problems) {
        let restart = service.draft.spec.restart
        if restart.backoffMax < restart.backoffInitial {
            let text = tooShort(restart.backoffMax, than: "backoff_initial", restart.backoffInitial)
            add(service, ["restart", "backoff_max"], text, &problems)
        }
        let breaker = service.draft.spec.breaker
        if breaker.maxWaitDurationInOpenState < breaker.waitDurationInOpenState {
            let text = tooShort(
                breaker.maxWaitDurationInOpenState,
                than: "wait_duration_in_open_state",
                breaker.waitDurationInOpenState
            )
            add(service, ["breaker", "max_wait_duration_in_open_state"], text, &problems)
        }
    }

    private static func checkPorts(_ service: DecodedService, _ problems: inout Problems) {
        let spec = service.draft.spec
        guard let base = spec.portBase else { return }
        let last = base + max(1, spec.replicas) - 1
        if last > 65_535 {
            let text = "cannot use \(base) with \(spec.replicas) replicas; use at most \(65_536 - spec.replicas)"
            add(service, ["port_base"], text, &problems)
        }
        if spec.environment.contains(where: { $0.name == "PORT" }) {
            let text = "cannot set PORT when port_base is set; Eider sets it for each instance, remove one of them"
            add(service, ["environment", "PORT"], text, &problems)
        }
    }

    /// Of two durations the larger is the smaller one.
    static func tooShort(_ value: Duration, than other: String, _ minimum: Duration) -> String {
        let least = DurationText.render(minimum)
        return "cannot use \"\(DurationText.render(value))\"; use at least \(other), which is \"\(least)\""
    }

    static func add(_ service: DecodedService, _ key: [String], _ text: String, _ problems: inout Problems) {
        problems.add(service.path + key, text, at: service.table.location(of: key))
    }
}

/// Placeholders must be known, and have a value.
enum PlaceholderRules {
    static func check(_ service: DecodedService, _ problems: inout Problems) {
        for key in [["command"], ["working_directory"]] { check(service, key, &problems) }
        for probe in ["startup", "readiness", "liveness"] {
            for method in ProbeDraft.methods { check(service, [probe, method], &problems) }
        }
        for entry in service.table.table("environment")?.entries ?? [] {
            check(service, ["environment", entry.key], &problems)
        }
    }

    private static func check(_ service: DecodedService, _ key: [String], _ problems: inout Problems) {
        switch service.table.node(at: key) {
        case let node? where isText(node): check(node, service, key, &problems)
        case let node?:
            guard case .array(let elements) = node.value else { return }
            for element in elements { check(element, service, key, &problems) }
        case nil: return
        }
    }

    private static func isText(_ node: ConfigurationNode) -> Bool {
        if case .string = node.value { true } else { false }
    }

    private static func check(
        _ node: ConfigurationNode,
        _ service: DecodedService,
        _ key: [String],
        _ problems: inout Problems
    ) {
        guard case .string(let text) = node.value else { return }
        for name in Placeholders.names(in: text) {
            let advice: String
            if !Placeholders.known.contains(name) {
                let known = Quoting.alternatives(Placeholders.known.map { "{\($0)}" })
                advice = "use \(known), or write {{\(name)}} for the text {\(name)}"
            } else if name == "port", service.draft.spec.portBase == nil, !service.isSet("port_base") {
                advice = "set port_base, or write {{port}} for the text {port}"
            } else {
                continue
            }
            problems.add(service.path + key, "cannot fill in {\(name)}; \(advice)", at: node.location)
        }
    }
}

/// A probe asks in exactly one way, and its address must be one when the placeholders are filled in.
enum ProbeRules {
    static func check(_ service: DecodedService, _ problems: inout Problems) {
        check(service, "startup", service.draft.startup, mayBeEmpty: true, &problems)
        check(service, "readiness", service.draft.readiness, mayBeEmpty: false, &problems)
        check(service, "liveness", service.draft.liveness, mayBeEmpty: true, &problems)
    }

    private static func check(
        _ service: DecodedService,
        _ key: String,
        _ probe: ProbeDraft,
        mayBeEmpty: Bool,
        _ problems: inout Problems
    ) {
        guard let table = service.table.table(key), !table.location.inherited else { return }
        let methods = table.entries.filter { ProbeDraft.methods.contains($0.key) }
        if methods.count > 1 {
            let names = Quoting.alternatives(methods.map(\.key), "and")
            let text = "cannot use \(names) together; use exactly one of http, tcp, exec or grpc"
            problems.add(service.path + [key], text, at: methods[1].node.location)
        } else if methods.isEmpty {
            // A table with a watchdog only is complete; one that times a probe needs a probe to time.
            let timing =
                key == "startup"
                ? ["period", "probe_timeout"] : ["period", "timeout", "success_threshold", "failure_threshold"]
            let own = table.entries.first { timing.contains($0.key) && !$0.node.location.inherited }
            guard !mayBeEmpty || own != nil else { return }
            let text = "cannot probe without a way to ask; use exactly one of http, tcp, exec or grpc"
            problems.add(service.path + [key], text, at: own?.node.location ?? table.location)
        }
        for (method, text) in [("http", probe.http), ("tcp", probe.tcp), ("grpc", probe.grpc)] {
            guard let text, !hasAddress(text, service) else { continue }
            let wanted = method == "http" ? "http://host:port/path" : "host:port"
            let advice = "cannot use \(Quoting.shown(text)); use \(wanted)"
            ServiceRules.add(service, [key, method], advice, &problems)
        }
        checkKind(service, key, methods.filter { !$0.node.location.inherited }, &problems)
    }

    /// What does not stay, or says itself when it is ready, is not asked. Defaults for all services pass it by.
    private static func checkKind(
        _ service: DecodedService,
        _ key: String,
        _ methods: [ConfigurationTable.Entry],
        _ problems: inout Problems
    ) {
        let kind = service.draft.spec.kind
        if key == "startup", kind != .simple, let method = methods.first {
            let reason = kind == .notify ? "says READY=1 itself" : "is started when it has ended"
            let text = "cannot be used with type = \"\(kind.rawValue)\", which \(reason); use \"simple\", or remove it"
            problems.add(service.path + [key, method.key], text, at: method.node.location)
        }
        if key != "startup", kind == .oneshot, let method = methods.first {
            let text = "cannot be used with type = \"oneshot\", which does not stay; remove it"
            problems.add(service.path + [key, method.key], text, at: method.node.location)
        }
    }

    private static func hasAddress(_ text: String, _ service: DecodedService) -> Bool {
        let spec = service.draft.spec
        let filled = Placeholders.expand(text, service: spec.name, index: 0, node: "node", port: spec.portBase ?? 1)
        guard filled.hasPrefix("http://") else { return AddressText.parse(filled, ports: 1...65_535) != nil }
        let authority = filled.dropFirst(7).prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        if AddressText.parse(String(authority), ports: 1...65_535) != nil { return true }
        return AddressText.parse(authority + ":80") != nil
    }
}
