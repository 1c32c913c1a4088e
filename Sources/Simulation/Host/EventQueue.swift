/// What is to happen in the world, without what it needs to happen: that is looked up when it is due.
struct Happening: Sendable {
    enum Kind: UInt8, Sendable {
        /// A timer of the daemon's; `number` is its token's.
        case timer
        /// A probe is due; `number` is its watch's, `detail` its kind.
        case probe
        /// A probe that took its time has a result; `number` is the generation, `detail` kind and outcome.
        case probeResult
        /// The shim has reported something; `number` is the connection's.
        case report
        /// A datagram reaches the notify socket; `number` is the generation, `detail` the message.
        case datagram
        /// A worker is up, gives a heartbeat, ends, or does what it was told; `number` is the generation.
        case workerUp, workerBeats, workerEnds, workerObeys, childrenEnd, treeEnds
        case fault, operatorActs, daemonBegins, shimConnects, shimSpeaks, pressureMeasured, diskHasRoom, probersSeen,
            connectionsCounted, operatorDrains
        /// Requests in flight change; `number` is the generation.
        case workChanges
        /// Everything that is published is looked at.
        case look
    }

    /// Nanoseconds of the virtual clock.
    var at: Int64
    /// Of two at one moment, the one that was planned first is first.
    var order: UInt64 = 0
    var kind: Kind
    var slot: Int32 = -1
    var detail: UInt32 = 0
    var number: UInt64 = 0

    /// It happens in the daemon, which a stall of the host makes late; everything else moves with the host.
    var isOfDaemon: Bool {
        switch kind {
        case .timer, .probe: true
        default: false
        }
    }
}

/// What is planned, earliest first: a binary heap.
struct EventQueue: Sendable {
    private var heap: [Happening] = []
    private var planned: UInt64 = 0

    var next: Happening? { heap.first }

    mutating func plan(_ happening: Happening) {
        var happening = happening
        planned += 1
        happening.order = planned
        heap.append(happening)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            if !Self.isEarlier(heap[child], heap[parent]) { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    mutating func takeNext() -> Happening? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        if heap.isEmpty { return first }
        heap[0] = last
        sink(0)
        return first
    }

    /// The host stood still for `time`: what happens in it happens later; what the daemon waits for is overdue.
    mutating func stall(_ time: Int64) {
        for index in heap.indices where !heap[index].isOfDaemon { heap[index].at += time }
        for index in stride(from: heap.count / 2, through: 0, by: -1) where index < heap.count { sink(index) }
    }

    private mutating func sink(_ start: Int) {
        var parent = start
        while true {
            var least = 2 * parent + 1
            if least >= heap.count { return }
            if least + 1 < heap.count, Self.isEarlier(heap[least + 1], heap[least]) { least += 1 }
            if !Self.isEarlier(heap[least], heap[parent]) { return }
            heap.swapAt(least, parent)
            parent = least
        }
    }

    private static func isEarlier(_ left: Happening, _ right: Happening) -> Bool {
        left.at == right.at ? left.order < right.order : left.at < right.at
    }
}
