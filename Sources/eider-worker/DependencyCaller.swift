import LinuxPlatform
import Synchronization

/// Calls a dependency that is not there, as often as it is told, through the breaker socket: asks, "calls", reports.
/// On threads of their own.
///
/// A connection that ends is made anew with the next call, and no answer in time counts as permission: the breaker
/// never stands between a worker and its dependency because the daemon is away.
final class DependencyCaller: Sendable {
    struct Counts: Sendable {
        var allowed = 0
        var probes = 0
        var denied = 0
        /// Calls that nobody answered for.
        var unanswered = 0
        var connects = 0
        var last = ""

        var text: String {
            "allowed=\(allowed) probes=\(probes) denied=\(denied) unanswered=\(unanswered) connects=\(connects) "
                + "last=\(last)"
        }
    }

    private let socket: String
    private let options: WorkerOptions.Dependency
    private let counts = Mutex(Counts())

    var text: String { counts.withLock { $0.text } }

    init(_ options: WorkerOptions.Dependency, socket: String) {
        self.options = options
        self.socket = socket
    }

    func start() throws(SystemError) {
        if !options.name.isEmpty { try OwnThread.start("dependency") { [self] in call() }.letGo() }
        for _ in 0..<options.floods { try OwnThread.start("flood") { [self] in flood() }.letGo() }
    }

    /// Sends one packet, on a connection of its own, and gives the answer; for tests that say what no client should.
    static func say(_ text: String, to socket: String) -> String {
        do throws(SystemError) {
            let connection = BreakerConnection(socket)
            return try connection.exchange(text) ?? "no answer"
        } catch {
            return "\(error)"
        }
    }

    private func call() {
        let connection = BreakerConnection(socket)
        while true {
            let answer = try? connection.exchange("ALLOW \(options.name)")
            let words = (answer ?? "").split(separator: "\n").first?.split(separator: " ").map { String($0) } ?? []
            counts.withLock { note(words, connection.connects, &$0) }
            if words.count == 2, words[0] == "ok" || words[0] == "probe" {
                _ = try? connection.tell("REPORT \(options.name) \(words[1]) \(outcome()) 1000")
            }
            OwnProcess.pause(milliseconds: Int32(max(1, 1_000 / options.rate)))
        }
    }

    private func note(_ words: [String], _ connects: Int, _ counts: inout Counts) {
        counts.connects = connects
        counts.last = words.isEmpty ? "none" : words.joined(separator: " ")
        switch words.first {
        case "ok": counts.allowed += 1
        case "probe": counts.probes += 1
        case "deny": counts.denied += 1
        default: counts.unanswered += 1
        }
    }

    /// How the call ends: the word in the file; well, without one.
    private func outcome() -> String {
        let word = options.outcomeFile.flatMap { SmallFile.text($0, limit: 64) } ?? ""
        return word.isEmpty ? "ok" : word
    }

    /// As many questions as the socket takes.
    private func flood() {
        let connection = BreakerConnection(socket)
        let packet = String(repeating: "ALLOW flooded\n", count: 128)
        while true {
            if (try? connection.exchange(packet)) == nil { OwnProcess.pause(milliseconds: 10) }
        }
    }
}

/// A client's end of the breaker socket, on one thread.
final class BreakerConnection {
    /// An answer that takes longer is not waited for.
    private static let patience: Duration = .milliseconds(500)
    private static let answerBytes = 32_768

    private let path: String
    private var socket: SharedDescriptor?
    private(set) var connects = 0

    init(_ path: String) {
        self.path = path
    }

    /// Sends a packet; false when there is no room for it now.
    @discardableResult
    func tell(_ text: String) throws(SystemError) -> Bool {
        let open: SharedDescriptor
        if let socket {
            open = socket
        } else {
            open = try UnixSocket.connect(.sequentialPacket, path: path).shared()
            connects += 1
            socket = open
        }
        do throws(SystemError) {
            return try Packet.send(Array(text.utf8), on: open.rawValue)
        } catch {
            socket = nil
            throw error
        }
    }

    /// Sends a packet and takes the answer; nil when none came in time, or the connection ended.
    func exchange(_ text: String) throws(SystemError) -> String? {
        guard try tell(text), let open = socket else { return nil }
        if SocketWait.readable(open.rawValue, Self.patience) {
            let received = try? Packet.receive(on: open.rawValue, limit: Self.answerBytes)
            if case .packet(let packet) = received { return String(decoding: packet.bytes, as: UTF8.self) }
        }
        // What comes later would be taken for the next answer.
        socket = nil
        return nil
    }
}
