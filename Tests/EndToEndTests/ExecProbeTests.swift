import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// Exec probes that mean harm: what they can hold up, and what they can show.
    @Suite(.serialized) struct ExecProbeTests {
        /// `F_SETLEASE`.
        private static let setLease: Int32 = 1024

        /// A lease on the probe's program keeps whoever executes it waiting, for 45 s.
        @Test func aHeldProbeHoldsUpNothingElse() throws {
            let fleet = try Fleet(
                """
                [services.a]
                command = ["/bin/sleep", "1000"]
                user = "nobody"
                group = "nogroup"
                working_directory = "DIR/open"
                [services.a.readiness]
                exec = ["DIR/open/probe"]
                period = "200ms"
                timeout = "1s"
                failure_threshold = 2
                [services.b]
                command = ["/bin/sleep", "1000"]
                type = "simple"
                """
            )
            let open = fleet.path + "/open"
            #expect(mkdir(open, 0o777) == 0 && chmod(open, 0o777) == 0)
            let probe = open + "/probe"
            try File.script("exit 0", at: probe)
            #expect(chown(probe, 65_534, 65_534) == 0)
            try fleet.startAndWait()
            let before = try fleet.instance("b/0").pid

            // The kernel asks for the lease back by this signal, which would end us.
            try Signals.ignore(SignalNumber(rawValue: SIGIO))
            let file = Glibc.open(probe, O_RDONLY | O_CLOEXEC)
            try #require(file >= 0)
            defer { close(file) }
            // Refused while the probe is being read.
            let isHeld = Deadline(.seconds(5)).wait { fcntl(file, Self.setLease, F_WRLCK) == 0 }
            try #require(isHeld, "no lease: \(errno)")
            let out = try fleet.wait(for: "a/0", "is out", within: .seconds(10)) { !$0.ready }
            #expect(out.reason?.contains("did not end within 1s") == true, "\(out.reason ?? "")")
            let watch = Stopwatch()
            let restart = try fleet.control("restart", "b")
            #expect(restart.exitCode == 0, "\(restart.errors)")
            #expect(watch.seconds < 2, "a restart of another service took \(watch.seconds) s")
            #expect(try fleet.instance("b/0").pid != before)
            fleet.stopAndCheck(.seconds(10))
        }

        /// What is wrong with a file of secrets is shown, and nothing of what it says.
        @Test func aBrokenEnvironmentFileShowsNoSecret() throws {
            let fleet = try Fleet(
                """
                [services.a]
                command = ["/bin/sleep", "1000"]
                environment_files = ["DIR/env"]
                [services.a.readiness]
                exec = ["/bin/true"]
                period = "100ms"
                """
            )
            let secret = "sk-live-12345"
            try File.write("A=1\n", to: fleet.path + "/env")
            try fleet.startAndWait()
            try File.write("A=1\nexport TOKEN \(secret)\n", to: fleet.path + "/env")
            // What was read once is remembered: another daemon reads it anew.
            fleet.killDaemon()
            try fleet.start()
            let shown = try fleet.wait(for: "a/0", "is shown as unprobed") {
                $0.reason?.contains("environment file") == true
            }
            #expect(shown.reason?.contains("\(fleet.path)/env:2") == true, "\(shown.reason ?? "")")
            let health = try HTTP.get("/health/a", port: fleet.healthPort()).body
            let texts = [shown.reason ?? "", health, fleet.log, try fleet.control("why", "a/0").output]
            #expect(texts.allSatisfy { !$0.contains(secret) && !$0.contains("TOKEN") })
            #expect(try fleet.events().allSatisfy { !$0.text.contains(secret) })
            fleet.stopAndCheck()
        }

        /// Out of descriptors an orderly stop ends in order: NIO's own ends go through libdispatch, which traps then.
        @Test func aStopWithoutDescriptorsEndsInOrder() throws {
            let fleet = try Fleet(
                """
                [services.a]
                command = ["/bin/sleep", "1000"]
                type = "simple"
                [services.a.readiness]
                tcp = "127.0.0.1:9"
                period = "100ms"
                """
            )
            fleet.prefix = ["/bin/bash", "-c", "ulimit -n 48; exec \"$@\"", "bash"]
            for _ in 0..<8 {
                try fleet.start()
                let health = try fleet.healthPort()
                // Clients that do not end their requests take what is left, and are waited for a moment.
                let idle = try (0..<48).map { _ in try Connection(port: health) }
                #expect(idle.allSatisfy { $0.send("GET / HTTP/1.1\r\n") })
                let isFull = Deadline(.seconds(5)).wait { Processes.descriptors(fleet.daemon) >= 47 }
                #expect(isFull)
                #expect(fleet.stop() == 0, "\(fleet.log.suffix(500))")
                withExtendedLifetime(idle) {}
            }
            fleet.checkNothingLeft()
        }
    }
}
