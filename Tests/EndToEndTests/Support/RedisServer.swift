import Glibc
import SupervisorCore

/// One redis-server without persistence, on a port of its own; it goes with its owner.
final class RedisServer {
    let port: Int
    private let client: Client
    private let arguments: [String]

    init(_ arguments: [String] = []) throws {
        client = try Client()
        port = try Ports.free(1)
        self.arguments = arguments
        try start()
    }

    /// Starts it, empty, and waits until it answers.
    func start() throws {
        let words = ["--port", "\(port)", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        try client.start(.redis, words + ["--dir", client.path, "--daemonize", "no"] + arguments)
        try client.wait("redis answers") { try ask("PING").contains("PONG") || ask("PING").contains("NOAUTH") }
    }

    /// kill -9.
    func kill() { client.stop(SIGKILL) }

    /// What redis-cli answers.
    func ask(_ words: String...) throws -> String {
        try Tool.redisClient.run(["-p", "\(port)"] + words).output
    }
}
