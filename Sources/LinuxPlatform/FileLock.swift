import CLinux

/// An exclusive lock that the kernel drops when its holder dies: at most one process per file.
public struct FileLock: ~Copyable, Sendable {
    /// Why the lock was not taken.
    public enum Refusal: Error, Sendable, CustomStringConvertible {
        /// Another process has it; its pid where it has written it down.
        case held(by: Int32?, path: String)
        case failed(SystemError)

        public var description: String {
            switch self {
            case .held(let pid, let path):
                "cannot lock \(path): process \(pid.map { String($0) } ?? "unknown") holds it"
            case .failed(let error): error.description
            }
        }
    }

    private let file: Descriptor

    /// The descriptor that carries the lock; the lock lasts as long as any copy of it.
    public var rawValue: Int32 { file.rawValue }

    /// Takes the lock and writes our pid into the file, which is made when it is missing. Never waits.
    ///
    /// A file that is there but cannot be written, as on a file system that the kernel made read-only after an error,
    /// is locked all the same. The pid in it is then its last writer's.
    public init(path: String) throws(Refusal) {
        file = Descriptor(try Self.take(path))
    }

    /// Locks a directory itself, where no file can be made in it. Nobody's pid is known by it.
    public init(directory: String) throws(Refusal) {
        // O_RDONLY: a directory cannot be opened otherwise.
        file = Descriptor(try Self.lock(clinux_open(directory, 0, 0), directory))
    }

    private static func take(_ path: String) throws(Refusal) -> Int32 {
        let locked = try lock(open(path), path)
        _ = clinux_chmod(path, 0o600)
        // The pid is for people; the lock holds without it.
        _ = clinux_truncate(locked, 0)
        let text = Array("\(ProcessTable.ownPid)\n".utf8)
        _ = clinux_write(locked, text, text.count)
        return locked
    }

    private static func lock(_ opened: Int32, _ path: String) throws(Refusal) -> Int32 {
        if opened < 0 { throw .failed(SystemError(call: "open", errno: -opened, path: path)) }
        let file = Descriptor(opened)
        let result = clinux_lock(opened)
        if result == -11 { throw .held(by: holder(opened), path: path) }
        if result < 0 { throw .failed(SystemError(call: "lock", errno: -result, path: path)) }
        return file.release()
    }

    /// Why a file may not be open for writing that can still be locked: EACCES, ENOSPC, EROFS.
    private static let unwritable: Set<Int32> = [13, 28, 30]

    /// A negative result is the negated error of the first try.
    private static func open(_ path: String) -> Int32 {
        // O_RDWR | O_CREAT. Ours alone: flock(2) lets everybody lock who may read.
        let opened = clinux_open(path, 0o102, 0o600)
        guard unwritable.contains(0 &- opened) else { return opened }
        // O_RDONLY: flock(2) asks for no more.
        let readable = clinux_open(path, 0, 0)
        return readable >= 0 ? readable : opened
    }

    private static func holder(_ descriptor: Int32) -> Int32? {
        var buffer = [UInt8](repeating: 0, count: 16)
        let count = clinux_pread(descriptor, &buffer, buffer.count, 0)
        guard count > 0 else { return nil }
        return Int32(String(decoding: buffer[..<min(count, 16)].prefix { (48...57).contains($0) }, as: UTF8.self))
    }
}
