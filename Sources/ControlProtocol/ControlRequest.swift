public import SupervisorCore

/// What a request on the control socket asks for (INTERFACE.md §4).
public enum ControlRequest: Sendable, Equatable {
    /// The fleet, or the part of it that the target names.
    case status(Target?)
    /// The cause of the last exit and what follows; of the node where there is no target.
    case why(Target?)
    /// Answered when it is done, or once it is accepted when `wait` is false.
    case command(Command, wait: Bool)
    case logs(Stream)
    case events(Stream)
    case version
    /// All of them, or one: by its name, or a service's for its present release.
    case breakers(String?)
    case upgrade
    /// How far the drain of the target (nil: the node) is.
    case drainStatus(Target?)
    /// What a drain would do; changes nothing.
    case planDrain(DrainRequest)
    /// Read the configuration again; with `dryRun` only say what that would do.
    case reload(dryRun: Bool, wait: Bool)

    /// Which lines, and whether to go on.
    public struct Stream: Sendable, Equatable {
        public var target: Target?
        /// At most this many lines of the past.
        public var lines: Int
        /// Only what comes after this sequence number; counts before `lines`.
        public var after: UInt64?
        public var follow: Bool

        public init(target: Target?, lines: Int, after: UInt64? = nil, follow: Bool = false) {
            self.target = target
            self.lines = lines
            self.after = after
            self.follow = follow
        }
    }

    /// It changes something, so only admins may ask it.
    public var acts: Bool {
        switch self {
        // What a configuration says wrongly is not for everybody, not even in a dry run.
        case .command, .upgrade, .reload: true
        case .drainStatus, .planDrain, .status, .why, .logs, .events, .version, .breakers: false
        }
    }

    /// What it names; each must exist.
    public var targets: [Target] {
        switch self {
        case .status(let target), .why(let target), .drainStatus(let target): target.map { [$0] } ?? []
        case .command(let command, _): command.targets
        case .logs(let stream), .events(let stream): stream.target.map { [$0] } ?? []
        case .planDrain(let request): request.target.map { [$0] } ?? []
        case .version, .breakers, .upgrade, .reload: []
        }
    }

    /// The request in words, to stand after "cannot": `restart auth/0`.
    public var inWords: String {
        switch self {
        case .status: "show the status"
        case .why: "say why"
        case .command(let command, _): command.inWords
        case .drainStatus: "show the drain"
        case .planDrain(let request): "drain \(request.target?.description ?? "the node")"
        case .reload: "reload the configuration"
        case .logs: "show logs"
        case .events: "show events"
        case .version: "show the version"
        case .breakers: "show breakers"
        case .upgrade: "upgrade the daemon"
        }
    }
}

extension Command {
    /// As on the command line: `start`, `stop`, `restart`, `signal`.
    public var verb: String {
        switch self {
        case .start: "start"
        case .stop: "stop"
        case .restart: "restart"
        case .signal: "signal"
        case .drain: "drain"
        case .undrain: "undrain"
        case .roll: "restart"
        case .scale: "scale"
        case .breaker(_, let action, _): "breaker \(action.rawValue)"
        }
    }

    /// With what it acts on: `restart auth/0`, `drain the node`.
    public var inWords: String {
        if case .breaker(let name, let action, _) = self { return "\(action.rawValue) the breaker \(name)" }
        let names = targets.map(\.description).joined(separator: ", ")
        return "\(verb) \(names.isEmpty ? "the node" : names)"
    }

    /// What it acts on; nothing: the node.
    public var targets: [Target] {
        switch self {
        case .start(let targets, _), .stop(let targets, _), .restart(let targets, _): targets
        case .signal(let target, _): [target]
        case .drain(let request): request.target.map { [$0] } ?? []
        case .undrain(let target, _): target.map { [$0] } ?? []
        case .roll(let services, _): services.map { .service($0) }
        case .scale(let service, _, _): [.service(service)]
        case .breaker: []
        }
    }
}

/// Named bounds of what a request may say (rule P7).
public enum RequestLimits {
    /// Bytes of path and query together.
    public static let uriBytes = 8 << 10
    /// Bytes of a reason.
    public static let reasonBytes = 1 << 10
    /// Targets of one command.
    public static let targets = 256
    /// Parameters of one query.
    public static let parameters = 512
    /// Lines of logs or events that one request may ask of the past.
    public static let lines = 10_000
    /// The same where the request does not say.
    public static let defaultLines = 100
}
