import Glibc
import LinuxPlatform
import Metrics

extension ProcessFigures {
    /// What this process uses now, from /proc.
    static func current() -> ProcessFigures {
        var figures = ProcessFigures()
        figures.openDescriptors = try? DescriptorCount.current()
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            figures.maximumDescriptors = UInt64(limit.rlim_cur)
        }
        if let stat = SmallFile.text("/proc/self/stat") {
            let boot = Double(MonotonicClock.wallClockOffset()) / 1e9
            figures.read(
                stat: stat,
                ticksPerSecond: Double(sysconf(Int32(_SC_CLK_TCK))),
                pageSize: UInt64(clamping: sysconf(Int32(_SC_PAGESIZE))),
                bootTime: boot
            )
        }
        return figures
    }
}
