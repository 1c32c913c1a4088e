import SupervisorCore

/// The agent port's answers, and who asks.
extension HealthService {
    /// What the agent port answers to `name`: a service, an instance, the node, or nothing for the node.
    ///
    /// - Parameter peer: who asks; nil where nobody does.
    func agentLine(_ name: ArraySlice<UInt8>, from peer: PeerAddress? = nil) -> ArraySlice<UInt8> {
        guard let route = agentRoute(name) else { return AgentRenderer.unknown[...] }
        let line: ArraySlice<UInt8>
        switch route {
        case .service(let service, let entry): line = services[service].agentLine(entry)
        default: line = node.agentLine[...]
        }
        if let peer { note(agent: peer, name, route, line) }
        return line
    }

    private func agentRoute(_ name: ArraySlice<UInt8>) -> Route? {
        if name.isEmpty { return .node }
        guard let found = name.withUnsafeBytes({ bytes in index.find(bytes) }) else {
            return name.elementsEqual(AgentRenderer.node.utf8) ? .node : nil
        }
        switch found.part {
        case .service, .instance: return entry(found.part, of: found.service).map { .service(found.service, entry: $0) }
        case .live, .ready, .startup: return nil
        }
    }

    // MARK: Probers

    func note(_ asked: Asked, _ route: Route, code: Int) {
        guard let peer = asked.peer else { return }
        let fields = asked.request.prober
        let state = UnsafeRawBufferPointer(rebasing: asked.bytes[fields.serverState])
        probers.note(
            ProberRegister.Caller(
                peer: peer,
                userAgent: UnsafeRawBufferPointer(rebasing: asked.bytes[fields.userAgent]),
                path: UnsafeRawBufferPointer(rebasing: asked.bytes[asked.request.target]),
                host: UnsafeRawBufferPointer(rebasing: asked.bytes[fields.host])
            ),
            told: .code(code),
            state.isEmpty ? .none : HAProxyReport(state, limit: limits.proberStateBytes),
            at: clock(),
            target: target(of: route)
        )
    }

    private func note(agent peer: PeerAddress, _ name: ArraySlice<UInt8>, _ route: Route, _ line: ArraySlice<UInt8>) {
        let target = target(of: route)
        name.withUnsafeBytes { name in
            var userAgent = Self.agentName
            userAgent.withUTF8 { userAgent in
                probers.note(
                    ProberRegister.Caller(
                        peer: peer,
                        userAgent: UnsafeRawBufferPointer(userAgent),
                        path: name,
                        host: UnsafeRawBufferPointer(start: nil, count: 0),
                        isAgent: true
                    ),
                    told: .agent(AgentRenderer.word(line)),
                    .none,
                    at: clock(),
                    target: target
                )
            }
        }
    }

    /// What stands in place of a User-Agent for those who ask the agent port.
    private static let agentName = "agent"

    /// nil: the node.
    private func target(of route: Route) -> Target? {
        guard case .service(let service, let entry) = route else { return nil }
        let name = index.text(ofServiceAt: service)
        let instance = Int(services[service].entries[entry].instance)
        return instance < 0 ? .service(name) : .instance(InstanceID(service: name, index: instance))
    }
}
