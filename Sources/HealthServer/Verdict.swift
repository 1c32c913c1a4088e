import SupervisorCore

/// What one path says: the status, and why.
struct Verdict: Equatable {
    var status: Status
    var state: PublicState
    /// One line for people; nil when all is well.
    var reason: String?

    var code: Int { status == .fail ? 503 : 200 }

    /// The answer in one line: `ok`, or why not.
    var line: String {
        switch status {
        case .pass: "ok"
        case .warn: reason.map { "ok (\(state.rawValue): \($0))" } ?? "ok (\(state.rawValue))"
        case .fail: failure
        }
    }

    /// State and reason in one line.
    var failure: String { reason.map { "\(state.rawValue): \($0)" } ?? state.rawValue }

    /// Longest reason that goes into a text answer or a header's neighbourhood, bytes.
    static let reasonBytes = 256

    private static func make(serves: Bool, _ state: PublicState, _ reason: String?) -> Verdict {
        let serves = serves && !state.isOutOfService
        let status: Status = serves ? (state == .healthy ? .pass : .warn) : .fail
        return Verdict(status: status, state: state, reason: reason?.singleLine(bytes: reasonBytes))
    }

    /// May the node take traffic?
    static func node(_ node: NodeStatus) -> Verdict {
        make(serves: node.ready, node.state, node.reason)
    }

    /// The same, with what is shared and does not work. That takes no host out and makes none worth less than another:
    /// it is told, and is no reason to route elsewhere.
    static func warned(_ node: NodeStatus) -> Verdict {
        var verdict = Verdict.node(node)
        guard let warning = node.warning, verdict.status != .fail else { return verdict }
        let reason = verdict.reason.map { "\($0); \(warning)" } ?? warning
        verdict.status = .warn
        verdict.reason = reason.singleLine(bytes: reasonBytes)
        return verdict
    }

    /// May the service be routed to?
    static func service(_ service: ServiceStatus) -> Verdict {
        var verdict = make(serves: service.routable, service.state, service.reason)
        if verdict.status == .fail, verdict.reason == nil, service.ready == 0 {
            verdict.reason = "no instance is ready"
        }
        return verdict
    }

    static func instance(_ instance: InstanceStatus) -> Verdict {
        make(serves: instance.ready, instance.state, instance.reason)
    }

    /// Does at least one instance live, or has one done its work, so that it need not?
    static func live(_ service: ServiceStatus) -> Verdict {
        let holds = service.instances.contains { $0.live || $0.hasCompleted }
        return aspect(service, holds: holds, otherwise: "no instance lives")
    }

    /// Has at least one instance become ready since it was last asked to start?
    static func startup(_ service: ServiceStatus) -> Verdict {
        let started = service.ready > 0 || service.instances.contains(where: \.startedOnce)
        return aspect(service, holds: started, otherwise: "no instance has become ready yet")
    }

    /// Has the first start finished?
    static func startup(_ node: NodeStatus) -> Verdict {
        let finished = node.firstStartFinished
        return Verdict(
            status: finished ? .pass : .fail,
            state: node.state,
            reason: finished ? nil : "the first start has not finished"
        )
    }

    private static func aspect(_ service: ServiceStatus, holds: Bool, otherwise reason: String) -> Verdict {
        Verdict(status: holds ? .pass : .fail, state: service.state, reason: holds ? nil : reason)
    }
}

extension InstanceStatus {
    /// A oneshot that ended with success: nothing else is ready without a process.
    var hasCompleted: Bool { ready && state == .healthy && pid == nil }

    /// `ready` as a count, as services have it: 0 or 1.
    var readyCount: Int { ready ? 1 : 0 }

    /// How many of it are wanted: 0 when an operator stopped it, else 1. A service's `desired` is the sum of these.
    var desiredCount: Int { intentReason == nil ? 1 : 0 }
}

extension PublicState {
    /// Nothing in this state may be given work, whatever else is said of it.
    var isOutOfService: Bool {
        switch self {
        case .stopped, .drained, .draining, .starting, .backoff, .stopping, .failed: true
        case .unhealthy, .breakerOpen, .degraded, .healthy: false
        }
    }
}

extension String {
    /// The text without control characters, cut to at most `limit` bytes between two characters of Unicode.
    func singleLine(bytes limit: Int) -> String {
        var result: [UInt8] = []
        for scalar in unicodeScalars {
            let isControl = scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
            let encoded = UTF8.encode(isControl ? " " : scalar)
            guard let encoded, result.count + encoded.count <= limit else { break }
            result.append(contentsOf: encoded)
        }
        return String(decoding: result, as: UTF8.self)
    }
}
