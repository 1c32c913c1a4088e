/// One service of the fleet: what to run, as whom, how many, and by which policies.
public struct ServiceSpec: Sendable, Equatable {
    /// When a start counts as done, as systemd's `Type=`.
    public enum Kind: String, Sendable, CaseIterable {
        /// Ready as soon as the program runs.
        case simple
        /// Ready when it says `READY=1`.
        case notify
        /// Ready when it has exited with success; it is not started again then.
        case oneshot
    }

    /// Numeric identity, resolved from `user` and `group` when the configuration was read.
    public struct Credentials: Sendable, Equatable {
        public var uid: UInt32
        public var gid: UInt32
        public var supplementaryGroups: [UInt32]

        public init(uid: UInt32, gid: UInt32, supplementaryGroups: [UInt32]) {
            self.uid = uid
            self.gid = gid
            self.supplementaryGroups = supplementaryGroups
        }
    }

    public struct Resources: Sendable, Equatable {
        /// Limit on open descriptors, soft and hard; nil leaves the host's.
        public var nofile: UInt64?
        /// Bytes.
        public var memoryMax: UInt64?
        /// 1 to 10000.
        public var cpuWeight: UInt64?
        public var tasksMax: UInt64?
        /// -1000 to 1000; nil inherits.
        public var oomScoreAdjust: Int?

        public init() {}
    }

    public struct Restart: Sendable, Equatable {
        public enum Policy: String, Sendable, CaseIterable {
            case always
            case onFailure = "on-failure"
            case never
        }

        public var policy: Policy = .always
        public var successExitCodes: [Int32] = [0]
        public var backoffInitial: Duration = .milliseconds(500)
        public var backoffMultiplier = 2.0
        public var backoffMax: Duration = .seconds(60)
        /// Fraction of the delay, 0 to 1: each delay is drawn from `delay × (1 ± jitter)`.
        public var backoffJitter = 0.2
        public var stableAfter: Duration = .seconds(60)

        public init() {}
    }

    /// How a probe asks.
    public enum ProbeMethod: Sendable, Equatable {
        case http(url: String)
        case tcp(address: String)
        case exec(command: [String])
        case grpc(address: String)
    }

    public struct Probe: Sendable, Equatable {
        public var method: ProbeMethod
        public var period: Duration = .seconds(5)
        public var timeout: Duration = .seconds(2)
        public var successThreshold = 2
        public var failureThreshold = 3

        public init(method: ProbeMethod) {
            self.method = method
        }
    }

    public struct Liveness: Sendable, Equatable {
        public enum Action: String, Sendable, CaseIterable { case restart, report }

        public var probe: Probe?
        /// Longest time between two `WATCHDOG=1`; nil asks for no heartbeat.
        public var watchdog: Duration?
        public var action: Action = .restart

        public init() {}
    }

    public struct Rolling: Sendable, Equatable {
        /// How long a new instance must be ready before a rolling restart goes on.
        public var minReady: Duration = .seconds(10)

        public init() {}
    }

    public struct Logs: Sendable, Equatable {
        /// Bytes after which the file is rotated.
        public var maxSize: UInt64 = 64 << 20
        /// Rotated files kept beside the live one.
        public var keep = 4

        public init() {}
    }

    public struct Breaker: Sendable, Equatable {
        public enum Mode: String, Sendable, CaseIterable {
            case auto, disabled
            case metricsOnly = "metrics_only"
        }

        public var mode: Mode = .auto
        public var crashThreshold = 5
        public var crashWindow: Duration = .seconds(60)
        public var waitDurationInOpenState: Duration = .seconds(10)
        public var maxWaitDurationInOpenState: Duration = .seconds(300)

        public init() {}
    }

    public var name: String
    /// Program (an absolute path) and arguments, placeholders not yet filled in.
    public var command: [String]
    public var kind: Kind = .simple
    public var replicas = 1
    /// `{port}` is this plus the index; nil when the service has no port.
    public var portBase: Int?
    public var user: String?
    public var group: String?
    /// nil: workers run as the daemon does.
    public var credentials: Credentials?
    public var workingDirectory = "/"
    public var umask: UInt32 = 0o022
    /// Sorted by name.
    public var environment: [EnvironmentVariable] = []
    public var environmentFiles: [String] = []
    public var passEnvironment: [String] = []
    /// Services that must be ready before this one is started for the first time.
    public var after: [String] = []
    public var critical = false
    /// Empty: the digest of executable and arguments is used.
    public var release = ""
    public var sockets: [String] = []
    public var resources = Resources()
    public var restart = Restart()
    public var startupTimeout: Duration = .seconds(120)
    /// Says when the start of a `simple` service is done.
    public var startupProbe: Probe?
    public var readiness: Probe?
    public var liveness = Liveness()
    public var stopSignal: SignalNumber = .terminate
    public var stopGracePeriod: Duration = .seconds(30)
    public var rolling = Rolling()
    public var logs = Logs()
    public var breaker = Breaker()

    public init(name: String, command: [String]) {
        self.name = name
        self.command = command
    }

    /// The instances this service asks for, by index.
    public var instanceIDs: [InstanceID] {
        (0..<max(0, replicas)).map { InstanceID(service: name, index: $0) }
    }
}

/// One variable of a worker's environment.
public struct EnvironmentVariable: Sendable, Hashable {
    public var name: String
    public var value: String

    public init(name: String, value: String) {
        self.name = name
        self.value = value
    }
}
