public import SupervisorCore
import Glibc
import Synchronization

/// The supervision thread's event loop: epoll, timers and a mailbox.
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

    /// Work posted by other threads.
    public let mailbox: Mailbox

    /// Called at the end of every turn, before the loop sleeps again.
    public var endOfTurn: () -> Void = {}

    /// - Throws: `SystemError` when the kernel refuses an epoll or event descriptor.
    public init() throws(SystemError) {
        let number = epoll_create1(Int32(EPOLL_CLOEXEC.rawValue))
        guard number >= 0 else { throw SystemError(call: "epoll_create1", errno: errno) }
        epoll = Descriptor(number)
        mailbox = try Mailbox()
        let mailbox = mailbox
        try watch(mailbox.descriptor, for: .readable) { _ in mailbox.acknowledge() }
    }

    /// Has `handler` called whenever `descriptor` is ready (level-triggered). The descriptor stays the caller's, who
    /// must `unwatch` before closing it.
    public func watch(
        _ descriptor: Int32, for interest: Readiness, _ handler: @escaping (Readiness) -> Void
    ) throws(SystemError) {
        try control(EPOLL_CTL_ADD, descriptor, interest)
        handlers[descriptor] = handler
    }

    /// Changes what a watched descriptor is watched for.
    public func change(_ descriptor: Int32, to interest: Readiness) throws(SystemError) {
        try control(EPOLL_CTL_MOD, descriptor, interest)
    }

    /// Ends the watch. Events of this turn that were not handed out yet are dropped.
    public func unwatch(_ descriptor: Int32) {
        guard handlers.removeValue(forKey: descriptor) != nil else { return }
        _ = epoll_ctl(epoll.rawValue, EPOLL_CTL_DEL, descriptor, nil)
    }

    /// Has `action` called once, at `deadline` or up to a millisecond later.
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
        var events = [epoll_event](repeating: epoll_event(), count: Self.eventsPerTurn)
        while running {
            let count = epoll_wait(epoll.rawValue, &events, Int32(events.count), timeoutMilliseconds())
            if count < 0, errno != EINTR { throw SystemError(call: "epoll_wait", errno: errno) }
            if count > 0 {
                for event in events[..<Int(count)] {
                    // Looked up anew each time: an earlier handler may have ended this watch.
                    handlers[event.data.fd]?(Readiness(rawValue: event.events))
                }
            }
            mailbox.deliver()
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

    private func timeoutMilliseconds() -> Int32 {
        if !mailbox.isEmpty { return 0 }
        guard let next = timers.next else { return -1 }
        let wait = next.since(MonotonicClock.now()).clampedNanoseconds
        if wait <= 0 { return 0 }
        // Rounded up: to wake before the deadline would mean to spin until it.
        return Int32(clamping: wait / 1_000_000 + 1)
    }

    private func control(_ operation: Int32, _ descriptor: Int32, _ interest: Readiness) throws(SystemError) {
        var event = epoll_event()
        event.events = interest.rawValue
        event.data.fd = descriptor
        guard epoll_ctl(epoll.rawValue, operation, descriptor, &event) == 0 else {
            throw SystemError(call: "epoll_ctl", errno: errno)
        }
    }
}

/// How other threads hand work to a reactor's thread.
public final class Mailbox: Sendable {
    private let event: Int32
    private let letters = Mutex<[@Sendable () -> Void]>([])

    init() throws(SystemError) {
        event = eventfd(0, Int32(EFD_CLOEXEC.rawValue | EFD_NONBLOCK.rawValue))
        guard event >= 0 else { throw SystemError(call: "eventfd", errno: errno) }
    }

    deinit { close(event) }

    var descriptor: Int32 { event }

    var isEmpty: Bool { letters.withLock { $0.isEmpty } }

    /// Has `letter` run on the reactor's thread, after those posted before.
    public func post(_ letter: @escaping @Sendable () -> Void) {
        let first = letters.withLock { letters in
            letters.append(letter)
            return letters.count == 1
        }
        // One wakeup is enough for all that is posted before it is taken.
        if first { eventfd_write(event, 1) }
    }

    func acknowledge() {
        var value: UInt64 = 0
        eventfd_read(event, &value)
    }

    func deliver() {
        let taken = letters.withLock { letters in
            let taken = letters
            letters.removeAll(keepingCapacity: letters.count < 256)
            return taken
        }
        for letter in taken { letter() }
    }
}
