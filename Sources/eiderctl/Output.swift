import Glibc

/// Standard output and standard error.
enum Output {
    /// Writes to standard output; when nobody reads any more, that is the end of the program, and no error.
    static func write(_ text: String) {
        if !put(text, on: STDOUT_FILENO) { exit(errno == EPIPE ? 0 : 1) }
    }

    static func line(_ text: String) {
        write(text.hasSuffix("\n") ? text : text + "\n")
    }

    static func error(_ text: String) {
        _ = put(text, on: STDERR_FILENO)
    }

    private static func put(_ text: String, on descriptor: CInt) -> Bool {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if errno == EAGAIN {
                var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&ready, 1, -1)
            } else if errno != EINTR {
                return false
            }
        }
        return true
    }
}

/// What is known of the terminal.
struct Terminal {
    /// Standard output is one.
    var isTerminal: Bool
    /// Standard error is one: progress may be shown there.
    var showsProgress: Bool
    var colours: Bool
    /// Columns to fill.
    var width: Int

    static let current: Terminal = {
        let isTerminal = isatty(STDOUT_FILENO) == 1
        let plain = environment("NO_COLOR") != nil || environment("TERM") == "dumb"
        return Terminal(
            isTerminal: isTerminal,
            showsProgress: isatty(STDERR_FILENO) == 1 && environment("TERM") != "dumb",
            colours: isTerminal && !plain,
            width: isTerminal ? columns : 80
        )
    }()

    private static var columns: Int {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return min(max(Int(size.ws_col), 60), 200)
    }
}

/// The value of an environment variable; nil when it is not set or empty.
func environment(_ name: String) -> String? {
    guard let value = getenv(name) else { return nil }
    let text = String(cString: value)
    return text.isEmpty ? nil : text
}

/// What Ctrl-C and SIGTERM do to a program that waits.
enum Interruption {
    /// The usual end of a stream: no error.
    static func endsQuietly() {
        signal(SIGINT) { _ in _exit(0) }
        signal(SIGTERM) { _ in _exit(0) }
    }

    /// Only the waiting ends; what was asked for goes on.
    ///
    /// - Parameter text: what becomes of it, and what to do next.
    static func endsWaiting(
        _ text: StaticString = "cannot say how it ends: no longer waiting; the daemon goes on with it"
    ) {
        toldWhenInterrupted = text
        signal(SIGINT) { _ in
            say("\neiderctl: ")
            say(toldWhenInterrupted)
            say("\n")
            _exit(1)
        }
    }
}

/// What the handler of a signal says: it may allocate nothing. Written once, before the signal can come.
nonisolated(unsafe) private var toldWhenInterrupted: StaticString = ""

private func say(_ text: StaticString) {
    _ = Glibc.write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount)
}
