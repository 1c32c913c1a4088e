/// One thing that is wrong with, or noteworthy about, a configuration: always one line of text.
public struct ConfigurationDiagnostic: Sendable, Hashable, CustomStringConvertible {
    public enum Severity: String, Sendable {
        /// The configuration cannot be used.
        case error
        /// It can be used, but not everything in it will have the effect that its author may expect.
        case warning
    }

    public var severity: Severity
    /// The file as it was named when it was read; empty when the matter is not about a file.
    public var file: String
    /// From 1; nil when the matter is the file as a whole.
    public var line: Int?
    /// From 1, in characters; known for errors of syntax only.
    public var column: Int?
    /// Path of the key, such as `services.auth.restart.policy`; empty when there is none.
    public var key: String
    /// What is wrong and what to do.
    public var text: String

    public init(
        severity: Severity = .error,
        file: String,
        line: Int? = nil,
        column: Int? = nil,
        key: String = "",
        text: String
    ) {
        self.severity = severity
        self.file = file
        self.line = line
        self.column = column
        self.key = key
        self.text = text
    }

    /// `FILE:LINE: KEY: TEXT`, without the parts that are not known.
    public var description: String {
        var place = file
        if let line { place += ":\(line)" }
        if let column { place += ":\(column)" }
        return [place, key, text].filter { !$0.isEmpty }.joined(separator: ": ")
    }
}

/// Why a configuration cannot be used: everything that was found, by file and line.
public struct ConfigurationErrors: Error, Sendable, Equatable, CustomStringConvertible {
    /// Diagnostics that are kept; whoever has more than these to mend will run the check again.
    public static let limit = 1000

    public var diagnostics: [ConfigurationDiagnostic]

    public init(_ diagnostics: [ConfigurationDiagnostic]) {
        self.diagnostics = diagnostics
    }

    /// One diagnostic per line.
    public var description: String {
        diagnostics.map(\.description).joined(separator: "\n")
    }
}
