import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

/// Two nodes, each a daemon with a directory of its own, with one service that a load balancer spreads requests over.
final class Nodes {
    let fleets: [Fleet]
    /// Of the service's one worker, by node.
    let ports: [Int]

    /// - Parameters:
    ///   - drain: lines of `[drain]`.
    ///   - more: lines of `[services.orders]`.
    init(drain: String = "notice_min = \"300ms\"\nnotice_max = \"20s\"", _ more: String = "") throws {
        // Room for more instances of each.
        let base = try Ports.free(8)
        ports = [base, base + 4]
        fleets = try ports.map { port in
            try Fleet(
                """
                [services.orders]
                command = ["WORKER"]
                type = "notify"
                port_base = \(port)
                readiness = { http = "http://127.0.0.1:{port}/ready", period = "200ms", success_threshold = 1 }
                \(more)
                """,
                ["health": "listen = [\"127.0.0.1:0\"]\nagent_listen = [\"127.0.0.1:0\"]", "drain": drain]
            )
        }
        for fleet in fleets { try fleet.start() }
        for fleet in fleets { try fleet.waitUntilReady() }
    }

    /// HAProxy's lines for a backend `orders` over both nodes, its servers named `a` and `b`, and a port before it.
    ///
    /// - Parameter check: how servers are checked; `AGENT` stands for the node's port of the agent.
    func backend(front: Int, _ lines: [String], check: String = "") throws -> String {
        let servers = try zip(["a", "b"], zip(fleets, ports)).map { name, node in
            let agent = try node.0.agentPort()
            let words = check.replacing("AGENT", with: "\(agent)")
            return "server \(name) 127.0.0.1:\(node.1) check port \(try node.0.healthPort()) \(words)"
        }
        let all = ["balance roundrobin"] + lines + servers
        return "frontend front\n    bind 127.0.0.1:\(front)\n    default_backend orders\nbackend orders\n"
            + all.map { "    \($0)\n" }.joined()
    }

    /// Checks that say what HAProxy itself thinks (row H4).
    static let withState = [
        "option httpchk", "http-check send-state",
        "http-check send meth GET uri /health/orders ver HTTP/1.1 hdr Host x", "http-check expect status 200",
    ]

    func stopAndCheck() {
        for fleet in fleets { fleet.stopAndCheck(signal: SIGINT) }
    }
}

/// wrk, asking beside the test until it is ended.
final class Load {
    private let client: Client
    private let url: String

    /// - Parameters:
    ///   - connections: requests that are always under way.
    ///   - script: wrk's, in Lua.
    init(_ url: String, connections: Int = 16, script: String? = nil) throws {
        client = try Client()
        self.url = url
        var words = ["-t1", "-c\(connections)", "-d3600s", "--timeout", "20s"]
        if let script {
            try File.write(script, to: client.path + "/script.lua")
            words += ["-s", client.path + "/script.lua"]
        }
        try client.start(.wrk, words + [url])
    }

    /// What was seen of all its requests.
    struct Seen {
        var answered: Int
        /// Lines of wrk's that tell of failures: answers other than 2xx, and connections that broke or were refused.
        var failures: [Substring]
    }

    /// Ends it.
    func end() throws -> Seen {
        let code = client.stop(SIGINT)
        let lines = client.output.split(separator: "\n")
        // "  15322 requests in 12.01s, 2.30MB read"
        let total = lines.first { $0.contains(" requests in ") }
        guard code == 0, let count = total?.split(separator: " ").first.flatMap({ Int($0) }) else {
            throw TestFailure("wrk \(url): exit code \(code)\n\(client.output)\(client.errors)")
        }
        // wrk has these lines only where there is something to say.
        return Seen(answered: count, failures: lines.filter { $0.contains("Socket errors") || $0.contains("Non-2xx") })
    }
}

/// How often something is done: a few times in CI, more often where the environment says so.
enum Rounds {
    static func count(_ variable: String, _ usual: Int) -> Int {
        OwnProcess.environment(variable).flatMap { Int($0) } ?? usual
    }
}
