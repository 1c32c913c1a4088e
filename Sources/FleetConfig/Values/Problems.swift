/// Collects what is wrong while a tree is decoded, with the path of the key that is being looked at.
struct Problems {
    struct Problem {
        var severity: ConfigurationDiagnostic.Severity
        var location: SourceLocation
        var column: Int?
        var key: String
        var text: String
    }

    /// The key that is being decoded.
    var path: [String] = []
    private(set) var list: [Problem] = []

    /// Notes a problem with the value at the present path.
    ///
    /// An inherited value was already complained about in `[defaults]`, where it stands.
    mutating func report(_ text: String, at location: SourceLocation) {
        if location.inherited { return }
        add(path, text, at: location)
    }

    /// Notes a problem with any key.
    mutating func add(
        _ path: [String],
        _ text: String,
        at location: SourceLocation,
        column: Int? = nil,
        severity: ConfigurationDiagnostic.Severity = .error
    ) {
        let key = Quoting.path(path)
        list.append(Problem(severity: severity, location: location, column: column, key: key, text: text))
    }

    /// Calls `body` with `key` at the end of the path.
    mutating func within<Result>(_ key: String, _ body: (inout Problems) -> Result) -> Result {
        path.append(key)
        defer { path.removeLast() }
        return body(&self)
    }

    var hasErrors: Bool { list.contains { $0.severity == .error } }

    /// The problems as users see them: by file and line, no two the same, and no more than fit.
    func diagnostics(files: [String], _ severity: ConfigurationDiagnostic.Severity) -> [ConfigurationDiagnostic] {
        var seen: Set<ConfigurationDiagnostic> = []
        var result: [ConfigurationDiagnostic] = []
        // Sorting by offset too keeps the order in which problems on one line were found.
        let ordered = list.enumerated().filter { $0.element.severity == severity }.sorted {
            ($0.element.location.file, $0.element.location.line, $0.offset)
                < ($1.element.location.file, $1.element.location.line, $1.offset)
        }
        for (_, problem) in ordered {
            let file = files.indices.contains(problem.location.file) ? files[problem.location.file] : ""
            let diagnostic = ConfigurationDiagnostic(
                severity: severity,
                file: file,
                line: problem.location.line > 0 ? problem.location.line : nil,
                column: problem.column,
                key: problem.key,
                text: problem.text
            )
            guard seen.insert(diagnostic).inserted else { continue }
            if result.count == ConfigurationErrors.limit {
                let text = "there are more \(severity.rawValue)s; only the first \(result.count) are shown"
                return result + [ConfigurationDiagnostic(severity: severity, file: "", text: text)]
            }
            result.append(diagnostic)
        }
        return result
    }
}
