import Metrics
import NIOCore
import StatusBoard
import SupervisorCore

/// The prepared answers and the open connections, confined to one event loop.
///
/// While it answers it renders nothing and takes no lock. The exceptions are `/metrics`, which is rendered from a
/// snapshot at most once per `HealthLimits.metricsAge` and publication, and `/livez` when the heartbeat it knows has
/// grown old: it looks once more before it calls supervision stalled.
final class HealthService {
    private enum Slot: Int {
        case node, liveness, startup, nodeJSON, metrics
        /// Slots of the services begin here.
        case services
    }

    private struct Fixed {
        var stalled: AnswerSet
        var notFound: Answer
        var notAllowed: Answer
        var malformedPath: Answer
        var rejections: [Answer]
    }

    let limits: HealthLimits
    let board: StatusBoard
    private let renderer: HealthRenderer
    private let clock: @Sendable () -> MonotonicInstant
    private let heartbeatLimit: Duration
    private let processFigures: @Sendable () -> ProcessFigures?

    private var table = PathTable([])
    private var slots: [AnswerSet] = []
    private var fixed: Fixed
    private var servicePaths: [[String]] = []
    private var serviceStarts: [Int] = []
    private var heartbeat: MonotonicInstant
    private var renderedOffset: Int64
    private var metrics: (answer: Answer, version: UInt64, at: MonotonicInstant)?
    private(set) var agentLines: [String: String] = [:]

    var counters = ServerCounters()
    /// Counts sweeps: the time of everything that is not exact.
    private(set) var tick: UInt64 = 0
    private var connections: [ObjectIdentifier: ConnectionHandler] = [:]
    private var agents: [ObjectIdentifier: AgentHandler] = [:]

    /// Lines that go before the end of a head.
    let closeField = ByteBuffer(string: "Connection: close\r\n")
    let keepAliveField = ByteBuffer(string: "Connection: keep-alive\r\n")

    init(
        board: StatusBoard,
        version: String,
        clock: @escaping @Sendable () -> MonotonicInstant,
        heartbeatLimit: Duration,
        limits: HealthLimits,
        processFigures: @escaping @Sendable () -> ProcessFigures?
    ) {
        self.board = board
        self.clock = clock
        self.heartbeatLimit = heartbeatLimit
        self.limits = limits
        self.processFigures = processFigures
        renderer = HealthRenderer(limits: limits, version: version)
        let changes = board.takeChanges()
        heartbeat = changes.snapshot.heartbeat
        renderedOffset = changes.snapshot.wallClockOffset
        fixed = Self.renderFixed(changes.snapshot.fleet.node, renderer)
        rebuild(changes.snapshot)
    }

    // MARK: Preparing answers

    /// Renders what changed since the last call.
    func refresh() {
        let changes = board.takeChanges()
        note(changes.snapshot)
        if changes.everything {
            rebuild(changes.snapshot)
            return
        }
        renderNode(changes.snapshot)
        for index in changes.services.sorted() {
            guard render(serviceAt: index, changes.snapshot) else {
                rebuild(changes.snapshot)
                return
            }
        }
    }

    private func note(_ snapshot: StatusBoard.Snapshot) {
        if snapshot.heartbeat > heartbeat { heartbeat = snapshot.heartbeat }
    }

    private static func renderFixed(_ node: NodeStatus, _ renderer: HealthRenderer) -> Fixed {
        let state = node.state
        return Fixed(
            stalled: renderer.liveness(node).stalled,
            notFound: renderer.plain(404, "cannot find this path or service", state),
            notAllowed: renderer.plain(405, "cannot change anything here; use GET, HEAD or OPTIONS", state),
            malformedPath: renderer.plain(400, Rejection.target.explanation, state),
            rejections: Rejection.allCases.map { renderer.plain($0.code, $0.explanation, state) }
        )
    }

    private func renderNode(_ snapshot: StatusBoard.Snapshot) {
        let node = snapshot.fleet.node
        fixed = Self.renderFixed(node, renderer)
        slots[Slot.node.rawValue] = renderer.nodeText(snapshot)
        slots[Slot.liveness.rawValue] = renderer.liveness(node).alive
        slots[Slot.startup.rawValue] = renderer.startup(snapshot)
        slots[Slot.nodeJSON.rawValue] = renderer.nodeJSON(snapshot)
        let line = AgentRenderer.nodeLine(snapshot.fleet)
        agentLines[""] = line
        if !snapshot.fleet.services.contains(where: { $0.name == AgentRenderer.node }) {
            agentLines[AgentRenderer.node] = line
        }
    }

    /// False when the service's paths are no longer those in the table.
    private func render(serviceAt index: Int, _ snapshot: StatusBoard.Snapshot) -> Bool {
        let services = snapshot.fleet.services
        guard services.indices.contains(index), servicePaths.indices.contains(index),
            HealthRenderer.paths(of: services[index]) == servicePaths[index]
        else { return false }
        let answers = renderer.answers(for: services[index], in: snapshot)
        for (offset, answer) in answers.enumerated() { slots[serviceStarts[index] + offset] = answer }
        AgentRenderer.add(services[index], to: &agentLines)
        return true
    }

    private func rebuild(_ snapshot: StatusBoard.Snapshot) {
        renderedOffset = snapshot.wallClockOffset
        let node = renderer.nodeText(snapshot)
        slots = Array(repeating: node, count: Slot.services.rawValue)
        agentLines = [:]
        for service in snapshot.fleet.services { AgentRenderer.add(service, to: &agentLines) }
        renderNode(snapshot)
        var paths: [(path: String, slot: Int)] = [
            ("/", Slot.node.rawValue), ("/readyz", Slot.node.rawValue), ("/healthz", Slot.node.rawValue),
            ("/livez", Slot.liveness.rawValue), ("/startupz", Slot.startup.rawValue),
            ("/health", Slot.nodeJSON.rawValue), ("/metrics", Slot.metrics.rawValue),
        ]
        servicePaths = snapshot.fleet.services.map(HealthRenderer.paths)
        serviceStarts = []
        for (service, servicePaths) in zip(snapshot.fleet.services, servicePaths) {
            serviceStarts.append(slots.count)
            paths += servicePaths.enumerated().map { ($1, slots.count + $0) }
            slots += renderer.answers(for: service, in: snapshot)
        }
        table = PathTable(paths)
    }

    // MARK: Answering

    func rejection(_ rejection: Rejection) -> Reply {
        fixed.rejections[rejection.rawValue].reply(to: .get)
    }

    /// - Parameter bytes: those the request was parsed from.
    func reply(to request: ParsedRequest, in bytes: UnsafeRawBufferPointer) -> Reply {
        if request.method == .other { return fixed.notAllowed.reply(to: .get) }
        var path = UnsafeRawBufferPointer(rebasing: bytes[request.target])
        var options = RequestOptions()
        if let mark = path.firstIndex(of: UInt8(ascii: "?")) {
            options = RequestOptions(query: path[(mark + 1)...])
            path = UnsafeRawBufferPointer(rebasing: path[..<mark])
        }
        if let slot = table.slot(for: path) { return reply(slot, request.method, options) }
        return replyToUnusual(path, request.method, options)
    }

    private func reply(_ slot: Int, _ method: ParsedRequest.Method, _ options: RequestOptions) -> Reply {
        switch slot {
        case Slot.liveness.rawValue where !supervisionIsAlive(): fixed.stalled.reply(to: method, options)
        case Slot.metrics.rawValue: metricsAnswer().reply(to: method)
        default: slots[slot].reply(to: method, options)
        }
    }

    /// A path that is not byte for byte one of ours: encoded, in absolute form, `*`, or unknown.
    private func replyToUnusual(
        _ target: UnsafeRawBufferPointer,
        _ method: ParsedRequest.Method,
        _ options: RequestOptions
    ) -> Reply {
        if target.elementsEqual("*".utf8), method == .options { return reply(Slot.node.rawValue, method, options) }
        guard let path = Self.originForm(target) else { return fixed.malformedPath.reply(to: method) }
        switch PathDecoding.decode(path) {
        case .malformed: return fixed.malformedPath.reply(to: method)
        case .impossible: return fixed.notFound.reply(to: method)
        case .path(let decoded):
            let slot = decoded.withUnsafeBytes { table.slot(for: $0) }
            return slot.map { reply($0, method, options) } ?? fixed.notFound.reply(to: method)
        }
    }

    /// The path of `/path` or `http://authority/path` (RFC 9112 §3.2); nil for anything else.
    private static func originForm(_ target: UnsafeRawBufferPointer) -> [UInt8]? {
        if target.first == UInt8(ascii: "/") { return Array(target) }
        let scheme = "http://".utf8
        guard target.count > scheme.count, zip(target, scheme).allSatisfy({ $0.lowercased == $1 }) else { return nil }
        let rest = target.dropFirst(scheme.count)
        guard let slash = rest.firstIndex(of: UInt8(ascii: "/")) else { return Array("/".utf8) }
        return slash > rest.startIndex ? Array(rest[slash...]) : nil
    }

    private func supervisionIsAlive() -> Bool {
        let now = clock()
        if now.since(heartbeat) <= heartbeatLimit { return true }
        // Our own loop may have been the one that stood still; look before accusing the other.
        note(board.snapshot)
        return now.since(heartbeat) <= heartbeatLimit
    }

    private func metricsAnswer() -> Answer {
        let now = clock()
        let snapshot = board.snapshot
        if let metrics, metrics.version == snapshot.version, now.since(metrics.at) < limits.metricsAge {
            return metrics.answer
        }
        let text = MetricsText.render(
            snapshot,
            version: renderer.version,
            health: counters.figures(openConnections: connections.count),
            process: processFigures()
        )
        let head = AnswerHead(code: 200, contentType: MetricsText.contentType, state: snapshot.fleet.node.state)
        let answer = Answer(head, body: text)
        metrics = (answer, snapshot.version, now)
        return answer
    }

    /// Whether `/livez` would be answered 200 now.
    func selfCheck() -> Bool {
        let request = Array("GET /livez HTTP/1.0\r\n\r\n".utf8)
        return request.withUnsafeBytes { bytes in
            guard case .request(let parsed) = RequestParser(limits: limits).parse(bytes) else { return false }
            return reply(to: parsed, in: bytes).code == 200
        }
    }

    // MARK: Connections

    var openConnections: Int { connections.count }
    var openAgentConnections: Int { agents.count }

    /// False when the connection must be refused.
    func admit(_ handler: ConnectionHandler) -> Bool {
        if connections.count >= limits.connections, !evictIdle() { return false }
        connections[ObjectIdentifier(handler)] = handler
        return true
    }

    func remove(_ handler: ConnectionHandler) { connections[ObjectIdentifier(handler)] = nil }

    func admit(_ handler: AgentHandler) -> Bool {
        if agents.count >= limits.agentConnections { return false }
        agents[ObjectIdentifier(handler)] = handler
        return true
    }

    func remove(_ handler: AgentHandler) { agents[ObjectIdentifier(handler)] = nil }

    /// Closes the connection that has been idle longest. False when none is idle.
    @discardableResult
    func evictIdle() -> Bool {
        var oldest: ConnectionHandler?
        for handler in connections.values where handler.isIdle {
            if let present = oldest, present.lastActivity <= handler.lastActivity { continue }
            oldest = handler
        }
        oldest?.close(.evicted)
        return oldest != nil
    }

    /// Sweeps that make up `duration`, rounded up.
    private func ticks(_ duration: Duration) -> UInt64 {
        let interval = max(1, limits.sweepInterval.clampedNanoseconds)
        return UInt64(max(1, (duration.clampedNanoseconds &+ interval &- 1) / interval))
    }

    /// Holds every connection to its time limits, and takes note of the heartbeat and of a changed wall clock.
    func sweep() {
        tick &+= 1
        let limits = ConnectionHandler.TickLimits(
            idle: ticks(limits.idle),
            request: ticks(limits.request),
            stalled: ticks(limits.stalled),
            lingering: ticks(limits.lingering)
        )
        for handler in Array(connections.values) { handler.check(tick, limits) }
        let life = ticks(self.limits.agentConnection)
        let silence = ticks(self.limits.agentSilence)
        for handler in Array(agents.values) { handler.check(tick, life: life, silence: silence) }
        let snapshot = board.snapshot
        note(snapshot)
        if (snapshot.wallClockOffset &- renderedOffset).magnitude > 1_000_000_000 { rebuild(snapshot) }
    }

    func closeAll() {
        for handler in Array(connections.values) { handler.close(.stopped) }
        for handler in Array(agents.values) { handler.close() }
    }
}
