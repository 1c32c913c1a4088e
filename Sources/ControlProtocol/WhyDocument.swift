public import StatusBoard
public import SupervisorCore

/// The answer to "why is it so?": the cause of the last exit, the policy that applies, when the next attempt is, what
/// would unblock it, the last events and the last log lines.
///
/// Pure: it is made from what is known at one moment. `eiderctl why` lays the same facts out for people.
public struct WhyDocument: Sendable {
    /// Bounds of the answer.
    public enum Limits {
        public static let events = 10
        public static let logLines = 10
        /// Instances described in the answer for a service or the node.
        public static let instances = 32
    }

    let snapshot: StatusBoard.Snapshot
    let spec: FleetSpec
    let target: Target?
    let now: MonotonicInstant
    let events: [EventRecord]
    let logs: [LogLine]

    /// - Parameters:
    ///   - target: must exist; nil asks about the node.
    ///   - events: the last ones of the target, in order.
    ///   - logs: the last lines of the target, in order.
    public init(
        _ snapshot: StatusBoard.Snapshot,
        spec: FleetSpec,
        target: Target?,
        now: MonotonicInstant,
        events: [EventRecord],
        logs: [LogLine]
    ) {
        self.snapshot = snapshot
        self.spec = spec
        self.target = target
        self.now = now
        self.events = events.suffix(Limits.events)
        self.logs = logs.suffix(Limits.logLines)
    }

    public var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            switch target {
            case nil: writeNode(&writer)
            case .service(let name)?: writeService(name, &writer)
            case .instance(let id)?: writeInstance(id, &writer)
            }
            writer.member(
                "events",
                array: { list in
                    for event in events { list.object { StreamLine.write(event, &$0) } }
                }
            )
            writer.member(
                "logs",
                array: { list in
                    for line in logs { list.object { StreamLine.write(line, &$0) } }
                }
            )
        }
        return writer.bytes
    }

    // MARK: Subjects

    private func writeNode(_ writer: inout JSONWriter) {
        let node = snapshot.fleet.node
        writer.member("target", node.name)
        writer.member("kind", "node")
        writeState(node.state, node.reason, since: node.since, &writer)
        writer.member("hold", ifPresent: node.hold)
        writer.member("hold_reason", ifPresent: node.holdReason)
        writeDrain(of: nil, &writer)
        let isLeaving = !drains(covering: nil).isEmpty
        // Under a drain of the node all are out for the same reason.
        let settled: [PublicState] = isLeaving ? [.healthy, .stopped, .draining, .drained] : [.healthy, .stopped]
        let troubled = snapshot.fleet.services.filter { !settled.contains($0.state) }
        writer.member(
            "unblock",
            array: { list in
                for way in waysOutOfDrain(of: nil) { list.value(way) }
                for service in troubled.prefix(Limits.instances) {
                    list.value("\(service.name) is \(service.state.rawValue): eiderctl why \(service.name)")
                }
            }
        )
        let shown = isLeaving ? snapshot.fleet.services : troubled
        writeInstances(shown.flatMap(\.instances).filter { isWorthShowing($0, isLeaving) }, &writer)
    }

    /// Of the node's instances: those in trouble, or, under a drain, those that it may be waiting for.
    private func isWorthShowing(_ instance: InstanceStatus, _ isLeaving: Bool) -> Bool {
        if !isLeaving { return !instance.ready || !instance.suppressions.isEmpty }
        return instance.state == .stopping || (instance.inFlight ?? 0) > 0 || !instance.suppressions.isEmpty
    }

    private func writeService(_ name: String, _ writer: inout JSONWriter) {
        writer.member("target", name)
        writer.member("kind", "service")
        guard let status = snapshot.fleet.services.first(where: { $0.name == name }) else { return }
        writeState(status.state, status.reason, since: status.since, &writer)
        writer.member("ready", status.ready)
        writer.member("desired", status.desired)
        writeDrain(of: .service(name), &writer)
        writeRoll(of: name, &writer)
        writeBreaker(ofService: name, &writer)
        let words = PolicyWords(spec: serviceSpec(name))
        writePolicy(words, &writer)
        let troubled = status.instances.filter { !$0.ready || $0.state == .degraded }
        writer.member(
            "unblock",
            array: { list in
                var said: Set<String> = []
                for way in waysOutOfDrain(of: .service(name)) where said.insert(way).inserted { list.value(way) }
                if let way = wayOutOfRoll(of: name) { list.value(way) }
                for instance in troubled.prefix(Limits.instances) {
                    for way in waysOut(of: instance).prefix(1) where said.insert(way).inserted { list.value(way) }
                }
            }
        )
        writeInstances(troubled.isEmpty ? status.instances : troubled, &writer)
    }

    private func writeInstances(_ instances: [InstanceStatus], _ writer: inout JSONWriter) {
        writer.member(
            "instances",
            array: { list in
                for instance in instances.prefix(Limits.instances) {
                    list.object { writer in
                        writer.member("target", instance.id.description)
                        writeFacts(instance, &writer)
                    }
                }
            }
        )
        if instances.count > Limits.instances {
            writer.member("instances_left_out", instances.count - Limits.instances)
        }
    }

    private func writeInstance(_ id: InstanceID, _ writer: inout JSONWriter) {
        writer.member("target", id.description)
        writer.member("kind", "instance")
        let service = snapshot.fleet.services.first { $0.name == id.service }
        guard let status = service?.instances.first(where: { $0.id == id }) else { return }
        writeFacts(status, &writer)
    }

    // MARK: Facts

    private func writeState(
        _ state: PublicState,
        _ reason: String?,
        since: MonotonicInstant,
        _ writer: inout JSONWriter
    ) {
        writer.member("state", state.rawValue)
        writer.member("reason", ifPresent: reason)
        writer.member("at", time(now))
        writer.member("since", time(since))
    }

    private func writeFacts(_ instance: InstanceStatus, _ writer: inout JSONWriter) {
        let words = PolicyWords(spec: serviceSpec(instance.id.service))
        writeState(instance.state, instance.reason, since: instance.since, &writer)
        writer.member("pid", ifPresent: instance.pid)
        writer.member("ready", instance.ready)
        writer.member("restarts", instance.restarts)
        writer.member("crashes_in_a_row", instance.crashesInARow)
        writer.member("stopped_by", ifPresent: instance.intentReason)
        writer.member("status_text", ifPresent: instance.statusText)
        HealthDocument(instance: instance, snapshot: snapshot, now: now).write(&writer)
        writeDrain(of: .instance(instance.id), &writer)
        writeRoll(of: instance.id.service, &writer)
        writeBreaker(ofService: instance.id.service, &writer)
        writeInFlight(instance, &writer)
        if let started = instance.startedAt, instance.pid != nil {
            writer.member("uptime_seconds", rounded: max(0, now.since(started).inSeconds))
        }
        if let exit = instance.lastExit {
            writer.member(
                "last_exit",
                object: { writer in
                    ExitDocument(exit).write(&writer, at: time(exit.at))
                    writer.member("explanation", words.cause(of: exit))
                }
            )
        }
        writePolicy(words, &writer)
        if let next = instance.nextStartAt {
            writer.member(
                "next_start",
                object: { writer in
                    writer.member("at", time(next))
                    writer.member("in_seconds", rounded: max(0, next.since(now).inSeconds))
                    writer.member("attempt", instance.crashesInARow &+ 1)
                }
            )
        }
        writer.member(
            "unblock",
            array: { list in
                for way in waysOut(of: instance) { list.value(way) }
            }
        )
    }

    private func writePolicy(_ words: PolicyWords, _ writer: inout JSONWriter) {
        let restart = words.spec.restart
        writer.member(
            "policy",
            object: { writer in
                writer.member("restart", restart.policy.rawValue)
                writer.member("text", words.restart)
                writer.member("backoff_initial_seconds", rounded: restart.backoffInitial.inSeconds)
                writer.member("backoff_multiplier", rounded: restart.backoffMultiplier)
                writer.member("backoff_max_seconds", rounded: restart.backoffMax.inSeconds)
                writer.member("backoff_jitter", rounded: restart.backoffJitter)
                writer.member("stable_after_seconds", rounded: restart.stableAfter.inSeconds)
                writer.member("health", ifPresent: words.health)
            }
        )
    }

    func time(_ instant: MonotonicInstant) -> String {
        Timestamp.rfc3339(snapshot.wallClock(instant))
    }

    /// The service's configuration; for one that is configured no more, the defaults.
    func serviceSpec(_ name: String) -> ServiceSpec {
        spec.services.first { $0.name == name } ?? ServiceSpec(name: name, command: [])
    }
}
