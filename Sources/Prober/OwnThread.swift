import Glibc
import Synchronization

/// A thread with a name. NIO's own would end the process when the kernel has no thread to give.
final class OwnThread: Sendable {
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

    /// Nil when the kernel has none to give.
    ///
    /// - Parameter name: at most 15 bytes.
    static func start(_ name: String, _ body: @escaping @Sendable () -> Void) -> OwnThread? {
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        let code = pthread_create(&thread, nil, { OwnThread.run($0) }, start.toOpaque())
        if code == 0 { return OwnThread(thread) }
        start.release()
        return nil
    }

    /// Waits for its end, at most once; on the thread itself it lets go of it instead.
    func join() {
        if pthread_equal(thread, pthread_self()) != 0 {
            pthread_detach(thread)
        } else {
            pthread_join(thread, nil)
        }
    }

    /// It ends alone; nobody waits for it.
    func letGo() {
        pthread_detach(thread)
    }

    /// Through the kernel's file: Swift's Glibc has neither `prctl` nor `pthread_setname_np`. A thread without a name
    /// works as well.
    private static func setName(_ name: String) {
        let file = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        _ = write(file, name, name.utf8.count)
        close(file)
    }

    private static func run(_ raw: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
        guard let raw else { return nil }
        let start = Unmanaged<Start>.fromOpaque(raw).takeRetainedValue()
        setName(start.name)
        start.body()
        return nil
    }
}
