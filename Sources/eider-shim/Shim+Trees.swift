import LinuxPlatform
import ShimProtocol
import SupervisorCore

// The ends of processes and of all that they started.
extension Shim {
    /// Trees looked at in the turn of an exit; more wait for the timer, so that many exits do not mean many looks.
    private static let mostChecksPerTurn = 32
    private static let gathering: Duration = .milliseconds(2)
    private static let longestSweepPause: Duration = .milliseconds(100)
    private static let stopPatience: Duration = .seconds(10)

    /// Reaps everything that has ended: the workers, and orphans that the kernel gave to us.
    func reap() {
        var ended: [Run] = []
        while let exit = ChildProcess.reap() {
            guard let run = mains.removeValue(forKey: exit.pid) else { continue }
            note(run, exit.status, exit.usage)
            ended.append(run)
        }
        settle(ended)
    }

    /// A main process that the worker had named has ended. When it was not our child, its parent knows how; we do not,
    /// and as systemd does we count that as success.
    func adoptedEnded(_ pid: Int32) {
        // Those that are our children are reaped with the others.
        reap()
        guard let run = mains.removeValue(forKey: pid) else { return }
        note(run, .code(0), ResourceUsage())
        settle([run])
    }

    private func note(_ run: Run, _ status: ExitStatus, _ usage: ResourceUsage) {
        if let adopted = run.adopted { unwatch(adopted) }
        run.exit = Run.Exit(
            status: status,
            usage: usage,
            at: MonotonicClock.now(),
            outOfMemory: wasOutOfMemory(run, status)
        )
    }

    /// `MAINPID=`: another process of the tree is the main one from now on.
    func adoptMain(_ run: Run, _ pid: Int32) {
        guard run.exit == nil, pid > 1, pid != run.pid, mains[pid] == nil, members(of: run).contains(pid),
            let entry = ProcessTable.entry(pid), let descriptor = try? ProcessTable.open(pid)
        else { return }
        let shared = descriptor.shared()
        guard watch(shared, endOf: pid) else { return }
        if let adopted = run.adopted { unwatch(adopted) }
        let start = entry.startMilliseconds
        run.adopt(
            pid: pid,
            descriptor: shared,
            ledgerSlot: setup.ledger.add(pid: pid, startedBetween: start, and: start &+ 10)
        )
        mains = mains.filter { $0.value !== run }
        mains[pid] = run
        report(.started(run.id, run.generation, pid: pid, at: run.startedAt, warnings: []))
    }

    /// Reports exits, and whether anything was left behind.
    private func settle(_ ended: [Run]) {
        // One proof serves all: read after the last of them was reaped.
        let noOrphans = needsOrphanProof(ended) && hasNoOrphans()
        for run in ended {
            guard let exit = run.exit else { continue }
            let failure = run.startReport?.takeFailure()
            run.startReport = nil
            if let failure {
                neverExecuted(run, failure)
                continue
            }
            run.treeGone = run.group.map { !$0.isPopulated } ?? noOrphans
            report(
                .exited(
                    run.id,
                    run.generation,
                    exit.status,
                    exit.usage,
                    at: exit.at,
                    outOfMemory: exit.outOfMemory,
                    treeGone: run.treeGone
                )
            )
            settle(run)
        }
        if watched.isEmpty { return }
        // Where it takes a look at all processes, or many looks, what has just happened is looked at together with
        // what is about to.
        if setup.containment.base == nil ? noOrphans : watched.count <= Self.mostChecksPerTurn {
            checkTrees()
        } else {
            nextTreeCheck = MonotonicClock.now().advanced(by: Self.gathering)
        }
    }

    private func needsOrphanProof(_ ended: [Run]) -> Bool {
        setup.containment.base == nil && (!ended.isEmpty || !watched.isEmpty)
    }

    private func wasOutOfMemory(_ run: Run, _ status: ExitStatus) -> Bool {
        guard status != .code(0), let group = run.group, setup.containment.controllers.contains("memory") else {
            return false
        }
        return group.outOfMemoryKills > run.outOfMemoryKillsBefore
    }

    /// Puts a run with an exit where it belongs: watched while something of it is left.
    private func settle(_ run: Run) {
        if run.treeGone {
            watched[run.id] = nil
            if stop != nil { release(run) }
        } else {
            watched[run.id] = run
            if stop != nil { endTree(run) }
        }
    }

    /// Looks at every tree that is watched, and ends those that are to be ended.
    func checkTrees() {
        let now = MonotonicClock.now()
        let noOrphans = setup.containment.base == nil && hasNoOrphans()
        var attribution: Attribution?
        var due: [Run] = []
        for run in watched.values.sorted(by: { $0.id < $1.id }) {
            if run.exit != nil, isGone(run, noOrphans, &attribution) {
                run.treeGone = true
                report(.treeGone(run.id, run.generation))
                settle(run)
            } else if let ending = run.ending, ending.nextSweep <= now {
                due.append(run)
            }
        }
        if let attribution { noteStrays(attribution.strays) }
        sweep(due)
        for run in due { planNextSweep(run, after: now) }
        scheduleTreeCheck()
    }

    private func isGone(_ run: Run, _ noOrphans: Bool, _ attribution: inout Attribution?) -> Bool {
        if let group = run.group { return !group.isPopulated }
        if noOrphans { return true }
        if attribution == nil { attribution = attribute() }
        return attribution.map { $0.members[run.id] == nil } ?? false
    }

    private func planNextSweep(_ run: Run, after now: MonotonicInstant) {
        guard var ending = run.ending else { return }
        ending.nextSweep = MonotonicClock.now().advanced(by: ending.pause)
        ending.pause = min(ending.pause * 2, Self.longestSweepPause)
        if ending.nextReport <= now {
            ending.nextReport = now.advanced(by: .seconds(1))
            let left = members(of: run)
            if let example = left.first {
                report(.treeRemains(run.id, run.generation, count: left.count, example: example))
            }
        }
        run.ending = ending
    }

    /// Begins to end a tree: SIGKILL until nothing is left.
    func endTree(_ run: Run) {
        if run.exit != nil, run.treeGone {
            report(.treeGone(run.id, run.generation))
            return
        }
        if run.ending != nil { return }
        let now = MonotonicClock.now()
        run.ending = Run.Ending(nextSweep: now, nextReport: now.advanced(by: .seconds(1)))
        watched[run.id] = run
        if run.group != nil {
            sweep([run])
            planNextSweep(run, after: now)
            scheduleTreeCheck()
        } else {
            // At the end of this turn: one look at all processes serves every tree that is to be ended.
            nextTreeCheck = now
        }
    }

    /// One pass of SIGKILL over the trees.
    private func sweep(_ runs: [Run]) {
        sweepSessions(runs.filter { $0.group == nil })
        for run in runs {
            run.group?.kill()
            // Also where somebody moved it out of its group.
            if run.exit == nil { try? Signals.send(.kill, to: run.pid) }
        }
    }

    /// Pids of the tree's living processes.
    func members(of run: Run) -> [Int32] {
        guard let group = run.group else { return attribute()?.members[run.id]?.map(\.pid) ?? [] }
        let pids = group.processes()
        return run.exit == nil && !pids.contains(run.pid) ? [run.pid] + pids : pids
    }

    // MARK: SIGTERM

    /// The service manager stops us alone: all trees are ended, and nobody is waited for to acknowledge.
    func beginStop() {
        guard stop == nil else { return }
        stop = Stop(killAt: MonotonicClock.now().advanced(by: Self.stopPatience))
        for run in Array(runs.values) {
            if run.exit == nil {
                try? Signals.send(.terminate, to: run.pid)
            } else {
                settle(run)
            }
        }
        scheduleTreeCheck()
    }

    func killAll() {
        stop?.hasKilled = true
        for run in Array(runs.values) { endTree(run) }
    }
}
