import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// One line on standard error that says how far a wait is, on terminals.
final class Progress: Sendable {
    private static let interval: TimeAmount = .milliseconds(500)

    private let client: DaemonClient
    private let title: String
    private let services: Set<String>
    private let loop = MultiThreadedEventLoopGroup.singleton.next()
    private let began = NIODeadline.now()
    private let state = Mutex(State())

    private struct State {
        var task: RepeatedTask?
        var stopped = false
        var shown = false
    }

    init(_ client: DaemonClient, _ title: String, _ targets: [String]) {
        self.client = client
        self.title = title
        services = Set(targets.map { String($0.prefix { $0 != "/" }) })
    }

    func start() {
        let task = loop.scheduleRepeatedAsyncTask(initialDelay: Self.interval, delay: Self.interval) { [self] _ in
            client.start(.GET, "/v1/status").map { answer in
                if let status = try? JSONText.decode(StatusAnswer.self, answer.body) { self.show(status) }
            }.recover { _ in }
        }
        state.withLock { $0.task = task }
    }

    func stop() {
        state.withLock { state in
            state.stopped = true
            state.task?.cancel()
            if state.shown { Output.error("\r\u{1B}[K") }
        }
    }

    private func show(_ status: StatusAnswer) {
        let elapsed = Double((NIODeadline.now() - began).nanoseconds) / 1e9
        // Without targets it is about whatever is not at rest.
        let shown = status.services.filter { services.isEmpty ? Self.what($0) != nil : services.contains($0.name) }
        let text = Self.line(title, shown, elapsed)
        state.withLock { state in
            if state.stopped { return }
            state.shown = true
            Output.error("\r\u{1B}[K" + Columns.clip(text, Terminal.current.width - 1))
        }
    }

    /// `auth/1 starting`, or `1/2: drains auth/1` of a rolling restart; nil when nothing goes on.
    private static func what(_ service: StatusAnswer.Service) -> String? {
        if let roll = service.rolling { return "\(roll.replaced)/\(roll.total): \(roll.text)" }
        let busy = service.instances.first { !["healthy", "stopped"].contains($0.state) }
        return busy.map { "\($0.name) \($0.state)" }
    }

    /// `restarting auth: auth 1/2 ready (auth/1 starting), 12s`
    static func line(_ title: String, _ services: [StatusAnswer.Service], _ elapsed: Double) -> String {
        let parts = services.map { service in
            "\(service.name) \(service.ready)/\(service.desired) ready" + (what(service).map { " (\($0))" } ?? "")
        }
        return Columns.printable("\(title): \((parts + [TimeText.brief(elapsed)]).joined(separator: ", "))")
    }
}
