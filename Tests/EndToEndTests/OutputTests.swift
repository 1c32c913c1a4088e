import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// What workers print.
    @Suite(.serialized) struct OutputTests {
        @Test func linesAreTaggedAndTheLastOneIsKept() throws {
            let fleet = try Fleet(
                """
                [services.talker]
                command = ["/bin/sh", "-c", "echo out; echo err >&2; printf 'no newline'; exit 5"]
                type = "simple"
                replicas = 2
                restart.policy = "never"
                """
            )
            try fleet.start()
            try fleet.wait("both have ended") { $0.instances.allSatisfy { $0.last_exit?.code == 5 } }
            let complete = Deadline(.seconds(5)).wait(every: 10_000) {
                (try? fleet.output("talker/1").map(\.text)) == ["out", "err", "no newline"]
            }
            let kept = try fleet.output("talker/1").map(\.text)
            #expect(complete, "\(kept)")
            let why = try fleet.control("why", "talker/1")
            #expect(why.output.contains("no newline"))
            let written = Deadline(.seconds(5)).wait(every: 10_000) {
                File.text(fleet.state + "/logs/talker.log").split(separator: "\n").count == 6
            }
            let lines = File.text(fleet.state + "/logs/talker.log").split(separator: "\n")
            #expect(written, "\(lines)")
            #expect(
                lines.count { $0.contains(" talker/1 no newline") || $0.contains(" 1 no newline") } == 1,
                "\(lines)"
            )
            fleet.stopAndCheck()
        }

        @Test func aFloodBlocksNobodyAndFilesAreRotated() throws {
            let fleet = try Fleet(
                """
                [services.flood]
                command = ["WORKER", "--no-listen", "--log-flood", "200000"]
                type = "notify"
                liveness.watchdog = "2s"
                logs.max_size = "1MiB"
                logs.keep = 2
                [services.quiet]
                command = ["/bin/sleep", "1000"]
                type = "simple"
                """
            )
            try fleet.startAndWait()
            let logs = fleet.state + "/logs/flood.log"
            let rotated = Deadline(.seconds(30)).wait(every: 20_000) {
                File.exists(logs + ".2") && (try? HTTP.get("/livez", port: fleet.healthPort()).status) == 200
            }
            #expect(rotated)
            var slowest = 0.0
            for _ in 0..<50 {
                let watch = Stopwatch()
                _ = try fleet.status()
                slowest = max(slowest, watch.seconds)
            }
            report("during a flood of output the slowest of 50 answers took \(rounded(slowest)) s")
            #expect(slowest < 1)
            #expect(!File.exists(logs + ".3"))
            for name in [logs, logs + ".1", logs + ".2"] {
                #expect(File.size(name) < (1 << 20) + (256 << 10), "\(name)")
            }
            let restarted = Stopwatch()
            #expect(try fleet.control("restart", "quiet").exitCode == 0)
            #expect(restarted.seconds < 3)
            let flood = try fleet.instance("flood/0")
            #expect(flood.restarts == 0 && flood.state == "healthy", "\(flood)")
            let counted = Deadline(.seconds(5)).wait(every: 20_000) {
                ((try? fleet.metric("eider_log_bytes_total{service=\"flood\"}")) ?? 0) > 1e6
            }
            #expect(counted)
            fleet.stopAndCheck()
        }

        @Test func aDeletedFileComesBack() throws {
            let fleet = try Fleet(
                """
                [services.ticker]
                command = ["/bin/sh", "-c", "while :; do echo tick; sleep 0.02; done"]
                type = "simple"
                """
            )
            try fleet.startAndWait()
            let path = fleet.state + "/logs/ticker.log"
            let patience = Deadline(.seconds(20))
            #expect(patience.wait { File.size(path) > 0 })
            unlink(path)
            #expect(patience.wait { File.size(path) > 0 })
            // The whole directory, too.
            rename(fleet.state + "/logs", fleet.state + "/moved")
            #expect(patience.wait { File.size(path) > 0 })
            #expect(try fleet.instance("ticker/0").restarts == 0)
            fleet.stopAndCheck()
        }

        @Test(.enabled(if: geteuid() == 0, "only root can mount"))
        func aFullDiskCostsLinesAndNothingElse() throws {
            let fleet = try Fleet(
                """
                [services.flood]
                command = ["WORKER", "--no-listen", "--log-flood", "20000"]
                type = "notify"
                liveness.watchdog = "5s"
                """
            )
            mkdir(fleet.state, 0o755)
            let mounted = try Command.run(["/bin/mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", fleet.state])
            try #require(mounted.exitCode == 0, "\(mounted.errors)")
            defer { _ = try? Command.run(["/bin/umount", "-l", fleet.state]) }
            try fleet.startAndWait()
            let pid = try fleet.pids()
            let name = "eider_log_dropped_bytes_total{service=\"flood\"}"
            let dropped = Deadline(.seconds(30)).wait(every: 50_000) { ((try? fleet.metric(name)) ?? 0) > 0 }
            #expect(dropped)
            _ = try fleet.event("log-problem", fleet.state)
            #expect(try HTTP.get("/livez", port: fleet.healthPort()).status == 200)
            // What is on the screen goes on, and so does the worker.
            let last = try #require(fleet.output("flood", lines: 1).last)
            let on = Deadline(.seconds(5)).wait(every: 10_000) {
                ((try? fleet.output("flood", lines: 1).last?.sequence) ?? 0) > last.sequence
            }
            #expect(on)
            // An intent cannot be saved, but it counts.
            #expect(try fleet.control("stop", "flood").exitCode == 0)
            #expect(try fleet.control("start", "flood").exitCode == 0)
            #expect(try fleet.pids() != pid)
            #expect(try fleet.instance("flood/0").restarts == 0)
            fleet.stopAndCheck()
        }
    }
}
