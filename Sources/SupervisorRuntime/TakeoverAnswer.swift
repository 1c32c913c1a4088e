import LinuxPlatform
import ShimProtocol
public import SupervisorCore

/// What a program says when it is asked whether it can take over (`eiderd --takeover-check`): lines that only an eiderd
/// writes. The running daemon compares them with itself before it lets go.
public struct TakeoverAnswer: Equatable, Sendable {
    private static let firstLine = "eider-takeover 1"
    /// More than any fleet's answer needs.
    static let maximumBytes = 64 << 10

    var shimProtocol: UInt32
    var stateDirectory: String
    var runtimeDirectory: String
    var listen: [ListenAddress]
    var controlSocket: String

    /// The answer of this program for a configuration that it has read.
    public init(_ spec: FleetSpec) {
        shimProtocol = shimProtocolVersion
        stateDirectory = spec.node.stateDirectory
        runtimeDirectory = spec.node.runtimeDirectory
        listen = spec.health.listen + spec.health.agentListen
        controlSocket = spec.control.socket
    }

    /// The lines to write on standard output.
    public var text: String {
        var lines = [
            Self.firstLine, "protocol \(shimProtocol)", "state \(stateDirectory)", "runtime \(runtimeDirectory)",
        ]
        lines += listen.map { "listen \($0.port) \($0.host)" }
        lines.append("control \(controlSocket)")
        return lines.joined(separator: "\n") + "\n"
    }

    /// Reads what a program wrote; nil when it is not such an answer, whole.
    init?(parsing text: String) {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)[...]
        guard lines.popFirst().map({ $0 == Self.firstLine }) ?? false, lines.popLast() == "" else { return nil }
        self.init(FleetSpec())
        listen = []
        var seen: Set<Substring> = []
        for line in lines {
            let parts = line.split(separator: " ", maxSplits: 1)
            guard parts.count == 2, seen.insert(parts[0]).inserted || parts[0] == "listen" else { return nil }
            switch parts[0] {
            case "protocol":
                guard let version = UInt32(parts[1]) else { return nil }
                shimProtocol = version
            case "state": stateDirectory = String(parts[1])
            case "runtime": runtimeDirectory = String(parts[1])
            case "control": controlSocket = String(parts[1])
            case "listen":
                let address = parts[1].split(separator: " ", maxSplits: 1)
                guard address.count == 2, let port = Int(address[0]) else { return nil }
                listen.append(ListenAddress(host: String(address[1]), port: port))
            // A newer program may say more.
            default: break
            }
        }
        guard seen.isSuperset(of: ["protocol", "state", "runtime", "control"]) else { return nil }
    }

    /// Why the program cannot take over from a daemon that runs with `own` and holds `held`; nil when it can.
    func obstacle(own: TakeoverAnswer, held: Set<HeldName>) -> String? {
        if shimProtocol != own.shimProtocol {
            return
                "it speaks version \(shimProtocol) of the shim's protocol, and the shim that runs \(own.shimProtocol)"
        }
        if stateDirectory != own.stateDirectory || runtimeDirectory != own.runtimeDirectory {
            return "the configuration names other state or runtime directories; stop the fleet to move them"
        }
        for address in listen where address.port != 0 && !held.contains(HeldNames.health(address)) {
            do throws(SystemError) {
                _ = try TCPListener.listen(host: address.host, port: address.port)
            } catch {
                return error.description
            }
        }
        if controlSocket != own.controlSocket, let slash = controlSocket.lastIndex(of: "/"),
            !FileKind.isDirectory(String(controlSocket[..<slash]))
        {
            return "cannot make \(controlSocket): its directory does not exist"
        }
        return nil
    }
}
