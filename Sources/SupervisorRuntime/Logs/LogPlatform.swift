import CLinux
import Glibc
import LinuxPlatform
import SupervisorCore

/// Texts of system errors.
enum Errno {
    static func describe(_ errno: Int32) -> String {
        String(cString: strerror(errno))
    }
}

/// The clocks, in nanoseconds.
enum Clocks {
    /// CLOCK_MONOTONIC
    static var monotonic: Int64 { clinux_clock(1) }
    /// CLOCK_REALTIME, for display.
    static var wall: Int64 { clinux_clock(0) }
}

/// A descriptor that one thread makes readable to wake another (eventfd(2)).
final class WakeDescriptor: Sendable {
    let descriptor: Int32

    init() throws(LogError) {
        descriptor = clinux_eventfd()
        if descriptor < 0 { throw LogError("create an eventfd", errno: -descriptor) }
    }

    deinit {
        _ = clinux_close(descriptor)
    }

    func signal() {
        _ = clinux_eventfd_signal(descriptor)
    }

    func clear() {
        _ = clinux_eventfd_clear(descriptor)
    }

    /// Waits until it is signalled, at most until `deadline` of the monotonic clock; false when that was reached.
    func wait(until deadline: Int64) -> Bool {
        while true {
            let left = deadline &- Clocks.monotonic
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            // Rounded up, so that the last fraction of a millisecond does not spin.
            let count = poll(&entry, 1, Int32(clamping: max(0, left &+ 999_999) / 1_000_000))
            if count > 0 { return true }
            if count == 0, left <= 0 { return false }
            if count < 0, errno != EINTR { return false }
        }
    }
}

/// A thread of the daemon with a small stack.
enum BackgroundThread {
    /// Runs `body` on a thread of its own, which nobody joins.
    ///
    /// - Parameter name: at most 15 bytes, as the kernel shows it.
    static func start(_ name: String, _ body: @escaping @Sendable () -> Void) throws(LogError) {
        do throws(SystemError) {
            try OwnThread.start(name, stackBytes: LogLimits.stackBytes, body).letGo()
        } catch {
            throw LogError("start a thread", errno: error.errno)
        }
    }
}

/// Looks into pipes: what is read stays in them until it is taken. So what the daemon was about to write when it was
/// killed is still there for its successor.
struct PipePeek: ~Copyable {
    private let readEnd: Int32
    private let writeEnd: Int32

    init() throws(LogError) {
        var ends: [Int32] = [-1, -1]
        let result = clinux_pipe(&ends, true)
        if result < 0 { throw LogError("create a pipe", errno: -result) }
        readEnd = ends[0]
        writeEnd = ends[1]
    }

    deinit {
        _ = clinux_close(readEnd)
        _ = clinux_close(writeEnd)
    }

    /// Copies the beginning of what is in `pipe`: its count, 0 at the end of the file, or -errno.
    borrowing func look(into pipe: Int32, _ buffer: UnsafeMutableRawBufferPointer) -> Int {
        let copied = clinux_tee(pipe, writeEnd, buffer.count)
        if copied <= 0 { return copied }
        var filled = 0
        while filled < copied, let base = buffer.baseAddress {
            let count = clinux_read(readEnd, base + filled, copied - filled)
            if count <= 0 { return count < 0 ? count : -Int(EIO) }
            filled += count
        }
        return filled
    }

    /// Takes `count` bytes, which were looked at before, out of `pipe`.
    static func take(_ count: Int, from pipe: Int32, _ buffer: UnsafeMutableRawBufferPointer) {
        var left = count
        while left > 0, let base = buffer.baseAddress {
            let taken = clinux_read(pipe, base, min(left, buffer.count))
            if taken <= 0 { return }
            left -= taken
        }
    }
}
