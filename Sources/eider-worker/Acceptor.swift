import Glibc
import LinuxPlatform

/// Accepts on listening sockets that other processes accept on too, on a thread of its own.
///
/// Not NIO: its channel takes for granted that what is readable is there to be accepted (an assertion that ends debug
/// builds when another replica was quicker), and sets the length of the queue anew, which is everybody's.
final class Acceptor: Sendable {
    private let listeners: [Int32]
    private let onConnection: @Sendable (Int32) -> Void
    private let onEnd: @Sendable () -> Void
    private let wake: (read: SharedDescriptor, write: SharedDescriptor)

    /// - Parameters:
    ///   - onConnection: takes each connection, and owns it; on the acceptor's thread.
    ///   - onEnd: called there after the last one.
    init(
        _ listeners: [Int32],
        onConnection: @escaping @Sendable (Int32) -> Void,
        onEnd: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        self.listeners = listeners
        self.onConnection = onConnection
        self.onEnd = onEnd
        for listener in listeners { try FileDescriptors.setNonblocking(listener) }
        wake = try FileDescriptors.pipe()
        try OwnThread.start("accept") { [self] in
            while takeTurn() {}
            self.onEnd()
        }.letGo()
    }

    /// Accepts nothing more, but for what is just being accepted.
    func stop() {
        _ = try? [UInt8(1)].withUnsafeBytes { (byte) throws(SystemError) in
            try FileDescriptors.write(wake.write.rawValue, byte)
        }
    }

    /// False when it was told to stop.
    private func takeTurn() -> Bool {
        var entries = ([wake.read.rawValue] + listeners).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        _ = poll(&entries, nfds_t(entries.count), -1)
        if entries[0].revents != 0 { return false }
        for entry in entries.dropFirst() where entry.revents != 0 {
            do throws(SystemError) {
                if let connection = try UnixSocket.accept(entry.fd) { onConnection(connection.release()) }
            } catch {
                // No descriptors for now: what is readable would wake us at once again.
                OwnProcess.pause(milliseconds: 10)
            }
        }
        return true
    }
}
