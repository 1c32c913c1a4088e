import CLinux
import Glibc

/// Settings of this process.
public enum OwnProcess {
    public struct DescriptorLimit: Sendable, Hashable {
        public var soft: UInt64
        public var hard: UInt64
    }

    /// `RLIMIT_NOFILE`.
    public static let descriptorLimitResource: Int32 = 7

    public static var isSessionLeader: Bool { getsid(0) == getpid() }

    /// Leaves our session and its terminal.
    public static func newSession() throws(SystemError) {
        try SystemError.check(clinux_new_session(), "create a session")
    }

    /// Makes us the parent of descendants whose own parent dies (PR_SET_CHILD_SUBREAPER).
    public static func becomeSubreaper() throws(SystemError) {
        try SystemError.check(clinux_set_subreaper(), "become the reaper of orphans")
    }

    /// The process's name as `ps` and `top` show it; 15 bytes.
    public static func setName(_ name: String) {
        _ = clinux_set_name(name)
    }

    /// Niceness, -20 to 19: of the calling thread, of those that it starts from now on, and of our session.
    ///
    /// Where the kernel groups processes by session (autogroups, sched(7)) niceness counts only among those of one
    /// session, and each worker has a session of its own. A session that is somebody else's stays as it is.
    public static func setPriority(_ value: Int32) throws(SystemError) {
        try SystemError.check(clinux_set_priority(value), "set the priority")
        // Not there without autogroups.
        if isSessionLeader { try? SmallFile.write("/proc/self/autogroup", "\(value)") }
    }

    /// Raises the limit on open descriptors as far as we may, and answers what it was.
    public static func raiseDescriptorLimit() throws(SystemError) -> DescriptorLimit {
        var limit = DescriptorLimit(soft: 0, hard: 0)
        try SystemError.check(
            clinux_get_limit(descriptorLimitResource, &limit.soft, &limit.hard),
            "read the limit on descriptors"
        )
        if limit.soft < limit.hard {
            try SystemError.check(
                clinux_set_limit(descriptorLimitResource, limit.hard, limit.hard),
                "raise the limit on descriptors"
            )
        }
        return limit
    }

    /// -1000 (never) to 1000 (first), for the kernel's out-of-memory killer.
    public static func oomScoreAdjust() -> Int32? {
        SmallFile.text("/proc/self/oom_score_adj").flatMap { Int32($0) }
    }

    /// Sets the score; lowering it needs privileges.
    public static func setOOMScoreAdjust(_ value: Int32) throws(SystemError) {
        try SmallFile.write("/proc/self/oom_score_adj", "\(value)")
    }

    /// Sleeps. For the moments before anything is served.
    public static func pause(milliseconds: Int32) {
        _ = poll(nil, 0, max(0, milliseconds))
    }

    /// The value of an environment variable; nil when it is not set.
    public static func environment(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }
    }

    /// Removes a variable from our environment, for the programs that we start.
    public static func removeEnvironment(_ name: String) {
        unsetenv(name)
    }
}

/// Lines on standard error.
public enum StandardError {
    /// Writes a line, unless whoever reads it has stopped reading: this never waits.
    public static func line(_ text: String) {
        var state = pollfd(fd: 2, events: Int16(POLLOUT), revents: 0)
        guard poll(&state, 1, 0) == 1, state.revents & Int16(POLLOUT) != 0 else { return }
        // A pipe that is ready takes 4,096 bytes without waiting.
        let bytes = Array(text.utf8.prefix(4000)) + [10]
        _ = clinux_write(2, bytes, bytes.count)
    }
}

/// Files that several processes or lives of a process share.
public enum FileSystem {
    /// Removes a file; one that is missing is no error.
    public static func remove(_ path: String) {
        _ = clinux_unlink(path)
    }

    /// Makes a directory; one that is there is no error.
    public static func makeDirectory(_ path: String, mode: UInt32) throws(SystemError) {
        let result = clinux_mkdir(path, mode)
        if result == -17 { return }
        try SystemError.check(result, "create the directory", path)
    }

    /// Writes a small file anew.
    public static func replace(_ path: String, with text: String, mode: UInt32 = 0o644) throws(SystemError) {
        // O_WRONLY | O_CREAT | O_TRUNC
        let file = try FileDescriptors.open(path, flags: 0o1101, mode: mode)
        let bytes = Array(text.utf8)
        try SystemError.check(clinux_write(file.rawValue, bytes, bytes.count), "write to", path)
    }
}
