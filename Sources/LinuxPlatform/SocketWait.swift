import Glibc

/// Waiting for a socket where there is nothing else to do meanwhile.
public enum SocketWait {
    /// Waits until something can be read; false when `patience` is over first.
    public static func readable(_ socket: Int32, _ patience: Duration) -> Bool {
        var entry = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        let (seconds, attoseconds) = patience.components
        let milliseconds = seconds * 1_000 + attoseconds / 1_000_000_000_000_000
        return poll(&entry, 1, Int32(clamping: milliseconds)) > 0
    }

    /// Ends a blocking receive after `limit` with EAGAIN.
    public static func limitReceive(_ socket: Int32, _ limit: Duration) throws(SystemError) {
        var time = timeval(tv_sec: Int(limit.components.seconds), tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        guard setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, size) == 0 else {
            throw SystemError(call: "set a socket's patience", errno: errno)
        }
    }
}
