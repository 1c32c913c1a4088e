// How values read in sentences.

extension ExitStatus {
    /// `exited with code 1`, `was ended by SIGKILL`: to stand after the instance's name.
    public var inWords: String {
        switch self {
        case .code(let code): "exited with code \(code)"
        case .signal(let signal, let core): "was ended by \(signal)\(core ? " (core dumped)" : "")"
        }
    }
}

extension SpawnFailure: CustomStringConvertible {
    /// `cannot execute /usr/bin/x: No such file or directory (ENOENT)`
    public var description: String {
        let place = path.isEmpty ? "" : " \(path)"
        // With a name, it is about one of the sockets that the program was to be passed.
        let action = stage == .descriptors && !path.isEmpty ? "pass the socket" : stage.failedAction
        return "cannot \(action)\(place): \(ErrnoText.describe(errno))"
    }
}

/// Texts of the errors that starting a process can meet. The core has no libc to ask.
enum ErrnoText {
    private static let texts: [Int32: String] = [
        1: "Operation not permitted (EPERM)",
        2: "No such file or directory (ENOENT)",
        5: "Input/output error (EIO)",
        7: "Argument list too long (E2BIG)",
        8: "Exec format error (ENOEXEC)",
        9: "Bad file descriptor (EBADF)",
        11: "Resource temporarily unavailable (EAGAIN)",
        12: "Cannot allocate memory (ENOMEM)",
        13: "Permission denied (EACCES)",
        16: "Device or resource busy (EBUSY)",
        17: "A process of an earlier run is still there (EEXIST)",
        20: "Not a directory (ENOTDIR)",
        21: "Is a directory (EISDIR)",
        22: "Invalid argument (EINVAL)",
        23: "Too many open files in system (ENFILE)",
        24: "Too many open files (EMFILE)",
        26: "Text file busy (ETXTBSY)",
        28: "No space left on device (ENOSPC)",
        30: "Read-only file system (EROFS)",
        36: "File name too long (ENAMETOOLONG)",
        40: "Too many levels of symbolic links (ELOOP)",
        97: "Address family not supported by protocol (EAFNOSUPPORT)",
        98: "Address already in use (EADDRINUSE)",
        99: "Cannot assign requested address (EADDRNOTAVAIL)",
    ]

    static func describe(_ errno: Int32) -> String {
        texts[errno] ?? "error \(errno)"
    }
}

extension Duration {
    /// `250ms`, `1.5s`, `2m`, `1h 5m`: short, for sentences and tables.
    public var brief: String {
        let milliseconds = clampedNanoseconds / 1_000_000
        if milliseconds < 0 { return "-" + (.zero - self).brief }
        if milliseconds < 1_000 { return "\(milliseconds)ms" }
        let seconds = milliseconds / 1_000
        if seconds < 60 {
            let tenths = milliseconds % 1_000 / 100
            return seconds < 10 && tenths > 0 ? "\(seconds).\(tenths)s" : "\(seconds)s"
        }
        if seconds < 3_600 { return Self.pair(seconds / 60, "m", seconds % 60, "s") }
        if seconds < 86_400 { return Self.pair(seconds / 3_600, "h", seconds % 3_600 / 60, "m") }
        return Self.pair(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h")
    }

    private static func pair(_ high: Int64, _ highUnit: String, _ low: Int64, _ lowUnit: String) -> String {
        low == 0 ? "\(high)\(highUnit)" : "\(high)\(highUnit) \(low)\(lowUnit)"
    }
}
