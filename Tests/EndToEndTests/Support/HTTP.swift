import Glibc
import LinuxPlatform
import SupervisorCore

/// A connection, by plain system calls: what is tested shall not share code with its test.
final class Connection {
    private var descriptor: Int32

    /// To a TCP port of this host.
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
        try check(result, "port \(port)")
    }

    /// To a Unix stream socket.
    init(path: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        try check(UnixAddress.with(path) { connect(descriptor, $0, $1) }, path)
    }

    private func check(_ result: Int32, _ place: String) throws {
        if result == 0 { return }
        let number = errno
        close(descriptor)
        descriptor = -1
        throw TestFailure("cannot connect to \(place): errno \(number)")
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count <= 0 { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    @discardableResult
    func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    /// Sends nothing more; answers can still be read.
    func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Ends the connection with a reset, as a prober does that has what it wants.
    func reset() {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        close(descriptor)
        descriptor = -1
    }

    /// Everything up to the end of the stream, or until `isEnough`; nil when neither comes in time.
    func read(_ patience: Duration = .seconds(10), until isEnough: ([UInt8]) -> Bool = { _ in false }) -> [UInt8]? {
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        let end = MonotonicClock.now().advanced(by: patience)
        while !isEnough(all) {
            let left = end.since(MonotonicClock.now())
            if left <= .zero { return nil }
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            if poll(&entry, 1, Int32(left.inSeconds * 1000) + 1) <= 0 { continue }
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count <= 0 { return all }
            all += chunk[..<count]
        }
        return all
    }
}

enum UnixAddress {
    static func with(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return -1 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}

/// Datagrams to a notify socket, from this process: a stranger to every fleet.
final class DatagramSender {
    private let descriptor: Int32
    private let path: String

    init(path: String) {
        self.path = path
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    }

    deinit { close(descriptor) }

    /// False when the queue is full or nobody has the socket.
    func send(_ bytes: [UInt8]) -> Bool {
        UnixAddress.with(path) { address, length in
            let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
            return sendto(descriptor, bytes, bytes.count, flags, address, length) < 0 ? -1 : 0
        } == 0
    }
}

/// An answer in HTTP/1.1.
struct Answer {
    var status: Int
    var headers: [String: String]
    var body: String

    init(_ bytes: [UInt8]) throws {
        let text = String(decoding: bytes, as: UTF8.self)
        guard let end = text.firstRange(of: "\r\n\r\n") else { throw TestFailure("no HTTP: \(text.prefix(200))") }
        let lines = text[..<end.lowerBound].split(separator: "\r\n")
        let words = (lines.first ?? "").split(separator: " ")
        guard words.count > 1, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
            throw TestFailure("no HTTP: \(text.prefix(200))")
        }
        self.status = status
        headers = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...]
            headers[line[..<colon].lowercased()] = String(value.drop { $0 == " " })
        }
        let rest = String(text[end.upperBound...])
        body = headers["transfer-encoding"] == "chunked" ? try Self.dechunk(rest) : rest
    }

    private static func dechunk(_ text: String) throws -> String {
        var rest = Array(text.utf8)[...]
        var body: [UInt8] = []
        while let line = rest.firstIndex(of: 13) {
            let size = Int(String(decoding: rest[..<line], as: UTF8.self), radix: 16) ?? 0
            rest = rest[(line + 2)...]
            if size == 0 { break }
            guard rest.count >= size + 2 else { throw TestFailure("a chunk was cut off") }
            body += rest.prefix(size)
            rest = rest.dropFirst(size + 2)
        }
        return String(decoding: body, as: UTF8.self)
    }
}

enum HTTP {
    /// One request on a connection of its own.
    static func get(_ path: String, port: Int, method: String = "GET") throws -> Answer {
        try ask(Connection(port: port), method, path)
    }

    /// One request on a control socket.
    static func control(_ path: String, socket: String, method: String = "GET") throws -> Answer {
        try ask(Connection(path: socket), method, path)
    }

    private static func ask(_ connection: Connection, _ method: String, _ path: String) throws -> Answer {
        connection.send("\(method) \(path) HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        guard let bytes = connection.read() else { throw TestFailure("no answer to \(method) \(path)") }
        return try Answer(bytes)
    }
}
