import SupervisorCore

/// What is to happen in a fleet.
enum Deed: Sendable {
    case daemonBegins(Int)
    case timer(Int, TimerToken)
    /// The shim has something to report; the number is the connection's.
    case report(Int, UInt64)
    case workerReady(Int, InstanceID, UInt64)
    case workerEnds(Int, InstanceID, UInt64, Int32)
    case treeEnds(Int, InstanceID, UInt64)
    case releases(Int, UInt64, [String])
    case resumes(Int)
    // The store.
    case connects(Int, UInt64)
    case arrives(Int, UInt64, StoreRequest, LedgerCaller)
    case answered(Int, UInt64, UInt64, LedgerReply)
    case timesOut(Int, UInt64, UInt64)
    case pushed(Int, UInt64, BreakerEntry)
    case replicate
    case splitHeals, storeReturns
    // Workers' calls.
    case call(Int)
    case callEnds(Int, UInt64, FleetCall)
    case fault(FleetFault)
    case look
}

/// A call that a worker was let through for.
struct FleetCall: Sendable {
    var dependency: String
    var worker: InstanceID
    var generation: UInt64
    var number: UInt64
    var pass: UInt64
    var isProbe: Bool
    var microseconds: Int64
}

/// What is planned, earliest first; of two at one moment, the one that was planned first.
struct DeedQueue: Sendable {
    private struct Planned: Sendable {
        var at: Int64
        var order: UInt64
        var deed: Deed

        func isBefore(_ other: Planned) -> Bool { at == other.at ? order < other.order : at < other.at }
    }

    private var heap: [Planned] = []
    private var count: UInt64 = 0

    var nextAt: Int64? { heap.first?.at }

    mutating func plan(_ deed: Deed, at: Int64) {
        count += 1
        heap.append(Planned(at: at, order: count, deed: deed))
        var child = heap.count - 1
        while child > 0, heap[child].isBefore(heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func takeNext() -> (at: Int64, deed: Deed)? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        if heap.isEmpty { return (first.at, first.deed) }
        heap[0] = last
        var parent = 0
        while true {
            var least = 2 * parent + 1
            if least >= heap.count { break }
            if least + 1 < heap.count, heap[least + 1].isBefore(heap[least]) { least += 1 }
            if !heap[least].isBefore(heap[parent]) { break }
            heap.swapAt(least, parent)
            parent = least
        }
        return (first.at, first.deed)
    }
}
