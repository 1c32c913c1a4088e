import CLinux
import Glibc
public import SupervisorCore

/// Finds the instance that a process belongs to, by the kernel's word: the main processes that are known, else the
/// process's cgroup or, without cgroups, its session and its parents.
///
/// Reading /proc costs, so that answers are kept for a moment, no answer too, and each user that workers run as has a
/// share of look-ups of its own: a storm of one user's processes does not keep those of another from being found.
public struct SenderIdentity: Sendable {
    /// How the trees of instances are told apart; as the shim says in `welcome`.
    public enum Containment: Sendable, Equatable {
        /// Below this directory, whose last component is looked for, is one cgroup `SERVICE@INDEX` for each instance.
        case cgroup(root: String)
        case session
    }

    /// Named limits (rule P7).
    public enum Limits {
        /// Parents that are followed.
        public static let ancestors = 64
        /// Answers that are kept, of those who belong to an instance and of strangers each.
        public static let cached = 1024
        /// How long an answer is kept.
        public static let keep: Duration = .seconds(2)
        /// Processes of a user that workers run as that are looked up each second, and at once after a silence.
        public static let perSecond = 100
        public static let burst = 200
        /// The same for all other users together.
        public static let othersPerSecond = 10
        public static let othersBurst = 20
    }

    /// Main processes: pid to instance and generation.
    public typealias Mains = [Int32: (InstanceID, Generation)]

    /// To whom a process belongs.
    public enum Answer: Sendable, Equatable {
        case main(InstanceID, Generation)
        /// Another process of the instance's tree.
        case relative(InstanceID, Generation)
        /// To no instance that has a main process. The parent where it was found out.
        case stranger(parent: Int32?)
        /// Not known: its user's share of look-ups is used up.
        case notLookedUp
    }

    private struct Entry: Sendable {
        var instance: InstanceID?
        var uid: UInt32
        var parent: Int32
        var startTime: UInt64
        var until: MonotonicInstant
    }

    private struct Bucket: Sendable {
        var tokens: Double
        var refilled: MonotonicInstant
    }

    /// What /proc/PID/stat says.
    struct Stat: Equatable {
        var parent: Int32
        var session: Int32
        /// Clock ticks since boot; with the pid it names a process for ever.
        var startTime: UInt64
    }

    private let containment: Containment
    private var relatives: [Int32: Entry] = [:]
    private var strangers: [Int32: Entry] = [:]
    private var buckets: [WorkerUsers.Share: Bucket] = [:]

    public init(containment: Containment) {
        self.containment = containment
    }

    /// To whom the process belongs that the kernel names as `pid` of user `uid`.
    ///
    /// A main process, a known stranger and a user that no worker can be cost no look at /proc.
    public mutating func resolve(
        _ pid: Int32,
        uid: UInt32,
        users: WorkerUsers,
        mains: Mains,
        now: MonotonicInstant
    ) -> Answer {
        if let (instance, generation) = mains[pid] { return .main(instance, generation) }
        guard pid > 0, let share = users.share(of: uid) else { return .stranger(parent: nil) }
        if let entry = strangers[pid], entry.until > now, entry.uid == uid { return .stranger(parent: entry.parent) }
        if let entry = relatives[pid], entry.until > now {
            let stat = Self.stat(pid)
            if stat == nil || stat?.startTime == entry.startTime { return Self.answer(entry, mains) }
        }
        guard mayLookUp(share, now: now) else { return .notLookedUp }
        guard let stat = Self.stat(pid) else { return .stranger(parent: nil) }
        let entry = Entry(
            instance: find(pid, stat, mains),
            uid: uid,
            parent: stat.parent,
            startTime: stat.startTime,
            until: now.advanced(by: Limits.keep)
        )
        if entry.instance == nil {
            Self.keep(entry, of: pid, in: &strangers, now: now)
        } else {
            Self.keep(entry, of: pid, in: &relatives, now: now)
        }
        return Self.answer(entry, mains)
    }

    /// Whether the process is alive and of the instance's tree: what a `MAINPID=` must be. Always looked up anew.
    public func isInTree(_ pid: Int32, of instance: InstanceID, mains: Mains) -> Bool {
        if let main = mains[pid] { return main.0 == instance }
        guard let stat = Self.stat(pid) else { return false }
        return find(pid, stat, mains) == instance
    }

    /// Forgets what was found: after a takeover, or when an instance was given a new process.
    public mutating func forgetAnswers() {
        relatives = [:]
        strangers = [:]
    }

    private func find(_ pid: Int32, _ stat: Stat, _ mains: Mains) -> InstanceID? {
        switch containment {
        case .cgroup(let root):
            return Self.file("/proc/\(pid)/cgroup").flatMap { Self.instance(inCgroups: $0, root: root) }
        case .session:
            // A worker leads a session of its own, and nobody can join another's; its pid is not given anew while the
            // session lasts.
            if let main = mains[stat.session] { return main.0 }
            var parent = stat.parent
            for _ in 0..<Limits.ancestors {
                if let main = mains[parent] { return main.0 }
                guard parent > 1, let next = Self.stat(parent) else { return nil }
                if let main = mains[next.session] { return main.0 }
                parent = next.parent
            }
            return nil
        }
    }

    /// An instance has one tree at most (rule P1), so that its present main process has the generation.
    private static func answer(_ entry: Entry, _ mains: Mains) -> Answer {
        guard let instance = entry.instance, let main = mains.values.first(where: { $0.0 == instance }) else {
            return .stranger(parent: entry.parent)
        }
        return .relative(main.0, main.1)
    }

    private static func keep(_ entry: Entry, of pid: Int32, in table: inout [Int32: Entry], now: MonotonicInstant) {
        if table.count >= Limits.cached, table[pid] == nil {
            table = table.filter { $0.value.until > now }
            if table.count >= Limits.cached, let oldest = table.min(by: { $0.value.until < $1.value.until }) {
                table[oldest.key] = nil
            }
        }
        table[pid] = entry
    }

    /// Pays for one look-up from the share's token bucket; false when it is empty. There are no more buckets than users
    /// that workers run as, and one.
    private mutating func mayLookUp(_ share: WorkerUsers.Share, now: MonotonicInstant) -> Bool {
        let isOthers = share == .others
        let burst = Double(isOthers ? Limits.othersBurst : Limits.burst)
        let perSecond = Double(isOthers ? Limits.othersPerSecond : Limits.perSecond)
        var bucket = buckets[share] ?? Bucket(tokens: burst, refilled: now)
        bucket.tokens = min(burst, bucket.tokens + max(0, now.since(bucket.refilled).inSeconds) * perSecond)
        bucket.refilled = now
        let may = bucket.tokens >= 1
        if may { bucket.tokens -= 1 }
        buckets[share] = bucket
        return may
    }

    // MARK: /proc

    /// Reads `/proc/PID/cgroup`: the line of cgroup v2 is `0::PATH`.
    static func instance(inCgroups text: String, root: String) -> InstanceID? {
        guard let rootName = root.split(separator: "/").last else { return nil }
        for line in text.split(separator: "\n") where line.hasPrefix("0::") {
            let components = line.dropFirst(3).split(separator: "/")
            guard let position = components.firstIndex(of: rootName), position + 1 < components.count else { continue }
            let name = components[position + 1]
            guard let at = name.lastIndex(of: "@"), at > name.startIndex else { continue }
            return InstanceID("\(name[..<at])/\(name[name.index(after: at)...])")
        }
        return nil
    }

    /// Reads `/proc/PID/stat` (proc_pid_stat(5)). The name is in parentheses and may hold anything.
    static func stat(text: String) -> Stat? {
        guard let end = text.lastIndex(of: ")") else { return nil }
        // From field 3, the state, on.
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count >= 20, let parent = Int32(fields[1]), let session = Int32(fields[3]),
            let startTime = UInt64(fields[19])
        else { return nil }
        return Stat(parent: parent, session: session, startTime: startTime)
    }

    private static func stat(_ pid: Int32) -> Stat? {
        pid > 0 ? file("/proc/\(pid)/stat").flatMap { stat(text: $0) } : nil
    }

    private static func file(_ path: String) -> String? {
        let descriptor = clinux_open(path, O_RDONLY | O_CLOEXEC, 0)
        guard descriptor >= 0 else { return nil }
        defer { _ = clinux_close(descriptor) }
        return withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 16) { buffer in
            let count = clinux_read(descriptor, buffer.baseAddress, buffer.count)
            return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
        }
    }
}
