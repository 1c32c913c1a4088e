import Glibc
import NIOCore
import NIOPosix
import StatusBoard
import SupervisorCore
import Testing

@testable import ControlServer

/// A server on a Unix socket of its own, and blocking clients for it.
final class Harness: Sendable {
    let path: String
    let port: FakePort
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let server: ControlServer
    private let directory: String

    /// - Parameter level: what the caller, this process, may do.
    init(
        level: AccessPolicy.Level = .admin,
        limits: ControlLimits = ControlLimits(),
        port: FakePort = FakePort(),
        fleet: FleetStatus = Fixture.fleet
    ) async throws {
        var template = Array("/tmp/eider-control-XXXXXX".utf8CString)
        directory = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) } ?? "/tmp"
        }
        path = directory + "/control.sock"
        self.port = port
        let listener = try Unix.listen(path)
        // This process is found in no database and is not the daemon's own user, unless it is to be an admin.
        let me = geteuid()
        let names = ["\(me)"]
        let access = AccessPolicy(
            admins: [],
            readers: level == .reader ? names : [],
            lookup: FakeAccounts(accounts: [:]),
            ownUser: level == .admin ? me : me &+ 1,
            superuser: me &+ 2
        )
        server = try await ControlServer.start(
            listener: listener,
            board: Fixture.board(fleet),
            port: port,
            access: { access },
            version: "1.2.3",
            loop: group.next(),
            limits: limits,
            clock: { Fixture.now }
        ).get()
    }

    func stop() async throws {
        try await server.stop().get()
        try await group.shutdownGracefully()
        unlink(path)
        rmdir(directory)
    }

    func client() throws -> Client { try Client(path) }

    /// One request on a connection of its own.
    func ask(_ method: String, _ uri: String) throws -> Client.Answer {
        let client = try client()
        try client.send("\(method) \(uri) HTTP/1.1\r\nHost: eider\r\n\r\n")
        return try client.readAnswer(hasBody: method != "HEAD")
    }
}

enum Unix {
    struct Failure: Error { var call: String, number: Int32 }

    static func listen(_ path: String) throws -> CInt {
        let descriptor = try socket()
        guard try withAddress(path, { Glibc.bind(descriptor, $0, $1) }) == 0, Glibc.listen(descriptor, 128) == 0 else {
            throw Failure(call: "bind", number: errno)
        }
        return descriptor
    }

    static func connect(_ path: String) throws -> CInt {
        let descriptor = try socket()
        guard try withAddress(path, { Glibc.connect(descriptor, $0, $1) }) == 0 else {
            throw Failure(call: "connect", number: errno)
        }
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        return descriptor
    }

    private static func socket() throws -> CInt {
        let descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        if descriptor < 0 { throw Failure(call: "socket", number: errno) }
        return descriptor
    }

    private static func withAddress(
        _ path: String,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt
    ) throws -> CInt {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw Failure(call: "path", number: ENAMETOOLONG)
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}

/// A blocking client with a time limit on every call.
final class Client {
    struct Answer {
        var status: Int
        var headers: [String: String]
        var body: String
    }

    struct Ended: Error {}

    private let descriptor: CInt
    private var buffer: [UInt8] = []

    init(_ path: String) throws {
        descriptor = try Unix.connect(path)
    }

    deinit { close(descriptor) }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { throw Unix.Failure(call: "send", number: errno) }
            rest = rest.dropFirst(count)
        }
    }

    func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Waits for more; throws `Ended` at the end.
    private func fill() throws {
        var chunk = [UInt8](repeating: 0, count: 65_536)
        let count = recv(descriptor, &chunk, chunk.count, 0)
        if count == 0 { throw Ended() }
        if count < 0 { throw Unix.Failure(call: "recv", number: errno) }
        buffer += chunk[..<count]
    }

    /// Everything until the other side closes, or resets.
    func readToEnd() -> String {
        while (try? fill()) != nil {}
        defer { buffer = [] }
        return String(decoding: buffer, as: UTF8.self)
    }

    func readLine() throws -> String {
        while true {
            if let end = buffer.firstIndex(of: UInt8(ascii: "\n")) {
                var line = buffer[..<end]
                buffer.removeFirst(end + 1)
                if line.last == UInt8(ascii: "\r") { line = line.dropLast() }
                return String(decoding: line, as: UTF8.self)
            }
            try fill()
        }
    }

    func read(_ count: Int) throws -> String {
        while buffer.count < count { try fill() }
        defer { buffer.removeFirst(count) }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }

    func readHead() throws -> (status: Int, headers: [String: String]) {
        let first = try readLine().split(separator: " ")
        var headers: [String: String] = [:]
        while case let line = try readLine(), !line.isEmpty {
            let parts = line.split(separator: ":", maxSplits: 1)
            headers[parts[0].lowercased()] = parts.count > 1 ? String(parts[1].drop { $0 == " " }) : ""
        }
        return (first.count > 1 ? Int(first[1]) ?? 0 : 0, headers)
    }

    func readAnswer(hasBody: Bool = true) throws -> Answer {
        let (status, headers) = try readHead()
        var body = ""
        if hasBody, let length = headers["content-length"].flatMap(Int.init) {
            body = try read(length)
        } else if hasBody, headers["transfer-encoding"] == "chunked" {
            while case let chunk = try readChunk(), !chunk.isEmpty { body += chunk }
        }
        return Answer(status: status, headers: headers, body: body)
    }

    func readChunk() throws -> String {
        let size = Int(try readLine(), radix: 16) ?? 0
        let text = try read(size)
        _ = try readLine()
        return text
    }
}

/// Waits until `condition` holds, at most ten seconds, without burning a processor.
func eventually(_ condition: () -> Bool) async -> Bool {
    let clock = ContinuousClock()
    let limit = clock.now.advanced(by: .seconds(10))
    while !condition() {
        if clock.now > limit { return false }
        await Task.yield()
        _ = poll(nil, 0, 2)
    }
    return true
}
