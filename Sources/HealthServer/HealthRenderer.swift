import ControlProtocol
import StatusBoard
import SupervisorCore

/// Renders answers from what supervision published. Pure: the same snapshot gives the same bytes.
struct HealthRenderer {
    /// A JSON answer without `verbose` stays below this, bytes; many a prober looks no further.
    static let bodyBytes = 512

    let limits: HealthServerLimits
    let version: String

    /// The answers of one service: itself, its aspects, its instances.
    func answers(
        for service: ServiceStatus,
        in snapshot: StatusBoard.Snapshot,
        _ heads: inout HeadCache
    ) -> AnswerPack {
        var pack = PackBuilder()
        let body: Body = { writer, verdict, nameLimit in
            head(&writer, verdict)
            writer.member("service", service.name.singleLine(bytes: nameLimit))
            writer.member("ready", service.ready)
            writer.member("desired", service.desired)
            writer.member("since", time(service.since, snapshot))
        }
        var instanceTails: [Range<Int>] = []
        let verdict = Verdict.service(service)
        let rendered = tail { details(of: service, &$0, snapshot, &instanceTails) }
        let tail = pack.add(rendered)
        let tailStart = tail.range.lowerBound
        // In the order of `ServicePart`.
        for (verdict, routing) in [(verdict, true), (.live(service), false), (.startup(service), false)] {
            var entry = json(verdict, routing: routing, tail: tail, &pack, &heads, body)
            if routing { entry.agent = pack.add(AgentRenderer.line(service).utf8) }
            pack.append(entry)
        }
        for (position, instance) in service.instances.enumerated() {
            let tail =
                if instanceTails.indices.contains(position) {
                    AnswerPack.Piece(
                        instanceTails[position].lowerBound + tailStart..<instanceTails[position].upperBound + tailStart
                    )
                } else {
                    pack.add(self.tail { details(of: instance, &$0, snapshot) })
                }
            pack.append(entry(for: instance, in: snapshot, tail: tail, &pack, &heads))
        }
        return pack.finish()
    }

    private func entry(
        for instance: InstanceStatus,
        in snapshot: StatusBoard.Snapshot,
        tail: AnswerPack.Piece,
        _ pack: inout PackBuilder,
        _ heads: inout HeadCache
    ) -> AnswerPack.Entry {
        let after: AfterReason = { writer, _ in writer.member("instance", instance.id.index) }
        var entry = json(.instance(instance), routing: true, tail: tail, after: after, &pack, &heads) {
            writer,
            verdict,
            nameLimit in
            head(&writer, verdict)
            writer.member("service", instance.id.service.singleLine(bytes: nameLimit))
            writer.member("ready", instance.readyCount)
            writer.member("desired", instance.desiredCount)
            writer.member("since", time(instance.since, snapshot))
        }
        entry.agent = pack.add(AgentRenderer.line(instance).utf8)
        entry.instance = Int32(clamping: instance.id.index)
        return entry
    }

    /// `/health`.
    func nodeJSON(_ snapshot: StatusBoard.Snapshot, _ heads: inout HeadCache) -> AnswerPack {
        let fleet = snapshot.fleet
        var pack = PackBuilder()
        let rendered = tail { writer in
            writer.member("version", version)
            writer.member("intent", fleet.node.intent.rawValue)
            writer.member("first_start_finished", fleet.node.firstStartFinished)
            writer.member("hold", ifPresent: fleet.node.hold)
            breakers(fleet.breakers, &writer)
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
        let tail = pack.add(rendered)
        let name = fleet.node.name
        let after: AfterReason = { writer, nameLimit in writer.member("node", name.singleLine(bytes: nameLimit)) }
        let headVerdict = Verdict.node(fleet.node)
        let entry = json(
            .warned(fleet.node),
            routing: true,
            headVerdict: headVerdict,
            tail: tail,
            after: after,
            &pack,
            &heads
        ) { writer, verdict, nameLimit in
            head(&writer, verdict)
            // The node's name stands where a service's would, so that one reader fits nodes, services and instances.
            writer.member("service", name.singleLine(bytes: nameLimit))
            writer.member("ready", fleet.services.reduce(0) { $0 &+ $1.ready })
            writer.member("desired", fleet.services.reduce(0) { $0 &+ $1.desired })
            writer.member("since", time(fleet.node.since, snapshot))
        }
        pack.append(entry)
        return pack.finish()
    }

    /// `/`, `/readyz`, `/healthz`.
    func nodeText(_ snapshot: StatusBoard.Snapshot, _ heads: inout HeadCache) -> AnswerPack {
        let fleet = snapshot.fleet
        var lines = fleet.services.prefix(limits.verboseEntries).map { service -> String in
            let verdict = Verdict.service(service)
            let mark = verdict.status == .fail ? "[-]" : "[+]"
            return "\(mark)\(service.name) \(verdict.line)"
        }
        let rest = fleet.services.count - lines.count
        if rest > 0 { lines.append("and \(rest) more") }
        return text(.node(fleet.node), routing: true, details: lines, &heads)
    }

    /// `/startupz`.
    func startup(_ snapshot: StatusBoard.Snapshot, _ heads: inout HeadCache) -> AnswerPack {
        let lines = snapshot.fleet.services.prefix(limits.verboseEntries).map { service in
            let verdict = Verdict.startup(service)
            let mark = verdict.status == .fail ? "[-]" : "[+]"
            return "\(mark)\(service.name) \(verdict.line)"
        }
        return text(.startup(snapshot.fleet.node), routing: false, details: lines, &heads)
    }

    /// `/livez`, while the heartbeat is young and when it is not.
    func liveness(
        _ node: NodeStatus,
        _ heads: inout HeadCache
    ) -> (alive: AnswerPack, stalled: AnswerPack) {
        let alive = Verdict(status: .pass, state: node.state)
        let stalled = Verdict(status: .fail, state: node.state)
        let line = "the supervision loop has stalled"
        return (
            text(alive, routing: false, details: ["[+]heartbeat ok"], &heads),
            text(stalled, routing: false, details: ["[-]heartbeat \(line)"], line: line, &heads)
        )
    }

    /// An answer that says no more than its code and one line.
    func plain(_ code: Int, _ line: String, _ state: PublicState) -> Answer {
        Answer(HeadFields(code: code, contentType: HeadFields.text, state: state), text: line)
    }

    // MARK: Parts

    private func time(_ instant: MonotonicInstant, _ snapshot: StatusBoard.Snapshot) -> String {
        Timestamp.rfc3339(snapshot.wallClock(instant))
    }

    private func head(_ writer: inout JSONWriter, _ verdict: Verdict) {
        writer.member("status", verdict.status.rawValue)
        writer.member("state", verdict.state.rawValue)
    }

    /// Where breakers are shared, and those that are not closed.
    private func breakers(_ all: BreakersStatus, _ writer: inout JSONWriter) {
        writer.member("breaker_store", all.store.rawValue)
        let moved = all.breakers.filter { $0.state != .closed }
        if moved.isEmpty { return }
        writer.member(
            "breakers",
            array: { list in
                for breaker in moved.prefix(limits.verboseEntries) {
                    list.object { writer in
                        writer.member("name", breaker.name)
                        writer.member("state", breaker.state.rawValue)
                        writer.member("reason", ifPresent: breaker.reason)
                    }
                }
            }
        )
    }

    private func omitted(_ count: Int, _ writer: inout JSONWriter) {
        if count > limits.verboseEntries { writer.member("omitted", count - limits.verboseEntries) }
    }

    /// - Parameter tails: where the details of each listed instance stand in what is written.
    private func details(
        of service: ServiceStatus,
        _ writer: inout JSONWriter,
        _ snapshot: StatusBoard.Snapshot,
        _ tails: inout [Range<Int>]
    ) {
        writer.member("breaker", service.breaker.rawValue)
        writer.member("critical", service.critical)
        writer.member(
            "instances",
            array: { writer in
                for instance in service.instances.prefix(limits.verboseEntries) {
                    let verdict = Verdict.instance(instance)
                    var start = 0
                    writer.object { writer in
                        writer.member("name", instance.id.description)
                        head(&writer, verdict)
                        writer.member("ready", instance.readyCount)
                        writer.member("desired", instance.desiredCount)
                        writer.member("since", time(instance.since, snapshot))
                        writer.member("reason", ifPresent: verdict.reason)
                        start = writer.bytes.count
                        details(of: instance, &writer, snapshot)
                    }
                    // Each begins with its comma and ends with the object's brace, as a tail does.
                    tails.append(start - Self.tailOffset..<writer.bytes.count - Self.tailOffset)
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
        for check in instance.checks {
            writer.member("\(check.kind.name)_probe", check.state.rawValue)
        }
        if !instance.suppressions.isEmpty {
            writer.member(
                "suppressed",
                array: { list in
                    for suppression in instance.suppressions { list.value(suppression.rule.rawValue) }
                }
            )
        }
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

    /// Writes the members before the reason.
    private typealias Body = (_ writer: inout JSONWriter, _ verdict: Verdict, _ nameLimit: Int) -> Void

    /// Writes the members after the reason.
    private typealias AfterReason = (_ writer: inout JSONWriter, _ nameLimit: Int) -> Void

    /// What stands before a tail while it is rendered: a member, so that the tail begins with a comma.
    private static let tailOffset = "{\"\":0".utf8.count

    /// The end of an object: a comma, more members, and the brace.
    private func tail(_ members: (_ writer: inout JSONWriter) -> Void) -> ArraySlice<UInt8> {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("", 0)
            members(&writer)
        }
        return writer.bytes[Self.tailOffset...]
    }

    /// - Parameters:
    ///   - routing: the path answers whether to route, and so carries the fields for Envoy.
    ///   - headVerdict: what these fields go by; nil for `verdict`.
    ///   - tail: what a verbose answer has besides.
    private func json(
        _ verdict: Verdict,
        routing: Bool,
        headVerdict: Verdict? = nil,
        tail: AnswerPack.Piece,
        after: AfterReason = { _, _ in },
        _ pack: inout PackBuilder,
        _ heads: inout HeadCache,
        _ body: Body
    ) -> AnswerPack.Entry {
        func begin(_ verdict: Verdict, nameLimit: Int = .max) -> ArraySlice<UInt8> {
            var writer = JSONWriter()
            writer.object { body(&$0, verdict, nameLimit) }
            return writer.bytes.dropLast()
        }
        func end(_ verdict: Verdict, nameLimit: Int = .max) -> ArraySlice<UInt8> {
            self.tail { writer in
                writer.member("reason", ifPresent: verdict.reason)
                after(&writer, nameLimit)
            }
        }
        var short = verdict
        let whole = (begin(short), end(short))
        var plain = whole
        var nameLimit = 128
        while plain.0.count + plain.1.count >= Self.bodyBytes, nameLimit > 0 {
            // Escapes make a reason longer in JSON than it is: what is over is cut off until it fits.
            let over = plain.0.count + plain.1.count - Self.bodyBytes + 1
            if let reason = short.reason, !reason.isEmpty {
                short.reason = reason.singleLine(bytes: max(0, reason.utf8.count - max(over / 6, 1)))
            } else {
                nameLimit /= 2
            }
            plain = (begin(short, nameLimit: nameLimit), end(short, nameLimit: nameLimit))
        }
        let head = heads.head(Self.head(headVerdict ?? verdict, HeadFields.json, routing: routing))
        var entry = AnswerPack.Entry(head: head, common: pack.addCommon(plain.0), end: pack.add(plain.1), tail: tail)
        // The tail brings a brace of its own.
        if plain != whole { entry.wholeLead = pack.add(whole.0 + whole.1.dropLast()) }
        return entry
    }

    private func text(
        _ verdict: Verdict,
        routing: Bool,
        details: [String],
        line: String? = nil,
        _ heads: inout HeadCache
    ) -> AnswerPack {
        let line = line ?? (verdict.status == .fail ? verdict.failure : "ok")
        var pack = PackBuilder()
        let verbose = pack.add(((details + [line]).joined(separator: "\n") + "\n").utf8)
        // It ends with the plain answer's line.
        let plain = AnswerPack.Piece(verbose.range.upperBound - line.utf8.count - 1..<verbose.range.upperBound - 1)
        let head = heads.head(Self.head(verdict, HeadFields.text, routing: routing))
        pack.append(AnswerPack.Entry(head: head, common: plain, end: .none, tail: .none, wholeLead: verbose))
        return pack.finish()
    }

    private static func head(_ verdict: Verdict, _ type: String, routing: Bool) -> HeadFields {
        HeadFields(
            code: verdict.code,
            contentType: type,
            state: verdict.state,
            verdict: routing ? verdict.status : nil
        )
    }
}
