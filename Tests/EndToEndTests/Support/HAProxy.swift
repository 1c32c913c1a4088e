import Glibc
import LinuxPlatform
import SupervisorCore

/// A real HAProxy that checks servers and says what it thinks of them on its statistics socket.
final class HAProxy {
    private let client: Client
    private var configuration: String { client.path + "/haproxy.cfg" }

    /// - Parameter backends: the configuration of the backends, as HAProxy's manual has it.
    init(_ backends: String) throws {
        client = try Client()
        let text = """
            global
                stats socket \(client.path)/stats.sock mode 600 level admin
                log stdout format raw local0
            defaults
                mode http
                log global
                option log-health-checks
                timeout connect 2s
                timeout client 5s
                timeout server 5s
                timeout check 2s
                default-server inter 100ms fall 3 rise 2

            """
        try File.write(text + backends + "\n", to: configuration)
        let check = try Tool.haproxy.run("-c", "-f", configuration)
        guard check.exitCode == 0 else { throw TestFailure("HAProxy refuses its configuration: \(check.errors)") }
        try client.start(.haproxy, ["-db", "-f", configuration])
    }

    /// What it has logged: each check that changed something. Standard error has the same once more.
    var log: String { client.output }

    /// Lines of the log that hold all of `words`.
    func lines(_ words: String...) -> [Substring] {
        log.split(separator: "\n").filter { line in words.allSatisfy { line.contains($0) } }
    }

    /// Has a new process take over from the present one, as `systemctl reload haproxy` does.
    func reload() throws {
        let old = client.pid
        try client.start(.haproxy, ["-db", "-f", configuration, "-sf", "\(old)"])
        guard Command.wait(old, .seconds(10)) != -1000 else {
            throw TestFailure("the old HAProxy stays: \(client.errors)")
        }
    }

    /// The row of `show stat` of a server, named `BACKEND/SERVER`.
    func server(_ name: String) throws -> [String: String] {
        let connection = try Connection(path: client.path + "/stats.sock")
        connection.send("show stat\n")
        guard let bytes = connection.read() else { throw TestFailure("HAProxy does not answer") }
        var lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n").map { Self.fields(String($0)) }
        guard !lines.isEmpty else { throw TestFailure("HAProxy has no statistics") }
        let names = lines.removeFirst()
        for line in lines where line.count > 1 && line[0] + "/" + line[1] == name {
            return Dictionary(zip(names, line)) { first, _ in first }
        }
        throw TestFailure("HAProxy knows no \(name)")
    }

    /// Waits until HAProxy thinks so of a server.
    @discardableResult
    func wait(
        _ name: String,
        _ what: String,
        within patience: Duration = .seconds(15),
        _ isMet: ([String: String]) -> Bool
    ) throws -> [String: String] {
        var last: [String: String] = [:]
        let found = Deadline(patience).poll(every: 10_000) { () -> [String: String]? in
            last = (try? server(name)) ?? last
            return isMet(last) ? last : nil
        }
        if let found { return found }
        let shown = ["status", "check_status", "check_code", "last_chk", "agent_status", "last_agt", "weight"]
            .map { "\($0)=\(last[$0] ?? "")" }
        throw TestFailure(
            "HAProxy, \(name) \(what): not reached; \(shown)\n\(log.suffix(3000))\(client.errors.suffix(500))"
        )
    }

    /// Waits for a status that comes from a finished check.
    @discardableResult
    func wait(_ name: String, is status: String) throws -> [String: String] {
        try wait(name, "is \(status)") { row in
            row["status"] == status && row["check_status"]?.hasPrefix("*") == false && row["check_status"] != "INI"
        }
    }

    /// The fields of a line of CSV.
    private static func fields(_ line: String) -> [String] {
        var fields: [String] = []
        var field = ""
        var isQuoted = false
        for character in line.hasPrefix("# ") ? line.dropFirst(2) : line[...] {
            switch character {
            case "\"": isQuoted.toggle()
            case "," where !isQuoted:
                fields.append(field)
                field = ""
            default: field.append(character)
            }
        }
        return fields + [field]
    }
}
