import SupervisorCore

/// Every key outside services. Defaults are those of `FleetSpec`.
enum FleetKeys {
    /// Tables that are not read as keys of their own.
    static let foreign = ["defaults", "services", "dependencies"]

    static let table = KeyTable<FleetSpec>(node + drain + breaker, foreign: foreign)

    /// Bytes of `runtime_directory`: sockets in it need room for their names.
    static let runtimeDirectoryBytes = 90

    private static let node: [KeyDescription<FleetSpec>] = [
        .key("node.name", \.node.name, nodeName, .restart),
        .key("node.state_directory", \.node.stateDirectory, .absolutePath(example: "/var/lib/eider"), .restart),
        .key(
            "node.runtime_directory",
            \.node.runtimeDirectory,
            .absolutePath(example: "/run/eider", maximumBytes: runtimeDirectoryBytes),
            .restart
        ),
        .key(
            "health.listen",
            \.health.listen,
            ValueCodec.listenAddress.list(example: "[\"0.0.0.0:8080\"]"),
            .restart
        ),
        .key(
            "health.agent_listen",
            \.health.agentListen,
            ValueCodec.listenAddress.list(example: "[\"127.0.0.1:8081\"]"),
            .restart
        ),
        .key(
            "control.socket",
            \.control.socket,
            .absolutePath(example: "/run/eider/control.sock", maximumBytes: longestSocketPath),
            .restart
        ),
        .key("control.admins", \.control.admins, principals, .live),
        .key("control.readers", \.control.readers, principals, .live),
        .key("limits.concurrent_starts", \.limits.concurrentStarts, .integer(1...100_000, example: 4), .live),
    ]

    private static let drain: [KeyDescription<FleetSpec>] = [
        .key("drain.deadline", \.drain.deadline, .duration(atLeast: .milliseconds(1), example: "120s"), .live),
        .key("drain.notice_min", \.drain.noticeMinimum, .duration(example: "2s"), .live),
        .key("drain.notice_max", \.drain.noticeMaximum, .duration(example: "75s"), .live),
    ]

    private static let breaker: [KeyDescription<FleetSpec>] = [
        .key("breaker.store", \.breaker.store, .choice, .restart),
        .key("breaker.fleet", \.breaker.fleet, fleetName, .restart),
        .key(
            "breaker.redis.addresses",
            \.breaker.redis.addresses,
            ValueCodec.peerAddress.list(example: "[\"redis-0:6379\"]"),
            .restart
        ),
        .key("breaker.redis.cluster", \.breaker.redis.cluster, .boolean, .restart),
        .key("breaker.redis.username", \.breaker.redis.username, .text(wanted: "a text, such as \"eider\""), .restart),
        .key(
            "breaker.redis.password_file",
            \.breaker.redis.passwordFile,
            file("/etc/eider/redis-password"),
            .restart
        ),
        .key("breaker.redis.tls", \.breaker.redis.tls, .boolean, .restart),
        .key("breaker.redis.tls_ca_file", \.breaker.redis.tlsCAFile, file("/etc/eider/redis-ca.pem"), .restart),
        .key(
            "breaker.redis.tls_certificate_file",
            \.breaker.redis.tlsCertificateFile,
            file("/etc/eider/redis.pem"),
            .restart
        ),
        .key("breaker.redis.tls_key_file", \.breaker.redis.tlsKeyFile, file("/etc/eider/redis.key"), .restart),
    ]

    private static func file(_ example: String) -> ValueCodec<String> {
        .absolutePath(example: example, orEmpty: true)
    }

    private static let nodeName = ValueCodec<String>.text(
        wanted: "a name of 1 to 253 characters without spaces, such as \"host-a\"",
        where: isNodeName
    )

    static func isNodeName(_ text: String) -> Bool {
        (1...253).contains(text.utf8.count) && text.utf8.allSatisfy { $0 > 32 && $0 != 127 }
    }

    private static let fleetName = ValueCodec<String>.text(
        wanted: "a name of letters, digits and any of . _ -, such as \"default\"",
        where: ServiceCodecs.isServiceName
    )

    private static let principals = ValueCodec<String>.text(
        wanted: "the name of a user, or of a group after \"@\", such as \"root\" or \"@eider\""
    ) { text in
        let name = text.hasPrefix("@") ? text.dropFirst() : text[...]
        return !name.isEmpty && name.utf8.count <= 256
            && name.utf8.allSatisfy { $0 > 32 && $0 != 127 && $0 != UInt8(ascii: "@") && $0 != UInt8(ascii: ":") }
    }
    .list(example: "[\"root\", \"@eider\"]")
}

/// Every key of `[dependencies."NAME"]`. Defaults are those of `DependencySpec`.
enum DependencyKeys {
    static let table = KeyTable<DependencySpec>([
        .key("failure_rate_threshold", \.failureRateThreshold, .percentage, .live),
        .key("slow_call_rate_threshold", \.slowCallRateThreshold, .percentage, .live),
        .key("slow_call_duration_threshold", \.slowCallDurationThreshold, positive("2s"), .live),
        .key("minimum_number_of_calls", \.minimumNumberOfCalls, .integer(1...1_000_000, example: 20), .live),
        .key("sliding_window_size", \.slidingWindowSize, positive("20s"), .live),
        .key("wait_duration_in_open_state", \.waitDurationInOpenState, positive("5s"), .live),
        .key(
            "permitted_number_of_calls_in_half_open_state",
            \.permittedNumberOfCallsInHalfOpenState,
            .integer(1...1_000_000, example: 5),
            .live
        ),
    ])

    private static func positive(_ example: String) -> ValueCodec<Duration> {
        .duration(atLeast: .milliseconds(1), example: example)
    }

    /// A dependency's name as the workers say it: one word.
    static func isName(_ text: String) -> Bool { DependencyName.isValid(text) }
}
