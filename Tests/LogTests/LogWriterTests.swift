import CLinux
import Glibc
import StatusBoard
import SupervisorCore
import Synchronization
import Testing

@testable import SupervisorRuntime

@Suite struct LogWriterTests {
    @Test func rotatesWholeLinesAndKeepsSoMany() throws {
        let rig = try LogRig()
        let pipe = try rig.add(auth0, maxSize: 4096, keep: 2)
        let count = 400
        pipe.write((0..<count).map { "line \($0)\n" }.joined())
        #expect(eventually { rig.texts("auth").last == "line \(count - 1)" })
        var texts: [String] = []
        for suffix in [".2", ".1", ""] {
            let content = rig.content("auth", suffix: suffix)
            #expect(content.utf8.count <= 4096)
            #expect(content.hasSuffix("\n"))
            texts += rig.texts("auth", suffix: suffix)
        }
        #expect(texts == ((count - texts.count)..<count).map { "line \($0)" })
        #expect(texts.count > 150)
        #expect(access(rig.path("auth") + ".3", F_OK) != 0)
    }

    @Test(arguments: [0, 1])
    func keepIsTakenOverWhenItIsLowered(_ keep: Int) throws {
        let rig = try LogRig()
        let pipe = try rig.add(auth0, maxSize: 1000, keep: 3)
        pipe.write((0..<200).map { "line \($0)\n" }.joined())
        #expect(eventually { access(rig.path("auth") + ".3", F_OK) == 0 })
        var logs = ServiceSpec.Logs()
        logs.maxSize = 1000
        logs.keep = keep
        rig.collector.configure(service: "auth", logs: logs)
        pipe.write((200..<300).map { "line \($0)\n" }.joined())
        #expect(eventually { rig.texts("auth").last == "line 299" })
        for number in 1...3 {
            #expect((access(rig.path("auth") + ".\(number)", F_OK) == 0) == (number <= keep))
        }
    }

    @Test func aLineAboveTheLimitHasAFileOfItsOwn() throws {
        let rig = try LogRig()
        let pipe = try rig.add(auth0, maxSize: 100, keep: 2)
        pipe.write("short\n" + String(repeating: "x", count: 500) + "\nend\n")
        #expect(eventually { rig.texts("auth") == ["end"] })
        #expect(rig.texts("auth", suffix: ".1").map(\.utf8.count) == [500])
        #expect(rig.texts("auth", suffix: ".2") == ["short"])
    }

    @Test func aDeletedFileIsMadeAnew() throws {
        let rig = try LogRig()
        let pipe = try rig.add(auth0)
        pipe.write("one\n")
        #expect(eventually { rig.texts("auth") == ["one"] })
        unlink(rig.path("auth"))
        var number = 0
        #expect(
            eventually {
                number += 1
                pipe.write("again \(number)\n")
                return access(rig.path("auth"), F_OK) == 0
            }
        )
        pipe.write("last\n")
        #expect(eventually { rig.texts("auth").last == "last" })
        #expect(rig.problems.isEmpty)
    }

    @Test func aLineThatWasCutOffByADeathIsEnded() throws {
        let directory = try TemporaryDirectory()
        mkdir(directory.path + "/logs", 0o700)
        let descriptor = clinux_open(directory.path + "/logs/auth.log", O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
        _ = clinux_write(descriptor, "cut of", 6)
        _ = clinux_close(descriptor)
        let rig = try LogRig(directory)
        try rig.add(auth0).write("next\n")
        #expect(eventually { rig.content("auth").hasPrefix("cut of\n") && rig.texts("auth").last == "next" })
    }

    @Test func aFullDiskIsSaidOnceAndLinesAreCounted() throws {
        let directory = try TemporaryDirectory()
        mkdir(directory.path + "/logs", 0o700)
        let rig = try LogRig(directory)
        symlink("/dev/full", rig.path("auth"))
        let pipe = try rig.add(auth0)
        let other = try rig.add(chat0)
        let text = String(repeating: "0123456789 0123456789 0123456789\n", count: 1000)
        for _ in 0..<100 { pipe.write(text) }
        let total = UInt64(text.utf8.count * 100)
        #expect(eventually(30) { rig.counters("auth").bytes == total })
        // The disk of the other is not full.
        other.write("fine\n")
        #expect(eventually { rig.texts("chat") == ["fine"] })
        let dropped = rig.counters("auth").droppedBytes
        #expect(dropped > total / 2)
        let path = rig.path("auth")
        #expect(rig.problems == [.cannotWrite(file: path, errno: ENOSPC), .dropping(service: "auth")])
        #expect(rig.collector.tail(.service("auth"), limit: 5).count == 5)
        // There is room again.
        unlink(path)
        #expect(eventually { rig.problems.contains(.writingAgain(file: path)) })
        #expect(eventually { rig.problems.contains(.caughtUp(service: "auth", droppedBytes: dropped)) })
        #expect(eventually { rig.texts("auth").last?.contains("bytes of output were dropped") == true })
        pipe.write("back\n")
        #expect(eventually { rig.texts("auth").last == "back" })
        let texts = rig.texts("auth")
        let gaps = texts.filter { $0.hasPrefix("[eider]") }
        #expect(
            gaps == [
                "[eider] \(dropped) bytes of output were dropped: the log cannot be written: No space left on device"
            ]
        )
        let written = texts.filter { !$0.hasPrefix("[eider]") }.reduce(0) { $0 + $1.utf8.count + 1 }
        #expect(UInt64(written) + dropped == rig.counters("auth").bytes)
    }

    /// A FIFO that nobody reads in the log's place takes 64 KiB and then nothing.
    @Test func aSlowDiskHoldsUpNobodyAndTheCountsAreExact() throws {
        let directory = try TemporaryDirectory()
        mkdir(directory.path + "/logs", 0o700)
        let rig = try LogRig(directory)
        mkfifo(rig.path("auth"), 0o600)
        let reader = clinux_open(rig.path("auth"), O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0)
        defer { _ = clinux_close(reader) }
        let pipe = try rig.add(auth0)
        let line = "a line of the flood against a slow disk\n"
        let text = String(repeating: line, count: 1000)
        for _ in 0..<60 { pipe.write(text) }
        #expect(eventually(30) { rig.counters("auth").bytes == UInt64(text.utf8.count * 60) })
        #expect(rig.counters("auth").droppedBytes > 0)
        let quiet = try rig.add(chat0)
        quiet.write("undisturbed\n")
        #expect(eventually { rig.texts("chat") == ["undisturbed"] })
        // Somebody reads: what was kept comes, then what is missing is named, then it goes on.
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        func read() {
            let count = clinux_read(reader, &buffer, buffer.count)
            if count > 0 { bytes += buffer[..<count] }
        }
        #expect(
            eventually(30) {
                read()
                return rig.problems.contains { if case .caughtUp = $0 { true } else { false } }
            }
        )
        pipe.write("resumed\n")
        #expect(
            eventually(30) {
                read()
                return bytes.suffix(8).elementsEqual("resumed\n".utf8)
            }
        )
        let texts = String(decoding: bytes, as: UTF8.self).split(separator: "\n").map {
            $0.split(separator: " ", maxSplits: 2).dropFirst(2).joined()
        }
        let gaps = texts.filter { $0.hasPrefix("[eider]") }
        let written = texts.filter { !$0.hasPrefix("[eider]") }.reduce(0) { $0 + $1.utf8.count + 1 }
        let counters = rig.counters("auth")
        #expect(UInt64(written) + counters.droppedBytes == counters.bytes)
        #expect(gaps.contains { $0.contains("bytes of output were dropped: the disk is slow") })
        let named = gaps.compactMap { UInt64($0.split(separator: " ")[1]) }.reduce(0, +)
        #expect(named == counters.droppedBytes)
    }

    /// What is not yet in the file is still in the pipe, where a successor finds it.
    @Test func linesStayInThePipeUntilTheyAreInTheFile() throws {
        let directory = try TemporaryDirectory()
        mkdir(directory.path + "/logs", 0o700)
        let writer = try LogWriter(stateDirectory: directory.path) { _ in }
        let collector = try LogCollector(writer: writer)
        try collector.start()
        let pipe = try TestPipe()
        let spare = clinux_duplicate(pipe.readEnd, 3)
        defer { _ = clinux_close(spare) }
        collector.add(instance: auth0, descriptor: pipe.readEnd, logs: ServiceSpec.Logs())
        pipe.write("precious\nunfini")
        #expect(eventually { collector.tail(nil, limit: 1).count == 1 })
        #expect(pipe.waiting == 15)
        try writer.start()
        #expect(eventually { pipe.waiting == 6 })
        let content = String(decoding: FileTail.read(directory.path + "/logs/auth.log", limit: 100), as: UTF8.self)
        #expect(content.hasSuffix(" auth/0 precious\n"))
        collector.stop()
        writer.stop()
        // The unfinished line is the successor's.
        let successor = try LogRig(directory)
        successor.collector.add(
            instance: auth0,
            descriptor: clinux_duplicate(spare, 3),
            logs: ServiceSpec.Logs()
        )
        pipe.write("shed\n")
        #expect(eventually { successor.texts("auth") == ["precious", "unfinished"] })
    }

    @Test func stopDoesNotWaitForADeadDisk() throws {
        let directory = try TemporaryDirectory()
        mkdir(directory.path + "/logs", 0o700)
        let rig = try LogRig(directory)
        symlink("/dev/full", rig.path("auth"))
        try rig.add(auth0).write("lost\n")
        #expect(eventually { !rig.problems.isEmpty })
        let begin = Clocks.monotonic
        #expect(rig.collector.stop(patience: .milliseconds(300)))
        #expect(!rig.writer.stop(patience: .milliseconds(300)))
        #expect(Clocks.monotonic - begin < 2_000_000_000)
        #expect(rig.problems.contains { if case .lostAtStop(let bytes) = $0 { bytes > 5 } else { false } })
    }

    @Test func idleCostsNothing() throws {
        let rig = try LogRig()
        let pipe = try rig.add(auth0)
        pipe.write("one\n")
        #expect(eventually { rig.texts("auth") == ["one"] })
        // Both threads have done what follows a line; from now on nothing wakes them.
        func turns() -> [UInt64] {
            [rig.collector.memory.turns.load(ordering: .relaxed), rig.writer.queue.turns.load(ordering: .relaxed)]
        }
        var before: [UInt64] = []
        let settled = eventually {
            let now = turns()
            defer { before = now }
            return now == before && !eventually(0.3) { turns() != now }
        }
        #expect(settled)
        #expect(!eventually(1.5) { turns() != before })
    }
}
