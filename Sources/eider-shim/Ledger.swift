import LinuxPlatform
import ShimProtocol
import SupervisorCore

/// Which processes were started, in a file that outlives us: after a `kill -9` of the shim the next one finds what is
/// left by it, even where a worker cleared its environment.
///
/// Written in place, an entry with one call: unlike a mapping, a file that is full or was cut cannot end us.
final class Ledger {
    struct Entry {
        var pid: Int32
        /// Milliseconds since boot between which it was started.
        var earliest: Int64
        var latest: Int64

        /// Whether a process with the pid is this one, by when it was started: to a tick of the clock that start times
        /// are counted in, and one more.
        func includes(startMilliseconds start: Int64) -> Bool {
            start >= earliest &- 20 && start <= latest &+ 20
        }
    }

    static let slots = 4096
    private static let slotBytes = 24
    private static let size = (slots + 1) * slotBytes
    private static let magic: UInt64 = 0x3152_4544_4c45_4445

    /// What former shims had written down.
    let former: [Entry]
    /// Places for the file, the best first.
    private let paths: [String]
    private let host: UInt64
    private var file: FixedFile?
    private var free: [Int] = []
    private var hasWarned = false

    /// - Parameters:
    ///   - directories: where the file may be, the best place first.
    ///   - former: the names that the fleet may have had.
    init(in directories: [String], fleet: FleetToken, former fleets: [FleetToken]) {
        paths = directories.map { $0 + "/shim.ledger" }
        host = Self.hostHash(fleet)
        let hosts = Set(fleets.map(Self.hostHash))
        former = paths.flatMap { Self.entries(in: (try? SmallFile.read($0, limit: Self.size)) ?? [], of: hosts) }
    }

    /// Of another boot, or seen from another pid namespace, the pids mean something else.
    private static func hostHash(_ fleet: FleetToken) -> UInt64 {
        var host = FNV1a()
        host.add(SmallFile.text("/proc/sys/kernel/random/boot_id") ?? "")
        host.add(FileIdentity(path: "/proc/self/ns/pid")?.inode ?? 0)
        host.add(fleet.value)
        return host.value
    }

    private static func entries(in bytes: [UInt8], of hosts: Set<UInt64>) -> [Entry] {
        guard load(bytes, 0, UInt64.self) == magic, hosts.contains(load(bytes, 8, UInt64.self)) else { return [] }
        return (1...slots).compactMap { slot in
            let offset = slot * slotBytes
            let pid = load(bytes, offset, Int32.self)
            guard pid > 1 else { return nil }
            let start = load(bytes, offset + 8, Int64.self)
            return Entry(pid: pid, earliest: start, latest: start &+ Int64(load(bytes, offset + 4, UInt32.self)))
        }
    }

    /// Forgets what former shims wrote down, and begins a ledger of our own, where there is room for one.
    func begin() {
        var empty = Self.bytes(Self.magic) + Self.bytes(host)
        empty.append(contentsOf: repeatElement(0, count: Self.size - empty.count))
        var reasons: [String] = []
        for path in paths {
            if file != nil {
                FileSystem.remove(path)
                continue
            }
            do throws(SystemError) {
                let opened = try FixedFile(path: path)
                // All of it, so that the room for every entry is ours from here on.
                try opened.write(empty, at: 0)
                file = opened
            } catch {
                reasons.append("\(error)")
                FileSystem.remove(path)
            }
        }
        if file != nil { free = Array((1...Self.slots).reversed()) } else { warn(reasons.joined(separator: "; ")) }
    }

    /// Writes a process down; nil when there is no room.
    func add(pid: Int32, startedBetween earliest: Int64, and latest: Int64) -> Int? {
        guard let slot = free.popLast() else { return nil }
        let entry = Self.bytes(pid) + Self.bytes(UInt32(clamping: latest &- earliest)) + Self.bytes(earliest)
        write(entry, slot)
        return slot
    }

    func remove(_ slot: Int) {
        write(Self.bytes(Int32(0)), slot)
        free.append(slot)
    }

    func deleteFile() {
        for path in paths { FileSystem.remove(path) }
    }

    private func write(_ bytes: [UInt8], _ slot: Int) {
        do throws(SystemError) {
            try file?.write(bytes, at: slot * Self.slotBytes)
        } catch {
            warn("\(error)")
        }
    }

    private func warn(_ reason: String) {
        if hasWarned { return }
        hasWarned = true
        StandardError.line(
            "eider-shim: what is started cannot be written down, so that a shim that follows a kill -9 finds "
                + "processes by their mark and cgroup only: \(reason)"
        )
    }

    private static func load<Value: FixedWidthInteger & BitwiseCopyable>(
        _ bytes: [UInt8],
        _ offset: Int,
        _ type: Value.Type
    ) -> Value {
        guard offset >= 0, offset + MemoryLayout<Value>.size <= bytes.count else { return 0 }
        return bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: type) }
    }

    private static func bytes<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value) -> [UInt8] {
        withUnsafeBytes(of: value) { Array($0) }
    }
}
