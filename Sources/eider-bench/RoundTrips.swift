import Glibc
import LinuxPlatform
import SupervisorCore

/// A worker of a real eiderd that asks over the breaker socket. The worker is this program again.
enum RoundTrips {
    static let role = "as-worker"
    private static let patience: Duration = .seconds(60)

    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    /// Starts an eiderd, which lies beside this program, and has it start the worker.
    static func measure(calls: Int) throws -> Series {
        let own = try ExecutableLocation.current()
        let programs = own[..<(own.lastIndex(of: "/") ?? own.startIndex)]
        let directory = "/tmp/eider-bench.\(getpid())"
        try Directories.make(directory, mode: 0o755)
        let result = directory + "/result"
        try FileSystem.replace(
            directory + "/eider.toml",
            with: """
                [node]
                name = "bench"
                state_directory = "\(directory)/state"
                runtime_directory = "\(directory)/run"
                [health]
                listen = ["127.0.0.1:0"]
                [control]
                socket = "\(directory)/control.sock"
                [drain]
                notice_min = "0s"
                notice_max = "0s"
                [services.bench]
                command = ["\(own)", "\(role)", "\(result)", "\(calls)"]
                type = "simple"

                """
        )
        var start = ProgramStart(arguments: ["\(programs)/eiderd", "--config", directory + "/eider.toml"])
        start.environment = OwnProgram.environment()
        let null = try FileDescriptors.open("/dev/null", flags: O_RDWR)
        start.descriptors = [null.rawValue, null.rawValue, null.rawValue]
        guard case .running(let pid) = start.start() else {
            throw Failure(description: "cannot start \(programs)/eiderd")
        }
        _ = null.rawValue
        defer {
            kill(pid, SIGTERM)
            _ = wait(.seconds(15)) { ChildProcess.reap(pid) }
        }
        guard let text = wait(patience, { SmallFile.text(result, limit: 1 << 24) }) else {
            throw Failure(description: "the worker has not answered within \(patience); see \(directory)")
        }
        let values = text.split(separator: "\n").compactMap { Double($0) }
        guard values.count == calls else { throw Failure(description: text) }
        return Series(values)
    }

    /// The worker: measures, leaves its figures in a file, and stays until it is ended.
    static func work(result: String, calls: Int) {
        var text = ""
        do {
            text = try exchange(calls).map { String($0) }.joined(separator: "\n")
        } catch {
            text = "\(error)"
        }
        try? FileSystem.replace(result, with: text)
        while true { pause() }
    }

    private static func exchange(_ calls: Int) throws -> [Int64] {
        guard let path = OwnProcess.environment("EIDER_BREAKER_SOCKET") else {
            throw Failure(description: "EIDER_BREAKER_SOCKET is not set")
        }
        let socket = try UnixSocket.connect(.sequentialPacket, path: path)
        let descriptor = socket.rawValue
        let question = Array("ALLOW payments-api.internal:443\n".utf8)
        var answer = [UInt8](repeating: 0, count: 4_096)
        var values: [Int64] = []
        values.reserveCapacity(calls)
        for round in -1_000..<calls {
            let start = MonotonicClock.now().nanoseconds
            guard send(descriptor, question, question.count, Int32(MSG_NOSIGNAL)) > 0,
                case let count = recv(descriptor, &answer, answer.count, 0), count > 0
            else { throw Failure(description: "the connection ended in round \(round)") }
            if round >= 0 { values.append(MonotonicClock.now().nanoseconds - start) }
            guard answer.starts(with: "ok ".utf8) else {
                throw Failure(description: "unexpected answer: \(String(decoding: answer[..<count], as: UTF8.self))")
            }
        }
        return values
    }

    private static func wait<Answer>(_ patience: Duration, _ ask: () -> Answer?) -> Answer? {
        let end = MonotonicClock.now().advanced(by: patience)
        while MonotonicClock.now() < end {
            if let answer = ask() { return answer }
            usleep(20_000)
        }
        return nil
    }
}
