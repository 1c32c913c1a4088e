/// All breakers of one host: when starts and calls are let through, and this host's part in deciding that for the
/// fleet. A value; `FleetMachine` is its only caller.
///
/// Two ledgers: `own` is this host's alone and opens by its own crashes and calls; `fleet` is what the shared store
/// was last known to hold. The first of these decides: an operator's override, the fleet's breaker unless it is
/// closed, this host's own. Without a shared store there is only `own`. Nothing waits for the store: what it says
/// arrives as news, and while it is away (`island`) the fleet's breakers are what they last were, and this host probes
/// for itself.
///
/// Source: research/circuit-breakers.md §5.
public struct BreakerMachine: Sendable, Equatable {
    /// How the connection to the store is.
    enum Link: Sendable, Equatable {
        /// No store is shared.
        case none
        case down(since: Int64, StoreFailure?)
        case up
    }

    /// What a request was for.
    enum Purpose: Sendable, Equatable {
        case sync(isFull: Bool)
        case vote, lease, renew, result, other
        case command(OperationID)
    }

    struct Pending: Sendable, Equatable {
        var purpose: Purpose
        var name: String
        var sentAt: Int64
    }

    var caller: LedgerCaller
    let isShared: Bool
    var own = BreakerLedger()
    var fleet = BreakerLedger()
    var link = Link.none
    var isIsland = false
    var timeouts = 0
    var firstTimeoutAt: Int64?
    /// What was last said of the store.
    var saidProblem: String?
    var liveHosts: Int64 = 0
    /// The place in the store's order of changes up to which everything is known.
    var known: Int64 = 0
    var syncAt: Int64 = 0
    var syncIsOut = false
    /// When everything was last asked for.
    var fullSyncAt: Int64 = 0
    var seats: [BreakerSeat] = []
    var seatOf: [String: Int] = [:]
    /// Names of the services' breakers, by the service's index.
    var current: [Int] = []
    var configured: [String: DependencySpec] = [:]
    var pending: [UInt64: Pending] = [:]
    var requests: UInt64 = 0
    /// Tokens of calls that are probes: far from every generation, with which a report could take them for another.
    var calls: UInt64 = 1 << 32
    var generator: SeededGenerator

    // What a turn leaves behind, until the fleet takes it.
    var outbox: [StoreRequest] = []
    var notes: [Note] = []
    var finished: [(OperationID, OperationResult)] = []
    /// A gate may have opened or closed, or something is due at another time.
    var moved = true
    /// What outlives the daemon has changed.
    var isWorthSaving = false
    /// Runs that must end: their lease is lost.
    var fenced: [ProbeHold.Run] = []

    struct Note: Sendable, Equatable {
        var subject: String?
        var kind: String
        var text: String
    }

    public static func == (left: BreakerMachine, right: BreakerMachine) -> Bool {
        left.own == right.own && left.fleet == right.fleet && left.seats == right.seats && left.link == right.link
            && left.isIsland == right.isIsland && left.pending == right.pending && left.known == right.known
    }

    init(spec: FleetSpec, now: MonotonicInstant, seed: UInt64) {
        isShared = spec.breaker.store == .redis
        generator = SeededGenerator(seed: seed ^ 0x5EED_B4EA_4E45_0001)
        let incarnation = Int64(bitPattern: generator.next() >> 12)
        caller = LedgerCaller(host: spec.node.name, incarnation: incarnation)
        if isShared { link = .down(since: now.milliseconds, nil) }
        configure(dependencies: spec.dependencies, now.milliseconds)
    }

    // MARK: Seats

    /// The breaker of a service's release, made where it is not known yet.
    mutating func seat(of service: ServiceSpec, release: String, at now: Int64) -> Int {
        let name = "service:\(service.name)@\(release)"
        let policy = LedgerPolicy(service.breaker, startupTimeout: service.startupTimeout)
        let index: Int
        if let known = seatOf[name] {
            index = known
        } else {
            let seat = BreakerSeat(name: name, kind: .service, policy: policy, now: now)
            // A release that is past, and of which nothing is left to say, makes room: there is always a next one.
            index = seats.indices.first { isForgettable($0) }.map { reseat($0, seat) } ?? addSeat(seat)
        }
        seats[index].policy = policy
        seats[index].mode = service.breaker.mode
        seats[index].crashThreshold = max(1, service.breaker.crashThreshold)
        seats[index].crashWindow = service.breaker.crashWindow.inMilliseconds
        refresh(index, now)
        return index
    }

    private func isForgettable(_ index: Int) -> Bool {
        let seat = seats[index]
        return seat.kind == .service && seat.isRetired && seat.isIdle && register(seat.name).state == .closed
            && override(seat.name).mode == .auto
    }

    /// Gives a seat to another breaker. The store tells of the one before when that is seated again.
    mutating func reseat(_ index: Int, _ seat: BreakerSeat) -> Int {
        let forgotten = seats[index].name
        own.registers[forgotten] = nil
        own.votes[forgotten] = nil
        fleet.registers[forgotten] = nil
        fleet.votes[forgotten] = nil
        seatOf[forgotten] = nil
        seatOf[seat.name] = index
        seats[index] = seat
        known = 0
        moved = true
        return index
    }

    mutating func addSeat(_ seat: BreakerSeat) -> Int {
        seatOf[seat.name] = seats.count
        // They are few, and large: an array that doubles would waste as much as it holds.
        if seats.count == seats.capacity { seats.reserveCapacity(seats.count + 32) }
        seats.append(seat)
        // What the fleet knows of it was not listened to so far.
        known = 0
        if isShared { syncAt = 0 }
        moved = true
        return seats.count - 1
    }

    mutating func configure(dependencies: [DependencySpec], _ now: Int64) {
        configured = [:]
        for dependency in dependencies { configured[dependency.name] = dependency }
        for index in seats.indices where seats[index].kind == .dependency {
            set(configured[seats[index].name] ?? DependencySpec(name: seats[index].name), index)
        }
        for dependency in dependencies where seatOf[dependency.name] == nil {
            let policy = LedgerPolicy(dependency)
            let index = addSeat(BreakerSeat(name: dependency.name, kind: .dependency, policy: policy, now: now))
            set(dependency, index)
        }
    }

    /// What is configured for a dependency, or would be.
    func dependency(_ index: Int) -> DependencySpec {
        configured[seats[index].name] ?? DependencySpec(name: seats[index].name)
    }

    func set(_ dependency: DependencySpec, on seat: inout BreakerSeat) {
        let window = CallWindow(window: dependency.slidingWindowSize.inMilliseconds)
        if seat.calls?.tick != window.tick { seat.calls = window }
        seat.slowCallLimit = dependency.slowCallDurationThreshold.inMilliseconds
        seat.policy = LedgerPolicy(dependency)
    }

    private mutating func set(_ dependency: DependencySpec, _ index: Int) {
        var seat = seats[index]
        set(dependency, on: &seat)
        seats[index] = seat
    }

    // MARK: What decides

    /// The register that counts for a breaker: the fleet's unless it is closed.
    func register(_ name: String) -> BreakerRegister {
        if let shared = fleet.registers[name], shared.state != .closed { return shared }
        return own.registers[name] ?? fleet.registers[name] ?? BreakerRegister()
    }

    /// The fleet's breaker has moved: this host's own counts no more.
    func isDecidedByFleet(_ name: String) -> Bool { (fleet.registers[name]?.state ?? .closed) != .closed }

    func override(_ name: String) -> BreakerOverride {
        (isShared ? fleet.overrides[name] : own.overrides[name]) ?? BreakerOverride()
    }

    /// What is configured, unless an operator decided otherwise.
    func mode(_ index: Int) -> BreakerMode {
        let decided = override(seats[index].name).mode
        if decided != .auto { return decided }
        return switch seats[index].mode {
        case .auto: .auto
        case .disabled: .disabled
        case .metricsOnly: .metricsOnly
        }
    }

    private func standing(_ index: Int, _ now: Int64) -> BreakerStanding {
        switch mode(index) {
        case .forceOpen: return .forcedOpen
        case .forceClosed, .disabled, .metricsOnly: return .ignored
        case .auto: break
        }
        let register = register(seats[index].name)
        switch register.state {
        case .open: return .open(until: register.retryAt)
        case .halfOpen: return .halfOpen
        case .closed:
            let until = seats[index].rampUntil
            return until > now ? .ramping(until: until) : .closed
        }
    }

    /// Works out anew whether it lets through, and what this host is to do about it.
    mutating func refresh(_ index: Int, _ now: Int64) {
        let before = seats[index].standing
        let after = standing(index, now)
        moved = true
        fitClaim(index, now)
        if before == after { return }
        seats[index].standing = after
        if before.lets != after.lets || seats[index].kind == .dependency { seats[index].since = now }
        seats[index].generation &+= 1
    }

    // MARK: Time

    /// The next moment at which something is due; nil for none.
    var deadline: Int64? {
        var next: Int64?
        func consider(_ candidate: Int64?) {
            if let candidate { next = min(next ?? candidate, candidate) }
        }
        if case .up = link, !syncIsOut { consider(syncAt) }
        if case .down(let since, _) = link, !isIsland { consider(since + BreakerLimits.storeDownAfter) }
        for index in seats.indices where !seats[index].isIdle || seats[index].crashes.count > 0 {
            consider(deadline(of: index))
        }
        return next
    }

    private func deadline(of index: Int) -> Int64? {
        let seat = seats[index]
        var next: Int64?
        func consider(_ candidate: Int64?) {
            if let candidate { next = min(next ?? candidate, candidate) }
        }
        if case .ramping(let until) = seat.standing { consider(until) }
        // The host's own round, and on an island the fleet's, end by this host's clock.
        let register = register(seat.name)
        if register.state == .halfOpen, !isDecidedByFleet(seat.name) || isIsland { consider(register.deadline) }
        if isShared, seat.vote != .none, link == .up { consider(seat.votedAt + BreakerLimits.voteRefresh) }
        if seat.vote != .none { consider(seat.crashes.expiry(window: seat.crashWindow)) }
        switch seat.claim {
        case .none, .asked: break
        case .due(let at): consider(at)
        case .held(let hold):
            consider(hold.expiresAt)
            if hold.renewal == nil { consider(hold.renewAt) }
            consider(unusedUntil(index, hold))
            if let since = hold.run?.readySince { consider(since + BreakerLimits.probeProof) }
        case .reporting(_, _, _, let request, let until):
            consider(until)
            if request == nil, isIsland { consider(0) }
        }
        return next
    }

    /// Does what is due.
    mutating func advance(to now: Int64) {
        // Whatever it was, it is due no more: what is due next is to be worked out anew.
        moved = true
        if case .down(let since, let failure) = link, !isIsland, now - since >= BreakerLimits.storeDownAfter {
            becomeIsland(failure, now)
        }
        if case .up = link, !syncIsOut, now >= syncAt { sync(now) }
        for index in seats.indices where !seats[index].isIdle || seats[index].crashes.count > 0 {
            advance(index, now)
        }
    }

    private mutating func advance(_ index: Int, _ now: Int64) {
        let name = seats[index].name
        if case .ramping(let until) = seats[index].standing, now >= until { refresh(index, now) }
        if own.registers[name] != nil { tickOwn(index, now) }
        if isIsland, isDecidedByFleet(name) { tickFleet(index, now) }
        fitVote(index, now)
        advanceClaim(index, now)
    }

    // MARK: Saying

    mutating func tell(_ index: Int?, _ kind: String, _ text: String) {
        var subject: String?
        if let index, seats[index].kind == .service {
            let name = seats[index].name.dropFirst("service:".count)
            subject = String(name[..<(name.lastIndex(of: "@") ?? name.endIndex)])
        }
        notes.append(Note(subject: subject, kind: kind, text: text))
    }

    /// A random number of milliseconds from 0 to `bound`.
    mutating func draw(upTo bound: Int64) -> Int64 { Int64(generator.unit() * Double(max(0, bound))) }

    mutating func drawMillionths() -> Int64 { draw(upTo: 999_999) }
}
