import SupervisorCore
import Testing

@Suite struct NotifyMessageTests {
    private func parse(_ text: String) -> NotifyMessage? { NotifyMessage.parse(Array(text.utf8)) }

    @Test func readsWhatSystemdDefines() throws {
        let message = try #require(
            parse(
                """
                READY=1
                STATUS=Processing requests… 12
                WATCHDOG=1
                WATCHDOG_USEC=20000000
                EXTEND_TIMEOUT_USEC=5000000
                MAINPID=4711
                X_EIDER_IN_FLIGHT=17
                ERRNO=2
                BARRIER=1
                """
            )
        )
        var expected = NotifyMessage()
        expected.ready = true
        expected.status = "Processing requests… 12"
        expected.watchdog = .alive
        expected.watchdogUsec = 20_000_000
        expected.extendTimeout = .seconds(5)
        expected.mainPid = 4711
        expected.inFlight = 17
        expected.errno = 2
        expected.barrier = true
        #expect(message == expected)
        #expect(message.changesState)
        #expect(parse("STOPPING=1\n")?.stopping == true)
        #expect(parse("RELOADING=1\nMONOTONIC_USEC=8273")?.ignored == 0)
        #expect(parse("WATCHDOG=trigger")?.watchdog == .trigger)
        #expect(parse("READY=1\0")?.ready == true)
    }

    @Test(arguments: ["", "\n\n", "READY", "=1", "READY=1\0STOPPING=1", "\0", "\0\0"])
    func refusesWhatIsMalformed(_ text: String) {
        #expect(parse(text) == nil)
    }

    @Test func refusesWhatIsTooLong() {
        let longest = "STATUS=" + String(repeating: "x", count: 4096 - 7)
        #expect(parse(longest)?.status?.utf8.count == 512)
        #expect(parse(longest + "x") == nil)
    }

    @Test(arguments: [
        "READY=0", "READY=", "READY=11", "READY= 1", "ready=1", "WATCHDOG=2", "WATCHDOG_USEC=-1", "WATCHDOG_USEC=",
        "WATCHDOG_USEC=0x10", "WATCHDOG_USEC=99999999999999999999", "WATCHDOG_USEC=000000000000000000001",
        "MAINPID=0", "MAINPID=1", "MAINPID=2147483648", "MAINPID=+5", "ERRNO=0", "ERRNO=4096",
        "X_EIDER_IN_FLIGHT=1.5", "FDSTORE=1", "FDNAME=x", "X_OTHER=1", "MONOTONIC_USEC=x", "EXTEND_TIMEOUT_USEC=1s",
    ])
    func countsWhatItDoesNotUnderstand(_ text: String) {
        var expected = NotifyMessage()
        expected.ignored = 1
        #expect(parse(text) == expected)
        #expect(expected.changesState == false)
        #expect(parse("\(text)\nREADY=1\nnonsense")?.ready == true)
        #expect(parse("\(text)\nREADY=1\nnonsense")?.ignored == 2)
    }

    @Test func boundsNumbers() {
        #expect(parse("WATCHDOG_USEC=18446744073709551615")?.watchdogUsec == NotifyMessage.Limits.microseconds)
        #expect(parse("EXTEND_TIMEOUT_USEC=18446744073709551615")?.extendTimeout == .seconds(365 * 86_400))
        #expect(parse("X_EIDER_IN_FLIGHT=18446744073709551615")?.inFlight == NotifyMessage.Limits.inFlight)
        #expect(parse("WATCHDOG_USEC=0")?.watchdogUsec == 0)
    }

    @Test func theLastOfSeveralCounts() {
        #expect(parse("STATUS=a\nSTATUS=b\nX_EIDER_IN_FLIGHT=1\nX_EIDER_IN_FLIGHT=2")?.status == "b")
        #expect(parse("X_EIDER_IN_FLIGHT=1\nX_EIDER_IN_FLIGHT=x")?.inFlight == 1)
    }

    @Test func statusIsOneHarmlessLine() {
        #expect(parse("STATUS=a\u{1B}[31mb\tc\r")?.status == "a\u{FFFD}[31mb\u{FFFD}c\u{FFFD}")
        #expect(parse("STATUS=\u{202E}x\u{2028}y\u{85}")?.status == "\u{FFFD}x\u{FFFD}y\u{FFFD}")
        #expect(parse("STATUS=")?.status?.isEmpty == true)
        #expect(NotifyMessage.parse(Array("STATUS=".utf8) + [0xFF, 0x41])?.status == "\u{FFFD}A")
        let euros = parse("STATUS=" + String(repeating: "€", count: 400))?.status
        #expect(euros == String(repeating: "€", count: 170))
    }

    @Test func foldsLaterMessagesIn() throws {
        func fold(_ texts: String...) throws -> NotifyMessage {
            var result = try #require(parse(texts[0]))
            for text in texts.dropFirst() { result.merge(try #require(parse(text))) }
            return result
        }
        #expect(try fold("RELOADING=1", "READY=1").reloading == false)
        #expect(try fold("RELOADING=1", "READY=1").ready)
        #expect(try fold("READY=1", "RELOADING=1").reloading)
        #expect(try fold("READY=1", "RELOADING=1").ready)
        #expect(try fold("READY=1", "RELOADING=1", "READY=1").reloading == false)
        #expect(try fold("STATUS=a\nX_EIDER_IN_FLIGHT=5", "STATUS=b").status == "b")
        #expect(try fold("STATUS=a\nX_EIDER_IN_FLIGHT=5", "STATUS=b").inFlight == 5)
        #expect(try fold("WATCHDOG=trigger", "WATCHDOG=1").watchdog == .trigger)
        #expect(try fold("WATCHDOG=1", "STATUS=x").watchdog == .alive)
        #expect(try fold("STOPPING=1", "X=1", "Y=2").ignored == 2)
        #expect(try fold("MAINPID=5", "MAINPID=6\nERRNO=3\nBARRIER=1").mainPid == 6)
    }
}
