/// One instance: decides what happens to it, one method per event. `FleetMachine` is its only caller.
///
/// Rules it keeps: P1 (a start is asked only in a state without process), P3 (a failed start is a crash like any
/// other), P4 (the caller has checked the generation).
struct InstanceMachine: Sendable, Equatable {
    let id: InstanceID
    /// Index of its service; nil when no service asks for it any more.
    let service: Int?
    var policy: InstancePolicy
    /// What outlives the daemon: all there is, but for the three below.
    var memory: RememberedInstance
    /// The fleet is being stopped: nothing is started any more (rule P5).
    var shutdown = false
    /// When the worker last showed that it lives. A daemon that takes over begins a new period.
    var lastHeartbeat: MonotonicInstant
    /// The timer that runs, if one does.
    var timer: Timer?
    private var timerNumber: UInt64 = 0

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

    var state: InstanceState { memory.state }
    var generation: Generation { memory.generation }

    /// It may be given work.
    var isReady: Bool { state == .ready || state == .completed }

    /// Whether an `after` on this instance's service is satisfied by it.
    var satisfiesDependents: Bool { isReady || state == .running }

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
        case .ready, .running: watchdogPeriod.map { (.watchdog, watchdogDeadline($0)) }
        case .stopped, .waiting, .queued, .completed, .failed: nil
        }
    }

    /// nil where no heartbeat is asked for; a worker turns its own off by `WATCHDOG_USEC=0`, as with systemd.
    private var watchdogPeriod: Duration? {
        (memory.run?.watchdog ?? policy.watchdog).flatMap { $0 > .zero ? $0 : nil }
    }

    private func watchdogDeadline(_ period: Duration) -> MonotonicInstant {
        // Once late, it is looked at again from time to time, in case the restart had to be put off.
        lastHeartbeat.advanced(by: memory.run?.heartbeatLate == true ? CoreLimits.healthRestartRetry : period)
    }

    /// Makes the running timer fit the state. A watchdog whose deadline only moved further away is left to run: it
    /// finds out when it fires, so that a heartbeat costs no timer.
    mutating func fitTimer(_ turn: inout Turn) {
        guard let wanted = deadline else {
            if let timer { turn.act(.cancelTimer(timer.token)) }
            timer = nil
            return
        }
        if let timer, timer.token.purpose == wanted.purpose {
            if timer.deadline == wanted.at || (wanted.purpose == .watchdog && timer.deadline <= wanted.at) { return }
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
        if let microseconds = message.watchdogUsec, policy.watchdog != nil {
            memory.run?.watchdog = .microseconds(Int64(clamping: min(microseconds, 86_400_000_000)))
        }
        if let signal = message.watchdog { heartbeat(signal, &turn) }
        if let time = message.extendTimeout { extend(by: time, &turn) }
        if message.reloading { memory.run?.reloading = true }
        if message.ready { saidReady(&turn) }
        if message.stopping { saidStopping(&turn) }
    }

    private mutating func heartbeat(_ signal: NotifyMessage.WatchdogSignal, _ turn: inout Turn) {
        switch signal {
        case .alive:
            lastHeartbeat = turn.now
            if memory.run?.heartbeatLate == true {
                memory.run?.heartbeatLate = false
                turn.note(id, "heartbeat", "\(id) gives a heartbeat again")
            }
        case .trigger:
            // The worker itself says that it is broken: as late as can be.
            if let period = watchdogPeriod {
                lastHeartbeat = turn.now.advanced(by: .zero - period)
            }
        }
    }

    private mutating func saidReady(_ turn: inout Turn) {
        memory.run?.reloading = false
        switch state {
        case .starting where policy.kind == .notify: becomeReady(&turn)
        case .running: transition(to: .ready, &turn)
        // A simple service is ready already; a oneshot is when it has ended; one that is being stopped stays so.
        case .starting, .ready, .stopping, .stopped, .waiting, .queued, .backoff, .completed, .failed: break
        }
    }

    private mutating func saidStopping(_ turn: inout Turn) {
        switch state {
        case .ready:
            transition(to: .running, &turn)
            turn.note(id, "leaving", "\(id) says that it is stopping")
        // Before it was ready it takes no work anyway; else it is known already, or nothing is there to stop.
        case .starting, .running, .stopping, .stopped, .waiting, .queued, .backoff, .completed, .failed: break
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
            stop.graceEnds = max(ends, min(turn.now.advanced(by: time), limit(policy.stopGracePeriod)))
            memory.state = .stopping(stop)
        // Nothing is being waited for.
        case .ready, .running, .stopped, .waiting, .queued, .backoff, .completed, .failed: break
        }
    }
}
