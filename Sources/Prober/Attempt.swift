import NIOCore
import SupervisorCore

/// Takes the outcome of an exchange over a connection.
protocol ExchangeOwner: AnyObject {
    var limits: ProberLimits { get }
    /// What counts when the time is over; nil as long as nothing is known.
    var provisional: ProbeOutcome? { get set }
    /// The first outcome counts.
    func finish(_ outcome: ProbeOutcome)
}

/// One run of one probe: finds an address, connects, leaves the rest to the handlers, closes.
final class Attempt: ExchangeOwner {
    private let run: UInt64
    let key: ProbeKey
    private let plan: ProbePlan
    let limits: ProberLimits
    /// Not asked once this is done: the loop may be gone by then.
    private unowned let probes: ProbeLoop
    private var channel: (any Channel)?
    private var addresses: ArraySlice<SocketAddress> = []
    /// The name that is being looked up.
    private var name: String?
    /// What came of the addresses before.
    private var earlier: ProbeOutcome?
    private(set) var isDone = false
    /// The question went the short way.
    private var isAsked = false
    var provisional: ProbeOutcome?

    init(_ order: Agenda.Order, _ probes: ProbeLoop) {
        run = order.run
        key = order.key
        plan = order.plan
        limits = probes.limits
        self.probes = probes
    }

    // MARK: Addresses

    func begin() {
        switch plan.target {
        case .addresses(let addresses):
            self.addresses = addresses[...]
            connectToNext()
        case .name(let name):
            if let outcome = probes.lookUp(name, for: run) { return finish(outcome) }
            self.name = name
            provisional = .unknown(.name, "\(name) was not looked up in time")
        }
    }

    func resolved(_ answer: Lookups.Answer) {
        guard !isDone else { return }
        name = nil
        provisional = nil
        switch answer {
        case .failed(let obstacle, let text): finish(.unknown(obstacle, text))
        case .addresses(let addresses):
            self.addresses =
                addresses.map { address in
                    var address = address
                    address.port = plan.question.port
                    return address
                }[...]
            connectToNext()
        }
    }

    private func connectToNext() {
        guard !isDone, let address = addresses.popFirst() else { return }
        probes.connect(self, to: address)
    }

    /// Asks by plain system calls where that is possible, and is done where the answer is plain. Returns the connected
    /// socket where the rest is for a channel.
    func takeShortWay(to address: SocketAddress, waits: Bool) -> CInt? {
        isAsked = false
        guard var local = LocalConnection(to: address) else { return nil }
        let answer: LocalConnection.Answer?
        switch plan.question {
        case .tcp: answer = .success
        case .http: answer = local.ask(plan.request, waits: waits)
        case .grpc: answer = .open
        }
        switch answer {
        case .success?:
            local.close()
            finish(.success)
            return nil
        case .open?:
            isAsked = local.isAsked
            return local.descriptor
        case nil:
            local.close()
            return nil
        }
    }

    /// Before the channel connects.
    func prepare(_ channel: any Channel) throws {
        self.channel = channel
        let pipeline = channel.pipeline.syncOperations
        switch plan.question {
        case .tcp: break
        case .http:
            try HTTPExchange.addHandlers(to: pipeline, plan, isAsked: isAsked, self)
        case .grpc:
            try CallExchange.addHandlers(to: pipeline, plan, self)
        }
    }

    func connected(_ result: Result<any Channel, any Error>) {
        guard !isDone else { return }
        switch result {
        case .success(let channel):
            // A port that nobody listens on may be given to the very connection that is made to it.
            if let own = channel.localAddress, own == channel.remoteAddress {
                missed(.failure(Clauses.refused))
            } else if case .tcp = plan.question {
                finish(.success)
            }
        case .failure(let error): missed(Clauses.outcome(of: error))
        }
    }

    /// The address was no good.
    private func missed(_ outcome: ProbeOutcome) {
        // A refusal says more than that the host does not have this kind of address.
        if case .failure? = earlier {} else if earlier == nil || outcome.isFailure { earlier = outcome }
        if addresses.isEmpty { return finish(earlier ?? outcome) }
        channel?.close(promise: nil)
        channel = nil
        connectToNext()
    }

    // MARK: Ends

    func expire(_ outcome: ProbeOutcome) {
        finish(provisional ?? outcome)
    }

    func finish(_ outcome: ProbeOutcome) {
        guard !isDone else { return }
        end()
        probes.finished(run, outcome)
    }

    /// Ends without an outcome.
    func cancel() {
        guard !isDone else { return }
        end()
    }

    private func end() {
        isDone = true
        if let name { probes.forgetLookup(name, for: run) }
        channel?.close(promise: nil)
        channel = nil
    }
}

extension ProbeOutcome {
    var isFailure: Bool { if case .failure = self { true } else { false } }
}
