/// What a reload of the configuration does, with a reason for each instance that it touches.
public struct ReloadPlan: Sendable, Equatable {
    public enum Action: String, Sendable {
        /// It is new.
        case start
        /// It runs with values that a running process does not see change; it is replaced in turn.
        case restart
        /// Nobody asks for it any more.
        case stop
    }

    public struct Step: Sendable, Equatable {
        public var action: Action
        public var instance: InstanceID
        /// One clause.
        public var reason: String

        public init(_ action: Action, _ instance: InstanceID, reason: String) {
            self.action = action
            self.instance = instance
            self.reason = reason
        }
    }

    /// In the order of the configuration.
    public var steps: [Step] = []
    /// Keys whose new values count from now on, without a touch of any instance; such as `services.auth.stop.signal`.
    public var inForce: [String] = []
    /// Keys that the daemon follows only when it is started anew.
    public var needsDaemonRestart: [String] = []

    public init() {}

    /// Nothing is different.
    public var isEmpty: Bool { self == ReloadPlan() }
}
