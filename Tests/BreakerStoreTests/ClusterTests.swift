import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

@testable import BreakerStore

extension WithRedis {
    @Suite struct ClusterTests {
        private let cluster: RedisCluster

        init() throws {
            cluster = try RedisCluster(fleet: "test")
        }

        private func store(_ servers: [RedisServer], host: String = "host-a") -> StoreBench {
            StoreBench(servers.map(\.address), host: host) { $0.redis.cluster = true }
        }

        /// The cluster serves a request of this store, now or soon.
        private func waitUntilServed(_ bench: StoreBench, _ what: String) throws {
            try bench.wait(what, .seconds(40)) { bench in
                guard bench.store.figures.isConnected, case .success = try bench.ask(.sync(known: 0)) else {
                    return false
                }
                return true
            }
        }

        private func place(_ bench: StoreBench) -> Int { Int(bench.store.figures.connects) }

        @Test func itIsServedByTheOwnerWhoeverIsAskedFirst() throws {
            let benches = try cluster.servers.enumerated().map { index, server in
                let bench = store([server], host: "host-\(index)")
                try bench.waitUntilConnected()
                #expect(try bench.sync().verdict == .stale)
                return bench
            }
            // Each is told of what another one does.
            _ = try benches[0].ask(.force(name: "db", .forceOpen, actor: "Ann", reason: "")).get()
            for bench in benches.dropFirst() { try bench.wait("a push") { !$0.pushed.isEmpty } }
            // Nowhere else is anything kept.
            let owner = try cluster.owner()
            #expect(try owner.client().text("EXISTS", "eider:{test}:overrides") == "1")
        }

        @Test func aFailoverThatIsAskedFor() throws {
            let bench = store(cluster.servers)
            try bench.waitUntilConnected()
            _ = try bench.ask(.force(name: "db", .forceOpen, actor: "Ann", reason: "")).get()
            let before = try cluster.owner()
            let replica = try cluster.replica(of: before)
            #expect(try replica.client().text("CLUSTER", "FAILOVER") == "OK")
            _ = Deadline(.seconds(20)).wait { (try? cluster.owner().port) == replica.port }
            try waitUntilServed(bench, "served by the new owner")
            let entry = try bench.sync().entries.first
            #expect(entry?.override.mode == .forceOpen)
            #expect(place(bench) > 1)
        }

        @Test func aPrimaryThatDies() throws {
            let bench = store(cluster.servers)
            try bench.waitUntilConnected()
            _ = try bench.sync()
            let begin = MonotonicClock.now()
            try cluster.owner().end(SIGKILL)
            try bench.wait("the loss is told") { !$0.failures.isEmpty }
            try waitUntilServed(bench, "served by the replica")
            Report.line("a primary's death is over after \(MonotonicClock.now().since(begin))")
            #expect(MonotonicClock.now().since(begin) < .seconds(30))
        }

        /// The store's own connection learns of a slot that has moved by MOVED, and of one on its way by ASK.
        @Test func aSlotThatMoves() throws {
            let bench = StoreBench(cluster.servers.map(\.address), isHasty: false) { $0.redis.cluster = true }
            try bench.waitUntilConnected()
            _ = try bench.sync()
            // All six keys, or a command with several is told to wait until the slot has moved.
            _ = try bench.ask(.reset(name: "db", actor: "Ann", reason: "")).get()
            _ = try bench.ask(.force(name: "db", .metricsOnly, actor: "Ann", reason: "")).get()
            _ = try bench.ask(.vote(name: "db", .suspect, reason: "", LedgerPolicy(), draw: 0)).get()
            let source = try cluster.owner()
            let target = try cluster.other()
            let slot = "\(cluster.slot)"
            let (from, to) = (try source.client(), try target.client())
            _ = try to.call("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.node(source))
            _ = try from.call("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.node(target))
            // Before any key has gone.
            _ = try bench.sync()
            for key in LedgerScript.keys(fleet: "test") {
                _ = try from.call("MIGRATE", "127.0.0.1", "\(target.port)", key, "0", "5000")
            }
            let asked = try bench.ask(.force(name: "db", .disabled, actor: "Ann", reason: "")).get()
            #expect(asked.entries.first?.override.mode == .disabled)
            #expect(bench.store.figures.redirects == 1)
            for server in cluster.servers where (try? cluster.replica(of: server)) != nil {
                _ = try server.client().call("CLUSTER", "SETSLOT", slot, "NODE", cluster.node(target))
            }
            let moved = try bench.ask(.sync(known: 0)).get()
            #expect(moved.entries.first?.override.mode == .disabled)
            #expect(bench.store.figures.redirects == 2)
            #expect(bench.connections == 2)
            #expect(bench.failures.isEmpty)
        }

        @Test func aNodeOfAClusterIsNotTakenForASingleServer() throws {
            let other = try cluster.other()
            let bench = StoreBench([other.address])
            try bench.wait("refused") { !$0.failures.isEmpty }
            #expect(bench.connections == 0)
            #expect(bench.failures.first?.text.contains("cluster = true") == true, "\(bench.failures)")
        }
    }
}
