/// A validated fleet: what one configuration asks for, every default filled in.
///
/// `FleetConfig` makes it from TOML; nothing else does. INTERFACE.md §2 gives each key's meaning.
public struct FleetSpec: Sendable, Equatable {
    public var node = NodeSpec()
    public var health = HealthSpec()
    public var control = ControlSpec()
    public var limits = LimitsSpec()
    public var drain = DrainSpec()
    public var breaker = BreakerStoreSpec()
    /// In the order of the configuration.
    public var services: [ServiceSpec] = []
    /// Breakers of dependencies that are configured by name; others get the defaults.
    public var dependencies: [DependencySpec] = []

    public init() {}
}

/// Who this host is, and where its files are.
public struct NodeSpec: Sendable, Equatable {
    public var name = "localhost"
    public var stateDirectory = "/var/lib/eider"
    public var runtimeDirectory = "/run/eider"

    public init() {}
}

/// A TCP address to listen on. Port 0 takes a free one.
public struct ListenAddress: Sendable, Hashable, CustomStringConvertible {
    public var host: String
    public var port: Int

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// Where health is answered.
public struct HealthSpec: Sendable, Equatable {
    public var listen: [ListenAddress] = [ListenAddress(host: "0.0.0.0", port: 8080)]
    public var agentListen: [ListenAddress] = []

    public init() {}
}

/// Who may use the control socket, and where it is.
public struct ControlSpec: Sendable, Equatable {
    public var socket = "/run/eider/control.sock"
    /// Users, and groups written `@group`.
    public var admins: [String] = ["root", "@eider"]
    public var readers: [String] = []

    public init() {}
}

/// Bounds on what the node does at once.
public struct LimitsSpec: Sendable, Equatable {
    public var concurrentStarts = 4

    public init() {}
}

/// The times of a drain.
public struct DrainSpec: Sendable, Equatable {
    public var deadline: Duration = .seconds(120)
    public var noticeMinimum: Duration = .seconds(2)
    public var noticeMaximum: Duration = .seconds(75)

    public init() {}
}

/// Where the state of breakers is kept.
public struct BreakerStoreSpec: Sendable, Equatable {
    public enum Store: String, Sendable, CaseIterable { case local, redis }

    public struct Redis: Sendable, Equatable {
        public var addresses: [String] = []
        public var cluster = false
        public var username = ""
        public var passwordFile = ""
        public var tls = false
        public var tlsCAFile = ""
        public var tlsCertificateFile = ""
        public var tlsKeyFile = ""

        public init() {}
    }

    public var store: Store = .local
    public var fleet = "default"
    public var redis = Redis()

    public init() {}
}

/// A dependency's breaker, in resilience4j's terms.
public struct DependencySpec: Sendable, Equatable {
    public var name: String
    /// Percent.
    public var failureRateThreshold = 50.0
    /// Percent.
    public var slowCallRateThreshold = 100.0
    public var slowCallDurationThreshold: Duration = .seconds(2)
    public var minimumNumberOfCalls = 20
    public var slidingWindowSize: Duration = .seconds(20)
    public var waitDurationInOpenState: Duration = .seconds(5)
    public var permittedNumberOfCallsInHalfOpenState = 5

    public init(name: String) {
        self.name = name
    }
}
