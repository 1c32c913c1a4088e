import CLinux
import Glibc

/// One group of the cgroup v2 hierarchy, by the path of its directory.
public struct Cgroup: Hashable, Sendable {
    /// Absolute path in the file system.
    public var path: String

    public init(path: String) {
        self.path = path
    }

    /// The cgroup of that name below this one, whether it exists or not.
    public func child(_ name: String) -> Cgroup {
        Cgroup(path: path.hasSuffix("/") ? path + name : path + "/" + name)
    }

    /// Makes the group; nothing when it is there.
    public func create() throws(SystemError) {
        let result = clinux_mkdir(path, 0o755)
        if result == -17 { return }
        try SystemError.check(result, "create the cgroup", path)
    }

    /// Removes the group. It must be empty and without children (EBUSY).
    public func remove() throws(SystemError) {
        let result = clinux_rmdir(path)
        if result == -2 { return }
        try SystemError.check(result, "remove the cgroup", path)
    }

    /// Whether any live process is in it or below it.
    public func isPopulated() throws(SystemError) -> Bool {
        let file = try FileDescriptors.open(path + "/cgroup.events", flags: 0)
        return try Cgroup.isPopulated(events: file.rawValue, path: path)
    }

    /// The same from an open `cgroup.events`, which may be kept and asked again and again.
    public static func isPopulated(events: Int32, path: @autoclosure () -> String) throws(SystemError) -> Bool {
        var buffer: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        let result = withUnsafeMutableBytes(of: &buffer) { raw -> Int in
            let count = clinux_pread(events, raw.baseAddress, raw.count, 0)
            guard count > 0 else { return count }
            // `populated 0` stands first, then `frozen 0`.
            let text = raw.prefix(count)
            guard text.starts(with: "populated ".utf8), text.count > 10 else { return -5 }
            return text[10] == UInt8(ascii: "0") ? 0 : 1
        }
        // The directory was removed: nothing can be in it.
        if result == -19 { return false }
        return try SystemError.check(result, "read the events of the cgroup", path()) == 1
    }

    /// Pids in this group, without those below. A process of another pid namespace reads as 0 and is left out.
    public func processes() throws(SystemError) -> [Int32] {
        let text = try SmallFile.read(path + "/cgroup.procs", limit: 64 << 20)
        return text.split(separator: 10).compactMap { Int32(String(decoding: $0, as: UTF8.self)) }.filter { $0 > 0 }
    }

    /// This group and all below it, parents first.
    public func subtree() -> [Cgroup] {
        var found = [self]
        var next = 0
        while next < found.count, found.count < 65_536 {
            found.append(contentsOf: found[next].children())
            next += 1
        }
        return found
    }

    /// The cgroups right below this one.
    public func children() -> [Cgroup] {
        DirectoryListing.directories(path).map { child($0) }
    }

    /// SIGKILL to every process in it and below it, those being forked included (`cgroup.kill`, Linux 5.14). Where
    /// that is missing, to each that is listed, once: call it again until the group is not populated.
    public func kill() throws(SystemError) {
        do {
            try SmallFile.write(path + "/cgroup.kill", "1")
        } catch {
            for group in subtree() {
                for pid in try group.processes() { _ = clinux_kill(pid, 9) }
            }
        }
    }

    /// Moves a process into this group; 0 is the calling process.
    public func add(_ pid: Int32) throws(SystemError) {
        try SmallFile.write(path + "/cgroup.procs", "\(pid)")
    }

    /// Writes a setting such as `memory.max`.
    public func write(_ file: String, _ value: String) throws(SystemError) {
        try SmallFile.write(path + "/" + file, value)
    }

    /// The number after `key` in a file of keys and numbers, such as `oom_kill` in `memory.events`; nil when the file
    /// or the key is not there.
    public func counter(_ key: String, in file: String) -> UInt64? {
        guard let text = SmallFile.text(path + "/" + file) else { return nil }
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, words[0] == key { return UInt64(words[1]) }
        }
        return nil
    }

    /// Controllers that may be enabled for children.
    public func availableControllers() -> [String] {
        SmallFile.text(path + "/cgroup.controllers")?.split(separator: " ").map { String($0) } ?? []
    }

    /// Controllers that are enabled for children.
    public func enabledControllers() -> [String] {
        SmallFile.text(path + "/cgroup.subtree_control")?.split(separator: " ").map { String($0) } ?? []
    }
}

/// Where the cgroup v2 hierarchy is and where this process stands in it.
public struct CgroupTree: Hashable, Sendable {
    /// The mount point: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` in hybrid mode.
    public var mountPoint: String
    /// The group of this process.
    public var own: Cgroup

    /// Finds the hierarchy; nil when there is none mounted, or when our group is not visible in it.
    public static func find() -> CgroupTree? {
        guard let mounts = SmallFile.text("/proc/self/mountinfo", limit: 8 << 20),
            let membership = SmallFile.text("/proc/self/cgroup")
        else { return nil }
        return find(mounts: mounts, membership: membership)
    }

    static func find(mounts: String, membership: String) -> CgroupTree? {
        guard let mount = mounts.split(separator: "\n").lazy.compactMap({ cgroupMount(String($0)) }).first,
            let line = membership.split(separator: "\n").first(where: { $0.hasPrefix("0::") })
        else { return nil }
        var path = String(line.dropFirst(3))
        // A mount of a part of the tree (a container): paths count from that part.
        if mount.root != "/" {
            guard path == mount.root || path.hasPrefix(mount.root + "/") else { return nil }
            path.removeFirst(mount.root.count)
        }
        // `/../x` is outside of our namespace; ` (deleted)` is gone.
        if path.split(separator: "/").contains("..") || path.hasSuffix(" (deleted)") { return nil }
        let own = path == "/" || path.isEmpty ? mount.point : mount.point + path
        guard FileKind.isDirectory(own) else { return nil }
        return CgroupTree(mountPoint: mount.point, own: Cgroup(path: own))
    }

    /// Root and mount point of a line of mountinfo (proc_pid_mountinfo(5)) when it is a cgroup2 file system.
    private static func cgroupMount(_ line: String) -> (root: String, point: String)? {
        let fields = line.split(separator: " ")
        guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 1, fields[dash + 1] == "cgroup2"
        else { return nil }
        return (unescape(fields[3]), unescape(fields[4]))
    }

    /// Space, tab, newline and backslash are written as octal escapes.
    private static func unescape(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.first {
            if byte == UInt8(ascii: "\\"), rest.count >= 4,
                let code = UInt8(String(decoding: rest.dropFirst().prefix(3), as: UTF8.self), radix: 8)
            {
                bytes.append(code)
                rest = rest.dropFirst(4)
            } else {
                bytes.append(byte)
                rest = rest.dropFirst()
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// Names in a directory.
enum DirectoryListing {
    /// Names of the directories in it; none when it cannot be read.
    static func directories(_ path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            guard entry.pointee.d_type == UInt8(DT_DIR) else { continue }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { raw in
                String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }
}
