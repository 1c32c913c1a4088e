import Testing

@testable import FleetConfig

/// Documents that TOML 1.0 allows, what they come to, and documents that it does not allow.
@Suite struct TOMLTests {
    /// One value on the right of `a = `, and how it reads; texts as JSON writes them.
    static let values: [(String, String)] = [
        ("\"\"", "\"\""), ("''", "\"\""), ("\"a b\"", "\"a b\""), ("'a\\b\"c'", "\"a\\\\b\\\"c\""),
        ("\"\t\"", "\"\\t\""),
        ("\"\\b\\t\\n\\f\\r\\\"\\\\\"", "\"\\u0008\\t\\n\\u000C\\r\\\"\\\\\""),
        ("\"\\u00e9\\U0001F600\"", "\"é😀\""),
        ("\"é 😀\"", "\"é 😀\""), ("\"\\u007F\\u0001\"", "\"\\u007F\\u0001\""), ("\"#\"", "\"#\""),
        ("'\u{2028}x'", "\"\\u2028x\""),
        ("\"\"\"\"\"\"", "\"\""), ("\"\"\"\na\nb\"\"\"", "\"a\\nb\""), ("\"\"\"\n\na\"\"\"", "\"\\na\""),
        ("\"\"\"a\\\n   \n\t b\"\"\"", "\"ab\""), ("\"\"\"a \\  \n  b\"\"\"", "\"a b\""),
        ("\"\"\"a\\\r\n b\"\"\"", "\"ab\""),
        ("\"\"\"a\"b\"\"c\"\"\"", "\"a\\\"b\\\"\\\"c\""), ("\"\"\"a\"\"\"\"", "\"a\\\"\""),
        ("\"\"\"a\"\"\"\"\"", "\"a\\\"\\\"\""), ("\"\"\"\\\"\"\"\"", "\"\\\"\""),
        ("\"\"\"\"\"a\"\"\"", "\"\\\"\\\"a\""),
        ("\"\"\"a\r\nb\"\"\"", "\"a\\nb\""), ("''''''", "\"\""), ("'''\na\\n\n'''", "\"a\\\\n\\n\""),
        ("'''a''''", "\"a'\""), ("'''a'''''", "\"a''\""), ("'''it''s'''", "\"it''s\""), ("\"\"\"\\\n\"\"\"", "\"\""),
        ("0", "0"), ("-0", "0"), ("+0", "0"), ("+1_000", "1000"), ("-17", "-17"), ("0xDEAD_beef", "3735928559"),
        ("0o0_17", "15"), ("0b1101", "13"), ("0x00", "0"), ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"), ("0x7fffffffffffffff", "9223372036854775807"),
        ("1.0", "1.0"), ("-0.0", "-0.0"), ("3.14_15", "3.1415"), ("5e+22", "5e+22"), ("1E06", "1000000.0"),
        ("-2e-2", "-0.02"), ("6.626e-34", "6.626e-34"), ("1e999", "inf"), ("0e0", "0.0"), ("+1.5", "1.5"),
        ("inf", "inf"), ("+inf", "inf"), ("-inf", "-inf"), ("nan", "nan"), ("+nan", "nan"), ("-nan", "nan"),
        ("true", "true"), ("false", "false"), ("1979-05-27", "time"), ("07:32:00", "time"), ("00:00:00.000001", "time"),
        ("1979-05-27T07:32:00", "time"), ("1979-05-27 07:32:00Z", "time"), ("1979-05-27t07:32:00z", "time"),
        ("2000-02-29T23:59:59.9-23:59", "time"), ("[]", "[]"), ("[ ]", "[]"), ("[1]", "[1]"), ("[1,]", "[1]"),
        ("[ 1 , \"b\" , [ ] ]", "[1,\"b\",[]]"), ("[\n1, # one\n\n2 # two\n,\n]", "[1,2]"),
        ("[[1,2],['a']]", "[[1,2],[\"a\"]]"),
        ("[{a=1},{}]", "[{a:1},{}]"), ("[#]\n]", "[]"), ("[\r\n1,\r\n]", "[1]"),
        ("[1979-05-27 07:32:00,2]", "[time,2]"),
        ("{}", "{}"), ("{ }", "{}"), ("{b=1}", "{b:1}"), ("{ b = 1 , c = 2 }", "{b:1,c:2}"),
        ("{b.c=1,b.d=2}", "{b:{c:1,d:2}}"), ("{b={c={}}}", "{b:{c:{}}}"), ("{\"b\"=[\n1\n]}", "{b:[1]}"),
        ("{b='''\n}'''}", "{b:\"}\"}"), ("{ b.\"c d\" = 1 }", "{b:{\"c d\":1}}"),
    ]

    @Test(arguments: values)
    func value(text: String, shown: String) throws {
        #expect(try Self.parse("a = " + text) == "{a:\(shown)}")
        #expect(try Self.parse("a\t=\t" + text + " \t# comment\r\nz=1") == "{a:\(shown),z:1}")
    }

    /// Whole documents, in the order of their keys.
    static let documents: [(String, String)] = [
        ("", "{}"), ("\n\r\n \t\n", "{}"), ("# only é", "{}"), ("#\ta", "{}"), ("\u{FEFF}a=1", "{a:1}"),
        ("a=1\r\n", "{a:1}"),
        ("bare_key-1 = 1", "{bare_key-1:1}"), ("1234 = 1", "{1234:1}"), ("- = 1\n_ = 2", "{-:1,_:2}"),
        ("\"\" = 1", "{\"\":1}"), ("'' = 1", "{\"\":1}"), ("\"a.b\" = 1", "{\"a.b\":1}"), ("'\"' = 1", "{\"\\\"\":1}"),
        ("\"\\u0061\" = 1", "{a:1}"), ("true = 1\ninf = 2", "{true:1,inf:2}"), ("3.14 = 1", "{3:{14:1}}"),
        ("a . \"b\" . 'c' = 1", "{a:{b:{c:1}}}"), ("a.b = 1\na.c = 2", "{a:{b:1,c:2}}"),
        ("a.b = 1\nx = 2\na.c = 3", "{a:{b:1,c:3},x:2}"), ("  a = 1\n\tb = 2", "{a:1,b:2}"), ("b=1\na=2", "{b:1,a:2}"),
        ("[a]", "{a:{}}"), ("[ a . 'b' ]\nc=1", "{a:{b:{c:1}}}"), ("[a.b]\nc=1\n[a]\nd=2", "{a:{b:{c:1},d:2}}"),
        ("[a]\n[b]\n[a.c]", "{a:{c:{}},b:{}}"), ("[a] # x\nb=1", "{a:{b:1}}"), ("[\"\"]\na=1", "{\"\":{a:1}}"),
        ("[a]\nb.c=1\n[a.b.d]\ne=2", "{a:{b:{c:1,d:{e:2}}}}"), ("a.b=1\n[a.c]\nd=2", "{a:{b:1,c:{d:2}}}"),
        ("[x.y.z]\n[x]\ny.w=1", "{x:{y:{z:{},w:1}}}"), ("[[a]]", "{a:[{}]}"),
        ("[[a]]\nb=1\n[[a]]\nb=2", "{a:[{b:1},{b:2}]}"),
        ("[[a]]\n[a.b]\nc=1\n[[a]]\n[a.b]\nc=2", "{a:[{b:{c:1}},{b:{c:2}}]}"),
        ("[[a]]\n[[a.b]]\nx=1\n[[a.b]]\n[[a]]\n[[a.b]]", "{a:[{b:[{x:1},{}]},{b:[{}]}]}"),
        ("[[a.b]]\nc=1\n[a]\nd=2", "{a:{b:[{c:1}],d:2}}"), ("[[ a ]]\nb.c=1\nb.d=2", "{a:[{b:{c:1,d:2}}]}"),
        ("[[a]]\n[[a.b.c]]\n[a.b]\nd=1", "{a:[{b:{c:[{}],d:1}}]}"), ("a={}\n[b]", "{a:{},b:{}}"),
        ("[a]\nb={c=1}\n[a.d]", "{a:{b:{c:1},d:{}}}"), ("a=[{b=1},{b=2}]", "{a:[{b:1},{b:2}]}"),
    ]

    @Test(arguments: documents)
    func document(text: String, shown: String) throws {
        #expect(try Self.parse(text) == shown)
    }

    static let invalidValues = [
        "", "# x", "\"", "'", "\"a", "'a", "\"a\nb\"", "'a\nb'", "\"\\\"", "\"\\x41\"", "\"\\e\"", "\"\\ \"",
        "\"\\u00g0\"",
        "\"\\u00e\"", "\"\\uD800\"", "\"\\uDFFF\"", "\"\\U00110000\"", "\"\\UFFFFFFFF\"", "\"\\u+041\"", "\"\u{1}\"",
        "\"\u{7F}\"",
        "'\u{1F}'", "\"a\rb\"", "\"a\" \"b\"", "\"a\"b", "\"\"\"", "\"\"\"a\"\"", "\"\"\"\\\"\"\"", "'''", "'''a''",
        "\"\"\"a\"\"\"\"\"\"", "'''a''''''", "\"\"\"a\rb\"\"\"", "\"\"\"\u{0B}\"\"\"", "'''\u{8}'''",
        "\"\"\"a \\ b\"\"\"",
        "'''a\r'''", "\"\"\"\\ud800\"\"\"", "01", "-01", "+00", "1__0", "_1", "1_", "+", "-", "+-1", "--1", "0x", "0X1",
        "0xg",
        "0x_1", "0x1_", "+0x1", "-0b1", "0o8", "0O7", "0b2", "0B1", "0x1.0", "1a", "1 2", "9223372036854775808",
        "-9223372036854775809", "0x8000000000000000", "1.", ".1", "1._0", "1_.0", "1.0_", "1e", "1e_1", "1e1_", "1.e1",
        "e1",
        "1e1.0", "00.1", "1.1.1", "Inf", "INF", "NaN", "infinity", "in", "na", "+ inf", "True", "TRUE", "tru", "truee",
        "null",
        "yes", "abc", "1979-5-27", "1979-05-27T", "1979-05-27T07:32", "1979-05-27T7:32:00", "1979-02-29",
        "1900-02-29", "1979-00-01", "1979-01-00", "1979-04-31", "1979-13-01", "24:00:00", "23:60:00", "23:59:60",
        "7:32:00",
        "07:32", "07:32:00.", "07:32:00Z", "1979-05-27T07:32:00+1:00", "1979-05-27T07:32:00+24:00",
        "1979-05-27T07:32:00+01:60",
        "1979-05-27T07:32:00ZZ", "1979-05-27_07:32:00", "1979-05-27  07:32:00", "[", "[1", "[1,", "[,]", "[,1]",
        "[1,,2]", "[1 2]", "[1]]", "[1}", "[1 # ]", "]", "[1\u{1}]", "{", "{a", "{a=", "{a=1", "{a=1,", "{a=1,}", "{,}",
        "{a}",
        "{a=1 b=2}", "{a=1,,b=2}", "{a=1\n}", "{\na=1}", "{a=1,\nb=2}", "{# x\n}", "{a=1 # x\n}", "{a=1,a=2}",
        "{a.b=1,a=2}",
        "{a=1,a.b=2}", "{a={},a.b=1}", "{a=[],a.b=1}", "{a=1]", "}", "{}}", "{[a]}", "1\u{1}", "1 \u{7F}", "\u{A0}1",
        "=1", "= 1",
    ]

    @Test func theseAreNoValues() {
        for text in Self.invalidValues {
            expectError("a = " + text)
            expectError("[t]\na = " + text + "\n")
        }
    }

    static let invalidDocuments = [
        "a", "a b = 1", "a =", "= 1", "a = 1 b = 2", "a = 1, b = 2", "a = 1\na = 2", "a = 1\n\"a\" = 2",
        "a = 1\n'\u{61}' = 2",
        "a.b = 1\na = 2", "a = 1\na.b = 2", "a.b = 1\na.b.c = 2", "a. = 1", ".a = 1", "a..b = 1", "a.\nb = 1", "é = 1",
        "a+b = 1",
        "\"a\nb\" = 1", "\"\"\"a\"\"\" = 1", "'''a''' = 1", "\"a = 1", "a: 1", "a = 1\rb = 2", "\r", "a = 1\r", "\u{1}",
        "#\u{1}",
        "# \u{7F}", "# a\rb", "\u{A0}a = 1", "a = 1 \u{2028}", "[", "[]", "[ ]", "[a", "[a]]", "[[a]", "[[a] ]",
        "[ [a]]", "[[]]",
        "[a.]", "[.a]", "[a..b]", "[a b]", "[a]b = 1", "[a] [b]", "[a\n]", "[# a]", "[\"a]", "[é]", "[a,b]", "[[a\n]]",
        "]", "{}",
        "[a]\n[a]", "[a]\nb=1\n[a]\nc=2", "[a]\n['a']", "[a.b]\n[a]\n[a]", "[a.b]\n[a.b]", "a = 1\n[a]", "a = 1\n[a.b]",
        "[a]\nb = 1\n[a.b]", "[a]\nb = 1\n[a.b.c]", "[a.b]\n[a]\nb = 1", "a = {}\n[a]", "a = {}\n[a.b]",
        "a = {}\na.b = 1",
        "a = {b={}}\na.b.c = 1", "a = {b={}}\n[a.b.c]", "[a]\nb = {}\n[a.b.c]", "[a]\nb={c=1}\nb.d=2", "a.b = 1\n[a]",
        "[t]\na.b = 1\n[t.a]", "[t]\na.b.c = 1\n[t.a.b]", "[t]\na.b = 1\n[t.a.b]", "[a.b.c]\nz=9\n[a]\nb.c.t=1",
        "[a.b.c.d]\n[a]\nb.c.d.k.t=1", "[a.b]\nc=1\n[a]\nb.d=2", "[a]\n[b]\n[a.c]\n[a]", "a = []\n[[a]]",
        "a = [{}]\n[[a]]",
        "a = [{}]\n[a.b]", "a = [{}]\na.b = 1", "a = [1]\n[a]", "[a]\n[[a]]", "[[a]]\n[a]", "[a.b]\n[[a]]",
        "a = 1\n[[a]]",
        "a.b = 1\n[[a]]", "[[a]]\nb=1\n[a.b]", "[[a.b]]\n[a]\nb = 1", "[[a.b]]\n[a]\nb.c = 1", "[[a]]\n[a.b]\n[a.b]",
        "[[a]]\n[a.b]\n[[a.b]]", "[[a]]\n[[a.b]]\n[a.b]", "[[a.b]]\n[[a]]", "[a]\nb.c=1\n[b]\n[a.b]",
        "[[a]]\nb.c=1\n[a.b]",
        "[a.b]\n[a]\nb.x=1\n[a.b]", "a.b=[]\na.b.c=1", "a=1 2", "a\n=1", "a=\n1", "[a]=1",
    ]

    @Test func theseAreNoDocuments() {
        for text in Self.invalidDocuments { expectError(text) }
    }

    @Test func encodingMustBeUTF8() {
        for bytes: [UInt8] in [
            [0xFF], [0xC3], [0x61, 0x3D, 0x27, 0xC3, 0x28, 0x27], [0xED, 0xA0, 0x80], [0xC0, 0xAF],
            [0xF4, 0x90, 0x80, 0x80],
            [0xFE, 0xFF, 0x00, 0x61], [0x23, 0x00],
        ] {
            #expect(throws: TOMLParser.SyntaxError.self) { try TOMLParser.parse(bytes, file: 0) }
        }
    }

    @Test func keysAndValuesKnowTheirPlaces() throws {
        let text = """
            "é".b = [1,
              'x']
            [t.u]
              key   = { in = 2 }
            [[v]]
            [t]
            """
        let top = try TOMLParser.parse(Array(text.utf8), file: 7)
        func place(_ location: FleetConfig.SourceLocation?) -> [Int] {
            location.map { [$0.file, $0.line, $0.column] } ?? []
        }
        #expect(place(top["é"]?.location) == [7, 1, 1])
        #expect(place(top.table("é")?.entries.first?.keyLocation) == [7, 1, 5])
        #expect(place(top.node(at: ["é", "b"])?.location) == [7, 1, 9])
        guard case .array(let elements)? = top.node(at: ["é", "b"])?.value else { return }
        #expect(elements.map { place($0.location) } == [[7, 1, 10], [7, 2, 3]])
        #expect(place(top["t"]?.location) == [7, 6, 1])
        #expect(place(top.node(at: ["t", "u"])?.location) == [7, 3, 1])
        #expect(place(top.node(at: ["t", "u", "key"])?.location) == [7, 4, 11])
        #expect(place(top.node(at: ["t", "u", "key", "in"])?.location) == [7, 4, 18])
        #expect(place(top.entries.last?.keyLocation) == [7, 5, 3])
        #expect(top.entries.map(\.key) == ["é", "t", "v"])
    }

    @Test func limitsAreExact() throws {
        func nested(_ depth: Int) -> String {
            "a = " + String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        _ = try Self.parse(nested(TOMLParser.nesting))
        expectError(nested(TOMLParser.nesting + 1))
        func dotted(_ parts: Int) -> String { Array(repeating: "a", count: parts).joined(separator: ".") }
        _ = try Self.parse(dotted(TOMLParser.keyParts) + " = 1\n[b." + dotted(TOMLParser.keyParts - 1) + "]")
        expectError(dotted(TOMLParser.keyParts + 1) + " = 1")
        expectError("[" + dotted(TOMLParser.keyParts + 1) + "]")
        // The deepest tree there can be.
        let part = dotted(TOMLParser.keyParts) + "={"
        let levels = TOMLParser.nesting - 1
        _ = try Self.parse(String(repeating: part, count: levels) + String(repeating: "}", count: levels))
        let array = "a = [" + String(repeating: "1,", count: TOMLParser.entryLimit) + "]"
        expectError(array)
    }

    private static func parse(_ text: String) throws -> String {
        shown(.table(try TOMLParser.parse(Array(text.utf8), file: 0)))
    }

    private func expectError(_ text: String, _ location: Testing.SourceLocation = #_sourceLocation) {
        let shown = Quoting.shown(text)
        #expect(throws: TOMLParser.SyntaxError.self, "\(shown)", sourceLocation: location) { try Self.parse(text) }
    }

    private static func shown(_ value: ConfigurationValue) -> String {
        switch value {
        case .string(let text): Quoting.string(text)
        case .integer(let number): String(number)
        case .float(let number): String(number)
        case .boolean(let flag): String(flag)
        case .array(let nodes): "[" + nodes.map { shown($0.value) }.joined(separator: ",") + "]"
        case .table(let table):
            "{" + table.entries.map { Quoting.key($0.key) + ":" + shown($0.node.value) }.joined(separator: ",") + "}"
        case .other: "time"
        }
    }
}
