internal import CLinux
import Glibc

/// A thread with a name and every signal blocked: it must never take a signal that is meant for the main thread, nor
/// die of SIGPIPE or SIGXFSZ.
public final class OwnThread: Sendable {
    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void

        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    private let thread: pthread_t

    private init(_ thread: pthread_t) {
        self.thread = thread
    }

    /// Runs `body` on a thread of its own. The caller joins it or lets it go.
    ///
    /// - Parameters:
    ///   - name: at most 15 bytes, as the kernel shows it.
    ///   - stackBytes: nil takes the host's default.
    /// - Throws: `SystemError` when the kernel has no thread to give.
    public static func start(
        _ name: String,
        stackBytes: Int? = nil,
        _ body: @escaping @Sendable () -> Void
    ) throws(SystemError) -> OwnThread {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        if let stackBytes { pthread_attr_setstacksize(&attributes, stackBytes) }
        // The new thread inherits the mask.
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        let code = pthread_create(&thread, &attributes, { OwnThread.run($0) }, start.toOpaque())
        if code == 0 { return OwnThread(thread) }
        start.release()
        throw SystemError(call: "start a thread", errno: code)
    }

    /// Waits for its end, at most once; on the thread itself it lets go of it instead.
    public func join() {
        if pthread_equal(thread, pthread_self()) != 0 {
            pthread_detach(thread)
        } else {
            pthread_join(thread, nil)
        }
    }

    /// It ends alone; nobody waits for it.
    public func letGo() {
        pthread_detach(thread)
    }

    private static func run(_ raw: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
        guard let raw else { return nil }
        let start = Unmanaged<Start>.fromOpaque(raw).takeRetainedValue()
        _ = clinux_set_name(start.name)
        start.body()
        return nil
    }
}
