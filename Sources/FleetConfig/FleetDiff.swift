public import SupervisorCore

/// What is different between two fleets, for a reload.
public struct FleetDiff: Sendable, Equatable {
    /// A service that both fleets have, with the keys whose values differ.
    public struct Change: Sendable, Equatable {
        public var service: String
        /// Within the service, such as `restart.policy`; in the order of the interface. Without `replicas`.
        public var keys: [String]
        /// Those of `keys` that a running instance sees only when it is started again.
        public var restartKeys: [String]

        public init(service: String, keys: [String], restartKeys: [String]) {
            self.service = service
            self.keys = keys
            self.restartKeys = restartKeys
        }

        /// Whether the running instances must be started again for the change to have its effect.
        public var needsRestart: Bool { !restartKeys.isEmpty }
    }

    /// A service with another number of replicas.
    public struct Scale: Sendable, Equatable {
        public var service: String
        public var from: Int
        public var to: Int

        public init(service: String, from: Int, to: Int) {
            self.service = service
            self.from = from
            self.to = to
        }
    }

    /// A value outside services.
    public struct FleetChange: Sendable, Equatable {
        /// Such as `health.listen`.
        public var key: String
        /// The daemon follows it only when it is started anew; workers are not touched by that.
        public var needsDaemonRestart: Bool

        public init(key: String, needsDaemonRestart: Bool) {
            self.key = key
            self.needsDaemonRestart = needsDaemonRestart
        }
    }

    /// In the order of the new fleet.
    public var added: [String] = []
    /// In the order of the old fleet.
    public var removed: [String] = []
    /// In the order of the new fleet.
    public var changed: [Change] = []
    /// In the order of the new fleet.
    public var scaled: [Scale] = []
    public var fleet: [FleetChange] = []
    /// Names of the dependencies that were added, removed or changed; sorted.
    public var dependencies: [String] = []

    /// Nothing is different.
    public var isEmpty: Bool { self == FleetDiff() }

    private init() {}

    public init(from old: FleetSpec, to new: FleetSpec) {
        for key in FleetKeys.table.keys where !key.isEqual(old, new) {
            let name = key.path.joined(separator: ".")
            fleet.append(FleetChange(key: name, needsDaemonRestart: key.effect == .restart))
        }
        let before = Dictionary(old.services.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let after = Set(new.services.map(\.name))
        removed = old.services.map(\.name).filter { !after.contains($0) }
        for service in new.services {
            guard let previous = before[service.name] else {
                added.append(service.name)
                continue
            }
            if previous.replicas != service.replicas {
                scaled.append(Scale(service: service.name, from: previous.replicas, to: service.replicas))
            }
            if let change = Self.change(from: previous, to: service) { changed.append(change) }
        }
        let dependenciesBefore = Self.byName(old.dependencies)
        let dependenciesAfter = Self.byName(new.dependencies)
        dependencies = Set(dependenciesBefore.keys).union(dependenciesAfter.keys).sorted().filter {
            dependenciesBefore[$0] != dependenciesAfter[$0]
        }
    }

    private static func byName(_ dependencies: [DependencySpec]) -> [String: DependencySpec] {
        Dictionary(dependencies.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    private static func change(from old: ServiceSpec, to new: ServiceSpec) -> Change? {
        if old == new { return nil }
        let (before, after) = (ServiceDraft(old), ServiceDraft(new))
        var change = Change(service: new.name, keys: [], restartKeys: [])
        for key in ServiceKeys.table.keys where key.path != ["replicas"] && !key.isEqual(before, after) {
            let name = key.path.joined(separator: ".")
            change.keys.append(name)
            if key.effect == .restart { change.restartKeys.append(name) }
        }
        // The names may be the same and stand for other numbers now.
        if old.credentials != new.credentials, !change.restartKeys.contains(where: { $0 == "user" || $0 == "group" }) {
            change.keys.append("user")
            change.restartKeys.append("user")
        }
        return change.keys.isEmpty ? nil : change
    }
}
