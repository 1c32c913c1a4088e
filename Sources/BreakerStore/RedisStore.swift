public import NIOCore
public import SupervisorCore

/// The breakers of a fleet, shared in Redis or Redis Cluster (DESIGN.md, decisions 6, 9 and 10).
///
/// It carries requests to the one script that is the ledger, and tells what other hosts' operations changed. It keeps
/// no state of breakers of its own, never queues a request for a later connection, and reconnects for ever.
public final class RedisStore: Sendable {
    private let loop: any EventLoop
    /// Made by the first call that comes to the loop.
    private let driver: NIOLoopBoundBox<StoreDriver?>
    private let make: @Sendable () -> StoreDriver
    private let counters = StoreCounters()

    /// - Parameters:
    ///   - spec: `store` is not looked at; addresses that cannot be read are left out.
    ///   - caller: this daemon; its incarnation also seeds the waits between attempts.
    ///   - loop: a loop of NIOPosix. Everything happens on it.
    ///   - news: is called on the loop, and must return at once.
    public convenience init(
        spec: BreakerStoreSpec,
        caller: LedgerCaller,
        loop: any EventLoop,
        news: @escaping @Sendable (StoreNews) -> Void
    ) {
        self.init(spec: spec, caller: caller, loop: loop, limits: LinkLimits(), news: news)
    }

    init(
        spec: BreakerStoreSpec,
        caller: LedgerCaller,
        loop: any EventLoop,
        limits: LinkLimits,
        news: @escaping @Sendable (StoreNews) -> Void
    ) {
        self.loop = loop
        let counters = counters
        make = { StoreDriver(spec, caller, loop, limits, counters, news) }
        driver = NIOLoopBoundBox.makeEmptyBox(valueType: StoreDriver.self, eventLoop: loop)
    }

    /// On the loop only.
    private var onLoop: StoreDriver {
        if let made = driver.value { return made }
        let made = make()
        driver.value = made
        return made
    }

    /// Begins to connect. May be called from any thread, once.
    public func start() {
        loop.execute { self.onLoop.handle(.start) }
    }

    /// Asks for an operation; its answer, or that there is none, is told as news with its number. Without a connection
    /// that is told at once. May be called from any thread.
    public func submit(_ request: StoreRequest) {
        loop.execute { self.onLoop.submit(request) }
    }

    /// Ends it for good. What has no answer yet is told as unanswered; nothing is told once the future is complete.
    public func stop() -> EventLoopFuture<Void> {
        loop.flatSubmit { self.onLoop.stop() }
    }

    /// What it has done; may be read from any thread.
    public var figures: StoreFigures { counters.value }
}
