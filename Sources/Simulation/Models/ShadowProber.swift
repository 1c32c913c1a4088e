package import SupervisorCore

/// Whoever runs the probes for the daemon, as a value: keeps the schedule that `Effect.watch` asks for, and throws
/// when an effect is one that must never be asked of it. What a probe finds is for its owner to say.
package struct ShadowProber {
    package struct Watch: Equatable {
        package var key: ProbeKey
        package var policy: ProbePolicy
        /// When it is run next.
        package var at: MonotonicInstant
        /// Differs for every watch of this prober, so that a schedule made elsewhere knows when it is old.
        package var number: UInt64
    }

    package private(set) var watches: [ProbeKey: Watch] = [:]
    private var number: UInt64 = 0

    package init() {}

    /// Keeps the schedule. Effects that are not for the prober do nothing.
    package mutating func obey(_ effect: Effect, at now: MonotonicInstant) throws {
        switch effect {
        case .watch(let key, let policy, let firstAt):
            if watches[key] != nil { throw ShadowViolation("\(key) is watched twice") }
            if firstAt < now { throw ShadowViolation("\(key) is to be run first in the past") }
            number += 1
            watches[key] = Watch(key: key, policy: policy, at: firstAt, number: number)
        case .unwatch(let key):
            if watches.removeValue(forKey: key) == nil { throw ShadowViolation("\(key) is not watched") }
        default: break
        }
    }

    /// The probe that is run next; of several at one moment the oldest watch.
    package var next: Watch? {
        var earliest: Watch?
        for watch in watches.values {
            guard let known = earliest else {
                earliest = watch
                continue
            }
            if (watch.at, watch.number) < (known.at, known.number) { earliest = watch }
        }
        return earliest
    }

    /// The probe was run: the next run is a period later.
    package mutating func ran(_ key: ProbeKey) {
        guard let watch = watches[key] else { return }
        watches[key]?.at = watch.at.advanced(by: watch.policy.period)
    }

    package mutating func removeAll() {
        watches = [:]
    }
}
