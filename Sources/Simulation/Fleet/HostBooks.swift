import SupervisorCore

/// What the checker knows of one host, from what its core was told and what it asked for; the core's own state it
/// sees only as users do.
struct HostBooks: Sendable {
    struct Lease: Sendable {
        var token: Int64
        /// By the host's clock, milliseconds: from when it was asked for.
        var until: Int64
    }

    struct Crashes: Sendable {
        /// In a row, each of a short run: host's milliseconds.
        var all: [Int64] = []
        /// Those that say something of the release, ever.
        var ofRelease: [Int64] = []
    }

    struct Run: Sendable {
        var generation: UInt64
        var breaker: String
        var startedAt: Int64
        var isProbe: Bool
        var wasSignalled = false
        /// It was not ready in time.
        var isLate = false
    }

    /// Of one breaker, as users saw it.
    struct Seen: Sendable {
        var state: BreakerPublicState
        var isOfHostAlone: Bool
        var reason: String?
    }

    private(set) var spec = FleetSpec()
    /// What the store has said last, or this host has given back: the greater one.
    var view: [String: BreakerRegister] = [:]
    var overrides: [String: BreakerOverride] = [:]
    var asked: [UInt64: (operation: BreakerOperation, at: Int64)] = [:]
    var leases: [String: Lease] = [:]
    var crashes: [String: Crashes] = [:]
    var votes: [String: BreakerGrade] = [:]
    var badCalls: [String: Int] = [:]
    var runs: [InstanceID: Run] = [:]
    var isIsland = false
    /// While it is on its own, and shortly after, what it holds is not what the store said.
    var looseUntil: Int64 = 0
    /// Until then its daemon may be behind, having stood still.
    var caughtUpAt: Int64 = 0
    var islandLeftAt: Int64 = 0
    /// When each breaker was last told to be closed again.
    var closedAt: [String: Int64] = [:]
    var heldSince: [InstanceID: Int64] = [:]
    var overdueSince: [String: Int64] = [:]
    var fenced: Set<InstanceID> = []
    var isStopping = false
    var daemonBeganAt: Int64 = 0
    var lookedAt: Int64 = 0
    /// Rolling restarts, and whatever else an operator's change leads to.
    var replacesUntil: Int64 = 0

    mutating func configure(_ spec: FleetSpec) { self.spec = spec }

    /// What was due meanwhile is done after it, one thing after the other.
    mutating func stoodStill(until end: Int64) {
        looseUntil = max(looseUntil, end)
        if looseUntil < .max - Self.catchingUp { looseUntil = max(looseUntil, end + Self.catchingUp) }
        caughtUpAt = max(caughtUpAt, end + Self.catchingUp)
    }

    private static let catchingUp: Int64 = 6_000_000_000

    mutating func daemonBegins(at now: Int64) {
        asked = [:]
        votes = [:]
        isIsland = false
        daemonBeganAt = now
        heldSince = [:]
        overdueSince = [:]
        // What it does first follows from what it remembers.
        looseUntil = now + 5_000_000_000
    }

    mutating func daemonDies() {
        asked = [:]
        // A dependency's probe dies with the daemon.
        for name in leases.keys.sorted() where !name.hasPrefix("service:") { leases[name] = nil }
    }

    mutating func shimReplaced(reboots: Bool) {
        runs = [:]
        leases = [:]
        crashes = [:]
        view = [:]
        overrides = [:]
    }

    mutating func clockChanged() { closedAt = [:] }

    func wasFenced(_ id: InstanceID) -> Bool { fenced.contains(id) }

    // MARK: Around one turn

    static func seen(_ host: FleetHost, _ now: Int64) -> [String: Seen] {
        var seen: [String: Seen] = [:]
        for breaker in host.machine.breakersStatus(at: host.instant(now)).breakers {
            seen[breaker.name] = Seen(
                state: breaker.state,
                isOfHostAlone: breaker.isOfHostAlone,
                reason: breaker.reason
            )
        }
        return seen
    }

    /// What users see before a turn, where that is needed.
    func statesBefore(_ event: Event, _ host: FleetHost) -> [String: Seen] {
        switch event {
        case .storeSaid(.connected), .storeSaid(.disconnected): Self.seen(host, 0)
        default: [:]
        }
    }

    mutating func take(
        _ event: Event,
        _ effects: [Effect],
        _ host: FleetHost,
        _ before: [String: Seen],
        at now: Int64,
        _ tally: inout FleetTally
    ) throws {
        let time = (now + host.clockAhead) / 1_000_000
        let viewBefore = view
        try hear(event, time, now, isLinked: host.isLinked)
        if host.shim.node?.rolls.isEmpty == false { replacesUntil = max(replacesUntil, now + 5_000_000_000) }
        try checkSignals(event, effects, at: now)
        var said: [String] = []
        for effect in effects {
            switch effect {
            case .askStore(let request):
                try checkAsked(event, request)
                try ask(request, time)
            case .record(let subject, let kind, let text):
                record(subject, kind, text, now, &tally)
                if kind.hasPrefix("breaker-"), !text.contains(" on this host alone") { said.append(text) }
            default: break
            }
        }
        let isQuiet = !effects.contains { if case .spawn = $0 { true } else { false } }
        if isQuiet, before.isEmpty, view == viewBefore { return }
        let after = Self.seen(host, now)
        for effect in effects {
            guard case .spawn(let id, let generation) = effect else { continue }
            try checkSpawn(id, generation, host, after, time, now, &tally)
        }
        for name in before.keys.sorted() where before[name]?.state != after[name]?.state {
            throw ShadowViolation(
                "\(name) became \(after[name]?.state.rawValue ?? "nothing") because Redis came or went"
            )
        }
        if now > looseUntil, !isIsland, spec.breaker.store == .redis {
            try checkTold(viewBefore, said, host, after, at: now)
        }
    }

    private mutating func hear(_ event: Event, _ time: Int64, _ now: Int64, isLinked: Bool) throws {
        switch event {
        case .storeSaid(.pushed(let entry)): merge(entry, time)
        case .storeSaid(.answered(let number, let reply)):
            guard let request = asked.removeValue(forKey: number) else { return }
            for entry in reply.entries { merge(entry, time) }
            hearAnswer(request.operation, request.at, reply.verdict)
        case .storeSaid(.unanswered(let number, _)): asked[number] = nil
        case .exited(let id, let generation, let status, _, _, _):
            guard let run = runs[id], run.generation == generation else { return }
            runs[id] = nil
            fenced.remove(id)
            if run.isLate || (!run.wasSignalled && status != .code(0)) { crashed(run, isOfRelease: true, time) }
        case .shimConnected(let adoption):
            for record in adoption.records {
                guard case .exited(let status, _, _, _) = record.state, let run = runs[record.instance],
                    run.generation == record.generation
                else { continue }
                runs[record.instance] = nil
                if run.isLate || (!run.wasSignalled && status != .code(0)) { crashed(run, isOfRelease: true, time) }
            }
        case .startFailed(let id, let generation, _):
            guard let run = runs[id], run.generation == generation else { return }
            runs[id] = nil
            if !run.wasSignalled { crashed(run, isOfRelease: false, time) }
        case .commanded(_, .breaker, _):
            for name in crashes.keys.sorted() { crashes[name]?.all = [] }
            // Without a connection it counts here alone for a while.
            if !isLinked { looseUntil = max(looseUntil, now + 20_000_000_000) }
        case .commanded, .reconfigured: replacesUntil = now + 120_000_000_000
        default: break
        }
    }

    private mutating func hearAnswer(_ operation: BreakerOperation, _ at: Int64, _ verdict: LedgerVerdict) {
        switch (operation, verdict) {
        case (.lease(let name, _, _), .granted(let token, let span)),
            (.renew(let name, _), .granted(let token, let span)):
            leases[name] = Lease(token: token, until: max(leases[name]?.until ?? 0, at + span))
        case (.renew(let name, _), _), (.result(let name, _, _, _, _, _), _): leases[name] = nil
        default: break
        }
    }

    private mutating func merge(_ entry: BreakerEntry, _ time: Int64) {
        let known = view[entry.name] ?? BreakerRegister()
        if known.precedes(entry.register) {
            view[entry.name] = entry.register
            // What the fleet decides, the host finds nothing more about.
            crashes[entry.name]?.all = []
            // What was a probe of this host's own is a run as any other.
            if known.state == .closed {
                for id in runs.keys.sorted() where runs[id]?.breaker == entry.name { runs[id]?.isProbe = false }
            }
        }
        let override = overrides[entry.name] ?? BreakerOverride()
        if override.precedes(entry.override) { overrides[entry.name] = entry.override }
    }

    private mutating func crashed(_ run: Run, isOfRelease: Bool, _ time: Int64) {
        var known = crashes[run.breaker] ?? Crashes()
        // A long run may have been stable: what came before may count or not.
        if time - run.startedAt > 15_000 { known.all = [] }
        known.all.append(time)
        if isOfRelease { known.ofRelease.append(time) }
        if known.ofRelease.count > 64 { known.ofRelease.removeFirst(32) }
        crashes[run.breaker] = known
    }

    private mutating func ask(_ request: StoreRequest, _ time: Int64) throws {
        asked[request.number] = (request.operation, time)
        switch request.operation {
        case .restore(let name, let register, let override):
            if (view[name] ?? BreakerRegister()).precedes(register) { view[name] = register }
            if (overrides[name] ?? BreakerOverride()).precedes(override) { overrides[name] = override }
        case .vote(let name, let grade, _, _, _): try checkVote(name, grade)
        case .result(let name, _, _, _, _, _): leases[name] = nil
        default: break
        }
    }

    /// Rule S19 and S16: what operators decide is asked of the store because they did.
    func checkAsked(_ event: Event, _ request: StoreRequest) throws {
        switch request.operation {
        case .force, .reset:
            if case .commanded = event { return }
            throw ShadowViolation("S19: \(request.operation) was asked because of \(event)")
        default: break
        }
    }

    /// Rule S6.
    private mutating func checkVote(_ name: String, _ grade: BreakerGrade) throws {
        let before = votes[name] ?? .none
        votes[name] = grade
        if grade <= before { return }
        guard name.hasPrefix("service:") else {
            if badCalls[name] ?? 0 > 0 { return }
            throw ShadowViolation("S6: a vote on \(name), of which no call has failed here")
        }
        guard let service = spec.services.first(where: { name.hasPrefix("service:\($0.name)@") }) else { return }
        let threshold = service.breaker.crashThreshold
        let needed = grade == .suspect ? 2 : (threshold + 1) / 2
        let window = service.breaker.crashWindow.clampedNanoseconds / 1_000_000
        let times = crashes[name]?.ofRelease ?? []
        // Since a takeover the books and the core may differ in what they have seen.
        for (index, time) in times.enumerated() where index + needed <= times.count {
            if times[index + needed - 1] - time <= window { return }
        }
        if times.isEmpty || needed > 1 || threshold > 1 {
            throw ShadowViolation("S6: a vote (\(grade)) on \(name) after \(times.count) crashes of the release")
        }
    }

    private mutating func record(
        _ subject: String?,
        _ kind: String,
        _ text: String,
        _ now: Int64,
        _ tally: inout FleetTally
    ) {
        switch kind {
        case "store-down":
            isIsland = true
            looseUntil = .max
            tally.count(.islandEntered)
        case "store-up":
            isIsland = false
            islandLeftAt = now
            looseUntil = now + 20_000_000_000
            tally.count(.islandLeft)
        case "held": tally.count(.startHeld)
        case "probe": tally.count(.probeStarted)
        case "probe-lost":
            tally.count(.fenced)
            for id in runs.keys where text.hasPrefix("\(id) ") { fenced.insert(id) }
        case "breaker-open": if text.contains("on this host alone") { tally.count(.openedAlone) }
        case "breaker-auto", "breaker-closed", "breaker-overruled":
            for service in spec.services where text.contains("service:\(service.name)@") {
                closedAt[service.name] = now
            }
            // Closed on its own, which a store that has nothing is not told.
            for name in view.keys.sorted() where now <= looseUntil && text.hasPrefix("the breaker \(name) is closed") {
                view[name]?.state = .closed
            }
        default: break
        }
        if kind == "held", text.contains("turn to start comes") { tally.count(.ramped) }
    }

    // MARK: Rules of one turn

    /// Rule S14: nothing that runs is ended because a breaker moved, but a probe that lost its lease.
    mutating func checkSignals(_ event: Event, _ effects: [Effect], at now: Int64) throws {
        var lost: [String] = []
        for effect in effects {
            if case .record(_, "probe-lost", let text) = effect { lost.append(text) }
        }
        for effect in effects {
            let id: InstanceID
            switch effect {
            case .signal(let signalled, _, _, _): id = signalled
            case .endTree(let ended, _): id = ended
            default: continue
            }
            defer { runs[id]?.wasSignalled = true }
            if case .timerFired(let token) = event, token.instance == id, token.purpose == .startTimeout {
                runs[id]?.isLate = true
            }
            if runs[id]?.wasSignalled == true || now < replacesUntil { continue }
            if lost.contains(where: { $0.hasPrefix("\(id) ") }) { continue }
            switch event {
            // Its start took too long, or a takeover goes on with what was begun.
            case .timerFired(let token) where token.instance == id: continue
            case .shimConnected: continue
            default: throw ShadowViolation("S14: \(id) is ended, because of \(event)")
            }
        }
    }

    /// Rule S4: what is started while its breaker does not let it is its probe, under a lease that holds.
    private mutating func checkSpawn(
        _ id: InstanceID,
        _ generation: UInt64,
        _ host: FleetHost,
        _ after: [String: Seen],
        _ time: Int64,
        _ now: Int64,
        _ tally: inout FleetTally
    ) throws {
        guard let service = spec.services.first(where: { $0.name == id.service }) else { return }
        let name = "service:\(service.name)@\(host.release(of: service))"
        // The core learns of another program a little later.
        guard let seen = after[name] else { return }
        defer {
            let isProbe = seen.state == .halfOpen
            runs[id] = Run(generation: generation, breaker: name, startedAt: time, isProbe: isProbe)
        }
        if seen.state == .open || seen.state == .forcedOpen {
            throw ShadowViolation("S4: \(id) is started while its breaker is \(seen.state.rawValue)")
        }
        let mode = overrides[name]?.mode ?? .auto
        let state = view[name]?.state ?? .closed
        if seen.state == .halfOpen {
            let others = runs.keys.sorted().filter { other in
                guard let run = runs[other], run.breaker == name, run.isProbe, !run.wasSignalled else { return false }
                return time - run.startedAt < 15_000 && other != id
            }
            if let other = others.first { throw ShadowViolation("S8: \(id) is a probe beside \(other)") }
        }
        guard now > looseUntil, !isIsland, mode == .auto, state != .closed else { return }
        guard let lease = leases[name], lease.until > time else {
            throw ShadowViolation("S4: \(id) is started without a lease that holds, while \(name) is \(state)")
        }
    }

    /// Rule O1: every transition of the fleet's that the host has learned of is told once.
    private func checkTold(
        _ before: [String: BreakerRegister],
        _ said: [String],
        _ host: FleetHost,
        _ after: [String: Seen],
        at now: Int64
    ) throws {
        // A daemon that has just begun knows more than these books do: what was remembered.
        if now - daemonBeganAt < 20_000_000_000 { return }
        let present = spec.services.map { "service:\($0.name)@\(host.release(of: $0))" }
        for name in present + spec.dependencies.map(\.name) where after[name] != nil {
            let (old, new) = (before[name] ?? BreakerRegister(), view[name] ?? BreakerRegister())
            let opened = new.state == .open && (old.state != .open || old.openCount != new.openCount) ? 1 : 0
            let closed = new.state == .closed && old.state != .closed ? 1 : 0
            let openTold = said.count { $0.hasPrefix("the breaker \(name) is open") }
            let closedTold = said.count { $0.hasPrefix("the breaker \(name) is closed") }
            if openTold == opened, closedTold == closed { continue }
            throw ShadowViolation(
                "O1: \(name): \(opened) opened and \(closed) closed, but \(openTold) and \(closedTold) were told of"
            )
        }
    }

    // MARK: Calls

    mutating func workerGone(_ worker: UInt64) {}

    mutating func reported(_ call: FleetCall, _ outcome: CallOutcome) {
        if outcome == .failed || call.microseconds >= 2_000_000 { badCalls[call.dependency, default: 0] += 1 }
    }

    /// Rules S4 and S16, for calls.
    mutating func checkCall(
        _ name: String,
        _ answer: CallAnswer?,
        _ host: FleetHost,
        at now: Int64,
        _ tally: inout FleetTally
    ) throws {
        let time = (now + host.clockAhead) / 1_000_000
        let mode = overrides[name]?.mode ?? .auto
        let state = view[name]?.state ?? .closed
        let isLoose = now <= looseUntil || isIsland
        switch answer {
        case .allowed:
            tally.count(.callAllowed)
            if isLoose { return }
            if mode == .forceOpen || (mode == .auto && state != .closed) {
                throw ShadowViolation("S4: \(host.name): a call of \(name) is let through: \(state), \(mode)")
            }
        case .probe:
            tally.count(.callProbe)
            if isLoose || state == .closed { return }
            if mode == .auto, leases[name]?.until ?? 0 > time { return }
            throw ShadowViolation("S4: \(host.name): a probe of \(name) is let through without a lease that holds")
        case .denied(_, let reason):
            switch reason {
            case "open": tally.count(.callDeniedOpen)
            case "half-open": tally.count(.callDeniedHalfOpen)
            default: tally.count(.callDeniedForced)
            }
            if !isLoose, mode == .forceClosed { throw ShadowViolation("S16: \(name) is forced closed, and denied") }
        case nil: break
        }
    }
}
