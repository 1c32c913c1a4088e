import FleetConfig
import SupervisorCore
import Testing

@Suite struct PlaceholderTests {
    static let cases: [(String, String)] = [
        ("plain", "plain"), ("", ""), ("{port}", "9100"), ("{service}-{index}@{node}:{port}", "auth-1@host:9100"),
        ("{{port}}", "{port}"), ("{{{port}}}", "{9100}"), ("{{{{port}}}}", "{{port}}"),
        ("{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}"), ("{\"p\":{port}}", "{\"p\":9100}"), ("{}", "{}"), ("{{}}", "{{}}"),
        ("{ port }", "{ port }"), ("{port", "{port"), ("port}", "port}"), ("{port-x}", "{port-x}"),
        ("{unknown}", "{unknown}"), ("{{port}", "{9100"), ("ä{index}ö", "ä1ö"), ("{1a}", "{1a}"),
    ]

    @Test(arguments: cases)
    func expands(text: String, result: String) {
        #expect(Placeholders.expand(text, service: "auth", index: 1, node: "host", port: 9100) == result)
    }

    @Test func withoutAPortItStays() {
        #expect(Placeholders.expand("{port}", service: "a", index: 0, node: "n", port: nil) == "{port}")
    }

    @Test func valuesAreNotExpandedAgain() {
        #expect(Placeholders.expand("{node}", service: "a", index: 0, node: "{port}", port: 1) == "{port}")
    }
}

@Suite struct ValueTextTests {
    static let sizes: [(String, UInt64?)] = [
        ("64MiB", 64 << 20), ("512MB", 512_000_000), ("1GiB", 1 << 30), ("4096B", 4096), ("0", 0), ("1kB", 1000),
        ("4096", nil), ("", nil), ("MiB", nil), ("1.5GiB", nil), ("-1B", nil), ("1M", nil), ("1mib", nil),
        ("99999999999TiB", nil), ("18446744073709551615B", nil),
    ]

    @Test(arguments: sizes)
    func size(text: String, value: UInt64?) {
        #expect(SizeText.parse(text) == value)
        if let value { #expect(SizeText.parse(SizeText.render(value)) == value) }
    }
}
