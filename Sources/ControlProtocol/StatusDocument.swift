public import StatusBoard
public import SupervisorCore

/// The JSON of `status --json` and of `GET /v1/status` (INTERFACE.md §1).
public struct StatusDocument: Sendable {
    private let snapshot: StatusBoard.Snapshot
    private let now: MonotonicInstant
    private let target: Target?

    /// - Parameter target: only this service, or this instance within its service; nil for the whole fleet. The form is
    ///   the same.
    public init(_ snapshot: StatusBoard.Snapshot, now: MonotonicInstant, target: Target? = nil) {
        self.snapshot = snapshot
        self.now = now
        self.target = target
    }

    public var json: [UInt8] {
        var writer = JSONWriter()
        writer.object(write)
        return writer.bytes
    }

    /// Writes the members of the document.
    func write(_ writer: inout JSONWriter) {
        writer.member("at", time(now))
        writer.member("node", object: writeNode)
        writer.member(
            "services",
            array: { services in
                for service in snapshot.fleet.services where target.map({ $0.service == service.name }) ?? true {
                    services.object { write(service, &$0) }
                }
            }
        )
    }

    private func time(_ instant: MonotonicInstant) -> String {
        Timestamp.rfc3339(snapshot.wallClock(instant))
    }

    private func writeNode(_ writer: inout JSONWriter) {
        let node = snapshot.fleet.node
        writer.member("name", node.name)
        writer.member("state", node.state.rawValue)
        writer.member("intent", node.intent.rawValue)
        writer.member("since", time(node.since))
        writer.member("reason", ifPresent: node.reason)
        writer.member("ready", node.ready)
        writer.member("first_start_finished", node.firstStartFinished)
        if let drain = snapshot.fleet.drains.first(where: { $0.drain.target == nil }) {
            writer.member(
                "drain",
                object: { writer in
                    DrainFacts(drain, now: now).write(&writer)
                    writer.member("deadline", time(drain.drain.deadline))
                }
            )
        }
        writer.member("warning", ifPresent: node.warning)
        writer.member("hold", ifPresent: node.hold)
        writer.member("hold_reason", ifPresent: node.holdReason)
        // A value that grows tells that the supervision loop has stalled and that the rest is old.
        writer.member("heartbeat_age_seconds", rounded: max(0, now.since(snapshot.heartbeat).inSeconds))
    }

    private func write(_ service: ServiceStatus, _ writer: inout JSONWriter) {
        writer.member("name", service.name)
        writer.member("state", service.state.rawValue)
        writer.member("reason", ifPresent: service.reason)
        writer.member("ready", service.ready)
        writer.member("desired", service.desired)
        writer.member("breaker", service.breaker.rawValue)
        writer.member("since", time(service.since))
        writer.member("critical", service.critical)
        writer.member("routable", service.routable)
        if let roll = snapshot.fleet.rolls.first(where: { $0.service == service.name }) {
            writer.member("rolling", object: { RollFacts(roll).write(&$0) })
        }
        writer.member("restarts", service.instances.reduce(0) { $0 &+ $1.restarts })
        writer.member(
            "instances",
            array: { instances in
                for instance in service.instances where isWanted(instance.id) {
                    instances.object { write(instance, &$0) }
                }
            }
        )
    }

    private func isWanted(_ id: InstanceID) -> Bool {
        if case .instance(let wanted) = target { return wanted == id }
        return true
    }

    private func write(_ instance: InstanceStatus, _ writer: inout JSONWriter) {
        writer.member("name", instance.id.description)
        writer.member("state", instance.state.rawValue)
        writer.member("reason", ifPresent: instance.reason)
        writer.member("pid", ifPresent: instance.pid)
        writer.member("ready", instance.ready)
        writer.member("restarts", instance.restarts)
        if let started = instance.startedAt, instance.pid != nil {
            writer.member("uptime_seconds", rounded: max(0, now.since(started).inSeconds))
        }
        if let next = instance.nextStartAt {
            writer.member("next_start_in_seconds", rounded: max(0, next.since(now).inSeconds))
        }
        writer.member("in_flight", ifPresent: instance.inFlight)
        writer.member("in_flight_source", ifPresent: instance.inFlightSource?.rawValue)
        if let exit = instance.lastExit {
            writer.member("last_exit", object: { ExitDocument(exit).write(&$0, at: time(exit.at)) })
        }
        writer.member("since", time(instance.since))
        writer.member("generation", instance.generation)
        writer.member("crashes_in_a_row", instance.crashesInARow)
        writer.member("live", instance.live)
        writer.member("started_once", instance.startedOnce)
        writer.member("status_text", ifPresent: instance.statusText)
        writer.member("stopped_by", ifPresent: instance.intentReason)
        HealthDocument(instance: instance, snapshot: snapshot, now: now).write(&writer)
    }
}

/// `last_exit` of INTERFACE.md §1.
struct ExitDocument {
    private let exit: LastExit

    init(_ exit: LastExit) {
        self.exit = exit
    }

    func write(_ writer: inout JSONWriter, at time: String) {
        switch exit.outcome {
        case .status(.code(let code)): writer.member("code", code)
        case .status(.signal(let signal, let dumped)):
            writer.member("signal", signal.description)
            if dumped { writer.member("core_dumped", true) }
        case .spawnFailed(let failure):
            writer.member("stage", failure.stage.words)
            writer.member("errno", failure.errno)
            if !failure.path.isEmpty { writer.member("path", failure.path) }
        }
        writer.member("cause", exit.cause.rawValue)
        writer.member("at", time)
        writer.member("text", exit.inWords)
    }
}

extension SpawnStage {
    /// The stage's name in kebab-case.
    var words: String {
        switch self {
        case .oomScore: "oom-score"
        case .workingDirectory: "working-directory"
        default: "\(self)"
        }
    }
}
