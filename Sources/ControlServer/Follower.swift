import NIOCore
import Synchronization

/// Gives one reader the lines of a feed, as fast as it takes them. Belongs to the event loop.
final class Follower {
    private var feed: Feed
    private let follow: Bool
    private let limits: ControlLimits
    private let loop: any EventLoop
    private let isWritable: () -> Bool
    private let write: ([UInt8]) -> Void
    private let ended: () -> Void
    private let wakeUp = WakeUp()
    private var stopObserving: (@Sendable () -> Void)?
    private var stopped = false
    /// Whether this is within `pump`: writing may tell at once that the channel is writable again.
    private var pumping = false

    init(
        _ feed: Feed,
        follow: Bool,
        limits: ControlLimits,
        loop: any EventLoop,
        isWritable: @escaping () -> Bool,
        write: @escaping ([UInt8]) -> Void,
        ended: @escaping () -> Void
    ) {
        self.feed = feed
        self.follow = follow
        self.limits = limits
        self.loop = loop
        self.isWritable = isWritable
        self.write = write
        self.ended = ended
    }

    func start() {
        if follow {
            let bound = NIOLoopBound(self, eventLoop: loop)
            let loop = loop
            let wakeUp = wakeUp
            let interval = limits.followInterval
            stopObserving = feed.observe {
                // Often, and on any thread: one look at the feed for all the lines of an interval.
                guard wakeUp.isFirst else { return }
                loop.scheduleTask(in: interval) {
                    wakeUp.reset()
                    bound.value.pump()
                }
            }
        }
        pump()
    }

    func stop() {
        stopped = true
        stopObserving?()
        stopObserving = nil
    }

    /// Writes what there is, until the reader's buffer is full or others should have their turn.
    func pump() {
        if pumping { return }
        pumping = true
        defer { pumping = false }
        var turns = 0
        while !stopped, isWritable() {
            guard let bytes = feed.next(limits.linesPerTurn) else {
                if !follow {
                    stop()
                    ended()
                }
                return
            }
            if !bytes.isEmpty { write(bytes) }
            turns += 1
            if turns == limits.turnsPerWake {
                let bound = NIOLoopBound(self, eventLoop: loop)
                loop.execute { bound.value.pump() }
                return
            }
        }
    }
}

/// Whether a look at the feed is already on its way.
private final class WakeUp: Sendable {
    private let scheduled = Atomic<Bool>(false)

    /// True for the first call since `reset`.
    var isFirst: Bool { !scheduled.exchange(true, ordering: .acquiringAndReleasing) }

    func reset() {
        scheduled.store(false, ordering: .releasing)
    }
}
