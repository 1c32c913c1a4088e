import CLinux
import Glibc
import StatusBoard
import SupervisorCore
import Synchronization
import Testing

@testable import SupervisorRuntime

@Suite struct EventHistoryTests {
    @Test func answersTheNewestInOrder() {
        let history = EventHistory(writer: nil)
        for number in 0..<3000 {
            history.append(
                subject: number % 2 == 0 ? "auth/\(number % 4)" : nil,
                kind: "k",
                text: "\(number)",
                wallClock: 1
            )
        }
        let all = history.events(after: 0, subject: nil, limit: 10_000)
        #expect(all.count == EventHistory.Limits.records)
        #expect(all.map(\.text) == (952..<3000).map { "\($0)" })
        #expect(history.events(after: 2998, subject: nil, limit: 10).map(\.sequence) == [2999, 3000])
        #expect(history.events(after: 0, subject: nil, limit: 2).map(\.text) == ["2998", "2999"])
        #expect(history.events(after: 0, subject: "auth", limit: 2).map(\.text) == ["2996", "2998"])
        #expect(history.events(after: 0, subject: "auth/2", limit: 1).map(\.text) == ["2998"])
        #expect(history.events(after: 0, subject: "aut", limit: 5).isEmpty)
        #expect(history.events(after: 5000, subject: nil, limit: 5).isEmpty)
        #expect(history.events(after: 0, subject: nil, limit: 0).isEmpty)
    }

    @Test func goesOnAfterTheDaemonWasReplaced() throws {
        let directory = try TemporaryDirectory()
        let texts = ["plain", "tab\tnewline\nbackslash\\n", "", "größer"]
        do {
            let rig = try LogRig(directory)
            let history = EventHistory(writer: rig.writer)
            for text in texts { history.append(subject: "auth/0", kind: "started", text: text, wallClock: 77) }
            history.append(subject: nil, kind: "node", text: "n", wallClock: -5)
        }
        let rig = try LogRig(directory)
        let history = EventHistory(writer: rig.writer)
        let events = history.events(after: 0, subject: nil, limit: 100)
        #expect(events.map(\.text) == texts + ["n"])
        #expect(events.map(\.sequence) == [1, 2, 3, 4, 5])
        #expect(events.last?.subject == nil)
        #expect(events.last?.wallClock == -5)
        #expect(events.first?.subject == "auth/0")
        #expect(history.append(subject: nil, kind: "k", text: "t", wallClock: 1) == 6)
    }

    @Test func passesOverLinesThatAreDamaged() throws {
        let directory = try TemporaryDirectory()
        let descriptor = clinux_open(directory.path + "/events.log", O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
        let text = "7\t1\t\tk\tgood\nrubbish\n\n9\tx\t\tk\tt\n18446744073709551615\t1\t\tk\tt\n8\t2\ta\tk\tbetter\n9\t2"
        _ = clinux_write(descriptor, text, text.utf8.count)
        _ = clinux_close(descriptor)
        let history = EventHistory(writer: try LogWriter(stateDirectory: directory.path) { _ in })
        #expect(history.events(after: 0, subject: nil, limit: 9).map(\.text) == ["good", "better"])
        #expect(history.append(subject: nil, kind: "k", text: "t", wallClock: 1) == 9)
    }

    @Test func observersAreCalledUntilTheyLeave() {
        let history = EventHistory(writer: nil)
        let calls = Counter()
        let leave = history.observe { calls.value.wrappingAdd(1, ordering: .relaxed) }
        history.append(subject: nil, kind: "k", text: "t", wallClock: 1)
        leave()
        history.append(subject: nil, kind: "k", text: "t", wallClock: 1)
        #expect(calls.value.load(ordering: .relaxed) == 1)
    }

    private final class Counter: Sendable {
        let value = Atomic<Int>(0)
    }
}

@Suite struct DaemonLogTests {
    private func read(_ pipe: TestPipe, until end: String) -> String {
        var text = ""
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        _ = clinux_set_nonblocking(pipe.readEnd, true)
        _ = eventually {
            let count = clinux_read(pipe.readEnd, &buffer, buffer.count)
            if count > 0 { text += String(decoding: buffer[..<count], as: UTF8.self) }
            return text.hasSuffix(end)
        }
        return text
    }

    @Test func namesTheDaemonOnEachLine() throws {
        let pipe = try TestPipe()
        let log = DaemonLog(descriptor: pipe.writeEnd, threshold: .notice, journalStream: nil)
        log.info("not this")
        log.error("cannot open x: no such file\ncreate it")
        let lines = read(pipe, until: "create it\n").split(separator: "\n")
        #expect(lines.count == 2)
        #expect(lines[0].hasSuffix("Z eiderd: cannot open x: no such file"))
        #expect(lines[1].hasSuffix("Z eiderd: create it"))
    }

    @Test func namesThePriorityForTheJournal() throws {
        let pipe = try TestPipe()
        var device: UInt64 = 0
        var inode: UInt64 = 0
        _ = clinux_identity(pipe.writeEnd, &device, &inode)
        let log = DaemonLog(descriptor: pipe.writeEnd, journalStream: "\(device):\(inode)")
        log.warning("one\ntwo")
        log.logNow(.info, "three")
        #expect(read(pipe, until: "three\n") == "<4>one\n<4>two\n<6>three\n")
        let stranger = DaemonLog(descriptor: pipe.writeEnd, journalStream: "1:1")
        stranger.warning("four")
        #expect(read(pipe, until: "four\n").hasSuffix("eiderd: four\n"))
    }

    /// Nobody reads standard error: neither the one who logs nor the workers' logs wait for it.
    @Test func aBlockedStandardErrorHoldsUpNothing() throws {
        let pipe = try TestPipe()
        let directory = try TemporaryDirectory()
        let writer = try LogWriter(stateDirectory: directory.path, standardError: pipe.writeEnd) { _ in }
        let log = DaemonLog(descriptor: pipe.writeEnd, journalStream: nil)
        log.attach(writer)
        try writer.start()
        let collector = try LogCollector(writer: writer)
        try collector.start()
        let begin = Clocks.monotonic
        for number in 0..<20_000 { log.info("message \(number) of very many messages that nobody reads") }
        #expect(Clocks.monotonic - begin < 5_000_000_000)
        let output = try TestPipe()
        collector.add(instance: auth0, descriptor: output.readEnd, logs: ServiceSpec.Logs())
        output.write("a worker\n")
        #expect(
            eventually {
                !FileTail.read(directory.path + "/logs/auth.log", limit: 100).isEmpty
            }
        )
        // Somebody reads: it goes on, and says what is missing.
        var text = ""
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        _ = clinux_set_nonblocking(pipe.readEnd, true)
        #expect(
            eventually {
                let count = clinux_read(pipe.readEnd, &buffer, buffer.count)
                if count > 0 { text += String(decoding: buffer[..<count], as: UTF8.self) } else { log.info("again") }
                return text.hasSuffix("again\n")
            }
        )
        let lines = text.split(separator: "\n")
        #expect(lines.allSatisfy { $0.contains("eiderd: ") })
        #expect(lines.contains { $0.contains("messages were dropped: standard error is slow") })
        collector.stop()
        writer.stop()
    }
}
