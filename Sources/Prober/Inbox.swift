import Glibc
import LinuxPlatform
import NIOCore
import NIOPosix
import SupervisorCore
import Synchronization

/// What other threads tell the prober's loop, and the life of its thread.
final class Inbox: Sendable {
    private enum Phase {
        case idle
        /// The thread runs; its loop does not yet.
        case starting(OwnThread)
        case running(OwnThread, any EventLoop, NIOLoopBound<ProbeLoop>)
        case stopped
    }

    private struct State {
        var phase = Phase.idle
        /// By key the last word: what to watch, or nothing.
        var wishes: [ProbeKey: ProbeWish?] = [:]
        var lookups: [Lookups.Finding] = []
        var lastActivity: MonotonicInstant?
        /// The loop has been told that something is there.
        var isAwake = false
    }

    let limits: ProberLimits
    let clock: @Sendable () -> MonotonicInstant
    let deliver: @Sendable ([ProbeReport]) -> Void
    private let state = Mutex(State())

    init(
        limits: ProberLimits,
        clock: @escaping @Sendable () -> MonotonicInstant,
        deliver: @escaping @Sendable ([ProbeReport]) -> Void
    ) {
        self.limits = limits
        self.clock = clock
        self.deliver = deliver
    }

    var lastActivity: MonotonicInstant? { state.withLock { $0.lastActivity } }

    // MARK: From any thread

    func post(_ key: ProbeKey, _ wish: ProbeWish?) {
        let now = clock()
        state.withLock { state in
            switch state.phase {
            case .stopped: return
            case .idle, .starting:
                // Nothing is watched yet that would have to be ended.
                if let wish { state.wishes.updateValue(wish, forKey: key) } else { state.wishes[key] = nil }
                if state.wishes.isEmpty { state.lastActivity = nil }
            case .running:
                state.wishes.updateValue(wish, forKey: key)
            }
            if wish != nil, state.lastActivity == nil { state.lastActivity = now }
            if case .idle = state.phase, !state.wishes.isEmpty {
                // Without a thread the next call tries again.
                if let thread = try? OwnThread.start("eider-prober", { self.live() }) {
                    state.phase = .starting(thread)
                }
            }
            wake(&state)
        }
    }

    func post(_ finding: Lookups.Finding) {
        state.withLock { state in
            guard case .running = state.phase else { return }
            state.lookups.append(finding)
            wake(&state)
        }
    }

    func stop() {
        let phase = state.withLock { state in
            let phase = state.phase
            state = State()
            state.phase = .stopped
            return phase
        }
        switch phase {
        case .idle, .stopped: break
        case .starting(let thread): thread.join()
        case .running(let thread, let loop, let probes):
            // Not after the loop has stopped: it runs what it was given before.
            loop.execute { probes.value.shutDown() }
            loop.shutdownGracefully { _ in }
            thread.join()
        }
    }

    /// Under the lock, so that no loop is woken that has been stopped.
    private func wake(_ state: inout State) {
        guard case .running(_, let loop, let probes) = state.phase, !state.isAwake else { return }
        state.isAwake = true
        loop.execute { probes.value.takeMail() }
    }

    // MARK: From the prober's thread

    /// The loop runs: remembers when. Nothing where nothing is watched or about to be.
    func showActivity(_ now: MonotonicInstant, watches: Bool) {
        state.withLock { state in
            guard case .running = state.phase else { return }
            state.lastActivity = watches || !state.wishes.isEmpty ? now : nil
        }
    }

    func takeMail() -> (wishes: [ProbeKey: ProbeWish?], lookups: [Lookups.Finding]) {
        state.withLock { state in
            state.isAwake = false
            let mail = (state.wishes, state.lookups)
            state.wishes = [:]
            state.lookups = []
            return mail
        }
    }

    private func live() {
        while !Self.hasDescriptors() {
            if isStopped { return }
            var pause = timespec(tv_sec: 0, tv_nsec: 0)
            pause.tv_nsec = Int(min(999_999_999, max(1, limits.startPause.clampedNanoseconds)))
            nanosleep(&pause, nil)
        }
        MultiThreadedEventLoopGroup.withCurrentThreadAsEventLoop { loop in
            let probes = NIOLoopBound(ProbeLoop(loop: loop, inbox: self), eventLoop: loop)
            let isWanted = self.state.withLock { state in
                guard case .starting(let thread) = state.phase else { return false }
                state.phase = .running(thread, loop, probes)
                self.wake(&state)
                return true
            }
            if !isWanted { loop.shutdownGracefully { _ in } }
        }
    }

    private var isStopped: Bool {
        state.withLock { if case .stopped = $0.phase { true } else { false } }
    }

    /// NIO ends the process when it gets no descriptors for a loop (epoll, eventfd and timerfd), so they are tried.
    private static func hasDescriptors() -> Bool {
        let kind = CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
        let tried = (0..<4).map { _ in Glibc.socket(AF_UNIX, kind, 0) }
        for descriptor in tried where descriptor >= 0 { Glibc.close(descriptor) }
        return tried.allSatisfy { $0 >= 0 }
    }
}
