import FleetConfig
import LinuxPlatform
import ShimProtocol
import SupervisorCore

// Sockets that Eider listens on for services. The shim holds them, so that they outlive every worker and every daemon:
// a connection that nobody can take yet waits.
extension Supervisor {
    /// The names under which the shim holds what this service is passed, in the order of the configuration. What is not
    /// listened on yet, or not any more, is so now.
    ///
    /// - Throws: `StartProblem` for the first socket that cannot be had; it is tried again at the next start.
    func listenerNames(for service: ServiceSpec) throws(StartProblem) -> [HeldName] {
        var names: [HeldName] = []
        for address in service.sockets {
            let name = HeldNames.socket(service.name, address)
            names.append(name)
            if let socket = listeners[name], socket.isStillNamed(name) { continue }
            do throws(SystemError) {
                if let socket = reusable(address) {
                    hold(name, socket)
                } else {
                    hold(name, try Self.listen(on: address))
                }
            } catch {
                let failure = SpawnFailure(stage: .descriptors, errno: error.errno, path: address)
                throw StartProblem(failure: failure, text: Self.socketAdvice(error) + "; it is tried again")
            }
        }
        return names
    }

    /// Lets go of the sockets of a service that went, or of those that it has no more.
    ///
    /// - Parameter addresses: the entries of its `sockets` that stay.
    func dropSockets(of service: String, keeping addresses: [String] = []) {
        for name in listeners.keys.sorted() {
            guard let passed = HeldNames.passed(name), passed.service == service, !addresses.contains(passed.address)
            else { continue }
            listeners[name] = nil
            link?.send(.letGo(name))
            removeSocketFile(of: name)
        }
        link?.flush()
    }

    /// The shim does not have what it was to pass: it had no descriptor left when it was sent. The next start has it.
    func holdAgain(_ name: HeldName) {
        guard HeldNames.passed(name) != nil, let socket = listeners[name] else { return }
        hold(name, socket)
    }

    /// Takes the sockets of an earlier daemon into use that services still name. One whose file is gone is made anew
    /// by the first heartbeat.
    func adoptPassedSockets() {
        for service in configuration.spec.services {
            for address in service.sockets {
                let name = HeldNames.socket(service.name, address)
                if listeners[name] != nil { continue }
                if let socket = heldListeners[name] {
                    listeners[name] = socket
                } else if let moved = heldListeners.first(where: { HeldNames.passed($0.key)?.address == address }) {
                    // It was another service's: what is connected to it has not lost its way.
                    hold(name, moved.value)
                }
            }
        }
    }

    /// Why socket files that are gone could not be made anew.
    func renewPassedSockets() -> [String] {
        var problems: [String] = []
        for (name, socket) in listeners.sorted(by: { $0.key < $1.key }) {
            guard let (service, address) = HeldNames.passed(name), !socket.isStillNamed(name) else { continue }
            do throws(SystemError) {
                hold(name, try Self.listen(on: address))
                link?.flush()
                let text =
                    "\(address) was removed, and was made anew; what runs of \(service) still listens on the one that "
                    + "nobody reaches: restart it to have it take the new one (eiderctl restart \(service))"
                record(subject: service, kind: "warning", text)
            } catch {
                problems.append("\(service): \(Self.socketAdvice(error)); it is tried again")
            }
        }
        return problems
    }

    /// The orderly end: nobody is left to answer.
    func removePassedSocketFiles() {
        for name in listeners.keys.sorted() where HeldNames.passed(name) != nil {
            listeners[name] = nil
            removeSocketFile(of: name)
        }
    }

    /// Never anything but a socket, and not one that another name still needs.
    func removeSocketFile(of name: HeldName) {
        guard let path = HeldNames.path(of: name), !listeners.keys.contains(where: { HeldNames.path(of: $0) == path }),
            FileKind.isSocket(path)
        else { return }
        FileSystem.remove(path)
    }

    private func hold(_ name: HeldName, _ socket: SharedDescriptor) {
        listeners[name] = socket
        link?.send(hold: name, socket)
    }

    /// The same address may have been another service's a moment ago.
    private func reusable(_ address: String) -> SharedDescriptor? {
        listeners.first { HeldNames.passed($0.key)?.address == address && $0.value.isStillNamed($0.key) }?.value
    }

    /// As systemd's socket units have it: blocking, the queue as long as the host allows, `[::]` by the host's default.
    private static func listen(on address: String) throws(SystemError) -> SharedDescriptor {
        switch PassedSocket(address) {
        case .tcp(let place):
            return try TCPListener.listen(
                host: place.host,
                port: place.port,
                backlog: .max,
                nonblocking: false,
                takesOnlyIPv6: false
            ).shared()
        case .unix(let path):
            return try UnixSocket.listen(.stream, path: path, mode: 0o666, backlog: .max, nonblocking: false).shared()
        case nil:
            // EINVAL: the configuration was checked.
            throw SystemError(call: "listen on", errno: 22, path: address)
        }
    }

    private static func socketAdvice(_ error: SystemError) -> String {
        switch (error.errno, error.path) {
        case (2, _): return "\(error); make its directory, or choose another path in the configuration"
        case (98, let path?) where path.hasPrefix("/") && !FileKind.isSocket(path):
            return "\(error); a file is in its place: remove it, or choose another path in the configuration"
        default: return advice(error)
        }
    }
}
