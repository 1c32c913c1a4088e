/// Reads the files of a configuration: the one that was named, and `services.d/*.toml` beside it.
struct SourceFiles {
    /// Bytes of one file, and files in `services.d`.
    static let sizeLimit = 4 << 20
    static let countLimit = 4096

    /// As they were read; a location's `file` counts in this list.
    private(set) var names: [String] = []
    /// The trees of the files that could be read.
    private(set) var documents: [(file: Int, table: ConfigurationTable)] = []
    /// A file could not be read: nothing can be said about what refers to it.
    private(set) var isIncomplete = false

    init(path: String, host: some HostFacts, _ problems: inout Problems) {
        read(path, host, missing: "create it, or name another with --config", &problems)
        let directory = Self.directory(of: path) + "services.d"
        switch host.names(in: directory) {
        case .failure(.missing): return
        case .failure(let problem):
            names.append(directory)
            fail(names.count - 1, "cannot list the directory: \(problem)", &problems)
        case .success(let entries):
            let wanted = entries.filter { $0.hasSuffix(".toml") && !$0.hasPrefix(".") }.sorted()
            if wanted.count > Self.countLimit {
                names.append(directory)
                fail(names.count - 1, "cannot use \(wanted.count) files; use at most \(Self.countLimit)", &problems)
                return
            }
            for name in wanted { read(directory + "/" + name, host, missing: "run this again", &problems) }
        }
    }

    /// Ends with a slash, or is empty for a file in the working directory.
    private static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "" }
        return String(path[...slash])
    }

    private mutating func read(_ path: String, _ host: some HostFacts, missing: String, _ problems: inout Problems) {
        let file = names.count
        names.append(path)
        switch host.read(path, limit: Self.sizeLimit) {
        case .failure(let problem):
            let advice =
                switch problem {
                case .missing: missing
                case .notPermitted: "change its mode, or run as a user who may"
                case .isDirectory: "name the file in it, such as \(path.hasSuffix("/") ? path : path + "/")eider.toml"
                case .notRegular: "use a regular file"
                case .tooLarge: "split it into files of services.d"
                case .system: "mend that and try again"
                }
            fail(file, "cannot read the file: \(problem); \(advice)", &problems)
        case .success(let bytes):
            parse(bytes, file, &problems)
        }
    }

    private mutating func parse(_ bytes: [UInt8], _ file: Int, _ problems: inout Problems) {
        do {
            documents.append((file, try TOMLParser.parse(bytes, file: file)))
        } catch {
            fail(file, line: error.line, column: error.column, error.text, &problems)
        }
    }

    private mutating func fail(
        _ file: Int,
        line: Int = 0,
        column: Int? = nil,
        _ text: String,
        _ problems: inout Problems
    ) {
        isIncomplete = true
        problems.add([], text, at: SourceLocation(file: file, line: line), column: column)
    }
}
