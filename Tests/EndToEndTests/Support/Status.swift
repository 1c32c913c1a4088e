/// `status --json`, as INTERFACE.md has it.
struct Status: Decodable {
    struct Node: Decodable {
        var name: String
        var state: String
        var intent: String
        var since: String
        var reason: String?
        var first_start_finished: Bool
    }

    struct LastExit: Decodable {
        var code: Int32?
        var signal: String?
        var cause: String
        var at: String
    }

    struct Instance: Decodable {
        var name: String
        var state: String
        var reason: String?
        var pid: Int32?
        var ready: Bool
        var restarts: UInt64
        var uptime_seconds: Double?
        var next_start_in_seconds: Double?
        var in_flight: UInt64?
        var last_exit: LastExit?
        var generation: UInt64
    }

    struct Service: Decodable {
        var name: String
        var state: String
        var reason: String?
        var ready: Int
        var desired: Int
        var breaker: String
        var instances: [Instance]
    }

    var node: Node
    var services: [Service]

    var instances: [Instance] { services.flatMap(\.instances) }

    subscript(_ name: String) -> Instance? { instances.first { $0.name == name } }
}

/// A line of `events --json`.
struct EventLine: Decodable {
    var sequence: UInt64
    var at: String
    var subject: String?
    var kind: String
    var text: String

    /// Seconds since midnight, with their fraction: enough to measure what happens within a test.
    var seconds: Double {
        let time = at.split(separator: "T").last?.dropLast() ?? ""
        let parts = time.split(separator: ":").compactMap { Double($0) }
        return parts.count == 3 ? parts[0] * 3600 + parts[1] * 60 + parts[2] : 0
    }
}

/// A line of `logs --json`.
struct OutputLine: Decodable {
    var sequence: UInt64
    var at: String
    var instance: String
    var text: String
}

/// `drain-status --json`, as far as tests look at it.
struct DrainReport: Decodable {
    struct Prober: Decodable {
        var user_agent: String
        var path: String
        var told: String
        var haproxy_state: String?
        var acknowledged: Bool
        var text: String
    }

    struct Instance: Decodable {
        var name: String
        var state: String
        var in_flight: UInt64?
    }

    struct Lost: Decodable {
        var name: String
        var in_flight: UInt64?
    }

    var state: String
    var phase: String?
    var reason: String?
    var deadline_reached: Bool
    var waits_for: String?
    var probers: [Prober]
    var instances: [Instance]
    var lost: [Lost]
}
