import Glibc
import SupervisorCore
import Testing

@testable import BreakerStore

extension WithRedis {
    @Suite struct AuthTests {
        private let secret = "s3cret-horse"

        private func store(_ server: RedisServer, user: String = "", file: String) -> StoreBench {
            StoreBench([server.address]) { spec in
                spec.redis.username = user
                spec.redis.passwordFile = file
            }
        }

        /// Nothing that is said holds the password (rule R8).
        private func expectRefusal(_ bench: StoreBench, _ words: String) throws {
            try bench.wait("refused: \(words)") { $0.failures.contains { $0.text.contains(words) } }
            #expect(bench.failures.allSatisfy { $0.kind == .auth && !$0.text.contains("horse") }, "\(bench.failures)")
        }

        @Test func aPasswordAlone() throws {
            let server = try RedisServer(["--requirepass", secret])
            let file = try server.scratch.write("wrong-horse\n", to: "password")
            let bench = store(server, file: file)
            try expectRefusal(bench, "does not take the user and password (WRONGPASS)")
            // The file is read anew with each attempt.
            try server.scratch.write(secret + "\n", to: "password")
            try bench.waitUntilConnected()
            _ = try bench.sync()
        }

        @Test func nobodyIsLetInWithoutAPassword() throws {
            let server = try RedisServer(["--requirepass", secret])
            try expectRefusal(StoreBench([server.address]), "NOAUTH")
        }

        @Test func aServerWithoutPasswordsDoesNotRepeatOurs() throws {
            let server = try RedisServer(["--rename-command", "AUTH", "HIDDEN"])
            let file = try server.scratch.write(secret, to: "password")
            try expectRefusal(store(server, file: file), "(ERR)")
        }

        @Test(arguments: ["", "big", "/nonexistent", "/dev/zero"]) func aPasswordThatCannotBeRead(what: String) throws {
            let server = try RedisServer()
            let text = what == "big" ? String(repeating: "x", count: 5_000) : ""
            let file = what.hasPrefix("/") ? what : try server.scratch.write(text, to: "password")
            try expectRefusal(store(server, file: file), "cannot read the password of Redis from \(file)")
        }

        @Test func rightsThatAreTakenAway() throws {
            let server = try RedisServer()
            let admin = try server.client()
            _ = try admin.call("ACL", "SETUSER", "eider", "on", ">\(secret)", "~eider:*", "&eider:*", "+@all")
            let file = try server.scratch.write(secret, to: "password")
            let bench = store(server, user: "eider", file: file)
            try bench.waitUntilConnected()
            // A new password, and whoever came with the old one has to go.
            _ = try admin.call("ACL", "SETUSER", "eider", "resetpass", ">other-horse")
            _ = try admin.call("CLIENT", "KILL", "USER", "eider")
            try bench.wait("refused") { $0.failures.contains { $0.kind == .auth } }
            try server.scratch.write("other-horse", to: "password")
            try bench.waitUntilConnected(2)
            _ = try admin.call("ACL", "SETUSER", "eider", "-publish")
            // Only what is told to others needs it.
            guard case .failure(let failure) = try bench.ask(.reset(name: "db", actor: "Ann", reason: "")) else {
                throw TestFailure("it was carried out")
            }
            #expect(failure.kind == .auth, "\(failure)")
            #expect(bench.failures.allSatisfy { !$0.text.contains("horse") })
        }

        @Test func aChannelThatIsNotAllowed() throws {
            let server = try RedisServer()
            _ = try server.client().call("ACL", "SETUSER", "eider", "on", "nopass", "~eider:*", "+@all")
            let file = try server.scratch.write("any", to: "password")
            try expectRefusal(store(server, user: "eider", file: file), "NOPERM")
        }
    }
}
