import Glibc
import Synchronization

/// Where the signal handler writes: it may look at nothing else.
private let signalPipe = Atomic<Int32>(-1)

/// The system calls of this program.
enum System {
    static let pid = getpid()

    static func environment(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }
    }

    /// Writes one line to standard output, unbuffered: the supervisor should see it when it happens.
    static func say(_ line: String) {
        write(line + "\n", to: STDOUT_FILENO)
    }

    /// Writes one line to standard error.
    static func complain(_ line: String) {
        write("eider-worker: \(line)\n", to: STDERR_FILENO)
    }

    private static func write(_ text: String, to descriptor: Int32) {
        var text = text
        text.withUTF8 { bytes in
            var sent = 0
            while sent < bytes.count {
                let count = Glibc.write(descriptor, bytes.baseAddress?.advanced(by: sent), bytes.count - sent)
                if count < 0, errno == EINTR { continue }
                if count <= 0 { return }
                sent += count
            }
        }
    }

    static func errorText(_ code: Int32 = errno) -> String {
        String(cString: strerror(code))
    }

    static func exit(_ code: Int32) -> Never {
        Glibc.exit(code)
    }

    /// Ends the process as told, by no way that runs its own clean-up.
    static func crash(_ crash: Crash) -> Never {
        switch crash {
        case .exit(let code):
            _exit(code)
        case .signal(let number):
            _ = Glibc.signal(number, SIG_DFL)
            var all = sigset_t()
            sigemptyset(&all)
            sigprocmask(SIG_SETMASK, &all, nil)
            kill(getpid(), number)
            hang()
        }
    }

    /// Does nothing for ever, as a worker in a deadlock does. SIGTERM is taken and forgotten: only SIGKILL helps.
    static func hang() -> Never {
        while true { pause() }
    }

    static func ignoreTermination() {
        _ = signal(SIGTERM, SIG_IGN)
    }

    /// Catches SIGTERM and SIGINT and gives a descriptor that has one byte for each; nil with `errno` set on failure.
    /// (Swift's Glibc has neither signalfd nor pipe2.)
    static func openSignals(ignoringTermination: Bool) -> Int32? {
        _ = signal(SIGPIPE, SIG_IGN)
        // The kernel reaps our children: nobody here asks how they ended.
        _ = signal(SIGCHLD, SIG_IGN)
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return nil }
        for end in ends {
            closeOnExec(end)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        signalPipe.store(ends[1], ordering: .relaxed)
        let handler: @convention(c) (Int32) -> Void = { number in
            var byte = UInt8(truncatingIfNeeded: number)
            _ = Glibc.write(signalPipe.load(ordering: .relaxed), &byte, 1)
        }
        _ = signal(SIGINT, handler)
        _ = signal(SIGTERM, ignoringTermination ? SIG_IGN : handler)
        return ends[0]
    }

    /// Keeps a passed descriptor from the program's own children.
    static func closeOnExec(_ descriptor: Int32) {
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    }

    /// Takes memory, really, and forgets it.
    static func leak(bytes: Int) {
        let block = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 16)
        memset(block, 0x5A, bytes)
    }

    /// Opens a socket to send notifications from; nil when there is none to be had.
    static func openDatagramSocket() -> Int32? {
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        return descriptor < 0 ? nil : descriptor
    }

    /// Sends one datagram to the Unix socket at `path`; a leading `@` names an abstract one. Never waits.
    ///
    /// - Returns: 0, or the `errno` of the failure.
    static func send(_ text: String, to path: String, from descriptor: Int32) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(path.utf8)
        // sun_path needs no zero at its end when it is full, but there must be something in it.
        guard !bytes.isEmpty, bytes.count <= MemoryLayout.size(ofValue: address.sun_path) else { return ENAMETOOLONG }
        if bytes[0] == UInt8(ascii: "@") { bytes[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
        let message = Array(text.utf8)
        let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
        let sent = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, message, message.count, flags, $0, length)
            }
        }
        return sent < 0 ? errno : 0
    }

    /// Whether a failed `send` is worth another try: the receiver's queue was full.
    static func isTemporary(_ code: Int32) -> Bool {
        code == EAGAIN || code == ENOBUFS || code == EINTR
    }

    /// Starts this program again with other arguments, with an empty signal mask and default dispositions.
    ///
    /// - Returns: 0, or the `errno` of the failure.
    static func startSelf(_ arguments: [String], newSession: Bool) -> Int32 {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigdefault(&attributes, &all)
        let setSession: Int32 = newSession ? 0x80 : 0  // POSIX_SPAWN_SETSID, of glibc 2.26
        posix_spawnattr_setflags(&attributes, Int16(0x08 | 0x04 | setSession))  // SETSIGMASK, SETSIGDEF

        let argv = (["eider-worker"] + arguments).map { strdup($0) } + [nil]
        let environment = ownEnvironment().map { strdup($0) } + [nil]
        defer { for pointer in argv + environment { free(pointer) } }
        var child = pid_t()
        return posix_spawn(&child, "/proc/self/exe", nil, &attributes, argv, environment)
    }

    /// The environment as it was passed to this process. `environ` itself is not safe to read in Swift 6.
    private static func ownEnvironment() -> [String] {
        guard let file = fopen("/proc/self/environ", "r") else { return [] }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        while true {
            let byte = getc(file)
            if byte < 0 { break }
            bytes.append(UInt8(truncatingIfNeeded: byte))
        }
        return bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    }
}
