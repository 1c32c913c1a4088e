import FoundationEssentials
import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

/// All tests of the real programs: one after the other, because they measure the machine as much as the programs.
@Suite(.serialized) enum EndToEnd {}

/// A program run to its end, and what it said.
struct Command {
    /// Minus the signal's number where a signal ended it, -1000 where it did not end in time.
    var exitCode: Int32
    var output: String
    var errors: String

    /// Directory of the programs under test: where this test bundle was built.
    static let programs: String = {
        // Swift's test runner lies elsewhere; the bundle it runs is named on its command line.
        let bundle = CommandLine.arguments.first { $0.contains(".xctest") }
        let path = bundle ?? (try? ExecutableLocation.current()) ?? ""
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        let directory = bundle == nil ? parts.dropLast() : parts.prefix { !$0.hasSuffix(".xctest") }
        return directory.joined(separator: "/")
    }()

    /// The repository.
    static let repository: String = {
        #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(4).joined(separator: "/")
    }()

    static let environment = ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG=C.UTF-8"]

    /// Runs a program and waits for its end, for at most `patience`; then it is killed.
    static func run(
        _ arguments: [String],
        environment: [String] = Command.environment,
        as user: ServiceSpec.Credentials? = nil,
        patience: Duration = .seconds(60)
    ) throws -> Command {
        let directory = try TemporaryDirectory()
        let pid = try start(
            arguments,
            environment: environment,
            as: user,
            output: directory.path + "/out",
            errors: directory.path + "/err"
        )
        let code = wait(pid, patience)
        return Command(
            exitCode: code,
            output: File.text(directory.path + "/out"),
            errors: File.text(directory.path + "/err")
        )
    }

    /// Starts a program whose output goes to files, and answers its pid.
    static func start(
        _ arguments: [String],
        environment: [String] = Command.environment,
        as user: ServiceSpec.Credentials? = nil,
        output: String,
        errors: String
    ) throws -> Int32 {
        let null = try FileDescriptors.open("/dev/null", flags: O_RDONLY)
        let flags = O_WRONLY | O_CREAT | O_APPEND
        let out = try FileDescriptors.open(output, flags: flags, mode: 0o644)
        let err = try FileDescriptors.open(errors, flags: flags, mode: 0o644)
        var start = ProgramStart(arguments: arguments)
        start.environment = environment
        start.credentials = user
        start.descriptors = [null.rawValue, out.rawValue, err.rawValue]
        let outcome = start.start()
        // They must live until here.
        _ = (null.rawValue, out.rawValue, err.rawValue)
        switch outcome {
        case .running(let pid): return pid
        case .failed(let failure): throw TestFailure("\(arguments): \(failure)")
        }
    }

    /// Waits for the end of our child; -signal when a signal ended it, -1000 when it had to be killed.
    static func wait(_ pid: Int32, _ patience: Duration) -> Int32 {
        let ended = Deadline(patience).poll { ChildProcess.reap(pid) }
        switch ended?.status {
        case .code(let code)?: return code
        case .signal(let signal, _)?: return -signal.rawValue
        case nil:
            kill(pid, SIGKILL)
            _ = Deadline(.seconds(5)).poll { ChildProcess.reap(pid) }
            return -1000
        }
    }
}

/// What keeps a test from going on.
struct TestFailure: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) {
        self.description = description
    }
}

/// Waiting for what another process does, with a limit.
struct Deadline {
    private let end: MonotonicInstant

    init(_ patience: Duration) {
        end = MonotonicClock.now().advanced(by: patience)
    }

    /// Lets an arbitrary time pass: for faults that may come at any instant, not for waiting.
    static func passRandomly(upToMicroseconds limit: UInt64, _ generator: inout some RandomNumberGenerator) {
        usleep(useconds_t(generator.next() % limit))
    }

    /// Lets all of it pass: where a rule is about time itself, and nothing but time shows that it holds. Holds no
    /// thread meanwhile, which other tests can use.
    func pass(every interval: Duration = .milliseconds(250), _ look: () throws -> Void = {}) async throws {
        while MonotonicClock.now() < end {
            try look()
            try await Task.sleep(for: interval)
        }
    }

    /// Asks again and again until there is an answer; nil when the time is over.
    func poll<Answer>(every interval: useconds_t = 2_000, _ ask: () throws -> Answer?) rethrows -> Answer? {
        while true {
            if let answer = try ask() { return answer }
            if MonotonicClock.now() >= end { return nil }
            usleep(interval)
        }
    }

    /// Asks until it is true; false when the time is over.
    func wait(every interval: useconds_t = 2_000, _ ask: () throws -> Bool) rethrows -> Bool {
        try poll(every: interval) { try ask() ? true : nil } ?? false
    }
}

/// How long something takes.
struct Stopwatch {
    private let began = MonotonicClock.now()

    var elapsed: Duration { MonotonicClock.now().since(began) }
    var seconds: Double { elapsed.inSeconds }
}

/// Says a figure in the test's output.
func report(_ text: String) {
    StandardError.line("end to end: \(text)")
}

/// A number for people: two decimals.
func rounded(_ number: Double) -> String {
    let hundredths = Int((number * 100).rounded())
    let fraction = "\(abs(hundredths) % 100)"
    return "\(hundredths / 100).\(fraction.count < 2 ? "0" : "")\(fraction)"
}

/// A directory that goes with its last owner. Short: socket paths have 107 bytes.
final class TemporaryDirectory {
    let path: String

    init() throws {
        var template = Array("/tmp/eider-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestFailure("mkdtemp: \(errno)") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        chmod(path, 0o755)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// Files of tests.
enum File {
    static func text(_ path: String) -> String {
        (try? SmallFile.read(path, limit: 64 << 20)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    static func size(_ path: String) -> Int {
        var facts = stat()
        return stat(path, &facts) == 0 ? Int(facts.st_size) : -1
    }

    static func write(_ text: String, to path: String, mode: mode_t = 0o644) throws {
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
        guard file >= 0 else { throw TestFailure("cannot write \(path): \(errno)") }
        defer { close(file) }
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            guard count > 0 else { throw TestFailure("cannot write \(path): \(errno)") }
            bytes = bytes.dropFirst(count)
        }
    }

    /// A program of the shell.
    static func script(_ text: String, at path: String) throws {
        try write("#!/bin/sh\n" + text + "\n", to: path, mode: 0o755)
        chmod(path, 0o755)
    }

    /// A copy with another inode, executable.
    static func copy(_ source: String, to target: String) throws {
        try FileManager.default.copyItem(atPath: source, toPath: target)
    }
}

/// A generator that gives the same numbers again (SplitMix64).
struct Seeded: RandomNumberGenerator {
    var state: UInt64

    /// `EIDER_TEST_SEED` chooses other moments than the usual ones.
    static func forTests() -> Seeded {
        let seed = OwnProcess.environment("EIDER_TEST_SEED").flatMap { UInt64($0) } ?? 20_261_121
        return Seeded(state: seed)
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
