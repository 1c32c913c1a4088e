import LinuxPlatform
import ShimProtocol
import SupervisorCore

// What workers ask and report about the dependencies that they call.
extension Supervisor {
    /// How often figures of breakers are published while workers call: a state that changes is so at once.
    private static let figuresInterval: Duration = .seconds(1)

    /// The workers' breaker socket: the one that the shim holds, so that connections made while no daemon lives wait
    /// for this one.
    func openBreakerSocket() throws(SystemError) {
        let path = configuration.breakerSocketPath
        let socket: SharedDescriptor
        if let held = pendingListing?.held[HeldNames.breaker], FileKind.isSocket(path) {
            socket = held
        } else {
            // Who may use it is decided by whose process the kernel says it is, as with the notify socket.
            socket = try UnixSocket.listen(.sequentialPacket, path: path, mode: 0o666).shared()
            link?.send(hold: HeldNames.breaker, socket)
        }
        // The old one, if any, is closed only when it is no longer watched.
        try calls.listen(on: socket.rawValue)
        breakerSocket = socket
    }

    /// Why a breaker socket whose file is gone could not be made anew; nil when there is one. Connections stay.
    func renewBreakerSocket() -> String? {
        let path = configuration.breakerSocketPath
        guard breakerSocket != nil, !FileKind.isSocket(path) else { return nil }
        do throws(SystemError) {
            try openBreakerSocket()
            link?.flush()
            record(subject: nil, kind: "warning", "\(path) was removed, and was made anew")
            return nil
        } catch {
            return error.description
        }
    }

    func callHands() -> CallSocket.Hands {
        CallSocket.Hands(
            identify: { [unowned self] in caller($0) },
            ask: { [unowned self] name, worker, now in
                showCallsSoon(now)
                return machine.ask(dependency: name, worker: worker, at: now)
            },
            report: { [unowned self] name, pass, worker, outcome, microseconds, now in
                showCallsSoon(now)
                machine.report(
                    dependency: name,
                    pass: pass,
                    worker: worker,
                    outcome,
                    microseconds: microseconds,
                    at: now
                )
            },
            gone: { [unowned self] in machine.workerGone($0, at: MonotonicClock.now()) },
            settle: { [unowned self] in if machine.hasCallsToSettle { receive(.callsSettled) } },
            warn: { [unowned self] in record(subject: nil, kind: "warning", $0) }
        )
    }

    /// The kernel's word on who connected. A process that connects right after its start may be ahead of the report of
    /// it, as with notifications.
    private func caller(_ peer: PeerCredentials) -> Result<InstanceID, CallSocket.Failure> {
        link?.receivePending()
        guard let users = notify?.users else { return .failure(CallSocket.Failure(refusal: .unknownPeer)) }
        var patience = StartReportPatience.ofOneTurn
        switch sender(peer.pid, peer.uid, users, MonotonicClock.now(), &patience) {
        case .main(let id, _), .relative(let id, _): return .success(id)
        case .stranger: return .failure(CallSocket.Failure(refusal: .unknownPeer))
        case .notLookedUp: return .failure(CallSocket.Failure(refusal: .notLookedUp))
        }
    }

    /// One timer, and only while there are calls: a fleet that makes none costs nothing.
    private func showCallsSoon(_ now: MonotonicInstant) {
        if callsTimer != nil { return }
        callsTimer = reactor.schedule(at: now.advanced(by: Self.figuresInterval)) { [unowned self] in
            callsTimer = nil
            machine.showCalls()
        }
    }
}
