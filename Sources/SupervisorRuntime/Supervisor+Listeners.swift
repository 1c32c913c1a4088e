import LinuxPlatform
import ShimProtocol
public import SupervisorCore

// Listening sockets: those that the edges serve, and what daemon and shim share of those that services are passed.
// The shim holds them too, so that a connection made while no daemon lives waits for the next one instead of being
// refused (rule P8).
extension Supervisor {
    /// A listening socket of the health server, taken over from an earlier daemon or made anew. The caller owns it.
    public func healthListener(_ address: ListenAddress) throws(SupervisorError) -> Int32 {
        var order = 0
        while listeners[HeldNames.health(address, order)] != nil { order += 1 }
        return try listener(HeldNames.health(address, order)) { () throws(SystemError) in
            try TCPListener.listen(host: address.host, port: address.port)
        }
    }

    /// The control socket, taken over or made anew. The caller owns it.
    public func controlListener() throws(SupervisorError) -> Int32 {
        let path = configuration.spec.control.socket
        // Peer credentials decide who may do what, so everybody may connect.
        return try listener(HeldNames.control(path)) { () throws(SystemError) in
            try UnixSocket.listen(.stream, path: path, mode: 0o666)
        }
    }

    private func listener(
        _ name: HeldName,
        _ make: () throws(SystemError) -> Descriptor
    ) throws(SupervisorError) -> Int32 {
        do throws(SystemError) {
            let socket: SharedDescriptor
            if let held = heldListeners[name], held.isStillNamed(name) {
                socket = held
            } else {
                socket = try make().shared()
                link?.send(hold: name, socket)
                link?.flush()
            }
            listeners[name] = socket
            return try FileDescriptors.duplicate(socket.rawValue).release()
        } catch {
            throw SupervisorError(Self.advice(error))
        }
    }

    /// What to do about a socket that cannot be had.
    static func advice(_ error: SystemError) -> String {
        let text = error.description
        switch error.errno {
        case 98: return text + "; another program listens there: end it, or choose another address in the configuration"
        case 13: return text + "; run as root, or choose another address in the configuration"
        case 99: return text + "; this host does not have that address"
        default: return text
        }
    }

    /// A new shim is to hold what the old one held; sockets of a configuration that is no longer in force go.
    func keepListeners() throws(SystemError) {
        for name in listeners.keys.sorted() where heldListeners[name] == nil {
            if let socket = listeners[name] { link?.send(hold: name, socket) }
        }
        if let socket = notifySocket { link?.send(hold: HeldNames.notify, socket) }
        if let socket = breakerSocket { link?.send(hold: HeldNames.breaker, socket) }
        link?.flush()
    }

    /// Lets go of held sockets that the present configuration does not name.
    public func dropUnusedListeners() {
        adoptPassedSockets()
        for name in heldListeners.keys.sorted() where listeners[name] == nil {
            link?.send(.letGo(name))
            if HeldNames.passed(name) != nil { removeSocketFile(of: name) }
        }
        heldListeners = [:]
        link?.flush()
    }

    /// Socket files that somebody removed are made anew: without them no worker and no operator would reach us.
    func renewSockets() {
        let problems =
            [renewNotifySocket(), renewBreakerSocket(), renewControlSocket()].compactMap { $0 }
            + renewPassedSockets()
        // Once, however long it lasts: it is tried again with every heartbeat.
        for problem in problems where !socketProblems.contains(problem) {
            record(subject: nil, kind: "warning", problem)
        }
        socketProblems = problems
    }

    /// Why a notify socket whose file is gone could not be made anew; nil when there is one.
    private func renewNotifySocket() -> String? {
        let path = configuration.notifySocketPath
        guard let old = notifySocket, !FileKind.isSocket(path) else { return nil }
        do throws(SystemError) {
            reactor.unwatch(old.rawValue)
            try openNotifySocket()
            link?.flush()
            record(subject: nil, kind: "warning", "\(path) was removed, and was made anew")
            return nil
        } catch {
            return error.description
        }
    }

    /// Why a control socket whose file is gone could not be made anew; nil when there is one.
    private func renewControlSocket() -> String? {
        let path = configuration.spec.control.socket
        guard listeners[HeldNames.control(path)] != nil, !FileKind.isSocket(path) else { return nil }
        do throws(SupervisorError) {
            controlRenewed(try controlListener())
            record(subject: nil, kind: "warning", "\(path) was removed, and was made anew")
            return nil
        } catch {
            return error.description
        }
    }

    /// The workers' notify socket: the one that the shim holds, so that what workers said while no daemon lived is
    /// still in it.
    func openNotifySocket() throws(SystemError) {
        let path = configuration.notifySocketPath
        let socket: SharedDescriptor
        if let held = pendingListing?.held[HeldNames.notify], FileKind.isSocket(path) {
            socket = held
        } else {
            socket = try UnixSocket.bind(.datagram, path: path, mode: 0o666).shared()
            try UnixSocket.passCredentials(socket.rawValue)
            link?.send(hold: HeldNames.notify, socket)
        }
        notifySocket = socket
        try watchNotifySocket(socket.rawValue)
    }
}

extension SharedDescriptor {
    /// A socket file that was removed or replaced leaves its socket unreachable: then a new one is made.
    func isStillNamed(_ name: HeldName) -> Bool {
        guard let path = HeldNames.path(of: name) else { return true }
        return FileKind.isSocket(path)
    }
}
