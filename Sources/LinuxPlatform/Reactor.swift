internal import CLinux
import Glibc
public import SupervisorCore

/// The supervision thread's event loop: epoll and timers.
///
/// Not NIO, because supervision needs what a NIO channel drops: descriptors and credentials that come with messages
/// (SCM_RIGHTS, SCM_CREDENTIALS), and the choice to look at a datagram before taking it. Confined to the thread that
/// runs it; only the `Mailbox` may be used from others.
public final class Reactor {
    /// What a watched descriptor is ready for.
    public struct Readiness: OptionSet, Sendable {
        public var rawValue: UInt32

        public init(rawValue: UInt32) {
            self.rawValue = rawValue
        }

        public static let readable = Readiness(rawValue: 0x001)
        public static let writable = Readiness(rawValue: 0x004)
        /// The peer has gone, or an error is pending. Always reported.
        public static let hangup = Readiness(rawValue: 0x018)
    }

    private static let eventsPerTurn = 64

    private let epoll: Descriptor
    private var handlers: [Int32: (Readiness) -> Void] = [:]
    private var timers = TimerQueue<UInt64>()
    private var timerActions: [UInt64: () -> Void] = [:]
    private var nextTimer: UInt64 = 0
    private var running = false

    /// Called at the end of every turn, before the loop sleeps again.
    public var endOfTurn: () -> Void = {}

    /// - Throws: `SystemError` when the kernel refuses an epoll or event descriptor.
    public init() throws(SystemError) {
        epoll = Descriptor(try SystemError.check(clinux_epoll_create(), "create an epoll descriptor"))
    }

    /// Has `handler` called whenever `descriptor` is ready (level-triggered). The descriptor stays the caller's, who
    /// must `unwatch` before closing it.
    public func watch(
        _ descriptor: Int32,
        for interest: Readiness,
        _ handler: @escaping (Readiness) -> Void
    ) throws(SystemError) {
        try control(Operation.add, descriptor, interest)
        handlers[descriptor] = handler
    }

    /// Changes what a watched descriptor is watched for.
    public func change(_ descriptor: Int32, to interest: Readiness) throws(SystemError) {
        try control(Operation.modify, descriptor, interest)
    }

    /// Ends the watch. Events of this turn that were not handed out yet are dropped.
    public func unwatch(_ descriptor: Int32) {
        guard handlers.removeValue(forKey: descriptor) != nil else { return }
        _ = clinux_epoll_control(epoll.rawValue, Operation.delete, descriptor, 0, 0)
    }

    /// Has `action` called once, at `deadline` or a little later.
    @discardableResult
    public func schedule(at deadline: MonotonicInstant, _ action: @escaping () -> Void) -> UInt64 {
        nextTimer &+= 1
        timers.insert(nextTimer, at: deadline)
        timerActions[nextTimer] = action
        return nextTimer
    }

    /// Takes back what `schedule` answered for; nothing when it has run.
    public func cancel(_ timer: UInt64) {
        timers.remove(timer)
        timerActions[timer] = nil
    }

    /// Runs until `stop` is called from within.
    public func run() throws(SystemError) {
        running = true
        var events = [clinux_event](repeating: clinux_event(), count: Self.eventsPerTurn)
        while running {
            let count = clinux_epoll_wait(epoll.rawValue, &events, events.count, timeoutNanoseconds())
            if count < 0, count != -EINTR { throw SystemError(call: "epoll_wait", errno: -count) }
            for event in events.prefix(Int(max(0, count))) {
                // Looked up anew each time: an earlier handler may have ended this watch.
                handlers[Int32(truncatingIfNeeded: event.data)]?(Readiness(rawValue: event.events))
            }
            fireTimers()
            endOfTurn()
        }
    }

    /// Ends `run` after the present turn.
    public func stop() {
        running = false
    }

    private func fireTimers() {
        if timers.isEmpty { return }
        let now = MonotonicClock.now()
        while let timer = timers.popFirst(dueAt: now) {
            timerActions.removeValue(forKey: timer)?()
        }
    }

    /// How long to sleep: negative is for ever.
    private func timeoutNanoseconds() -> Int64 {
        guard let next = timers.next else { return -1 }
        return max(0, next.since(MonotonicClock.now()).clampedNanoseconds)
    }

    private func control(_ operation: Int32, _ descriptor: Int32, _ interest: Readiness) throws(SystemError) {
        try SystemError.check(
            clinux_epoll_control(
                epoll.rawValue,
                operation,
                descriptor,
                interest.rawValue,
                UInt64(UInt32(bitPattern: descriptor))
            ),
            "watch a descriptor"
        )
    }

    /// What `epoll_ctl` is to do.
    private enum Operation {
        static let add: Int32 = 1
        static let delete: Int32 = 2
        static let modify: Int32 = 3
    }
}
