import SupervisorCore

/// What Eider listens on for services is nobody else's: not another service's, and not its own.
struct SocketRules {
    private struct Taken {
        var host: NumericHost
        var text: String
        /// Whose it is; nil: Eider's own, for health.
        var service: String?
    }

    private let services: [DecodedService]
    private var ports: [Int: [Taken]] = [:]
    /// Who has a socket file, to stand after "it is".
    private var paths: [String: String] = [:]

    static func check(_ services: [DecodedService], _ fleet: FleetSpec, _ problems: inout Problems) {
        var rules = SocketRules(services, fleet)
        for service in services {
            for text in service.draft.spec.sockets { rules.check(text, of: service, &problems) }
        }
    }

    private init(_ services: [DecodedService], _ fleet: FleetSpec) {
        self.services = services
        let runtime = fleet.node.runtimeDirectory
        paths[runtime + "/notify"] = "the notify socket of workers"
        paths[runtime + "/shim.sock"] = "the shim's socket"
        paths[fleet.control.socket] = "control.socket"
        for address in fleet.health.listen + fleet.health.agentListen {
            guard let host = NumericHost(address.host) else { continue }
            ports[address.port, default: []].append(Taken(host: host, text: address.description))
        }
    }

    private mutating func check(_ text: String, of service: DecodedService, _ problems: inout Problems) {
        let obstacle: String?
        switch PassedSocket(text) {
        case .tcp(let address): obstacle = take(address, text, service.name)
        case .unix(let path): obstacle = take(path, service.name)
        case nil: return
        }
        guard let obstacle else { return }
        ServiceRules.add(service, ["sockets"], "cannot listen on \(Quoting.string(text))\(obstacle)", &problems)
    }

    /// Why not, to stand after the address.
    private mutating func take(_ path: String, _ service: String) -> String? {
        guard let owner = paths[path] else {
            paths[path] = "service \"\(service)\""
            return nil
        }
        return owner.hasPrefix("service ") ? " again; \(owner) already does" : "; it is \(owner)"
    }

    private mutating func take(_ address: ListenAddress, _ text: String, _ service: String) -> String? {
        guard let host = NumericHost(address.host) else { return nil }
        for taken in ports[address.port] ?? [] {
            // A health listener for IPv6 takes nothing else.
            let takesIPv4 = taken.service != nil || address.host.contains(":")
            guard host.overlaps(taken.host, everyIPv6TakesIPv4: takesIPv4) else { continue }
            guard let other = taken.service else { return "; Eider answers health checks on \"\(taken.text)\"" }
            if host == taken.host { return " again; service \"\(other)\" already does" }
            return "; \"\(taken.text)\" of service \"\(other)\" takes the same port"
        }
        ports[address.port, default: []].append(Taken(host: host, text: text, service: service))
        return portRange(with: address.port, butOf: service)
    }

    /// The workers of a service may listen on its own port range, or on what they are passed: that is theirs to know.
    private func portRange(with port: Int, butOf name: String) -> String? {
        for service in services where service.name != name {
            let spec = service.draft.spec
            guard let base = spec.portBase, spec.replicas > 0, (base...(base + spec.replicas - 1)).contains(port)
            else { continue }
            let range = spec.replicas == 1 ? "port \(base)" : "ports \(base) to \(base + spec.replicas - 1)"
            return "; service \"\(service.name)\" has \(range)"
        }
        return nil
    }
}
