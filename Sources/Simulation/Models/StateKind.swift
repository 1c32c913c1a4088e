package import SupervisorCore

/// A state of an instance, without what it carries.
package enum StateKind: Int, CaseIterable, Comparable, Sendable {
    case stopped, waiting, queued, held, starting, ready, running, stopping, backoff, completed, failed

    package init(_ state: InstanceState) {
        self =
            switch state {
            case .stopped: .stopped
            case .waiting: .waiting
            case .queued: .queued
            case .held: .held
            case .starting: .starting
            case .ready: .ready
            case .running: .running
            case .stopping: .stopping
            case .backoff: .backoff
            case .completed: .completed
            case .failed: .failed
            }
    }

    package static func < (left: StateKind, right: StateKind) -> Bool { left.rawValue < right.rawValue }

    /// The states that may follow at once, as `InstanceState` documents them.
    package var successors: Set<StateKind> {
        switch self {
        case .stopped: [.waiting]
        case .waiting: [.queued, .stopped]
        case .queued: [.starting, .held, .stopped]
        case .held: [.queued, .stopped]
        case .starting: [.ready, .completed, .stopping, .backoff, .queued, .failed, .stopped]
        case .ready: [.running, .stopping, .queued, .backoff, .failed, .stopped]
        case .running: [.ready, .stopping, .queued, .backoff, .failed, .stopped]
        case .stopping: [.stopped, .queued, .backoff, .completed, .failed]
        case .backoff: [.queued, .stopped]
        case .completed: [.queued, .stopped]
        case .failed: [.waiting, .stopped]
        }
    }

    /// Written out, since a set is slow to ask for each event.
    package func mayBecome(_ other: StateKind) -> Bool {
        Self.successorTable[rawValue] & (1 << UInt16(other.rawValue)) != 0
    }

    private static let successorTable: [UInt16] = allCases.map { kind in
        kind.successors.reduce(0) { $0 | (1 << UInt16($1.rawValue)) }
    }

    package static let withProcess: Set<StateKind> = [.starting, .ready, .running, .stopping]

    package var hasProcess: Bool {
        switch self {
        case .starting, .ready, .running, .stopping: true
        case .stopped, .waiting, .queued, .held, .backoff, .completed, .failed: false
        }
    }
}
