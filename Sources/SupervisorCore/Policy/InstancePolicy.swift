/// The part of a service's configuration that its instances' decisions need.
public struct InstancePolicy: Sendable, Equatable {
    public var kind: ServiceSpec.Kind
    public var restart: ServiceSpec.Restart
    public var startupTimeout: Duration
    public var stopSignal: SignalNumber
    public var stopGracePeriod: Duration
    /// Longest time between two heartbeats; nil where none is asked for.
    public var watchdog: Duration?
    public var livenessAction: ServiceSpec.Liveness.Action
    public var startup: ProbePolicy?
    public var readiness: ProbePolicy?
    public var liveness: ProbePolicy?

    public init(_ service: ServiceSpec) {
        kind = service.kind
        restart = service.restart
        startupTimeout = service.startupTimeout
        stopSignal = service.stopSignal
        stopGracePeriod = service.stopGracePeriod
        watchdog = service.liveness.watchdog
        livenessAction = service.liveness.action
        // A notify service says itself when it is ready; a oneshot is not there to be asked.
        startup = kind == .simple ? service.startupProbe.map { ProbePolicy($0) } : nil
        readiness = kind == .oneshot ? nil : service.readiness.map { ProbePolicy($0) }
        liveness = kind == .oneshot ? nil : service.liveness.probe.map { ProbePolicy($0) }
    }

    func probe(_ kind: ProbeKind) -> ProbePolicy? {
        switch kind {
        case .startup: startup
        case .readiness: readiness
        case .liveness: liveness
        }
    }

    /// What it takes to call a worker failed, by the slowest of its checks; nil where there are none.
    var observationWindow: Duration? {
        let windows = [startup, readiness, liveness].compactMap { $0?.window } + [watchdog].compactMap { $0 }
        return windows.max()
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
    /// Instances of one service.
    public static let replicas = 10_000
}
