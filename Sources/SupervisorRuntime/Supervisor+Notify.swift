import LinuxPlatform
import ShimProtocol
import SupervisorCore

// What workers say on the notify socket.
extension Supervisor {
    /// How long reports of the shim are waited for, in one turn, when processes speak before their start was reported.
    /// It is the shim's own reaction time, which a busy host stretches; a `READY=1` that was lost would not come again.
    static let startReportPatience: Duration = .seconds(1)

    func watchNotifySocket(_ descriptor: Int32) throws(SystemError) {
        let services = configuration.spec.services
        let users = WorkerUsers(services.lazy.map { $0.credentials?.uid ?? Accounts.ownUserID })
        notify = NotifyIntake(descriptor: descriptor, users: users)
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
        let users = intake.users
        var patience = StartReportPatience.ofOneTurn
        let outcome = intake.drain(now: now) { pid, uid in
            switch sender(pid, uid, users, now, &patience) {
            case .main: .main
            case .relative: .relative
            case .stranger: .refused(.unknownSender)
            case .notLookedUp: .refused(.tooManySenders)
            }
        } deliver: { pid, uid, message in
            switch sender(pid, uid, users, now, &patience) {
            case .main(let id, let generation), .relative(let id, let generation):
                deliver(message, id, generation)
                return true
            case .stranger, .notLookedUp: return false
            }
        }
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

    /// The sender is the kernel's word; the text is never trusted.
    private func deliver(_ message: NotifyMessage, _ id: InstanceID, _ generation: Generation) {
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
    }

    func sender(
        _ pid: Int32,
        _ uid: UInt32,
        _ users: WorkerUsers,
        _ now: MonotonicInstant,
        _ patience: inout StartReportPatience
    ) -> SenderIdentity.Answer {
        let answer = identity.resolve(pid, uid: uid, users: users, mains: mains, now: now)
        // The shim may have been interrupted between the start of a process and its report.
        guard machine.hasUnansweredStart, let link else { return answer }
        switch answer {
        case .main, .relative: return answer
        case .stranger(let parent):
            guard parent == shimProcess else { return answer }
            patience.wait(for: link) { mains[pid] != nil || !machine.hasUnansweredStart }
        case .notLookedUp: link.receivePending()
        }
        return mains[pid].map { .main($0.0, $0.1) } ?? answer
    }

    private func takeMainPid(_ pid: Int32, _ id: InstanceID, _ generation: Generation) -> Bool {
        if let (instance, _) = mains[pid] { return instance == id }
        guard identity.isInTree(pid, of: id, mains: mains) else { return false }
        link?.send(.adoptMain(id, generation, pid: pid))
        return true
    }
}

/// What one turn may still wait: many who are waited for do not add up.
struct StartReportPatience {
    static var ofOneTurn: StartReportPatience { StartReportPatience(left: Supervisor.startReportPatience) }

    private var left: Duration

    /// Takes reports until the one that is waited for has come, or patience is at its end.
    mutating func wait(for link: ShimLink, until done: () -> Bool) {
        while left > .zero, !done() {
            let start = MonotonicClock.now()
            link.waitForReport(left)
            left -= MonotonicClock.now().since(start)
        }
    }
}
