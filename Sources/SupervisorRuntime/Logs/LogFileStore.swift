import CLinux
import Glibc

/// The open files of the writer's thread: appends, rotates, notices a file that was deleted or moved away.
struct LogFileStore: ~Copyable {
    private struct Open {
        var descriptor: Int32
        var device: UInt64
        var inode: UInt64
        var size: UInt64
        /// Only these are rotated: a FIFO or a device in a log's place has no size.
        var regular: Bool
        var lastUse: UInt64
        var lastCheck: Int64
    }

    private var files: [String: Open] = [:]
    private var uses: UInt64 = 0
    /// Files that were written since the daemon began.
    private var seen: Set<String> = []

    init() {}

    deinit {
        for file in files.values { _ = clinux_close(file.descriptor) }
    }

    var openCount: Int { files.count }

    /// Appends `bytes`, whole lines, from `offset` on. Answers how much of it is in the file, and why it is not all.
    mutating func append(_ bytes: [UInt8], from offset: Int, to file: LogFile) -> (written: Int, errno: Int32?) {
        var position = offset
        while position < bytes.count {
            var open: Open
            switch current(file) {
            case .success(let opened): open = opened
            case .failure(let failure): return (position - offset, failure.errno)
            }
            var end = bytes.count
            if open.regular {
                end = Self.fitting(bytes, position, size: open.size, limit: file.maxSize)
                if end == position {
                    close(file.path)
                    if let errno = Self.rotate(file) { return (position - offset, errno) }
                    continue
                }
            }
            let written = bytes.withUnsafeBytes { source in
                clinux_write(open.descriptor, source.baseAddress.map { $0 + position }, end - position)
            }
            if written <= 0 {
                // What is in a FIFO is gone when its last descriptor is closed.
                if written != -Int(EAGAIN) { close(file.path) }
                return (position - offset, written < 0 ? Int32(-written) : EIO)
            }
            position += written
            open.size &+= UInt64(written)
            uses &+= 1
            open.lastUse = uses
            files[file.path] = open
        }
        return (position - offset, nil)
    }

    /// Up to where `bytes` may be written: whole lines that fit below the limit, but at least one into an empty file.
    /// `position` itself: the file is full.
    private static func fitting(_ bytes: [UInt8], _ position: Int, size: UInt64, limit: UInt64) -> Int {
        let room = limit > size ? limit - size : 0
        if UInt64(bytes.count - position) <= room { return bytes.count }
        let newline = UInt8(ascii: "\n")
        let reach = position + Int(clamping: room)
        if let last = bytes[position..<reach].lastIndex(of: newline) { return last + 1 }
        if size > 0 { return position }
        return bytes[position...].firstIndex(of: newline).map { $0 + 1 } ?? bytes.count
    }

    private struct Failure: Error {
        var errno: Int32
    }

    /// The open file of this path.
    private mutating func current(_ file: LogFile) -> Result<Open, Failure> {
        if var open = files[file.path] {
            let now = Clocks.monotonic
            if now &- open.lastCheck < LogLimits.identityCheck { return .success(open) }
            open.lastCheck = now
            var device: UInt64 = 0
            var inode: UInt64 = 0
            let result = clinux_identity_at(AT_FDCWD, file.path, &device, &inode)
            if result >= 0, device == open.device, inode == open.inode {
                files[file.path] = open
                return .success(open)
            }
            close(file.path)
        }
        closeLeastRecentlyUsed()
        return reopen(file)
    }

    private mutating func reopen(_ file: LogFile) -> Result<Open, Failure> {
        // Not blocking: a FIFO in a log's place must not hold up the logs of all services.
        let flags = O_RDWR | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC
        var descriptor = clinux_open(file.path, flags, 0o640)
        if descriptor == -ENOENT {
            Self.makeDirectories(for: file.path)
            descriptor = clinux_open(file.path, flags, 0o640)
        }
        guard descriptor >= 0 else { return .failure(Failure(errno: -descriptor)) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            let code = errno
            _ = clinux_close(descriptor)
            return .failure(Failure(errno: code))
        }
        var open = Open(
            descriptor: descriptor,
            device: UInt64(status.st_dev),
            inode: UInt64(status.st_ino),
            size: UInt64(max(0, status.st_size)),
            regular: status.st_mode & S_IFMT == S_IFREG,
            lastUse: uses,
            lastCheck: Clocks.monotonic
        )
        // A daemon that was killed may have left a line without its end.
        var last: UInt8 = 0x0A
        let isFirst = seen.insert(file.path).inserted
        if isFirst, open.regular, open.size > 0, clinux_pread(descriptor, &last, 1, Int64(open.size) - 1) == 1,
            last != 0x0A, clinux_write(descriptor, "\n", 1) == 1
        {
            open.size += 1
        }
        files[file.path] = open
        return .success(open)
    }

    mutating func close(_ path: String) {
        if let open = files.removeValue(forKey: path) { _ = clinux_close(open.descriptor) }
    }

    private mutating func closeLeastRecentlyUsed() {
        guard files.count >= LogLimits.openFiles else { return }
        if let oldest = files.min(by: { $0.value.lastUse < $1.value.lastUse }) { close(oldest.key) }
    }

    /// Makes the directories above `path` that are missing.
    static func makeDirectories(for path: String) {
        for index in path.indices.dropFirst() where path[index] == "/" {
            _ = clinux_mkdir(String(path[..<index]), 0o750)
        }
    }

    /// Moves the file to `.1` and the older ones on; answers why it cannot be done. What is beyond `keep` is removed.
    static func rotate(_ file: LogFile) -> Int32? {
        let keep = max(0, file.keep)
        // More than one there were kept before when `keep` was lowered.
        var extra = max(1, keep)
        while extra < LogLimits.rotatedFiles, clinux_unlink("\(file.path).\(extra)") >= 0 { extra += 1 }
        if keep == 0 {
            let result = clinux_unlink(file.path)
            return result < 0 && result != -ENOENT ? -result : nil
        }
        for number in stride(from: keep - 1, to: 0, by: -1) {
            if rename("\(file.path).\(number)", "\(file.path).\(number + 1)") != 0, errno != ENOENT { return errno }
        }
        if rename(file.path, "\(file.path).1") != 0, errno != ENOENT { return errno }
        return nil
    }
}
