import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// Many restarts and many services: descriptors and memory stay flat (rule P9).
    @Suite(.serialized) struct ChurnTests {
        /// What daemon and shim hold.
        private struct Holdings {
            var descriptors: Int
            var daemonMemory: Int
            var shimMemory: Int
            var threads: Int

            init(_ fleet: Fleet) throws {
                let shim = try fleet.shim()
                descriptors = Processes.descriptors(fleet.daemon) + Processes.descriptors(shim)
                daemonMemory = Processes.privateMemory(fleet.daemon)
                shimMemory = Processes.privateMemory(shim)
                threads = Processes.threads(fleet.daemon)
            }

            var text: String {
                "\(descriptors) descriptors, \(threads) threads, \(daemonMemory) + \(shimMemory) KiB of private memory"
            }
        }

        @Test func tenThousandRestartsLeaveNothingBehind() throws {
            let fleet = try Fleet(
                """
                [services.churn]
                command = ["/bin/true"]
                type = "simple"
                replicas = 40
                restart.backoff_initial = "0s"
                restart.stable_after = "0s"
                [services.still]
                command = ["/bin/sleep", "1000"]
                type = "simple"
                """
            )
            try fleet.start()
            let restarts = { (status: Status) in status.instances.reduce(0) { $0 + $1.restarts } }
            let watch = Stopwatch()
            // Rings and tables have their size by then.
            try fleet.wait("3,000 restarts", within: .seconds(90)) { restarts($0) >= 3_000 }
            let early = try Holdings(fleet)
            try fleet.wait("10,000 restarts", within: .seconds(120)) { restarts($0) >= 10_000 }
            let late = try Holdings(fleet)
            let count = try restarts(fleet.status())
            report("\(count) restarts in \(rounded(watch.seconds)) s; at 3,000: \(early.text); at 10,000: \(late.text)")
            // A connection of this test, and what a child being started has, come and go.
            #expect(abs(late.descriptors - early.descriptors) <= 8)
            #expect(late.threads == early.threads)
            #expect(late.daemonMemory - early.daemonMemory < 1024)
            #expect(late.shimMemory - early.shimMemory < 256)
            #expect(try fleet.instance("still/0").restarts == 0)
            #expect(try fleet.control("stop", "churn").exitCode == 0)
            let workers = Processes.ofFleet(fleet.path)
            #expect(workers.count == 1, "\(workers.map(Processes.commandLine))")
            fleet.stopAndCheck()
        }

        @Test func aThousandServicesComeAndGo() throws {
            let services = (0..<1_000).map { number in
                "[services.s\(number)]\ncommand = [\"/bin/sleep\", \"1000\"]\ntype = \"simple\"\n"
            }
            let fleet = try Fleet(services.joined())
            let watch = Stopwatch()
            try fleet.startAndWait(.seconds(90))
            let started = watch.seconds
            let status = try fleet.status()
            #expect(status.services.count == 1_000)
            #expect(Set(status.instances.compactMap(\.pid)).count == 1_000)
            #expect(Processes.ofFleet(fleet.path).count == 1_000)
            let port = try fleet.healthPort()
            let looking = Stopwatch()
            let metrics = try HTTP.get("/metrics", port: port)
            #expect(metrics.status == 200 && metrics.body.contains("eider_service_ready{service=\"s999\"} 1\n"))
            let people = try fleet.control("status")
            #expect(people.exitCode == 0 && people.output.contains("s999"))
            #expect(try HTTP.get("/health/s500/0", port: port).status == 200)
            let memory = try Processes.proportionalMemory(fleet.daemon) + Processes.proportionalMemory(fleet.shim())
            let looked = looking.seconds
            let stopping = Stopwatch()
            fleet.stopAndCheck(.seconds(60))
            report(
                "1,000 services were up after \(rounded(started)) s (debug build, with the test's own looking), "
                    + "looked at in \(rounded(looked)) s, gone after \(rounded(stopping.seconds)) s, \(memory) KiB"
            )
        }

        /// Followers, half requests and the like that come and go with the daemon's clients.
        @Test func clientsThatLeaveTakeTheirDescriptorsWithThem() throws {
            let fleet = try Fleet(
                """
                [services.sleeper]
                command = ["/bin/sleep", "1000"]
                type = "simple"
                """
            )
            try fleet.startAndWait()
            let port = try fleet.healthPort()
            let before = Processes.descriptors(fleet.daemon)
            for _ in 0..<200 {
                let follower = try Connection(path: fleet.socket)
                follower.send("GET /v1/events?follow=true HTTP/1.1\r\nHost: test\r\n\r\n")
                let half = try Connection(port: port)
                half.send("GET / HT")
                _ = try Connection(port: port)
                _ = follower.read(.seconds(5)) { $0.count > 10 }
            }
            let back = Deadline(.seconds(10)).wait(every: 20_000) { Processes.descriptors(fleet.daemon) <= before + 1 }
            #expect(back, "\(before) descriptors before, \(Processes.descriptors(fleet.daemon)) after")
            fleet.stopAndCheck()
        }
    }
}
