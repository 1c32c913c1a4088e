import Simulation

@testable import SupervisorCore

// Short forms for scenarios, where instances are written as text.
extension World {
    /// A fleet of these services, connected, with everything read that there is to read.
    static func running(_ services: ServiceSpec..., concurrentStarts: Int = 4, disk: Intents = Intents()) throws
        -> World
    {
        var world = World(.of(services, concurrentStarts: concurrentStarts))
        world.disk = disk
        try world.start()
        try world.settle()
        return world
    }

    static func id(_ text: String) -> InstanceID { InstanceID(text) ?? InstanceID(service: text, index: 0) }

    func kind(_ text: String) -> StateKind? { state(Self.id(text)).map { StateKind($0) } }

    func record(_ text: String) -> RememberedInstance? { memory(Self.id(text)) }

    func process(_ text: String) -> ShadowShim.Process? { shim.processes[Self.id(text)] }

    func timer(_ text: String) -> ShadowTimers.Armed? { timers.timer(of: Self.id(text)) }

    /// Signals that the process has got and not acted upon.
    func pending(_ text: String) -> [SignalNumber] { process(text)?.pendingSignals ?? [] }

    /// The time from now until the next start, while in backoff.
    func untilNextStart(_ text: String) -> Duration? {
        if case .backoff(let until)? = state(Self.id(text)) { return until.since(now) }
        return nil
    }

    /// The worker says something.
    mutating func say(_ text: String, _ change: (inout NotifyMessage) -> Void) throws {
        var message = NotifyMessage()
        change(&message)
        shim.say(Self.id(text), message)
        try settle()
    }

    mutating func sayReady(_ text: String) throws { try say(text) { $0.ready = true } }

    /// The main process ends by itself.
    mutating func end(
        _ text: String,
        _ status: SupervisorCore.ExitStatus = .code(1),
        leaving children: Int = 0,
        outOfMemory: Bool = false
    ) throws {
        shim.mainEnds(Self.id(text), status, leaving: children, outOfMemory: outOfMemory, at: now)
        try settle()
    }

    mutating func childrenEnd(_ text: String) throws {
        shim.childrenEnd(Self.id(text))
        try settle()
    }

    /// The kernel ends a tree that is being killed.
    mutating func treeEnds(_ text: String) throws {
        shim.treeEnds(Self.id(text), at: now)
        try settle()
    }

    /// A probe of the present run finds this.
    mutating func probe(_ text: String, _ kind: ProbeKind, _ outcome: ProbeOutcome) throws {
        let id = Self.id(text)
        guard let generation = slot(id)?.generation else { throw ShadowViolation("there is no instance \(text)") }
        try send(.probed(ProbeKey(instance: id, generation: generation, kind: kind), outcome))
        try settle()
    }

    /// From now on the prober finds this: of one kind of probe, or of all.
    mutating func finds(_ text: String, _ kind: ProbeKind? = nil, _ outcome: ProbeOutcome) {
        for kind in kind.map({ [$0] }) ?? ProbeKind.allCases {
            health[Self.id(text), default: PerProbe(.success)][kind] = outcome
        }
    }

    /// Probes of the present run, by kind.
    func watched(_ text: String) -> [ProbeKind] { slot(Self.id(text))?.watched.map(\.kind) ?? [] }

    @discardableResult
    mutating func ask(start text: String, reason: String? = nil) throws -> OperationID {
        try command(.start([Target(text) ?? .service(text)], reason: reason))
    }

    @discardableResult
    mutating func ask(stop text: String, reason: String? = nil) throws -> OperationID {
        try command(.stop([Target(text) ?? .service(text)], reason: reason))
    }

    @discardableResult
    mutating func ask(restart text: String, reason: String? = nil) throws -> OperationID {
        try command(.restart([Target(text) ?? .service(text)], reason: reason))
    }

    /// As users see it.
    mutating func status(_ text: String) -> ServiceStatus? {
        guard let index = machine.services.firstIndex(where: { $0.name == text }) else { return nil }
        return machine.status(ofService: index, at: now)
    }

    mutating func instanceStatus(_ text: String) -> InstanceStatus? {
        let id = Self.id(text)
        return status(id.service)?.instances.first { $0.id == id }
    }

    mutating func seen(_ text: String) throws -> ServiceStatus {
        guard let status = status(text) else { throw ShadowViolation("there is no service \(text)") }
        return status
    }

    mutating func seenInstance(_ text: String) throws -> InstanceStatus {
        guard let status = instanceStatus(text) else { throw ShadowViolation("there is no instance \(text)") }
        return status
    }

    mutating func nodeStatus() -> NodeStatus {
        for index in machine.services.indices { _ = machine.status(ofService: index, at: now) }
        return machine.nodeStatus(at: now)
    }
}

extension DrainSpec {
    /// A stop of the fleet does not wait for load balancers; drains have tests of their own.
    static var withoutNotice: DrainSpec {
        var drain = DrainSpec()
        (drain.noticeMinimum, drain.noticeMaximum) = (.zero, .zero)
        return drain
    }
}

extension FleetSpec {
    static func of(_ services: [ServiceSpec], concurrentStarts: Int = 4) -> FleetSpec {
        var spec = FleetSpec()
        spec.services = services
        spec.limits.concurrentStarts = concurrentStarts
        spec.drain = .withoutNotice
        return spec
    }
}

/// A service with everything at its default but no jitter.
func service(
    _ name: String,
    _ kind: ServiceSpec.Kind = .simple,
    replicas: Int = 1,
    after: [String] = [],
    _ change: (inout ServiceSpec) -> Void = { _ in }
) -> ServiceSpec {
    var service = ServiceSpec(name: name, command: ["/bin/\(name)"])
    service.kind = kind
    service.replicas = replicas
    service.after = after
    service.restart.backoffJitter = 0
    // Tests of breakers turn it on.
    service.breaker.mode = .disabled
    change(&service)
    return service
}
