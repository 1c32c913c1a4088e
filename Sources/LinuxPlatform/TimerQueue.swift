public import SupervisorCore

/// Deadlines in order: a binary heap whose removed entries are dropped when they surface. The top is always live.
public struct TimerQueue<Token: Hashable & Sendable>: Sendable {
    private struct Entry {
        var deadline: MonotonicInstant
        var token: Token
    }

    private var heap: [Entry] = []
    private var live: [Token: MonotonicInstant] = [:]

    public init() {}

    public var isEmpty: Bool { live.isEmpty }

    /// The earliest deadline.
    public var next: MonotonicInstant? { heap.first?.deadline }

    /// Adds a token, or moves it.
    public mutating func insert(_ token: Token, at deadline: MonotonicInstant) {
        live[token] = deadline
        dropDeadTop()
        heap.append(Entry(deadline: deadline, token: token))
        siftUp(heap.count - 1)
        // Dead entries are bounded by the live ones.
        if heap.count > 2 * live.count + 64 { compact() }
    }

    /// Removes a token; nothing when it is not there.
    public mutating func remove(_ token: Token) {
        live[token] = nil
        dropDeadTop()
    }

    /// Takes the earliest token whose deadline is not after `now`.
    public mutating func popFirst(dueAt now: MonotonicInstant) -> Token? {
        dropDeadTop()
        guard let first = heap.first, first.deadline <= now else { return nil }
        live[first.token] = nil
        removeTop()
        dropDeadTop()
        return first.token
    }

    private mutating func dropDeadTop() {
        while let first = heap.first, live[first.token] != first.deadline { removeTop() }
    }

    private mutating func removeTop() {
        guard let last = heap.popLast(), !heap.isEmpty else { return }
        heap[0] = last
        siftDown(0)
    }

    private mutating func compact() {
        let entries = heap.filter { live[$0.token] == $0.deadline }
        heap.removeAll(keepingCapacity: true)
        for entry in entries {
            heap.append(entry)
            siftUp(heap.count - 1)
        }
    }

    private mutating func siftUp(_ start: Int) {
        var child = start
        while child > 0 {
            let parent = (child - 1) / 2
            if heap[parent].deadline <= heap[child].deadline { return }
            heap.swapAt(parent, child)
            child = parent
        }
    }

    private mutating func siftDown(_ start: Int) {
        var parent = start
        while true {
            var least = parent
            let left = 2 * parent + 1
            if left < heap.count, heap[left].deadline < heap[least].deadline { least = left }
            if left + 1 < heap.count, heap[left + 1].deadline < heap[least].deadline { least = left + 1 }
            if least == parent { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
