import SupervisorCore
import Testing

struct DurationTextTests {
    static let durations: [(String, Duration?)] = [
        ("250ms", .milliseconds(250)), ("5s", .seconds(5)), ("2m", .seconds(120)), ("1h", .seconds(3600)),
        ("1h30m", .seconds(5400)), ("500us", .microseconds(500)), ("0s", .zero), ("1.5s", .milliseconds(1500)),
        ("0.1s", .milliseconds(100)), ("10000h", .seconds(36_000_000)), ("1h1m1s1ms1us", .microseconds(3_661_001_001)),
        ("1.0000000001s", .seconds(1)),
        ("5", nil), ("", nil), ("s", nil), ("1m1h", nil), ("1s1s", nil), ("-1s", nil), ("1 s", nil), ("1.s", nil),
        ("1d", nil), ("99999999999999999999s", nil), ("9223372036854775807h", nil), ("10001h", nil), ("1S", nil),
        (".5s", nil), ("1..5s", nil), ("+1s", nil), ("1e3s", nil), ("1ns", nil), ("١s", nil), ("5s\n", nil),
        ("5s5", nil), ("2562047h2562047h", nil), ("9999h59m59s", .seconds(35_999_999)), ("10000h1us", nil),
    ]

    @Test(arguments: durations)
    func `a duration is a number with its unit, or several from large to small`(text: String, value: Duration?) {
        #expect(DurationText.parse(text) == value)
        if let value { #expect(DurationText.parse(DurationText.render(value)) == value) }
    }

    @Test(arguments: [
        (Duration.zero, "0s"), (.seconds(90), "1m30s"), (.milliseconds(1500), "1s500ms"), (.seconds(7200), "2h"),
        (.nanoseconds(7), "7ns"), (.seconds(-90), "-1m30s"), (.nanoseconds(Int64.min), "-2562047h47m16s854ms775us"),
        (.seconds(Int64.max), "2562047h47m16s854ms775us"),
    ])
    func `it is written as short as it is read`(value: Duration, text: String) {
        #expect(DurationText.render(value) == text)
    }
}
