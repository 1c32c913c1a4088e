import StatusBoard
import SupervisorCore

/// Renders answers of the HAProxy agent port.
///
/// HAProxy's words stick: `drain` is not undone by `up`, nor `down` by `ready`. So each answer says both the
/// operational and the administrative state. A space must stand before `#`, or the line is ignored.
enum AgentRenderer {
    /// Longest reason, bytes.
    static let reasonBytes = 160

    /// The name of the node in requests, besides the empty line.
    static let node = "node"

    /// For a name that is nobody's.
    static let unknown = Array("down # unknown service\n".utf8)

    /// The node's line.
    static func nodeLine(_ fleet: FleetStatus) -> String {
        let ready = fleet.services.reduce(0) { $0 &+ $1.ready }
        let desired = fleet.services.reduce(0) { $0 &+ $1.desired }
        return line(.node(fleet.node), ready: ready, desired: desired)
    }

    static func line(_ service: ServiceStatus) -> String {
        line(.service(service), ready: service.ready, desired: service.desired)
    }

    static func line(_ instance: InstanceStatus) -> String {
        line(.instance(instance), ready: 1, desired: 1)
    }

    /// - Parameters:
    ///   - ready: with `desired`, the weight while degraded.
    static func line(_ verdict: Verdict, ready: Int, desired: Int) -> String {
        switch verdict.state {
        // Also once it is drained: what comes next is `undrain`, and `ready` undoes nothing but `drain`.
        case .draining, .drained, .stopping: return "up drain\n"
        case .stopped: return "stopped # \(reason(verdict))\n"
        default: break
        }
        if verdict.status == .fail { return "down # \(reason(verdict))\n" }
        guard verdict.state == .degraded || verdict.state == .breakerOpen, desired > 0 else { return "up ready 100%\n" }
        let percent = (Double(ready) / Double(desired) * 100).rounded(.down)
        return "up ready \(Int(min(100, max(1, percent))))%\n"
    }

    /// What decides in one of these lines.
    static func word(_ line: ArraySlice<UInt8>) -> ProberAnswer.Word {
        if line.starts(with: "up ready".utf8) { return .up }
        if line.starts(with: "up drain".utf8) { return .drain }
        return line.starts(with: "stopped".utf8) ? .stopped : .down
    }

    private static func reason(_ verdict: Verdict) -> String { verdict.failure.singleLine(bytes: reasonBytes) }
}
