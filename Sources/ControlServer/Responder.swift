import ControlProtocol
import NIOCore
import StatusBoard
import SupervisorCore

/// Decides what a request is answered; knows nothing of HTTP but the method and the path.
struct Responder: Sendable {
    let board: StatusBoard
    let port: any SupervisorPort
    let version: String
    let clock: @Sendable () -> MonotonicInstant
    let eventsPerTurn: Int

    init(
        board: StatusBoard,
        port: any SupervisorPort,
        version: String,
        clock: @escaping @Sendable () -> MonotonicInstant,
        eventsPerTurn: Int
    ) {
        self.board = board
        self.port = port
        self.version = version
        self.clock = clock
        self.eventsPerTurn = eventsPerTurn
    }

    enum Answer {
        case document([UInt8])
        case stream(Feed, follow: Bool)
        /// Ask the port.
        case command(Command, wait: Bool)
        case upgrade
        case planDrain(DrainRequest)
        case reload(dryRun: Bool, wait: Bool)
    }

    func answer(
        method: String,
        uri: String,
        by caller: Caller,
        _ level: AccessPolicy.Level
    ) throws(ControlError) -> Answer {
        if level == .none { throw Self.denied(caller, "use the control socket", "control.admins or control.readers") }
        let request = try RequestRouter.route(method: method, uri: uri)
        if request.acts, level < .admin { throw Self.denied(caller, request.inWords, "control.admins") }
        let snapshot = board.snapshot
        if !request.targets.isEmpty {
            let catalog = TargetCatalog(port.spec, snapshot.fleet)
            for target in request.targets {
                if let problem = catalog.problem(with: target) { throw problem }
            }
        }
        switch request {
        case .status(let target):
            return .document(StatusDocument(snapshot, now: clock(), target: target).json)
        case .why(let target): return .document(why(target, snapshot))
        case .command(let command, let wait): return .command(command, wait: wait)
        case .logs(let stream): return .stream(.logs(LogFeed(port.logs, stream)), follow: stream.follow)
        case .events(let stream): return .stream(.events(events(stream)), follow: stream.follow)
        case .version: return .document(SmallDocuments.version(version))
        case .breakers(let name):
            let document = BreakerDocument(snapshot, now: clock())
            return .document(try name.map { name throws(ControlError) in try document.json(of: name) } ?? document.json)
        case .upgrade: return .upgrade
        case .drainStatus(let target): return .document(DrainDocument(snapshot, now: clock(), target: target).json)
        case .planDrain(let request): return .planDrain(request)
        case .reload(let dryRun, let wait): return .reload(dryRun: dryRun, wait: wait)
        }
    }

    private func why(_ target: Target?, _ snapshot: StatusBoard.Snapshot) -> [UInt8] {
        let events = port.events.events(
            after: 0,
            subject: target?.description,
            limit: WhyDocument.Limits.events
        )
        let logs = port.logs.tail(target, limit: WhyDocument.Limits.logLines)
        return WhyDocument(
            snapshot,
            spec: port.spec,
            target: target,
            now: clock(),
            events: events,
            logs: logs
        ).json
    }

    private func events(_ stream: ControlRequest.Stream) -> EventFeed {
        // The sequence number is read before the state, so that nothing is missing between the two.
        let last = port.events.events(after: 0, subject: nil, limit: 1).last?.sequence ?? 0
        let status = StatusDocument(board.snapshot, now: clock(), target: stream.target)
        return EventFeed(
            port.events,
            stream,
            last: last,
            perTurn: eventsPerTurn,
            snapshot: stream.follow ? StreamLine.snapshot(status, sequence: last) : nil
        )
    }

    /// How the port's word is answered.
    ///
    /// - Parameter request: what was asked; stands after "cannot" where the word does not say it.
    static func answer(
        _ result: OperationResult,
        to request: ControlRequest,
        done: [UInt8]
    ) -> Result<[UInt8], ControlError> {
        switch result {
        case .done: .success(done)
        case .failed(let text): .failure(ControlError(.failed, whole(text, request)))
        case .unknownTarget(let text):
            .failure(ControlError(.unknownTarget, text.contains(" ") ? text : "cannot find \(text)"))
        case .refused(let text): .failure(ControlError(.refused, whole(text, request)))
        case .deadlineReached(let text): .failure(ControlError(.failed, text))
        }
    }

    /// How the end of a command is answered. A drain is answered with how it stands, also where it lost something.
    func answer(_ result: OperationResult, to command: Command, wait: Bool) -> Result<[UInt8], ControlError> {
        if case .breaker(let name, _, _) = command, case .unknownTarget = result {
            return .failure(BreakerDocument.unknown(name, board.snapshot.fleet.breakers))
        }
        let request = ControlRequest.command(command, wait: wait)
        guard case .drain(let drain) = command else {
            return Self.answer(result, to: request, done: SmallDocuments.commanded(command, waited: wait))
        }
        let document = DrainDocument(board.snapshot, now: clock(), target: drain.target)
        switch result {
        case .done:
            let word = wait ? "done" : "accepted"
            return .success(SmallDocuments.drained(drain, result: word, text: nil, document))
        case .deadlineReached(let text):
            return .success(SmallDocuments.drained(drain, result: "deadline-reached", text: text, document))
        case .failed, .unknownTarget, .refused: return Self.answer(result, to: request, done: [])
        }
    }

    func answer(_ plan: DrainPlan, to request: DrainRequest) -> Result<[UInt8], ControlError> {
        switch plan {
        case .admitted(let status):
            let document = DrainDocument(status, board.snapshot, now: clock())
            return .success(SmallDocuments.drained(request, result: "planned", text: nil, document))
        case .refused(let text): return .failure(ControlError(.refused, Self.whole(text, .planDrain(request))))
        }
    }

    static func answer(_ result: ReloadResult, wait: Bool) -> Result<[UInt8], ControlError> {
        let request = ControlRequest.reload(dryRun: false, wait: wait)
        switch result {
        case .planned(let plan): return .success(ReloadDocument.json(plan, result: "planned"))
        case .applied(_, .failed(let text)):
            let lines = "cannot finish the reload: the new configuration is in force, but \(text)"
            return .failure(ControlError(.failed, lines + "; see eiderctl events"))
        case .applied(let plan, let end):
            return answer(end, to: request, done: ReloadDocument.json(plan, result: wait ? "done" : "accepted"))
        case .invalid(let lines):
            let errors = lines.count == 1 ? "an error" : "\(lines.count) errors"
            let text = "cannot reload the configuration: it has \(errors); mend the file, the old one stays in force"
            return .failure(ControlError(.invalidConfiguration, ([text] + lines).joined(separator: "\n")))
        case .refused(let text): return .failure(ControlError(.refused, whole(text, request)))
        }
    }

    /// What cannot be done, why, and what to do next, where the text is only the why.
    private static func whole(_ text: String, _ request: ControlRequest) -> String {
        if text.hasPrefix("cannot ") { return text }
        let why = "cannot \(request.inWords): \(text)"
        guard !text.contains(";"), let target = request.targets.first else { return why }
        return "\(why); see eiderctl why \(target)"
    }

    private static func denied(_ caller: Caller, _ what: String, _ key: String) -> ControlError {
        let entry = caller.name == "\(caller.uid)" ? "" : ", or one of their @groups,"
        return ControlError(
            .notPermitted,
            "cannot \(what): user \(caller.name) (uid \(caller.uid)) is not allowed to; an administrator can add "
                + "\"\(caller.name)\"\(entry) to \(key) in the daemon's configuration"
        )
    }
}
