import SupervisorCore
import Testing

@testable import FleetConfig

/// Files that cannot be read, and what several files mean together.
@Suite struct FileTests {
    static let problems: [(FileProblem, String)] = [
        (.missing, "it does not exist; create it, or name another with --config"),
        (.notPermitted, "it may not be read by this user; change its mode, or run as a user who may"),
        (.isDirectory, "it is a directory; name the file in it, such as \(main)/eider.toml"),
        (.notRegular, "it is not a regular file; use a regular file"),
        (.tooLarge(limit: 4 << 20), "it has more than 4MiB; split it into files of services.d"),
        (.system(5, "Input/output error"), "the system says \"Input/output error\" (errno 5); mend that and try again"),
    ]

    @Test(arguments: problems)
    func unreadable(problem: FileProblem, text: String) {
        var host = FakeHost()
        host.problems[main] = problem
        let result = ConfigurationLoader.load(path: main, host: host)
        #expect(result.errors == " cannot read the file: " + text)
    }

    static let bytes: [([UInt8], String)] = [
        (Array("a = 1\n\0".utf8), "2: cannot use a NUL byte; is this a text file?"),
        (
            Array("# x\n# y\n# ".utf8) + [0xFF, 0x0A],
            "3: cannot use text that is not UTF-8; convert the file, for example with iconv"
        ),
        (Array("\na = \"\\u0000\"".utf8), "2: cannot use a NUL character in a text"),
        (
            Array(("a" + String(repeating: ".a", count: 20) + " = 1").utf8),
            "1: cannot use a key of more than 16 parts"
        ),
        (
            Array(("a = " + String(repeating: "[", count: 100)).utf8),
            "1: cannot use values nested more than 32 deep"
        ),
    ]

    @Test(arguments: bytes)
    func badBytes(bytes: [UInt8], text: String) {
        var host = FakeHost()
        host.files[main] = bytes
        #expect(ConfigurationLoader.load(path: main, host: host).errors == text)
    }

    static let syntax: [(String, String)] = [
        (
            "[services.a]\nx = 1\n[services.a]\n",
            "3:1: cannot define [services.a] again; it is already defined on line 1"
        ),
        (
            "[node]\nname = \"a\"\nname = \"b\"\n",
            "3:1: cannot define name again; it is already defined on line 2"
        ),
    ]

    @Test(arguments: syntax)
    func redefinition(text: String, error: String) {
        #expect(load(text).errors == error)
    }

    /// The whole text, or how it begins.
    static let wrong: [(String, String)] = [
        ("[node]\nname = \n", "2:8: cannot read this as TOML: a value is missing here"),
        ("a = [1, }", "1:9: cannot read this as TOML: a value is missing here"),
        ("a = [,]", "1:6: cannot read this as TOML: a value is missing here"),
        ("[ # x\n", "1:3: cannot read this as TOML: a table header needs a name, such as [services.auth]"),
        ("a = +", "1:5: cannot read this as TOML: \"+\" is no value of TOML; a text needs quotes"),
        ("é = 1", "1:1: cannot read this as TOML: a key is missing here"),
        ("name = host-a # x", "1:8: cannot read this as TOML: \"host-a\" is no value of TOML; a text needs quotes"),
        ("a = 5s", "1:5: cannot read this as TOML: \"5s\" is no value of TOML; a text needs quotes"),
        ("a = 1 b = 2", "1:5: cannot read this as TOML: \"1 b = 2\" is no value of TOML; a text needs quotes"),
        ("\"é\" = \"é\" é", "1:11: cannot read this as TOML: only a comment may follow on this line"),
        ("a = \"x", "1:5: cannot read this as TOML: the text that begins here is not closed; a quote is missing"),
        ("a = \"\"\"\nx", "1:5: cannot read this as TOML: the text that begins here is not closed"),
        ("[a\nb = 1", "1:3: cannot read this as TOML: a table header ends with ]"),
        ("[[a]\nb = 1", "1:4: cannot read this as TOML: a table header ends with ]]"),
        ("a = {b = 1,}", "1:12: cannot read this as TOML: no comma stands before the } of an inline table"),
        ("a = {b = 1,\nc = 2}", "1:12: cannot read this as TOML: an inline table stands on one line"),
        ("a == 1", "1:4: cannot read this as TOML: \"= 1\" is no value of TOML; a text needs quotes"),
        ("a", "1:2: cannot read this as TOML: a key needs = and a value"),
        ("\na = [1,\n2", "3:2: cannot read this as TOML: the array from line 2 on is not closed; a ] is missing"),
        ("a = [\"x\" \"y\"]", "1:10: cannot read this as TOML: a comma or ] is missing here"),
        ("a = \"C:\\dir\"", "1:8: cannot read this as TOML: this backslash begins no escape sequence; use \\\\ for "),
        ("a = 1 # \u{7}", "1:9: cannot read this as TOML: control character U+0007 is not allowed here"),
        ("a = 1\rb = 2", "1:6: cannot read this as TOML: a carriage return stands only before a newline"),
        ("a = 9223372036854775808", "1:5: cannot read this as TOML: \"9223372036854775808\" does not fit into 64 bits"),
        ("a = \"\\ud800\"", "1:6: cannot read this as TOML: there is no character with this number"),
        ("[a.b]\nc = 1\n[a]\nb.d = 1", "4:1: cannot add to b with a dotted key; it is already defined on line 1"),
        ("a = {}\n[a.b]", "2:1: cannot add to a; it has its whole value on line 1"),
        ("a = []\n[[a]]", "2:1: cannot add to a with [[…]]; something else is defined on line 1"),
    ]

    @Test(arguments: wrong)
    func syntaxErrorsHaveLineAndColumn(text: String, error: String) {
        let errors = load(text).errors
        #expect(errors.hasPrefix(error), "\(errors)")
        #expect(!errors.contains("\n"))
    }

    static let words: [(String, Bool)] = [
        ("true", true), ("false", true), ("True", false), ("0", true), ("-0", true), ("+1_000", true), ("01", false),
        ("1__0", false), ("_1", false), ("1_", false), ("0xDEAD_beef", true), ("0x", false), ("-0x1", false),
        ("0o17", true), ("0o18", false), ("0b101", true), ("0b2", false), ("1.5", true), ("1.", false), (".5", false),
        ("1e3", true), ("1E+3", true), ("1e", false), ("1.5e-3", true), ("inf", true), ("-nan", true), ("+", false),
        ("1979-05-27", true), ("07:32:00", true), ("07:32:00.5", true), ("07:32", false), ("07:32:00Z", false),
        ("1979-05-27T07:32:00Z", true), ("1979-05-27 07:32:00.123+01:00", true), ("1979-05-27T", false),
        ("1979-05-27t07:32:00z", true), ("", false), ("2023-02-29", false), ("2024-02-29", true), ("24:00:00", false),
        ("07:60:00", false), ("07:32:60", false), ("1979-13-01", false), ("1979-05-27T07:32:00+24:00", false),
        ("1 2", false), ("0.0.0.0", false),
    ]

    @Test(arguments: words)
    func scalars(word: String, isAccepted: Bool) {
        let reading = TOMLScalar.read(Array(word.utf8)[...])
        if case .value = reading { #expect(isAccepted) } else { #expect(!isAccepted) }
    }

    @Test func carriageReturnsAndByteOrderMarkAreFine() throws {
        let text = "\u{FEFF}[node]\r\nname = \"n\"\r\n[services.a]\r\ncommand = [\"/a\"]\r\nreplica = 1\r\n"
        #expect(
            load(text).errors == "5: services.a.replica: cannot use the key \"replica\"; did you mean \"replicas\"?"
        )
        let good = text.split(separator: "\r\n").dropLast().joined(separator: "\r\n")
        #expect(try load(good).get().spec.node.name == "n")
    }

    @Test func servicesOfSeveralFilesComeInOrder() throws {
        let host = FakeHost([
            main: "[services.z]\ncommand = [\"/z\"]\n[services.m]\ncommand = [\"/m\"]\n[defaults]\nreplicas = 3",
            "/etc/eider/services.d/20-b.toml": "[services.b]\ncommand = [\"/b\"]",
            "/etc/eider/services.d/10-c.toml": "[services.c]\ncommand = [\"/c\"]\nafter = [\"z\"]",
            "/etc/eider/services.d/README": "not TOML [[[",
            "/etc/eider/services.d/.hidden.toml": "not TOML [[[",
        ])
        let configuration = try ConfigurationLoader.load(path: main, host: host).get()
        #expect(configuration.spec.services.map(\.name) == ["z", "m", "c", "b"])
        #expect(configuration.spec.services.map(\.replicas) == [3, 3, 3, 3])
        #expect(
            configuration.files == [main, "/etc/eider/services.d/10-c.toml", "/etc/eider/services.d/20-b.toml"]
        )
    }

    @Test func filesInTheWorkingDirectory() throws {
        let host = FakeHost([
            "eider.toml": "", "services.d/a.toml": "[services.a]\ncommand = [\"/a\"]",
        ])
        #expect(try ConfigurationLoader.load(path: "eider.toml", host: host).get().spec.services.count == 1)
    }

    @Test func duplicatesAndForeignTablesNameBothPlaces() {
        let host = FakeHost([
            main: "\n[services.a]\ncommand = [\"/a\"]",
            "/etc/eider/services.d/a.toml": "[node]\nname = \"x\"\n[services.a]\ncommand = [\"/b\"]",
        ])
        let directory = "/etc/eider/services.d"
        let expected = """
            \(directory)/a.toml:1: node: cannot use it here; a file in services.d holds only [services.NAME]
            \(directory)/a.toml:3: services.a: cannot define the service again; it is already defined at \(main):2
            """
        #expect(ConfigurationLoader.load(path: main, host: host).errors == expected)
    }

    @Test func aBrokenFileDoesNotBlameTheOthers() {
        let host = FakeHost([
            main: "[services.a]\ncommand = [\"/a\"]\nafter = [\"b\"]\nreplicas = \"x\"",
            "/etc/eider/services.d/b.toml": "[services.b\n",
        ])
        let lines = ConfigurationLoader.load(path: main, host: host).errors.split(separator: "\n")
        #expect(lines.count == 2)
        #expect(lines.first?.hasPrefix("4: services.a.replicas: ") == true)
        #expect(lines.last?.hasPrefix("/etc/eider/services.d/b.toml:1:") == true)
    }

    @Test func realHostReadsFilesAndNamesProblems() {
        let host = LinuxHost()
        #expect(host.read("/proc/self/nonexistent", limit: 10) == .failure(.missing))
        #expect(host.read("/", limit: 10) == .failure(.isDirectory))
        #expect(host.read("/dev/null", limit: 10) == .failure(.notRegular))
        #expect(host.read("/proc/self/status", limit: 10) == .failure(.tooLarge(limit: 10)))
        #expect(
            host.facts(of: "/bin/sh") == .success(FileFacts(isDirectory: false, isExecutable: true, isPublic: true))
        )
        #expect(host.user("root") == .success(UserAccount(name: "root", uid: 0, gid: 0)))
        #expect(host.user("no-such-user") == .success(nil))
        #expect(host.group("root") == .success(0))
        #expect(host.group("no-such-group") == .success(nil))
        #expect(host.groups(of: UserAccount(name: "root", uid: 0, gid: 0), primary: 0).contains(0))
        #expect(!host.hostName.isEmpty)
    }
}
