/// What the command line asks for.
struct Arguments: Equatable, Sendable {
    enum Mode: Equatable, Sendable {
        case seed(UInt64), seeds, incident, fleet, help
    }

    static let usage = """
        usage: eider-sim [--seeds N] [--jobs J] [--hours H] [--until SECONDS] [--quiet]
               eider-sim --seed N [--hours H] [--verbose]
               eider-sim incident [--seed N]
               eider-sim fleet [--seeds N] [--jobs J] [--seed N [--verbose]]

        Simulates hosts around the real core, each from one seed, and checks every rule after every event. Then the
        faults stop, and each fleet has to become what it was asked to be.

          --seeds N        run seeds 0 to N-1 (100), and say what was met; with 1000 or more, all has to be
          --seed N         run one seed again, exactly
          --jobs J         seeds at a time (1); the result does not depend on it
          --hours H        simulated hours of faults in each seed (1)
          --until SECONDS  begin no seed after this much wall time
          --verbose        with --seed: tell everything that happens
          --quiet          print the verdict only
          --help           print this and exit

        incident is the outage that the rules are made for: 45 processes whose every check fails for half an hour.

        fleet is one to seven hosts whose breakers are shared by a model of Redis, with faults of both.

        Exit codes: 0 all rules held, 1 one did not, or something was never met, 64 usage.

        """

    var mode: Mode = .seeds
    var seeds: UInt64 = 100
    var jobs = 1
    /// Of fleets: the one that is run.
    var only: UInt64?
    var hours = 1.0
    /// Seconds of wall time; nil: as long as it takes.
    var until: Double?
    var verbose = false
    var quiet = false

    /// Reads the words after the program's name.
    static func parse(_ words: [String]) -> Result<Arguments, UsageError> {
        var arguments = Arguments()
        var rest = words[...]
        var seed: UInt64?
        var isIncident = false
        var isFleet = false
        while let word = rest.popFirst() {
            switch word {
            case "incident": isIncident = true
            case "fleet": isFleet = true
            case "--verbose": arguments.verbose = true
            case "--quiet": arguments.quiet = true
            case "--help", "-h":
                arguments.mode = .help
                return .success(arguments)
            case "--seed", "--seeds", "--jobs", "--hours", "--until":
                guard let value = rest.popFirst() else { return .failure(UsageError("\(word) needs a number")) }
                if word == "--seed" { seed = UInt64(value) }
                guard arguments.take(word, value) else {
                    return .failure(UsageError("cannot use \(word) \(value): not a number that it takes"))
                }
            default: return .failure(UsageError("cannot use \"\(word)\": there is no such option"))
            }
        }
        if let seed { arguments.mode = .seed(seed) }
        if isIncident {
            arguments.mode = .incident
            arguments.seeds = seed ?? 1
        }
        if isFleet {
            arguments.mode = .fleet
            arguments.only = seed
        }
        if arguments.verbose, seed == nil { return .failure(UsageError("--verbose goes with --seed")) }
        return .success(arguments)
    }

    private mutating func take(_ option: String, _ value: String) -> Bool {
        switch option {
        case "--seed": return UInt64(value) != nil
        case "--seeds":
            guard let number = UInt64(value), number > 0 else { return false }
            seeds = number
        case "--jobs":
            guard let number = Int(value), (1...1_024).contains(number) else { return false }
            jobs = number
        case "--hours":
            guard let number = Double(value), number > 0, number <= 10_000 else { return false }
            hours = number
        default:
            guard let number = Double(value), number > 0, number.isFinite else { return false }
            until = number
        }
        return true
    }
}

/// A command line that cannot be used.
struct UsageError: Error, Equatable {
    var text: String

    init(_ text: String) {
        self.text = text
    }
}
