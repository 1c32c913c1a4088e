import StatusBoard
import SupervisorCore
import Testing

@testable import SupervisorRuntime

@Suite struct LineSplitterTests {
    struct Cut: Equatable {
        var text: [UInt8]
        var consumed: Int
        var cut: Bool
    }

    /// Splits `stream`, given in windows that end at `ends`; what is left comes again with the next window.
    private func split(_ stream: [UInt8], windows ends: [Int], mayLeave: Int = 0, maximumLines: Int = .max) -> [Cut] {
        var splitter = LineSplitter()
        var cuts: [Cut] = []
        var start = 0
        for end in ends + [stream.count] {
            while start < end {
                let used = stream[start..<end].withUnsafeBytes { window in
                    splitter.split(
                        window,
                        mayLeave: end == stream.count ? 0 : mayLeave,
                        maximumLines: maximumLines
                    ) { cuts.append(Cut(text: Array($0.text), consumed: $0.consumed, cut: $0.cut)) }
                }
                start += used
                if used == 0 { break }
            }
        }
        splitter.finish { cuts.append(Cut(text: Array($0.text), consumed: $0.consumed, cut: $0.cut)) }
        return cuts
    }

    @Test func splitsAtEveryBoundaryAlike() {
        let stream = Array("one\ntwo\r\n\n\r\nthree\rfour\r\r\nfünf\u{1F600}\nlast".utf8)
        let expected = ["one", "two", "", "", "three\rfour\r", "fünf\u{1F600}", "last"]
        for first in 0...stream.count {
            for second in first...stream.count {
                for mayLeave in [0, 3, 100] {
                    let cuts = split(stream, windows: [first, second], mayLeave: mayLeave)
                    #expect(cuts.map { String(decoding: $0.text, as: UTF8.self) } == expected)
                    #expect(cuts.reduce(0) { $0 + $1.consumed } == stream.count)
                }
            }
        }
    }

    @Test(arguments: [-2, -1, 0, 1, 2, 3, 16_384, 16_385])
    func cutsLongLinesAtTheLimit(_ above: Int) {
        let limit = LogLimits.lineBytes
        for end in ["\n", "\r\n", ""] {
            let stream = Array((String(repeating: "x", count: limit + above) + end + "next").utf8)
            let whole = split(stream, windows: [])
            #expect(whole.reduce(0) { $0 + $1.consumed } == stream.count)
            #expect(whole.allSatisfy { $0.text.count <= limit + (end.isEmpty ? 4 : 0) })
            if !end.isEmpty {
                let expected = (limit + above + limit - 1) / limit
                #expect(whole.count == expected + 1)
                #expect(whole.filter(\.cut).count == expected - 1)
            }
            for boundary in (limit - 4)...(limit + 8) where boundary <= stream.count {
                #expect(split(stream, windows: [boundary]) == whole)
                #expect(split(stream, windows: [7, boundary, boundary + 1].filter { $0 <= stream.count }) == whole)
            }
        }
    }

    @Test func neverPartsACharacterOfUTF8() {
        let stream = Array((String(repeating: "\u{20AC}", count: 12_000) + "\n").utf8)
        let cuts = split(stream, windows: [])
        #expect(cuts.count == 3)
        for cut in cuts { #expect(cut.text.count % 3 == 0) }
    }

    @Test func randomWindowsGiveTheSame() {
        var random = SplitMix(state: 7)
        for _ in 0..<40 {
            var stream: [UInt8] = []
            for _ in 0..<Int.random(in: 1...12, using: &random) {
                let length =
                    Bool.random(using: &random)
                    ? Int.random(in: 0...30, using: &random) : Int.random(in: 16_000...40_000, using: &random)
                for _ in 0..<length { stream.append(UInt8.random(in: 0x0B...0xFF, using: &random)) }
                stream.append(0x0A)
            }
            let whole = split(stream, windows: [])
            for _ in 0..<5 {
                let ends = (0..<8).map { _ in Int.random(in: 0...stream.count, using: &random) }.sorted()
                #expect(split(stream, windows: ends, mayLeave: 2048, maximumLines: 3) == whole)
            }
        }
    }

    @Test func boundsTheLinesOfOneTurn() {
        var splitter = LineSplitter()
        var count = 0
        let used = [UInt8](repeating: 0x0A, count: 100).withUnsafeBytes {
            splitter.split($0, mayLeave: 0, maximumLines: 10) { _ in count += 1 }
        }
        #expect(used == 10)
        #expect(count == 10)
    }
}

@Suite struct LogMemoryTests {
    private func add(_ memory: LogMemory, _ instance: InstanceID, _ lines: [String], at wallClock: Int64 = 1000) {
        for line in lines {
            let bytes = Array(line.utf8)
            bytes.withUnsafeBytes {
                memory.add(
                    instance,
                    $0,
                    spans: [0..<bytes.count],
                    wallClock: wallClock,
                    counted: LogCounters()
                )
            }
        }
    }

    @Test func ringKeepsTheNewestLines() {
        let memory = LogMemory(wallClock: 0)
        add(memory, auth0, (0..<1000).map { "line \($0)" })
        let lines = memory.tail(nil, limit: 10_000).lines
        #expect(lines.count == LogLimits.ringLines)
        #expect(lines.map(\.text) == (744..<1000).map { "line \($0)" })
        #expect(zip(lines, lines.dropFirst()).allSatisfy { $1.sequence == $0.sequence + 1 })
        #expect(memory.tail(.instance(auth0), limit: 2).lines.map(\.text) == ["line 998", "line 999"])
        #expect(memory.tail(.service("chat"), limit: 2).lines.isEmpty)
        #expect(memory.tail(nil, limit: 0).lines.isEmpty)
    }

    @Test func ringIsBoundedInBytes() {
        let memory = LogMemory(wallClock: 0)
        add(memory, auth0, (0..<100).map { _ in String(repeating: "x", count: 16_000) })
        #expect(memory.tail(nil, limit: 100).lines.count == 4)
        #expect(memory.byteCount <= LogLimits.ringBytes)
    }

    @Test func allRingsTogetherAreBounded() {
        let memory = LogMemory(wallClock: 0)
        var most = 0
        for index in 0..<1000 {
            add(
                memory,
                InstanceID(service: "s\(index)", index: 0),
                (0..<8).map { _ in String(repeating: "x", count: 16_000) }
            )
            most = max(most, memory.byteCount)
        }
        #expect(most <= LogLimits.ringsBytes)
        #expect(!memory.tail(.service("s0"), limit: 1).lines.isEmpty)
    }

    @Test func followsWithoutGapsInOrder() {
        let memory = LogMemory(wallClock: 0)
        for number in 0..<50 {
            add(memory, auth0, ["a\(number)"])
            add(memory, chat0, ["c\(number)"])
        }
        var seen: [String] = []
        var last: UInt64 = 0
        while true {
            let lines = memory.lines(after: last, nil, limit: 7)
            guard let newest = lines.last else { break }
            seen += lines.map(\.text)
            last = newest.sequence
        }
        #expect(seen == (0..<50).flatMap { ["a\($0)", "c\($0)"] })
        #expect(memory.lines(after: 0, .instance(chat0), limit: 100).count == 50)
    }

    @Test func timesAreReadBack() {
        #expect(LogTime.rfc3339(1_795_248_824_120_345_000) == "2026-11-21T08:13:44.120345Z")
        for time in [0, 1, 951_782_400, 1_795_248_824, 4_102_444_799] as [Int64] {
            let nanoseconds = time * 1_000_000_000 + 123_456_000
            #expect(LogTime.parse(LogTime.rfc3339(nanoseconds).utf8) == nanoseconds)
        }
        #expect(LogTime.parse("2026-11-21 08:13:44.120345Z".utf8) == nil)
        #expect(LogTime.parse("".utf8) == nil)
    }
}
