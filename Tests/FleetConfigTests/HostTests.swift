import SupervisorCore
import Testing

@testable import FleetConfig

@Suite struct IdentityTests {
    private func credentials(_ lines: String, _ host: FakeHost) -> Result<ServiceSpec.Credentials?, ConfigurationErrors>
    {
        load("[services.a]\ncommand = [\"/a\"]\n" + lines, host).map { $0.spec.services[0].credentials }
    }

    @Test func rootResolvesNamesAndNumbers() throws {
        let host = FakeHost()
        let game = ServiceSpec.Credentials(uid: 1001, gid: 1002, supplementaryGroups: [1002, 2000])
        #expect(try credentials("user = \"game\"", host).get() == game)
        let group = ServiceSpec.Credentials(uid: 0, gid: 1003, supplementaryGroups: [1003])
        #expect(try credentials("group = \"ops\"", host).get() == group)
        let numbers = ServiceSpec.Credentials(uid: 77, gid: 88, supplementaryGroups: [88])
        #expect(try credentials("user = \"77\"\ngroup = \"88\"", host).get() == numbers)
        #expect(try credentials("", host).get() == nil)
    }

    static let refused: [(String, UInt32, String)] = [
        (
            "user = \"nobody2\"", 0,
            "3: services.a.user: cannot find the user \"nobody2\" on this host; create the user or name another"
        ),
        ("user = \"77\"", 0, "3: services.a.user: cannot find the user \"77\" on this host; set group too"),
        (
            "group = \"none\"", 0,
            "3: services.a.group: cannot find the group \"none\" on this host; create the group or name another"
        ),
        (
            "user = \"game\"", 1000,
            "3: services.a.user: cannot run as \"game\": eiderd runs as uid 1000, not as root; "
                + "run it as root or remove user"
        ),
        (
            "group = \"ops\"", 1000,
            "3: services.a.group: cannot run as group \"ops\": eiderd runs as uid 1000, not as root; "
                + "run it as root or remove group"
        ),
        ("user = \"a b\"", 0, "3: services.a.user: cannot use \"a b\"; use the name of a user, such as \"www-data\""),
    ]

    @Test(arguments: refused)
    func refusal(lines: String, uid: UInt32, text: String) {
        var host = FakeHost()
        host.effectiveUser = uid
        let result = load("[services.a]\ncommand = [\"/a\"]\n" + lines, host)
        #expect(result.errors == text)
    }

    @Test func anOrdinaryUserMayAskForItself() throws {
        var host = FakeHost()
        (host.effectiveUser, host.effectiveGroup) = (1001, 1002)
        #expect(try credentials("user = \"game\"\ngroup = \"game\"", host).get() == nil)
    }
}

@Suite struct HostCheckTests {
    @Test func namesWhatIsMissing() throws {
        var host = FakeHost(["/etc/good": "A=1", "/etc/bad": "A=1\nB"])
        host.kinds = [
            "/": FileFacts(isDirectory: true, isExecutable: false),
            "/bin/good": FileFacts(isDirectory: false, isExecutable: true),
            "/bin/text": FileFacts(isDirectory: false, isExecutable: false),
        ]
        let text = """
            [services.good]
            command = ["/bin/good"]
            environment_files = ["/etc/good"]
            [services.text]
            command = ["/bin/text"]
            environment_files = ["/etc/bad", "/etc/none"]
            [services.none]
            command = ["/bin/{service}"]
            working_directory = "/bin/good"
            [services.directory]
            command = ["/"]
            working_directory = "/srv"
            """
        let found = HostCheck.check(try load(text, host).get(), host: host)
        #expect(found.allSatisfy { $0.severity == .warning })
        #expect(
            found.map { String($0.description.dropFirst(main.count + 1)) } == [
                "5: services.text.command: cannot execute \"/bin/text\": it is not executable; chmod +x it",
                "6: services.text.environment_files: cannot use /etc/bad:2: cannot find a = in this line; "
                    + "write NAME=value",
                "6: services.text.environment_files: cannot read \"/etc/none\": it does not exist",
                "8: services.none.command: cannot find \"/bin/none\": it does not exist; install it or change command",
                "9: services.none.working_directory: cannot enter \"/bin/good\": it is not a directory",
                "11: services.directory.command: cannot execute \"/\": it is a directory; name a program",
                "12: services.directory.working_directory: cannot enter \"/srv\": it does not exist; create it",
            ]
        )
    }
}

extension HostCheckTests {
    @Test func namesWhatRedisLacks() throws {
        var host = FakeHost()
        host.kinds = [
            "/etc/password": FileFacts(isDirectory: false, isExecutable: false, isPublic: true),
            "/etc/ca.pem": FileFacts(isDirectory: false, isExecutable: false, isPublic: true),
        ]
        let text = """
            [breaker]
            store = "redis"
            [breaker.redis]
            addresses = ["redis-0:6379"]
            username = "eider"
            password_file = "/etc/password"
            tls = true
            tls_ca_file = "/etc/ca.pem"
            tls_certificate_file = "/etc/own.pem"
            tls_key_file = "/etc"
            """
        host.kinds["/etc"] = FileFacts(isDirectory: true, isExecutable: false)
        let found = HostCheck.check(try load(text, host).get(), host: host)
        #expect(
            found.map { String($0.description.dropFirst(main.count + 2)) } == [
                "breaker.redis.password_file: cannot keep \"/etc/password\" secret: everybody may read it; "
                    + "chmod o-r it",
                "breaker.redis.tls_certificate_file: cannot read \"/etc/own.pem\": it does not exist",
                "breaker.redis.tls_key_file: cannot read \"/etc\": it is a directory; name a file",
            ]
        )
        let nobody = "[breaker]\nstore = \"redis\"\nredis.addresses = [\"r:1\"]\nredis.username = \"eider\""
        guard case .failure(let errors) = load(nobody) else { return #expect(Bool(false)) }
        #expect(errors.description.contains("breaker.redis.username: cannot be used without a password"))
    }
}

@Suite struct EnvironmentFileTests {
    static let values: [(String, String)] = [
        ("A=b", "b"), ("A=", ""), ("  A = b c  ", "b c"), ("A=\"b c \"", "b c "), ("A='b \"c\" \\n'", "b \"c\" \\n"),
        ("A=\"b\\\"c\\\\d\\n\"", "b\"c\\d\\n"), ("A=b\\\nc", "bc"), ("A=\"b\nc\"", "b\nc"), ("A=b # c", "b # c"),
        ("A=b'c'", "b'c'"), ("A='b'\"c\"", "bc"), ("A=b\\ ", "b "), ("A=1\nA=2", "2"), ("A=b\r\n", "b"),
        ("# x\n; y\n\n A=b", "b"), ("A=x=y", "x=y"), ("A=b\\", "b"),
    ]

    @Test(arguments: values)
    func value(text: String, value: String) throws {
        #expect(try EnvironmentFile.parse(Array(text.utf8)) == [EnvironmentVariable(name: "A", value: value)])
    }

    static let problems: [(String, Int, String)] = [
        ("A=1\nexport", 2, "cannot find a = in this line; write NAME=value"),
        (
            "export A=1", 1,
            "cannot use what is before the = as a variable's name; "
                + "use letters, digits and _, not beginning with a digit"
        ),
        ("\nA=\"b\n\n", 2, "cannot find the end of the quoted value that begins here"),
        (
            "=1", 1,
            "cannot use what is before the = as a variable's name; "
                + "use letters, digits and _, not beginning with a digit"
        ),
        ("A=\0", 1, "cannot use a NUL character in a value"),
    ]

    @Test(arguments: problems)
    func problem(text: String, line: Int, message: String) {
        #expect(throws: EnvironmentFile.Problem(line: line, text: message)) {
            try EnvironmentFile.parse(Array(text.utf8))
        }
    }

    /// What is wrong is shown to whoever asks the health port, and written into logs.
    @Test(arguments: ["S", "A=1\nexport S", "S=1", "export S=S", "A=\"S", "A='S\n\nB=S", "A=S\0", "B C=S", "+S==\n"])
    func problemsQuoteNothing(pattern: String) {
        let secret = "sk-live-12345"
        #expect {
            try EnvironmentFile.parse(Array(pattern.replacing("S", with: secret).utf8))
        } throws: { error in
            !"\(error)".contains("sk-") && !"\(error)".contains("12345")
        }
    }

    @Test func rejectsOtherEncodings() {
        #expect(throws: EnvironmentFile.Problem(line: 1, text: "cannot use a value that is not UTF-8")) {
            try EnvironmentFile.parse([0x41, 0x3D, 0xFF])
        }
    }
}
