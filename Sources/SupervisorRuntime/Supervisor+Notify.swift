import LinuxPlatform
import ShimProtocol
import SupervisorCore

// What workers say on the notify socket.
extension Supervisor {
    /// How long an answer of the shim is waited for when a process speaks before its start was reported.
    private static let startReportPatience: Duration = .milliseconds(20)

    func watchNotifySocket(_ descriptor: Int32) throws(SystemError) {
        notify = NotifyIntake(descriptor: descriptor)
        try reactor.watch(descriptor) { [unowned self] _ in drainNotifySocket() }
    }

    /// Takes what waits on the socket. True: there is more than one turn's share.
    @discardableResult
    func drainNotifySocket() -> Bool {
        guard var intake = notify else { return false }
        // Taken out while it works, so that its tables are not copied.
        notify = nil
        // What the shim has said comes first: a start is reported before its process can speak.
        link?.receivePending()
        let now = MonotonicClock.now()
        let outcome = intake.drain(now: now) { pid, _, message in deliver(message, from: pid, now) }
        notify = intake
        if let number = outcome.errno {
            let error = SystemError(call: "read the notify socket", errno: number)
            record(subject: nil, kind: "warning", error.description)
        }
        if let timer = notifyTimer { reactor.cancel(timer) }
        notifyTimer = intake.nextDeadline.map { deadline in
            reactor.schedule(at: deadline) { [unowned self] in
                notifyTimer = nil
                drainNotifySocket()
            }
        }
        return outcome.more
    }

    /// Trusts the sender's credentials, never the text. False: the sender belongs to no instance.
    private func deliver(_ message: NotifyMessage, from pid: Int32, _ now: MonotonicInstant) -> Bool {
        guard let (id, generation) = sender(pid, now) else { return false }
        var message = message
        if let claimed = message.mainPid {
            message.mainPid = nil
            if !takeMainPid(claimed, id, generation) {
                record(
                    subject: id.description,
                    kind: "warning",
                    "\(id) named process \(claimed) as its main process; refused: it is not of its tree"
                )
            }
        }
        receive(.notified(id, generation, message))
        // On its way to the shim's memory before the datagram leaves the socket.
        link?.flush()
        return true
    }

    private func sender(_ pid: Int32, _ now: MonotonicInstant) -> (InstanceID, Generation)? {
        if let found = identity.resolve(pid, mains: mains, now: now) { return found }
        // The shim may have been interrupted between the start of a process and its report.
        guard machine.hasUnansweredStart, ProcessTable.entry(pid)?.parent == shimProcess else { return nil }
        link?.waitForReport(Self.startReportPatience)
        return mains[pid]
    }

    private func takeMainPid(_ pid: Int32, _ id: InstanceID, _ generation: Generation) -> Bool {
        if let (instance, _) = mains[pid] { return instance == id }
        guard identity.isInTree(pid, of: id, mains: mains) else { return false }
        link?.send(.adoptMain(id, generation, pid: pid))
        return true
    }
}
