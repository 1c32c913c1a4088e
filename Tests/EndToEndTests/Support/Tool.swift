import Glibc
import LinuxPlatform
import SupervisorCore

/// A program of Debian's that is a client of ours in a test.
struct Tool {
    static let haproxy = Tool("haproxy")
    static let nginx = Tool("nginx")
    static let curl = Tool("curl")
    static let jq = Tool("jq")
    static let wrk = Tool("wrk")
    static let ab = Tool("ab", package: "apache2-utils")
    static let h2load = Tool("h2load", package: "nghttp2-client")
    static let prometheus = Tool("prometheus")
    static let promtool = Tool("promtool", package: "prometheus")
    static let blackbox = Tool("prometheus-blackbox-exporter")
    static let redis = Tool("redis-server")
    static let redisClient = Tool("redis-cli", package: "redis-tools")
    static let monit = Tool("monit")

    private let name: String
    private let package: String

    private init(_ name: String, package: String? = nil) {
        self.name = name
        self.package = package ?? name
    }

    /// Where it lies. A test that lacks its client has failed, not passed and not been skipped.
    func path() throws -> String {
        for directory in ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"] {
            let place = "\(directory)/\(name)"
            if access(place, X_OK) == 0 { return place }
        }
        throw TestFailure("cannot find \(name); install the Debian package \(package): apt-get install \(package)")
    }

    /// Runs it to its end.
    func run(_ arguments: [String], patience: Duration = .seconds(60)) throws -> Command {
        try Command.run([path()] + arguments, patience: patience)
    }

    func run(_ arguments: String...) throws -> Command { try run(arguments) }
}

/// A client that runs beside the test, in a directory of its own; it goes with its last owner.
final class Client {
    let directory: TemporaryDirectory
    /// 0 when it does not run.
    private(set) var pid: Int32 = 0

    var path: String { directory.path }
    /// What it wrote to standard output, over all its starts.
    var output: String { File.text(path + "/client.out") }
    var errors: String { File.text(path + "/client.err") }

    init() throws {
        directory = try TemporaryDirectory()
    }

    /// Starts it. Its predecessor, if it still runs, is the caller's to wait for.
    func start(_ tool: Tool, _ arguments: [String]) throws { try start([tool.path()] + arguments) }

    /// Starts a program by its path.
    func start(_ words: [String]) throws {
        pid = try Command.start(words, output: path + "/client.out", errors: path + "/client.err")
    }

    /// Whether it has not ended by itself.
    var runs: Bool { pid > 0 && Processes.lives(pid) }

    /// Waits for its end by itself; its exit code as `Command` has it.
    func ended(_ patience: Duration = .seconds(30)) -> Int32 {
        defer { pid = 0 }
        return Command.wait(pid, patience)
    }

    /// Ends it; minus the signal's number where that was what it died of.
    @discardableResult
    func stop(_ signal: Int32 = SIGTERM) -> Int32 {
        guard pid > 0 else { return 0 }
        defer { pid = 0 }
        kill(pid, signal)
        return Command.wait(pid, .seconds(10))
    }

    /// Waits for something, and says what the client said when it does not come.
    func wait(_ what: String, within patience: Duration = .seconds(20), _ isMet: () throws -> Bool) throws {
        let came = Deadline(patience).wait(every: 10_000) { (try? isMet()) == true }
        if !came { throw TestFailure("\(what): not seen\n\((output + errors).suffix(3000))") }
    }

    deinit { stop() }
}

/// What the daemon under test shows of itself, before and after something was done to it.
struct Footprint {
    var logBytes: Int
    var descriptors: Int
    /// Ended connections to the health port by kind.
    var closed: [String: Int]
    var connections: Int
    var answers: Int

    init(_ fleet: Fleet) throws {
        logBytes = File.size(fleet.path + "/daemon.log")
        descriptors = 0
        closed = [:]
        connections = 0
        answers = 0
        // Not older than this: metrics are rendered once a second, unless something is published.
        let text = try Self.freshMetrics(fleet)
        for line in text.split(separator: "\n") {
            guard let value = line.split(separator: " ").last.flatMap({ Int($0) }) else { continue }
            if line.hasPrefix("eider_health_connections_closed_total{kind=\""), let kind = Self.label(line) {
                closed[kind] = value
            } else if line.hasPrefix("eider_health_connections ") {
                connections = value
            } else if line.hasPrefix("eider_health_requests_total{") {
                answers += value
            }
        }
        // After the metrics, so that what ended before was closed meanwhile.
        descriptors = Processes.descriptors(fleet.daemon)
    }

    /// How many more connections ended in this way than before.
    func closed(_ kind: String, since before: Footprint) -> Int {
        (closed[kind] ?? 0) - (before.closed[kind] ?? 0)
    }

    private static func label(_ line: Substring) -> String? {
        let parts = line.split(separator: "\"")
        return parts.count > 1 ? String(parts[1]) : nil
    }

    /// Metrics that were rendered after this was called, over one connection.
    private static func freshMetrics(_ fleet: Fleet) throws -> String {
        let connection = try Connection(port: fleet.healthPort())
        let old = try scrape(connection)
        // Each scrape is itself counted, so that newly rendered ones differ.
        let new = try Deadline(.seconds(10)).poll(every: 50_000) { () -> String? in
            let text = try scrape(connection)
            return text == old ? nil : text
        }
        guard let new else { throw TestFailure("the metrics do not change") }
        return new
    }

    private static func scrape(_ connection: Connection) throws -> String {
        connection.send("GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n")
        let bytes = connection.read { bytes in
            guard let answer = try? Answer(bytes) else { return false }
            return answer.headers["content-length"] == "\(answer.body.utf8.count)"
        }
        guard let bytes else { throw TestFailure("no metrics") }
        return try Answer(bytes).body
    }
}
