public import SupervisorCore

/// The supervision thread's event loop: epoll and timers.
///
/// Not NIO, because supervision needs what a NIO channel drops: descriptors and credentials that come with messages
/// (SCM_RIGHTS, SCM_CREDENTIALS), and the choice to look at a datagram before taking it. Confined to the thread that
/// runs it; only the `Mailbox` may be used from others.
public final class Reactor {
    private var queue: EventQueue
    private var handlers: [UInt64: (EventQueue.Event) -> Void] = [:]
    private var timers = TimerQueue<UInt64>()
    private var timerActions: [UInt64: () -> Void] = [:]
    private var nextTimer: UInt64 = 0
    private var running = false

    /// Called at the end of every turn, before the loop sleeps again.
    public var endOfTurn: () -> Void = {}

    /// Called first in a turn that came later than `patience` after its earliest timer was due: something held the
    /// loop up, and what follows in this turn is older than it looks.
    public var heldUp: (Duration) -> Void = { _ in }
    public var patience: Duration = .seconds(2)

    /// - Throws: `SystemError` when the kernel refuses an epoll or event descriptor.
    public init() throws(SystemError) {
        queue = try EventQueue()
    }

    /// Has `handler` called whenever `descriptor` can be read (level-triggered; errors and hangups count as that). The
    /// descriptor stays the caller's, who must `unwatch` before closing it.
    public func watch(_ descriptor: Int32, _ handler: @escaping (EventQueue.Event) -> Void) throws(SystemError) {
        try queue.add(descriptor, token: Self.token(descriptor))
        handlers[Self.token(descriptor)] = handler
    }

    /// Changes whether a watched descriptor is watched for writing as well.
    public func change(_ descriptor: Int32, writable: Bool) throws(SystemError) {
        try queue.change(descriptor, token: Self.token(descriptor), writable: writable)
    }

    /// Ends the watch. Events of this turn that were not handed out yet are dropped.
    public func unwatch(_ descriptor: Int32) {
        guard handlers.removeValue(forKey: Self.token(descriptor)) != nil else { return }
        queue.remove(descriptor)
    }

    private static func token(_ descriptor: Int32) -> UInt64 { UInt64(UInt32(bitPattern: descriptor)) }

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
        while running {
            let events = try queue.wait(nanoseconds: timeoutNanoseconds())
            if let due = timers.next, case let late = MonotonicClock.now().since(due), late > patience { heldUp(late) }
            for event in events {
                // Looked up anew each time: an earlier handler may have ended this watch.
                handlers[event.token]?(event)
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

    /// How long to sleep; nil is for ever.
    private func timeoutNanoseconds() -> Int64? {
        timers.next.map { max(0, $0.since(MonotonicClock.now()).clampedNanoseconds) }
    }
}
