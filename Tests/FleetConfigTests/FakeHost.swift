@testable import FleetConfig

/// A host made of values.
struct FakeHost: HostFacts {
    var hostName = "host-a"
    var effectiveUser: UInt32 = 0
    var effectiveGroup: UInt32 = 0
    var files: [String: [UInt8]] = [:]
    var problems: [String: FileProblem] = [:]
    var kinds: [String: FileFacts] = [:]
    var users = ["game": UserAccount(name: "game", uid: 1001, gid: 1002)]
    var groupNumbers: [String: UInt32] = ["game": 1002, "ops": 1003]

    init(_ files: [String: String] = [:]) {
        self.files = files.mapValues { Array($0.utf8) }
    }

    func read(_ path: String, limit: Int) -> Result<[UInt8], FileProblem> {
        if let problem = problems[path] { return .failure(problem) }
        guard let bytes = files[path] else { return .failure(.missing) }
        return bytes.count > limit ? .failure(.tooLarge(limit: limit)) : .success(bytes)
    }

    func names(in directory: String) -> Result<[String], FileProblem> {
        if let problem = problems[directory] { return .failure(problem) }
        let names = files.keys.filter { $0.hasPrefix(directory + "/") }.map {
            String($0.dropFirst(directory.count + 1))
        }
        return names.isEmpty ? .failure(.missing) : .success(names)
    }

    func facts(of path: String) -> Result<FileFacts, FileProblem> {
        kinds[path].map { .success($0) } ?? .failure(.missing)
    }

    func user(_ name: String) -> Result<UserAccount?, FileProblem> { .success(users[name]) }
    func group(_ name: String) -> Result<UInt32?, FileProblem> { .success(groupNumbers[name] ?? UInt32(name)) }
    func groups(of user: UserAccount, primary: UInt32) -> [UInt32] { [primary, 2000] }
}

let main = "/etc/eider/eider.toml"

/// Loads one text as the main file.
func load(_ text: String, _ host: FakeHost = FakeHost()) -> Result<Configuration, ConfigurationErrors> {
    var host = host
    host.files[main] = Array(text.utf8)
    return ConfigurationLoader.load(path: main, keepingProvenance: true, host: host)
}

/// Loads a service `a` with a command and these lines in its table; the table's header is line 1.
func loadService(_ lines: String) -> Result<Configuration, ConfigurationErrors> {
    load("[services.a]\ncommand = [\"/bin/a\"]\n" + lines)
}

extension Result where Success == Configuration, Failure == ConfigurationErrors {
    /// Every error, one per line, without the main file's name before the line.
    var errors: String {
        guard case .failure(let errors) = self else { return "" }
        return errors.description.split(separator: "\n").map { line in
            line.hasPrefix(main + ":") ? String(line.dropFirst(main.count + 1)) : String(line)
        }.joined(separator: "\n")
    }
}
