public import SupervisorCore

/// What targets there are: the services of the configuration, and what is still there of earlier ones.
public struct TargetCatalog: Sendable {
    private let services: [(name: String, indexes: Set<Int>)]

    public init(_ spec: FleetSpec, _ fleet: FleetStatus) {
        var services: [(name: String, indexes: Set<Int>)] = spec.services.map { service in
            (service.name, Set(service.instanceIDs.map(\.index)))
        }
        for status in fleet.services {
            let indexes = Set(status.instances.map(\.id.index))
            if let place = services.firstIndex(where: { $0.name == status.name }) {
                services[place].indexes.formUnion(indexes)
            } else {
                services.append((status.name, indexes))
            }
        }
        self.services = services
    }

    /// nil when the target exists; else what to answer, with what was probably meant.
    public func problem(with target: Target) -> ControlError? {
        guard let service = services.first(where: { $0.name == target.service }) else {
            return unknownService(target.service)
        }
        guard case .instance(let id) = target, !service.indexes.contains(id.index) else { return nil }
        return ControlError(
            .unknownTarget,
            "cannot find \(id.description.clipped(80)): \(service.name) has \(Self.words(service.indexes))"
        )
    }

    private func unknownService(_ name: String) -> ControlError {
        let names = services.map(\.name)
        var text = "cannot find a service named \"\(name.clipped(80))\""
        if let near = NearestName.find(name, among: names) {
            text += "; did you mean \"\(near)\"?"
        } else if names.isEmpty {
            text += ": no service is configured"
        } else {
            let more = names.count > 8 ? " and \(names.count - 8) more" : ""
            text += "; there are \(names.prefix(8).joined(separator: ", "))\(more)"
        }
        return ControlError(.unknownTarget, text)
    }

    private static func words(_ indexes: Set<Int>) -> String {
        let sorted = indexes.sorted()
        guard let first = sorted.first, let last = sorted.last else { return "no instances" }
        if first == last { return "one instance, \(first)" }
        if last - first == sorted.count - 1 { return "instances \(first) to \(last)" }
        return "instances \(sorted.prefix(16).map(String.init).joined(separator: ", "))"
    }
}
