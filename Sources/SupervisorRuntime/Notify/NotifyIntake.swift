import CLinux
import Glibc
public import SupervisorCore

/// Receives what workers say on the notify socket, on the thread of supervision, and never more of it than
/// supervision can bear.
///
/// A message that changes a worker's state stays in the socket until it was delivered: the socket outlives the daemon,
/// so that a daemon killed in between loses none. Its successor may be given the message once more. Who says more than
/// `Limits.perSecond` is heard every `Limits.floodPause`; then his messages are folded into one.
///
/// Who may be heard is asked before anything is remembered: strangers have no place in the table of senders, and all
/// that their messages cost is to take them out of the socket.
///
/// Descriptors that come with a message are never accepted; the kernel closes them when the message is taken out of
/// the socket. That answers a `BARRIER=1`: all messages before it have been delivered by then.
public struct NotifyIntake: Sendable {
    /// Named limits (rule P7).
    public enum Limits {
        /// Datagrams in one turn.
        public static let budget = 64
        /// Messages of one sender that are delivered one by one: each second, and at once after a silence.
        public static let perSecond = 200
        public static let burst = 400
        /// Shortest time between two deliveries to a sender above that.
        public static let floodPause: Duration = .milliseconds(100)
        /// Senders that are remembered at once, main processes not counted: the fleet bounds those.
        public static let senders = 4096
        /// A sender that was silent for this long is forgotten.
        public static let idle: Duration = .seconds(10)
    }

    /// Why a message was not delivered.
    public enum DropReason: String, Sendable, CaseIterable {
        /// Folded into another message of the same sender. Nothing newer is lost by it.
        case flood
        case malformed
        /// Longer than `NotifyMessage.Limits.datagramBytes`.
        case oversize
        /// The kernel named no sender, or one that belongs to no instance.
        case unknownSender = "unknown-sender"
        /// Too many senders at once: nobody had the time to find out to whom this one belongs.
        case tooManySenders = "too-many-senders"
    }

    /// What a process is to the fleet.
    public enum Standing: Sendable, Equatable {
        /// The main process of an instance. It never loses its place to another sender.
        case main
        /// Another process of an instance.
        case relative
        /// Not heard, for this reason.
        case refused(DropReason)
    }

    /// What one turn did.
    public struct Outcome: Sendable, Equatable {
        /// Datagrams taken out of the socket.
        public var received = 0
        /// The budget is used up: call again soon.
        public var more = false
        /// The socket failed with this error; nil in health.
        public var errno: Int32?
    }

    fileprivate struct Sender: Sendable {
        var uid: UInt32
        var isMain: Bool
        /// Messages that are delivered without a pause.
        var tokens = Double(Limits.burst)
        var refilled: MonotonicInstant
        var delivered: MonotonicInstant?
        /// What it said and nobody has been told yet.
        var pending: NotifyMessage?
        /// Some of what is pending was paid for.
        var isEntitled = false
        var heard: MonotonicInstant
    }

    /// Is asked for the standing of a process that is not in the table. The kernel vouches for `pid` and `uid`.
    public typealias Admission = (_ pid: Int32, _ uid: UInt32) -> Standing

    /// Is given a message of the process `pid`, which the kernel vouches for. False: it belongs to no instance.
    public typealias Delivery = (_ pid: Int32, _ uid: UInt32, _ message: NotifyMessage) -> Bool

    private enum Datagram {
        case none
        case failed(Int32)
        case unusable(DropReason)
        case message(pid: Int32, uid: UInt32, NotifyMessage)
    }

    /// The datagram socket. It is not owned.
    public let descriptor: Int32
    /// The users that workers run as.
    public var users: WorkerUsers
    /// Messages that were not delivered, by reason, since the daemon began.
    public private(set) var dropped: [DropReason: UInt64] = [:]
    private var senders: [Int32: Sender] = [:]
    /// Those in the table that are no main processes.
    private var relatives = 0
    /// How many of those there may be; tests do with fewer.
    var capacity = Limits.senders
    /// Senders with something pending, the first that spoke first.
    private var waiting: [Int32] = []
    private var swept: MonotonicInstant?
    private var buffer = [UInt8](repeating: 0, count: NotifyMessage.Limits.datagramBytes + 1)

    /// - Parameters:
    ///   - descriptor: a bound datagram socket; credentials are switched on.
    ///   - users: kept for the one who is asked for a sender's standing.
    public init(descriptor: Int32, users: WorkerUsers = WorkerUsers([])) {
        self.descriptor = descriptor
        self.users = users
        _ = clinux_pass_credentials(descriptor)
    }

    /// When `drain` must be called even if the socket is not readable: something that was said is still to be
    /// delivered. Nil: never.
    public var nextDeadline: MonotonicInstant? {
        waiting.compactMap { senders[$0]?.due }.min()
    }

    /// Counts a message that the caller did not accept.
    public mutating func countDropped(_ reason: DropReason) {
        dropped[reason, default: 0] &+= 1
    }

    /// Receives at most `budget` datagrams, and delivers what they say: at once what changes a state, the rest folded
    /// together by sender at the end of the turn.
    public mutating func drain(
        budget: Int = Limits.budget,
        now: MonotonicInstant,
        admit: Admission,
        deliver: Delivery
    ) -> Outcome {
        var outcome = Outcome()
        loop: while true {
            guard outcome.received < budget else {
                outcome.more = true
                break
            }
            switch look() {
            case .none: break loop
            case .failed(let errno):
                outcome.errno = errno
                break loop
            case .unusable(let reason): countDropped(reason)
            case .message(let pid, let uid, let message):
                if let refusal = makePlace(for: pid, uid, now: now, admit, deliver) {
                    countDropped(refusal)
                } else {
                    take(pid, message, now: now, deliver)
                }
            }
            // Taking the datagram out closes its descriptors.
            var byte: UInt8 = 0
            _ = recv(descriptor, &byte, 1, Int32(MSG_DONTWAIT) | Int32(MSG_TRUNC))
            outcome.received += 1
        }
        deliverDue(now: now, deliver)
        sweep(now: now)
        return outcome
    }

    /// The first datagram, which stays in the socket.
    private mutating func look() -> Datagram {
        var message = clinux_message()
        let count = buffer.withUnsafeMutableBytes {
            clinux_receive(descriptor, $0.baseAddress, $0.count, &message, true, true)
        }
        if count < 0 { return count == -Int(EAGAIN) ? .none : .failed(Int32(-count)) }
        if message.truncated || count > NotifyMessage.Limits.datagramBytes { return .unusable(.oversize) }
        if !message.has_credentials || message.pid <= 0 { return .unusable(.unknownSender) }
        guard let parsed = NotifyMessage.parse(buffer[..<count]) else { return .unusable(.malformed) }
        return .message(pid: message.pid, uid: message.uid, parsed)
    }

    /// Sees to it that the process is in the table; else says why it must not be.
    private mutating func makePlace(
        for pid: Int32,
        _ uid: UInt32,
        now: MonotonicInstant,
        _ admit: Admission,
        _ deliver: Delivery
    ) -> DropReason? {
        if let known = senders[pid] {
            if known.uid == uid { return nil }
            // The number belongs to another process now: what the old one said is not the new one's word.
            deliverPending(pid, now: now, deliver)
            forget(pid)
        }
        let standing = admit(pid, uid)
        if case .refused(let reason) = standing { return reason }
        if standing == .relative {
            if relatives >= capacity { forgetOldestRelative(now: now, deliver) }
            relatives += 1
        }
        senders[pid] = Sender(uid: uid, isMain: standing == .main, refilled: now, heard: now)
        return nil
    }

    /// Notes what was said, and delivers it before it leaves the socket where that is called for.
    private mutating func take(_ pid: Int32, _ message: NotifyMessage, now: MonotonicInstant, _ deliver: Delivery) {
        guard var sender = senders[pid] else { return }
        sender.heard = now
        if !sender.spend(now: now) { countDropped(.flood) }
        if sender.pending == nil {
            waiting.append(pid)
            sender.pending = message
        } else {
            sender.pending?.merge(message)
        }
        senders[pid] = sender
        if message.barrier, sender.isEntitled {
            deliverAll(now: now, deliver)
        } else if message.changesState, sender.due <= now {
            deliverPending(pid, now: now, deliver)
        }
    }

    private mutating func forget(_ pid: Int32) {
        if let gone = senders.removeValue(forKey: pid), !gone.isMain { relatives -= 1 }
    }

    /// The table is full: the one who has been silent for longest goes. What it said is not lost.
    private mutating func forgetOldestRelative(now: MonotonicInstant, _ deliver: Delivery) {
        let oldest = senders.lazy.filter { !$0.value.isMain }.min { $0.value.heard < $1.value.heard }
        guard let pid = oldest?.key else { return }
        deliverPending(pid, now: now, deliver)
        forget(pid)
    }

    private mutating func deliverPending(_ pid: Int32, now: MonotonicInstant, _ deliver: Delivery) {
        guard let sender = senders[pid], let message = sender.pending else { return }
        senders[pid]?.pending = nil
        senders[pid]?.isEntitled = false
        senders[pid]?.delivered = now
        waiting.removeAll { $0 == pid }
        if deliver(pid, sender.uid, message) { return }
        countDropped(.unknownSender)
        // It has left its instance, or its number is another's: its standing is asked for again.
        forget(pid)
    }

    private mutating func deliverDue(now: MonotonicInstant, _ deliver: Delivery) {
        for pid in waiting where senders[pid].map({ $0.due <= now }) ?? false {
            deliverPending(pid, now: now, deliver)
        }
    }

    private mutating func deliverAll(now: MonotonicInstant, _ deliver: Delivery) {
        for pid in waiting { deliverPending(pid, now: now, deliver) }
    }

    /// Forgets senders that fell silent, at most once a second.
    private mutating func sweep(now: MonotonicInstant) {
        if let swept, now.since(swept) < .seconds(1) { return }
        swept = now
        senders = senders.filter { $0.value.pending != nil || now.since($0.value.heard) < Limits.idle }
        relatives = senders.count { !$0.value.isMain }
    }
}

extension NotifyIntake.Sender {
    /// When what is pending may be delivered.
    fileprivate var due: MonotonicInstant {
        guard !isEntitled, let delivered else { return MonotonicInstant(nanoseconds: .min) }
        return delivered.advanced(by: NotifyIntake.Limits.floodPause)
    }

    /// Pays for one message from a token bucket; false when it is empty.
    fileprivate mutating func spend(now: MonotonicInstant) -> Bool {
        let gained = max(0, now.since(refilled).inSeconds) * Double(NotifyIntake.Limits.perSecond)
        tokens = min(Double(NotifyIntake.Limits.burst), tokens + gained)
        refilled = now
        guard tokens >= 1 else { return false }
        tokens -= 1
        isEntitled = true
        return true
    }
}
