import LinuxPlatform
import ShimProtocol
import SupervisorCore

/// The directories of the fleet and the locks that make us its only shim. The runtime directory may be moved or
/// removed while we live: the lock in the state directory and the fleet's name do not depend on it.
final class Place {
    enum Refusal: Error, CustomStringConvertible {
        /// Another shim serves the fleet; what it holds says so.
        case held(by: Int32?, runtimeDirectory: String?, what: String)
        case failed(SystemError)

        var description: String {
            switch self {
            case .held(let pid, let directory, let what):
                "cannot start: another shim (process \(pid.map { String($0) } ?? "unknown")"
                    + (directory.map { ", runtime directory \($0)" } ?? "")
                    + ") serves this fleet and holds \(what); stop it first"
            case .failed(let error): error.description
            }
        }
    }

    let runtimeDirectory: String
    let stateDirectory: String?
    private let runtimeLock: FileLock
    private let stateLock: FileLock?

    /// Makes the directories and takes the locks. A state directory that cannot be written is a warning.
    init(runtimeDirectory: String, stateDirectory: String?) throws(Refusal) {
        do throws(SystemError) {
            try FileSystem.makeDirectory(runtimeDirectory, mode: 0o755)
        } catch {
            throw .failed(error)
        }
        let runtime = FileSystem.absolute(runtimeDirectory)
        var hasState = stateDirectory != nil
        do throws(SystemError) {
            if let stateDirectory { try Directories.make(stateDirectory, mode: 0o750) }
        } catch {
            hasState = false
            Self.warn(error)
        }
        let state = stateDirectory.map { FileSystem.absolute($0) }
        self.runtimeDirectory = runtime
        self.stateDirectory = state
        guard let lock = try Self.lock(runtime, says: runtime, isNeeded: true) else {
            throw .failed(SystemError(call: "lock", errno: 5, path: runtime))
        }
        runtimeLock = lock
        // One directory for both has one lock.
        if let state, hasState, state != runtime {
            stateLock = try Self.lock(state, says: runtime, isNeeded: false)
        } else {
            stateLock = nil
        }
    }

    /// For what is kept beside the locks, the best first. A write to the state directory may have to wait for a disk,
    /// one to the runtime directory does not.
    var directories: [String] {
        guard let stateDirectory, stateDirectory != runtimeDirectory else { return [runtimeDirectory] }
        return [runtimeDirectory, stateDirectory]
    }

    private static func lock(_ directory: String, says runtime: String, isNeeded: Bool) throws(Refusal) -> FileLock? {
        let path = directory + "/shim.lock"
        do throws(FileLock.Refusal) {
            let lock = try FileLock(path: path)
            // After our pid, for people and for the words below.
            let line = Array("\(runtime)\n".utf8)
            line.withUnsafeBytes { _ = try? FileDescriptors.write(lock.rawValue, $0) }
            return lock
        } catch {
            switch error {
            case .held(let pid, _):
                let lines = (SmallFile.text(path, limit: 8192) ?? "").split(separator: "\n")
                throw .held(by: pid, runtimeDirectory: lines.dropFirst().first.map { String($0) }, what: path)
            case .failed(let reason):
                if isNeeded { throw .failed(reason) }
                warn(reason)
                return nil
            }
        }
    }

    private static func warn(_ error: SystemError) {
        StandardError.line("eider-shim: the state directory cannot be used; the runtime directory must do: \(error)")
    }

    // MARK: The fleet's name

    /// The fleet's token, made if there is none yet, and those that a former shim may have gone by.
    func tokens() -> (first: FleetToken, former: [FleetToken]) {
        let namespace = FileIdentity(path: "/proc/self/ns/pid")?.inode ?? 0
        // Without a state directory the token lasts as long as the runtime directory does.
        var hash = FNV1a()
        let identity = FileIdentity(path: runtimeDirectory)
        hash.add(runtimeDirectory)
        hash.add(identity?.device ?? 0)
        hash.add(identity?.inode ?? 0)
        let ofRuntime = FleetToken(value: hash.value)
        guard let stateDirectory else { return (ofRuntime, []) }
        let path = FleetToken.path(in: stateDirectory)
        if SmallFile.text(path, limit: 64).flatMap({ FleetToken(kept: $0) }) == nil {
            var generator = SystemRandomNumberGenerator()
            let fresh = FleetToken(value: generator.next())
            // Refused, the hash of the path serves.
            try? FileSystem.publish(path, "\(fresh)\n", mode: 0o600)
        }
        let candidates = FleetToken.candidates(
            kept: SmallFile.text(path, limit: 64),
            directory: stateDirectory,
            namespace: namespace
        )
        return (candidates.first ?? ofRuntime, Array(candidates.dropFirst()) + [ofRuntime])
    }

    /// Binds the fleet's abstract name. Nil, with a warning, when a stranger has taken it.
    /// - Throws: when another shim has it, as one has that serves a fleet of which this state directory is a copy.
    func claimName(of fleet: FleetToken) throws(Refusal) -> SharedDescriptor? {
        // One that was just killed may not have closed all of its files.
        let deadline = MonotonicClock.bootMilliseconds() + 1000
        while true {
            let reason: SystemError
            do throws(SystemError) {
                return try UnixSocket.bind(.sequentialPacket, path: fleet.socketName).shared()
            } catch {
                reason = error
            }
            // EADDRINUSE
            if reason.errno == 98, MonotonicClock.bootMilliseconds() < deadline {
                OwnProcess.pause(milliseconds: 5)
                continue
            }
            let other = reason.errno == 98 ? Self.owner(of: fleet) : nil
            if let other, other.uid == 0 || other.uid == Accounts.ownUserID {
                throw .held(by: other.pid, runtimeDirectory: nil, what: "the socket \(fleet.socketName)")
            }
            StandardError.line("eider-shim: goes on with its socket file alone: \(reason)")
            return nil
        }
    }

    private static func owner(of fleet: FleetToken) -> PeerCredentials? {
        guard let probe = try? UnixSocket.connect(.sequentialPacket, path: fleet.socketName, nonblocking: true) else {
            return nil
        }
        return try? UnixSocket.peer(of: probe.rawValue)
    }
}
