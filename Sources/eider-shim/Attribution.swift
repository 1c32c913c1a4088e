import LinuxPlatform
import ShimProtocol
import SupervisorCore

/// Which living process belongs to which run, where no cgroup says so.
struct Attribution {
    var members: [InstanceID: [ProcessTable.Entry]] = [:]
    /// Orphans that cannot be told to belong to any.
    var strays: [ProcessTable.Entry] = []
}

/// When the number of strays is said: the first time, and then when it has doubled. A probe that leaves one each time
/// is not to fill the log. What rises again an hour after it was said is said as well.
struct StrayReports {
    private static let longestSilence: Duration = .seconds(3600)

    private var said = 0
    private var saidAt: MonotonicInstant?
    private var last = 0

    mutating func isWorthSaying(_ count: Int, at now: MonotonicInstant) -> Bool {
        let rises = count > last
        last = count
        let isOld = saidAt.map { now.since($0) >= Self.longestSilence } ?? true
        guard rises, isOld || count >= 2 * said else { return false }
        said = count
        saidAt = now
        return true
    }
}

// Containment by session, parentage and mark.
extension Shim {
    private static let mostRounds = 16
    private static let mostChases = 200

    /// The cheap and exact proof: every process that lost its parent is our child, so that when all our children are
    /// main processes, nothing is left of those that have ended.
    func hasNoOrphans() -> Bool {
        guard let children = try? ProcessTable.children() else { return false }
        return children.allSatisfy { mains[$0] != nil }
    }

    /// Looks at all our descendants; nil when /proc cannot be read.
    func attribute() -> Attribution? {
        guard let forest = try? ProcessForest.read() else { return nil }
        var attribution = Attribution()
        let owners = OwnerIndex(runs: runs.values, fleet: setup.fleet)
        for root in forest.children[ProcessTable.ownPid] ?? [] {
            let line = forest.line(from: root)
            let living = line.filter { !$0.isDead }
            if living.isEmpty { continue }
            if let run = mains[root] ?? line.lazy.compactMap({ owners.owner(of: $0) }).first {
                attribution.members[run.id, default: []].append(contentsOf: living)
            } else {
                attribution.strays.append(contentsOf: living)
            }
        }
        return attribution
    }

    /// Stops the trees before any of them can react to the death of another part, then kills them. What forks faster
    /// than all processes can be listed is hunted by the list of our own children, which is short.
    func sweepSessions(_ runs: [Run]) {
        if runs.isEmpty { return }
        var found: [Int32: ProcessTable.Entry] = [:]
        for _ in 0..<Self.mostRounds {
            guard let members = attribute()?.members else { break }
            let fresh = runs.flatMap { members[$0.id] ?? [] }.filter { found[$0.pid] == nil }
            if fresh.isEmpty { break }
            for entry in fresh { found[entry.pid] = entry }
            send(Signals.stop, to: fresh)
        }
        send(.kill, to: Array(found.values))
        let owners = OwnerIndex(runs: runs, fleet: setup.fleet)
        for _ in 0..<Self.mostChases {
            let orphans = ((try? ProcessTable.children()) ?? []).filter { mains[$0] == nil && found[$0] == nil }
            var hit = false
            for pid in orphans {
                guard let entry = ProcessTable.entry(pid), !entry.isDead, owners.owner(of: entry) != nil else {
                    continue
                }
                send(.kill, to: [entry])
                found[pid] = entry
                hit = true
            }
            if !hit { break }
        }
    }

    /// Signals process groups as a whole, which no fork slips through, and each process.
    private func send(_ signal: SignalNumber, to entries: [ProcessTable.Entry]) {
        let own = ProcessTable.ownPid
        var groups: Set<Int32> = []
        for entry in entries where entry.group > 1 && entry.session != own && entry.session > 1 {
            if groups.insert(entry.group).inserted { try? Signals.send(signal, to: -entry.group) }
        }
        for entry in entries { try? Signals.send(signal, to: entry.pid) }
    }

    func noteStrays(_ found: [ProcessTable.Entry]) {
        guard let first = found.first, strays.isWorthSaying(found.count, at: MonotonicClock.now()) else { return }
        report(.strays(count: found.count, example: first.pid))
    }

    /// Ends what is left when the last tree has gone.
    func endOrphans() {
        guard setup.containment.base == nil else { return }
        let deadline = MonotonicClock.now().advanced(by: .seconds(2))
        while MonotonicClock.now() < deadline {
            while ChildProcess.reap() != nil {}
            guard let orphans = try? ProcessTable.children(), !orphans.isEmpty else { return }
            send(.kill, to: (attribute()?.strays ?? []))
            OwnProcess.pause(milliseconds: 1)
        }
    }
}

/// Finds the run that a process belongs to by what it carries.
private struct OwnerIndex {
    private var bySession: [Int32: Run] = [:]
    private var byMark: [String: Run] = [:]
    private var byOutput: [FileIdentity: Run] = [:]

    init(runs: some Sequence<Run>, fleet: FleetToken) {
        for run in runs {
            bySession[run.firstPid] = run
            bySession[run.pid] = run
            byMark[fleet.mark(run.id, run.generation)] = run
            if let output = run.output { byOutput[output] = run }
        }
    }

    func owner(of entry: ProcessTable.Entry) -> Run? {
        if let run = bySession[entry.session] { return run }
        if let mark = ProcessTable.variable(FleetToken.variable, of: entry.pid), let run = byMark[mark] { return run }
        for descriptor: Int32 in [1, 2] {
            if let file = ProcessTable.openFile(descriptor, of: entry.pid), let run = byOutput[file] { return run }
        }
        return nil
    }
}
