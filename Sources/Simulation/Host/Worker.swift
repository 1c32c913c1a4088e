/// A worker's program, as the world sees it: when it is up, and what is wrong with it. Times are of the virtual clock.
struct Worker: Sendable {
    var generation: UInt64 = 0
    var isUp = false
    /// It has asked for this heartbeat period, nanoseconds.
    var period: Int64?
    /// It answers nobody, and obeys only SIGABRT and SIGKILL.
    var hungUntil: Int64 = 0
    var readinessFailsUntil: Int64 = 0
    var livenessFailsUntil: Int64 = 0
    /// Its readiness comes and goes every so often.
    var flapsUntil: Int64 = 0
    /// Every process of it ends soon after its start.
    var badUntil: Int64 = 0
    /// SIGKILL does not end it yet.
    var survivesKillUntil: Int64 = 0
    /// The next end of its main process leaves this many behind.
    var leavesChildren = 0
    /// It has been told to end.
    var isObeying = false
    /// Its datagrams are lost, late or doubled.
    var losesUntil: Int64 = 0
    var delaysUntil: Int64 = 0
    var repeatsUntil: Int64 = 0
    /// Requests in flight; whether it tells of them, has more of them whatever health says, or never ends one.
    var inFlight: UInt64 = 0
    var reports = false
    var isFed = false
    var isNeverDone = false

    /// A new process of it starts with a clean sheet, but for what is wrong with the program or the host.
    mutating func begin(_ generation: UInt64) {
        self.generation = generation
        isUp = false
        period = nil
        isObeying = false
        hungUntil = 0
        readinessFailsUntil = 0
        flapsUntil = 0
    }

    /// The faults stop.
    mutating func recover() {
        hungUntil = 0
        readinessFailsUntil = 0
        livenessFailsUntil = 0
        flapsUntil = 0
        badUntil = 0
        survivesKillUntil = 0
        losesUntil = 0
        delaysUntil = 0
        repeatsUntil = 0
        leavesChildren = 0
    }

    static let flapPeriod: Int64 = 25_000_000_000

    func isHung(_ now: Int64) -> Bool { now < hungUntil }

    func passesReadiness(_ now: Int64) -> Bool {
        if now < readinessFailsUntil { return false }
        return now >= flapsUntil || now / Self.flapPeriod % 2 == 0
    }

    func passesLiveness(_ now: Int64) -> Bool { now >= livenessFailsUntil }
}

/// What a worker may say by a datagram.
enum Saying: UInt32, Sendable {
    case ready, beat, trigger, stopping, status, period, extend, reloading, inFlight
}
