import CLinux

/// A descriptor with one owner, closed when the owner goes.
public struct Descriptor: ~Copyable, Sendable {
    public let rawValue: Int32

    /// Takes ownership of an open descriptor.
    public init(_ rawValue: Int32) {
        self.rawValue = rawValue
    }

    deinit { _ = clinux_close(rawValue) }

    /// Gives up ownership: the caller closes it.
    public consuming func release() -> Int32 {
        let number = rawValue
        discard self
        return number
    }

    /// The same open file under a number of at least `least`, so that low numbers stay free: a child's table holds what
    /// lies below the highest number that it is given. Itself when that cannot be had.
    public consuming func movedUp(to least: Int32 = 64) -> Descriptor {
        let number = rawValue
        if number >= least { return self }
        let moved = clinux_duplicate(number, least)
        if moved < 0 { return self }
        return Descriptor(moved)
    }

    /// The same, for keeping in collections and closures: closed when the last reference goes.
    public consuming func shared() -> SharedDescriptor {
        SharedDescriptor(release())
    }
}

/// A descriptor with several owners, closed when the last one goes.
public final class SharedDescriptor: Sendable {
    public let rawValue: Int32

    /// Takes ownership of an open descriptor.
    public init(_ rawValue: Int32) {
        self.rawValue = rawValue
    }

    /// The same open file under a number of at least `least`; see `Descriptor.movedUp`. The old number is closed with
    /// its last owner.
    public func movedUp(to least: Int32 = 64) -> SharedDescriptor {
        if rawValue >= least { return self }
        let moved = clinux_duplicate(rawValue, least)
        return moved < 0 ? self : SharedDescriptor(moved)
    }

    deinit { _ = clinux_close(rawValue) }
}

/// Calls on descriptors, owned or not.
public enum FileDescriptors {
    /// A pipe; both ends close-on-exec.
    public static func pipe(nonblocking: Bool = false) throws(SystemError) -> (
        read: SharedDescriptor, write: SharedDescriptor
    ) {
        var ends: [Int32] = [-1, -1]
        try SystemError.check(clinux_pipe(&ends, nonblocking), "create a pipe")
        return (SharedDescriptor(ends[0]), SharedDescriptor(ends[1]))
    }

    /// Opens a file close-on-exec. `flags` as of open(2).
    public static func open(_ path: String, flags: Int32, mode: UInt32 = 0) throws(SystemError) -> Descriptor {
        Descriptor(try SystemError.check(clinux_open(path, flags, mode), "open", path))
    }

    /// A second descriptor of the same open file, close-on-exec.
    public static func duplicate(_ descriptor: Int32) throws(SystemError) -> Descriptor {
        Descriptor(try SystemError.check(clinux_duplicate(descriptor, 3), "duplicate a descriptor"))
    }

    /// Sets O_NONBLOCK, which counts for the open file: for every descriptor of it.
    public static func setNonblocking(_ descriptor: Int32, _ on: Bool = true) throws(SystemError) {
        try SystemError.check(clinux_set_nonblocking(descriptor, on), "change the mode of a descriptor")
    }

    /// Sets FD_CLOEXEC, which counts for this descriptor alone.
    public static func setCloseOnExec(_ descriptor: Int32, _ on: Bool = true) throws(SystemError) {
        try SystemError.check(clinux_set_close_on_exec(descriptor, on), "change the mode of a descriptor")
    }

    /// Reads what is there: nil when nothing is yet (EAGAIN), 0 at the end.
    public static func read(
        _ descriptor: Int32,
        into buffer: UnsafeMutableRawBufferPointer
    ) throws(SystemError) -> Int? {
        let count = clinux_read(descriptor, buffer.baseAddress, buffer.count)
        if count == -11 { return nil }
        return try SystemError.check(count, "read")
    }

    /// Writes what fits: nil when nothing does now (EAGAIN).
    public static func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(SystemError) -> Int? {
        let count = clinux_write(descriptor, bytes.baseAddress, bytes.count)
        if count == -11 { return nil }
        return try SystemError.check(count, "write")
    }
}

/// Whole small files.
public enum SmallFile {
    /// The file's bytes, at most `limit` of them.
    public static func read(_ path: String, limit: Int = 1 << 20) throws(SystemError) -> [UInt8] {
        let file = try FileDescriptors.open(path, flags: 0)
        return try read(file.rawValue, path: path, limit: limit)
    }

    static func read(_ descriptor: Int32, path: String, limit: Int) throws(SystemError) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: min(max(limit, 1), 8192))
        while bytes.count < limit {
            let count = clinux_read(descriptor, &chunk, chunk.count)
            let size = Int(try SystemError.check(count, "read", path))
            if size == 0 { break }
            bytes.append(contentsOf: chunk[..<min(size, limit - bytes.count)])
        }
        return bytes
    }

    /// The file's text without the white space at its end; nil when it cannot be read.
    public static func text(_ path: String, limit: Int = 1 << 20) -> String? {
        guard let bytes = try? read(path, limit: limit) else { return nil }
        let end = bytes.lastIndex { $0 != 10 && $0 != 32 && $0 != 9 && $0 != 13 }.map { $0 + 1 } ?? 0
        return String(decoding: bytes[..<end], as: UTF8.self)
    }

    /// Writes all of it with one call, as files of /proc and /sys want it. The file must exist.
    public static func write(_ path: String, _ text: String) throws(SystemError) {
        // O_WRONLY
        let file = try FileDescriptors.open(path, flags: 1)
        var text = text
        let count = text.withUTF8 { clinux_write(file.rawValue, $0.baseAddress, $0.count) }
        try SystemError.check(count, "write to", path)
    }
}
