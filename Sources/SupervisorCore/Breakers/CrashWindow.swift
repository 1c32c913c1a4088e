/// The last crashes of one release on this host: an exact ring of as many as trip the breaker.
///
/// Crashes that are the host's own fault count here, but not for the fleet: `shared` leaves them out.
struct CrashWindow: Sendable, Equatable {
    struct Crash: Sendable, Equatable {
        /// Milliseconds.
        var at: Int64
        var isOfHost: Bool
    }

    private(set) var crashes: [Crash] = []

    mutating func add(_ crash: Crash, capacity: Int) {
        crashes.append(crash)
        if crashes.count > capacity { crashes.removeFirst(crashes.count - capacity) }
    }

    mutating func clear() { crashes = [] }

    /// Drops what is older than the window.
    mutating func expire(_ now: Int64, window: Int64) {
        crashes.removeAll { now - $0.at >= window }
    }

    var count: Int { crashes.count }

    /// Those that say something of the release.
    var shared: Int { crashes.count { !$0.isOfHost } }

    /// When the oldest one leaves the window; nil when there is none.
    func expiry(window: Int64) -> Int64? { crashes.first.map { $0.at + window } }
}
