import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

@testable import BreakerStore

/// Certificates of a test's own, made by openssl.
struct Certificates {
    let scratch: Scratch

    var authority: String { scratch.path + "/ca.crt" }
    func certificate(_ name: String) -> String { "\(scratch.path)/\(name).crt" }
    func key(_ name: String) -> String { "\(scratch.path)/\(name).key" }

    init(_ scratch: Scratch) throws {
        self.scratch = scratch
        for name in ["ca", "other-ca"] {
            try openssl(
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=Test \(name)",
                "-keyout",
                key(name),
                "-out",
                certificate(name)
            )
        }
    }

    /// - Parameter names: subjectAltName, as openssl has it.
    func issue(_ name: String, for names: String, days: String = "2") throws {
        let extensions = try scratch.write("subjectAltName=\(names)\n", to: "\(name).ext")
        try openssl(
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=\(name)",
            "-keyout",
            key(name),
            "-out",
            "\(scratch.path)/\(name).csr"
        )
        try openssl(
            "x509",
            "-req",
            "-in",
            "\(scratch.path)/\(name).csr",
            "-CA",
            authority,
            "-CAkey",
            key("ca"),
            "-CAcreateserial",
            "-days",
            days,
            "-extfile",
            extensions,
            "-out",
            certificate(name)
        )
    }

    private func openssl(_ arguments: String...) throws {
        try Program.run(["/usr/bin/openssl"] + arguments, in: scratch)
    }
}

extension WithRedis {
    @Suite struct TLSTests {
        let scratch: Scratch
        let certificates: Certificates

        init() throws {
            scratch = try Scratch()
            certificates = try Certificates(scratch)
            try certificates.issue("server", for: "DNS:localhost,IP:127.0.0.1")
        }

        private func server(_ name: String = "server", _ options: [String] = []) throws -> RedisServer {
            try RedisServer(
                [
                    "--tls-cert-file", certificates.certificate(name), "--tls-key-file", certificates.key(name),
                    "--tls-ca-cert-file", certificates.authority, "--tls-auth-clients", "no",
                ] + options,
                scratch: scratch,
                isTLS: true
            )
        }

        private func store(
            _ server: RedisServer,
            host: String = "127.0.0.1",
            _ change: (inout BreakerStoreSpec.Redis) -> Void = { _ in }
        ) -> StoreBench {
            StoreBench(["\(host):\(server.port)"]) { spec in
                spec.redis.tls = true
                spec.redis.tlsCAFile = certificates.authority
                change(&spec.redis)
            }
        }

        /// The store does not connect, and says why.
        private func expectRefusal(_ bench: StoreBench, _ words: String) throws {
            try bench.wait("refused because \(words)") { $0.failures.contains { $0.text.contains(words) } }
            #expect(bench.failures.allSatisfy { $0.kind == .tls }, "\(bench.failures)")
            #expect(bench.connections == 0)
        }

        @Test(arguments: ["127.0.0.1", "localhost"]) func itServes(host: String) throws {
            let server = try server()
            let bench = store(server, host: host)
            try bench.waitUntilConnected()
            _ = try bench.sync()
        }

        @Test func anotherHostsCertificateIsRefused() throws {
            try certificates.issue("elsewhere", for: "DNS:redis.example")
            let server = try server("elsewhere")
            try expectRefusal(store(server), "IP address mismatch")
            try expectRefusal(store(server, host: "localhost"), "hostname mismatch")
        }

        @Test func anExpiredCertificateIsRefusedUntilThereIsAnother() throws {
            try certificates.issue("old", for: "IP:127.0.0.1", days: "-1")
            let server = try server("old")
            let bench = store(server)
            try expectRefusal(bench, "certificate has expired")
            try certificates.issue("old", for: "IP:127.0.0.1")
            server.end(SIGTERM)
            try server.start()
            try bench.waitUntilConnected()
        }

        @Test func anUnknownAuthorityIsRefused() throws {
            let server = try server()
            try expectRefusal(store(server) { $0.tlsCAFile = certificates.certificate("other-ca") }, "certificate")
            // The system's authorities do not know it either.
            try expectRefusal(store(server) { $0.tlsCAFile = "" }, "certificate")
            try expectRefusal(store(server) { $0.tlsCAFile = "/nonexistent/ca.crt" }, "cannot use tls_ca_file")
        }

        @Test func aServerMayWantACertificate() throws {
            try certificates.issue("client", for: "DNS:client")
            let server = try server("server", ["--tls-auth-clients", "yes"])
            try expectRefusal(store(server), "certificate required")
            let bench = store(server) {
                $0.tlsCertificateFile = certificates.certificate("client")
                $0.tlsKeyFile = certificates.key("client")
            }
            try bench.waitUntilConnected()
            _ = try bench.sync()
        }

        @Test func whatDoesNotSpeakTLSIsRefused() throws {
            let plain = try RedisServer(scratch: scratch)
            let bench = store(plain)
            try bench.wait("refused") { !$0.failures.isEmpty }
            #expect(bench.failures.first?.kind == .tls, "\(bench.failures)")
        }

        @Test func oldProtocolsAreRefused() throws {
            let server = try server("server", ["--tls-protocols", "TLSv1.1"])
            try expectRefusal(store(server), "protocol version")
        }

        /// Config/redis: what users are given works as it stands, and allows no more than is needed.
        @Test func theGivenConfigurationWorks() throws {
            let repository = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
            let given = repository.joined(separator: "/") + "/Config/redis"
            let rules = try String(decoding: SmallFile.read(given + "/eider.acl", limit: 1 << 20), as: UTF8.self)
            // The one thing that its user must change.
            let zeros = String(repeating: "0", count: 64)
            try #require(rules.contains(zeros))
            try Program.run(
                ["/bin/sh", "-c", "printf %s 'correct horse' | sha256sum | cut -d ' ' -f 1 > \(scratch.path)/hash"],
                in: scratch
            )
            let hash = scratch.text("hash").filter { $0.isHexDigit }
            let file = try scratch.write(rules.replacing(zeros, with: hash), to: "eider.acl")
            let server = try RedisServer(
                [
                    "--tls-cert-file", certificates.certificate("server"),
                    "--tls-key-file", certificates.key("server"), "--tls-ca-cert-file", certificates.authority,
                    "--aclfile", file,
                ],
                file: given + "/redis.conf",
                scratch: scratch,
                isTLS: true
            )
            let password = try scratch.write("correct horse\n", to: "password")
            let bench = StoreBench(["127.0.0.1:\(server.port)"], fleet: "default") { spec in
                spec.redis.tls = true
                spec.redis.tlsCAFile = certificates.authority
                spec.redis.username = "eider"
                spec.redis.passwordFile = password
            }
            try bench.waitUntilConnected()
            let policy = LedgerPolicy()
            _ = try bench.sync()
            _ = try bench.ask(.vote(name: "db", .tripped, reason: "down", policy, draw: 0)).get()
            _ = try bench.ask(.lease(name: "db", policy, draw: 0)).get()
            _ = try bench.ask(.renew(name: "db", token: 1)).get()
            _ = try bench.ask(.result(name: "db", token: 1, .failed, reason: "", policy, draw: 0)).get()
            _ = try bench.ask(.force(name: "db", .forceOpen, actor: "Ann", reason: "")).get()
            _ = try bench.ask(.reset(name: "db", actor: "Ann", reason: "")).get()
            _ = try bench.ask(.restore(name: "db", BreakerRegister(), BreakerOverride())).get()
            _ = try bench.ask(.leave).get()
            #expect(bench.failures.isEmpty)
            // Another fleet's keys are not his.
            let stranger = StoreBench(["127.0.0.1:\(server.port)"], fleet: "other") { spec in
                spec.redis.tls = true
                spec.redis.tlsCAFile = certificates.authority
                spec.redis.username = "eider"
                spec.redis.passwordFile = password
            }
            try stranger.wait("refused") { $0.failures.contains { $0.kind == .auth } }
            #expect(stranger.failures.allSatisfy { !$0.text.contains("horse") })
        }
    }
}
