import NIOCore
import SupervisorCore

/// What the store is, on its loop: carries out what `LinkMachine` decides.
final class StoreDriver {
    /// A request on its way, over as many nodes as it takes.
    struct Errand {
        var number: UInt64
        var arguments: [[UInt8]]
        var sentAt: NIODeadline
        var deadline: NIODeadline
        var redirects = 0
        /// The script itself was sent.
        var hasLoaded = false
    }

    let spec: BreakerStoreSpec
    let caller: LedgerCaller
    let loop: any EventLoop
    let limits: LinkLimits
    let counters: StoreCounters
    private let news: @Sendable (StoreNews) -> Void
    private let keys: [[UInt8]]
    let channelName: String
    let slot: Int64
    private let hash = Array(ScriptHash.of(LedgerScript.text).utf8)
    private let script = Array(LedgerScript.text.utf8)

    private(set) var link: LinkMachine
    /// Grows with each attempt: what an earlier one still has to say is not heard.
    private(set) var generation: UInt64 = 0
    var commands: RedisConnection?
    var pushes: RedisConnection?
    var password: [UInt8]?
    /// The present attempt has come as far as to talk.
    var hasAnswered = false
    private var retryTimer: Scheduled<Void>?
    private var setupTimer: Scheduled<Void>?
    private var pingTimer: Scheduled<Void>?
    private var refreshTimer: Scheduled<Void>?
    private var refreshIsOut = false
    /// What of the push connection's receipts the last look has seen.
    private var seenPushes: UInt64 = 0
    /// Requests that wait for the connection to the node they were sent to.
    private var parked: [Errand] = []
    /// Connections for one command, to nodes that take over the slot.
    var helpers: [UInt64: RedisConnection] = [:]
    var helperNumber: UInt64 = 0
    private var pending = 0
    private var stopped: EventLoopPromise<Void>?

    init(
        _ spec: BreakerStoreSpec,
        _ caller: LedgerCaller,
        _ loop: any EventLoop,
        _ limits: LinkLimits,
        _ counters: StoreCounters,
        _ news: @escaping @Sendable (StoreNews) -> Void
    ) {
        self.spec = spec
        self.caller = caller
        self.loop = loop
        self.limits = limits
        self.counters = counters
        self.news = news
        keys = LedgerScript.keys(fleet: spec.fleet).map { Array($0.utf8) }
        channelName = LedgerScript.channel(fleet: spec.fleet)
        slot = HashSlot.of(tag: spec.fleet)
        let seeds = spec.redis.addresses.compactMap { RedisAddress($0) }
        link = LinkMachine(seeds: seeds, limits: limits, seed: UInt64(bitPattern: caller.incarnation))
    }

    var tls: TLSFiles? {
        guard spec.redis.tls else { return nil }
        return TLSFiles(
            authority: spec.redis.tlsCAFile,
            certificate: spec.redis.tlsCertificateFile,
            key: spec.redis.tlsKeyFile
        )
    }

    // MARK: The link

    func handle(_ event: LinkMachine.Event) {
        let now = Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000)
        for effect in link.handle(event, at: now) {
            switch effect {
            case .connect(let address): connect(address)
            case .close(let failure): closeAll(failure)
            case .wait(let delay): retryTimer = later(delay) { $0.handle(.timer) }
            case .tellConnected: connected()
            case .tellDisconnected(let failure): tell(.disconnected(failure))
            }
        }
    }

    func tell(_ what: StoreNews) { news(what) }

    /// Milliseconds from now.
    private func later(_ delay: Int64, _ body: @escaping (StoreDriver) -> Void) -> Scheduled<Void> {
        loop.assumeIsolated().scheduleTask(in: .milliseconds(delay)) { [weak self] () -> Void in
            if let self { body(self) }
        }
    }

    private func connect(_ address: RedisAddress) {
        closeConnections(StoreFailure(kind: .unreachable, text: "the connection moves to \(address)"))
        generation &+= 1
        counters.change { $0.attempts &+= 1 }
        let attempt = generation
        hasAnswered = false
        setupTimer = later(limits.connectTimeout + limits.setupTimeout) { driver in
            guard driver.generation == attempt, !driver.link.isUp else { return }
            let isSilent = driver.tls != nil && !driver.hasAnswered
            let text = isSilent ? "\(address) does not answer in TLS" : "\(address) is not ready in time"
            driver.handle(.failed(StoreFailure(kind: isSilent ? .tls : .timeout, text: text)))
        }
        setUp(address, attempt)
    }

    private func connected() {
        setupTimer?.cancel()
        counters.change {
            $0.connects &+= 1
            $0.isConnected = true
        }
        refreshIsOut = false
        seenPushes = 0
        scheduleLooks()
        tell(.connected)
        let waiting = parked
        parked = []
        for errand in waiting { send(errand) }
    }

    private func scheduleLooks() {
        let attempt = generation
        pingTimer = later(limits.pingInterval) { $0.lookAtPushes(attempt) }
        if spec.redis.cluster { refreshTimer = later(limits.refreshInterval) { $0.refreshOnSchedule(attempt) } }
    }

    /// A subscription can die without a word: it is asked when nothing came for a while.
    private func lookAtPushes(_ attempt: UInt64) {
        guard attempt == generation, let pushes else { return }
        pingTimer = later(limits.pingInterval) { $0.lookAtPushes(attempt) }
        if pushes.received != seenPushes {
            seenPushes = pushes.received
            return
        }
        pushes.send([Array("PING".utf8)], until: .now() + .milliseconds(limits.connectTimeout)) { [weak self] result in
            guard let self, attempt == self.generation else { return }
            self.seenPushes = pushes.received
            if case .failure(let failure) = result { self.handle(.failed(failure)) }
        }
    }

    private func refreshOnSchedule(_ attempt: UInt64) {
        guard attempt == generation, link.isUp else { return }
        refreshTimer = later(limits.refreshInterval) { $0.refreshOnSchedule(attempt) }
        refresh()
    }

    /// Asks who has the slot now.
    private func refresh() {
        guard spec.redis.cluster, !refreshIsOut, let commands, link.isUp else { return }
        refreshIsOut = true
        let attempt = generation
        let deadline = NIODeadline.now() + .milliseconds(limits.connectTimeout)
        commands.send([Array("CLUSTER".utf8), Array("SLOTS".utf8)], until: deadline) { [weak self] result in
            guard let self, attempt == self.generation else { return }
            self.refreshIsOut = false
            guard case .success(let value) = result,
                let view = ClusterView(value, slot: self.slot, askedAt: commands.address.host)
            else { return }
            self.handle(.view(owner: view.owner, nodes: view.nodes))
        }
    }

    // MARK: Requests

    func submit(_ request: StoreRequest) {
        guard link.isUp, commands != nil else {
            return unanswered(request.number, StoreFailure(kind: .unreachable, text: "there is no connection to Redis"))
        }
        guard pending < RedisConnection.pendingLimit else {
            counters.change { $0.dropped &+= 1 }
            let text = "cannot ask Redis: \(pending) requests have no answer yet"
            return unanswered(request.number, StoreFailure(kind: .server, text: text))
        }
        let arguments = LedgerCodec.arguments(request.operation, by: caller, channel: channelName)
        let now = NIODeadline.now()
        let errand = Errand(
            number: request.number,
            arguments: arguments,
            sentAt: now,
            deadline: now + .milliseconds(limits.commandTimeout)
        )
        countPending(1)
        send(errand)
    }

    private func countPending(_ change: Int) {
        pending += change
        let pending = pending
        counters.change { $0.pending = pending }
    }

    private func send(_ errand: Errand) {
        guard let commands else {
            return finish(errand, StoreFailure(kind: .unreachable, text: "there is no connection to Redis"))
        }
        commands.send(call(errand), until: errand.deadline) { [weak self] result in
            self?.take(result, errand, from: commands.address)
        }
    }

    /// The script by its hash, or itself.
    func call(_ errand: Errand) -> [[UInt8]] {
        let head = errand.hasLoaded ? [Array("EVAL".utf8), script] : [Array("EVALSHA".utf8), hash]
        return head + [Array("\(keys.count)".utf8)] + keys + errand.arguments
    }

    func take(_ result: Result<RESPValue, StoreFailure>, _ errand: Errand, from address: RedisAddress) {
        switch result {
        case .failure(let failure):
            finish(errand, failure)
            if failure.kind == .timeout {
                handle(.timedOut(failure))
                refresh()
            }
        case .success(.error(let bytes)): complain(ServerComplaint(bytes, from: address), errand, from: address)
        case .success(let value):
            guard let reply = LedgerCodec.reply(value) else {
                return finish(errand, StoreFailure(kind: .server, text: "cannot read the answer of \(address)"))
            }
            answered(errand, reply)
        }
    }

    private func complain(_ complaint: ServerComplaint, _ errand: Errand, from address: RedisAddress) {
        var errand = errand
        switch complaint {
        case .noScript where !errand.hasLoaded:
            errand.hasLoaded = true
            send(errand)
        case .noScript:
            finish(errand, StoreFailure(kind: .server, text: "\(address) does not keep the script that it was sent"))
        case .moved, .ask:
            guard spec.redis.cluster else { return finish(errand, Self.isOfCluster(address)) }
            errand.redirects += 1
            counters.change { $0.redirects &+= 1 }
            guard errand.redirects <= limits.redirects else {
                let text = "\(address): the nodes send a request from one to the other"
                return finish(errand, StoreFailure(kind: .server, text: text))
            }
            errand.hasLoaded = false
            if case .moved(let owner) = complaint { follow(errand, to: owner) }
            if case .ask(let other) = complaint { ask(errand, at: other) }
        case .notServing(let failure):
            finish(errand, failure)
            // In a cluster the next view of it tells who serves; else another address may.
            if spec.redis.cluster { refresh() } else { handle(.failed(failure)) }
        case .failure(let failure):
            finish(errand, failure)
            // Rights that were taken away: the connection is of no use until they are given back.
            if failure.kind == .auth { handle(.failed(failure)) } else { refresh() }
        }
    }

    /// It was not carried out where it was sent; it is sent on as soon as the node it belongs to is connected.
    private func follow(_ errand: Errand, to owner: RedisAddress) {
        if link.isUp, link.address == owner { return send(errand) }
        parked.append(errand)
        _ = loop.assumeIsolated().scheduleTask(deadline: errand.deadline) { [weak self] () -> Void in
            guard let self, let place = self.parked.firstIndex(where: { $0.number == errand.number }) else { return }
            let late = self.parked.remove(at: place)
            self.finish(late, StoreFailure(kind: .timeout, text: "\(owner) did not answer in time"))
        }
        handle(.moved(owner))
    }

    private func answered(_ errand: Errand, _ reply: LedgerReply) {
        countPending(-1)
        let took = (NIODeadline.now() - errand.sentAt).nanoseconds / 1_000
        counters.change {
            $0.answered &+= 1
            $0.lastRoundTrip = took
            $0.longestRoundTrip = max($0.longestRoundTrip, took)
        }
        handle(.answered)
        tell(.answered(number: errand.number, reply))
    }

    func finish(_ errand: Errand, _ failure: StoreFailure) {
        countPending(-1)
        unanswered(errand.number, failure)
    }

    private func unanswered(_ number: UInt64, _ failure: StoreFailure) {
        counters.change { $0.unanswered[failure.kind, default: 0] &+= 1 }
        tell(.unanswered(number: number, failure))
    }

    // MARK: The end

    private func closeConnections(_ failure: StoreFailure) {
        for timer in [retryTimer, setupTimer, pingTimer, refreshTimer] { timer?.cancel() }
        let old = [commands, pushes]
        (commands, pushes) = (nil, nil)
        counters.change { $0.isConnected = false }
        for connection in old { connection?.close(failure) }
    }

    private func closeAll(_ failure: StoreFailure) {
        generation &+= 1
        closeConnections(failure)
        let others = helpers.values.sorted { $0.address.description < $1.address.description }
        helpers = [:]
        for helper in others { helper.close(failure) }
        let waiting = parked
        parked = []
        for errand in waiting { finish(errand, failure) }
    }

    func stop() -> EventLoopFuture<Void> {
        let channels = ([commands, pushes] + helpers.values.map { $0 }).compactMap { $0?.closed }
        handle(.stop)
        return EventLoopFuture.andAllComplete(channels, on: loop)
    }
}
