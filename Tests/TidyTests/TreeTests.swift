import Testing

/// The house rules, on the tree as it is.
@Suite struct TreeTests {
    private func expectNone(_ violations: [Violation], _ location: SourceLocation = #_sourceLocation) {
        if violations.isEmpty { return }
        let list = violations.map { "\n  \($0)" }.joined()
        Issue.record("\(violations.count) places break a house rule:\(list)", sourceLocation: location)
    }

    @Test func thereIsSomethingToCheck() {
        #expect(Tree.swift.count > 20, "cannot find the sources below \(Tree.root)")
    }

    @Test func filesAreShort() {
        expectNone((Tree.swift + Tree.c).flatMap(SizeRules.longFile))
    }

    @Test func linesAreShort() {
        expectNone((Tree.swift + Tree.c).flatMap(SizeRules.longLines))
    }

    @Test func functionsAreShort() {
        expectNone(Tree.swift.flatMap(SizeRules.longFunctions))
    }

    @Test func everyTargetImportsOnlyWhatItMay() {
        expectNone(Tree.swift.flatMap(ImportRules.check))
    }

    @Test func everyTargetHasAnImportList() {
        let known = Set(ImportRules.allowed.keys).union(ImportRules.inC)
        #expect(Tree.names(in: "Sources").filter { !known.contains($0) } == [])
    }

    @Test(arguments: ["CSystemd", "CHiredis", "COpenSSL"])
    func knownInOneFileOnly(module: String) {
        expectNone(ImportRules.inOneFile(module, Tree.swift))
    }

    @Test func forbiddenWordsAreNotUsed() {
        expectNone(Tree.swift.flatMap(WordRules.check))
    }

    @Test func whatIsToDoHasAnOwner() {
        expectNone(Tree.swift.flatMap(WordRules.ownerless))
    }

    @Test func publicDeclarationsAreDocumented() {
        let prescribed = DocumentationRules.requirements(Tree.swift)
        expectNone(Tree.swift.flatMap { DocumentationRules.check($0, prescribed: prescribed) })
    }

    @Test func theTopLevelIsWhatItShouldBe() {
        #expect(Tree.strangers(Tree.names(in: ".")) == [])
    }
}
