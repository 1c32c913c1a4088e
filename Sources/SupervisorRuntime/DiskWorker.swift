import LinuxPlatform
import SupervisorCore
import Synchronization

/// Writes the intents on a thread of its own: a slow disk delays nobody. Only the newest version counts.
final class DiskWorker: Sendable {
    let store: IntentStore
    private let wake: WakeDescriptor
    private let state = Mutex(State())
    private let onFailure: @Sendable (String) -> Void

    private struct State: Sendable {
        var pending: Intents?
        var writing = false
        /// Called when everything asked for was written, or could not be.
        var waiting: [@Sendable () -> Void] = []
    }

    init(store: IntentStore, onFailure: @escaping @Sendable (String) -> Void) throws(LogError) {
        self.store = store
        self.onFailure = onFailure
        wake = try WakeDescriptor()
        try BackgroundThread.start("eider-intents") { [self] in
            while wake.wait(until: .max) {
                wake.clear()
                writePending()
            }
        }
    }

    func save(_ intents: Intents) {
        state.withLock { $0.pending = intents }
        wake.signal()
    }

    /// Calls `body` once what was asked for so far is on disk, or has failed to get there: at once when nothing is to
    /// be written, else on the worker's thread.
    func afterWrites(_ body: @escaping @Sendable () -> Void) {
        let idle = state.withLock { state in
            if state.pending == nil, !state.writing { return true }
            state.waiting.append(body)
            return false
        }
        if idle { body() }
    }

    /// Waits until everything asked for was written, for at most `patience`: before the daemon exits.
    func finish(patience: Duration) {
        let deadline = MonotonicClock.now().advanced(by: patience)
        while state.withLock({ $0.pending != nil || $0.writing }), MonotonicClock.now() < deadline {
            // Nothing else is left to do in this process.
            _ = wake.wait(until: MonotonicClock.now().advanced(by: .milliseconds(1)).nanoseconds)
        }
    }

    private func writePending() {
        while true {
            let next = state.withLock { state in
                state.writing = state.pending != nil
                defer { state.pending = nil }
                return state.pending
            }
            guard let next else { break }
            do throws(SystemError) {
                try store.save(next)
            } catch {
                onFailure("\(error); what operators stopped is not kept over a reboot")
            }
        }
        let waiting = state.withLock { state in
            // Something new may have been asked for meanwhile; its own turn answers those who wait for it.
            guard state.pending == nil else { return [@Sendable () -> Void]() }
            defer { state.waiting = [] }
            return state.waiting
        }
        for body in waiting { body() }
    }
}
