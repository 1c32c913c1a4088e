import LinuxPlatform
import SupervisorCore

/// Reads pressure stall information: the host's, or, in a container that hides it, that of our own cgroup.
enum HostPressure {
    /// nil where the kernel does not tell. Reads files of /proc or of a cgroup, which never wait for a disk.
    static func read() -> PressureReading? {
        reading { SmallFile.text("/proc/pressure/\($0)", limit: 1024) }
            ?? ownGroup().flatMap { group in
                reading { SmallFile.text("\(group)/\($0).pressure", limit: 1024) }
            }
    }

    private static func reading(_ text: (String) -> String?) -> PressureReading? {
        let (cpu, memory, io) = (text("cpu"), text("memory"), text("io"))
        if cpu == nil, memory == nil, io == nil { return nil }
        var reading = PressureReading()
        reading.cpuSome = cpu.flatMap { PressureReading.averageOfTenSeconds("some", in: $0) } ?? 0
        reading.memoryFull = memory.flatMap { PressureReading.averageOfTenSeconds("full", in: $0) } ?? 0
        reading.ioFull = io.flatMap { PressureReading.averageOfTenSeconds("full", in: $0) } ?? 0
        return reading
    }

    private static func ownGroup() -> String? {
        let lines = SmallFile.text("/proc/self/cgroup", limit: 8192)?.split(separator: "\n")
        guard let line = lines?.first(where: { $0.hasPrefix("0::/") }) else { return nil }
        return "/sys/fs/cgroup" + line.dropFirst("0::".count)
    }
}
