import Glibc
import LinuxPlatform
import ShimProtocol
import SupervisorCore
import Testing

@testable import eider_shim

/// A program that somebody holds: whoever executes it waits, until the lease is let go or lease-break-time (45 s).
final class HeldProgram {
    private static let setLease: Int32 = 1024
    private static let ioSignal = SignalNumber(rawValue: SIGIO)

    let path: String
    private let descriptor: Int32

    init(_ path: String) throws {
        self.path = path
        // The kernel asks for the lease back by this signal, which would end us.
        try Signals.ignore(Self.ioSignal)
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0, fcntl(descriptor, Self.setLease, F_WRLCK) == 0 else {
            throw SystemError(call: "take a lease on", errno: errno, path: path)
        }
    }

    deinit { close(descriptor) }
}

private func openDescriptors(of pid: Int32) -> Set<String> {
    guard let directory = opendir("/proc/\(pid)/fd") else { return [] }
    defer { closedir(directory) }
    var names: Set<String> = []
    while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        if !name.hasPrefix(".") { names.insert(name) }
    }
    return names
}

@Suite("Starts that are not waited for")
struct DetachedStartTests {
    /// Why it was not executed, once it has ended.
    private func lateFailure(_ start: ProgramStart) throws -> SpawnFailure? {
        let (outcome, report) = try start.startDetached()
        guard case .running(let pid) = outcome else {
            Issue.record("\(outcome)")
            return nil
        }
        var status: ExitStatus?
        let hasEnded = eventually {
            status = ChildProcess.reap(pid)?.status
            return status != nil
        }
        #expect(hasEnded)
        let failure = report.takeFailure()
        if failure != nil { #expect(status == .code(127)) }
        #expect(report.takeFailure() == nil)
        return failure
    }

    @Test("each stage that fails is reported with its error and its file")
    func stages() throws {
        let missing = "/nonexistent/program"
        #expect(
            try lateFailure(ProgramStart(arguments: [missing]))
                == SpawnFailure(stage: .execute, errno: ENOENT, path: missing)
        )
        var start = ProgramStart(arguments: ["/bin/true"])
        #expect(try lateFailure(start) == nil)
        start.workingDirectory = "/nonexistent"
        #expect(
            try lateFailure(start) == SpawnFailure(stage: .workingDirectory, errno: ENOENT, path: "/nonexistent")
        )
        start.workingDirectory = nil
        start.descriptors = [0, 9_999, 2]
        #expect(try lateFailure(start) == SpawnFailure(stage: .output, errno: EBADF, path: ""))
        start.descriptors = [0, 1, 2, 9_999]
        #expect(try lateFailure(start) == SpawnFailure(stage: .descriptors, errno: EBADF, path: ""))
        start.descriptors = []
        start.limits = [ProgramStart.Limit(resource: 9_999, soft: 1, hard: 1)]
        #expect(try lateFailure(start) == SpawnFailure(stage: .limits, errno: EINVAL, path: ""))
        guard case .failed(let failure) = try ProgramStart(arguments: []).startDetached().outcome else {
            Issue.record("started nothing")
            return
        }
        #expect(failure.stage == .execute)
    }

    @Test("nothing is inherited, and descriptors take their places")
    func nothingInherited() throws {
        let leaked = dup(2)
        defer { close(leaked) }
        let pipe = try FileDescriptors.pipe()
        let null = try FileDescriptors.open("/dev/null", flags: O_RDWR)
        var start = ProgramStart(
            arguments: [
                "/bin/sh", "-c",
                """
                grep -E 'SigBlk|SigIgn|SigCgt' /proc/self/status; ls /proc/self/fd
                echo "session $(cut -d' ' -f6 /proc/$$/stat) $$ $LISTEN_PID $(id -u)"; pwd; echo END
                """,
            ]
        )
        start.environment = ["LISTEN_PID=" + LaunchRequest.pidPlaceholder]
        start.pidPlaceholder = LaunchRequest.pidPlaceholder
        start.workingDirectory = "/usr"
        start.descriptors = [null.rawValue, pipe.write.rawValue, pipe.write.rawValue]
        let isRoot = geteuid() == 0
        if isRoot { start.credentials = ServiceSpec.Credentials(uid: 65_534, gid: 65_534, supplementaryGroups: []) }
        guard case (.running(let pid), let report) = try start.startDetached() else {
            Issue.record("not started")
            return
        }
        let text = try read(pipe.read.rawValue) { $0.hasSuffix("END\n") }
        let isReaped = eventually { ChildProcess.reap(pid) != nil }
        #expect(isReaped)
        #expect(report.takeFailure() == nil)
        #expect(text.contains("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000"), "\(text)")
        // The fourth is the directory that is being listed.
        let user = isRoot ? 65_534 : geteuid()
        #expect(text.contains("\n0\n1\n2\n3\nsession \(pid) \(pid) \(pid) \(user)\n/usr\n"), "\(text)")
    }

    @Test("a held program holds up nothing but itself, and is ended", arguments: [false, true])
    func heldProgram(session: Bool) throws {
        let harness = try ShimHarness(session: session)
        let held = try HeldProgram(harness.directory.write("probe", "#!/bin/sh\nexit 0\n"))
        var launch = harness.program([held.path], "auth@readiness/0")
        launch.isDetached = true
        if geteuid() == 0 {
            launch.credentials = ServiceSpec.Credentials(uid: 65_534, gid: 65_534, supplementaryGroups: [])
        }
        let began = MonotonicClock.now()
        let pid = try harness.start(launch)
        let other = harness.shell("exit 3")
        try harness.start(other)
        #expect(try harness.exit(of: other).status == .code(3))
        #expect(MonotonicClock.now().since(began) < .seconds(2))
        #expect(lives(pid))
        // What it holds meanwhile are its own: three, and the pipe for its failure.
        let holdsItsOwn = eventually { openDescriptors(of: pid) == ["0", "1", "2", "3"] }
        #expect(holdsItsOwn, "\(openDescriptors(of: pid))")

        harness.send(.endTree(launch.instance, launch.generation))
        let end = try harness.exit(of: launch)
        #expect(end.status == .signal(.kill, coreDumped: false))
        if !end.treeGone { try harness.waitForTreeGone(launch) }
        #expect(MonotonicClock.now().since(began) < .seconds(4))
        #expect(!lives(pid))
        withExtendedLifetime(held) {}
    }

    @Test(
        "a program that is missing is startFailed in place of exited, and leaves no record",
        arguments: [false, true]
    )
    func lateStartFailed(session: Bool) throws {
        let harness = try ShimHarness(session: session)
        for generation: Generation in 1...3 {
            var launch = harness.program(["/nonexistent"], "auth@readiness/0", generation)
            launch.isDetached = true
            try harness.start(launch)
            let failure = try harness.next { report -> SpawnFailure? in
                if case .startFailed(launch.instance, generation, let failure) = report { failure } else { nil }
            }
            #expect(failure == SpawnFailure(stage: .execute, errno: ENOENT, path: "/nonexistent"))
        }
        var launch = harness.shell("exit 5", "auth@readiness/0", 4)
        launch.isDetached = true
        try harness.start(launch)
        #expect(try harness.exit(of: launch).status == .code(5))
        harness.send(.release(launch.instance, launch.generation), .exitWhenEmpty)
        #expect(harness.reap() == .code(0))
    }

    @Test("strays are said first, and then when there are twice as many")
    func strays() {
        var reports = StrayReports()
        let start = MonotonicClock.now()
        let said = (0...40).filter { reports.isWorthSaying($0, at: start) }
        #expect(said == [1, 2, 4, 8, 16, 32])
        let again = (0...40).filter { reports.isWorthSaying($0, at: start) }
        #expect(again.isEmpty)
        let later = [3_600, 3_601].map { reports.isWorthSaying(41 + $0 - 3_600, at: start.advanced(by: .seconds($0))) }
        #expect(later == [true, false])
    }

    @Test("what a detached start costs beside one that is waited for", arguments: [0, 2_000])
    func cost(held: Int) throws {
        let harness = try ShimHarness()
        for number in 0..<held { harness.hold("other/\(number)", harness.output.write) }
        var generation: Generation = 0
        var figures: [Int] = []
        for isDetached in [false, true] {
            var took: [Int] = []
            for _ in 0..<200 {
                generation += 1
                var launch = harness.program(["/bin/true"], "auth/0", generation)
                launch.isDetached = isDetached
                let began = MonotonicClock.now()
                try harness.start(launch)
                took.append(Int(MonotonicClock.now().since(began).inSeconds * 1e6))
                if try !harness.exit(of: launch).treeGone { try harness.waitForTreeGone(launch) }
                harness.send(.release(launch.instance, generation))
            }
            figures.append(took.sorted()[took.count / 2])
        }
        let beside = "beside \(held) held descriptors"
        StandardError.line("platform: a start takes \(figures[0]) µs waited for, \(figures[1]) µs detached, \(beside)")
    }
}
