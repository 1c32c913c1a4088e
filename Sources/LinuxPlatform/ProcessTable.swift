import CLinux
import Glibc
public import SupervisorCore

/// What /proc says of processes.
public enum ProcessTable {
    /// One line of /proc/PID/stat.
    public struct Entry: Hashable, Sendable {
        public var pid: Int32
        public var parent: Int32
        /// Its process group.
        public var group: Int32
        public var session: Int32
        /// `R`, `S`, `D`, `Z`, …
        public var state: UInt8
        /// When it was started, in milliseconds since boot (CLOCK_BOOTTIME), to 10 ms.
        public var startMilliseconds: Int64
        public var threads: Int32

        /// Nothing of it runs any more. A process whose first thread has ended shows as `Z` while others go on.
        public var isDead: Bool { (state == UInt8(ascii: "Z") || state == UInt8(ascii: "X")) && threads <= 1 }
    }

    public static var ownPid: Int32 { getpid() }

    /// Most processes that are looked at; the kernel's own limit of pids.
    private static let mostProcesses = 4_194_304

    /// Pids of all processes that are visible.
    public static func pids() throws(SystemError) -> [Int32] {
        try numbers("/proc")
    }

    /// The numbers among the names of a directory.
    static func numbers(_ path: String) throws(SystemError) -> [Int32] {
        var capacity = 4096
        while true {
            var result = 0
            let numbers = [Int32](unsafeUninitializedCapacity: capacity) { buffer, count in
                result = clinux_list_numbers(path, buffer.baseAddress, buffer.count)
                count = max(0, result)
            }
            if result == -28, capacity < mostProcesses {
                capacity *= 4
                continue
            }
            try SystemError.check(result, "list", path)
            return numbers
        }
    }

    /// A descriptor of the process, readable when it has ended (pidfd_open(2), Linux 5.3).
    public static func open(_ pid: Int32) throws(SystemError) -> Descriptor {
        Descriptor(try SystemError.check(clinux_pidfd_open(pid), "open process", "\(pid)"))
    }

    /// Device and inode of what a process has open as this descriptor; nil when nothing, or when it may not be asked.
    public static func openFile(_ descriptor: Int32, of pid: Int32) -> FileIdentity? {
        FileIdentity(path: "/proc/\(pid)/fd/\(descriptor)")
    }

    /// All processes. One that ends meanwhile is left out.
    public static func entries() throws(SystemError) -> [Entry] {
        try pids().compactMap { entry($0) }
    }

    /// One process; nil when there is none.
    public static func entry(_ pid: Int32) -> Entry? {
        guard let bytes = try? SmallFile.read("/proc/\(pid)/stat", limit: 1024) else { return nil }
        return parse(bytes)
    }

    /// The name may hold spaces and parentheses: fields are counted from the last parenthesis.
    static func parse(_ bytes: [UInt8]) -> Entry? {
        guard let close = bytes.lastIndex(of: UInt8(ascii: ")")), let open = bytes.firstIndex(of: UInt8(ascii: "("))
        else { return nil }
        let fields = bytes[(close + 1)...].split(separator: UInt8(ascii: " "))
        guard fields.count >= 20, let state = fields[0].first,
            let pid = Int32(String(decoding: bytes[..<open].dropLast(), as: UTF8.self)),
            let parent = Int32(String(decoding: fields[1], as: UTF8.self)),
            let group = Int32(String(decoding: fields[2], as: UTF8.self)),
            let session = Int32(String(decoding: fields[3], as: UTF8.self)),
            let threads = Int32(String(decoding: fields[17], as: UTF8.self)),
            let ticks = Int64(String(decoding: fields[19], as: UTF8.self)), ticks < Int64.max / 1000
        else { return nil }
        return Entry(
            pid: pid,
            parent: parent,
            group: group,
            session: session,
            state: state,
            startMilliseconds: ticks * 1000 / max(1, Int64(sysconf(Int32(_SC_CLK_TCK)))),
            threads: threads
        )
    }

    /// Our own direct children, zombies included.
    ///
    /// From /proc/self/task/TID/children, which costs one read however many processes the host has; where the kernel
    /// was built without it, from a look at all processes. Only for a process with one thread.
    public static func children() throws(SystemError) -> [Int32] {
        let own = getpid()
        if let bytes = try? SmallFile.read("/proc/self/task/\(own)/children", limit: 1 << 22) {
            return bytes.split(separator: UInt8(ascii: " ")).compactMap { Int32(String(decoding: $0, as: UTF8.self)) }
        }
        return try entries().filter { $0.parent == own }.map(\.pid)
    }

    /// The environment a process was started with, as `NAME=value`; empty when it cannot be read.
    public static func environment(_ pid: Int32) -> [String] {
        guard let bytes = try? SmallFile.read("/proc/\(pid)/environ", limit: 4 << 20) else { return [] }
        return bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The value of one variable of a process's first environment; nil when it is not there.
    public static func variable(_ name: String, of pid: Int32) -> String? {
        guard let bytes = try? SmallFile.read("/proc/\(pid)/environ", limit: 4 << 20) else { return nil }
        let prefix = Array("\(name)=".utf8)
        for entry in bytes.split(separator: 0) where entry.starts(with: prefix) {
            return String(decoding: entry.dropFirst(prefix.count), as: UTF8.self)
        }
        return nil
    }
}

/// How many descriptors this process has open.
public enum DescriptorCount {
    /// The number of descriptors that are open now.
    public static func current() throws(SystemError) -> Int {
        // 0, 1 and 2 may be open or not: 0 is no positive number. The directory itself is one of those listed.
        try ProcessTable.numbers("/proc/self/fd").count
    }
}

/// Where our own program is.
public enum ExecutableLocation {
    /// The path of the program that runs, as the kernel has it. After an upgrade replaced the file it ends in
    /// ` (deleted)`, which is taken off: the path then names the new file.
    public static func current() throws(SystemError) -> String {
        var buffer = [CChar](repeating: 0, count: 4097)
        let count = try SystemError.check(clinux_readlink("/proc/self/exe", &buffer, 4096), "read", "/proc/self/exe")
        let path = String(decoding: buffer[..<Int(count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let mark = " (deleted)"
        return path.hasSuffix(mark) ? String(path.dropLast(mark.count)) : path
    }
}

/// Children of this process.
public enum ChildProcess {
    public struct Exit: Hashable, Sendable {
        public var pid: Int32
        public var status: ExitStatus
        public var usage: ResourceUsage
    }

    /// Reaps one child that has ended, any when `pid` is 0; nil when none has. Never waits.
    public static func reap(_ pid: Int32 = 0) -> Exit? {
        var raw = clinux_exit()
        guard clinux_reap(pid, false, &raw) == 1 else { return nil }
        let status: ExitStatus =
            raw.code == 1 ? .code(raw.status) : .signal(SignalNumber(rawValue: raw.status), coreDumped: raw.code == 3)
        let usage = ResourceUsage(
            userMicroseconds: raw.user_us,
            systemMicroseconds: raw.system_us,
            maximumResidentKibibytes: raw.maximum_resident_kib
        )
        return Exit(pid: raw.pid, status: status, usage: usage)
    }
}
