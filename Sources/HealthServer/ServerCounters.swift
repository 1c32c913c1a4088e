import Metrics

/// How a connection to the health port ended.
enum CloseKind: Int, CaseIterable {
    /// After its last answer, by either side.
    case normal
    /// The client sent nothing at all.
    case empty
    case reset
    case tls
    case http2
    /// A request that could not be read was answered.
    case malformed
    /// The client left in the middle of a request.
    case truncated
    /// Nothing was asked for long.
    case idle
    /// A request was not complete in time.
    case slow
    /// Answers were not read in time, or too much was sent meanwhile.
    case stalled
    /// It had been idle longest when a connection was needed.
    case evicted
    /// There were too many connections, none of them idle.
    case refused
    /// The server was stopped.
    case stopped
}

/// What the health server counts, confined to its loop.
struct ServerCounters {
    private static let codes = [200, 400, 404, 405, 414, 431, 503, 505]

    private var requests = Array(repeating: UInt64(0), count: codes.count)
    private var closed = Array(repeating: UInt64(0), count: CloseKind.allCases.count)
    var acceptFailures: UInt64 = 0
    /// Lines that the agent ports answered.
    var agentAnswers: UInt64 = 0

    mutating func answered(_ code: Int) {
        if code == 200 {
            requests[0] &+= 1
        } else if let index = Self.codes.firstIndex(of: code) {
            requests[index] &+= 1
        }
    }

    mutating func ended(_ kind: CloseKind) { closed[kind.rawValue] &+= 1 }

    func count(of kind: CloseKind) -> UInt64 { closed[kind.rawValue] }

    func count(ofCode code: Int) -> UInt64 { Self.codes.firstIndex(of: code).map { requests[$0] } ?? 0 }

    func figures(openConnections: Int) -> HealthFigures {
        HealthFigures(
            requests: zip(Self.codes, requests).map { (code: $0, count: $1) },
            closedConnections: CloseKind.allCases.map { (kind: "\($0)", count: closed[$0.rawValue]) },
            openConnections: openConnections,
            acceptFailures: acceptFailures,
            agentAnswers: agentAnswers
        )
    }
}
