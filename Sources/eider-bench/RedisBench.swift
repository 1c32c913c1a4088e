import BreakerStore
import Glibc
import LinuxPlatform
import NIOCore
import NIOPosix
import SupervisorCore
import Synchronization

/// What sharing breakers costs, with a redis-server of its own on loopback.
enum RedisBench {
    private static let rounds = 2_000
    /// How long a host at rest is watched for what it asks, seconds.
    private static let watched = 20

    static func run(_ table: inout Table) {
        do {
            let server = try RedisServer()
            defer { server.stop() }
            let stores = try (0..<2).map { try Store("bench-\($0)", port: server.port) }
            defer { for store in stores { store.stop() } }
            propagation(stores, &table)
            try memory(server, stores[0], &table)
            try steadyState(server, &table)
        } catch {
            table.add("Redis: \(error)", nil, "")
        }
    }

    /// From one host's request to the moment at which another one has been told.
    private static func propagation(_ stores: [Store], _ table: inout Table) {
        var seen: [Double] = []
        var trips: [Double] = []
        for round in 0..<rounds {
            let before = stores[1].pushes
            let start = MonotonicClock.now().nanoseconds
            let mode = round % 2 == 0 ? BreakerMode.forceClosed : .auto
            stores[0].ask(.force(name: "dependency", mode, actor: "bench", reason: "round"))
            guard let told = stores[1].awaitPush(after: before), let answered = stores[0].awaitAnswer() else {
                return table.add("change seen by another host", nil, "")
            }
            seen.append(Double(told - start))
            trips.append(Double(answered - start))
        }
        table.add("change seen by another host", Series(seen).scaled(by: 1e-6), "ms", p50: 1, p99: 10)
        table.add("round trip of an operation", Series(trips).scaled(by: 1e-6), "ms")
    }

    /// What the keys of the fleet have more once a breaker is open.
    private static func memory(_ server: RedisServer, _ store: Store, _ table: inout Table) throws {
        let keys = ["registers", "votes", "changes"].map { "eider:{bench}:\($0)" }
        let before = try keys.reduce(0) { try $0 + server.memory(ofKey: $1) }
        let name = "service:auth@0123456789ab"
        store.ask(.sync(known: 0))
        store.ask(.vote(name: name, .tripped, reason: "5 crashes within 1m", LedgerPolicy(), draw: 0))
        _ = store.awaitAnswer()
        let after = try keys.reduce(0) { try $0 + server.memory(ofKey: $1) }
        table.add("memory of a breaker in Redis", after - before, "bytes", target: 1_024)
    }

    /// A real host with breakers that are all closed.
    private static func steadyState(_ server: RedisServer, _ table: inout Table) throws {
        let host = try BenchHost(
            breaker: "store = \"redis\"\n[breaker.redis]\naddresses = [\"127.0.0.1:\(server.port)\"]"
        ) { _ in ["/bin/sleep", "1000"] }
        defer { host.stop() }
        // It has found its feet.
        sleep(5)
        let before = server.scripts
        sleep(UInt32(watched))
        let rate = Double(server.scripts - before) / Double(watched)
        table.add("scripts of a host at rest, SYNC included", rate, "per s", target: 1)
    }

    /// One host's connection.
    private final class Store: Sendable {
        private let store: RedisStore
        private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        private let heard: Heard
        private let number = Atomic<UInt64>(0)

        private final class Heard: Sendable {
            struct State: Sendable {
                var isConnected = false
                var pushes = 0
                var pushedAt: Int64 = 0
                var answers = 0
                var answeredAt: Int64 = 0
            }

            let state = Mutex(State())

            func take(_ news: StoreNews) {
                let now = MonotonicClock.now().nanoseconds
                state.withLock { state in
                    switch news {
                    case .connected: state.isConnected = true
                    case .disconnected: state.isConnected = false
                    case .pushed: (state.pushes, state.pushedAt) = (state.pushes + 1, now)
                    case .answered, .unanswered: (state.answers, state.answeredAt) = (state.answers + 1, now)
                    }
                }
            }
        }

        init(_ host: String, port: Int) throws {
            var spec = BreakerStoreSpec()
            spec.store = .redis
            spec.fleet = "bench"
            spec.redis.addresses = ["127.0.0.1:\(port)"]
            let heard = Heard()
            self.heard = heard
            let caller = LedgerCaller(host: host, incarnation: 1)
            store = RedisStore(spec: spec, caller: caller, loop: group.next()) { heard.take($0) }
            store.start()
            guard eventually({ heard.state.withLock { $0.isConnected ? true : nil } }) != nil else {
                throw BenchFailure("cannot connect to Redis on port \(port)")
            }
        }

        var pushes: Int { heard.state.withLock { $0.pushes } }

        func ask(_ operation: BreakerOperation) {
            let next = number.add(1, ordering: .relaxed).newValue
            store.submit(StoreRequest(number: next, operation: operation))
        }

        func awaitPush(after count: Int) -> Int64? {
            eventually(pause: 0) { [heard] in heard.state.withLock { $0.pushes > count ? $0.pushedAt : nil } }
        }

        /// Of everything that was asked.
        func awaitAnswer() -> Int64? {
            let wanted = Int(number.load(ordering: .relaxed))
            return eventually(pause: 0) { [heard] in heard.state.withLock { $0.answers >= wanted ? $0.answeredAt : nil }
            }
        }

        func stop() {
            try? store.stop().wait()
            group.shutdownGracefully { _ in }
        }
    }
}
