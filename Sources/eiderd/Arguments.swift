/// What the command line asks for.
struct Arguments: Equatable {
    enum Mode: Equatable {
        case run, check, takeoverCheck, help, version
    }

    static let defaultConfiguration = "/etc/eider/eider.toml"

    static let usage = """
        usage: eiderd [--config FILE] [--check [--verbose]]

        Keeps a host's services running. Always in the foreground; configured by one file.

          --config FILE   the configuration (default: \(defaultConfiguration))
          --check         validate the configuration, print a summary, and exit
          --verbose       with --check: every effective value, and where it comes from
          --version       print the version and exit
          --help          print this and exit

        Exit codes: 0 done, 1 failed, 64 usage, 78 configuration error.
        Operators use eiderctl; see: eiderctl --help

        """

    var mode: Mode = .run
    var configuration = Self.defaultConfiguration
    var verbose = false

    /// Reads the words after the program's name.
    static func parse(_ words: [String]) -> Result<Arguments, UsageError> {
        var arguments = Arguments()
        var rest = words[...]
        while let word = rest.popFirst() {
            switch word {
            case "--config":
                guard let path = rest.popFirst() else {
                    return .failure(UsageError(text: "--config needs a file; try --help"))
                }
                arguments.configuration = path
            case "--check": arguments.mode = .check
            case "--takeover-check": arguments.mode = .takeoverCheck
            case "--verbose": arguments.verbose = true
            case "--version": arguments.mode = .version
            case "--help", "-h": arguments.mode = .help
            case _ where word.hasPrefix("--config="):
                arguments.configuration = String(word.dropFirst("--config=".count))
            default:
                return .failure(UsageError(text: "cannot use \"\(word)\": there is no such option; try --help"))
            }
        }
        if arguments.verbose, arguments.mode != .check {
            return .failure(UsageError(text: "--verbose goes with --check; try --help"))
        }
        return .success(arguments)
    }
}

/// A command line that cannot be used.
struct UsageError: Error, Equatable {
    var text: String
}
