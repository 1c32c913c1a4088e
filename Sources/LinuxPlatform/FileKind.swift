import CLinux
import Glibc

/// Which file it is, by whatever name.
public struct FileIdentity: Hashable, Sendable {
    public var device: UInt64
    public var inode: UInt64

    /// nil when there is no such file.
    public init?(path: String) {
        device = 0
        inode = 0
        guard clinux_identity_at(-1, path, &device, &inode) == 0 else { return nil }
    }

    /// nil when it is not open.
    public init?(descriptor: Int32) {
        device = 0
        inode = 0
        guard clinux_identity(descriptor, &device, &inode) == 0 else { return nil }
    }
}

/// Questions about files.
public enum FileKind {
    /// Whether the path is a socket file.
    public static func isSocket(_ path: String) -> Bool { type(path) == S_IFSOCK }

    /// Whether the path is a directory, or a link to one.
    public static func isDirectory(_ path: String) -> Bool { type(path) == S_IFDIR }

    /// A regular file that we may execute.
    public static func isExecutable(_ path: String) -> Bool { type(path) == S_IFREG && access(path, X_OK) == 0 }

    /// - Throws: when we may not write to the file.
    public static func requireWritable(_ path: String) throws(SystemError) {
        guard faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0 else {
            throw SystemError(call: "write to", errno: errno, path: path)
        }
    }

    private static func type(_ path: String) -> mode_t? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return status.st_mode & S_IFMT
    }
}
