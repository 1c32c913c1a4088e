import FoundationEssentials

// The daemon's answers, as far as people are shown them. What is not understood is left out, and what a daemon of
// another version does not say is nil.

struct ErrorDocument: Decodable {
    struct Body: Decodable {
        var code: String
        var message: String
    }

    var error: Body
}

struct StatusAnswer: Decodable {
    struct Node: Decodable {
        var name: String
        var state: String
        var reason: String?
        var since: String
        var firstStartFinished: Bool?
        var heartbeatAgeSeconds: Double?
        var warning: String?
        var hold: String?
        var holdReason: String?
        var drain: DrainFacts?
    }

    struct Service: Decodable {
        var name: String
        var state: String
        var reason: String?
        var ready: Int
        var desired: Int
        var breaker: String?
        var since: String?
        var critical: Bool?
        var restarts: UInt64?
        var rolling: RollFacts?
        var instances: [Instance]
    }

    struct Instance: Decodable {
        var name: String
        var state: String
        var reason: String?
        var pid: Int?
        var ready: Bool
        var restarts: UInt64
        var uptimeSeconds: Double?
        var nextStartInSeconds: Double?
        var inFlight: UInt64?
        var inFlightSource: String?
        var lastExit: ExitAnswer?
        var since: String?
        var crashesInARow: Int?
        var statusText: String?
        var stoppedBy: String?
        var probes: [ProbeAnswer]?
        var suppressed: [SuppressionAnswer]?
    }

    var at: String?
    var node: Node
    var services: [Service]
}

struct ExitAnswer: Decodable {
    var cause: String
    var at: String
    var text: String?
    var explanation: String?
}

struct ProbeAnswer: Decodable {
    var kind: String
    var state: String
    var failuresInARow: Int?
    var failingSince: String?
    var text: String?
    var unknown: String?
}

struct SuppressionAnswer: Decodable {
    var rule: String
    var text: String
    var since: String
}

/// A drain, as `status` and `why` tell of it.
struct DrainFacts: Decodable {
    var target: String
    var phase: String
    var by: String
    var reason: String?
    var secondsLeft: Double?
    var waitsFor: String?
}

/// A rolling restart, as `status` and `why` tell of it.
struct RollFacts: Decodable {
    var replaced: Int
    var total: Int
    var by: String?
    var reason: String?
    var text: String
}

struct WhyAnswer: Decodable {
    /// The facts about one subject.
    struct Facts: Decodable {
        struct Policy: Decodable {
            var text: String
            var health: String?
        }

        struct NextStart: Decodable {
            var at: String
            var inSeconds: Double
            var attempt: Int?
        }

        var target: String
        var state: String
        var reason: String?
        var since: String
        var pid: Int?
        var uptimeSeconds: Double?
        var crashesInARow: Int?
        var stoppedBy: String?
        var statusText: String?
        var lastExit: ExitAnswer?
        var policy: Policy?
        var nextStart: NextStart?
        var unblock: [String]?
        var hold: String?
        var holdReason: String?
        var drain: DrainFacts?
        var rolling: RollFacts?
        var breaker: String?
        var breakerText: String?
        var inFlightText: String?
        var probes: [ProbeAnswer]?
        var suppressed: [SuppressionAnswer]?
    }

    var at: String
    var kind: String
    var facts: Facts
    var instances: [Facts]
    var events: [EventLine]
    var logs: [LogText]

    private enum CodingKeys: String, CodingKey {
        case at, kind, instances, events, logs
    }

    init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        at = try values.decode(String.self, forKey: .at)
        kind = try values.decode(String.self, forKey: .kind)
        instances = try values.decodeIfPresent([Facts].self, forKey: .instances) ?? []
        events = try values.decodeIfPresent([EventLine].self, forKey: .events) ?? []
        logs = try values.decodeIfPresent([LogText].self, forKey: .logs) ?? []
        facts = try Facts(from: decoder)
    }
}

/// How far a drain is.
struct DrainAnswer: Decodable {
    struct Notice: Decodable {
        var mode: String
        var minSeconds: Double
        var maxSeconds: Double
        var secondsLeftAtMost: Double?
    }

    struct Prober: Decodable {
        var address: String
        var userAgent: String
        var path: String
        var told: String
        var acknowledged: Bool
        var text: String
        var periodSeconds: Double?
    }

    struct Instance: Decodable {
        var name: String
        var state: String
        var inFlight: UInt64?
        var inFlightSource: String?
    }

    struct Lost: Decodable {
        var name: String
        var inFlight: UInt64?
    }

    var target: String
    var state: String
    var partOf: String?
    var phase: String?
    var by: String?
    var reason: String?
    var since: String?
    var deadline: String?
    var secondsLeft: Double?
    var deadlineReached: Bool
    var waitsFor: String?
    var notice: Notice?
    var secondsSinceNewConnection: Double?
    var probers: [Prober]
    var instances: [Instance]
    var lost: [Lost]
    var others: [DrainAnswer]?
}

/// The answer to a drain that was asked for.
struct DrainedAnswer: Decodable {
    var result: String
    var text: String?
    var drain: DrainAnswer
}

struct ReloadAnswer: Decodable {
    struct Step: Decodable {
        var action: String
        var instance: String
        var reason: String
    }

    struct Plan: Decodable {
        var steps: [Step]
        var inForce: [String]
        var needsDaemonRestart: [String]
    }

    var result: String
    var plan: Plan
}

struct LogText: Decodable {
    var at: String
    var instance: String
    var text: String
}

struct EventLine: Decodable {
    var at: String
    var subject: String?
    var kind: String
    var text: String
}

/// A line of a stream, whatever it is.
struct StreamAnswer: Decodable {
    var snapshot: StatusAnswer?
    var dropped: UInt64?
    var of: String?
}

struct BreakersAnswer: Decodable {
    struct Breaker: Decodable {
        var name: String
        var kind: String
        var state: String
        var since: String
        var reason: String?
        var retryInSeconds: Double?
        var openedBy: String?
        var votes: Int?
        var quorum: Int?
        var probeHolder: String?
        var scope: String?
        var voters: [String]?
        var suspects: [String]?
        var openings: Int?
        var crashes: Int?
        var calls: Int?
        var failureRate: Double?
        var slowCallRate: Double?
        var notPermitted: UInt64?
    }

    var store: String
    var storeProblem: String?
    var liveHosts: Int?
    var breakers: [Breaker]
}

struct VersionAnswer: Decodable {
    var version: String
}

enum JSONText {
    static func decode<Value: Decodable>(_ type: Value.Type, _ bytes: [UInt8]) throws -> Value {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            return try decoder.decode(type, from: Data(bytes))
        } catch {
            throw Failure(.failed, "answer", "cannot understand the daemon's answer; is it of another version?")
        }
    }

    /// `{"error":{"code","message"}}`, as the daemon's.
    static func error(_ failure: Failure) -> String {
        "{\"error\":{\"code\":\(quoted(failure.name)),\"message\":\(quoted(failure.message))}}"
    }

    static func quoted(_ text: String) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        guard let data = try? encoder.encode(text) else { return "\"\"" }
        return String(decoding: data, as: UTF8.self)
    }
}
