import Glibc
import LinuxPlatform
import SupervisorCore

/// A worker of a real eiderd that asks over the breaker socket. The worker is this program again.
enum RoundTrips {
    static let role = "as-worker"
    private static let patience: Duration = .seconds(60)

    /// Starts an eiderd and has it start the worker.
    static func measure(calls: Int) throws -> Series {
        let own = try ExecutableLocation.current()
        let host = try BenchHost { [own, role, $0 + "/result", "\(calls)"] }
        defer { host.stop() }
        let result = host.directory + "/result"
        guard let text = eventually(within: patience, { SmallFile.text(result, limit: 1 << 24) }) else {
            throw BenchFailure("the worker has not answered within \(patience); see \(host.directory)")
        }
        let values = text.split(separator: "\n").compactMap { Double($0) }
        guard values.count == calls else { throw BenchFailure(text) }
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
            throw BenchFailure("EIDER_BREAKER_SOCKET is not set")
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
            else { throw BenchFailure("the connection ended in round \(round)") }
            if round >= 0 { values.append(MonotonicClock.now().nanoseconds - start) }
            guard answer.starts(with: "ok ".utf8) else {
                throw BenchFailure("unexpected answer: \(String(decoding: answer[..<count], as: UTF8.self))")
            }
        }
        return values
    }
}
