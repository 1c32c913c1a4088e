package import SupervisorCore

/// The daemon's timers, as a value: they die with it.
package struct ShadowTimers {
    package struct Armed: Equatable {
        package var token: TimerToken
        package var at: MonotonicInstant
    }

    /// In the order in which they were started.
    package private(set) var armed: [Armed] = []

    package init() {}

    package mutating func obey(_ effect: Effect) throws {
        switch effect {
        case .startTimer(let token, let at):
            if let other = armed.first(where: { $0.token.instance == token.instance }) {
                throw ShadowViolation("\(token) is started while \(other.token) runs")
            }
            armed.append(Armed(token: token, at: at))
        case .cancelTimer(let token):
            guard let index = armed.firstIndex(where: { $0.token == token }) else {
                throw ShadowViolation("\(token) is cancelled but does not run")
            }
            armed.remove(at: index)
        default: break
        }
    }

    /// The timer that fires next; of two at one moment the older.
    package var next: Armed? {
        var earliest: Armed?
        for timer in armed where earliest.map({ timer.at < $0.at }) ?? true { earliest = timer }
        return earliest
    }

    package func timer(of instance: InstanceID?) -> Armed? {
        armed.first { $0.token.instance == instance }
    }

    package mutating func remove(_ token: TimerToken) {
        armed.removeAll { $0.token == token }
    }

    package mutating func removeAll() {
        armed = []
    }
}
