import Glibc
import LinuxPlatform
import ShimProtocol
import SupervisorCore
import Testing

/// Rule P1 when the shim's files are lost, and what it does where it cannot write or open any.
@Suite("The shim's identity, and the lack of files, room and descriptors", .serialized)
struct FleetIdentityTests {
    private func token(in state: TemporaryDirectory) throws -> FleetToken {
        try #require(SmallFile.text(FleetToken.path(in: state.path)).flatMap { FleetToken(kept: $0) })
    }

    private func remains(_ listing: [ShimReport]) -> Int {
        listing.reduce(0) { if case .strays(let count, _) = $1 { $0 + count } else { $0 } }
    }

    private func isHeld(_ path: String) -> Bool {
        do throws(FileLock.Refusal) {
            _ = try FileLock(path: path)
            return false
        } catch {
            if case .held = error { return true }
            return false
        }
    }

    @Test("a second shim of a state directory is refused, whatever its runtime directory")
    func oneForEachStateDirectory() throws {
        let state = try TemporaryDirectory()
        let other = try TemporaryDirectory()
        let shim = try ShimHarness(state: state.path)
        let words = try FileDescriptors.pipe()
        let second = try shim.launch(in: other.path, errors: words.write.rawValue)
        var status: ExitStatus?
        #expect(
            eventually {
                status = ChildProcess.reap(second)?.status
                return status != nil
            }
        )
        #expect(status == .code(1))
        let text = try read(words.read.rawValue) { $0.hasSuffix("\n") }
        #expect(text.contains("process \(shim.pid), runtime directory \(shim.directory.path)"))
        #expect(isHeld(state.file("shim.lock")))
    }

    @Test("a removed runtime directory leaves no twin behind", arguments: [false, true])
    func runtimeDirectoryRemoved(session: Bool) throws {
        let state = try TemporaryDirectory()
        let shim = try ShimHarness(session: session, state: state.path)
        let before = try token(in: state)
        let worker = try shim.start(shim.shell("exec sleep 1000"))
        shim.kill(SIGKILL)
        #expect(shim.reap() == .signal(.kill, coreDumped: false))
        for name in ["shim.sock", "shim.lock", "shim.ledger", "shim.cgroup"] {
            FileSystem.remove(shim.directory.file(name))
        }
        #expect(rmdir(shim.directory.path) == 0)
        try shim.launch()
        #expect(remains(try shim.connect()) == 1)
        #expect(!lives(worker))
        #expect(try token(in: state) == before)
    }

    @Test("a copy of a state directory does not begin while the fleet that it was copied from lives")
    func copiedState() throws {
        let state = try TemporaryDirectory()
        let shim = try ShimHarness(state: state.path)
        let worker = try shim.start(shim.shell("exec sleep 1000"))
        let copy = try TemporaryDirectory()
        let runtime = try TemporaryDirectory()
        _ = try copy.write("fleet-token", "\(try token(in: state))\n")
        let words = try FileDescriptors.pipe()
        var start = ProgramStart(
            arguments: [
                try ShimHarness.program, "--runtime-directory", runtime.path, "--state-directory", copy.path,
            ]
        )
        start.descriptors = [words.read.rawValue, words.write.rawValue, words.write.rawValue]
        guard case .running(let second) = start.start() else {
            Issue.record("cannot start")
            return
        }
        let text = try read(words.read.rawValue) { $0.hasSuffix("\n") }
        #expect(text.contains("another shim (process \(shim.pid))"))
        #expect(eventually { ChildProcess.reap(second) != nil })
        #expect(lives(worker))
    }

    @Test("a state directory that cannot be made or written does not keep the shim from starting")
    func unusableState() throws {
        let place = try TemporaryDirectory()
        // Below a file no directory can be made, by root neither.
        let state = try place.write("file", "") + "/state"
        let shim = try ShimHarness(state: state)
        let launch = shim.shell("exec sleep 1000")
        let worker = try shim.start(launch)
        shim.disconnect()
        let token = FleetToken(
            hashing: FileSystem.absolute(state),
            namespace: FileIdentity(path: "/proc/self/ns/pid")?.inode ?? 0
        )
        let listing = try shim.connect(at: token.socketName)
        #expect(lives(worker) && !listing.isEmpty)
    }

    @Test("a deleted socket file: the abstract name leads to the shim, which makes the file anew")
    func socketDeleted() throws {
        let state = try TemporaryDirectory()
        let shim = try ShimHarness(state: state.path)
        let worker = try shim.start(shim.shell("exec sleep 1000"))
        shim.disconnect()
        FileSystem.remove(shim.directory.file("shim.sock"))
        let name = try token(in: state).socketName
        for path in [name, nil, name, nil] {
            let listing = try shim.connect(at: path)
            #expect(listing.contains { if case .record(let record) = $0 { record.pid == worker } else { false } })
            #expect(FileKind.isSocket(shim.directory.file("shim.sock")))
            shim.disconnect()
        }
        try shim.connect()
    }

    @Test("a ledger that is cut or deleted while the shim lives ends nothing")
    func ledgerCut() throws {
        let shim = try ShimHarness(session: true)
        let first = try shim.start(shim.shell("exec sleep 1000"))
        #expect(truncate(shim.directory.file("shim.ledger"), 0) == 0)
        let second = try shim.start(shim.shell("exec sleep 1000", "auth/1"))
        FileSystem.remove(shim.directory.file("shim.ledger"))
        let third = try shim.start(shim.shell("exec sleep 1000", "auth/2"))
        #expect([first, second, third].allSatisfy(lives))
    }

    @Test("without room for a ledger the shim says so once and goes on")
    func noRoom() throws {
        try #require(geteuid() == 0, "this test needs root, to mount a file system")
        let full = try TemporaryDirectory()
        try #require(mount("tmpfs", full.path, "tmpfs", 0, "size=32k") == 0)
        defer { umount2(full.path, Int32(MNT_DETACH)) }
        let shim = try ShimHarness(in: full)
        let worker = try shim.start(shim.shell("exec sleep 1000"))
        #expect(lives(worker))
        #expect(FileIdentity(path: full.file("shim.ledger")) == nil)
        // Ends before the file system goes.
        shim.kill(SIGTERM)
        #expect(shim.reap() == .code(0))
    }

    private func limitDescriptors(of pid: Int32, to count: Int) throws {
        var start = ProgramStart(arguments: ["/usr/bin/prlimit", "--pid", "\(pid)", "--nofile=\(count):"])
        let null = try FileDescriptors.open("/dev/null", flags: O_RDWR)
        start.descriptors = [null.rawValue, 2, 2]
        guard case .running(let tool) = start.start() else {
            throw ShimHarness.Unexpected(description: "cannot start prlimit")
        }
        var status: ExitStatus?
        #expect(
            eventually {
                status = ChildProcess.reap(tool)?.status
                return status != nil
            }
        )
        #expect(status == .code(0))
    }

    private func processorTicks(_ pid: Int32) -> Int {
        let fields = (SmallFile.text("/proc/\(pid)/stat") ?? "").split(separator: ")").last?.split(separator: " ") ?? []
        return fields.dropFirst(11).prefix(2).reduce(0) { $0 + (Int($1) ?? 0) }
    }

    @Test("a daemon is let in when no descriptor is left, thanks to the spare one")
    func spareDescriptor() throws {
        let shim = try ShimHarness()
        shim.disconnect()
        try limitDescriptors(of: shim.pid, to: 4)
        for _ in 0..<3 {
            try shim.connect()
            shim.disconnect()
        }
        try limitDescriptors(of: shim.pid, to: 4096)
        try shim.connect()
    }

    @Test("where nobody can be accepted the shim waits instead of trying without end")
    func noSpin() throws {
        let shim = try ShimHarness()
        shim.disconnect()
        try limitDescriptors(of: shim.pid, to: 3)
        let waiting = try UnixSocket.connect(.sequentialPacket, path: shim.directory.file("shim.sock"))
        let before = processorTicks(shim.pid)
        #expect(!eventually(within: 1) { processorTicks(shim.pid) - before > 20 })
        try limitDescriptors(of: shim.pid, to: 4096)
        close(waiting.release())
        try shim.connect()
    }
}
