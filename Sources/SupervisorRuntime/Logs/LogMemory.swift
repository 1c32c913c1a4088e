import StatusBoard
import SupervisorCore
import Synchronization

/// The newest output of all instances, shared by the collector's thread, which adds, and by those who ask.
final class LogMemory: Sendable {
    private struct State: Sendable {
        var rings: [InstanceID: LogRing] = [:]
        var counters: [String: LogCounters] = [:]
        var next: UInt64
        /// Of all rings.
        var bytes = 0
        var observers = LogObservers()

        mutating func trimAll(share: Int) {
            bytes = 0
            for instance in rings.keys {
                rings[instance]?.trim(lines: LogLimits.ringLines, bytes: share)
                bytes += rings[instance]?.byteCount ?? 0
            }
        }
    }

    private let state: Mutex<State>
    /// Turns of the collector's thread: none are made while nothing happens.
    let turns = Atomic<UInt64>(0)
    /// The sequence number of the first line since the daemon began.
    let firstSequence: UInt64

    /// - Parameter wallClock: nanoseconds since 1970. Sequence numbers begin at its microseconds, so that they are
    ///   above those of an earlier daemon.
    init(wallClock: Int64) {
        firstSequence = UInt64(max(0, wallClock) / 1000) + (1 << 20)
        state = Mutex(State(next: firstSequence))
    }

    /// Adds the lines at `spans` of `bytes`, and what was counted with them.
    func add(
        _ instance: InstanceID,
        _ bytes: UnsafeRawBufferPointer,
        spans: ArraySlice<Range<Int>>,
        wallClock: Int64,
        counted: LogCounters
    ) {
        let observers = state.withLock { state in
            state.counters[instance.service, default: LogCounters()].add(counted)
            let count = state.rings.count + (state.rings[instance] == nil ? 1 : 0)
            // Three quarters, so that not every line makes all of them give way.
            let share = max(
                LogLimits.ringMinimumBytes,
                min(LogLimits.ringBytes, LogLimits.ringsBytes / 4 * 3 / max(1, count))
            )
            var ring = state.rings.removeValue(forKey: instance) ?? LogRing()
            state.bytes -= ring.byteCount
            for span in spans {
                ring.append(
                    UnsafeRawBufferPointer(rebasing: bytes[span].prefix(share)),
                    sequence: state.next,
                    wallClock: wallClock
                )
                state.next &+= 1
            }
            ring.trim(lines: LogLimits.ringLines, bytes: share)
            state.bytes += ring.byteCount
            state.rings[instance] = ring
            if state.bytes > max(LogLimits.ringsBytes, count * LogLimits.ringMinimumBytes) {
                state.trimAll(share: share)
            }
            return state.observers.all
        }
        for observer in observers { observer() }
    }

    func countDropped(_ bytes: UInt64, service: String) {
        state.withLock { $0.counters[service, default: LogCounters()].droppedBytes &+= bytes }
    }

    /// Forgets the lines; the service's figures stay, since a counter must not go back.
    func forget(_ instance: InstanceID) {
        state.withLock { state in
            if let ring = state.rings.removeValue(forKey: instance) { state.bytes -= ring.byteCount }
        }
    }

    /// Bytes remembered of all instances.
    var byteCount: Int { state.withLock { $0.bytes } }

    var counters: [String: LogCounters] { state.withLock { $0.counters } }

    func observe(_ wake: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        let token = state.withLock { $0.observers.add(wake) }
        return { [weak self] in self?.state.withLock { $0.observers.remove(token) } }
    }

    /// The newest lines in order, and what is known of each instance of the target.
    func tail(_ target: Target?, limit: Int) -> (lines: [LogLine], known: LogTail.Known) {
        state.withLock { state in
            var lines: [LogLine] = []
            var known: LogTail.Known = [:]
            for (instance, ring) in state.rings where Self.matches(instance, target) {
                lines += ring.newest(limit, of: instance)
                known[instance] = ring.oldest
            }
            lines.sort { $0.sequence < $1.sequence }
            return (lines.suffix(max(0, limit)), known)
        }
    }

    func lines(after sequence: UInt64, _ target: Target?, limit: Int) -> [LogLine] {
        state.withLock { state in
            var lines: [LogLine] = []
            for (instance, ring) in state.rings where Self.matches(instance, target) {
                lines += ring.lines(after: sequence, limit: limit, of: instance)
            }
            lines.sort { $0.sequence < $1.sequence }
            return Array(lines.prefix(max(0, limit)))
        }
    }

    private static func matches(_ instance: InstanceID, _ target: Target?) -> Bool {
        switch target {
        case nil: true
        case .service(let name): instance.service == name
        case .instance(let id): instance == id
        }
    }
}

extension LogCounters {
    mutating func add(_ other: LogCounters) {
        bytes &+= other.bytes
        droppedBytes &+= other.droppedBytes
        cutLines &+= other.cutLines
    }
}
