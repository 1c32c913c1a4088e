/// What ends the program without success: lines for standard error and an exit code.
struct Failure: Error, Equatable {
    /// INTERFACE.md §1; the numbers are those of sysexits.h.
    enum ExitCode: Int32 {
        case failed = 1
        /// A drain is done, but something was killed at its deadline.
        case deadline = 3
        /// A drain was refused.
        case refused = 4
        case usage = 64
        case unreachable = 69
        case notPermitted = 77
        case configuration = 78
    }

    var exitCode: ExitCode
    /// A short name for machines.
    var name: String
    /// What cannot be done, why, and what to do next.
    var message: String
    /// Its machine form is on standard output already.
    var isPrinted = false

    init(_ exitCode: ExitCode, _ name: String, _ message: String, isPrinted: Bool = false) {
        self.isPrinted = isPrinted
        self.exitCode = exitCode
        self.name = name
        self.message = message
    }

    /// What the daemon answered instead of doing it.
    init(status: Int, name: String, message: String) {
        let exitCode: ExitCode =
            switch status {
            case 400: .usage
            case 403: .notPermitted
            case 422: .configuration
            case 503: .unreachable
            default: .failed
            }
        self.init(exitCode, name, message)
    }

    /// Each line with the program's name before it.
    var lines: String {
        message.split(separator: "\n").map { "eiderctl: \($0)\n" }.joined()
    }
}
