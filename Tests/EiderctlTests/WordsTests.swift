import ArgumentParser
import Glibc
import Testing

@testable import eiderctl

struct WordsTests {
    @Test func times() {
        #expect(TimeText.seconds("1970-01-01T00:00:00.000Z") == 0)
        #expect(TimeText.seconds("2000-02-29T00:00:00Z") == 951_782_400)
        #expect(TimeText.seconds("2026-11-21T08:13:44.125Z") == 1_795_248_824.125)
        for wrong in ["", "now", "2026-13-01T00:00:00Z", "2026-11-21T08:13:44", "2026-11-21T08:13:99Z", "----T::Z"] {
            #expect(TimeText.seconds(wrong) == nil)
        }
        let briefs: [(Double, String)] = [
            (-1, "0s"), (0.25, "250ms"), (4.25, "4.2s"), (59.9, "59s"), (251, "4m 11s"), (3600, "1h"),
            (525_600, "6d 2h"), (.infinity, "?"), (.nan, "?"), (1e300, "?"),
        ]
        for (seconds, text) in briefs { #expect(TimeText.brief(seconds) == text) }
        #expect(TimeText.span(nil, "2026-11-21T08:13:44Z") == "?")
        #expect(TimeText.clock("2026-11-21T08:13:44.120Z") == "08:13:44")
    }

    @Test func columns() {
        #expect(Columns.wrap("one two three four", 10) == ["one two", "three four"])
        #expect(Columns.wrap("abcdefghijklmno", 10) == ["abcdefghij", "klmno"])
        #expect(Columns.wrap("", 10) == [""])
        #expect(Columns.clip("abcdef", 4) == "abc…")
        #expect(Columns.printable("a\tb\u{1B}[0m\u{9B}c\u{7F}") == "a    b?[0m?c?")
    }

    @Test func globalOptionsMayStandFirst() {
        let cases: [([String], [String])] = [
            (["--json", "status"], ["status", "--json"]),
            (["--socket", "/x", "--json", "status", "auth"], ["status", "auth", "--socket", "/x", "--json"]),
            (["--socket=/x", "breaker", "list"], ["breaker", "list", "--socket=/x"]),
            (["--json", "signal", "--", "-x", "TERM"], ["signal", "--json", "--", "-x", "TERM"]),
            (["status", "--json"], ["status", "--json"]), (["--json"], ["--json"]), (["--help"], ["--help"]),
            (["--json", "--help"], ["--json", "--help"]), ([], []), (["--socket"], ["--socket"]),
        ]
        for (given, expected) in cases { #expect(ArgumentOrder.optionsLast(given) == expected) }
    }

    @Test(arguments: [
        ["status", "auth", "--watch"], ["why", "auth/0"], ["start", "a", "b/1", "--reason", "x", "--no-wait"],
        ["stop", "a"], ["restart", "a", "--rolling"], ["scale", "a", "3"], ["signal", "a", "TERM"],
        ["reload", "--dry-run"], ["drain", "--deadline", "60s", "--notice", "auto", "--detach", "--force"],
        ["drain", "a/0", "--dry-run", "--reason", "x"], ["undrain"], ["undrain", "a"], ["drain-status", "--watch"],
        ["breaker", "list"], ["breaker", "show", "n"], ["breaker", "force-open", "n", "--reason", "x"],
        ["breaker", "force-closed", "n"], ["breaker", "auto", "n"], ["breaker", "reset", "n"],
        ["logs", "-f", "-n", "5"],
        ["logs", "a/0"], ["events", "-f"], ["upgrade"], ["version"],
    ])
    func verbsOfTheInterface(arguments: [String]) throws {
        let parsed = try Root.parseAsRoot(ArgumentOrder.optionsLast(["--json", "--socket", "/s"] + arguments))
        let verb = try #require(parsed as? any Verb)
        #expect(verb.global.json)
        #expect(verb.client.socket == "/s")
    }

    @Test(arguments: [
        [], ["frob"], ["stop"], ["status", "--frob"], ["signal", "a"], ["breaker"], ["logs", "-n", "x"],
    ])
    func usageErrors(arguments: [String]) {
        #expect(Program.run(arguments) == 64)
    }

    @Test func errorsCarryTheProgramsName() {
        #expect(
            Failure(.usage, "usage", "cannot a\nb").lines == "eiderctl: cannot a\neiderctl: b\n"
        )
        #expect(Failure(status: 403, name: "n", message: "m").exitCode == .notPermitted)
        #expect(Failure(status: 501, name: "n", message: "m").exitCode == .failed)
        #expect(JSONText.error(Failure(.failed, "a", "b/\"c\"")) == #"{"error":{"code":"a","message":"b/\"c\""}}"#)
    }

    @Test func withoutADaemonItIs69() {
        for arguments in [["status"], ["stop", "a"], ["logs"], ["--json", "why"], ["version"]] {
            #expect(Program.run(arguments + ["--socket", "/nonexistent/eider.sock"]) == 69)
        }
        let failure = DaemonClient(socket: "/x").unreachable(Disconnected())
        #expect(failure.lines.hasPrefix("eiderctl: cannot reach the daemon at /x: it closed the connection"))
        #expect(failure.lines.contains("systemctl status eiderd,"))
    }

    /// As after the death of a daemon whose listening socket is kept for its successor: connections are taken by the
    /// kernel, and nobody answers.
    @Test func aSocketThatNobodyServesIs69Soon() throws {
        let path = "/tmp/eiderctl-\(getpid())-\(UInt32.random(in: 0...UInt32.max)).sock"
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
        defer {
            close(descriptor)
            unlink(path)
        }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(bound == 0 && listen(descriptor, 8) == 0)
        #expect(DaemonClient.answerTime <= .seconds(5))
        let client = DaemonClient(socket: path, patience: .milliseconds(50))
        let failure = try #require(throws: Failure.self) { try client.stream("/v1/logs") { _ in } }
        #expect(failure.exitCode == .unreachable)
        #expect(failure.message.hasPrefix("cannot get an answer from the daemon at \(path) within 50ms: "))
        #expect(failure.message.contains("systemctl status eiderd"))
    }

    @Test func addresses() {
        #expect(URIText.encode("service:auth@r/1 ä") == "service%3Aauth%40r%2F1%20%C3%A4")
        #expect(URIText.uri("/v1/x", [("a", "b c"), ("n", nil), ("d", "1")]) == "/v1/x?a=b%20c&d=1")
        #expect(URIText.uri("/v1/x", [("n", nil)]) == "/v1/x")
        #expect(Targets.path("auth/0") == "auth/0")
        #expect(Targets.path("a b/0/..") == "a%20b/0/..")
    }

    @Test(arguments: ["bash", "zsh", "fish"]) func completions(shell: String) {
        let script = Root.completionScript(for: CompletionShell(rawValue: shell) ?? .bash)
        for verb in ["status", "drain-status", "breaker"] { #expect(script.contains(verb)) }
    }
}
