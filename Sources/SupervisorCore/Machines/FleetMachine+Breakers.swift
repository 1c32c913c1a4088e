// The breakers' place in the fleet: the gate before every start, and what runs tell them.
extension FleetMachine {
    // MARK: Releases

    /// Gives every service the breaker of the release that it is to run.
    mutating func seatServices(_ now: MonotonicInstant) {
        for index in services.indices {
            let spec = services[index].spec
            let release = release(of: spec)
            let before = services[index].seat
            let seat = breakers.seat(of: spec, release: release, at: now.milliseconds)
            services[index].release = release
            services[index].seat = seat
            if before != seat { breakers.moved = true }
        }
        let present = services.map(\.seat)
        for seat in breakers.seats.indices where breakers.seats[seat].kind == .service {
            breakers.retire(seat, !present.contains(seat), now.milliseconds)
        }
    }

    private func release(of spec: ServiceSpec) -> String {
        if !spec.release.isEmpty { return spec.release }
        let command = ReleaseName.digest(spec.command)
        guard let known = releases[spec.name], known.command == command else { return command }
        return known.release
    }

    /// The programs are other ones than before.
    mutating func releasesIdentified(_ found: [String: String], _ turn: inout Turn) {
        for (index, service) in services.enumerated() {
            guard let release = found[service.name], service.spec.release.isEmpty else { continue }
            let command = ReleaseName.digest(service.spec.command)
            releases[service.name] = RememberedBreakers.Release(
                service: service.name,
                command: command,
                release: release
            )
            if release == service.release { continue }
            let wasHeld = service.slots.contains { instances[$0].state == .held }
            if wasHeld { turn.tell(service.name, "release", "\(service.name): another release is there (\(release))") }
            markDirty(service: index)
        }
        breakers.isWorthSaving = true
        seatServices(turn.now)
        breakers.moved = true
    }

    // MARK: The gate

    /// It is its turn: it is started, or its breaker holds it.
    mutating func startOrHold(_ slot: Int, _ turn: inout Turn) {
        guard let service = instances[slot].service else { return }
        let seat = services[service].seat
        let breaker = breakers.seats[seat].name
        switch gate(ofService: service, at: turn.now) {
        case .pass: update(slot: slot, &turn) { $0.begin(breaker: breaker, &$1) }
        case .probe:
            breakers.probeBegan(seat, instances[slot].id, instances[slot].generation &+ 1)
            // A successor must know whose probe it is, or it would start another.
            rememberBreakers(&turn)
            update(slot: slot, &turn) { $0.begin(breaker: breaker, &$1) }
        case .deny:
            update(slot: slot, &turn) { $0.hold(&$1) }
            turn.note(instances[slot].id, "held", "\(instances[slot].id) is not started: \(heldText(slot))")
        }
    }

    /// Whether one more instance of a service may be started now: what is asked right before every start. Counts.
    ///
    /// - Parameter service: its place in the configuration, below `serviceCount`.
    public mutating func gate(ofService service: Int, at now: MonotonicInstant) -> GateAnswer {
        breakers.gate(services[service].seat, at: now.milliseconds)
    }

    /// What the breaker of an instance's service says, for operators.
    func heldText(_ slot: Int) -> String {
        guard let service = instances[slot].service else { return "its breaker is open" }
        let seat = breakers.seats[services[service].seat]
        let register = breakers.register(seat.name)
        let because = register.reason.isEmpty ? "" : " (\(register.reason))"
        switch seat.standing {
        case .forcedOpen: return "its breaker was forced open by \(breakers.override(seat.name).actor)"
        case .halfOpen:
            guard let lease = register.leases.first else { return "its breaker is half-open\(because)" }
            return "its breaker is half-open: a probe is made by \(lease.host)"
        case .ramping: return "its breaker is closed again: this host's turn to start comes soon"
        case .open, .closed, .ignored: return "its breaker is open\(because)"
        }
    }

    /// A running worker is not ended where its breaker would not let it come back.
    func refusalOfReplacement(_ slot: Int) -> String? {
        guard let service = instances[slot].service, instances[slot].state.hasProcess,
            !breakers.wouldPass(services[service].seat)
        else { return nil }
        let name = breakers.seats[services[service].seat].name
        return "\(instances[slot].id) would not be started again: \(heldText(slot)); "
            + "use eiderctl breaker force-closed \(name) first"
    }

    // MARK: What runs tell

    /// A run has ended, and how says something of its release, or not.
    mutating func runEnded(_ slot: Int, _ ended: InstanceMachine.EndedRun, _ turn: inout Turn) {
        guard let seat = breakers.seatOf[ended.breaker] else { return }
        let id = instances[slot].id
        let now = turn.now.milliseconds
        let kind = ended.cause.map { crashKind(slot, $0) } ?? .ofHost
        let how = "\(id) \(instances[slot].memory.lastExit?.inWords ?? "ended")"
        if breakers.probed(by: id, ended.generation) == seat {
            let verdict: ProbeVerdict =
                ended.cause == nil
                ? .inconclusive : ended.success ? .succeeded : kind == .ofHost ? .inconclusive : .failed
            return breakers.conclude(seat, verdict, how, now)
        }
        guard let cause = ended.cause else { return }
        let uptime = (instances[slot].memory.lastExit?.at ?? turn.now).since(ended.startedAt)
        let isTooShort = ended.isRestarted && uptime.inMilliseconds < BreakerLimits.minimumUptime
        if ended.wasStable { breakers.wasStable(seat, at: now) }
        if ended.success, cause == .exit, !isTooShort || instances[slot].policy.kind == .oneshot { return }
        breakers.crashed(seat, kind, how, at: now)
        turn.act(.identifyReleases([id.service]))
    }

    /// Whether the host, and not the release, is to blame (rule S6).
    private func crashKind(_ slot: Int, _ cause: ExitCause) -> CrashKind {
        switch cause {
        case .spawn:
            guard case .spawnFailed(let failure)? = instances[slot].memory.lastExit?.outcome else { return .ofHost }
            return failure.isOfRelease ? .ofRelease : .ofHost
        case .oom:
            // Without a bound of its own the memory that was short was the host's.
            let service = instances[slot].service.map { services[$0].spec }
            return service?.resources.memoryMax == nil ? .ofHost : .ofRelease
        case .exit, .signal, .startupTimeout, .liveness, .watchdog, .operator: return .ofRelease
        }
    }

    /// A probe counts as ready from when its instance does.
    mutating func followProbe(_ slot: Int, _ now: MonotonicInstant) {
        guard let service = instances[slot].service else { return }
        let seat = services[service].seat
        guard seat >= 0 else { return }
        // Whom its breaker may hold, or have as a witness, has changed.
        if !breakers.wouldPass(seat) { breakers.moved = true }
        guard let run = breakers.seats[seat].claim.hold?.run, run.instance == instances[slot].id,
            run.generation == instances[slot].generation
        else { return }
        breakers.readyChanged(seat, isReady: instances[slot].isReady, now.milliseconds)
    }

    private func isRun(_ run: ProbeHold.Run, _ slot: Int) -> Bool {
        instances[slot].generation == run.generation && instances[slot].state.hasProcess
    }

    /// Probes whose runs ended while no daemon was there to say so.
    mutating func reconcileProbes(_ now: MonotonicInstant) {
        for seat in breakers.seats.indices {
            guard let run = breakers.seats[seat].claim.hold?.run else { continue }
            if let slot = slotOf[run.instance], isRun(run, slot) {
                followProbe(slot, now)
                continue
            }
            breakers.conclude(seat, .inconclusive, "the daemon died over it", now.milliseconds)
        }
    }

    // MARK: What follows

    /// Carries out what the breakers have decided in this turn, before anything is started.
    mutating func settleBreakers(_ turn: inout Turn) {
        guard adopted else { return }
        if breakers.moved { fitWitnesses(turn.now) }
        for run in breakers.fenced {
            guard let slot = slotOf[run.instance], isRun(run, slot) else { continue }
            update(slot: slot, &turn) { $0.requestStop(cause: .operator, &$1) }
        }
        breakers.fenced = []
        if breakers.moved { releaseHeld(&turn) }
    }

    /// What is held is queued where the gate has opened, or where it may be the probe.
    private mutating func releaseHeld(_ turn: inout Turn) {
        for index in services.indices {
            let seat = services[index].seat
            let held = services[index].slots.filter { instances[$0].state == .held }
            if held.isEmpty { continue }
            if breakers.wouldPass(seat) {
                for slot in held { update(slot: slot, &turn) { $0.unhold(&$1) } }
            } else if breakers.hasFreeProbe(seat), let first = held.first,
                !services[index].slots.contains(where: { instances[$0].state == .queued })
            {
                update(slot: first, &turn) { $0.unhold(&$1) }
            }
        }
        for index in services.indices where breakers.hasFreeProbe(services[index].seat) {
            letWitnessProbe(index, turn.now)
        }
    }

    /// Nobody is to be started, and one that runs may show that its release works.
    private mutating func letWitnessProbe(_ index: Int, _ now: MonotonicInstant) {
        let seat = services[index].seat
        if services[index].slots.contains(where: { isForStart($0) }) { return }
        guard let slot = services[index].slots.first(where: { isWitness($0, of: seat) }) else { return }
        breakers.probeBegan(seat, instances[slot].id, instances[slot].generation, wasRunning: true)
        followProbe(slot, now)
    }

    private func isForStart(_ slot: Int) -> Bool { instances[slot].state == .held || instances[slot].state == .queued }

    private func isWitness(_ slot: Int, of seat: Int) -> Bool {
        instances[slot].state == .ready && instances[slot].isReady && !instances[slot].isLeaving
            && instances[slot].memory.run?.breaker == breakers.seats[seat].name
    }

    /// Says what is to be remembered, asked and told; after everything else that the turn decided.
    mutating func flushBreakers(_ turn: inout Turn) {
        guard adopted else { return }
        if breakers.moved { fitWants(turn.now) }
        if breakers.isWorthSaving { rememberBreakers(&turn) }
        for request in breakers.outbox { turn.act(.askStore(request)) }
        breakers.outbox = []
        for note in breakers.notes { turn.tell(note.subject, note.kind, note.text) }
        breakers.notes = []
    }

    private mutating func rememberBreakers(_ turn: inout Turn) {
        breakers.isWorthSaving = false
        let remembered = breakers.remembered(releases: releases.keys.sorted().compactMap { releases[$0] })
        turn.act(.rememberBreakers(remembered))
        if remembered.durable != savedBreakers { intentsMoved = true }
    }

    /// Operations that the store had to answer.
    mutating func finishBreakerCommands(_ turn: inout Turn) {
        for (operation, result) in breakers.finished { turn.act(.finishOperation(operation, result)) }
        breakers.finished = []
    }

    private mutating func fitWitnesses(_ now: MonotonicInstant) {
        for index in services.indices {
            let seat = services[index].seat
            if breakers.wouldPass(seat) { continue }
            breakers.witness(seat, services[index].slots.contains { isWitness($0, of: seat) }, now.milliseconds)
        }
    }

    private mutating func fitWants(_ now: MonotonicInstant) {
        breakersMoved = true
        troubleIsOld = true
        for index in services.indices {
            let seat = services[index].seat
            let state = breakers.publicState(seat)
            if state != services[index].breakerState || !breakers.wouldPass(seat) {
                services[index].breakerState = state
                markDirty(service: index)
            }
            let probing = breakers.seats[seat].claim.hold?.run?.instance
            let isWanted = services[index].slots.contains { isForStart($0) || instances[$0].id == probing }
            if !breakers.wouldPass(seat) { breakers.want(seat, isWanted, now.milliseconds) }
        }
        breakersDeadline = breakers.deadline
        looksForReleases = services.contains { isHeldByRelease($0) }
        breakers.moved = false
    }

    /// Another program in the place of the one before would set it free.
    private func isHeldByRelease(_ service: Service) -> Bool {
        service.spec.release.isEmpty && service.slots.contains { instances[$0].state == .held }
    }

    /// Something is due by the clock.
    mutating func advanceBreakers(_ turn: inout Turn) {
        breakers.advance(to: turn.now.milliseconds)
        if looksForReleases, turn.now.since(releasesAskedAt) >= Self.releasePoll {
            releasesAskedAt = turn.now
            turn.act(.identifyReleases(services.filter { isHeldByRelease($0) }.map(\.name)))
        }
    }

    /// How often it is looked whether the program of a service that is held was replaced.
    private static let releasePoll: Duration = .seconds(1)

    /// When the breakers want to be looked at.
    func breakersDue(_ now: MonotonicInstant) -> MonotonicInstant? {
        let due = breakersDeadline.map { MonotonicInstant(milliseconds: $0) }
        let poll = looksForReleases ? releasesAskedAt.advanced(by: Self.releasePoll) : nil
        return [due, poll].compactMap { $0 }.min()
    }

    // MARK: Operators

    mutating func act(
        _ action: BreakerAction,
        onBreaker name: String,
        as operation: OperationID,
        by caller: String,
        reason: String?,
        _ turn: inout Turn
    ) {
        guard let seat = breakerSeat(named: name) else {
            turn.act(.finishOperation(operation, .unknownTarget(name)))
            return
        }
        breakers.act(action, on: seat, by: caller, reason: reason, as: operation, at: turn.now.milliseconds)
        let text = reason.map { ": \($0)" } ?? ""
        turn.tell(nil, "breaker-asked", "\(caller) asked to \(action.inWords) \(breakers.seats[seat].name)\(text)")
    }

    /// By its full name, or a service's for its present release.
    private func breakerSeat(named name: String) -> Int? {
        if let seat = breakers.seatOf[name] { return seat }
        let service = name.hasPrefix("service:") ? String(name.dropFirst("service:".count)) : name
        return services.first { $0.name == service && !$0.isRemoved }?.seat
    }

    /// What a shim holds has been taken over.
    public var isAdopted: Bool { adopted }

    /// As whom this host speaks to the shared store; its predecessor's, once that is taken over.
    public var ledgerCaller: LedgerCaller { breakers.caller }

    // MARK: Workers' calls

    /// Whether a worker may call a dependency now. `worker` is any number that stands for its connection.
    ///
    /// - Returns: nil where the name cannot be used, or no room is left for another breaker: it may, uncounted.
    public mutating func ask(
        dependency name: String,
        worker: UInt64,
        at now: MonotonicInstant
    ) -> CallAnswer? {
        guard DependencyName.isValid(name) else { return nil }
        return breakers.ask(name, worker: worker, at: now.milliseconds)
    }

    /// How a call ended that a worker was allowed to make.
    public mutating func report(
        dependency name: String,
        pass: UInt64,
        worker: UInt64,
        _ outcome: CallOutcome,
        microseconds: Int64,
        at now: MonotonicInstant
    ) {
        breakers.report(
            name,
            pass: pass,
            worker: worker,
            outcome,
            microseconds: microseconds,
            at: now.milliseconds
        )
    }

    /// The worker's connection is gone.
    public mutating func workerGone(_ worker: UInt64, at now: MonotonicInstant) {
        breakers.workerGone(worker, at: now.milliseconds)
    }

    /// Whether what workers asked or reported has moved a breaker: `Event.callsSettled` is due.
    public var hasCallsToSettle: Bool { breakers.moved || !breakers.outbox.isEmpty || !breakers.notes.isEmpty }

    /// What calls have counted is to be seen: `takeChangedBreakers` has something again.
    public mutating func showCalls() { breakersMoved = true }

    // MARK: Status

    /// All breakers, where something of them has changed since the last call.
    public mutating func takeChangedBreakers(at now: MonotonicInstant) -> BreakersStatus? {
        if !breakersMoved { return nil }
        breakersMoved = false
        return breakersStatus(at: now)
    }

    /// All breakers: those of the services' present releases, those of others that are not closed, and dependencies'.
    public func breakersStatus(at now: MonotonicInstant) -> BreakersStatus {
        var status = breakers.storeStatus()
        let time = now.milliseconds
        let present = services.filter { !$0.isRemoved }.map(\.seat)
        status.breakers = present.map { breakers.status(ofSeat: $0, at: time) }
        var others: [BreakerStatus] = []
        for index in breakers.seats.indices where !present.contains(index) {
            let seat = breakers.seats[index]
            if seat.kind == .service, breakers.publicState(index) == .closed { continue }
            others.append(breakers.status(ofSeat: index, at: time))
        }
        status.breakers += others.sorted { ($0.kind.rawValue, $1.name) > ($1.kind.rawValue, $0.name) }
        return status
    }

    /// What is shared and does not work: in one clause; nil where all is well.
    func sharedTrouble() -> String? {
        if breakers.isIsland {
            let problem = breakers.storeStatus().storeProblem.map { " (\($0))" } ?? ""
            return "breakers act on this host alone: Redis is not there\(problem)"
        }
        for index in breakers.seats.indices where breakers.seats[index].kind == .dependency {
            let state = breakers.publicState(index)
            if state == .open || state == .halfOpen || state == .forcedOpen {
                return "the breaker of \(breakers.seats[index].name) is \(state.rawValue)"
            }
        }
        return nil
    }
}

extension BreakerAction {
    /// To stand after "asked to", before the breaker's name.
    var inWords: String {
        switch self {
        case .forceOpen: "force open"
        case .forceClosed: "force closed"
        case .auto: "hand back"
        case .reset: "reset"
        }
    }
}

extension SpawnFailure {
    /// The program itself is to blame: it is there, and cannot be executed by any host.
    var isOfRelease: Bool {
        // ENOEXEC, and EINVAL for an interpreter that does not fit.
        stage == .execute && (errno == 8 || errno == 22)
    }
}
