import Metrics
import NIOCore
import StatusBoard
import SupervisorCore

/// The prepared answers and the open connections, confined to one event loop.
///
/// While it answers it renders nothing and takes no lock. The exceptions are `/metrics`, which is rendered from a
/// snapshot at most once per `HealthServerLimits.metricsAge` and publication, and `/livez` when the heartbeat it knows
/// has grown old: it looks once more before it calls supervision stalled.
final class HealthService {
    /// What a path leads to.
    enum Route {
        case node, liveness, startup, nodeJSON, metrics
        /// An entry of a service's answers.
        case service(Int, entry: Int)

        /// It answers whether to route, which is what load balancers ask.
        var isRouting: Bool {
            switch self {
            case .node, .nodeJSON: true
            case .liveness, .startup, .metrics: false
            case .service(_, let entry): entry == ServicePart.service.rawValue || entry >= ServicePart.firstInstance
            }
        }
    }

    /// A request, and who sent it.
    struct Asked {
        var request: ParsedRequest
        /// Those the request was parsed from.
        var bytes: UnsafeRawBufferPointer
        var options = RequestOptions()
        /// nil: we ask ourselves.
        var peer: PeerAddress?
    }

    /// The answers about the node, rendered with every publication.
    struct NodeAnswers {
        var node: AnswerPack
        var alive: AnswerPack
        var stalled: AnswerPack
        var startup: AnswerPack
        var json: AnswerPack
        var agentLine: [UInt8]
    }

    private struct Fixed {
        var notFound: Answer
        var notAllowed: Answer
        var malformedPath: Answer
        var rejections: [Answer]
    }

    let limits: HealthServerLimits
    let board: StatusBoard
    private let renderer: HealthRenderer
    let clock: @Sendable () -> MonotonicInstant
    private let heartbeatLimit: Duration
    private let processFigures: @Sendable () -> ProcessFigures?

    private var heads = HeadCache()
    private(set) var index = ServiceIndex([])
    private(set) var services: [AnswerPack] = []
    private(set) var node: NodeAnswers
    private var fixed: Fixed
    /// The node's state that `fixed` speaks of.
    private var fixedState: PublicState
    private var heartbeat: MonotonicInstant
    private var renderedOffset: Int64
    private var metrics: (answer: Answer, version: UInt64, at: MonotonicInstant)?

    var counters = ServerCounters()
    var probers: ProberRegister
    /// Counts sweeps: the time of everything that is not exact.
    private(set) var tick: UInt64 = 0
    /// Has `timeForSweep` called once, after `HealthServerLimits.sweepInterval`.
    var callLater: () -> Void = {}
    private var sweepIsDue = false
    private var connections: [ObjectIdentifier: ConnectionHandler] = [:]
    private var agents: [ObjectIdentifier: AgentHandler] = [:]

    /// Lines that go before the end of a head.
    let closeField = Array("Connection: close\r\n".utf8)
    let keepAliveField = Array("Connection: keep-alive\r\n".utf8)

    /// Lent to the connection that is answering, and back once that is written.
    private var spareOutput = ByteBuffer()

    init(
        board: StatusBoard,
        version: String,
        clock: @escaping @Sendable () -> MonotonicInstant,
        heartbeatLimit: Duration,
        limits: HealthServerLimits,
        processFigures: @escaping @Sendable () -> ProcessFigures?
    ) {
        self.board = board
        self.clock = clock
        self.heartbeatLimit = heartbeatLimit
        self.limits = limits
        self.processFigures = processFigures
        probers = ProberRegister(limits, seed: UInt64(bitPattern: clock().nanoseconds))
        renderer = HealthRenderer(limits: limits, version: version)
        let changes = board.takeChanges()
        heartbeat = changes.snapshot.heartbeat
        renderedOffset = changes.snapshot.wallClockOffset
        fixed = Self.renderFixed(changes.snapshot.fleet.node, renderer)
        fixedState = changes.snapshot.fleet.node.state
        node = Self.renderNode(changes.snapshot, renderer, &heads)
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
            notFound: renderer.plain(404, "cannot find this path or service", state),
            notAllowed: renderer.plain(405, "cannot change anything here; use GET, HEAD or OPTIONS", state),
            malformedPath: renderer.plain(400, Rejection.target.explanation, state),
            rejections: Rejection.allCases.map { renderer.plain($0.code, $0.explanation, state) }
        )
    }

    private static func renderNode(
        _ snapshot: StatusBoard.Snapshot,
        _ renderer: HealthRenderer,
        _ heads: inout HeadCache
    ) -> NodeAnswers {
        let liveness = renderer.liveness(snapshot.fleet.node, &heads)
        return NodeAnswers(
            node: renderer.nodeText(snapshot, &heads),
            alive: liveness.alive,
            stalled: liveness.stalled,
            startup: renderer.startup(snapshot, &heads),
            json: renderer.nodeJSON(snapshot, &heads),
            agentLine: Array(AgentRenderer.nodeLine(snapshot.fleet).utf8)
        )
    }

    private func renderNode(_ snapshot: StatusBoard.Snapshot) {
        let state = snapshot.fleet.node.state
        if state != fixedState {
            fixed = Self.renderFixed(snapshot.fleet.node, renderer)
            fixedState = state
        }
        node = Self.renderNode(snapshot, renderer, &heads)
    }

    /// False when the services are no longer those of the index.
    private func render(serviceAt position: Int, _ snapshot: StatusBoard.Snapshot) -> Bool {
        let statuses = snapshot.fleet.services
        guard statuses.indices.contains(position), services.indices.contains(position),
            index.isName(statuses[position].name, ofServiceAt: position)
        else { return false }
        services[position] = renderer.answers(for: statuses[position], in: snapshot, &heads)
        return true
    }

    private func rebuild(_ snapshot: StatusBoard.Snapshot) {
        renderedOffset = snapshot.wallClockOffset
        renderNode(snapshot)
        let statuses = snapshot.fleet.services
        index = ServiceIndex(statuses.map(\.name))
        // The old answers go first, so that the two never take memory together.
        services = []
        services.reserveCapacity(statuses.count)
        for status in statuses { services.append(renderer.answers(for: status, in: snapshot, &heads)) }
    }

    // MARK: Answering

    func rejection(_ rejection: Rejection) -> Reply {
        fixed.rejections[rejection.rawValue].reply(to: .get)
    }

    /// - Parameters:
    ///   - bytes: those the request was parsed from.
    ///   - peer: who sent it; nil where nobody did.
    func reply(
        to request: ParsedRequest,
        in bytes: UnsafeRawBufferPointer,
        from peer: PeerAddress? = nil
    ) -> Reply {
        if request.method == .other { return fixed.notAllowed.reply(to: .get) }
        var path = UnsafeRawBufferPointer(rebasing: bytes[request.target])
        var asked = Asked(request: request, bytes: bytes, peer: peer)
        if let mark = path.firstIndex(of: UInt8(ascii: "?")) {
            asked.options = RequestOptions(query: path[(mark + 1)...])
            path = UnsafeRawBufferPointer(rebasing: path[..<mark])
        }
        if let route = route(path) { return reply(route, to: asked) }
        return replyToUnusual(path, asked)
    }

    private func reply(_ route: Route, to asked: Asked) -> Reply {
        let reply = reply(route, asked.request.method, asked.options)
        if route.isRouting { note(asked, route, code: reply.code) }
        return reply
    }

    private func reply(_ route: Route, _ method: ParsedRequest.Method, _ options: RequestOptions) -> Reply {
        switch route {
        case .node: node.node.reply(0, to: method, options)
        case .liveness: (supervisionIsAlive() ? node.alive : node.stalled).reply(0, to: method, options)
        case .startup: node.startup.reply(0, to: method, options)
        case .nodeJSON: node.json.reply(0, to: method, options)
        case .metrics: metricsAnswer().reply(to: method)
        case .service(let service, let entry): services[service].reply(entry, to: method, options)
        }
    }

    private func route(_ path: UnsafeRawBufferPointer) -> Route? {
        let prefix: StaticString = "/health/"
        if path.starts(with: prefix) {
            let rest = UnsafeRawBufferPointer(rebasing: path[prefix.utf8CodeUnitCount...])
            guard let found = index.find(rest) else { return nil }
            return entry(found.part, of: found.service).map { .service(found.service, entry: $0) }
        }
        switch path.count {
        case 1: return path.isAll("/") ? .node : nil
        case 6: return path.isAll("/livez") ? .liveness : nil
        case 7: return path.isAll("/readyz") ? .node : path.isAll("/health") ? .nodeJSON : nil
        case 8: return path.isAll("/healthz") ? .node : path.isAll("/metrics") ? .metrics : nil
        case 9: return path.isAll("/startupz") ? .startup : nil
        default: return nil
        }
    }

    func entry(_ part: ServiceIndex.Part, of service: Int) -> Int? {
        switch part {
        case .service, .ready: ServicePart.service.rawValue
        case .live: ServicePart.live.rawValue
        case .startup: ServicePart.startup.rawValue
        case .instance(let index): services[service].entry(ofInstance: index)
        }
    }

    // MARK: Output

    /// Answers in one buffer above this leave it before the read burst ends, bytes; nor is a larger buffer kept.
    static let outputBytes = 32 * 1024

    /// An empty buffer to collect answers in.
    func takeOutput() -> ByteBuffer {
        var output = ByteBuffer()
        swap(&output, &spareOutput)
        // New memory, should an earlier answer still wait in it for its client.
        output.clear(minimumCapacity: 1024)
        return output
    }

    /// Takes a buffer back that has been written.
    func giveBack(_ output: ByteBuffer) {
        if output.capacity <= Self.outputBytes { spareOutput = output }
    }

    // MARK: Unusual paths

    /// A path that is not byte for byte one of ours: encoded, in absolute form, `*`, or unknown.
    private func replyToUnusual(_ target: UnsafeRawBufferPointer, _ asked: Asked) -> Reply {
        let method = asked.request.method
        if target.elementsEqual("*".utf8), method == .options { return reply(.node, to: asked) }
        guard let path = Self.originForm(target) else { return fixed.malformedPath.reply(to: method) }
        switch PathDecoding.decode(path) {
        case .malformed: return fixed.malformedPath.reply(to: method)
        case .impossible: return fixed.notFound.reply(to: method)
        case .path(let decoded):
            let known = decoded.withUnsafeBytes { route($0) }
            return known.map { reply($0, to: asked) } ?? fixed.notFound.reply(to: method)
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
        let head = HeadFields(code: 200, contentType: MetricsText.contentType, state: snapshot.fleet.node.state)
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
        scheduleSweep()
        return true
    }

    func remove(_ handler: ConnectionHandler) { connections[ObjectIdentifier(handler)] = nil }

    func admit(_ handler: AgentHandler) -> Bool {
        if agents.count >= limits.agentConnections { return false }
        agents[ObjectIdentifier(handler)] = handler
        scheduleSweep()
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

    /// Sweeps go on as long as there is a connection to hold to its limits; an idle server has no timer.
    private func scheduleSweep() {
        if sweepIsDue { return }
        sweepIsDue = true
        callLater()
    }

    /// The time of a sweep has come.
    func timeForSweep() {
        sweepIsDue = false
        sweep()
        if !connections.isEmpty || !agents.isEmpty { scheduleSweep() }
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

    /// Somebody was accepted and still waits for an answer.
    var owesAnswers: Bool { connections.values.contains { $0.isOwedAnAnswer } }

    func closeAll() {
        for handler in Array(connections.values) { handler.close(.stopped) }
        for handler in Array(agents.values) { handler.close() }
    }
}
