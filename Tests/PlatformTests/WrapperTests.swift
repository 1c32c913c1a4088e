import Glibc
import SupervisorCore
import Testing

@testable import LinuxPlatform

@Suite("Typed system calls")
struct WrapperTests {
    @Test("errors say what, where and why")
    func errors() {
        #expect(
            SystemError(call: "open", errno: ENOENT, path: "/x").description
                == "cannot open /x: No such file or directory (ENOENT)"
        )
        #expect(throws: SystemError(call: "open", errno: ENOENT, path: "/nonexistent")) {
            _ = try FileDescriptors.open("/nonexistent", flags: O_RDONLY)
        }
        #expect(SystemError(call: "x", errno: 99_999).description.hasPrefix("cannot x: "))
    }

    @Test("a socket path that is too long is named, not cut")
    func longPath() throws {
        let path = "/tmp/" + String(repeating: "x", count: 110)
        #expect(throws: SystemError(call: "use the socket path", errno: ENAMETOOLONG, path: path)) {
            _ = try UnixSocket.listen(.stream, path: path)
        }
    }

    @Test("a stale socket is replaced, a live one and other files are not")
    func staleSocket() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("s")
        do {
            let first = try UnixSocket.listen(.stream, path: path)
            #expect(first.rawValue > 2)
            #expect(throws: SystemError.self) { _ = try UnixSocket.listen(.stream, path: path) }
        }
        // Programs that other tests are just starting may hold a copy of the first one until they execute.
        var second: SharedDescriptor?
        let isReplaced = eventually {
            second = try? UnixSocket.listen(.stream, path: path, mode: 0o660).shared()
            return second != nil
        }
        var status = stat()
        #expect(isReplaced && stat(path, &status) == 0 && status.st_mode & 0o777 == 0o660)
        let file = try directory.write("f", "precious")
        #expect(throws: SystemError.self) { _ = try UnixSocket.listen(.stream, path: file) }
        #expect(SmallFile.text(file) == "precious")
    }

    @Test("packets carry descriptors and credentials, and can be looked at first")
    func packets() throws {
        let (near, far) = try UnixSocket.pair(.sequentialPacket)
        try UnixSocket.passCredentials(far.rawValue)
        let pipe = try FileDescriptors.pipe()
        #expect(try Packet.send([1, 2], descriptors: [pipe.read.rawValue, pipe.write.rawValue], on: near.rawValue))
        guard case .packet(let seen) = try Packet.receive(on: far.rawValue, limit: 100, peek: true) else {
            Issue.record("nothing came")
            return
        }
        #expect(seen.bytes == [1, 2] && seen.descriptors.isEmpty)
        #expect(seen.sender == PeerCredentials(pid: getpid(), uid: geteuid(), gid: getegid()))
        guard case .packet(let packet) = try Packet.receive(on: far.rawValue, limit: 1) else {
            Issue.record("nothing came")
            return
        }
        #expect(packet.bytes == [1] && packet.isTruncated)
        let sent = [pipe.read.rawValue, pipe.write.rawValue].map { FileIdentity(descriptor: $0) }
        #expect(packet.descriptors.map { FileIdentity(descriptor: $0.rawValue) } == sent)
        #expect(packet.descriptors.allSatisfy { fcntl($0.rawValue, F_GETFD) == FD_CLOEXEC })
        guard case .nothing = try Packet.receive(on: far.rawValue, limit: 1) else {
            Issue.record("more came")
            return
        }
    }

    @Test("a full socket answers false, a closed one an error, and neither raises SIGPIPE")
    func fullSocket() throws {
        let (near, far) = try UnixSocket.pair(.sequentialPacket)
        var sent = 0
        while try Packet.send([UInt8](repeating: 0, count: 1_000), on: near.rawValue) { sent += 1 }
        #expect(sent > 0)
        let last = far.rawValue
        _ = consume far
        #expect(last > 2)
        let (one, _) = try UnixSocket.pair(.sequentialPacket)
        #expect(throws: SystemError.self) { _ = try Packet.send([1], on: one.rawValue) }
    }

    @Test("a lock names its holder")
    func lock() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("lock")
        let first = try FileLock(path: path)
        #expect(first.rawValue > 2)
        do {
            _ = try FileLock(path: path)
            Issue.record("taken twice")
        } catch FileLock.Refusal.held(let pid, _) {
            #expect(pid == getpid())
        }
    }

    @Test("the cgroup2 mount is found in pure, hybrid and container layouts")
    func cgroupMounts() throws {
        let directory = try TemporaryDirectory()
        let mount = directory.path
        let v1 = "36 31 0:32 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
        let root = v1 + "41 31 0:38 / \(mount) rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
        #expect(CgroupTree.find(mounts: root, membership: "4:memory:/x\n0::/")?.own.path == mount)
        #expect(CgroupTree.find(mounts: v1, membership: "0::/") == nil)
        #expect(CgroupTree.find(mounts: root, membership: "4:memory:/x") == nil)
        #expect(CgroupTree.find(mounts: root, membership: "0::/../x") == nil)
        #expect(CgroupTree.find(mounts: root, membership: "0::/gone (deleted)") == nil)
        let part = "41 31 0:38 /docker/1 \(mount) rw - cgroup2 cgroup2 rw\n"
        #expect(CgroupTree.find(mounts: part, membership: "0::/docker/1")?.own.path == mount)
        #expect(CgroupTree.find(mounts: part, membership: "0::/docker/2") == nil)
        let garbled = "x\n - \n1 2 3 4 5 6 - cgroup2\n"
        #expect(CgroupTree.find(mounts: garbled, membership: "0::/") == nil)
    }

    @Test("a process's name may be anything")
    func processNames() {
        let rest = " S 7 8 9 0 -1 0 0 0 0 0 0 0 0 0 20 0 3 0 4242 1 1"
        let entry = ProcessTable.parse(Array("12 (a) b (c)\(rest)".utf8))
        #expect(entry?.pid == 12 && entry?.parent == 7 && entry?.group == 8 && entry?.session == 9)
        #expect(entry?.threads == 3)
        #expect(ProcessTable.parse(Array("12 (a S 7".utf8)) == nil)
        #expect(ProcessTable.parse([]) == nil)
        #expect(ProcessTable.entry(getpid())?.parent == getppid())
    }

    @Test("accounts by name and number")
    func accounts() throws {
        #expect(try Accounts.user("root")?.uid == 0)
        #expect(try Accounts.user("0")?.name == "root")
        #expect(try Accounts.user("no-such-user-here") == nil)
        #expect(try Accounts.group("root") == 0)
        #expect(try Accounts.group("no-such-group-here") == nil)
        #expect(Accounts.name(ofUser: 0) == "root")
        #expect(Accounts.isUser(0, inGroup: 0))
        #expect(!Accounts.isUser(0, inGroup: 64_999))
        #expect(try Accounts.credentials(user: "root", group: nil)?.gid == 0)
        #expect(try Accounts.credentials(user: "no-such-user-here", group: nil) == nil)
    }

    @Test("TCP listeners take numeric hosts only and say what fails")
    func listeners() throws {
        let first = try TCPListener.listen(host: "127.0.0.1", port: 0)
        let port = try TCPListener.port(of: first.rawValue)
        #expect(port > 0)
        #expect(throws: SystemError(call: "bind to", errno: EADDRINUSE, path: "127.0.0.1:\(port)")) {
            _ = try TCPListener.listen(host: "127.0.0.1", port: port)
        }
        #expect(throws: SystemError.self) { _ = try TCPListener.listen(host: "localhost", port: 0) }
        #expect(throws: SystemError.self) { _ = try TCPListener.listen(host: "127.0.0.1", port: 70_000) }
    }

    @Test("the clock is the kernel's")
    func clock() {
        let first = MonotonicClock.now()
        #expect(MonotonicClock.now() >= first)
        #expect(MonotonicClock.wallClockOffset() > 0)
    }
}
