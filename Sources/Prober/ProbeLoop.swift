import NIOCore
import NIOPosix
import SupervisorCore

/// The prober as it is on its loop: follows the agenda, holds what is under way.
final class ProbeLoop: NIOScheduledCallbackHandler {
    let loop: any EventLoop
    let limits: ProberLimits
    private let inbox: Inbox
    private var agenda: Agenda
    private var lookups: Lookups
    private var attempts: [UInt64: Attempt] = [:]
    private var reports: [ProbeReport] = []
    private var steps: [Agenda.Step] = []
    private var bootstrap: ClientBootstrap
    /// The attempt for which the bootstrap makes a channel right now.
    private var starting: Attempt?
    private var timer: NIOScheduledCallback?
    /// When the timer is to fire, by the prober's clock.
    private var armed: MonotonicInstant?
    private var isStopped = false
    /// Those that took long when they were last asked: nobody waits for them.
    private var slow: Set<ProbeKey> = []
    private var waits = WaitBudget()

    init(loop: any EventLoop, inbox: Inbox) {
        self.loop = loop
        self.inbox = inbox
        limits = inbox.limits
        agenda = Agenda(limits: inbox.limits)
        lookups = Lookups(limits: inbox.limits)
        // The agenda's timeouts end a connection that is not answered; this one only may not come first.
        bootstrap = ClientBootstrap(group: loop).connectTimeout(.hours(24))
        let own = NIOLoopBound(Weak(self), eventLoop: loop)
        bootstrap = bootstrap.channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                guard let attempt = own.value.object?.starting else { throw ChannelError.ioOnClosedChannel }
                try attempt.prepare(channel)
            }
        }
    }

    private struct Weak {
        weak var object: ProbeLoop?

        init(_ object: ProbeLoop) { self.object = object }
    }

    // MARK: What happens

    /// Other threads have said something.
    func takeMail() {
        let mail = inbox.takeMail()
        guard !isStopped else { return }
        let now = inbox.clock()
        for (key, wish) in mail.wishes {
            let cancelled = if let wish { agenda.watch(key, wish, at: now) } else { agenda.unwatch(key) }
            if wish == nil { slow.remove(key) }
            if let cancelled { attempts.removeValue(forKey: cancelled)?.cancel() }
        }
        for finding in mail.lookups {
            for run in lookups.end(finding.name) { attempts[run]?.resolved(finding.answer) }
        }
        refill(now)
        inbox.showActivity(now, watches: !agenda.isEmpty)
    }

    func handleScheduledCallback(eventLoop: some EventLoop) {
        guard !isStopped else { return }
        timer = nil
        let now = inbox.clock()
        let planned = armed ?? now
        armed = nil
        agenda.advance(to: now, lateness: now.since(planned), &steps)
        follow(now)
        inbox.showActivity(now, watches: !agenda.isEmpty)
    }

    /// An attempt has an outcome.
    func finished(_ run: UInt64, _ outcome: ProbeOutcome) {
        attempts[run] = nil
        let now = inbox.clock()
        guard let (key, duration) = agenda.finished(run, at: now) else { return }
        if duration > WaitBudget.slow { slow.insert(key) } else { slow.remove(key) }
        report(ProbeReport(key: key, outcome: outcome, duration: duration, finishedAt: now))
    }

    func shutDown() {
        guard !isStopped else { return }
        isStopped = true
        if let timer { timer.cancel() }
        for attempt in attempts.values { attempt.cancel() }
        attempts = [:]
        reports = []
    }

    // MARK: The agenda

    private func refill(_ now: MonotonicInstant) {
        agenda.begin(now, &steps)
        follow(now)
    }

    private func follow(_ now: MonotonicInstant) {
        // An attempt may end while it begins and make room for the next.
        while !steps.isEmpty {
            let taken = steps
            steps.removeAll()
            for step in taken {
                switch step {
                case .begin(let order):
                    let attempt = Attempt(order, self)
                    attempts[order.run] = attempt
                    attempt.begin()
                case .report(let report): self.report(report)
                case .expire(let run, let outcome): attempts[run]?.expire(outcome)
                }
            }
            agenda.begin(now, &steps)
        }
        arm(now)
    }

    private func arm(_ now: MonotonicInstant) {
        guard let wake = agenda.nextWake(after: now) else {
            // Idle costs nothing.
            if let timer { timer.cancel() }
            timer = nil
            armed = nil
            return
        }
        // One that fires too early only looks at the clock.
        if let armed, armed <= wake { return }
        if let timer { timer.cancel() }
        armed = wake
        let delay = TimeAmount.nanoseconds(max(0, wake.since(now).clampedNanoseconds))
        timer = try? loop.assumeIsolated().scheduleCallback(in: delay, handler: self)
    }

    /// Reports leave together, when this turn of the loop is over.
    private func report(_ report: ProbeReport) {
        reports.append(report)
        guard reports.count == 1 else { return }
        loop.assumeIsolated().execute { self.deliver() }
    }

    private func deliver() {
        guard !isStopped else { return }
        let now = inbox.clock()
        // Places have become free.
        refill(now)
        inbox.showActivity(now, watches: !agenda.isEmpty)
        let taken = reports
        reports = []
        if !taken.isEmpty { inbox.deliver(taken) }
    }

    // MARK: For attempts

    func connect(_ attempt: Attempt, to address: SocketAddress) {
        let began = inbox.clock()
        let waits = !slow.contains(attempt.key) && self.waits.allows(at: began)
        let local = attempt.takeShortWay(to: address, waits: waits)
        if waits { self.waits.spend(inbox.clock().since(began)) }
        if attempt.isDone { return }
        starting = attempt
        let connected = local.map { bootstrap.withConnectedSocket($0) } ?? bootstrap.connect(to: address)
        starting = nil
        connected.assumeIsolated().whenComplete { attempt.connected($0) }
    }

    /// Returns why not, or nil when the answer will come.
    func lookUp(_ name: String, for run: UInt64) -> ProbeOutcome? {
        lookups.begin(name, for: run, inbox)
    }

    func forgetLookup(_ name: String, for run: UInt64) {
        lookups.forget(run, name)
    }
}

/// How long the loop may stand still for workers that answer within a moment: a tenth of its time. Beyond, they are
/// waited for as all others are.
private struct WaitBudget {
    /// An answer that takes longer is not waited for the next time.
    static let slow: Duration = .milliseconds(3)
    private static let most: Duration = .milliseconds(20)

    private var left = most
    private var at = MonotonicInstant(nanoseconds: 0)

    mutating func allows(at now: MonotonicInstant) -> Bool {
        left = min(Self.most, left + max(.zero, now.since(at)) / 10)
        at = now
        return left > .milliseconds(Int64(LocalConnection.patience))
    }

    mutating func spend(_ time: Duration) { left -= time }
}
