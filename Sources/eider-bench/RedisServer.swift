import Glibc
import LinuxPlatform

/// A redis-server that keeps nothing, on a port of its own.
final class RedisServer {
    let port: Int
    private let socket: String
    private let pid: Int32

    init() throws {
        port = 20_000 + Int(getpid()) % 20_000
        socket = "/tmp/eider-bench-redis.\(getpid())"
        pid = try Program.start([
            "/usr/bin/redis-server", "--port", "\(port)", "--bind", "127.0.0.1", "--unixsocket", socket, "--save", "",
            "--appendonly", "no", "--dir", "/tmp",
        ])
        guard eventually({ try? ask("PING") }) != nil else {
            throw BenchFailure("cannot reach redis-server; install the Debian package redis-server")
        }
    }

    /// Scripts that were run.
    var scripts: Int {
        let stats = (try? ask("INFO commandstats")) ?? ""
        let line = stats.split(whereSeparator: \.isNewline).first { $0.hasPrefix("cmdstat_evalsha:calls=") }
        return line.flatMap { Int($0.split(separator: "=")[1].prefix { $0.isNumber }) } ?? 0
    }

    /// What a key takes, bytes; 0 where it is not there.
    func memory(ofKey key: String) throws -> Double {
        Double(try ask("MEMORY USAGE \(key)").filter { $0.isNumber }) ?? 0
    }

    /// One command, as a line; its answer as Redis writes it.
    private func ask(_ command: String) throws -> String {
        let connection = try UnixSocket.connect(.stream, path: socket)
        let words = Array((command + "\r\n").utf8)
        guard send(connection.rawValue, words, words.count, Int32(MSG_NOSIGNAL)) == words.count else {
            throw BenchFailure("cannot ask Redis")
        }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while !Self.isWhole(bytes) {
            let count = recv(connection.rawValue, &chunk, chunk.count, 0)
            if count < 0, errno == EAGAIN || errno == EINTR { continue }
            if count <= 0 { throw BenchFailure("cannot read what Redis answers") }
            bytes += chunk[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// A line, or a text with its length before it.
    private static func isWhole(_ bytes: [UInt8]) -> Bool {
        guard let end = bytes.firstIndex(of: UInt8(ascii: "\n")) else { return false }
        guard bytes[0] == UInt8(ascii: "$") else { return true }
        let length = Int(String(decoding: bytes[1..<end].filter { $0 > 32 }, as: UTF8.self)) ?? 0
        return bytes.count >= end + 1 + length
    }

    func stop() {
        Program.stop(pid)
        unlink(socket)
    }
}
