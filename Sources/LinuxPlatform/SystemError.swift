import CLinux

/// A system call that failed.
public struct SystemError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The call, or what was being done, to stand after "cannot".
    public var call: String
    public var errno: Int32
    /// The file or address that it was about.
    public var path: String?

    public init(call: String, errno: Int32, path: String? = nil) {
        self.call = call
        self.errno = errno
        self.path = path
    }

    /// `cannot bind /run/x.sock: Address already in use (EADDRINUSE)`
    public var description: String {
        "cannot \(call)\(path.map { " " + $0 } ?? ""): \(Self.describe(errno))"
    }

    /// The kernel's text for an error number and its name.
    public static func describe(_ number: Int32) -> String {
        guard let text = clinux_error_text(number) else { return "error \(number)" }
        guard let name = clinux_error_name(number) else { return String(cString: text) }
        return "\(String(cString: text)) (\(String(cString: name)))"
    }

    /// Passes a result of CLinux on: itself when it is not negative, else the error.
    @discardableResult
    static func check<Result: FixedWidthInteger>(
        _ result: Result,
        _ call: @autoclosure () -> String,
        _ path: @autoclosure () -> String? = nil
    ) throws(SystemError) -> Result {
        if result >= 0 { return result }
        throw SystemError(call: call(), errno: Int32(truncatingIfNeeded: 0 &- Int64(result)), path: path())
    }
}
