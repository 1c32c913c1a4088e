import ControlProtocol
import StatusBoard
import SupervisorCore

/// Renders answers from what supervision published. Pure: the same snapshot gives the same bytes.
struct HealthRenderer {
    /// A JSON answer without `verbose` stays below this, bytes; many a prober looks no further.
    static let bodyBytes = 512

    let limits: HealthLimits
    let version: String

    /// The paths of one service, in the order in which `answers(for:)` renders them.
    static func paths(of service: ServiceStatus) -> [String] {
        let base = "/health/\(service.name)"
        return [base, "\(base)/live", "\(base)/ready", "\(base)/startup"]
            + service.instances.map { "\(base)/\($0.id.index)" }
    }

    /// The answers of one service: itself, its aspects, its instances.
    func answers(for service: ServiceStatus, in snapshot: StatusBoard.Snapshot) -> [AnswerSet] {
        let aspects: [(Verdict, aspect: String?)] = [
            (.service(service), nil), (.live(service), "live"), (.service(service), "ready"),
            (.startup(service), "startup"),
        ]
        return aspects.map { verdict, aspect in
            json(verdict, routing: aspect == nil || aspect == "ready") { writer, verdict, verbose, nameLimit in
                head(&writer, verdict)
                writer.member("service", service.name.singleLine(bytes: nameLimit))
                writer.member("ready", service.ready)
                writer.member("desired", service.desired)
                writer.member("since", time(service.since, snapshot))
                writer.member("reason", ifPresent: verdict.reason)
                if verbose { details(of: service, &writer, snapshot) }
            }
        } + service.instances.map { answers(for: $0, in: snapshot) }
    }

    private func answers(for instance: InstanceStatus, in snapshot: StatusBoard.Snapshot) -> AnswerSet {
        json(.instance(instance), routing: true) { writer, verdict, verbose, nameLimit in
            head(&writer, verdict)
            writer.member("service", instance.id.service.singleLine(bytes: nameLimit))
            writer.member("instance", instance.id.index)
            writer.member("ready", instance.ready)
            writer.member("since", time(instance.since, snapshot))
            writer.member("reason", ifPresent: verdict.reason)
            if verbose { details(of: instance, &writer, snapshot) }
        }
    }

    /// `/health`.
    func nodeJSON(_ snapshot: StatusBoard.Snapshot) -> AnswerSet {
        let fleet = snapshot.fleet
        return json(.node(fleet.node), routing: true) { writer, verdict, verbose, nameLimit in
            head(&writer, verdict)
            writer.member("node", fleet.node.name.singleLine(bytes: nameLimit))
            writer.member("ready", fleet.services.reduce(0) { $0 &+ $1.ready })
            writer.member("desired", fleet.services.reduce(0) { $0 &+ $1.desired })
            writer.member("since", time(fleet.node.since, snapshot))
            writer.member("reason", ifPresent: verdict.reason)
            guard verbose else { return }
            writer.member("version", version)
            writer.member("intent", fleet.node.intent.rawValue)
            writer.member("first_start_finished", fleet.node.firstStartFinished)
            writer.member(
                "services",
                array: { writer in
                    for service in fleet.services.prefix(limits.verboseEntries) {
                        let verdict = Verdict.service(service)
                        writer.object { writer in
                            writer.member("name", service.name)
                            head(&writer, verdict)
                            writer.member("ready", service.ready)
                            writer.member("desired", service.desired)
                            writer.member("reason", ifPresent: verdict.reason)
                        }
                    }
                }
            )
            omitted(fleet.services.count, &writer)
        }
    }

    /// `/`, `/readyz`, `/healthz`.
    func nodeText(_ snapshot: StatusBoard.Snapshot) -> AnswerSet {
        let fleet = snapshot.fleet
        var lines = fleet.services.prefix(limits.verboseEntries).map { service -> String in
            let verdict = Verdict.service(service)
            let mark = verdict.status == .fail ? "[-]" : "[+]"
            return "\(mark)\(service.name) \(verdict.line)"
        }
        let rest = fleet.services.count - lines.count
        if rest > 0 { lines.append("and \(rest) more") }
        return text(.node(fleet.node), routing: true, details: lines)
    }

    /// `/startupz`.
    func startup(_ snapshot: StatusBoard.Snapshot) -> AnswerSet {
        let lines = snapshot.fleet.services.prefix(limits.verboseEntries).map { service in
            let verdict = Verdict.startup(service)
            let mark = verdict.status == .fail ? "[-]" : "[+]"
            return "\(mark)\(service.name) \(verdict.line)"
        }
        return text(.startup(snapshot.fleet.node), routing: false, details: lines)
    }

    /// `/livez`, while the heartbeat is young and when it is not.
    func liveness(_ node: NodeStatus) -> (alive: AnswerSet, stalled: AnswerSet) {
        let alive = Verdict(status: .pass, state: node.state)
        let stalled = Verdict(status: .fail, state: node.state)
        let line = "the supervision loop has stalled"
        return (
            text(alive, routing: false, details: ["[+]heartbeat ok"]),
            text(stalled, routing: false, details: ["[-]heartbeat \(line)"], line: line)
        )
    }

    /// An answer that says no more than its code and one line.
    func plain(_ code: Int, _ line: String, _ state: PublicState) -> Answer {
        Answer(AnswerHead(code: code, contentType: AnswerHead.text, state: state), text: line)
    }

    // MARK: Parts

    private func time(_ instant: MonotonicInstant, _ snapshot: StatusBoard.Snapshot) -> String {
        Timestamp.rfc3339(snapshot.wallClock(instant))
    }

    private func head(_ writer: inout JSONWriter, _ verdict: Verdict) {
        writer.member("status", verdict.status.rawValue)
        writer.member("state", verdict.state.rawValue)
    }

    private func omitted(_ count: Int, _ writer: inout JSONWriter) {
        if count > limits.verboseEntries { writer.member("omitted", count - limits.verboseEntries) }
    }

    private func details(of service: ServiceStatus, _ writer: inout JSONWriter, _ snapshot: StatusBoard.Snapshot) {
        writer.member("breaker", service.breaker)
        writer.member("critical", service.critical)
        writer.member(
            "instances",
            array: { writer in
                for instance in service.instances.prefix(limits.verboseEntries) {
                    let verdict = Verdict.instance(instance)
                    writer.object { writer in
                        writer.member("name", instance.id.description)
                        head(&writer, verdict)
                        writer.member("ready", instance.ready)
                        writer.member("since", time(instance.since, snapshot))
                        writer.member("reason", ifPresent: verdict.reason)
                        details(of: instance, &writer, snapshot)
                    }
                }
            }
        )
        omitted(service.instances.count, &writer)
    }

    private func details(of instance: InstanceStatus, _ writer: inout JSONWriter, _ snapshot: StatusBoard.Snapshot) {
        writer.member("live", instance.live)
        writer.member("pid", ifPresent: instance.pid)
        writer.member("restarts", instance.restarts)
        if let started = instance.startedAt { writer.member("started_at", time(started, snapshot)) }
        if let next = instance.nextStartAt { writer.member("next_start_at", time(next, snapshot)) }
        writer.member("in_flight", ifPresent: instance.inFlight)
        if let exit = instance.lastExit {
            writer.member(
                "last_exit",
                object: { writer in
                    switch exit.outcome {
                    case .status(.code(let code)): writer.member("code", code)
                    case .status(.signal(let signal, coreDumped: _)): writer.member("signal", signal.description)
                    case .spawnFailed: break
                    }
                    writer.member("cause", exit.cause.rawValue)
                    writer.member("at", time(exit.at, snapshot))
                }
            )
        }
    }

    // MARK: Forms

    private typealias Body = (
        _ writer: inout JSONWriter, _ verdict: Verdict, _ verbose: Bool, _ nameLimit: Int
    ) -> Void

    /// - Parameter routing: the path answers whether to route, and so carries the fields for Envoy.
    private func json(_ verdict: Verdict, routing: Bool, _ body: Body) -> AnswerSet {
        func render(_ verdict: Verdict, verbose: Bool, nameLimit: Int = .max) -> [UInt8] {
            var writer = JSONWriter()
            writer.object { body(&$0, verdict, verbose, nameLimit) }
            return writer.bytes
        }
        var short = verdict
        var plain = render(short, verbose: false)
        var nameLimit = 128
        while plain.count >= Self.bodyBytes, nameLimit > 0 {
            // Escapes make a reason longer in JSON than it is: what is over is cut off until it fits.
            let over = plain.count - Self.bodyBytes + 1
            if let reason = short.reason, !reason.isEmpty {
                short.reason = reason.singleLine(bytes: max(0, reason.utf8.count - max(over / 6, 1)))
            } else {
                nameLimit /= 2
            }
            plain = render(short, verbose: false, nameLimit: nameLimit)
        }
        let full = render(verdict, verbose: true)
        return answers(verdict, AnswerHead.json, routing: routing, plain: plain, verbose: full)
    }

    private func text(_ verdict: Verdict, routing: Bool, details: [String], line: String? = nil) -> AnswerSet {
        let line = line ?? (verdict.status == .fail ? verdict.failure : "ok")
        let verbose = (details + [line]).joined(separator: "\n") + "\n"
        return answers(
            verdict,
            AnswerHead.text,
            routing: routing,
            plain: Array(line.utf8),
            verbose: Array(verbose.utf8)
        )
    }

    private func answers(
        _ verdict: Verdict,
        _ type: String,
        routing: Bool,
        plain: [UInt8],
        verbose: [UInt8]
    ) -> AnswerSet {
        func head(_ code: Int) -> AnswerHead {
            AnswerHead(
                code: code,
                contentType: type,
                state: verdict.state,
                verdict: routing ? verdict.status : nil
            )
        }
        var set = AnswerSet(
            plain: Answer(head(verdict.code), body: plain),
            verbose: Answer(head(verdict.code), body: verbose)
        )
        if routing, verdict.state == .draining {
            set.drainPlain = Answer(head(404), body: plain)
            set.drainVerbose = Answer(head(404), body: verbose)
        }
        return set
    }
}
