import Glibc
import LinuxPlatform
import NIOCore
import SupervisorCore
import Testing

@testable import BreakerStore

/// Tests with real servers: one after the other, because some of them look at times.
@Suite(.serialized) enum WithRedis {}

/// What keeps a test from going on.
struct TestFailure: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) {
        self.description = description
    }
}

/// Waiting for what another process or thread does, with a limit.
struct Deadline {
    private let end: MonotonicInstant

    init(_ patience: Duration) {
        end = MonotonicClock.now().advanced(by: patience)
    }

    var isOver: Bool { MonotonicClock.now() >= end }

    /// Asks until it is true; false when the time is over.
    func wait(_ ask: () throws -> Bool) rethrows -> Bool {
        while true {
            if try ask() { return true }
            if isOver { return false }
            usleep(1_000)
        }
    }
}

/// A directory that goes with its owner.
final class Scratch: Sendable {
    let path: String

    init() throws {
        var name = Array("/tmp/eider-store-XXXXXX".utf8CString)
        guard mkdtemp(&name) != nil else { throw TestFailure("cannot make a directory: errno \(errno)") }
        path = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { Self.remove(path) }

    private static func remove(_ path: String) {
        guard let directory = opendir(path) else {
            unlink(path)
            return
        }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        closedir(directory)
        for name in names {
            if unlink(path + "/" + name) != 0 { remove(path + "/" + name) }
        }
        rmdir(path)
    }

    @discardableResult
    func write(_ text: String, to name: String) throws -> String {
        let place = path + "/" + name
        let file = open(place, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw TestFailure("cannot write \(place): errno \(errno)") }
        defer { close(file) }
        let bytes = Array(text.utf8)
        guard Glibc.write(file, bytes, bytes.count) == bytes.count else { throw TestFailure("cannot write \(place)") }
        return place
    }

    func text(_ name: String) -> String {
        (try? SmallFile.read(path + "/" + name, limit: 16 << 20)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}

/// A program, run by tests.
enum Program {
    static func start(_ arguments: [String], output: String) throws -> Int32 {
        let null = open("/dev/null", O_RDONLY | O_CLOEXEC)
        let file = open(output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        defer {
            close(null)
            close(file)
        }
        var start = ProgramStart(arguments: arguments)
        start.environment = ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG=C.UTF-8"]
        start.descriptors = [null, file, file]
        switch start.start() {
        case .running(let pid): return pid
        case .failed(let failure): throw TestFailure("\(arguments): \(failure)")
        }
    }

    /// Runs to its end.
    static func run(_ arguments: [String], in scratch: Scratch) throws {
        let pid = try start(arguments, output: scratch.path + "/run.log")
        guard wait(pid, .seconds(30)) == .code(0) else {
            throw TestFailure("\(arguments) failed: \(scratch.text("run.log").suffix(800))")
        }
    }

    static func wait(_ pid: Int32, _ patience: Duration) -> SupervisorCore.ExitStatus? {
        var status: SupervisorCore.ExitStatus?
        _ = Deadline(patience).wait {
            status = ChildProcess.reap(pid)?.status
            return status != nil
        }
        return status
    }
}

/// A redis-server of its own, on a free port, ended with its owner.
final class RedisServer {
    let scratch: Scratch
    let port: Int
    private(set) var pid: Int32 = 0
    private var arguments: [String]

    /// - Parameters:
    ///   - options: as on the command line; `PORT` stands for the port, `DIR` for the directory.
    ///   - file: a configuration file to begin with.
    init(_ options: [String] = [], file: String? = nil, scratch: Scratch? = nil, isTLS: Bool = false) throws {
        self.scratch = try scratch ?? Scratch()
        port = try Self.freePort()
        let place = "\(self.scratch.path)/\(port)"
        mkdir(place, 0o700)
        arguments = ["/usr/bin/redis-server"] + (file.map { [$0] } ?? [])
        arguments += ["--port", isTLS ? "0" : "\(port)", "--dir", place, "--daemonize", "no", "--bind", "127.0.0.1"]
        if isTLS { arguments += ["--tls-port", "\(port)"] }
        if file == nil { arguments += ["--save", "", "--appendonly", "no"] }
        arguments += options.map { $0.replacing("PORT", with: "\(port)").replacing("DIR", with: place) }
        try start()
    }

    deinit { end(SIGKILL) }

    var address: String { "127.0.0.1:\(port)" }
    var log: String { scratch.text("\(port).log") }

    func start() throws {
        pid = try Program.start(arguments, output: "\(scratch.path)/\(port).log")
        let isUp = Deadline(.seconds(20)).wait { (try? RawClient(port: port)) != nil }
        guard isUp else { throw TestFailure("redis-server does not start: \(log.suffix(1500))") }
    }

    /// Ends it by a signal, and waits until it has ended.
    func end(_ signal: Int32) {
        if pid <= 0 { return }
        kill(pid, signal)
        _ = Program.wait(pid, .seconds(20))
        pid = 0
    }

    func client() throws -> RawClient { try RawClient(port: port) }

    static func freePort() throws -> Int {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            // Below the range that the kernel takes its own from; a cluster's bus lies 10,000 above.
            let port = 11_000 + Int(generator.next() % 10_000)
            if (try? TCPListener.listen(host: "127.0.0.1", port: port)) != nil,
                (try? TCPListener.listen(host: "127.0.0.1", port: port + 10_000)) != nil
            {
                return port
            }
        }
        throw TestFailure("there is no free port")
    }
}

/// A connection by plain system calls.
final class RawClient {
    private var descriptor: Int32
    private let reader = RESPReader()
    private var replies: [RESPValue] = []

    init(port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(truncatingIfNeeded: port).bigEndian)
        address.sin_addr.s_addr = in_addr_t(UInt32(0x7f00_0001).bigEndian)
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if result != 0 {
            close(descriptor)
            throw TestFailure("cannot connect to port \(port): errno \(errno)")
        }
        var on: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    }

    deinit { close(descriptor) }

    func send(_ arguments: [[UInt8]]) throws {
        guard let buffer = RESPWriter.command(arguments, ByteBufferAllocator()) else { throw TestFailure("no memory") }
        let count = buffer.withUnsafeReadableBytes {
            Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        guard count == buffer.readableBytes else { throw TestFailure("cannot send") }
    }

    func receive(_ patience: Duration = .seconds(20)) throws -> RESPValue {
        let deadline = Deadline(patience)
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while replies.isEmpty {
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            if poll(&entry, 1, 100) <= 0 {
                if deadline.isOver { throw TestFailure("no answer") }
                continue
            }
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count <= 0 { throw TestFailure("the server closed the connection") }
            try chunk[..<count].withUnsafeBytes { bytes in try reader.read(bytes) { replies.append($0) } }
        }
        return replies.removeFirst()
    }

    @discardableResult
    func call(_ arguments: [[UInt8]]) throws -> RESPValue {
        try send(arguments)
        return try receive()
    }

    @discardableResult
    func call(_ words: String...) throws -> RESPValue { try call(words.map { Array($0.utf8) }) }

    func text(_ words: String...) throws -> String {
        let value = try call(words.map { Array($0.utf8) })
        switch value {
        case .integer(let number): return "\(number)"
        case .error(let bytes): return String(decoding: bytes, as: UTF8.self)
        default: return String(decoding: value.bytes ?? [], as: UTF8.self)
        }
    }
}
