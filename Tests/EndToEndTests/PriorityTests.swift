import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// The supervisor and what answers probes come before the workers, however much these would like to do.
    @Suite(.serialized) struct PriorityTests {
        /// Niceness of every thread of a process, and of its session where sessions count.
        private func niceness(_ pid: Int32) -> (threads: Set<Int32>, session: Int32?) {
            let threads = Processes.threadNumbers(pid).compactMap { thread -> Int32? in
                // The name, which may hold anything, ends with the last parenthesis; niceness is the 17th field after.
                let line = File.text("/proc/\(pid)/task/\(thread)/stat")
                let fields = line.split(separator: ")").last?.split(separator: " ") ?? []
                return fields.count > 16 ? Int32(fields[16]) : nil
            }
            let group = File.text("/proc/\(pid)/autogroup").split(whereSeparator: \.isWhitespace).last
            return (Set(threads), group.flatMap { Int32($0) })
        }

        @Test(.enabled(if: geteuid() == 0, "only root may come before others"))
        func theDaemonComesBeforeItsWorkers() throws {
            let fleet = try Fleet(
                """
                [services.sleeper]
                command = ["/bin/sleep", "1000"]
                type = "simple"
                replicas = 2
                """
            )
            try fleet.startAndWait()
            for round in 1...2 {
                let daemon = niceness(fleet.daemon)
                #expect(daemon.threads == [-10] && [-10, nil].contains(daemon.session), "\(round): \(daemon)")
                let shim = try niceness(fleet.shim())
                #expect(shim.threads == [-5] && [-5, nil].contains(shim.session), "\(round): \(shim)")
                for (name, pid) in try fleet.pids() {
                    let worker = niceness(pid)
                    #expect(worker.threads == [0] && [0, nil].contains(worker.session), "\(name): \(worker)")
                }
                fleet.killDaemon()
                try fleet.start()
            }
            fleet.stopAndCheck()
        }
    }
}
