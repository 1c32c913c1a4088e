import Glibc
import Synchronization

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

    /// Asks whoever sits there; nil where nobody does, or nothing is said.
    static func question(_ text: String) -> String? {
        guard isatty(STDIN_FILENO) == 1, isatty(STDERR_FILENO) == 1 else { return nil }
        Output.error(text)
        guard let answer = readLine(), answer.contains(where: { !$0.isWhitespace }) else { return nil }
        return answer
    }

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
    /// - Parameter isDrain: say how to follow it, and how to take it back.
    static func endsWaiting(isDrain: Bool = false) {
        waitsForDrain.store(isDrain, ordering: .relaxed)
        signal(SIGINT) { _ in
            if waitsForDrain.load(ordering: .relaxed) {
                say("\neiderctl: cannot say how it ends: no longer waiting; the drain goes on\n")
                say("eiderctl: eiderctl drain-status --watch shows it, eiderctl undrain takes it back\n")
            } else {
                say("\neiderctl: cannot say how it ends: no longer waiting; the daemon goes on with it\n")
            }
            _exit(1)
        }
    }
}

/// Read by the handler of a signal, which may allocate nothing.
private let waitsForDrain = Atomic(false)

private func say(_ text: StaticString) {
    _ = Glibc.write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount)
}
