import Glibc

/// Measures what must be quick, and prints it beside its targets.
@main
enum Bench {
    private static let usage = """
        usage: eider-bench breaker [--json]
          breaker   the gate before each start, workers' calls in the core and over the socket of a real eiderd
                    (which lies beside this program), the memory of a breaker, and what Redis has to do with it
          --json    one JSON document instead of the table
        Build it with -c release; nothing else should run meanwhile.
        """

    static func main() {
        var words = Array(CommandLine.arguments.dropFirst())
        let isJSON = words.contains("--json")
        words.removeAll { $0 == "--json" }
        switch words.first {
        case "breaker" where words.count == 1:
            let table = BreakerBench.run()
            print(isJSON ? table.json : table.text)
            exit(table.isMissing ? 1 : 0)
        case RoundTrips.role where words.count == 3: RoundTrips.work(result: words[1], calls: Int(words[2]) ?? 1)
        case "--help", "-h": print(usage)
        default:
            print(usage)
            exit(64)
        }
    }
}
