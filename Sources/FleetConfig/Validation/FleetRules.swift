import SupervisorCore

/// What must hold between services, and between the fleet's own values.
enum FleetRules {
    static func check(_ services: [DecodedService], _ fleet: FleetSpec, _ problems: inout Problems) {
        StartOrder.check(services, &problems)
        checkPorts(services, &problems)
        SocketRules.check(services, fleet, &problems)
    }

    /// Ranges of ports may not overlap.
    private static func checkPorts(_ services: [DecodedService], _ problems: inout Problems) {
        struct Range {
            var service: Int
            var ports: ClosedRange<Int>
        }
        var ranges: [Range] = []
        for (number, service) in services.enumerated() {
            let spec = service.draft.spec
            guard let base = spec.portBase, spec.replicas > 0 else { continue }
            ranges.append(Range(service: number, ports: base...(base + spec.replicas - 1)))
        }
        ranges.sort { ($0.ports.lowerBound, $0.service) < ($1.ports.lowerBound, $1.service) }
        guard var widest = ranges.first else { return }
        for range in ranges.dropFirst() {
            if range.ports.lowerBound <= widest.ports.upperBound {
                // The one that comes later in the configuration is the one to move.
                let (kept, moved) = widest.service < range.service ? (widest, range) : (range, widest)
                let other = services[kept.service].name
                let text = "cannot use \(shown(moved.ports)); service \"\(other)\" has \(shown(kept.ports))"
                ServiceRules.add(services[moved.service], ["port_base"], text, &problems)
            }
            if range.ports.upperBound > widest.ports.upperBound { widest = range }
        }
    }

    private static func shown(_ ports: ClosedRange<Int>) -> String {
        ports.count == 1 ? "port \(ports.lowerBound)" : "ports \(ports.lowerBound) to \(ports.upperBound)"
    }

    /// The tables outside services. Defaults that nobody chose give way to values that somebody did.
    static func fitAndCheck(_ fleet: inout FleetSpec, _ top: ConfigurationTable, _ problems: inout Problems) {
        checkDrain(&fleet.drain, top, &problems)
        checkListeners(fleet, top, &problems)
        checkRedis(fleet.breaker, top, &problems)
    }

    private static func checkDrain(_ drain: inout DrainSpec, _ top: ConfigurationTable, _ problems: inout Problems) {
        if top.node(at: ["drain", "notice_max"]) == nil {
            drain.noticeMaximum = min(drain.deadline, max(drain.noticeMaximum, drain.noticeMinimum))
        }
        if top.node(at: ["drain", "notice_min"]) == nil {
            drain.noticeMinimum = min(drain.noticeMinimum, drain.noticeMaximum)
        }
        if drain.noticeMaximum < drain.noticeMinimum {
            let text = ServiceRules.tooShort(drain.noticeMaximum, than: "notice_min", drain.noticeMinimum)
            problems.add(["drain", "notice_max"], text, at: top.location(of: ["drain", "notice_max"]))
        }
        if drain.deadline < drain.noticeMaximum {
            let text = ServiceRules.tooShort(drain.deadline, than: "notice_max", drain.noticeMaximum)
            problems.add(["drain", "deadline"], text, at: top.location(of: ["drain", "deadline"]))
        }
    }

    private static func checkListeners(_ fleet: FleetSpec, _ top: ConfigurationTable, _ problems: inout Problems) {
        var taken: Set<ListenAddress> = []
        for (key, addresses) in [("listen", fleet.health.listen), ("agent_listen", fleet.health.agentListen)] {
            for address in addresses where address.port != 0 && !taken.insert(address).inserted {
                let text = "cannot listen on \"\(address)\" twice; remove one"
                problems.add(["health", key], text, at: top.location(of: ["health", key]))
            }
        }
    }

    private static func checkRedis(
        _ breaker: BreakerStoreSpec,
        _ top: ConfigurationTable,
        _ problems: inout Problems
    ) {
        if breaker.store == .redis, breaker.redis.addresses.isEmpty {
            let text = "cannot be empty when store = \"redis\"; name a server, such as [\"redis-0:6379\"]"
            let path = ["breaker", "redis", "addresses"]
            problems.add(path, text, at: top.location(of: path))
        }
        if !breaker.redis.username.isEmpty, breaker.redis.passwordFile.isEmpty {
            let path = ["breaker", "redis", "username"]
            problems.add(path, "cannot be used without a password; set password_file", at: top.location(of: path))
        }
        let files = [
            ("tls_ca_file", breaker.redis.tlsCAFile), ("tls_certificate_file", breaker.redis.tlsCertificateFile),
            ("tls_key_file", breaker.redis.tlsKeyFile),
        ]
        for (key, file) in files where !file.isEmpty && !breaker.redis.tls {
            let path = ["breaker", "redis", key]
            problems.add(path, "cannot be used without TLS; set tls = true", at: top.location(of: path))
        }
        if breaker.redis.tlsCertificateFile.isEmpty != breaker.redis.tlsKeyFile.isEmpty {
            let missing = breaker.redis.tlsKeyFile.isEmpty ? "tls_key_file" : "tls_certificate_file"
            let text = "cannot be used without \(missing); set both or neither"
            let set = breaker.redis.tlsKeyFile.isEmpty ? "tls_certificate_file" : "tls_key_file"
            let path = ["breaker", "redis", set]
            problems.add(path, text, at: top.location(of: path))
        }
    }
}
