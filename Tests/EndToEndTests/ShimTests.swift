import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// The parent of the workers dies: nothing of the fleet stays behind unmanaged.
    @Suite(.serialized) struct ShimTests {
        private static let fleet = """
            [services.worker]
            command = ["WORKER", "--no-listen", "--fork", "2", "--fork-setsid"]
            type = "notify"
            replicas = 2
            [services.bare]
            command = ["/usr/bin/env", "-i", "/bin/sh", "-c", "/bin/sleep 1000 & : DIR; exec /bin/sleep 1000"]
            type = "simple"
            replicas = 2
            [services.deep]
            command = ["/bin/sh", "-c", "/usr/bin/env -i /usr/bin/setsid /bin/sleep 1000 & wait"]
            type = "simple"
            """

        private func started() throws -> (fleet: Fleet, old: [Int32]) {
            let fleet = try Fleet(Self.fleet)
            try fleet.startAndWait()
            // 2 × (1 + 2 children), 2 × (1 + 1 child), 1 + 1 child.
            let all = Deadline(.seconds(10)).wait { Processes.ofFleet(fleet.path).count >= 12 }
            let old = Processes.ofFleet(fleet.path)
            #expect(all, "\(old.map(Processes.commandLine))")
            return (fleet, old)
        }

        private func check(_ fleet: Fleet, _ old: [Int32]) throws {
            let ended = try fleet.event("remains-ended")
            report("after the death of the shim: \(ended.text)")
            try fleet.waitUntilReady()
            let left = old.filter(Processes.lives)
            #expect(left.isEmpty, "\(left.map(Processes.commandLine))")
            let full = Deadline(.seconds(10)).wait { Processes.ofFleet(fleet.path).count == 12 }
            #expect(full, "\(Processes.ofFleet(fleet.path).map(Processes.commandLine))")
            // The end of the old ones comes before the start of the new ones.
            let starts = try fleet.events().filter { $0.kind == "started" && $0.sequence > ended.sequence }
            #expect(starts.count == 5)
        }

        @Test func aKilledShimIsReplacedAndItsRemainsAreEndedFirst() throws {
            let (fleet, old) = try started()
            let shim = try fleet.shim()
            kill(shim, SIGKILL)
            try fleet.wait("another shim") { _ in
                let shims = Processes.shims(fleet.path)
                return shims.count == 1 && shims != [shim]
            }
            _ = try fleet.event("shim-lost")
            try check(fleet, old)
            fleet.stopAndCheck()
        }

        @Test func bothKilledAtOnceTheNextDaemonEndsTheRemainsFirst() throws {
            let (fleet, old) = try started()
            let shim = try fleet.shim()
            kill(shim, SIGKILL)
            fleet.killDaemon()
            #expect(old.contains(where: Processes.lives))
            try fleet.start()
            try check(fleet, old)
            fleet.stopAndCheck()
        }

        @Test func theDaemonKilledFirstAndTheShimWhileNobodyWatches() throws {
            let (fleet, old) = try started()
            fleet.killDaemon()
            kill(try fleet.shim(), SIGKILL)
            try fleet.start()
            try check(fleet, old)
            fleet.stopAndCheck()
        }

        @Test func oneDaemonAndOneShimPerDirectory() throws {
            let fleet = try Fleet(
                """
                [services.sleeper]
                command = ["/bin/sleep", "1000"]
                type = "simple"
                """
            )
            try fleet.startAndWait()
            let pids = try fleet.pids()
            let second = try Command.run([Command.programs + "/eiderd", "--config", fleet.configuration])
            #expect(second.exitCode == 1)
            #expect(second.errors.hasPrefix("eiderd: cannot start"), "\(second.errors)")
            #expect(second.errors.contains("\(fleet.daemon)"))
            let shim = try Command.run(
                [Command.programs + "/eider-shim", "--runtime-directory", fleet.path + "/run"])
            #expect(shim.exitCode == 1)
            #expect(shim.errors.hasPrefix("eider-shim: cannot start"), "\(shim.errors)")
            #expect(try fleet.pids() == pids)
            #expect(try fleet.status().instances.allSatisfy { $0.ready && $0.restarts == 0 })
            fleet.stopAndCheck()
        }

        /// A kill of the whole process group or a closed terminal must not reach the workers.
        @Test func theDaemonsProcessGroupHasNeitherShimNorWorkers() throws {
            let fleet = try Fleet(
                """
                [services.sleeper]
                command = ["/bin/sleep", "1000"]
                type = "simple"
                """
            )
            try fleet.startAndWait()
            let daemon = try #require(ProcessTable.entry(fleet.daemon))
            let shim = try #require(ProcessTable.entry(fleet.shim()))
            let worker = try #require(fleet.pids()["sleeper/0"].flatMap { ProcessTable.entry($0) })
            #expect(Set([daemon.session, shim.session, worker.session]).count == 3)
            fleet.stopAndCheck()
        }
    }
}
