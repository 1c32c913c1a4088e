import ControlServer
import FleetConfig
import Glibc
import HealthServer
import LinuxPlatform
import Metrics
import NIOCore
import NIOPosix
import StatusBoard
import SupervisorCore
import SupervisorRuntime
import SystemdBridge

/// The daemon: reads the command line and the configuration, and wires the parts together.
@main
enum Eiderd {
    static let version = "0.1.0"

    /// As of sysexits(3), and INTERFACE.md §1.
    enum ExitCode {
        static let done: Int32 = 0
        static let failed: Int32 = 1
        static let usage: Int32 = 64
        static let configuration: Int32 = 78
    }

    static func main() {
        StandardDescriptors.fillGaps()
        switch Arguments.parse(Array(CommandLine.arguments.dropFirst())) {
        case .failure(let error):
            complain(error.text)
            exit(ExitCode.usage)
        case .success(let arguments):
            exit(run(arguments))
        }
    }

    private static func run(_ arguments: Arguments) -> Int32 {
        switch arguments.mode {
        case .help:
            print(Arguments.usage, terminator: "")
            return ExitCode.done
        case .version:
            print("eiderd \(version)")
            return ExitCode.done
        case .check: return check(arguments)
        case .takeoverCheck: return takeoverCheck(arguments)
        case .run: return supervise(arguments)
        }
    }

    /// Writes each line to standard error, with our name before it.
    static func complain(_ text: String) {
        for line in text.split(separator: "\n") { StandardError.line("eiderd: \(line)") }
    }

    static func load(_ arguments: Arguments, keepingProvenance: Bool = false) -> Configuration? {
        switch ConfigurationLoader.load(
            path: arguments.configuration,
            keepingProvenance: keepingProvenance,
            checkingHost: keepingProvenance
        ) {
        case .success(let configuration): return configuration
        case .failure(let errors):
            complain(errors.description)
            return nil
        }
    }

    /// `--check`: what this host lacks is an error here, because somebody asks; a daemon that runs starts what it can.
    private static func check(_ arguments: Arguments) -> Int32 {
        guard let configuration = load(arguments, keepingProvenance: true) else { return ExitCode.configuration }
        let lacking = HostCheck.check(configuration)
        for diagnostic in lacking { complain(diagnostic.description) }
        if !lacking.isEmpty { return ExitCode.configuration }
        print(arguments.verbose ? configuration.verboseListing() : configuration.summary())
        return ExitCode.done
    }

    /// A running daemon asks whether this program can take its place.
    private static func takeoverCheck(_ arguments: Arguments) -> Int32 {
        guard let configuration = load(arguments) else { return ExitCode.configuration }
        print(TakeoverAnswer(configuration.spec).text, terminator: "")
        return ExitCode.done
    }

    private static func supervise(_ arguments: Arguments) -> Int32 {
        // From the first moment: a stop that is asked for while we start must not end us alone, with the fleet left.
        try? Signals.block(Supervisor.signals)
        guard let configuration = load(arguments) else { return ExitCode.configuration }
        do {
            let ending = try Daemon.run(configuration, path: arguments.configuration)
            switch ending {
            case .stopped: return ExitCode.done
            case .failed(let text):
                complain(text)
                return ExitCode.failed
            case .replaced:
                let program = try ExecutableLocation.current()
                let words = [program] + CommandLine.arguments.dropFirst()
                complain(OwnProgram.replace(by: words, environment: OwnProgram.environment()).description)
                return ExitCode.failed
            }
        } catch {
            complain("\(error)")
            return ExitCode.failed
        }
    }
}
