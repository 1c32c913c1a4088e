import LinuxPlatform
import ShimProtocol
import SupervisorCore

/// What a former shim left behind when it was killed: found by its groups, its ledger, the mark in the environment,
/// and descent from any of these; ended before anything is started, so that no twin can be (rule P1).
struct Remains {
    struct Outcome: Sendable {
        var count = 0
        /// The pid of one of them.
        var example: Int32 = 0
    }

    private static let patienceMilliseconds: Int64 = 10_000

    private let fleets: [FleetToken]
    private let ledger: Ledger
    private var groups: [Cgroup] = []
    private let excluded: Set<Int32>

    init(fleets: [FleetToken], ledger: Ledger, base: Cgroup?, notesIn directories: [String]) {
        self.fleets = fleets
        self.ledger = ledger
        var paths: Set<String> = []
        if let base, paths.insert(base.path).inserted { groups.append(base) }
        // Where the former shim had its groups, if that is elsewhere. The name says that they are this fleet's.
        for directory in directories {
            guard let path = SmallFile.text(directory + "/shim.cgroup", limit: 4096), path.hasPrefix("/"),
                fleets.contains(where: { path.hasSuffix("/eider-\($0)") }), !path.contains("/../"),
                FileKind.isDirectory(path), paths.insert(path).inserted
            else { continue }
            groups.append(Cgroup(path: path))
        }
        excluded = Self.ownLine()
    }

    /// Ends them all; gives up on what SIGKILL does not end within ten seconds, with a line that names it.
    func end() -> Outcome {
        var outcome = Outcome()
        var seen: Set<Int32> = []
        let deadline = MonotonicClock.bootMilliseconds() + Self.patienceMilliseconds
        var pause: Int32 = 1
        while true {
            let found = search()
            seen.formUnion(found)
            outcome.count = seen.count
            if outcome.example == 0 { outcome.example = found.min() ?? 0 }
            if found.isEmpty, !groups.contains(where: { (try? $0.isPopulated()) ?? false }) { break }
            if MonotonicClock.bootMilliseconds() > deadline {
                let pids = found.sorted().prefix(20).map { String($0) }.joined(separator: ", ")
                StandardError.line("eider-shim: cannot end what a former shim left: SIGKILL has no effect on \(pids)")
                break
            }
            for group in groups { try? group.kill() }
            for pid in found { try? Signals.send(.kill, to: pid) }
            OwnProcess.pause(milliseconds: pause)
            pause = min(pause * 2, 20)
        }
        for group in groups { removeBelow(group) }
        return outcome
    }

    /// Pids of all that is left.
    private func search() -> Set<Int32> {
        var found: Set<Int32> = []
        for group in groups {
            for part in group.subtree() { found.formUnion((try? part.processes()) ?? []) }
        }
        guard let forest = try? ProcessForest.read() else { return found.subtracting(excluded) }
        let prefixes = fleets.map { "\($0):" }
        var known: [Int32: [Ledger.Entry]] = [:]
        for entry in ledger.former { known[entry.pid, default: []].append(entry) }
        for entry in forest.entries.values where !entry.isDead {
            let pid = entry.pid
            if known[pid, default: []].contains(where: { $0.includes(startMilliseconds: entry.startMilliseconds) }) {
                found.insert(pid)
            } else if let mark = ProcessTable.variable(FleetToken.variable, of: pid),
                prefixes.contains(where: mark.hasPrefix)
            {
                found.insert(pid)
            }
        }
        found.subtract(excluded)
        for pid in found { found.formUnion(forest.living(below: pid)) }
        return found.subtracting(excluded)
    }

    private func removeBelow(_ group: Cgroup) {
        for part in group.subtree().dropFirst().reversed() { try? part.remove() }
    }

    /// We, and those we descend from: whoever started us may well run inside a worker.
    private static func ownLine() -> Set<Int32> {
        var line: Set<Int32> = [1]
        var pid = ProcessTable.ownPid
        while pid > 0, line.insert(pid).inserted {
            guard let entry = ProcessTable.entry(pid) else { break }
            pid = entry.parent
        }
        return line
    }
}

/// All processes and who descends from whom.
struct ProcessForest {
    private(set) var entries: [Int32: ProcessTable.Entry] = [:]
    private(set) var children: [Int32: [Int32]] = [:]

    static func read() throws(SystemError) -> ProcessForest {
        var forest = ProcessForest()
        for entry in try ProcessTable.entries() {
            forest.entries[entry.pid] = entry
            forest.children[entry.parent, default: []].append(entry.pid)
        }
        return forest
    }

    /// The process and its descendants, itself first.
    func line(from root: Int32) -> [ProcessTable.Entry] {
        var found: [ProcessTable.Entry] = []
        var pending = [root]
        var seen: Set<Int32> = []
        while let pid = pending.popLast() {
            guard seen.insert(pid).inserted else { continue }
            if let entry = entries[pid] { found.append(entry) }
            pending.append(contentsOf: children[pid] ?? [])
        }
        return found
    }

    func living(below root: Int32) -> [Int32] {
        line(from: root).filter { !$0.isDead && $0.pid != root }.map(\.pid)
    }
}
