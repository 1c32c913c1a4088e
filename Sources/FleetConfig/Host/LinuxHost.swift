import Glibc

/// The host that this process runs on.
public struct LinuxHost: HostFacts {
    public init() {}

    public var hostName: String {
        var buffer = [CChar](repeating: 0, count: 256)
        return gethostname(&buffer, buffer.count - 1) == 0 ? Self.text(buffer) : ""
    }

    public var effectiveUser: UInt32 { geteuid() }
    public var effectiveGroup: UInt32 { getegid() }

    public func read(_ path: String, limit: Int) -> Result<[UInt8], FileProblem> {
        // Without O_NONBLOCK a named pipe would stop us here until somebody writes.
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        if file < 0 { return .failure(Self.problem(errno)) }
        defer { close(file) }
        var status = stat()
        if fstat(file, &status) != 0 { return .failure(Self.problem(errno)) }
        if status.st_mode & S_IFMT == S_IFDIR { return .failure(.isDirectory) }
        if status.st_mode & S_IFMT != S_IFREG { return .failure(.notRegular) }
        if status.st_size > limit { return .failure(.tooLarge(limit: limit)) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(max(0, Int(status.st_size)))
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            if count < 0 { return .failure(Self.problem(errno)) }
            if count == 0 { return .success(bytes) }
            bytes += chunk[..<min(count, chunk.count)]
            if bytes.count > limit { return .failure(.tooLarge(limit: limit)) }
        }
    }

    public func names(in directory: String) -> Result<[String], FileProblem> {
        guard let stream = opendir(directory) else { return .failure(Self.problem(errno)) }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                return errno == 0 ? .success(names) : .failure(Self.problem(errno))
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
    }

    public func facts(of path: String) -> Result<FileFacts, FileProblem> {
        var status = stat()
        if stat(path, &status) != 0 { return .failure(Self.problem(errno)) }
        let kind = status.st_mode & S_IFMT
        return .success(
            FileFacts(
                isDirectory: kind == S_IFDIR,
                isExecutable: kind == S_IFREG && status.st_mode & 0o111 != 0,
                isPublic: status.st_mode & 0o004 != 0
            )
        )
    }

    public func user(_ name: String) -> Result<UserAccount?, FileProblem> {
        let number = UInt32(name)
        return Self.lookUp { (buffer, size) -> (Int32, UserAccount?) in
            var entry = passwd()
            var found: UnsafeMutablePointer<passwd>?
            let result =
                if let number {
                    getpwuid_r(number, &entry, buffer, size, &found)
                } else {
                    getpwnam_r(name, &entry, buffer, size, &found)
                }
            guard result == 0, let found, let account = found.pointee.pw_name else { return (result, nil) }
            let (uid, gid) = (found.pointee.pw_uid, found.pointee.pw_gid)
            return (0, UserAccount(name: String(cString: account), uid: uid, gid: gid))
        }
    }

    public func group(_ name: String) -> Result<UInt32?, FileProblem> {
        if let number = UInt32(name) { return .success(number) }
        return Self.lookUp { (buffer, size) -> (Int32, UInt32?) in
            var entry = Glibc.group()
            var found: UnsafeMutablePointer<Glibc.group>?
            let result = getgrnam_r(name, &entry, buffer, size, &found)
            return (result, result == 0 ? found?.pointee.gr_gid : nil)
        }
    }

    public func groups(of user: UserAccount, primary: UInt32) -> [UInt32] {
        var capacity: Int32 = 64
        for _ in 0..<8 {
            var groups = [gid_t](repeating: 0, count: Int(capacity))
            var count = capacity
            if getgrouplist(user.name, primary, &groups, &count) >= 0 {
                return groups.prefix(max(0, Int(count))).sorted()
            }
            capacity = min(max(count, capacity &* 2), 65_536)
        }
        return [primary]
    }

    /// Calls a `get…_r` function with a buffer that grows until the entry fits.
    private static func lookUp<Entry>(
        _ body: (UnsafeMutablePointer<CChar>, Int) -> (Int32, Entry?)
    ) -> Result<Entry?, FileProblem> {
        var size = 4096
        while true {
            let buffer = UnsafeMutablePointer<CChar>.allocate(capacity: size)
            defer { buffer.deallocate() }
            let (result, entry) = body(buffer, size)
            switch result {
            case 0: return .success(entry)
            // What the various databases answer for "no such entry".
            case ENOENT, ESRCH, EBADF, EPERM: return .success(nil)
            case EINTR: continue
            case ERANGE where size < 4 << 20: size *= 4
            default: return .failure(problem(result))
            }
        }
    }

    private static func problem(_ number: Int32) -> FileProblem {
        switch number {
        case ENOENT, ENOTDIR: return .missing
        case EACCES, EPERM: return .notPermitted
        case EISDIR: return .isDirectory
        default:
            var buffer = [CChar](repeating: 0, count: 128)
            let text = strerror_r(number, &buffer, buffer.count) == 0 ? Self.text(buffer) : ""
            return .system(number, text.isEmpty ? "unknown" : text)
        }
    }

    private static func text(_ buffer: [CChar]) -> String {
        String(decoding: buffer.lazy.map { UInt8(bitPattern: $0) }.prefix { $0 != 0 }, as: UTF8.self)
    }
}
