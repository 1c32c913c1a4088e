import Glibc
import NIOCore
import SupervisorCore

/// The clauses in which outcomes are told.
enum Clauses {
    static let earlyClose = "closed the connection before it answered"
    static let closeInAnswer = "closed the connection in the middle of its answer"
    static let refused = "refused the connection"
    static let reset = "reset the connection"

    static func silent(for timeout: Duration) -> String { "did not answer within \(timeout.brief)" }

    static func heldUp(for delay: Duration) -> ProbeOutcome {
        .unknown(.busy, "the checker was held up for \(delay.brief)")
    }

    /// What it means that a socket could not be made, connected, read or written.
    ///
    /// Only what the other side did is a failure; of the rest the worker cannot help any.
    static func outcome(of error: any Error) -> ProbeOutcome {
        guard let error = error as? IOError else {
            if case .connectTimeout? = error as? ChannelError {
                return .failure("did not answer the attempt to connect")
            }
            return .failure(earlyClose)
        }
        switch error.errnoCode {
        case ECONNREFUSED: return .failure(refused)
        case ECONNRESET, ECONNABORTED: return .failure(reset)
        case EPIPE, ENOTCONN: return .failure(earlyClose)
        case ETIMEDOUT: return .failure("did not answer the attempt to connect")
        case EHOSTUNREACH, EHOSTDOWN, ENETUNREACH: return .failure("is unreachable")
        default: return .unknown(.resources, "no connection could be made: \(name(of: error.errnoCode))")
        }
    }

    static func name(of code: CInt) -> String {
        switch code {
        case EMFILE: "too many open files"
        case ENFILE: "too many open files on the host"
        case ENOBUFS, ENOMEM: "out of memory"
        case EADDRNOTAVAIL, EAGAIN: "no local port is free"
        case EACCES, EPERM: "not permitted on this host"
        case EAFNOSUPPORT: "the host does not have this kind of address"
        case ENETDOWN: "the network is down"
        default: "error \(code)"
        }
    }
}

/// Foreign bytes, made fit for a line of a terminal or a log.
public enum Printable {
    /// The first line of `bytes` without space around it: at most `limit` bytes of UTF-8, with everything that is not
    /// text or would steer a terminal replaced.
    public static func firstLine(of bytes: some Sequence<UInt8>, limit: Int) -> String {
        // What is replaced may be a byte longer than what replaces it, no more.
        let line = bytes.drop(while: isSpace).prefix(2 * limit).prefix {
            $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r")
        }
        var text = String.UnicodeScalarView()
        var length = 0
        for scalar in String(decoding: Array(line), as: UTF8.self).unicodeScalars {
            let shown = isHarmless(scalar) ? scalar : "\u{FFFD}"
            length += UTF8.width(shown)
            if length > limit { break }
            text.append(shown)
        }
        while text.last == " " { text.removeLast() }
        return String(text)
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || (0x09...0x0d).contains(byte)
    }

    private static func isHarmless(_ scalar: UnicodeScalar) -> Bool {
        switch scalar.properties.generalCategory {
        // The last three hold what reorders, hides or breaks a line.
        case .control, .surrogate, .unassigned, .privateUse, .format, .lineSeparator, .paragraphSeparator: false
        default: true
        }
    }
}
