import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// A stop ends the whole tree, whatever it does to get away.
    @Suite(.serialized) struct StopTests {
        @Test(arguments: [
            ["--fork", "3"], ["--fork", "3", "--fork-setsid"], ["--fork", "3", "--fork-daemon"], ["--fork-storm", "2"],
            ["--fork", "2", "--fork-daemon", "--ignore-sigterm"],
        ])
        func nothingOfATreeIsLeft(_ switches: [String]) throws {
            let words = (["WORKER", "--no-listen"] + switches).map { "\"\($0)\"" }.joined(separator: ", ")
            let fleet = try Fleet(
                """
                [services.tree]
                command = [\(words)]
                type = "notify"
                replicas = 2
                stop.grace_period = "500ms"
                [services.bystander]
                command = ["WORKER", "--no-listen", "--fork", "2", "--fork-daemon"]
                type = "notify"
                """
            )
            try fleet.startAndWait()
            let grown = Deadline(.seconds(10)).wait { Processes.ofFleet(fleet.path).count >= 3 + 4 }
            #expect(grown)
            let watch = Stopwatch()
            let stopped = try fleet.control("stop", "tree")
            #expect(stopped.exitCode == 0, "\(stopped.errors)")
            let seconds = watch.seconds
            // Stopped means: it is gone now, not soon.
            let left = Processes.ofFleet(fleet.path).map { ($0, Processes.commandLine($0)) }
            #expect(left.count == 3, "\(left)")
            #expect(try fleet.status().services.first { $0.name == "tree" }?.state == "stopped")
            #expect(try fleet.status()["bystander/0"]?.ready == true)
            report("stop of \(switches.joined(separator: " ")): \(rounded(seconds)) s")
            #expect(seconds < 5)
            fleet.stopAndCheck()
        }

        @Test func whoIgnoresTheSignalIsKilledAfterTheGracePeriod() throws {
            let fleet = try Fleet(
                """
                [services.stubborn]
                command = ["WORKER", "--no-listen", "--ignore-sigterm"]
                type = "notify"
                stop.grace_period = "700ms"
                """
            )
            try fleet.startAndWait()
            let watch = Stopwatch()
            #expect(try fleet.control("stop", "stubborn/0").exitCode == 0)
            #expect((0.7...3).contains(watch.seconds), "\(watch.seconds) s")
            let exit = try #require(fleet.instance("stubborn/0").last_exit)
            #expect(exit.signal == "SIGKILL")
            #expect(exit.cause == "operator")
            fleet.stopAndCheck()
        }

        /// Whatever was done to end a tree must not reach the next one in its place.
        @Test func whatWasKilledCanBeStartedAgain() throws {
            let fleet = try Fleet(
                """
                [services.stubborn]
                command = ["WORKER", "--no-listen", "--ignore-sigterm", "--fork", "1", "--fork-daemon"]
                type = "notify"
                stop.grace_period = "100ms"
                """
            )
            try fleet.startAndWait()
            for _ in 0..<3 {
                #expect(try fleet.control("stop", "stubborn").exitCode == 0)
                let started = try fleet.control("start", "stubborn")
                #expect(started.exitCode == 0, "\(started.errors)")
            }
            #expect(try fleet.control("restart", "stubborn").exitCode == 0)
            #expect(try fleet.instance("stubborn/0").restarts == 0)
            fleet.stopAndCheck()
        }

        @Test func aStopSignalOfItsOwn() throws {
            let fleet = try Fleet(
                """
                [services.trapper]
                command = ["/bin/sh", "-c", "trap 'exit 7' USR1; trap '' TERM; echo set; while :; do sleep 0.02; done"]
                type = "simple"
                stop.signal = "SIGUSR1"
                stop.grace_period = "10s"
                """
            )
            try fleet.startAndWait()
            let said = Deadline(.seconds(5)).wait(every: 10_000) { (try? fleet.output("trapper").isEmpty) == false }
            #expect(said)
            #expect(try fleet.control("stop", "trapper").exitCode == 0)
            #expect(try fleet.instance("trapper/0").last_exit?.code == 7)
            fleet.stopAndCheck()
        }

        private static let slowToStop = """
            [services.patient]
            command = ["WORKER", "--no-listen", "--ignore-sigterm", "--fork", "2", "--fork-setsid"]
            type = "notify"
            replicas = 3
            stop.grace_period = "SECONDS"
            """

        @Test(arguments: [SIGTERM, SIGINT])
        func aSignalToTheDaemonStopsAllInOrder(_ signal: Int32) throws {
            let fleet = try Fleet(Self.slowToStop.replacing("SECONDS", with: "900ms"))
            try fleet.startAndWait()
            let watch = Stopwatch()
            kill(fleet.daemon, signal)
            // A second one changes nothing: it neither hastens nor aborts.
            _ = try fleet.event("shutdown")
            kill(fleet.daemon, signal)
            kill(fleet.daemon, SIGTERM)
            #expect(fleet.ended() == 0)
            #expect((0.9...4).contains(watch.seconds), "\(watch.seconds) s")
            fleet.checkNothingLeft()
        }

        @Test func quitEndsAtOnce() throws {
            let fleet = try Fleet(Self.slowToStop.replacing("SECONDS", with: "60s"))
            try fleet.startAndWait()
            let watch = Stopwatch()
            #expect(fleet.stop(SIGQUIT) == 0)
            #expect(watch.seconds < 5)
            fleet.checkNothingLeft()
        }

        @Test func quitHastensAStopThatIsGoingOn() throws {
            let fleet = try Fleet(Self.slowToStop.replacing("SECONDS", with: "60s"))
            try fleet.startAndWait()
            kill(fleet.daemon, SIGTERM)
            _ = try fleet.event("shutdown")
            let watch = Stopwatch()
            kill(fleet.daemon, SIGQUIT)
            #expect(fleet.ended() == 0)
            #expect(watch.seconds < 5)
            fleet.checkNothingLeft()
        }

        /// Rule P5: a stop is absorbing, even for a daemon that dies meanwhile.
        @Test func aStopGoesOnAfterTheDeathOfTheDaemon() throws {
            let fleet = try Fleet(Self.slowToStop.replacing("SECONDS", with: "2s"))
            try fleet.startAndWait()
            kill(fleet.daemon, SIGTERM)
            _ = try fleet.event("shutdown")
            fleet.killDaemon()
            try fleet.launch()
            #expect(fleet.ended() == 0)
            fleet.checkNothingLeft()
        }

        @Test func aStopDuringTheFirstStart() throws {
            let fleet = try Fleet(
                """
                [services.slow]
                command = ["WORKER", "--no-listen", "--start-slowly", "60s"]
                type = "notify"
                replicas = 4
                stop.grace_period = "5s"
                [services.late]
                command = ["/bin/sleep", "1000"]
                after = ["slow"]
                """
            )
            try fleet.start()
            let watch = Stopwatch()
            fleet.stopAndCheck()
            #expect(watch.seconds < 10)
        }
    }
}
