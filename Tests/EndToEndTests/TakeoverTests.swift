import FoundationEssentials
import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// The daemon dies, or is replaced: nothing changes for a worker (rule P8).
    @Suite(.serialized) struct TakeoverTests {
        private static let fleet = """
            [services.stable]
            command = ["/bin/sleep", "1000"]
            type = "simple"
            replicas = 8
            [services.worker]
            command = ["WORKER", "--no-listen"]
            type = "notify"
            replicas = 2
            [services.slow]
            command = ["WORKER", "--no-listen", "--start-slowly", "6s"]
            type = "notify"
            replicas = 2
            [services.counter]
            command = ["/bin/sh", "-c", "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done"]
            type = "simple"
            logs.max_size = "64MiB"
            [services.crasher]
            command = ["WORKER", "--no-listen", "--crash-after", "300ms"]
            type = "notify"
            replicas = 2
            restart.backoff_initial = "50ms"
            restart.backoff_max = "400ms"
            breaker.mode = "disabled"
            [services.commanded]
            command = ["/bin/sleep", "1000"]
            type = "simple"
            replicas = 4
            breaker.mode = "disabled"
            [services.parked]
            command = ["/bin/sleep", "1000"]
            type = "simple"
            replicas = 2
            [services.waiting]
            command = ["/bin/false"]
            type = "simple"
            restart.backoff_initial = "300s"
            restart.backoff_max = "300s"
            startup.timeout = "1s"
            """

        @Test func hundredKillsChangeNothingForTheWorkers() throws {
            let fleet = try Fleet(Self.fleet)
            try fleet.start()
            let names = ["stable", "worker", "counter"]
            let isUp = { (status: Status) in
                status.services.allSatisfy { !names.contains($0.name) || $0.ready == $0.desired }
            }
            try fleet.wait("stable ones up", isUp)
            #expect(try fleet.control("stop", "parked", "--reason", "on purpose").exitCode == 0)
            let backoff = try fleet.wait(for: "waiting/0", "in backoff") { $0.next_start_in_seconds != nil }
            let backoffWatch = Stopwatch()
            let before = try fleet.status()
            let shim = try fleet.shim()
            let slowest = try killAgainAndAgain(fleet, 100)
            report("100 kill -9 of the daemon: the slowest successor answered after \(rounded(slowest)) s")
            #expect(slowest < 1)
            try fleet.wait("all come to rest", isUp)
            let after = try fleet.status()
            #expect(try fleet.shim() == shim)
            for name in before.instances.map(\.name) where names.contains(where: { name.hasPrefix($0 + "/") }) {
                #expect(after[name]?.pid == before[name]?.pid, "\(name)")
                #expect(after[name]?.restarts == 0, "\(name)")
                #expect(after[name]?.generation == 1, "\(name)")
            }
            // Those that were starting while their daemons died.
            try fleet.wait("slow ones ready") { $0["slow/0"]?.ready == true && $0["slow/1"]?.ready == true }
            let slow = try fleet.status()
            for name in ["slow/0", "slow/1"] {
                #expect(slow[name]?.pid == before[name]?.pid, "\(name)")
                #expect(slow[name]?.restarts == 0, "\(name)")
            }
            for name in ["parked/0", "parked/1"] { #expect(after[name]?.state == "stopped", "\(name)") }
            // The deadline stood still neither, nor did it begin anew.
            let left = try #require(fleet.instance("waiting/0").next_start_in_seconds)
            let wanted = try #require(backoff.next_start_in_seconds) - backoffWatch.seconds
            #expect(abs(left - wanted) < 0.5)
            #expect(after["waiting/0"]?.restarts == before["waiting/0"]?.restarts)
            #expect((after["crasher/0"]?.restarts ?? 0) > 5)
            try checkTwins(fleet)
            try checkCounter(fleet)
            fleet.stopAndCheck()
        }

        /// Kills and restarts the daemon while commands are on their way; the longest time without control, seconds.
        private func killAgainAndAgain(_ fleet: Fleet, _ times: Int) throws -> Double {
            var generator = Seeded.forTests()
            var slowest = 0.0
            var commands: [Int32] = []
            let verbs = [
                ["restart", "commanded/0"], ["stop", "commanded/1"], ["start", "commanded/1"],
                ["signal", "commanded/2", "SIGKILL"], ["restart", "commanded/3"], ["start", "commanded"],
            ]
            for round in 0..<times {
                let verb = verbs[Int(generator.next() % UInt64(verbs.count))]
                let words = [Command.programs + "/eiderctl", "--socket", fleet.socket] + verb
                commands.append(
                    try Command.start(words, output: fleet.path + "/commands.out", errors: fleet.path + "/commands.err")
                )
                // At any instant: before, while and after the command is carried out.
                Deadline.passRandomly(upToMicroseconds: 60_000, &generator)
                fleet.killDaemon()
                let watch = Stopwatch()
                try fleet.launch()
                guard Deadline(.seconds(20)).wait(every: 1_000, { (try? fleet.status()) != nil }) else {
                    throw TestFailure("after kill \(round) the daemon does not answer:\n\(fleet.log.suffix(3000))")
                }
                slowest = max(slowest, watch.seconds)
            }
            // Whatever was asked of a daemon that died has no answer; the tools end by themselves.
            for pid in commands { #expect(Command.wait(pid, .seconds(30)) != -1000) }
            #expect(try fleet.control("start", "commanded").exitCode == 0)
            return slowest
        }

        /// Each instance has one process, and nothing else is there.
        private func checkTwins(_ fleet: Fleet) throws {
            let settled = Deadline(.seconds(10)).wait(every: 20_000) {
                guard let pids = try? Set(fleet.pids().values) else { return false }
                let mains = Processes.ofFleet(fleet.path).filter {
                    ProcessTable.entry($0)?.session == $0 && !Processes.commandLine($0).contains("eiderctl")
                }
                return Set(mains) == pids
            }
            let pids = try fleet.pids()
            #expect(settled, "\(pids) but \(Processes.ofFleet(fleet.path))")
        }

        /// No line is lost: the file has every number.
        private func checkCounter(_ fleet: Fleet) throws {
            #expect(try fleet.control("stop", "counter").exitCode == 0)
            let seen = { () -> (Set<Int>, Int) in
                let text = File.text(fleet.state + "/logs/counter.log")
                let numbers = text.split(separator: "\n").compactMap { line in
                    line.split(separator: " ").last.flatMap { Int($0) }
                }
                return (Set(numbers), numbers.count)
            }
            let complete = Deadline(.seconds(5)).wait(every: 50_000) {
                let (numbers, _) = seen()
                return (numbers.max() ?? 0) == numbers.count && numbers.count > 100
            }
            let (numbers, count) = seen()
            let missing = (1...max(1, numbers.max() ?? 1)).filter { !numbers.contains($0) }
            #expect(complete, "missing \(missing.count): \(missing.prefix(20))")
            report(
                "\(numbers.count) lines over 100 deaths, \(count - numbers.count) of them twice, \(missing.count) lost"
            )
        }

        /// Deaths while everything is being started, and while everything is being stopped.
        @Test func killsDuringTheFirstStartAndTheLastStop() throws {
            var generator = Seeded.forTests()
            for _ in 0..<8 {
                let fleet = try Fleet(
                    """
                    [services.base]
                    command = ["WORKER", "--no-listen"]
                    type = "notify"
                    replicas = 6
                    [services.prepare]
                    command = ["/bin/sh", "-c", "echo prepared; sleep 0.05"]
                    type = "oneshot"
                    after = ["base"]
                    [services.top]
                    command = ["WORKER", "--no-listen"]
                    type = "notify"
                    replicas = 6
                    after = ["prepare"]
                    """,
                    ["limits": "concurrent_starts = 3"]
                )
                try fleet.launch()
                for _ in 0..<4 {
                    Deadline.passRandomly(upToMicroseconds: 120_000, &generator)
                    fleet.killDaemon()
                    try fleet.launch()
                }
                try fleet.waitUntilReady()
                let status = try fleet.status()
                for instance in status.instances {
                    #expect(instance.generation == 1 && instance.restarts == 0, "\(instance)")
                }
                #expect(File.text(fleet.state + "/logs/prepare.log").split(separator: "\n").count <= 1)
                try checkTwins(fleet)
                kill(fleet.daemon, SIGTERM)
                Deadline.passRandomly(upToMicroseconds: 30_000, &generator)
                fleet.killDaemon()
                // Whether it had heard of the stop is open; if so, its successor goes on with it.
                try fleet.launch()
                let settled = Deadline(.seconds(10)).wait {
                    (try? fleet.status()) != nil || !Processes.lives(fleet.daemon)
                }
                #expect(settled)
                kill(fleet.daemon, SIGTERM)
                #expect(fleet.ended() == 0, "\(fleet.log.suffix(2000))")
                fleet.checkNothingLeft()
            }
        }

        @Test func anUpgradeIsNotNoticedByAnybody() throws {
            let fleet = try Fleet(
                """
                [services.worker]
                command = ["WORKER", "--no-listen"]
                type = "notify"
                replicas = 4
                """
            )
            try fleet.startAndWait()
            let port = try fleet.healthPort()
            let before = try fleet.pids()
            let shim = try fleet.shim()
            var total = 0
            for round in 1...12 {
                let began = try fleet.events().last?.sequence ?? 0
                let upgrade = try Command.start(
                    [Command.programs + "/eiderctl", "--socket", fleet.socket, "upgrade"],
                    output: fleet.path + "/upgrade.out",
                    errors: fleet.path + "/upgrade.err"
                )
                var code: Int32?
                var answered = 0
                var lost: [String] = []
                let watch = Stopwatch()
                // Until the new one has taken over, and some more.
                while watch.seconds < 20 {
                    do {
                        let answer = try HTTP.get("/readyz", port: port)
                        if answer.status == 200 { answered += 1 } else { lost.append("\(answer.status)") }
                    } catch {
                        lost.append("\(error)")
                    }
                    if code == nil, let end = ChildProcess.reap(upgrade) { code = end.status == .code(0) ? 0 : 1 }
                    if code != nil, (try? fleet.events(after: began).contains { $0.kind == "listening" }) == true {
                        break
                    }
                }
                #expect(code == 0, "\(File.text(fleet.path + "/upgrade.err"))")
                // No connection is refused, and every request is answered.
                #expect(lost.isEmpty)
                total += answered
                if round == 12 { report("12 upgrades: \(total) requests were answered meanwhile") }
            }
            #expect(Processes.daemons(fleet.path) == [fleet.daemon])
            #expect(try fleet.pids() == before)
            #expect(try fleet.shim() == shim)
            #expect(try fleet.status().instances.allSatisfy { $0.ready && $0.restarts == 0 })
            fleet.stopAndCheck()
        }

        @Test func anUpgradeToABrokenProgramIsRefused() throws {
            let fleet = try Fleet(
                """
                [services.sleeper]
                command = ["/bin/sleep", "1000"]
                type = "simple"
                """
            )
            let programs = fleet.path + "/bin"
            mkdir(programs, 0o755)
            for name in ["eiderd", "eider-shim"] {
                try File.copy(Command.programs + "/" + name, to: programs + "/" + name)
            }
            fleet.programs = programs
            try fleet.startAndWait()
            let before = try fleet.pids()
            for script in ["exit 3", "kill -SEGV $$"] {
                rename(programs + "/eiderd", programs + "/eiderd.good")
                try File.script(script, at: programs + "/eiderd")
                let answer = try fleet.control("upgrade")
                #expect(answer.exitCode == 1)
                #expect(answer.errors.hasPrefix("eiderctl: cannot upgrade"), "\(answer.errors)")
                rename(programs + "/eiderd.good", programs + "/eiderd")
            }
            rename(programs + "/eiderd", programs + "/eiderd.good")
            #expect(try fleet.control("upgrade").exitCode == 1)
            try File.copy(programs + "/eiderd.good", to: programs + "/eiderd")
            // A configuration that the new one could not read is found in time, too.
            let good = File.text(fleet.configuration)
            try File.write(good + "\nnonsense = [", to: fleet.configuration)
            #expect(try fleet.control("upgrade").exitCode == 1)
            try File.write(good, to: fleet.configuration)
            #expect(try fleet.status().instances.allSatisfy { $0.ready })
            #expect(try fleet.pids() == before)
            #expect(try fleet.control("upgrade").exitCode == 0)
            try fleet.wait("the new one answers") { $0.instances.allSatisfy { $0.ready } }
            #expect(try fleet.pids() == before)
            fleet.stopAndCheck()
        }
    }
}
