import Simulation
import Testing

@testable import SupervisorCore

struct IdentityTests {
    @Test func `an instance is written as service and index`() throws {
        let id = try #require(InstanceID("auth/0"))
        #expect(id == InstanceID(service: "auth", index: 0))
        #expect(id.description == "auth/0")
        #expect(InstanceID("a/b/12") == InstanceID(service: "a/b", index: 12))
        for text in ["", "/", "auth", "auth/", "/0", "auth/-1", "auth/01", "auth/+1", "auth/x", "auth/0 ", "a/1/"] {
            #expect(InstanceID(text) == nil, "\(text)")
        }
        #expect(InstanceID("auth/99999999999999999999") == nil)
    }

    @Test func `instances are ordered by service, then by number`() {
        let sorted = ["b/0", "a/10", "a/9"].compactMap { InstanceID($0) }.sorted().map(\.description)
        #expect(sorted == ["a/9", "a/10", "b/0"])
    }

    @Test func `a target is a service or an instance`() {
        #expect(Target("auth") == .service("auth"))
        #expect(Target("auth/1") == .instance(InstanceID(service: "auth", index: 1)))
        for text in ["", "auth/", "auth/x", "/1"] { #expect(Target(text) == nil, "\(text)") }
        #expect(Target("auth")?.service == "auth")
        #expect(Target("auth/1")?.service == "auth")
        #expect(Target("auth/1")?.description == "auth/1")
    }

    @Test func `signals are read by name and by number`() {
        for text in ["SIGTERM", "TERM", "term", "SigTerm", "15"] {
            #expect(SignalNumber(name: text) == .terminate, "\(text)")
        }
        #expect(SignalNumber(name: "SIGRTMIN+3") == SignalNumber(rawValue: 37))
        #expect(SignalNumber(name: "RTMIN+30") == SignalNumber(rawValue: 64))
        for text in ["", "SIG", "0", "65", "-1", "SIGFOO", "RTMIN+31", "RTMIN+-1", "RTMIN+", "SIGSIGTERM", "1.5"] {
            #expect(SignalNumber(name: text) == nil, "\(text)")
        }
    }

    @Test func `every signal reads back what it writes`() {
        for number: Int32 in 1...64 where number != 32 && number != 33 {
            let signal = SignalNumber(rawValue: number)
            #expect(SignalNumber(name: signal.description) == signal, "\(signal)")
        }
        for number: Int32 in [.min, -1, 0, 32, 33, 65, .max] {
            #expect(SignalNumber(rawValue: number).description == "signal \(number)")
        }
    }

    @Test func `a failed start is one sentence, for every stage`() {
        let failure = SpawnFailure(stage: .execute, errno: 2, path: "/usr/bin/x")
        #expect(failure.description == "cannot execute /usr/bin/x: No such file or directory (ENOENT)")
        for stage in SpawnStage.allCases {
            let text = SpawnFailure(stage: stage, errno: 9_999, path: "").description
            #expect(text.hasPrefix("cannot ") && text.hasSuffix(": error 9999"))
        }
        #expect(ExitStatus.code(3).inWords == "exited with code 3")
        #expect(ExitStatus.signal(.kill, coreDumped: true).inWords == "was ended by SIGKILL (core dumped)")
    }
}
