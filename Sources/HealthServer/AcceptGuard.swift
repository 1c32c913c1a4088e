import NIOCore
import SupervisorCore

/// Keeps a listener from spinning while the process has no descriptors or memory for another connection.
///
/// The kernel reports a waiting connection for as long as it waits, so that retrying at once would take a whole
/// processor. Accepting pauses instead, and the connection that has been idle longest gives its descriptor up.
final class AcceptGuard: ChannelInboundHandler {
    typealias InboundIn = any Channel

    private let service: HealthService

    init(_ service: HealthService) {
        self.service = service
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Nobody above needs to hear of it: whatever is fatal closes the listener, and that is noticed.
        service.counters.acceptFailures &+= 1
        service.evictIdle()
        guard let options = context.channel.syncOptions else { return }
        try? options.setOption(.autoRead, value: false)
        let pause = TimeAmount.nanoseconds(service.limits.acceptPause.clampedNanoseconds)
        context.eventLoop.assumeIsolated().scheduleTask(in: pause) {
            try? options.setOption(.autoRead, value: true)
        }
    }
}
