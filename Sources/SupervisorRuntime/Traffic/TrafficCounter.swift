import LinuxPlatform
import SupervisorCore
import Synchronization

/// Counts connections on a thread of its own, which begins with the first question and ends when nobody has asked for
/// a while: the kernel walks its whole table for an answer, and supervision does not wait for that.
final class TrafficCounter: Sendable {
    struct Question: Sendable {
        var services: [String]
        var targets: [TrafficTarget]
    }

    struct Answer: Sendable {
        /// nil where the kernel does not tell.
        var figures: [TrafficFigure]?
        /// Why there are none, or not all; nil when there is nothing to say.
        var problem: String?
    }

    private struct State {
        /// The thread's, while there is one.
        var wake: WakeDescriptor?
        /// Being answered.
        var present: [String]?
        var next: Question?
    }

    /// How long the thread waits for another question: longer than the book's memory is good for.
    private static let patience: Duration = .seconds(3)
    /// Bytes. The walk through the kernel's answer is flat.
    private static let stackBytes = 256 << 10

    private let state = Mutex(State())
    private let deliver: @Sendable (Answer) -> Void

    /// - Parameter deliver: called with each answer, on any thread.
    init(deliver: @escaping @Sendable (Answer) -> Void) {
        self.deliver = deliver
    }

    /// Asks, and does not wait. A question that comes while one about the same services is being answered is answered
    /// with it.
    func ask(_ question: Question) {
        do {
            try state.withLock { state in
                if let present = state.present, Set(present).isSuperset(of: question.services) { return }
                state.next = question
                if let wake = state.wake { return wake.signal() }
                let wake = try WakeDescriptor()
                try OwnThread.start("eider-traffic", stackBytes: Self.stackBytes) { self.live(wake) }.letGo()
                state.wake = wake
            }
        } catch {
            state.withLock { $0.next = nil }
            deliver(Answer(figures: nil, problem: "cannot count connections: \(error)"))
        }
    }

    private func live(_ wake: WakeDescriptor) {
        var book = ConnectionBook()
        while true {
            while let question = take() {
                let answer = Self.answer(question, &book)
                // Whoever asks from here on may have read this answer already, and wants another.
                state.withLock { $0.present = nil }
                deliver(answer)
            }
            let deadline = MonotonicClock.now().advanced(by: Self.patience).nanoseconds
            if wake.wait(until: deadline) {
                wake.clear()
            } else if end() {
                return
            }
        }
    }

    private func take() -> Question? {
        state.withLock { state in
            let question = state.next
            state.next = nil
            state.present = question?.services
            return question
        }
    }

    /// False when somebody has just asked.
    private func end() -> Bool {
        state.withLock { state in
            if state.next != nil { return false }
            state.wake = nil
            return true
        }
    }

    private static func answer(_ question: Question, _ book: inout ConnectionBook) -> Answer {
        let ports = question.targets.reduce(into: Set<UInt16>()) { $0.formUnion($1.ports) }
        do throws(SystemError) {
            guard let listing = try ConnectionTable.list(ports: ports) else {
                return Answer(figures: nil, problem: "cannot count connections: the kernel does not tell (inet_diag)")
            }
            let figures = book.look(listing, at: MonotonicClock.now(), for: question.targets)
            if listing.isComplete { return Answer(figures: figures, problem: nil) }
            let most = ConnectionTable.mostConnections
            return Answer(
                figures: figures,
                problem: "cannot count all connections: there are more than \(most), or they come and go too fast; "
                    + "what is said of them is the least"
            )
        } catch {
            return Answer(figures: nil, problem: "cannot count connections: \(error)")
        }
    }
}
