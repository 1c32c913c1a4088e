internal import CLinux
import Glibc

/// A small file that is written in place: nothing that happens to it can raise a signal, as it can with a mapping.
public final class FixedFile: Sendable {
    private let file: Descriptor
    private let path: String

    /// Opens the file, which is made when it is missing.
    public init(path: String, mode: UInt32 = 0o600) throws(SystemError) {
        self.path = path
        // O_RDWR | O_CREAT
        file = try FileDescriptors.open(path, flags: 0o102, mode: mode)
    }

    /// Writes all of the bytes at the offset.
    /// - Throws: `SystemError`, ENOSPC when there is no room. What has been written once has its room.
    public func write(_ bytes: [UInt8], at offset: Int) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                pwrite(file.rawValue, $0.baseAddress.map { $0 + done }, $0.count - done, off_t(offset + done))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw SystemError(call: "write to", errno: count == 0 ? ENOSPC : errno, path: path)
            }
            done += count
        }
    }
}

extension FileSystem {
    /// Writes a small file in one step: whoever reads it finds the old one or all of the new one, also after a crash.
    public static func publish(_ path: String, _ text: String, mode: UInt32) throws(SystemError) {
        let draft = "\(path).\(ProcessTable.ownPid)"
        do throws(SystemError) {
            remove(draft)
            // O_WRONLY | O_CREAT | O_EXCL
            let file = try FileDescriptors.open(draft, flags: 0o301, mode: mode)
            let bytes = Array(text.utf8)
            let count = try SystemError.check(clinux_write(file.rawValue, bytes, bytes.count), "write to", draft)
            guard count == bytes.count else { throw SystemError(call: "write to", errno: ENOSPC, path: draft) }
            guard fsync(file.rawValue) == 0 else { throw SystemError(call: "write to", errno: errno, path: draft) }
            guard rename(draft, path) == 0 else { throw SystemError(call: "rename", errno: errno, path: draft) }
        } catch {
            remove(draft)
            throw error
        }
    }

    /// The path from the root and without links; as it is given, below the working directory, when it leads nowhere.
    public static func absolute(_ path: String) -> String {
        if let resolved = realpath(path, nil) {
            defer { free(resolved) }
            return String(cString: resolved)
        }
        if path.hasPrefix("/") { return path }
        guard let directory = getcwd(nil, 0) else { return path }
        defer { free(directory) }
        return String(cString: directory) + "/" + path
    }
}
