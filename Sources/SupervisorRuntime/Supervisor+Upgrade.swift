import LinuxPlatform
import StatusBoard
import SupervisorCore

/// The program on disk, asked whether it can take over.
struct UpgradeCheck {
    var pid: Int32
    var caller: Caller
    var reply: @Sendable (OperationResult) -> Void
    var timeout: UInt64
    /// Where it writes its answer.
    var answer: SharedDescriptor
}

// `eiderctl upgrade`: the daemon replaces itself in place (the pid stays, so systemd and the shim notice nothing), but
// only after the new program has shown that it starts, reads the configuration and speaks the shim's protocol.
extension Supervisor {
    private static let checkTimeout: Duration = .seconds(10)

    func beginUpgrade(by caller: Caller, _ reply: @escaping @Sendable (OperationResult) -> Void) {
        if upgrade != nil { return reply(.refused("an upgrade is being checked already")) }
        if link == nil { return reply(.refused("the shim is gone; try again when a new one runs")) }
        record(subject: nil, kind: "upgrade-asked", "\(caller.name) asked for an upgrade to \(configuration.program)")
        let pipe: (read: SharedDescriptor, write: SharedDescriptor)
        do throws(SystemError) {
            pipe = try FileDescriptors.pipe(nonblocking: true)
        } catch {
            return reply(.failed("cannot upgrade: \(error); this daemon goes on"))
        }
        var check = ProgramStart(
            arguments: [
                configuration.program, "--takeover-check", "--config", configuration.configurationPath,
            ]
        )
        check.environment = OwnProgram.environment().filter { !$0.hasPrefix("NOTIFY_SOCKET=") }
        check.descriptors = [2, pipe.write.rawValue, 2]
        switch check.start() {
        case .running(let pid):
            let timeout = reactor.schedule(at: MonotonicClock.now().advanced(by: Self.checkTimeout)) { [unowned self] in
                try? Signals.send(.kill, to: pid)
                finishUpgrade(.failed("it did not answer within \(Self.checkTimeout.brief)"))
            }
            upgrade = UpgradeCheck(pid: pid, caller: caller, reply: reply, timeout: timeout, answer: pipe.read)
        case .failed(let failure):
            reply(.failed("cannot upgrade: \(failure); this daemon goes on"))
        }
    }

    /// The check ended: take over, or stay.
    func upgradeCheckExited(_ status: ExitStatus) {
        guard let check = upgrade else { return }
        if status != .code(0) {
            return finishUpgrade(.failed("it \(status.inWords) when asked whether it can take over"))
        }
        guard let answer = Self.read(check.answer) else {
            return finishUpgrade(.failed("it does not answer as an eiderd does when asked whether it can take over"))
        }
        let own = TakeoverAnswer(configuration.spec)
        if let obstacle = answer.obstacle(own: own, held: Set(listeners.keys)) {
            return finishUpgrade(.failed(obstacle))
        }
        finishUpgrade(.passed)
    }

    private static func read(_ answer: SharedDescriptor) -> TakeoverAnswer? {
        var buffer = [UInt8](repeating: 0, count: TakeoverAnswer.maximumBytes)
        let count = try? buffer.withUnsafeMutableBytes { (bytes) throws(SystemError) in
            try FileDescriptors.read(answer.rawValue, into: bytes)
        }
        guard let count = count ?? nil else { return nil }
        return TakeoverAnswer(parsing: String(decoding: buffer[..<count], as: UTF8.self))
    }

    private enum CheckResult {
        case passed
        case failed(String)
    }

    private func finishUpgrade(_ result: CheckResult) {
        guard let check = upgrade else { return }
        upgrade = nil
        reactor.cancel(check.timeout)
        switch result {
        case .passed:
            record(subject: nil, kind: "upgrade", "the new program takes over")
            check.reply(.done)
            end(.replaced)
        case .failed(let text):
            record(subject: nil, kind: "upgrade-refused", "cannot upgrade: \(configuration.program): \(text)")
            check.reply(
                .failed("cannot upgrade: \(configuration.program): \(text); see the daemon's log. This daemon goes on")
            )
        }
    }
}
