import Glibc
import LinuxPlatform
import ShimProtocol
import SupervisorCore

/// Finds the shim of this fleet, at its socket file or by the fleet's abstract name, or starts one where nobody else
/// does.
struct ShimLauncher {
    /// The shim's program, beside the daemon's own.
    let program: String
    let runtimeDirectory: String
    let stateDirectory: String
    /// systemd runs the shim as a unit of its own: it is waited for, not started.
    let isExternal: Bool

    var socketPath: String { runtimeDirectory + "/shim.sock" }

    /// How long an external shim, or one that was just started, may take to listen.
    private static let patience: Duration = .seconds(15)

    enum Failure: Error, CustomStringConvertible {
        case link(ShimLink.Failure)
        case start(SpawnFailure)
        case absent(String)

        var description: String {
            switch self {
            case .link(let failure): failure.description
            case .start(let failure): "cannot start the shim: \(failure)"
            case .absent(let text): text
            }
        }
    }

    /// Connects to the shim that runs, or starts one and connects to that. The pid is that of a shim started here.
    func connect(reactor: Reactor) throws(Failure) -> (link: ShimLink, listing: ShimListing, startedPid: Int32?) {
        let deadline = MonotonicClock.now().advanced(by: Self.patience)
        var started: Int32?
        // The file may have been deleted, or be in another runtime directory, while the shim lives.
        var asksByName = true
        while true {
            for path in [socketPath] + (asksByName ? namesOfShims() : []) {
                if let found = try open(path, reactor) { return (found.link, found.listing, started) }
            }
            asksByName = false
            if let pid = started, let exit = ChildProcess.reap(pid) {
                if !anotherShimIsComing {
                    throw .absent("cannot start the shim: \(program) \(exit.status.inWords) before it listened")
                }
                started = nil
            } else if started == nil, !isExternal, !anotherShimIsComing {
                started = try start()
            }
            if MonotonicClock.now() > deadline {
                throw .absent(
                    "cannot reach the shim at \(socketPath); "
                        + (isExternal ? "is its unit running? see: systemctl status eider-shim" : "it does not listen")
                )
            }
            // Milliseconds: the shim is about to listen, and there is nothing else to do before it does.
            usleep(500)
        }
    }

    /// A shim has the lock that does not listen: it is dying, or a daemon that died since started it and it ends what a
    /// former shim left before it listens.
    private var anotherShimIsComing: Bool {
        do throws(FileLock.Refusal) {
            _ = try FileLock(path: runtimeDirectory + "/shim.lock")
            return false
        } catch {
            if case .held = error { return true }
            return false
        }
    }

    /// Nil when nobody listens there.
    private func open(_ path: String, _ reactor: Reactor) throws(Failure) -> (link: ShimLink, listing: ShimListing)? {
        do throws(ShimLink.Failure) {
            return try ShimLink.connect(path: path, reactor: reactor)
        } catch {
            switch error {
            case .system(let system) where Self.meansAbsent(system.errno): return nil
            // A shim that is just dying still takes connections for a moment.
            case .closed: return nil
            case .system, .version, .silent: throw .link(error)
            }
        }
    }

    /// Abstract names of this fleet at which a shim listens. Anybody can take such a name, a worker too: those count
    /// that are served by somebody who may command us.
    private func namesOfShims() -> [String] {
        let directory = FileSystem.absolute(stateDirectory)
        let tokens = FleetToken.candidates(
            kept: SmallFile.text(FleetToken.path(in: directory), limit: 64),
            directory: directory,
            namespace: FileIdentity(path: "/proc/self/ns/pid")?.inode ?? 0
        )
        return tokens.map(\.socketName).filter { name in
            guard let probe = try? UnixSocket.connect(.sequentialPacket, path: name, nonblocking: true),
                let peer = try? UnixSocket.peer(of: probe.rawValue)
            else { return false }
            return peer.uid == 0 || peer.uid == Accounts.ownUserID
        }
    }

    private static func meansAbsent(_ number: Int32) -> Bool {
        [ENOENT, ECONNREFUSED, ECONNRESET, EPIPE].contains(number)
    }

    private func start() throws(Failure) -> Int32 {
        let null: Descriptor
        do throws(SystemError) {
            null = try FileDescriptors.open("/dev/null", flags: O_RDWR)
        } catch {
            throw .absent(error.description)
        }
        // What the shim has to say at its start goes where our own words go.
        var start = ProgramStart(
            arguments: [program, "--runtime-directory", runtimeDirectory, "--state-directory", stateDirectory])
        start.environment = OwnProgram.environment().filter { !$0.hasPrefix("NOTIFY_SOCKET=") }
        start.descriptors = [null.rawValue, 2, 2]
        switch start.start() {
        case .running(let pid): return pid
        case .failed(let failure): throw .start(failure)
        }
    }
}
