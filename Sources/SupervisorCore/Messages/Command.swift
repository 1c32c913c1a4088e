/// What an operator names: a service or one of its instances.
public enum Target: Hashable, Sendable, CustomStringConvertible {
    case service(String)
    case instance(InstanceID)

    /// Reads `SERVICE` or `SERVICE/INDEX`; nil when it is neither.
    public init?(_ text: String) {
        if text.isEmpty { return nil }
        if !text.contains("/") {
            self = .service(text)
        } else if let id = InstanceID(text) {
            self = .instance(id)
        } else {
            return nil
        }
    }

    public var service: String {
        switch self {
        case .service(let name): name
        case .instance(let id): id.service
        }
    }

    public var description: String {
        switch self {
        case .service(let name): name
        case .instance(let id): id.description
        }
    }
}

/// What an operator may ask of the fleet.
public enum Command: Sendable, Equatable {
    case start([Target], reason: String?)
    case stop([Target], reason: String?)
    case restart([Target], reason: String?)
    case signal(Target, SignalNumber)
    /// Take the node, a service or an instance out of service without losing a request.
    case drain(DrainRequest)
    /// Put it back; nil: the node.
    case undrain(Target?, reason: String?)
    /// Replace the instances of services one after the other.
    case roll([String], reason: String?)
    /// Steer a breaker: `service:NAME@RELEASE`, a service's name for its present release, or a dependency's.
    case breaker(String, BreakerAction, reason: String?)
    /// Have this many instances of a service.
    case scale(service: String, replicas: Int, reason: String?)
}

/// One command, from its acceptance until it is done.
public typealias OperationID = UInt64

/// How a command ended.
public enum OperationResult: Sendable, Equatable {
    case done
    /// The text says what could not be done, why, and what to do next.
    case failed(String)
    /// Nothing was changed: the target does not exist.
    case unknownTarget(String)
    /// Nothing was changed: it cannot be done in this state.
    case refused(String)
    /// A drain is done, but its deadline had come: something was killed. The text says what was lost.
    case deadlineReached(String)
}
