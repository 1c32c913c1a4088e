/// One instance: decides what happens to it, one method per event. `FleetMachine` is its only caller.
///
/// Rules it keeps: P1 (a start is asked only in a state without process), P3 (a failed start is a crash like any
/// other), P4 (the caller has checked the generation).
struct InstanceMachine: Sendable, Equatable {
    let id: InstanceID
    /// Index of its service; nil when no service asks for it any more.
    var service: Int?
    var policy: InstancePolicy
    /// What outlives the daemon: all there is, but for what follows.
    var memory: RememberedInstance
    /// The fleet is being stopped: nothing is started any more (rule P5).
    var shutdown = false
    /// A drain covers it: it is not judged any more, since its end is near.
    var isLeaving = false
    /// Connections to its port, while it is leaving.
    var traffic = TrafficView()
    /// When the worker last showed that it lives. A daemon that takes over begins a new period.
    var lastHeartbeat: MonotonicInstant
    /// When a heartbeat that is late was last looked at.
    var lookedAt: MonotonicInstant?
    /// What the probes of the present run found, in a row. A daemon that takes over counts anew.
    var trackers = PerProbe(ProbeTracker())
    /// Probes that are being run.
    var watched: [ProbeKey] = []
    /// A restart for health that is not done, and a change of readiness that is not made (rule I10).
    var restartSuppressed: Suppression?
    var readinessSuppressed: Suppression?
    /// The run that ended in this turn, until the fleet has told its breaker of it.
    var endedRun: EndedRun?
    /// The timer that runs, if one does.
    var timer: Timer?
    private var timerNumber: UInt64 = 0

    /// How a run ended, for the breaker of its release.
    struct EndedRun: Sendable, Equatable {
        var breaker: String
        var generation: Generation
        /// nil where nobody can say: it was asked to end, or lost with the shim.
        var cause: ExitCause?
        var success = false
        /// It came to nothing on its own, and its policy starts it again.
        var isRestarted = false
        var startedAt: MonotonicInstant
        var wasStable = false
    }

    struct Timer: Sendable, Equatable {
        var token: TimerToken
        var deadline: MonotonicInstant
    }

    init(id: InstanceID, service: Int?, policy: InstancePolicy, now: MonotonicInstant) {
        self.id = id
        self.service = service
        self.policy = policy
        memory = RememberedInstance(state: .waiting, since: now)
        lastHeartbeat = now
    }

    /// What keeps it from running; nil when it is meant to run.
    var obstacle: InstanceState.StopReason? {
        if memory.stopIntent != nil || service == nil { return .intent }
        if shutdown { return .shutdown }
        return memory.isDrained ? .drained : nil
    }

    var state: InstanceState { memory.state }
    var generation: Generation { memory.generation }

    /// It may be given work, as far as its own state and its readiness probe tell.
    var isReady: Bool {
        switch state {
        case .completed: true
        case .ready: memory.run?.servingAt != nil && (policy.readiness == nil || memory.run?.readiness == .passing)
        case .stopped, .waiting, .queued, .held, .starting, .running, .stopping, .backoff, .failed: false
        }
    }

    /// It has been ready once in the present run, and may be so again.
    var hasServed: Bool {
        switch state {
        case .completed: true
        case .ready, .running: memory.run?.servingAt != nil
        case .stopped, .waiting, .queued, .held, .starting, .stopping, .backoff, .failed: false
        }
    }

    mutating func transition(to state: InstanceState, _ turn: inout Turn) {
        memory.state = state
        memory.since = turn.now
    }

    // MARK: Timer

    /// The one moment at which the state asks to be looked at, and why.
    var deadline: (purpose: TimerToken.Purpose, at: MonotonicInstant)? {
        switch state {
        case .starting(let deadline): (.startTimeout, deadline)
        case .stopping(let stop): stop.graceEnds.map { (.gracePeriod, $0) }
        case .backoff(let until): (.backoff, until)
        case .ready, .running: earliest(heartbeatDue, readinessDue, releaseDue)
        case .stopped, .waiting, .queued, .held, .completed, .failed: nil
        }
    }

    /// nil where no heartbeat is asked for; a worker turns its own off by `WATCHDOG_USEC=0`, as with systemd.
    var watchdogPeriod: Duration? {
        (memory.run?.watchdog ?? policy.watchdog).flatMap { $0 > .zero ? $0 : nil }
    }

    /// Its heartbeats count, so that its timer may be for an earlier one than the state is due at.
    private var mayBeat: Bool { (state == .ready || state == .running) && watchdogPeriod != nil }

    private typealias Due = (purpose: TimerToken.Purpose, at: MonotonicInstant)

    private func earliest(_ candidates: Due?...) -> Due? {
        var first: Due?
        for case let due? in candidates where first.map({ due.at < $0.at }) ?? true { first = due }
        return first
    }

    private var heartbeatDue: Due? {
        guard let period = watchdogPeriod else { return nil }
        guard memory.run?.heartbeatLate == true else { return (.watchdog, lastHeartbeat.advanced(by: period)) }
        // Once late, it is looked at when a restart may be due, and then from time to time: it may have been put off.
        let ripe = max(
            lastHeartbeat.advanced(by: max(period, HealthLimits.restartSpan)),
            memory.lastTroubleAt?.advanced(by: HealthLimits.restartPause) ?? lastHeartbeat
        )
        guard let lookedAt, lookedAt >= ripe else { return (.watchdog, ripe) }
        return (.watchdog, lookedAt.advanced(by: HealthLimits.restartRetry))
    }

    private var readinessDue: Due? {
        guard state == .ready, policy.readiness != nil, let run = memory.run, run.servingAt == nil,
            !run.readinessOverdue
        else { return nil }
        return (.readinessOverdue, run.startedAt.advanced(by: policy.startupTimeout))
    }

    private var releaseDue: Due? {
        guard policy.readiness != nil else { return nil }
        return memory.flaps?.releaseAt.map { (.flapRelease, $0) }
    }

    /// Makes the running timer fit the state. A watchdog's timer is left to run where a later moment is wanted: what
    /// is due is looked at when it fires, so that a heartbeat costs no timer.
    mutating func fitTimer(_ turn: inout Turn) {
        guard let wanted = deadline else {
            if let timer { turn.act(.cancelTimer(timer.token)) }
            timer = nil
            return
        }
        if let timer {
            if timer.token.purpose == wanted.purpose, timer.deadline == wanted.at { return }
            if timer.token.purpose == .watchdog, mayBeat, timer.deadline <= wanted.at { return }
        }
        if let timer { turn.act(.cancelTimer(timer.token)) }
        timerNumber &+= 1
        let token = TimerToken(instance: id, purpose: wanted.purpose, number: timerNumber)
        timer = Timer(token: token, deadline: wanted.at)
        turn.act(.startTimer(token, at: wanted.at))
    }

    // MARK: Notify protocol

    mutating func notified(_ message: NotifyMessage, _ turn: inout Turn) {
        guard memory.run != nil else { return }
        if let text = message.status { memory.run?.statusText = text.isEmpty ? nil : text }
        if let count = message.inFlight { memory.run?.inFlight = count }
        if let microseconds = message.watchdogUsec, policy.watchdog != nil || watchdogPeriod != nil {
            memory.run?.watchdog = .microseconds(Int64(clamping: min(microseconds, 86_400_000_000)))
        }
        if let signal = message.watchdog { heartbeat(signal, &turn) }
        if let time = message.extendTimeout { extend(by: time, &turn) }
        if message.reloading { memory.run?.reloading = true }
        if message.ready { saidReady(&turn) }
        if message.stopping { saidStopping(&turn) }
    }

    /// What `WATCHDOG=trigger` leads to, the fleet decides: rules I4, I5 and I9 have their say.
    private mutating func heartbeat(_ signal: NotifyMessage.WatchdogSignal, _ turn: inout Turn) {
        guard signal == .alive else { return }
        lastHeartbeat = turn.now
        if memory.run?.heartbeatLate == true {
            memory.since = turn.now
            memory.run?.heartbeatLate = false
            lookedAt = nil
            turn.note(id, "heartbeat", "\(id) gives a heartbeat again")
        }
    }

    private mutating func saidReady(_ turn: inout Turn) {
        memory.run?.reloading = false
        switch state {
        case .starting where policy.kind == .notify: becomeReady(&turn)
        case .running: transition(to: .ready, &turn)
        // A simple service is ready already; a oneshot is when it has ended; one that is being stopped stays so.
        case .starting, .ready, .stopping, .stopped, .waiting, .queued, .held, .backoff, .completed, .failed: break
        }
    }

    private mutating func saidStopping(_ turn: inout Turn) {
        switch state {
        case .ready:
            transition(to: .running, &turn)
            turn.note(id, "leaving", "\(id) says that it is stopping")
        // Before it was ready it takes no work anyway; else it is known already, or nothing is there to stop.
        case .starting, .running, .stopping, .stopped, .waiting, .queued, .held, .backoff, .completed, .failed: break
        }
    }

    private mutating func extend(by time: Duration, _ turn: inout Turn) {
        let limit: (Duration) -> MonotonicInstant = { [since = memory.since] configured in
            since.advanced(by: configured).advanced(by: CoreLimits.maximumExtension)
        }
        switch state {
        case .starting(let deadline):
            let asked = min(turn.now.advanced(by: time), limit(policy.startupTimeout))
            memory.state = .starting(deadline: max(deadline, asked))
        case .stopping(var stop):
            guard let ends = stop.graceEnds else { return }
            let asked = min(turn.now.advanced(by: time), limit(policy.stopGracePeriod))
            stop.graceEnds = max(ends, min(asked, stop.latest ?? asked))
            memory.state = .stopping(stop)
        // Nothing is being waited for.
        case .ready, .running, .stopped, .waiting, .queued, .held, .backoff, .completed, .failed: break
        }
    }
}
