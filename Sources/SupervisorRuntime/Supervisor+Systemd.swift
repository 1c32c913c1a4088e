import LinuxPlatform
import ShimProtocol
import StatusBoard
import SupervisorCore
import SystemdBridge

/// What systemd, and the heartbeat, were last told.
struct SystemdState {
    var saidReady = false
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

    /// STOPPING=1: only on a real stop.
    func sayStopping() {
        Systemd.notify("STOPPING=1")
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
        probedServices.map { index, kind in
            StatusBoard.ProbeFigure(
                service: configuration.spec.services[index].name,
                kind: kind,
                counts: machine.probeCounts(ofService: index)[kind]
            )
        }
    }

    private func suppressionFigures() -> [StatusBoard.SuppressionFigure] {
        machine.suppressedServices.flatMap { index in
            SuppressionRule.allCases.compactMap { rule in
                let count = machine.suppressions(ofService: index, rule)
                let name = configuration.spec.services[index].name
                return count == 0 ? nil : StatusBoard.SuppressionFigure(service: name, rule: rule, count: count)
            }
        }
    }

    private func countFigures(loopDelay: Duration) {
        let stale = machine.staleCallbacks
        let failures = machine.spawnFailures
        let logs = output.collector.counters
        let dropped = notify?.dropped ?? [:]
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
            for (service, count) in logs {
                counters.logBytes[service] = count.bytes
                counters.logBytesDropped[service] = count.droppedBytes
            }
        }
    }
}
