import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// Another number of instances, and another configuration: only what it is about is touched.
    @Suite(.serialized) struct ReloadTests {
        private static func services(_ auth: String = "", mail: Bool = true) -> String {
            """
            [services.auth]
            command = ["WORKER", "--no-listen"\(auth)]
            type = "notify"
            replicas = 2
            rolling.min_ready = "100ms"
            [services.web]
            command = ["WORKER", "--no-listen"]
            type = "notify"
            \(mail ? "[services.mail]\ncommand = [\"WORKER\", \"--no-listen\"]\ntype = \"notify\"" : "")
            """
        }

        private static func started() throws -> Fleet {
            let fleet = try Fleet(services())
            try fleet.startAndWait()
            return fleet
        }

        @Test func scaleChangesTheNumber() throws {
            let fleet = try Self.started()
            let before = try fleet.pids()
            for (count, names) in [(3, ["auth/0", "auth/1", "auth/2"]), (1, ["auth/0"])] {
                let scaled = try fleet.control("scale", "auth", "\(count)", "--reason", "a look")
                #expect(scaled.exitCode == 0 && scaled.output == "auth: scaled to \(count)\n", "\(scaled)")
                let auth = try #require(fleet.status().services.first { $0.name == "auth" })
                #expect(auth.desired == count && auth.ready == count && auth.state == "healthy", "\(auth)")
                #expect(auth.instances.map(\.name) == names)
                #expect(auth.instances.allSatisfy { before[$0.name] == nil || before[$0.name] == $0.pid }, "\(auth)")
            }
            #expect(Processes.ofFleet(fleet.path).count == 3)
            #expect(try HTTP.get("/health/auth/2", port: fleet.healthPort()).status == 404)
            // It is remembered over the daemon's death.
            fleet.killDaemon()
            try fleet.startAndWait()
            #expect(try fleet.status().services.first { $0.name == "auth" }?.desired == 1)
            let wrong = try fleet.control("scale", "auth", "-1")
            #expect(wrong.exitCode == 64 || wrong.exitCode == 1, "\(wrong)")
            fleet.stopAndCheck()
        }

        @Test func onlyWhatIsDifferentIsRolled() throws {
            let fleet = try Self.started()
            let before = try fleet.pids()
            #expect(try fleet.control("reload").output == "nothing is different\n")
            try fleet.write(Self.services(#", "--linger", "2s""#))
            let planned = try fleet.control("reload", "--dry-run")
            #expect(planned.exitCode == 0 && planned.output.hasSuffix("nothing was changed\n"), "\(planned)")
            for name in ["auth/0", "auth/1"] { #expect(planned.output.contains(name), "\(planned.output)") }
            #expect(planned.output.contains("command") && !planned.output.contains("web"), "\(planned.output)")
            #expect(try fleet.pids() == before)
            let reloaded = try fleet.control("reload")
            #expect(reloaded.exitCode == 0 && reloaded.output.hasSuffix("reloaded\n"), "\(reloaded)")
            let after = try fleet.pids()
            #expect(after.keys.sorted() == before.keys.sorted())
            for (name, pid) in after {
                #expect((pid == before[name]) == !name.hasPrefix("auth"), "\(name)")
                #expect(Processes.commandLine(pid).contains("--linger") == name.hasPrefix("auth"), "\(name)")
            }
            #expect(try fleet.status().instances.allSatisfy { $0.ready && $0.restarts == 0 })
            fleet.stopAndCheck()
        }

        @Test func whatIsRemovedIsDrainedAndGone() throws {
            let fleet = try Self.started()
            let port = try fleet.healthPort()
            let before = try fleet.pids()
            #expect(try HTTP.get("/health/mail", port: port).status == 200)
            try fleet.write(Self.services(mail: false))
            let reloaded = try fleet.control("reload")
            #expect(reloaded.exitCode == 0 && reloaded.output.contains("mail/0"), "\(reloaded)")
            #expect(try !fleet.status().services.contains { $0.name == "mail" })
            #expect(Deadline(.seconds(5)).wait { (try? HTTP.get("/health/mail", port: port).status) == 404 })
            #expect(try fleet.pids() == before.filter { $0.key != "mail/0" })
            #expect(Processes.ofFleet(fleet.path).count == 3)
            // And back.
            try fleet.write(Self.services())
            #expect(try fleet.control("reload").exitCode == 0)
            #expect(try fleet.status()["mail/0"]?.ready == true)
            #expect(Deadline(.seconds(5)).wait { (try? HTTP.get("/health/mail", port: port).status) == 200 })
            fleet.stopAndCheck()
        }

        @Test func anInvalidFileChangesNothing() throws {
            let fleet = try Self.started()
            let before = try fleet.pids()
            try fleet.write(Self.services() + "\n[services.web.restart]\npolicy = \"sometimes\"\nbackof_max = \"1s\"\n")
            for words in [["reload"], ["reload", "--dry-run"]] {
                let refused = try fleet.controlling(words)
                let code = refused.ended()
                #expect(code == 78, "\(refused.errors)")
                let lines = refused.errors.split(separator: "\n")
                #expect(lines.allSatisfy { $0.hasPrefix("eiderctl: ") }, "\(refused.errors)")
                #expect(lines.contains { $0.contains("\(fleet.configuration):") && $0.contains("sometimes") })
                #expect(lines.contains { $0.contains("backof_max") && $0.contains("backoff_max") }, "\(refused.errors)")
            }
            kill(fleet.daemon, SIGHUP)
            _ = try fleet.event("warning", "sometimes")
            #expect(try fleet.pids() == before && fleet.status().instances.allSatisfy(\.ready))
            // SIGHUP takes the mended one.
            try fleet.write(Self.services(mail: false))
            kill(fleet.daemon, SIGHUP)
            try fleet.wait("mail is gone") { status in !status.services.contains { $0.name == "mail" } }
            #expect(try fleet.pids() == before.filter { $0.key != "mail/0" })
            fleet.stopAndCheck()
        }
    }
}
