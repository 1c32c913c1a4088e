import Testing

/// Each rule finds what it is there to find, and nothing else.
@Suite struct RuleTests {
    private func source(_ text: String, path: String = "Sources/SupervisorCore/A.swift") -> SourceText {
        SourceText(path: path, text)
    }

    private func lines(_ violations: [Violation]) -> [Int] { violations.map(\.line) }

    @Test func stringsAndCommentsAreNotCode() {
        let text = source(
            #"""
            let a = "fatalError \(name("try! x")) as!" // try! here
            /* fatalError /* nested */ try! */ let b = #"as! \(no) "quoted" "#
            let c = """
                try! "quoted"
                \(d)
                """
            let e = "\"try!"
            """#
        )
        #expect(WordRules.check(text) == [])
        #expect(text.code[0].contains("name("))
        #expect(text.comments[0].contains("try! here"))
        #expect(!text.comments[0].contains("name("))
        #expect(text.code[1].contains("let b ="))
        #expect(text.code[4].contains("d"))
        #expect(text.code.map(\.count) == text.lines.map(\.count))
    }

    @Test func findsLongFiles() {
        let text = String(repeating: "\n", count: 501)
        #expect(lines(SizeRules.longFile(source(text))) == [0])
        #expect(SizeRules.longFile(source(text, path: "Tests/XTests/A.swift")) == [])
        #expect(SizeRules.longFile(source(String(repeating: "\n", count: 500))) == [])
        #expect(lines(SizeRules.longFile(source(text + text, path: "Tests/XTests/A.swift"))) == [0])
    }

    @Test func findsLongLines() {
        let text = String(repeating: "x", count: 120) + "\n" + String(repeating: "y", count: 121)
        #expect(lines(SizeRules.longLines(source(text))) == [2])
    }

    @Test(arguments: [
        "func f(a: [Int] = [], b: () -> Void = {}) async throws(E) -> X where X: Y {", "public init?(x: Int) {",
        "    private var computed: Int {", "static func == (a: A, b: A) -> Bool {",
        "@discardableResult func g() -> Int {",
        "    subscript(i: Int) -> Int {", "func several(\n    a: Int\n) {",
    ])
    func findsLongFunctions(head: String) {
        let extra = head.filter { $0 == "\n" }.count
        let fits = head + "\n" + String(repeating: "    if a { b() }\n", count: 68 - extra) + "}\nlet x = 1\n"
        let long = head + "\n" + String(repeating: "    if a { b() }\n", count: 69 - extra) + "}\n"
        #expect(SizeRules.longFunctions(source(fits)) == [])
        #expect(lines(SizeRules.longFunctions(source(long))) == [1])
    }

    @Test func leavesUsesAndBodilessDeclarationsAlone() {
        let text = """
            protocol P {
                func f()
                init(a: Int)
                var x: Int { get }
            }
            let a = Foo.init(b)
            var stored = [1, 2]
            self.init(c)
            """
        let found = Functions.find(source(text))
        #expect(found == [Functions.Function(name: "x", lines: 4...4)])
    }

    @Test func findsForbiddenImports() {
        let text = """
            import Glibc
            @testable import struct Foundation.Date
            public import SupervisorCore
            let a = "import NIOCore"
            // import NIOPosix
            """
        #expect(lines(ImportRules.check(source(text))) == [1, 2, 3])
        #expect(lines(ImportRules.check(source(text, path: "Sources/LinuxPlatform/Deep/A.swift"))) == [2])
        #expect(lines(ImportRules.check(source(text, path: "Tests/XTests/A.swift"))) == [2])
        #expect(lines(ImportRules.check(source(text, path: "Sources/Unheard/A.swift"))) == [1, 2, 3])
    }

    @Test func findsAModuleInTwoFiles() {
        let one = source("import CSystemd", path: "Sources/SystemdBridge/A.swift")
        let two = source("internal import CSystemd", path: "Sources/SystemdBridge/B.swift")
        #expect(ImportRules.inOneFile("CSystemd", [one]) == [])
        #expect(ImportRules.inOneFile("CSystemd", [one, two]).map(\.path) == [two.path])
    }

    @Test(arguments: [
        "let a = try! f()", "let a = b as! C", "fatalError(\"x\")", "preconditionFailure()",
        "final class A: @unchecked Sendable {}", "nonisolated(unsafe) var x = 1", "let now = Date()",
        "let a = Int.random(in: 0..<3)", "print(\"hello\")",
    ])
    func findsForbiddenWords(line: String) {
        #expect(lines(WordRules.check(source("let fine = 1\n" + line))) == [2])
    }

    @Test(arguments: ["try? f()", "let a = b as? C", "fingerprint(x)", "updatedDate(x)", "has !x"])
    func leavesOtherWordsAlone(line: String) {
        #expect(WordRules.check(source(line)) == [])
    }

    @Test(arguments: ["usleep(10)", "try await Task.sleep(for: x)", "sleep(1)"])
    func findsSleepsInTests(line: String) {
        #expect(lines(WordRules.check(source(line, path: "Tests/XTests/A.swift"))) == [1])
        #expect(WordRules.check(source(line, path: "Tests/XTests/Support/Deadline.swift")) == [])
        #expect(WordRules.check(source(line)) == [])
    }

    @Test func executablesMayPrint() {
        #expect(WordRules.check(source("print(a)", path: "Sources/eiderctl/A.swift")) == [])
    }

    @Test func findsOwnerlessWork() {
        let text = """
            // \("TODO"): later
            // \("TODO")(ada): later
            let a = "\("TODO")"  /* \("FIXME")() */
            """
        #expect(lines(WordRules.ownerless(source(text))) == [1, 3])
    }

    @Test func findsUndocumentedDeclarations() {
        let text = """
            public struct A {
                public init() {}
                public var x = 1
                public struct Nested {}
                public mutating func undocumented() {}
                public static func == (a: A, b: A) -> Bool { true }
                public func hash(into hasher: inout Hasher) {}
                /// Documented.
                @discardableResult
                public func documented() {}
            }
            @frozen
            public enum B {}
            enum C {}
            """
        #expect(lines(DocumentationRules.check(source(text), prescribed: [])) == [1, 5, 13])
        #expect(DocumentationRules.check(source(text, path: "Tests/XTests/A.swift"), prescribed: []) == [])
    }

    @Test func leavesConformancesAndOverloadsUndocumented() {
        let text = """
            /// A port.
            public protocol Port {
                /// Sends.
                func send()
            }
            /// A socket.
            public struct Socket: Port {
                public func send() {}
                /// Takes a number.
                public func take(_ number: Int) {}
                public func take(_ text: String) {}
                public static func < (left: Socket, right: Socket) -> Bool { false }
                public func drop() {}
            }
            """
        let file = source(text)
        let prescribed = DocumentationRules.requirements([file])
        #expect(prescribed == ["send"])
        #expect(lines(DocumentationRules.check(file, prescribed: prescribed)) == [13])
    }

    @Test func findsStrangersAtTheTop() {
        let names = [".git", "Package.swift", "Sources", "Tests", "Units", "Config", "README.md", "Package.resolved"]
        #expect(Tree.strangers(names) == [])
        #expect(Tree.strangers(names + ["notes.txt", "Docs"]) == ["Docs", "notes.txt"])
    }
}
