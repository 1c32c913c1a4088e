import SupervisorCore

/// Times of the connection, milliseconds (rule P7).
struct LinkLimits: Sendable, Equatable {
    var backoffFirst: Int64 = 100
    var backoffMaximum: Int64 = 10_000
    /// Who is not let in asks again only after this long: a server may lock out who asks too often.
    var authRetry: Int64 = 30_000
    /// A connection that lasted so long was a good one: the next loss starts with the first wait again.
    var stableAfter: Int64 = 10_000
    /// So many answers in a row that did not come, over so long, and the connection is given up.
    var timeouts = 5
    var timeoutSpan: Int64 = 2_000
    /// Nodes that may send us on before we give up.
    var redirects = 4
    var connectTimeout: Int64 = 1_000
    /// From the connection to the end of all that comes before it is of use.
    var setupTimeout: Int64 = 3_000
    var commandTimeout: Int64 = 250
    var pingInterval: Int64 = 5_000
    var refreshInterval: Int64 = 30_000
}

/// Decides whom to connect to, and when: a value without clock, sockets or chance of its own.
///
/// `idle` → `connecting` by `start`; `connecting` → `up` by `ready`, → `connecting` (another node) by `view`, →
/// `waiting` by `failed`; `up` → `connecting` by `view` and `moved`, → `waiting` by `failed` and a run of `timedOut`;
/// `waiting` → `connecting` by `timer`; any → `stopped`, for good, by `stop`.
struct LinkMachine: Sendable, Equatable {
    enum State: Sendable, Equatable {
        case idle
        case connecting(RedisAddress, hops: Int)
        case up(RedisAddress, since: Int64)
        case waiting
        case stopped
    }

    enum Event: Sendable, Equatable {
        case start
        /// What a node says of its cluster.
        case view(owner: RedisAddress?, nodes: [RedisAddress])
        case ready
        case failed(StoreFailure)
        case moved(RedisAddress)
        case answered
        case timedOut(StoreFailure)
        case timer
        case stop
    }

    enum Effect: Sendable, Equatable {
        /// In place of every connection there is.
        case connect(RedisAddress)
        case close(StoreFailure)
        /// A `timer` after so many milliseconds.
        case wait(Int64)
        case tellConnected
        case tellDisconnected(StoreFailure)
    }

    private(set) var state = State.idle
    private let seeds: [RedisAddress]
    private let limits: LinkLimits
    private var generator: SeededGenerator
    private var nodes: [RedisAddress] = []
    private var cursor = 0
    private var failures = 0
    private var timeouts = 0
    private var firstTimeout: Int64 = 0
    private var told: StoreFailure?

    /// - Parameter seeds: at least one, or nothing is ever connected to.
    init(seeds: [RedisAddress], limits: LinkLimits, seed: UInt64) {
        self.seeds = seeds
        self.limits = limits
        generator = SeededGenerator(seed: seed)
    }

    var isUp: Bool {
        if case .up = state { return true }
        return false
    }

    /// Whom the present connection or attempt is to.
    var address: RedisAddress? {
        switch state {
        case .connecting(let address, _), .up(let address, _): address
        case .idle, .waiting, .stopped: nil
        }
    }

    /// - Parameter now: milliseconds of a monotonic clock.
    mutating func handle(_ event: Event, at now: Int64) -> [Effect] {
        switch (state, event) {
        case (.stopped, _): return []
        case (_, .stop):
            state = .stopped
            return [.close(StoreFailure(kind: .unreachable, text: "the store was stopped"))]
        case (.idle, .start), (.waiting, .timer): return connectNext(now)
        case (.connecting(let address, let hops), .view(let owner, let nodes)):
            return take(owner, nodes, at: address, hops, now)
        case (.up(let address, _), .view(let owner?, let nodes)):
            return owner == address ? keep(nodes) : take(owner, nodes, at: address, 0, now)
        case (.connecting(let address, _), .ready):
            state = .up(address, since: now)
            (timeouts, told) = (0, nil)
            return [.tellConnected]
        case (.connecting, .failed(let failure)): return fail(failure, now)
        case (.up(_, let since), .failed(let failure)):
            if now - since >= limits.stableAfter { failures = 0 }
            return fail(failure, now)
        case (.up, .moved(let address)): return go(to: address, hops: 1)
        case (.up, .answered):
            timeouts = 0
            return []
        case (.up(_, let since), .timedOut(let failure)):
            if timeouts == 0 { firstTimeout = now }
            timeouts += 1
            guard timeouts >= limits.timeouts, now - firstTimeout >= limits.timeoutSpan else { return [] }
            if now - since >= limits.stableAfter { failures = 0 }
            return fail(failure, now)
        default: return []
        }
    }

    private mutating func keep(_ nodes: [RedisAddress]) -> [Effect] {
        self.nodes = Array(nodes.prefix(ClusterView.nodeLimit))
        return []
    }

    private mutating func take(
        _ owner: RedisAddress?,
        _ nodes: [RedisAddress],
        at address: RedisAddress,
        _ hops: Int,
        _ now: Int64
    ) -> [Effect] {
        _ = keep(nodes)
        guard let owner else {
            return fail(StoreFailure(kind: .server, text: "\(address): no node of the cluster has the slot"), now)
        }
        if owner == address { return [] }
        if hops >= limits.redirects {
            return fail(StoreFailure(kind: .server, text: "\(address): the nodes send us from one to the other"), now)
        }
        return go(to: owner, hops: hops + 1)
    }

    private mutating func go(to address: RedisAddress, hops: Int) -> [Effect] {
        state = .connecting(address, hops: hops)
        return [.connect(address)]
    }

    /// The configured addresses first; where the last one failed, another one.
    private mutating func connectNext(_ now: Int64) -> [Effect] {
        let candidates = seeds + nodes.filter { !seeds.contains($0) }
        guard !candidates.isEmpty else {
            return fail(StoreFailure(kind: .unreachable, text: "cannot use any address of Redis"), now)
        }
        let address = candidates[cursor % candidates.count]
        cursor = (cursor + 1) % candidates.count
        return go(to: address, hops: 0)
    }

    /// Full jitter: hosts that lost the same server do not come back together.
    ///
    /// Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    private mutating func fail(_ failure: StoreFailure, _ now: Int64) -> [Effect] {
        state = .waiting
        timeouts = 0
        let ceiling = min(limits.backoffMaximum, limits.backoffFirst << Int64(min(failures, 20)))
        failures += 1
        var delay = 1 + Int64(generator.unit() * Double(ceiling))
        if failure.kind == .auth { delay += limits.authRetry }
        var effects: [Effect] = [.close(failure)]
        if told != failure {
            told = failure
            effects.append(.tellDisconnected(failure))
        }
        return effects + [.wait(delay)]
    }
}
