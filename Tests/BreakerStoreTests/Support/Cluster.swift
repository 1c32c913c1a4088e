import Glibc
import SupervisorCore

@testable import BreakerStore

/// Three primaries, each with a replica, as one Redis Cluster.
final class RedisCluster {
    let servers: [RedisServer]
    let slot: Int64

    /// - Parameter fleet: whose slot tests look at.
    init(fleet: String) throws {
        slot = HashSlot.of(tag: fleet)
        let scratch = try Scratch()
        servers = try (0..<6).map { _ in
            try RedisServer(
                [
                    "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "1000",
                    "--cluster-announce-ip", "127.0.0.1", "--cluster-replica-validity-factor", "0",
                    "--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0",
                ],
                scratch: scratch
            )
        }
        let words = ["/usr/bin/redis-cli", "--cluster", "create"] + servers.map(\.address)
        try Program.run(words + ["--cluster-replicas", "1", "--cluster-yes"], in: scratch)
        guard Deadline(.seconds(30)).wait({ isWhole }) else { throw TestFailure("the cluster does not form") }
    }

    /// Every node knows the slot's owner, and every primary has its replica.
    var isWhole: Bool {
        servers.filter { $0.pid > 0 }.allSatisfy { server in
            guard let client = try? server.client(),
                let text = try? client.text("CLUSTER", "INFO"), text.contains("cluster_state:ok"),
                let nodes = try? client.text("CLUSTER", "NODES")
            else { return false }
            let lines = nodes.split(whereSeparator: \.isNewline)
            return lines.count == 6 && lines.count { $0.contains("slave") } == 3
                && lines.allSatisfy { !$0.contains("handshake") }
                && (try? client.text("INFO", "replication").contains("master_link_status:down")) == false
        }
    }

    /// Who has the slot, as most nodes that live see it.
    func owner() throws -> RedisServer {
        for server in servers where server.pid > 0 {
            guard
                let view = ClusterView(try server.client().call("CLUSTER", "SLOTS"), slot: slot, askedAt: "127.0.0.1"),
                let found = servers.first(where: { $0.port == view.owner?.port }), found.pid > 0
            else { continue }
            return found
        }
        throw TestFailure("nobody has the slot")
    }

    func node(_ server: RedisServer) throws -> String { try server.client().text("CLUSTER", "MYID") }

    /// The replica of a primary.
    func replica(of primary: RedisServer) throws -> RedisServer {
        let id = try node(primary)
        for server in servers where server.pid > 0 && server.port != primary.port {
            let lines = try server.client().text("CLUSTER", "NODES").split(whereSeparator: \.isNewline)
            if lines.contains(where: { $0.contains("myself,slave \(id)") }) { return server }
        }
        throw TestFailure("there is no replica")
    }

    /// A primary that does not have the slot.
    func other() throws -> RedisServer {
        let owner = try owner()
        for server in servers where server.pid > 0 && server.port != owner.port {
            let lines = try server.client().text("CLUSTER", "NODES").split(whereSeparator: \.isNewline)
            if lines.contains(where: { $0.contains("myself,master") }) { return server }
        }
        throw TestFailure("there is no other primary")
    }
}
