import Glibc
import LinuxPlatform
import ShimProtocol
import SupervisorCore

/// A descriptor that is kept to be given up.
final class SpareDescriptor {
    private var descriptor: SharedDescriptor?

    init() { refill() }

    func refill() {
        if descriptor == nil { descriptor = try? FileDescriptors.open("/dev/null", flags: 0).shared() }
    }

    /// Frees the number; false when it is in use already.
    func giveUp() -> Bool {
        if descriptor == nil { return false }
        descriptor = nil
        return true
    }
}

/// The sockets at which the daemon connects: a file in the runtime directory, and the fleet's abstract name, which
/// still leads here when the file was deleted.
final class Listeners {
    /// How long nobody is accepted when no descriptor can be had.
    private static let pause: Duration = .milliseconds(50)

    private let setup: Setup
    private let path: String
    private var file: Descriptor
    private var fileIdentity: FileIdentity?
    private var isWatched = false
    /// When they are watched again after an accept that failed.
    private(set) var resumesAt: MonotonicInstant?

    init(_ setup: Setup) throws(SystemError) {
        self.setup = setup
        path = setup.place.runtimeDirectory + "/shim.sock"
        file = try UnixSocket.listen(.sequentialPacket, path: path, mode: 0o600)
        fileIdentity = FileIdentity(path: path)
        if let name = setup.nameSocket?.rawValue, listen(name, 128) != 0 {
            throw SystemError(call: "listen on", errno: errno, path: setup.fleet.socketName)
        }
    }

    /// Begins to watch both; one that is watched already stays so.
    func watch(_ events: borrowing EventQueue, file token: UInt64, name nameToken: UInt64) {
        setup.spare.refill()
        resumesAt = nil
        if isWatched { return }
        do throws(SystemError) {
            try events.add(file.rawValue, token: token)
            if let name = setup.nameSocket?.rawValue { try events.add(name, token: nameToken) }
            isWatched = true
        } catch {
            // For want of memory. What runs goes on running, and SIGTERM still stops it.
            stopWatching(events)
            resumesAt = MonotonicClock.now().advanced(by: Self.pause)
        }
    }

    func stopWatching(_ events: borrowing EventQueue) {
        events.remove(file.rawValue)
        if let name = setup.nameSocket?.rawValue { events.remove(name) }
        isWatched = false
        resumesAt = nil
    }

    /// The next connection of somebody who may give us orders; nil when there is none.
    func accept(byName: Bool, _ events: borrowing EventQueue) -> Descriptor? {
        guard let socket = next(byName, events) else { return nil }
        guard let peer = try? UnixSocket.peer(of: socket.rawValue), peer.uid == 0 || peer.uid == Accounts.ownUserID
        else { return nil }
        if byName { replaceFile(events) }
        return socket
    }

    private func next(_ byName: Bool, _ events: borrowing EventQueue) -> Descriptor? {
        guard let listener = byName ? setup.nameSocket?.rawValue : file.rawValue else { return nil }
        while true {
            do throws(SystemError) {
                return try UnixSocket.accept(listener)
            } catch {
                // ECONNABORTED: they have gone.
                if error.errno == ECONNABORTED || error.errno == EINTR { return nil }
                if error.errno == EMFILE || error.errno == ENFILE, setup.spare.giveUp() { continue }
                // Still waiting, they would wake us without end.
                stopWatching(events)
                resumesAt = MonotonicClock.now().advanced(by: Self.pause)
                return nil
            }
        }
    }

    /// Makes the socket file anew where it is missing.
    private func replaceFile(_ events: borrowing EventQueue) {
        if FileIdentity(path: path) != nil { return }
        do throws(SystemError) {
            try FileSystem.makeDirectory(setup.place.runtimeDirectory, mode: 0o755)
            let fresh = try UnixSocket.listen(.sequentialPacket, path: path, mode: 0o600)
            // Both are watched anew when this connection ends.
            stopWatching(events)
            file = fresh
            fileIdentity = FileIdentity(path: path)
        } catch {
            StandardError.line("eider-shim: cannot replace its socket file, which is missing: \(error)")
        }
    }

    /// Ends both; the file goes, unless it is somebody else's by now.
    func close() {
        if let fileIdentity, FileIdentity(path: path) == fileIdentity { FileSystem.remove(path) }
        UnixSocket.shutDown(file.rawValue)
        if let name = setup.nameSocket?.rawValue { UnixSocket.shutDown(name) }
    }
}
