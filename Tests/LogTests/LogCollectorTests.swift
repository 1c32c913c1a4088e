import CLinux
import Glibc
import StatusBoard
import SupervisorCore
import Testing

@testable import SupervisorRuntime

@Suite struct LogCollectorTests {
    @Test func linesReachMemoryAndTheFile() throws {
        let rig = try LogRig()
        let pipe = try rig.add(auth0)
        let other = try rig.add(auth1)
        pipe.write("hello\nworld\r\n\nbroken \u{FF}\n")
        #expect(eventually { rig.collector.tail(nil, limit: 10).count == 4 })
        other.write("second\n")
        #expect(eventually { rig.texts("auth").count == 5 })
        #expect(rig.texts("auth") == ["hello", "world", "", "broken \u{FF}", "second"])
        let lines = rig.content("auth").split(separator: "\n")
        #expect(lines.allSatisfy { LogTime.parse($0.utf8.prefix(27)) != nil })
        #expect(lines.last?.contains(" auth/1 second") == true)
        #expect(rig.collector.tail(.instance(auth1), limit: 5).map(\.text) == ["second"])
        #expect(rig.collector.tail(.service("auth"), limit: 2).map(\.text) == ["broken \u{FF}", "second"])
        #expect(rig.counters("auth").bytes == UInt64("hello\nworld\r\n\nbroken \u{FF}\nsecond\n".utf8.count))
        #expect(rig.counters("auth").droppedBytes == 0)
        #expect(rig.problems.isEmpty)
    }

    @Test func bytesThatAreNotTextStayAsTheyAreInTheFile() throws {
        let rig = try LogRig()
        let pipe = try rig.add(auth0)
        let bytes: [UInt8] = [0x61, 0xFF, 0x00, 0x62, 0x0A]
        _ = clinux_write(pipe.writeEnd, bytes, bytes.count)
        #expect(eventually { FileTail.read(rig.path("auth"), limit: 1000).suffix(5) == bytes[...] })
        #expect(rig.collector.tail(nil, limit: 1).map(\.text) == ["a\u{FFFD}\0b"])
    }

    @Test func unfinishedLineIsWrittenOnFlush() throws {
        let rig = try LogRig()
        let pipe = try rig.add(auth0)
        pipe.write("whole\nhal")
        #expect(eventually { rig.texts("auth") == ["whole"] })
        pipe.write("f")
        rig.collector.flush(instance: auth0)
        #expect(eventually { rig.texts("auth") == ["whole", "half"] })
        pipe.write("next run\n")
        #expect(eventually { rig.texts("auth") == ["whole", "half", "next run"] })
        #expect(rig.counters("auth").bytes == 19)
    }

    @Test func flushTakesAllThatIsInThePipe() throws {
        let rig = try LogRig()
        let pipe = try rig.add(auth0)
        let lines = (0..<1500).map { "line \($0) of the last words" }
        pipe.write(lines.joined(separator: "\n"))
        rig.collector.flush(instance: auth0)
        rig.collector.remove(instance: auth0)
        #expect(eventually { rig.texts("auth").count == 1500 })
        #expect(rig.texts("auth") == lines)
        // The descriptor is closed: nobody reads any more.
        #expect(eventually { clinux_write(pipe.writeEnd, "x", 1) == -Int(EPIPE) })
    }

    @Test func longLinesAreCutAndCounted() throws {
        let rig = try LogRig()
        let pipe = try rig.add(auth0)
        pipe.write(String(repeating: "y", count: 40_000) + "\nshort\n")
        #expect(eventually { rig.texts("auth").count == 4 })
        #expect(rig.texts("auth").map(\.utf8.count) == [16_384, 16_384, 7232, 5])
        #expect(rig.counters("auth").cutLines == 2)
        #expect(rig.counters("auth").bytes == 40_007)
    }

    @Test func unfinishedLineDoesNotBlockItsWriter() throws {
        let rig = try LogRig()
        let pipe = try rig.add(auth0)
        // More than a pipe holds, without any newline, in small pieces.
        for _ in 0..<30 { pipe.write(String(repeating: "z", count: 3000)) }
        pipe.write("\n")
        #expect(eventually { rig.counters("auth").bytes == 90_001 })
    }

    @Test func aFloodDoesNotStarveOthers() throws {
        let rig = try LogRig()
        let flood = try rig.add(auth0, maxSize: 8 << 20, keep: 1)
        let quiet = try rig.add(chat0)
        let text = String(repeating: "flooding with a line of some length\n", count: 1800)
        try BackgroundThread.start("flood") { for _ in 0..<300 { flood.write(text) } }
        #expect(eventually { rig.counters("auth").bytes > 200_000 })
        for number in 0..<20 {
            let before = rig.counters("auth").bytes
            quiet.write("quiet \(number)\n")
            #expect(eventually { rig.collector.tail(.service("chat"), limit: 100).count == number + 1 })
            // The other was not kept waiting for the flood to end: at most some turns of it.
            #expect(rig.counters("auth").bytes - before < 16 << 20)
        }
        #expect(eventually(60) { rig.counters("auth").bytes == UInt64(text.utf8.count * 300) })
        #expect(rig.counters("auth").droppedBytes == 0)
    }

    @Test func everyLineOfAFloodIsInTheFiles() throws {
        let rig = try LogRig()
        let pipe = try rig.add(auth0)
        let count = 100_000
        try BackgroundThread.start("flood") {
            for start in stride(from: 0, to: count, by: 1000) {
                pipe.write((start..<(start + 1000)).map { "number \($0)\n" }.joined())
            }
        }
        #expect(eventually(60) { rig.collector.tail(nil, limit: 1).last?.text == "number \(count - 1)" })
        rig.collector.stop()
        rig.writer.stop()
        #expect(rig.texts("auth") == (0..<count).map { "number \($0)" })
    }

    @Test func followersAreWokenUntilTheyLeave() throws {
        let rig = try LogRig()
        let pipe = try rig.add(auth0)
        let woken = try WakeDescriptor()
        let leave = rig.collector.observe { woken.signal() }
        pipe.write("one\n")
        #expect(woken.wait(until: Clocks.monotonic + 5_000_000_000))
        let first = rig.collector.lines(after: 0, nil, limit: 10)
        #expect(first.map(\.text) == ["one"])
        leave()
        woken.clear()
        pipe.write("two\n")
        #expect(eventually { rig.collector.lines(after: first[0].sequence, nil, limit: 10).count == 1 })
        #expect(!woken.wait(until: Clocks.monotonic))
    }

    @Test func thousandPipesAndFewOpenFiles() throws {
        let rig = try LogRig()
        let pipes = try (0..<400).map { try rig.add(InstanceID(service: "s\($0)", index: 0)) }
        for (number, pipe) in pipes.enumerated() { pipe.write("from \(number)\n") }
        #expect(eventually(30) { (0..<400).allSatisfy { rig.texts("s\($0)") == ["from \($0)"] } })
        var open = 0
        for number in 0..<4096 as Range<Int32> {
            var target = [CChar](repeating: 0, count: 512)
            let count = clinux_readlink("/proc/self/fd/\(number)", &target, 511)
            guard count > 0 else { continue }
            let path = String(decoding: target[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if path.hasPrefix(rig.directory.path) { open += 1 }
        }
        #expect(open <= LogLimits.openFiles)
        #expect(rig.problems.isEmpty)
    }

    @Test func theLastLinesAreReadBackAfterTheDaemonWasReplaced() throws {
        let directory = try TemporaryDirectory()
        var first: LogRig? = try LogRig(directory)
        let pipe = try first?.add(auth0)
        let other = try first?.add(auth1)
        pipe?.write("before 0\nbefore 1\n")
        #expect(eventually { first?.texts("auth").count == 2 })
        other?.write("of the other\n")
        #expect(eventually { first?.texts("auth").count == 3 })
        let lastSequence = try #require(first?.collector.tail(nil, limit: 1).first?.sequence)
        first = nil

        let rig = try LogRig(directory)
        let again = try rig.add(auth0)
        #expect(
            rig.collector.tail(.service("auth"), limit: 10).map(\.text) == ["before 0", "before 1", "of the other"]
        )
        again.write((0..<300).map { "after \($0)\n" }.joined())
        #expect(eventually { rig.texts("auth").count == 303 })
        let lines = rig.collector.tail(.instance(auth0), limit: 400)
        #expect(lines.map(\.text) == ["before 0", "before 1"] + (0..<300).map { "after \($0)" })
        #expect(zip(lines, lines.dropFirst()).allSatisfy { $1.sequence > $0.sequence })
        #expect(lines.map(\.instance).allSatisfy { $0 == auth0 })
        #expect(rig.collector.lines(after: lastSequence, nil, limit: 1).first?.text == "after 44")
        #expect(rig.collector.tail(.instance(auth1), limit: 5).map(\.text) == ["of the other"])
        #expect(rig.collector.tail(nil, limit: 3).map(\.text) == ["after 297", "after 298", "after 299"])
    }

    @Test func stopLeavesNothingBehind() throws {
        let rig = try LogRig()
        let pipe = try rig.add(auth0)
        pipe.write((0..<1000).map { "line \($0)\n" }.joined())
        rig.collector.flush(instance: auth0)
        #expect(rig.collector.stop())
        #expect(rig.writer.stop())
        #expect(rig.texts("auth") == (0..<1000).map { "line \($0)" })
    }
}
