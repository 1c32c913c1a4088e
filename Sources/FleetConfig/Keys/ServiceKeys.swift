import SupervisorCore

/// Every key of `[services.NAME]` and `[defaults]`: name, place, type, range, and what a change of it takes.
/// Defaults are those of `ServiceSpec` and `ProbeDraft`.
enum ServiceKeys {
    static let table = KeyTable<ServiceDraft>(all)

    private static let all: [KeyDescription<ServiceDraft>] =
        process + resources + restart + lifecycle
        + startupProbe.map { $0.within("startup", \ServiceDraft.startup) }
        + probe.map { $0.within("readiness", \ServiceDraft.readiness) }
        + probe.map { $0.within("liveness", \ServiceDraft.liveness) }

    private static let process: [KeyDescription<ServiceDraft>] = [
        .key("command", \.spec.command, ServiceCodecs.command, .restart),
        .key("type", \.spec.kind, .choice, .restart),
        .key("replicas", \.spec.replicas, .integer(0...10_000, example: 2), .live),
        .key(
            "port_base",
            \.spec.portBase,
            ValueCodec<Int>.integer(1...65_535, example: 9100).optional(none: "(none)"),
            .restart
        ),
        .key("user", \.spec.user, ServiceCodecs.account("user", example: "www-data"), .restart),
        .key("group", \.spec.group, ServiceCodecs.account("group", example: "www-data"), .restart),
        .key("working_directory", \.spec.workingDirectory, .absolutePath(example: "/"), .restart),
        .key("umask", \.spec.umask, .umask, .restart),
        ServiceCodecs.environment,
        .key(
            "environment_files",
            \.spec.environmentFiles,
            ValueCodec.absolutePath(example: "/etc/default/auth").list(example: "[\"/etc/default/auth\"]"),
            .restart
        ),
        .key("pass_environment", \.spec.passEnvironment, ServiceCodecs.variableNames, .restart),
        .key("after", \.spec.after, ServiceCodecs.serviceNames, .live),
        .key("critical", \.spec.critical, .boolean, .live),
        .key("release", \.spec.release, ServiceCodecs.release, .live),
        .key("sockets", \.spec.sockets, ValueCodec.socket.list(example: "[\"0.0.0.0:9100\"]"), .restart),
    ]

    private static let resources: [KeyDescription<ServiceDraft>] = [
        .key("resources.nofile", \.spec.resources.nofile, limit(16...(1 << 30), 65_536), .restart),
        .key(
            "resources.memory_max",
            \.spec.resources.memoryMax,
            ValueCodec.size(atLeast: 1 << 20, example: "512MiB").optional(none: "(no limit)"),
            .restart
        ),
        .key("resources.cpu_weight", \.spec.resources.cpuWeight, limit(1...10_000, 100), .restart),
        .key("resources.tasks_max", \.spec.resources.tasksMax, limit(1...4_194_304, 512), .restart),
        .key(
            "resources.oom_score_adjust",
            \.spec.resources.oomScoreAdjust,
            ValueCodec<Int>.integer(-1000...1000, example: 300).optional(none: "(the host's)"),
            .restart
        ),
    ]

    private static func limit(_ range: ClosedRange<UInt64>, _ example: UInt64) -> ValueCodec<UInt64?> {
        ValueCodec<UInt64>.integer(range, example: example).optional(none: "(the host's)")
    }

    private static let restart: [KeyDescription<ServiceDraft>] = [
        .key("restart.policy", \.spec.restart.policy, .choice, .live),
        .key(
            "restart.success_exit_codes",
            \.spec.restart.successExitCodes,
            ValueCodec.integer(0...255, example: 0).list(example: "[0]"),
            .live
        ),
        .key(
            "restart.backoff_initial",
            \.spec.restart.backoffInitial,
            .duration(example: "500ms"),
            .live
        ),
        .key("restart.backoff_multiplier", \.spec.restart.backoffMultiplier, .number(1...100, example: 2), .live),
        .key(
            "restart.backoff_max",
            \.spec.restart.backoffMax,
            .duration(atLeast: .milliseconds(1), example: "60s"),
            .live
        ),
        .key("restart.backoff_jitter", \.spec.restart.backoffJitter, .number(0...1, example: 0.2), .live),
        .key("restart.stable_after", \.spec.restart.stableAfter, .duration(example: "60s"), .live),
    ]

    private static let lifecycle: [KeyDescription<ServiceDraft>] = [
        .key("startup.timeout", \.spec.startupTimeout, .duration(atLeast: .milliseconds(1), example: "120s"), .live),
        .key("liveness.watchdog", \.spec.liveness.watchdog, ServiceCodecs.watchdog, .restart),
        .key("liveness.action", \.spec.liveness.action, .choice, .live),
        .key("stop.signal", \.spec.stopSignal, .signal, .live),
        .key("stop.grace_period", \.spec.stopGracePeriod, .duration(example: "30s"), .live),
        .key("rolling.min_ready", \.spec.rolling.minReady, .duration(example: "10s"), .live),
        .key("logs.max_size", \.spec.logs.maxSize, .size(atLeast: 1, example: "64MiB"), .live),
        .key("logs.keep", \.spec.logs.keep, .integer(0...1000, example: 4), .live),
        .key("breaker.mode", \.spec.breaker.mode, .choice, .live),
        .key("breaker.crash_threshold", \.spec.breaker.crashThreshold, .integer(1...1000, example: 5), .live),
        .key("breaker.crash_window", \.spec.breaker.crashWindow, positive("60s"), .live),
        .key(
            "breaker.wait_duration_in_open_state",
            \.spec.breaker.waitDurationInOpenState,
            positive("10s"),
            .live
        ),
        .key(
            "breaker.max_wait_duration_in_open_state",
            \.spec.breaker.maxWaitDurationInOpenState,
            positive("300s"),
            .live
        ),
    ]

    private static let probeMethod: [KeyDescription<ProbeDraft>] = [
        .key("http", \.http, ServiceCodecs.url.optional(none: "(none)"), .live),
        .key("tcp", \.tcp, ServiceCodecs.probeAddress.optional(none: "(none)"), .live),
        .key("exec", \.exec, ServiceCodecs.command.optional(none: "(none)"), .live),
        .key("grpc", \.grpc, ServiceCodecs.probeAddress.optional(none: "(none)"), .live),
        // More often than this the answers would be late, not many.
        .key("period", \.period, .duration(atLeast: .milliseconds(10), example: "5s"), .live),
    ]

    /// `timeout` is the time for the whole start, so that of one probe has a name of its own.
    private static let startupProbe = probeMethod + [.key("probe_timeout", \.timeout, positive("2s"), .live)]

    private static let probe: [KeyDescription<ProbeDraft>] =
        probeMethod + [
            .key("timeout", \.timeout, positive("2s"), .live),
            .key("success_threshold", \.successThreshold, .integer(1...1000, example: 2), .live),
            .key("failure_threshold", \.failureThreshold, .integer(1...1000, example: 3), .live),
        ]

    private static func positive(_ example: String) -> ValueCodec<Duration> {
        .duration(atLeast: .milliseconds(1), example: example)
    }
}
