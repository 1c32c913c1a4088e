/// The part of a service's configuration that its instances' decisions need.
public struct InstancePolicy: Sendable, Equatable {
    public var kind: ServiceSpec.Kind
    public var restart: ServiceSpec.Restart
    public var startupTimeout: Duration
    public var stopSignal: SignalNumber
    public var stopGracePeriod: Duration
    /// Longest time between two heartbeats; nil where none is asked for.
    public var watchdog: Duration?
    public var watchdogAction: ServiceSpec.Liveness.Action

    public init(_ service: ServiceSpec) {
        kind = service.kind
        restart = service.restart
        startupTimeout = service.startupTimeout
        stopSignal = service.stopSignal
        stopGracePeriod = service.stopGracePeriod
        watchdog = service.liveness.watchdog
        watchdogAction = service.liveness.action
    }

    /// For a process whose service is no longer configured: it is only ever stopped.
    static let leftover = InstancePolicy(ServiceSpec(name: "", command: []))

    func isSuccess(_ status: ExitStatus) -> Bool {
        if case .code(let code) = status { return restart.successExitCodes.contains(code) }
        return false
    }
}

/// Named bounds of the core (rule P7).
public enum CoreLimits {
    /// How far beyond its configured time a worker may extend a start or a stop by `EXTEND_TIMEOUT_USEC`.
    public static let maximumExtension: Duration = .seconds(3600)
    /// Commands that wait for their end at one time.
    public static let operations = 1_024
    /// Health restarts of one service, and of the node, within `healthRestartWindow` (rule I4).
    public static let healthRestartsPerService = 1
    public static let healthRestartsPerNode = 3
    public static let healthRestartWindow: Duration = .seconds(600)
    /// No health restart before an instance has been ready for this long (rule I4).
    public static let healthRestartGrace: Duration = .seconds(60)
    /// How often an instance whose health restart was put off is looked at again.
    public static let healthRestartRetry: Duration = .seconds(30)
}
