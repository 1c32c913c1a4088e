public import SupervisorCore

/// What the supervisor is told at its start.
public struct SupervisorConfiguration: Sendable {
    public var spec: FleetSpec
    /// The daemon's program and its configuration file: for an upgrade.
    public var program: String
    public var configurationPath: String
    /// The daemon's own environment.
    public var environment: [String: String]
    public var version: String
    /// systemd's watchdog interval; nil where it wants none.
    public var watchdogInterval: Duration?

    public init(
        spec: FleetSpec,
        program: String,
        configurationPath: String,
        environment: [String: String],
        version: String,
        watchdogInterval: Duration?
    ) {
        self.spec = spec
        self.program = program
        self.configurationPath = configurationPath
        self.environment = environment
        self.version = version
        self.watchdogInterval = watchdogInterval
    }

    var notifySocketPath: String { spec.node.runtimeDirectory + "/notify" }
    var breakerSocketPath: String { spec.node.runtimeDirectory + "/breaker" }
}
