import Glibc
import LinuxPlatform
import ShimProtocol
import SupervisorCore
import Testing

@Suite("The shim, one instance at a time", .serialized)
struct ShimLifeTests {
    @Test("a run from its start to its release", arguments: [false, true])
    func oneRun(session: Bool) throws {
        let shim = try ShimHarness(session: session)
        let launch = shim.shell("exec sleep 1000")
        let pid = try shim.start(launch)
        #expect(lives(pid))
        // No twin while a record is there, alive or not yet acknowledged.
        #expect(try shim.failure(of: shim.shell("exit 0", "auth/0", 2)).errno == EEXIST)
        shim.send(.signal(launch.instance, 99, .kill, tree: false))
        shim.send(.signal(launch.instance, 1, .terminate, tree: false))
        let exit = try shim.exit(of: launch)
        #expect(exit.status == .signal(.terminate, coreDumped: false))
        #expect(exit.treeGone)
        #expect(
            try shim.failure(of: shim.shell("exit 0", "auth/0", 2))
                == SpawnFailure(
                    stage: .prepare,
                    errno: EEXIST,
                    path: ""
                )
        )
        shim.send(.release(launch.instance, 1))
        let next = shim.shell("exit 3", "auth/0", 2)
        try shim.start(next)
        #expect(try shim.exit(of: next).status == .code(3))
    }

    @Test("standard output is a file of its own for each run, on the pipe that is held")
    func output() throws {
        let shim = try ShimHarness()
        let launch = shim.shell("echo out; echo err >&2; echo $EIDER_TREE; ls -l /proc/self/fd | wc -l; echo END")
        try shim.start(launch)
        let text = try read(shim.output.read.rawValue) { $0.hasSuffix("END\n") }
        #expect(text.hasPrefix("out\nerr\n"), "\(text)")
        #expect(text.contains(":auth/0:1\n"), "\(text)")
        _ = try shim.exit(of: launch)
        // What the worker does to its flags does not reach the pipe that the next run gets.
        let flags = fcntl(shim.output.write.rawValue, F_GETFL)
        #expect(flags & O_NONBLOCK == 0)
    }

    @Test("sockets are passed from 3 on with LISTEN_PID")
    func sockets() throws {
        let shim = try ShimHarness()
        let listener = try TCPListener.listen(host: "127.0.0.1", port: 0).shared()
        shim.hold("listen/a", listener)
        var launch = shim.shell("test $LISTEN_PID = $$ && readlink /proc/self/fd/3; echo END")
        launch.environment = ["LISTEN_PID=" + LaunchRequest.pidPlaceholder, "LISTEN_FDS=1"]
        launch.sockets = ["listen/a"]
        try shim.start(launch)
        let inode = try #require(FileIdentity(descriptor: listener.rawValue)).inode
        #expect(try read(shim.output.read.rawValue) { $0.hasSuffix("END\n") } == "socket:[\(inode)]\nEND\n")
        launch.sockets = ["listen/unknown"]
        launch.instance.index = 1
        #expect(
            try shim.failure(of: launch)
                == SpawnFailure(stage: .descriptors, errno: EBADF, path: "listen/unknown")
        )
        launch.sockets = []
        launch.output = "output/unknown"
        #expect(
            try shim.failure(of: launch) == SpawnFailure(stage: .output, errno: EBADF, path: "output/unknown")
        )
    }

    @Test("a start that fails leaves nothing, and the next one may come at once")
    func failedStart() throws {
        let shim = try ShimHarness()
        let launch = shim.program(["/nonexistent"])
        #expect(try shim.failure(of: launch) == SpawnFailure(stage: .execute, errno: ENOENT, path: "/nonexistent"))
        let next = shim.shell("exit 0", "auth/0", 2)
        try shim.start(next)
        #expect(try shim.exit(of: next).status == .code(0))
    }

    @Test("settings that cannot be applied are sentences, not failures", arguments: [false, true])
    func settings(session: Bool) throws {
        let shim = try ShimHarness(session: session)
        var launch = shim.shell("exec sleep 100")
        launch.cgroup = [LaunchRequest.CgroupSetting(file: "nonsense.max", value: "1")]
        shim.send(.start(launch))
        let warnings: [String] = try shim.next {
            if case .started(_, _, _, _, let warnings) = $0 { warnings } else { nil }
        }
        #expect(warnings.count == 1)
        #expect(warnings.first?.hasPrefix("cannot apply nonsense.max = 1 to auth/0: ") == true, "\(warnings)")
    }

    @Test("MAINPID= makes another process of the tree the main one", arguments: [false, true])
    func adoptMain(session: Bool) throws {
        let shim = try ShimHarness(session: session)
        let launch = shim.shell("sleep 1000 & echo $!; echo END; wait")
        let first = try shim.start(launch)
        let text = try read(shim.output.read.rawValue) { $0.hasSuffix("END\n") }
        let named = try #require(text.split(separator: "\n").first.flatMap { Int32($0) })
        shim.send(.adoptMain(launch.instance, 1, pid: getpid()))
        shim.send(.adoptMain(launch.instance, 1, pid: named))
        #expect(try shim.next { if case .started(_, _, let pid, _, _) = $0 { pid } else { nil } } == named)
        // The old main process may go without that being the end.
        kill(first, SIGKILL)
        #expect(eventually { ProcessTable.entry(first) == nil })
        shim.send(.signal(launch.instance, 1, .terminate, tree: false))
        let exit = try shim.exit(of: launch)
        #expect(exit.status == .signal(.terminate, coreDumped: false))
        #expect(exit.treeGone)
    }

    @Test("a named main process whose parent still lives is seen to end")
    func adoptedChildOfAnother() throws {
        let shim = try ShimHarness()
        let launch = shim.shell("sleep 1000 & echo $!; echo END; wait; exec sleep 1000")
        let first = try shim.start(launch)
        let text = try read(shim.output.read.rawValue) { $0.hasSuffix("END\n") }
        let named = try #require(text.split(separator: "\n").first.flatMap { Int32($0) })
        shim.send(.adoptMain(launch.instance, 1, pid: named))
        shim.send(.signal(launch.instance, 1, .kill, tree: false))
        #expect(try shim.exit(of: launch).treeGone == false)
        #expect(lives(first))
        shim.send(.endTree(launch.instance, 1))
        try shim.waitForTreeGone(launch)
        #expect(!lives(first))
    }

    @Test("a second shim says who is there and leaves")
    func secondShim() throws {
        let shim = try ShimHarness()
        let errors = try FileDescriptors.pipe()
        var start = ProgramStart(arguments: [
            try ShimHarness.program, "--runtime-directory", shim.directory.path,
        ])
        start.descriptors = [errors.read.rawValue, errors.write.rawValue, errors.write.rawValue]
        guard case .running(let pid) = start.start() else {
            Issue.record("cannot start")
            return
        }
        let text = try read(errors.read.rawValue) { $0.hasSuffix("\n") }
        #expect(text.hasPrefix("eider-shim: cannot start: another shim (process \(shim.pid), runtime"), "\(text)")
        #expect(text.count { $0 == "\n" } == 1)
        var status: ExitStatus?
        _ = eventually {
            status = ChildProcess.reap(pid)?.status
            return status != nil
        }
        #expect(status == .code(1))
        // The first one has not noticed.
        let launch = shim.shell("exit 0")
        try shim.start(launch)
        #expect(try shim.exit(of: launch).status == .code(0))
    }

    @Test("exitWhenEmpty waits for the last record and leaves nothing behind", arguments: [false, true])
    func exitWhenEmpty(session: Bool) throws {
        let shim = try ShimHarness(session: session)
        let launch = shim.shell("exec sleep 1000")
        try shim.start(launch)
        shim.send(.exitWhenEmpty)
        #expect(try shim.failure(of: shim.shell("exit 0", "auth/1")).errno == ESHUTDOWN)
        shim.send(.signal(launch.instance, 1, .kill, tree: false))
        _ = try shim.exit(of: launch)
        shim.send(.release(launch.instance, 1))
        #expect(shim.reap() == .code(0))
        for name in ["shim.sock", "shim.ledger", "shim.cgroup"] {
            #expect(FileIdentity(path: shim.directory.file(name)) == nil, "\(name)")
        }
    }

    @Test("2,000 restarts leave the shim's descriptors as they were", arguments: [false, true])
    func restartsAreFlat(session: Bool) throws {
        let shim = try ShimHarness(session: session)
        func descriptors() throws -> Int {
            try #require(
                opendir("/proc/\(shim.pid)/fd").map { directory in
                    defer { closedir(directory) }
                    var count = 0
                    while readdir(directory) != nil { count += 1 }
                    return count
                }
            )
        }
        var before = 0
        let started = MonotonicClock.now()
        for generation in 1...2_000 as ClosedRange<UInt64> {
            let launch = shim.program(["/bin/true"], "auth/0", generation)
            try shim.start(launch)
            #expect(try shim.exit(of: launch).treeGone)
            shim.send(.release(launch.instance, generation))
            if generation == 10 { before = try descriptors() }
        }
        let rate = 2_000 / MonotonicClock.now().since(started).inSeconds
        print("restarts per second (session: \(session)): \(Int(rate))")
        #expect(try descriptors() == before)
    }

    @Test("a malformed packet closes the connection and harms nothing", arguments: [11, 12] as [UInt64])
    func malformed(seed: UInt64) throws {
        let shim = try ShimHarness()
        let launch = shim.shell("exec sleep 1000")
        let pid = try shim.start(launch)
        var state = seed
        for _ in 0..<200 {
            var packet: [UInt8] = []
            for _ in 0..<Int(state % 60 + 1) {
                // Knuth's MMIX generator, The Art of Computer Programming 3.3.4.
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                packet.append(UInt8(truncatingIfNeeded: state >> 56))
            }
            let socket = try UnixSocket.connect(.sequentialPacket, path: shim.directory.file("shim.sock"))
            _ = try? Packet.send(packet, on: socket.rawValue, nonblocking: false)
            shim.disconnect()
        }
        let listing = try shim.connect()
        #expect(
            listing.contains {
                if case .record(let record) = $0 { record.pid == pid && record.state == .running } else { false }
            }
        )
    }

    @Test("the service manager is told when the shim can be reached")
    func readiness() throws {
        let directory = try TemporaryDirectory()
        let manager = try UnixSocket.bind(.datagram, path: directory.file("n"), nonblocking: false)
        var start = ProgramStart(arguments: [try ShimHarness.program, "--runtime-directory", directory.path])
        start.environment = ["NOTIFY_SOCKET=" + directory.file("n")]
        start.descriptors = [0, 2, 2]
        guard case .running(let pid) = start.start() else {
            Issue.record("cannot start")
            return
        }
        guard case .packet(let said) = try Packet.receive(on: manager.rawValue, limit: 100, nonblocking: false) else {
            Issue.record("nothing was said")
            return
        }
        #expect(said.bytes == Array("READY=1\n".utf8))
        let daemon = try UnixSocket.connect(.sequentialPacket, path: directory.file("shim.sock"))
        #expect(daemon.rawValue > 2)
        kill(pid, SIGTERM)
        #expect(eventually { ChildProcess.reap(pid)?.status == .code(0) })
    }

    @Test("wrong usage is said in one line", arguments: [[], ["--runtime-directory"], ["--nonsense", "x"]])
    func usage(arguments: [String]) throws {
        var start = ProgramStart(arguments: [try ShimHarness.program] + arguments)
        let errors = try FileDescriptors.pipe()
        start.descriptors = [0, errors.write.rawValue, errors.write.rawValue]
        guard case .running(let pid) = start.start() else {
            Issue.record("cannot start")
            return
        }
        #expect(try read(errors.read.rawValue) { $0.hasSuffix("\n") }.hasPrefix("eider-shim: usage: "))
        #expect(eventually { ChildProcess.reap(pid)?.status == .code(64) })
    }
}
