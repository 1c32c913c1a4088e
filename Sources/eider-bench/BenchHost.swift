import Glibc
import LinuxPlatform
import SupervisorCore

/// Why something could not be measured. The text begins with "cannot", or says what did not come.
struct BenchFailure: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) {
        self.description = description
    }
}

/// A real eiderd with one service. Its program lies beside this one.
final class BenchHost {
    let directory: String
    private let pid: Int32

    /// - Parameters:
    ///   - breaker: lines of `[breaker]`.
    ///   - command: of the service, from the directory that the host has to itself.
    init(breaker: String = "", command: (String) -> [String]) throws {
        let own = try ExecutableLocation.current()
        let programs = own[..<(own.lastIndex(of: "/") ?? own.startIndex)]
        directory = "/tmp/eider-bench.\(getpid())"
        try Directories.make(directory, mode: 0o755)
        let words = command(directory).map { "\"\($0)\"" }.joined(separator: ", ")
        try FileSystem.replace(
            directory + "/eider.toml",
            with: """
                [node]
                name = "bench"
                state_directory = "\(directory)/state"
                runtime_directory = "\(directory)/run"
                [health]
                listen = ["127.0.0.1:0"]
                [control]
                socket = "\(directory)/control.sock"
                [drain]
                notice_min = "0s"
                notice_max = "0s"
                [services.bench]
                command = [\(words)]
                type = "simple"
                [breaker]
                \(breaker)

                """
        )
        pid = try Program.start(["\(programs)/eiderd", "--config", directory + "/eider.toml"])
    }

    func stop() { Program.stop(pid) }
}

/// Programs that run beside this one.
enum Program {
    static func start(_ words: [String]) throws -> Int32 {
        var start = ProgramStart(arguments: words)
        start.environment = OwnProgram.environment()
        let null = try FileDescriptors.open("/dev/null", flags: O_RDWR)
        start.descriptors = [null.rawValue, null.rawValue, null.rawValue]
        guard case .running(let pid) = start.start() else { throw BenchFailure("cannot start \(words[0])") }
        _ = null.rawValue
        return pid
    }

    static func stop(_ pid: Int32) {
        kill(pid, SIGTERM)
        _ = eventually(within: .seconds(15)) { ChildProcess.reap(pid) }
    }
}

/// Asks again and again, until there is an answer.
///
/// - Parameter pause: microseconds between two questions; 0 where the answer's moment is measured.
func eventually<Answer>(within patience: Duration = .seconds(20), pause: UInt32 = 20_000, _ ask: () -> Answer?)
    -> Answer?
{
    let end = MonotonicClock.now().advanced(by: patience)
    while MonotonicClock.now() < end {
        if let answer = ask() { return answer }
        if pause > 0 { usleep(pause) }
    }
    return nil
}
