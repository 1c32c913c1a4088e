import NIOCore
import NIOEmbedded
import SupervisorCore

@testable import Prober

/// The handlers of one probe without a network.
final class EmbeddedExchange: ExchangeOwner {
    let limits: ProberLimits
    var provisional: ProbeOutcome?
    private(set) var outcome: ProbeOutcome?
    let channel = EmbeddedChannel()

    init(_ plan: ProbePlan, limits: ProberLimits = ProberLimits()) throws {
        self.limits = limits
        let pipeline = channel.pipeline.syncOperations
        if case .http = plan.question {
            try HTTPExchange.addHandlers(to: pipeline, plan, self)
        } else {
            try CallExchange.addHandlers(to: pipeline, plan, self)
        }
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    }

    func finish(_ outcome: ProbeOutcome) {
        guard self.outcome == nil else { return }
        self.outcome = outcome
        channel.close(promise: nil)
    }

    /// Returns whether there is still no outcome.
    func receive(_ bytes: some Collection<UInt8>) -> Bool {
        guard outcome == nil else { return false }
        channel.pipeline.fireChannelRead(ByteBuffer(bytes: bytes))
        channel.pipeline.fireChannelReadComplete()
        return outcome == nil
    }

    /// The other side closes.
    func end() {
        channel.close(promise: nil)
        channel.embeddedEventLoop.run()
        while (try? channel.readOutbound(as: IOData.self)) != nil {}
    }
}
