import SupervisorCore

/// One host of a fleet: the real core, and models of what is around it. What happens to it is for `FleetWorld`.
struct FleetHost: Sendable {
    struct Worker: Sendable {
        var generation: UInt64
        var release: String
        var isReady = false
        /// It has been told to end, or is being killed.
        var isEnding = false
    }

    let name: String
    var spec: FleetSpec
    var machine: FleetMachine
    var shim = ShadowShim()
    var timers = ShadowTimers()
    var books = HostBooks()
    var disk = Intents()

    /// The host's monotonic clock is ahead of the virtual one by this much.
    var clockAhead: Int64
    var lives = false
    /// Counts the daemons; what is for a former one is dropped.
    var epoch: UInt64 = 0
    var reportsPlanned = 0
    var pausedUntil: Int64 = 0
    /// What happened while it was paused.
    var backlog: [Event] = []
    var workers: [InstanceID: Worker] = [:]
    /// By service: what its executable holds.
    var content: [String: String] = [:]
    var nextOperation: OperationID = 1

    // The way to the store.
    var isLinked = false
    /// Counts the connections.
    var session: UInt64 = 0
    var attempts = 0
    var side = 0
    var cutUntil: Int64 = 0
    var arrivesAt: Int64 = 0
    var answersAt: Int64 = 0
    /// Requests that nobody has answered yet.
    var open: [UInt64] = []

    // What is wrong with it.
    var startsFailUntil: Int64 = 0
    var startFault = SpawnFailure(stage: .clone, errno: 11, path: "")
    var crashesUntil: Int64 = 0

    init(_ name: String, _ spec: FleetSpec, clockAhead: Int64, at now: Int64, seed: UInt64) {
        self.name = name
        self.spec = spec
        self.clockAhead = clockAhead
        machine = FleetMachine(spec: spec, now: MonotonicInstant(nanoseconds: now + clockAhead), seed: seed)
        for service in spec.services { content[service.name] = "a1" }
    }

    func instant(_ now: Int64) -> MonotonicInstant { MonotonicInstant(nanoseconds: now + clockAhead) }

    /// What would be started now.
    func release(of service: ServiceSpec) -> String {
        service.release.isEmpty ? content[service.name] ?? "a1" : service.release
    }
}
