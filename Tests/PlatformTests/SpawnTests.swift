import Glibc
import LinuxPlatform
import ShimProtocol
import SupervisorCore
import Testing

@Suite("Starting a program")
struct SpawnTests {
    private func start(_ script: String) -> ProgramStart { ProgramStart(arguments: ["/bin/sh", "-c", script]) }

    private func failure(_ start: ProgramStart) -> SpawnFailure? {
        switch start.start() {
        case .failed(let failure): return failure
        case .running(let pid):
            kill(pid, SIGKILL)
            return nil
        }
    }

    private func status(_ start: ProgramStart) -> ExitStatus? {
        guard case .running(let pid) = start.start() else { return nil }
        var status: ExitStatus?
        _ = eventually {
            status = ChildProcess.reap(pid)?.status
            return status != nil
        }
        return status
    }

    /// What the program writes to its standard output.
    private func output(_ start: ProgramStart) throws -> String {
        var start = start
        let pipe = try FileDescriptors.pipe()
        let null = try FileDescriptors.open("/dev/null", flags: O_RDWR)
        start.descriptors = [null.rawValue, pipe.write.rawValue, pipe.write.rawValue] + start.descriptors
        guard case .running(let pid) = start.start() else { return "did not start" }
        let text = try read(pipe.read.rawValue) { $0.hasSuffix("END\n") }
        _ = eventually { ChildProcess.reap(pid) != nil }
        return text
    }

    @Test("each stage that fails says its name, its error and its file")
    func stages() throws {
        let directory = try TemporaryDirectory()
        #expect(
            failure(ProgramStart(arguments: ["/nonexistent/program"]))
                == SpawnFailure(stage: .execute, errno: ENOENT, path: "/nonexistent/program")
        )
        let plain = try directory.write("plain", "x", mode: 0o644)
        #expect(
            failure(ProgramStart(arguments: [plain])) == SpawnFailure(stage: .execute, errno: EACCES, path: plain)
        )
        let garbage = try directory.write("garbage", "\u{1}\u{2}\u{3}", mode: 0o755)
        #expect(
            failure(ProgramStart(arguments: [garbage]))
                == SpawnFailure(stage: .execute, errno: ENOEXEC, path: garbage)
        )
        #expect(failure(ProgramStart(arguments: []))?.stage == .execute)
        #expect(failure(ProgramStart(arguments: ["/bin/sh", "a\0b"]))?.stage == .prepare)
        var launch = start("exit 0")
        launch.workingDirectory = "/nonexistent"
        #expect(failure(launch) == SpawnFailure(stage: .workingDirectory, errno: ENOENT, path: "/nonexistent"))
        launch = start("exit 0")
        launch.limits = [ProgramStart.Limit(resource: 9_999, soft: 1, hard: 1)]
        #expect(failure(launch) == SpawnFailure(stage: .limits, errno: EINVAL, path: ""))
        launch = start("exit 0")
        launch.limits = [ProgramStart.Limit(resource: OwnProcess.descriptorLimitResource, soft: 9, hard: 8)]
        #expect(failure(launch) == SpawnFailure(stage: .limits, errno: EINVAL, path: ""))
        launch = start("exit 0")
        launch.oomScoreAdjust = 5_000
        #expect(
            failure(launch) == SpawnFailure(stage: .oomScore, errno: EINVAL, path: "/proc/self/oom_score_adj")
        )
        launch = start("exit 0")
        launch.descriptors = [0, 9_999, 2]
        #expect(failure(launch) == SpawnFailure(stage: .output, errno: EBADF, path: ""))
        launch.descriptors = [0, 1, 2, 9_999]
        #expect(failure(launch) == SpawnFailure(stage: .descriptors, errno: EBADF, path: ""))
        launch = start("exit 0")
        launch.cgroup = 0
        #expect(failure(launch)?.stage == .cgroup)
    }

    @Test("another identity needs privileges; our own needs none")
    func identity() throws {
        var launch = start("id -u; id -g; echo END")
        if geteuid() == 0 {
            launch.credentials = ServiceSpec.Credentials(uid: 65_534, gid: 65_533, supplementaryGroups: [65_532])
            launch.arguments = ["/bin/sh", "-c", "id -u; id -g; id -G; echo END"]
            #expect(try output(launch) == "65534\n65533\n65533 65532\nEND\n")
            // Having given it up, it can neither have the old one back nor read what is not its own.
            launch.workingDirectory = "/root"
            #expect(failure(launch) == SpawnFailure(stage: .workingDirectory, errno: EACCES, path: "/root"))
        } else {
            launch.credentials = ServiceSpec.Credentials(uid: 0, gid: 0, supplementaryGroups: [])
            #expect(failure(launch)?.stage == .groups)
            launch.credentials = ServiceSpec.Credentials(uid: geteuid(), gid: getegid(), supplementaryGroups: [])
            #expect(try output(launch) == "\(geteuid())\n\(getegid())\nEND\n")
        }
    }

    @Test("exit codes and signals come back as they were")
    func exits() {
        #expect(status(start("exit 0")) == .code(0))
        #expect(status(start("exit 250")) == .code(250))
        #expect(status(start("kill -TERM $$")) == .signal(.terminate, coreDumped: false))
        #expect(status(start("kill -KILL $$")) == .signal(.kill, coreDumped: false))
    }

    @Test("nothing is inherited: environment, descriptors, signal mask, dispositions, session")
    func nothingInherited() throws {
        let leaked = dup(2)
        defer { close(leaked) }
        try Signals.ignore(SignalNumber(rawValue: SIGUSR1))
        defer { try? Signals.restore(SignalNumber(rawValue: SIGUSR1)) }
        try Signals.block([SignalNumber(rawValue: SIGUSR2)])
        var launch = start(
            """
            echo "env $(/usr/bin/env | grep -v -E '^(PWD|SHLVL|_|OLDPWD)=' | tr '\\n' ' ')"
            grep -E 'SigBlk|SigIgn|SigCgt' /proc/self/status
            echo fds; ls /proc/self/fd
            echo "session $(cut -d' ' -f6 /proc/$$/stat) $$"; umask; pwd
            echo END
            """
        )
        launch.environment = ["ONLY=this"]
        launch.umask = 0o027
        launch.workingDirectory = "/usr"
        let text = try output(launch)
        #expect(text.contains("env ONLY=this \n"), "\(text)")
        #expect(text.contains("SigBlk:\t0000000000000000"), "\(text)")
        #expect(text.contains("SigIgn:\t0000000000000000"), "\(text)")
        // The fourth is the directory that is being listed.
        #expect(text.contains("fds\n0\n1\n2\n3\nsession"), "\(text)")
        let session = text.split(separator: "\n").first { $0.hasPrefix("session ") }?.split(separator: " ")
        #expect(session?.dropFirst().first == session?.last, "\(text)")
        #expect(text.contains("\n0027\n/usr\n"), "\(text)")
    }

    @Test("the pid replaces its placeholders in the environment, and nothing else")
    func pidPlaceholder() throws {
        var launch = start("echo $$ \"$LISTEN_PID\" \"$WATCHDOG_PID\" \"$OTHER\" \"$AFTER\"; echo END")
        let placeholder = LaunchRequest.pidPlaceholder
        launch.environment = [
            "LISTEN_PID=" + placeholder, "WATCHDOG_PID=" + placeholder, "OTHER=" + placeholder, "AFTER=whole",
        ]
        launch.pidPlaceholder = placeholder
        let words = try output(launch).split { $0 == " " || $0 == "\n" }
        #expect(words.count == 6)
        #expect(words.first == words.dropFirst().first && words.first == words.dropFirst(2).first, "\(words)")
        #expect(words.dropFirst(3).first.map(String.init) == placeholder)
        #expect(words.dropFirst(4).first == "whole")
    }

    @Test("descriptors take their places, however they were numbered")
    func descriptorPlaces() throws {
        let directory = try TemporaryDirectory()
        let files = try ["a", "b", "c"].map { try directory.write($0, $0 + "\n") }
        var launch = start("cat <&3; cat <&4; cat <&5; echo END")
        let first = try FileDescriptors.open(files[0], flags: O_RDONLY)
        let second = try FileDescriptors.open(files[1], flags: O_RDONLY)
        let third = try FileDescriptors.open(files[2], flags: O_RDONLY)
        launch.descriptors = [third.rawValue, first.rawValue, second.rawValue]
        #expect(try output(launch) == "c\na\nb\nEND\n")
    }

    @Test("2,000 failed and successful starts leave no descriptor and no child")
    func noLeaks() throws {
        let before = try DescriptorCount.current()
        for round in 0..<1_000 {
            #expect(failure(ProgramStart(arguments: ["/nonexistent"]))?.errno == ENOENT)
            if round % 10 == 0 { #expect(status(ProgramStart(arguments: ["/bin/true"])) == .code(0)) }
        }
        // Other tests run beside this one.
        #expect(try DescriptorCount.current() < before + 200)
    }
}
