import SupervisorCore

/// Keys that this version accepts and checks, but does nothing about. A later version that does shortens this list;
/// nothing else needs a change.
enum NotYetActedOn {
    /// Keys of a service, also in `[defaults]`.
    private static let serviceKeys: [[String]] = [["breaker"]]

    /// Keys of the fleet.
    private static let fleetKeys: [[String]] = []

    /// Whether `[dependencies]` is among them.
    private static let includesDependencies = true

    /// Whether `[breaker] store = "redis"` is.
    private static let includesRedis = true

    private static let text = "is accepted but not acted on by this version"

    static func warn(_ raw: RawFleet, _ fleet: FleetSpec, _ problems: inout Problems) {
        if let top = raw.top {
            for key in fleetKeys { warn(top, [], key, &problems) }
            if includesRedis, fleet.breaker.store == .redis {
                let text = "\"redis\" is accepted but not acted on by this version; breakers are kept on this host"
                let path = ["breaker", "store"]
                problems.add(path, text, at: top.location(of: path), severity: .warning)
            }
        }
        if let defaults = raw.defaults {
            for key in serviceKeys { warn(defaults, ["defaults"], key, &problems) }
        }
        for service in raw.services {
            for key in serviceKeys { warn(service.table, ["services", service.name], key, &problems) }
        }
        for dependency in raw.dependencies where includesDependencies {
            let path = ["dependencies", dependency.name]
            problems.add(path, text, at: dependency.table.location, severity: .warning)
        }
    }

    private static func warn(
        _ table: ConfigurationTable,
        _ prefix: [String],
        _ key: [String],
        _ problems: inout Problems
    ) {
        guard let node = table.node(at: key) else { return }
        // An empty list asks for nothing.
        if case .array(let elements) = node.value, elements.isEmpty { return }
        problems.add(prefix + key, text, at: node.location, severity: .warning)
    }
}
