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

/// One life of the daemon, from the lock to the last word.
enum Daemon {
    /// Niceness. The workers have 0 each: beside 44 that take every core the 99th percentile of a probe's answer fell
    /// from 70 ms to 1 ms by this (Tests/Benchmarks/health).
    private static let priority: Int32 = -10

    /// Supervises until the fleet is stopped or the daemon is to be replaced.
    static func run(_ configuration: Configuration, path: String) throws -> Supervisor.Ending {
        let spec = configuration.spec
        ProcessMemory.limitArenas(to: 2)
        // Before any thread starts. Refused without privileges, which changes nothing but the odds.
        try? OwnProcess.setPriority(priority)
        // Before any thread starts: they inherit the mask.
        let signals = try SignalDescriptor(Supervisor.signals)
        try Signals.ignore(Signals.brokenPipe)
        // Inherited as ignored, the kernel would reap our children before we hear of them.
        try Signals.restore(Signals.child)
        umask(0o022)
        _ = try? OwnProcess.raiseDescriptorLimit()
        try Directories.make(spec.node.runtimeDirectory, mode: 0o755)
        try Directories.make(spec.node.stateDirectory, mode: 0o750)
        let lock = try lockState(spec.node.stateDirectory)
        let log = DaemonLog()
        for warning in configuration.warnings + HostCheck.check(configuration) {
            log.logNow(.warning, warning.description)
        }
        let supervisor = try Supervisor.make(
            try supervisorConfiguration(configuration, path: path),
            shimProgram: try shimProgram(),
            shimIsExternal: getenv("EIDER_SHIM").map { String(cString: $0) } == "systemd",
            log: log
        )
        try supervisor.connect()
        let listeners: Edges.Listeners
        do {
            listeners = try Edges.Listeners(supervisor, spec)
        } catch {
            supervisor.abandonEmptyShim()
            throw error
        }
        try supervisor.prepare(signals: signals)
        let edges = try Edges.start(supervisor, spec, listeners)
        let ending = try supervisor.run()
        edges.stop()
        supervisor.finish()
        _ = lock.rawValue
        return ending
    }

    /// One daemon per state directory. A daemon that is just dying is waited for, briefly. On a file system that became
    /// read-only a lock that is missing cannot be made: the directory is locked then.
    private static func lockState(_ directory: String) throws -> FileLock {
        let deadline = MonotonicClock.now().advanced(by: .seconds(1))
        var isReadOnly = false
        while true {
            do throws(FileLock.Refusal) {
                if isReadOnly { return try FileLock(directory: directory) }
                return try FileLock(path: directory + "/eiderd.lock")
            } catch {
                if !isReadOnly, case .failed(let problem) = error, problem.errno == EROFS {
                    isReadOnly = true
                    DaemonLog().logNow(.warning, "\(problem); the directory is locked instead")
                    continue
                }
                guard case .held(let pid, _) = error else { throw error }
                if MonotonicClock.now() >= deadline {
                    throw StartError(
                        "cannot start: another eiderd (pid \(pid.map { String($0) } ?? "unknown")) runs with the state "
                            + "directory \(directory); see: eiderctl status"
                    )
                }
                usleep(10_000)
            }
        }
    }

    /// The shim's program lies beside our own.
    private static func shimProgram() throws -> String {
        let own = try ExecutableLocation.current()
        let directory = own[..<(own.lastIndex(of: "/") ?? own.startIndex)]
        return directory + "/eider-shim"
    }

    private static func supervisorConfiguration(
        _ configuration: Configuration,
        path: String
    ) throws -> SupervisorConfiguration {
        var environment: [String: String] = [:]
        for entry in OwnProgram.environment() {
            guard let sign = entry.firstIndex(of: "=") else { continue }
            environment[String(entry[..<sign])] = String(entry[entry.index(after: sign)...])
        }
        return SupervisorConfiguration(
            spec: configuration.spec,
            program: try ExecutableLocation.current(),
            configurationPath: path,
            environment: environment,
            version: Eiderd.version,
            watchdogInterval: Systemd.watchdogInterval()
        )
    }
}

/// Why the daemon does not start. The text begins with "cannot".
struct StartError: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) {
        self.description = description
    }
}
