import LinuxPlatform
import SupervisorCore

/// Which processes were started, in a file that outlives us: after a `kill -9` of the shim the next one finds what is
/// left by it, even where a worker cleared its environment.
///
/// Mapped, not written: an entry costs no system call, and is there the moment it is stored.
final class Ledger {
    struct Entry {
        var pid: Int32
        /// Milliseconds since boot between which it was started.
        var earliest: Int64
        var latest: Int64
    }

    static let slots = 4096
    private static let slotBytes = 24
    private static let magic: UInt64 = 0x3152_4544_4c45_4445

    private let mapping: SharedMapping
    private let path: String
    private var free: [Int] = []

    init(path: String, fleet: FleetToken) throws(SystemError) {
        self.path = path
        mapping = try SharedMapping(path: path, size: (Self.slots + 1) * Self.slotBytes)
        var host = FNV1a()
        // Of another boot, or seen from another pid namespace, the pids mean something else.
        host.add(SmallFile.text("/proc/sys/kernel/random/boot_id") ?? "")
        host.add(FileIdentity(path: "/proc/self/ns/pid")?.inode ?? 0)
        host.add(fleet.value)
        let isOurs = load(0, UInt64.self) == Self.magic && load(8, UInt64.self) == host.value
        if !isOurs { wipe() }
        store(Self.magic, 0)
        store(host.value, 8)
    }

    /// What a former shim had written down.
    func entries() -> [Entry] {
        (1...Self.slots).compactMap { slot in
            let offset = slot * Self.slotBytes
            let pid = load(offset, Int32.self)
            guard pid > 1 else { return nil }
            let start = load(offset + 8, Int64.self)
            return Entry(pid: pid, earliest: start, latest: start &+ Int64(load(offset + 4, UInt32.self)))
        }
    }

    /// Forgets everything.
    func clear() {
        for slot in 1...Self.slots { store(Int32(0), slot * Self.slotBytes) }
        free = Array((1...Self.slots).reversed())
    }

    /// Writes a process down; nil when there is no room.
    func add(pid: Int32, startedBetween earliest: Int64, and latest: Int64) -> Int? {
        guard let slot = free.popLast() else { return nil }
        let offset = slot * Self.slotBytes
        store(earliest, offset + 8)
        store(UInt32(clamping: latest &- earliest), offset + 4)
        // Last: the entry counts from here on.
        store(pid, offset)
        return slot
    }

    func remove(_ slot: Int) {
        store(Int32(0), slot * Self.slotBytes)
        free.append(slot)
    }

    func deleteFile() {
        FileSystem.remove(path)
    }

    private func wipe() {
        for offset in mapping.bytes.indices { mapping.bytes[offset] = 0 }
    }

    private func load<Value: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, _ type: Value.Type) -> Value {
        guard offset >= 0, offset + MemoryLayout<Value>.size <= mapping.bytes.count else { return 0 }
        return mapping.bytes.loadUnaligned(fromByteOffset: offset, as: type)
    }

    private func store<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value, _ offset: Int) {
        guard offset >= 0, offset + MemoryLayout<Value>.size <= mapping.bytes.count else { return }
        mapping.bytes.storeBytes(of: value, toByteOffset: offset, as: Value.self)
    }
}
