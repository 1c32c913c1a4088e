import CLinux
import Glibc
import StatusBoard
import SupervisorCore
import Synchronization
import Testing

@testable import SupervisorRuntime

/// A directory that is removed with everything in it.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var random = SystemRandomNumberGenerator()
        path = "/tmp/eider-log-tests-\(getpid())-\(random.next())"
        let made = mkdir(path, 0o700)
        try #require(made == 0)
    }

    deinit {
        Self.remove(path)
    }

    private static func remove(_ path: String) {
        if let directory = opendir(path) {
            while let entry = readdir(directory) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if name != ".", name != ".." { remove(path + "/" + name) }
            }
            closedir(directory)
            rmdir(path)
        } else {
            unlink(path)
        }
    }
}

/// Waits until the condition holds, at most `seconds`; answers whether it does.
func eventually(_ seconds: Double = 10, _ condition: () -> Bool) -> Bool {
    let deadline = Clocks.monotonic + Int64(seconds * 1e9)
    while !condition() {
        if Clocks.monotonic > deadline { return false }
        _ = poll(nil, 0, 1)
    }
    return true
}

/// A pipe; the read end is given away.
final class TestPipe: Sendable {
    let readEnd: Int32
    let writeEnd: Int32

    init() throws {
        var ends: [Int32] = [-1, -1]
        _ = clinux_signal_ignore(SIGPIPE)
        try #require(clinux_pipe(&ends, false) >= 0)
        readEnd = ends[0]
        writeEnd = ends[1]
    }

    deinit {
        _ = clinux_close(writeEnd)
    }

    /// Writes all of it, waiting for room.
    func write(_ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { clinux_write(writeEnd, $0.baseAddress, $0.count) }
            if count <= 0 { return }
            bytes = bytes.dropFirst(count)
        }
    }

    /// Bytes in the pipe that nobody has taken.
    var waiting: Int {
        var looked = [UInt8](repeating: 0, count: 1 << 16)
        guard let peek = try? PipePeek() else { return -1 }
        let count = looked.withUnsafeMutableBytes { peek.look(into: readEnd, $0) }
        return max(0, count)
    }
}

/// A collector and a writer over a temporary directory.
final class LogRig: Sendable {
    let directory: TemporaryDirectory
    let writer: LogWriter
    let collector: LogCollector
    private let reported: Reported

    private final class Reported: Sendable {
        let problems = Mutex<[LogProblem]>([])
    }

    init(_ directory: TemporaryDirectory? = nil) throws {
        let directory = try directory ?? TemporaryDirectory()
        let reported = Reported()
        self.directory = directory
        self.reported = reported
        writer = try LogWriter(stateDirectory: directory.path) { problem in
            reported.problems.withLock { $0.append(problem) }
        }
        collector = try LogCollector(writer: writer)
        try writer.start()
        try collector.start()
    }

    deinit {
        collector.stop()
        writer.stop()
    }

    var problems: [LogProblem] { reported.problems.withLock { $0 } }

    func path(_ service: String) -> String { "\(directory.path)/logs/\(service).log" }

    func content(_ service: String, suffix: String = "") -> String {
        String(decoding: FileTail.read(path(service) + suffix, limit: 1 << 28), as: UTF8.self)
    }

    /// The texts in the file, without time and instance.
    func texts(_ service: String, suffix: String = "") -> [String] {
        content(service, suffix: suffix).split(separator: "\n").map { line in
            line.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false).dropFirst(2).joined()
        }
    }

    func counters(_ service: String) -> LogCounters { collector.counters[service] ?? LogCounters() }

    @discardableResult
    func add(_ instance: InstanceID, maxSize: UInt64 = 64 << 20, keep: Int = 4) throws -> TestPipe {
        let pipe = try TestPipe()
        var logs = ServiceSpec.Logs()
        logs.maxSize = maxSize
        logs.keep = keep
        collector.add(instance: instance, descriptor: pipe.readEnd, logs: logs)
        return pipe
    }
}

/// Numbers that are the same in every run.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

let auth0 = InstanceID(service: "auth", index: 0)
let auth1 = InstanceID(service: "auth", index: 1)
let chat0 = InstanceID(service: "chat", index: 0)
