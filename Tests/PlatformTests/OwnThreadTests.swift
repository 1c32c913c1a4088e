import Glibc
import LinuxPlatform
import Synchronization
import Testing

@Suite("Threads of their own")
struct OwnThreadTests {
    private struct Seen: Equatable {
        var name = ""
        var blocksSignals = false
    }

    private final class Report: Sendable {
        let seen = Mutex(Seen())
    }

    @Test("a thread has its name and every signal blocked")
    func settings() throws {
        // A thread of the test's own host may block it already.
        var before = sigset_t()
        var one = sigset_t()
        sigemptyset(&one)
        sigaddset(&one, SIGXFSZ)
        pthread_sigmask(SIG_UNBLOCK, &one, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        let report = Report()
        let thread = try OwnThread.start("eider-test", stackBytes: 192 << 10) {
            var seen = Seen(name: SmallFile.text("/proc/thread-self/comm") ?? "")
            seen.blocksSignals = Self.blocked([SIGTERM, SIGPIPE, SIGCHLD, SIGXFSZ])
            report.seen.withLock { $0 = seen }
        }
        thread.join()
        let seen = report.seen.withLock { $0 }
        #expect(seen == Seen(name: "eider-test", blocksSignals: true))
        // Ours are as they were.
        #expect(!Self.blocked([SIGXFSZ]))
    }

    @Test("a start that fails is an error, and the body never runs")
    func failure() {
        // EINVAL: no stack has so many bytes.
        #expect(throws: SystemError.self) {
            try OwnThread.start("eider-test", stackBytes: 1 << 60) { Issue.record("it ran") }.letGo()
        }
    }

    private static func blocked(_ signals: [Int32]) -> Bool {
        var mask = sigset_t()
        pthread_sigmask(SIG_BLOCK, nil, &mask)
        return signals.allSatisfy { sigismember(&mask, $0) == 1 }
    }
}
