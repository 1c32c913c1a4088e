public import SupervisorCore

extension ReloadPlan {
    /// What it means for a fleet that runs `old` to be asked for `new`.
    ///
    /// - Parameter running: how many instances each service of `old` is to have now, which an operator may have
    ///   scaled.
    public init(from old: FleetSpec, to new: FleetSpec, running: [String: Int]) {
        self.init()
        let diff = FleetDiff(from: old, to: new)
        for service in new.services {
            let change = diff.changed.first { $0.service == service.name }
            let scale = diff.scaled.first { $0.service == service.name }
            if diff.added.contains(service.name) {
                add(.start, service.name, 0..<service.replicas, "the service is new")
                continue
            }
            let before = running[service.name] ?? 0
            let after = scale?.to ?? before
            if let change, change.needsRestart {
                let keys = change.restartKeys.joined(separator: ", ")
                add(.restart, service.name, 0..<min(before, after), "changed: \(keys)")
            }
            if after != before {
                let text = "replicas \(before) → \(after)"
                add(after > before ? .start : .stop, service.name, min(before, after)..<max(before, after), text)
            }
            if let change {
                let live = change.keys.filter { !change.restartKeys.contains($0) }
                inForce += live.map { "services.\(service.name).\($0)" }
            }
        }
        for name in diff.removed { add(.stop, name, 0..<(running[name] ?? 0), "the configuration names it no more") }
        for change in diff.fleet {
            if change.needsDaemonRestart { needsDaemonRestart.append(change.key) } else { inForce.append(change.key) }
        }
        inForce += diff.dependencies.map { "dependencies.\($0)" }
    }

    private mutating func add(_ action: Action, _ service: String, _ indexes: Range<Int>, _ reason: String) {
        steps += indexes.map { Step(action, InstanceID(service: service, index: $0), reason: reason) }
    }
}

extension FleetDiff {
    /// Services whose running instances must be replaced for what changed, with the keys that say so.
    public var restarting: [String: String] {
        var services: [String: String] = [:]
        for change in changed where change.needsRestart {
            services[change.service] = change.restartKeys.joined(separator: ", ")
        }
        return services
    }
}
