import FoundationEssentials

/// The files of the repository.
enum Tree {
    /// The repository: `EIDER_CHECKOUT`, or where this file lies.
    static let root: String = {
        if let named = ProcessInfo.processInfo.environment["EIDER_CHECKOUT"] { return named }
        return #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
    }()

    /// Every Swift file below `Sources` and `Tests`, by path from the root.
    static let swift: [SourceText] = files(ending: [".swift"])

    /// Every C file.
    static let c: [SourceText] = files(ending: [".c", ".h"])

    static func files(ending suffixes: [String]) -> [SourceText] {
        var found: [SourceText] = []
        for folder in ["Sources", "Tests"] { collect(folder, suffixes, &found) }
        return found
    }

    private static func collect(_ folder: String, _ suffixes: [String], _ found: inout [SourceText]) {
        for name in names(in: folder).sorted() {
            let path = "\(folder)/\(name)"
            var isDirectory = false
            guard FileManager.default.fileExists(atPath: "\(root)/\(path)", isDirectory: &isDirectory) else { continue }
            if isDirectory {
                collect(path, suffixes, &found)
            } else if suffixes.contains(where: { name.hasSuffix($0) }), let text = text(of: path) {
                found.append(SourceText(path: path, text))
            }
        }
    }

    static func names(in folder: String) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: "\(root)/\(folder)")) ?? []
    }

    private static func text(of path: String) -> String? {
        guard let data = FileManager.default.contents(atPath: "\(root)/\(path)") else { return nil }
        return String(decoding: data, as: UTF8.self)
    }

    /// What lies at the top, dotfiles aside, and does not belong there.
    static func strangers(_ names: [String]) -> [String] {
        // Package.resolved is the package manager's and not in the repository.
        let expected: Set<String> = ["Package.swift", "Sources", "Tests", "Units", "Config", "README.md"]
        return names.filter { !$0.hasPrefix(".") && !expected.contains($0) && $0 != "Package.resolved" }.sorted()
    }
}
