import NIOCore

/// Speaks systemd's notify protocol (sd_notify(3)) from the event loop, and never waits for whoever listens.
final class Notifier {
    /// Messages kept while the receiver's queue is full; the oldest heartbeat or count is worth nothing by then.
    private static let pendingLimit = 64
    private static let retryDelay = TimeAmount.milliseconds(10)
    /// Changes of the in-flight count within this time are one message.
    private static let inFlightDelay = TimeAmount.milliseconds(20)

    private let path: String
    private let descriptor: Int32
    private let loop: any EventLoop
    private var pending: [String] = []
    private var retryScheduled = false
    private var inFlight = 0
    private var inFlightSent = 0
    private var inFlightScheduled = false

    /// nil when nobody wants to be notified.
    init?(path: String?, loop: any EventLoop) {
        guard let path, !path.isEmpty, let descriptor = System.openDatagramSocket() else { return nil }
        self.path = path
        self.descriptor = descriptor
        self.loop = loop
    }

    func send(_ message: String) {
        if pending.count >= Self.pendingLimit { pending.removeFirst() }
        pending.append(message)
        flush()
    }

    /// Says the number of requests in flight: soon, or now when the process may end before soon.
    func report(inFlight count: Int, now: Bool) {
        inFlight = count
        if now { return sendInFlight() }
        if inFlightScheduled { return }
        inFlightScheduled = true
        loop.assumeIsolated().scheduleTask(in: Self.inFlightDelay) {
            self.inFlightScheduled = false
            self.sendInFlight()
        }
    }

    private func sendInFlight() {
        if inFlight == inFlightSent { return }
        inFlightSent = inFlight
        send("X_EIDER_IN_FLIGHT=\(inFlight)")
    }

    private func flush() {
        while let message = pending.first {
            let code = System.send(message, to: path, from: descriptor)
            if System.isTemporary(code) { return retryLater() }
            pending.removeFirst()
        }
    }

    private func retryLater() {
        if retryScheduled { return }
        retryScheduled = true
        loop.assumeIsolated().scheduleTask(in: Self.retryDelay) {
            self.retryScheduled = false
            self.flush()
        }
    }
}
