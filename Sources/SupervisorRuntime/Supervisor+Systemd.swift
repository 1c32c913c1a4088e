import LinuxPlatform
import ShimProtocol
import StatusBoard
import SupervisorCore
import SystemdBridge

/// What systemd, and the heartbeat, were last told.
struct SystemdState {
    var saidReady = false
    var saidStopping = false
    /// When more time for a stop was last asked for.
    var askedForTimeAt: MonotonicInstant?
    var statusText = ""
    var publishedNode: NodeStatus?
    /// Memory of the start was given back.
    var trimmed = false
    /// When the last round trip through the edges was asked for; nil when it has been answered.
    var askedEdgesAt: MonotonicInstant?
    /// When the shim was asked whether it serves, and has not answered yet.
    var shimAskedAt: MonotonicInstant?
    var shimAnsweredAt: MonotonicInstant?
    var shimIsSilent = false
}

// What systemd hears of us. Without systemd all of it does nothing.
extension Supervisor {
    /// How often the loop shows that it lives, on the board and to systemd.
    private static let heartbeat: Duration = .seconds(1)

    /// READY=1: the first start is finished, now or under an earlier daemon.
    func sayReady() {
        if systemd.saidReady { return }
        systemd.saidReady = true
        Systemd.notify("READY=1")
    }

    /// STATUS=: one true sentence.
    func sayStatus(_ node: NodeStatus) {
        guard Systemd.isPresent else { return }
        let text = Self.sentence(node, board.snapshot.fleet.services)
        if text == systemd.statusText { return }
        systemd.statusText = text
        Systemd.notify("STATUS=" + text)
    }

    private static func sentence(_ node: NodeStatus, _ services: [ServiceStatus]) -> String {
        let wanted = services.reduce(0) { $0 + $1.desired }
        let ready = services.reduce(0) { $0 + $1.ready }
        let reason = node.reason.map { ": \($0)" } ?? ""
        return "\(node.state.rawValue), \(ready) of \(wanted) instances ready\(reason)"
    }

    /// STOPPING=1: only on a real stop. An operator's drain never says so: systemd would take it for one.
    func sayStopping() {
        if systemd.saidStopping { return }
        systemd.saidStopping = true
        Systemd.notify("STOPPING=1\n" + Self.moreTime)
        systemd.askedForTimeAt = MonotonicClock.now()
    }

    /// What systemd is asked for while a stop goes on, and how often.
    private static let moreTime = "EXTEND_TIMEOUT_USEC=15000000"
    private static let moreTimePeriod: Duration = .seconds(5)

    /// A stop that is within its deadline gets on, and asks for the time to do so; one that is beyond it, because what
    /// was killed does not go, does not, and systemd ends it.
    private func askForTime(_ now: MonotonicInstant) {
        guard systemd.saidStopping, let asked = systemd.askedForTimeAt, now.since(asked) >= Self.moreTimePeriod,
            let stop = board.snapshot.fleet.drains.first(where: { $0.drain.purpose == .shutdown })?.drain,
            now < stop.deadline.advanced(by: Self.moreTimePeriod)
        else { return }
        systemd.askedForTimeAt = now
        Systemd.notify(Self.moreTime)
    }

    /// Begins the heartbeat. Each beat is a turn of this loop; the watchdog is fed only when a beat has made the
    /// round through the health listener's loop and the snapshot as well, and come back here.
    func startHeartbeat() {
        beat(due: MonotonicClock.now())
    }

    private func beat(due: MonotonicInstant) {
        let now = MonotonicClock.now()
        let offset = MonotonicClock.wallClockOffset()
        board.beat(at: now, wallClockOffset: offset)
        noteDisturbances(wallClockOffset: offset)
        countFigures(loopDelay: now.since(due))
        trimOnce()
        askShim(now)
        askForTime(now)
        renewSockets()
        if configuration.watchdogInterval != nil, systemd.askedEdgesAt == nil {
            systemd.askedEdgesAt = now
            askEdges()
        }
        let next = now.advanced(by: Self.heartbeat)
        reactor.schedule(at: next) { [unowned self] in beat(due: next) }
    }

    /// Asks the shim from time to time whether it serves. One that does not is shown: nothing can be started or ended.
    private func askShim(_ now: MonotonicInstant) {
        guard let link else { return systemd.shimAskedAt = nil }
        if let asked = systemd.shimAskedAt {
            if systemd.shimIsSilent || now.since(asked) < Self.shimPatience { return }
            systemd.shimIsSilent = true
            receive(.shimSilenceChanged(isSilent: true))
        } else if systemd.shimAnsweredAt.map({ now.since($0) >= Self.shimPatience }) ?? true {
            systemd.shimAskedAt = now
            link.send(.ping(UInt64(bitPattern: now.nanoseconds)))
            link.flush()
        }
    }

    /// Both the pause between two questions and the time that an answer may take.
    private static let shimPatience: Duration = .seconds(5)

    func shimAnswered() {
        systemd.shimAskedAt = nil
        systemd.shimAnsweredAt = MonotonicClock.now()
        if !systemd.shimIsSilent { return }
        systemd.shimIsSilent = false
        receive(.shimSilenceChanged(isSilent: false))
    }

    /// Once, when the first start is behind us: what only that needed is given back.
    private func trimOnce() {
        if systemd.trimmed || !board.snapshot.fleet.node.firstStartFinished { return }
        systemd.trimmed = true
        ProcessMemory.releaseStartupMemory()
    }

    func edgesAnswered() {
        systemd.askedEdgesAt = nil
        Systemd.notify("WATCHDOG=1")
    }

    private func probeFigures() -> [StatusBoard.ProbeFigure] {
        (0..<machine.serviceCount).flatMap { index -> [StatusBoard.ProbeFigure] in
            let name = machine.serviceName(at: index)
            guard let service = service(name) else { return [] }
            return ProbeKind.allCases.filter { service.probe($0) != nil }.map { kind in
                StatusBoard.ProbeFigure(service: name, kind: kind, counts: machine.probeCounts(ofService: index)[kind])
            }
        }
    }

    private func suppressionFigures() -> [StatusBoard.SuppressionFigure] {
        machine.suppressedServices.flatMap { index in
            SuppressionRule.allCases.compactMap { rule in
                let count = machine.suppressions(ofService: index, rule)
                let name = machine.serviceName(at: index)
                return count == 0 ? nil : StatusBoard.SuppressionFigure(service: name, rule: rule, count: count)
            }
        }
    }

    private func countFigures(loopDelay: Duration) {
        let stale = machine.staleCallbacks
        let failures = machine.spawnFailures
        let logs = output.collector.counters
        let dropped = notify?.dropped ?? [:]
        let refused = calls.refused
        let faults = calls.faults
        let probes = probeFigures()
        let suppressions = suppressionFigures()
        let freezes = machine.freezes
        board.count { counters in
            counters.probes = probes
            counters.suppressions = suppressions
            counters.freezes = freezes
            counters.loopDelaySeconds = loopDelay.inSeconds
            counters.staleCallbacks = stale
            counters.spawnFailures = failures
            for (reason, count) in dropped { counters.notifyDropped[reason.rawValue] = count }
            for (reason, count) in refused { counters.breakerConnectionsRefused[reason.rawValue] = count }
            counters.breakerRequestsMalformed = faults
            for (service, count) in logs {
                counters.logBytes[service] = count.bytes
                counters.logBytesDropped[service] = count.droppedBytes
            }
        }
    }
}
