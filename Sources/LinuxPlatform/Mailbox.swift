internal import CLinux
import Synchronization

/// How other threads hand work to a reactor's thread: a list under a lock, and an event descriptor to wake it.
public final class Mailbox<Letter: Sendable>: Sendable {
    private let event: Int32
    private let letters = Mutex<[Letter]>([])

    /// - Throws: `SystemError` when the kernel refuses the descriptor.
    public init() throws(SystemError) {
        event = try SystemError.check(clinux_eventfd(), "create an event descriptor")
    }

    deinit { _ = clinux_close(event) }

    /// Has `handle` called on the reactor's thread with each letter, in the order of posting.
    public func open(on reactor: Reactor, _ handle: @escaping (Letter) -> Void) throws(SystemError) {
        try reactor.watch(event) { [self] _ in
            for letter in take() { handle(letter) }
        }
    }

    /// Hands over a letter. From any thread; never blocks.
    public func post(_ letter: Letter) {
        let first = letters.withLock { letters in
            letters.append(letter)
            return letters.count == 1
        }
        // One wakeup is enough for all that is posted before it is taken.
        if first { _ = clinux_eventfd_signal(event) }
    }

    private func take() -> [Letter] {
        _ = clinux_eventfd_clear(event)
        return letters.withLock { letters in
            let taken = letters
            letters.removeAll(keepingCapacity: letters.count < 256)
            return taken
        }
    }
}
