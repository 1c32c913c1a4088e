internal import CSystemd
internal import Glibc

/// What the service manager and this process say to each other: sd_notify(3), sd_watchdog_enabled(3) and
/// sd_listen_fds(3).
///
/// Without systemd each function does nothing and says so by its result. None traps, and none changes the environment
/// unless that is asked for: a daemon that replaces itself by a newer one must find the same environment there.
public enum Systemd {
    /// Whether somebody wants to be notified: `NOTIFY_SOCKET` is set.
    public static var isPresent: Bool {
        getenv("NOTIFY_SOCKET").map { $0.pointee != 0 } ?? false
    }

    /// Sends one notification, such as `READY=1` or `STATUS=23 of 23 services ready`; several assignments are parted
    /// by newlines. It may wait while systemd's queue is full, which systemd itself keeps short.
    ///
    /// - Returns: true when it was sent; false without systemd, or when it could not be sent.
    @discardableResult
    public static func notify(_ state: String) -> Bool {
        sd_notify(0, state) > 0
    }

    /// Like `notify`, with `STATUS=` before the text. Newlines become spaces, because they would begin another
    /// assignment.
    @discardableResult
    public static func notify(status text: String) -> Bool {
        let line = String(text.map { $0.isNewline ? " " : $0 })
        return notify("STATUS=" + line)
    }

    /// How long systemd waits between two `WATCHDOG=1` before it ends this process; nil when it does not. Send at
    /// half of it, as sd_watchdog_enabled(3) asks. `WATCHDOG_PID` is obeyed: nil in a process it does not name.
    ///
    /// - Parameter unsetEnvironment: take the variables away, so that no child finds them.
    public static func watchdogInterval(unsetEnvironment: Bool = false) -> Duration? {
        var microseconds: UInt64 = 0
        guard sd_watchdog_enabled(unsetEnvironment ? 1 : 0, &microseconds) > 0 else { return nil }
        return .microseconds(Int64(clamping: microseconds))
    }

    /// The sockets that systemd passed (`LISTEN_FDS`), open and already closed-on-exec; empty when it passed none or
    /// passed them to another process. `name` is that of `FileDescriptorName=`, `unknown` where there is none.
    ///
    /// - Parameter unsetEnvironment: take the variables away; a second call then finds nothing.
    public static func listenDescriptors(unsetEnvironment: Bool = false) -> [(name: String, descriptor: Int32)] {
        var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = sd_listen_fds_with_names(unsetEnvironment ? 1 : 0, &names)
        guard count > 0 else { return [] }
        defer { free(names) }
        return (0..<count).map { index in
            let pointer = names?[Int(index)]
            defer { free(pointer) }
            return (pointer.map { String(cString: $0) } ?? "unknown", SD_LISTEN_FDS_START + index)
        }
    }
}
