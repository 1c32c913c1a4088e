import SupervisorCore

/// A probe while it is being read: nothing says yet how it asks.
struct ProbeDraft: Sendable, Equatable {
    static let methods = ["http", "tcp", "exec", "grpc"]

    var http: String?
    var tcp: String?
    var exec: [String]?
    var grpc: String?
    var period: Duration = .seconds(5)
    var timeout: Duration = .seconds(2)
    var successThreshold = 2
    var failureThreshold = 3

    /// How often it says how to ask; once is right.
    var methodCount: Int {
        (http == nil ? 0 : 1) + (tcp == nil ? 0 : 1) + (exec == nil ? 0 : 1) + (grpc == nil ? 0 : 1)
    }

    /// The finished probe; nil when it does not say how to ask.
    var probe: ServiceSpec.Probe? {
        let method: ServiceSpec.ProbeMethod
        if let http {
            method = .http(url: http)
        } else if let tcp {
            method = .tcp(address: tcp)
        } else if let exec {
            method = .exec(command: exec)
        } else if let grpc {
            method = .grpc(address: grpc)
        } else {
            return nil
        }
        var probe = ServiceSpec.Probe(method: method)
        probe.period = period
        probe.timeout = timeout
        probe.successThreshold = successThreshold
        probe.failureThreshold = failureThreshold
        return probe
    }

    init() {}

    init(_ probe: ServiceSpec.Probe?) {
        guard let probe else { return }
        switch probe.method {
        case .http(let url): http = url
        case .tcp(let address): tcp = address
        case .exec(let command): exec = command
        case .grpc(let address): grpc = address
        }
        period = probe.period
        timeout = probe.timeout
        successThreshold = probe.successThreshold
        failureThreshold = probe.failureThreshold
    }
}

/// A service while it is being read.
struct ServiceDraft: Sendable, Equatable {
    var spec: ServiceSpec
    var startup = ProbeDraft()
    var readiness = ProbeDraft()
    var liveness = ProbeDraft()

    init(name: String) {
        spec = ServiceSpec(name: name, command: [])
    }

    init(_ spec: ServiceSpec) {
        self.spec = spec
        startup = ProbeDraft(spec.startupProbe)
        readiness = ProbeDraft(spec.readiness)
        liveness = ProbeDraft(spec.liveness.probe)
    }

    /// The service with its probes in place.
    var finished: ServiceSpec {
        var spec = spec
        spec.startupProbe = startup.probe
        spec.readiness = readiness.probe
        spec.liveness.probe = liveness.probe
        return spec
    }
}
