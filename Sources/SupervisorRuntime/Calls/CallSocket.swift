import Glibc
import LinuxPlatform
import SupervisorCore

/// The workers' end of breakers: connections on which they ask whether they may call a dependency, and report how it
/// went. On the thread of supervision, and never more of it than supervision can bear.
///
/// The listening socket outlives the daemon, its connections do not: when the daemon dies they end (end of file, or
/// ECONNRESET). A client then connects anew, with its next request; that connection waits for the next daemon. A client
/// that gets no answer in time (a few hundred milliseconds) counts that as `ok 0`: nothing that Eider does may stand
/// between a worker and its dependency. A packet of zero bytes cannot be told from the end, and ends the connection.
/// Descriptors that come with a packet are never accepted.
final class CallSocket {
    /// Named limits (rule P7).
    enum Limits {
        /// Of one instance.
        static let perWorker = 64
        static let connections = 4_096
        /// Of one connection in one turn.
        static let packets = 16
        /// Of all connections in one turn; beyond them each may have one packet more, so that all have a share.
        static let packetsOfAll = 256
        static let acceptances = 16
        /// How long nothing is accepted when descriptors or memory have run out.
        static let pause: Duration = .milliseconds(100)
        /// Lines that cannot be read, of one connection in a second: more of them end it.
        static let faults = 1_000
    }

    /// Why a connection was not taken, or was ended.
    enum Refusal: String {
        case unknownPeer = "unknown-peer"
        /// Too many at once of whom nobody had the time to find out whose they are.
        case notLookedUp = "too-many-peers"
        case tooManyOfWorker = "too-many-of-worker"
        case tooMany = "too-many"
        case slowReader = "slow-reader"
        case flood
    }

    /// Who acts on what is said here.
    struct Hands {
        /// To which instance the peer belongs; nil with the reason where it is none of ours.
        var identify: (PeerCredentials) -> Result<InstanceID, Failure>
        /// What the core answers. `worker` stands for the connection.
        var ask: (_ name: String, _ worker: UInt64, MonotonicInstant) -> CallAnswer?
        var report: (_ name: String, _ pass: UInt64, _ worker: UInt64, CallOutcome, Int64, MonotonicInstant) -> Void
        /// A connection is gone, and what it held.
        var gone: (_ worker: UInt64) -> Void
        /// After each connection's share: breakers may have moved.
        var settle: () -> Void
        var warn: (String) -> Void
    }

    /// A peer that is not served.
    struct Failure: Error {
        var refusal: Refusal
    }

    private struct Connection {
        let socket: SharedDescriptor
        let number: UInt64
        let worker: InstanceID
        /// The second that `faults` are of.
        var second: Int64 = 0
        var faults = 0
    }

    private let reactor: Reactor
    private let hands: Hands
    private var listener: Int32 = -1
    private var pauseTimer: UInt64?
    private var connections: [Int32: Connection] = [:]
    private var perWorker: [InstanceID: Int] = [:]
    private var numbers: UInt64 = 0
    private var names = CallNames()
    private var reply = CallReply()
    private var buffer = [UInt8](repeating: 0, count: CallRequest.Limits.packetBytes)
    /// Packets taken since the turn began.
    private var taken = 0
    /// Connections that were not taken or were ended, by reason, since the daemon began.
    private(set) var refused: [Refusal: UInt64] = [:]
    private(set) var faults: UInt64 = 0

    var connectionCount: Int { connections.count }

    init(reactor: Reactor, hands: Hands) {
        self.reactor = reactor
        self.hands = hands
    }

    // MARK: Accepting

    /// Accepts from this socket, in place of the one before. It stays the caller's: `leave` comes before its close.
    func listen(on descriptor: Int32) throws(SystemError) {
        leave()
        try reactor.watch(descriptor) { [unowned self] _ in accept() }
        listener = descriptor
    }

    /// Accepts no more.
    func leave() {
        if let timer = pauseTimer { reactor.cancel(timer) }
        pauseTimer = nil
        if listener >= 0 { reactor.unwatch(listener) }
        listener = -1
    }

    private func accept() {
        for _ in 0..<Limits.acceptances {
            do throws(SystemError) {
                guard let socket = try UnixSocket.accept(listener) else { return }
                admit(socket.shared())
            } catch {
                // What waits to be accepted would wake us at once again.
                return pause(error)
            }
        }
    }

    private func pause(_ error: SystemError) {
        hands.warn("\(error) of a worker on the breaker socket; nothing is accepted for \(Limits.pause)")
        let descriptor = listener
        reactor.unwatch(descriptor)
        pauseTimer = reactor.schedule(at: MonotonicClock.now().advanced(by: Limits.pause)) { [unowned self] in
            pauseTimer = nil
            do throws(SystemError) {
                try reactor.watch(descriptor) { [unowned self] _ in accept() }
            } catch {
                pause(error)
            }
        }
    }

    private func admit(_ socket: SharedDescriptor) {
        guard connections.count < Limits.connections else { return count(.tooMany) }
        guard let peer = try? UnixSocket.peer(of: socket.rawValue) else { return count(.unknownPeer) }
        switch hands.identify(peer) {
        case .failure(let failure): count(failure.refusal)
        case .success(let worker):
            guard perWorker[worker, default: 0] < Limits.perWorker else { return count(.tooManyOfWorker) }
            let descriptor = socket.rawValue
            do throws(SystemError) {
                try reactor.watch(descriptor) { [unowned self] _ in serve(descriptor) }
            } catch {
                return hands.warn("\(error)")
            }
            numbers &+= 1
            connections[descriptor] = Connection(socket: socket, number: numbers, worker: worker)
            perWorker[worker, default: 0] += 1
        }
    }

    private func count(_ refusal: Refusal) {
        refused[refusal, default: 0] &+= 1
    }

    /// Ends a connection; what it held is given back.
    private func close(_ descriptor: Int32) {
        guard let connection = connections.removeValue(forKey: descriptor) else { return }
        reactor.unwatch(descriptor)
        let left = perWorker[connection.worker, default: 1] - 1
        perWorker[connection.worker] = left > 0 ? left : nil
        hands.gone(connection.number)
    }

    // MARK: Serving

    /// A turn of the reactor begins.
    func turnEnded() {
        taken = 0
    }

    private func serve(_ descriptor: Int32) {
        guard let number = connections[descriptor]?.number else { return }
        let now = MonotonicClock.now()
        let share = taken < Limits.packetsOfAll ? Limits.packets : 1
        var isOpen = true
        var packets = 0
        while isOpen, packets < share {
            let count = Glibc.recv(
                descriptor,
                &buffer,
                buffer.count,
                Int32(MSG_DONTWAIT) | Int32(MSG_TRUNC)
            )
            if count < 0, errno == EAGAIN { break }
            if count < 0, errno == EINTR || (errno == ECONNRESET && packets < share) {
                // A peer that left answers unread: what it said before can still be read.
                packets += 1
                continue
            }
            guard count > 0 else {
                isOpen = false
                break
            }
            packets += 1
            isOpen = take(count, descriptor, number, now)
        }
        taken += packets
        if !isOpen { close(descriptor) }
        hands.settle()
    }

    /// Answers one packet. False: the connection is to be ended.
    private func take(_ count: Int, _ descriptor: Int32, _ number: UInt64, _ now: MonotonicInstant) -> Bool {
        reply.clear()
        var faults = 0
        if count > buffer.count {
            reply.append(.tooLong)
            faults = CallRequest.Limits.lines
        } else {
            faults = buffer.withUnsafeBytes { answer(UnsafeRawBufferPointer(rebasing: $0[..<count]), number, now) }
        }
        if faults > 0, !mayErr(descriptor, faults, now) {
            self.count(.flood)
            return false
        }
        if reply.isEmpty { return true }
        let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
        if reply.bytes.withUnsafeBytes({ Glibc.send(descriptor, $0.baseAddress, $0.count, flags) }) >= 0 { return true }
        // Who does not read its answers is not waited for.
        if errno == EAGAIN || errno == ENOBUFS { self.count(.slowReader) }
        return false
    }

    /// Answers each line; how many could not be read.
    private func answer(_ bytes: UnsafeRawBufferPointer, _ number: UInt64, _ now: MonotonicInstant) -> Int {
        var lines = 0
        var faults = 0
        for range in CallLines(bytes) {
            lines += 1
            if lines > CallRequest.Limits.lines {
                reply.append(.tooManyLines)
                return faults + 1
            }
            switch CallRequest.parse(bytes, range) {
            case .allow(let place):
                if let name = names.name(UnsafeRawBufferPointer(rebasing: bytes[place])) {
                    reply.append(hands.ask(name, number, now))
                    continue
                }
                reply.append(CallRequest.Fault.name)
            case .report(let place, let pass, let outcome, let microseconds):
                if let name = names.name(UnsafeRawBufferPointer(rebasing: bytes[place])) {
                    hands.report(name, pass, number, outcome, microseconds, now)
                    continue
                }
                reply.append(CallRequest.Fault.name)
            case .malformed(let fault): reply.append(fault)
            }
            faults += 1
        }
        return faults
    }

    private func mayErr(_ descriptor: Int32, _ faults: Int, _ now: MonotonicInstant) -> Bool {
        self.faults &+= UInt64(faults)
        guard var connection = connections[descriptor] else { return false }
        let second = now.nanoseconds / 1_000_000_000
        if connection.second != second { connection.faults = 0 }
        connection.second = second
        connection.faults += faults
        connections[descriptor] = connection
        return connection.faults <= Limits.faults
    }
}
