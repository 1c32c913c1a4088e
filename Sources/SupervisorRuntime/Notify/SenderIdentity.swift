import CLinux
import Glibc
public import SupervisorCore

/// Finds the instance that a process belongs to, by the kernel's word: the main processes that are known, else the
/// process's cgroup or, without cgroups, its session and its parents.
///
/// Reading /proc costs, so answers are kept for a moment, no answer too, and a storm of strangers is not looked up.
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
        /// Answers that are kept.
        public static let cached = 1024
        /// How long an answer is kept.
        public static let keep: Duration = .seconds(2)
        /// Processes that are looked up each second, and at once after a silence.
        public static let perSecond = 100
        public static let burst = 200
    }

    /// Main processes: pid to instance and generation.
    public typealias Mains = [Int32: (InstanceID, Generation)]

    private struct Entry: Sendable {
        var instance: InstanceID?
        var startTime: UInt64
        var until: MonotonicInstant
    }

    /// What /proc/PID/stat says.
    struct Stat: Equatable {
        var parent: Int32
        var session: Int32
        /// Clock ticks since boot; with the pid it names a process for ever.
        var startTime: UInt64
    }

    private let containment: Containment
    private var cache: [Int32: Entry] = [:]
    private var tokens = Double(Limits.burst)
    private var refilled: MonotonicInstant?

    public init(containment: Containment) {
        self.containment = containment
    }

    /// The instance of the process, and its generation; nil when it belongs to none, or is gone and was not known.
    public mutating func resolve(
        _ pid: Int32,
        mains: Mains,
        now: MonotonicInstant
    ) -> (InstanceID, Generation)? {
        if let main = mains[pid] { return main }
        let stat = Self.stat(pid)
        if let entry = cache[pid], entry.until > now, stat == nil || stat?.startTime == entry.startTime {
            return entry.instance.flatMap { Self.withGeneration($0, mains) }
        }
        guard let stat, mayLookUp(now: now) else { return nil }
        let instance = find(pid, stat, mains)
        if cache.count >= Limits.cached {
            cache = cache.filter { $0.value.until > now }
            if cache.count >= Limits.cached { cache.removeAll() }
        }
        cache[pid] = Entry(instance: instance, startTime: stat.startTime, until: now.advanced(by: Limits.keep))
        return instance.flatMap { Self.withGeneration($0, mains) }
    }

    /// Whether the process is alive and of the instance's tree: what a `MAINPID=` must be. Always looked up anew.
    public func isInTree(_ pid: Int32, of instance: InstanceID, mains: Mains) -> Bool {
        if let main = mains[pid] { return main.0 == instance }
        guard let stat = Self.stat(pid) else { return false }
        return find(pid, stat, mains) == instance
    }

    /// Forgets what was found: after a takeover, or when an instance was given a new process.
    public mutating func forgetAnswers() {
        cache = [:]
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
    private static func withGeneration(_ instance: InstanceID, _ mains: Mains) -> (InstanceID, Generation)? {
        mains.values.first { $0.0 == instance }
    }

    private mutating func mayLookUp(now: MonotonicInstant) -> Bool {
        let gained = refilled.map { max(0, now.since($0).inSeconds) * Double(Limits.perSecond) } ?? 0
        tokens = min(Double(Limits.burst), tokens + gained)
        refilled = now
        guard tokens >= 1 else { return false }
        tokens -= 1
        return true
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
