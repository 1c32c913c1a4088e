import Glibc
import LinuxPlatform
import NIOCore
import NIOPosix
import SupervisorCore
import Synchronization
import Testing

@testable import BreakerStore

/// A store under test, and all it has said.
final class StoreBench: Sendable {
    let store: RedisStore
    let caller: LedgerCaller
    private let group: MultiThreadedEventLoopGroup
    private let heard: Heard
    private let numbers = Atomic<UInt64>(0)

    private final class Heard: Sendable {
        let news = Mutex<[(at: MonotonicInstant, what: StoreNews)]>([])
    }

    /// - Parameter isHasty: what would take seconds takes moments.
    init(
        _ addresses: [String],
        host: String = "host-a",
        fleet: String = "test",
        isHasty: Bool = true,
        _ change: (inout BreakerStoreSpec) -> Void = { _ in }
    ) {
        var spec = BreakerStoreSpec()
        spec.store = .redis
        spec.fleet = fleet
        spec.redis.addresses = addresses
        change(&spec)
        var limits = LinkLimits()
        if isHasty {
            limits.backoffFirst = 20
            limits.backoffMaximum = 200
            limits.authRetry = 100
            limits.pingInterval = 200
            limits.refreshInterval = 500
            limits.timeoutSpan = 500
        }
        var generator = SystemRandomNumberGenerator()
        caller = LedgerCaller(host: host, incarnation: Int64(bitPattern: generator.next()))
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let heard = Heard()
        self.heard = heard
        store = RedisStore(spec: spec, caller: caller, loop: group.next(), limits: limits) { news in
            heard.news.withLock { $0.append((MonotonicClock.now(), news)) }
        }
        store.start()
    }

    deinit {
        let group = group
        store.stop().whenComplete { _ in group.shutdownGracefully { _ in } }
    }

    var news: [StoreNews] { heard.news.withLock { $0.map(\.what) } }

    /// With when it was heard.
    var timedNews: [(at: MonotonicInstant, what: StoreNews)] { heard.news.withLock { $0 } }

    func forgetNews() { heard.news.withLock { $0 = [] } }

    var connections: Int { news.count { $0 == .connected } }

    var failures: [StoreFailure] {
        news.compactMap { if case .disconnected(let failure) = $0 { failure } else { nil } }
    }

    var pushed: [BreakerEntry] {
        news.compactMap { if case .pushed(let entry) = $0 { entry } else { nil } }
    }

    func wait(_ what: String, _ patience: Duration = .seconds(20), _ isMet: (StoreBench) throws -> Bool) throws {
        if try Deadline(patience).wait({ try isMet(self) }) { return }
        throw TestFailure("\(what): not reached; figures \(store.figures); news \(news.suffix(12))")
    }

    func waitUntilConnected(_ count: Int = 1) throws {
        try wait("connected \(count) times") { $0.connections >= count }
    }

    /// Asks, and waits for what comes of it.
    func ask(_ operation: BreakerOperation) throws -> Result<LedgerReply, StoreFailure> {
        let number = numbers.add(1, ordering: .relaxed).newValue
        store.submit(StoreRequest(number: number, operation: operation))
        var outcome: Result<LedgerReply, StoreFailure>?
        try wait("an answer to \(number)", .seconds(5)) { bench in
            for what in bench.news.reversed() {
                switch what {
                case .answered(number, let reply): outcome = .success(reply)
                case .unanswered(number, let failure): outcome = .failure(failure)
                default: continue
                }
                return true
            }
            return false
        }
        guard let outcome else { throw TestFailure("no answer") }
        return outcome
    }

    @discardableResult
    func sync() throws -> LedgerReply { try ask(.sync(known: 0)).get() }
}
