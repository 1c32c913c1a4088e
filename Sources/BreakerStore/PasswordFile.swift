import Glibc
import SupervisorCore

/// The file with the password, read anew for each attempt so that it can be changed while the daemon runs.
enum PasswordFile {
    private static let limit = 4096

    /// - Throws: `StoreFailure` of kind `auth`. What the file holds is in no message.
    static func read(_ path: String) throws(StoreFailure) -> [UInt8] {
        // A FIFO would wait for a writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        if descriptor < 0 { throw failure(path, String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw failure(path, "it is not a regular file")
        }
        var bytes = [UInt8](repeating: 0, count: limit + 1)
        var count = 0
        while count < bytes.count {
            let got = bytes.withUnsafeMutableBytes { room in
                room.baseAddress.map { Glibc.read(descriptor, $0 + count, room.count - count) } ?? -1
            }
            if got < 0, errno == EINTR { continue }
            if got < 0 { throw failure(path, String(cString: strerror(errno))) }
            if got == 0 { break }
            count += got
        }
        if count > limit { throw failure(path, "it has more than \(limit) bytes") }
        bytes.removeSubrange(count...)
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
        if bytes.isEmpty { throw failure(path, "it is empty") }
        return bytes
    }

    private static func failure(_ path: String, _ reason: String) -> StoreFailure {
        StoreFailure(kind: .auth, text: "cannot read the password of Redis from \(path): \(reason)")
    }
}
