import Glibc
import Simulation
import Synchronization

/// Reads the command line, runs, prints.
@main
struct Main {
    static func main() async {
        switch Arguments.parse(Array(CommandLine.arguments.dropFirst())) {
        case .failure(let error):
            complain("\(error.text); see eider-sim --help")
            exit(64)
        case .success(let arguments):
            let held: Bool
            switch arguments.mode {
            case .help:
                print(Arguments.usage, terminator: "")
                held = true
            case .seed(let seed): held = run(seed, arguments)
            case .seeds: held = await runAll(arguments)
            case .incident: held = runIncident(arguments)
            case .fleet: held = await FleetRun(arguments).run()
            }
            exit(held ? 0 : 1)
        }
    }

    private static func complain(_ text: String) {
        let line = text.hasPrefix("cannot") ? "eider-sim: \(text)\n" : "eider-sim: cannot begin: \(text)\n"
        write(line)
    }

    /// To standard error, unbuffered; where that is closed there is nobody to tell.
    private static func write(_ text: String) {
        var text = text
        text.withUTF8 { _ = Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }

    // MARK: One seed

    private static func run(_ seed: UInt64, _ arguments: Arguments) -> Bool {
        let result = Campaign.run(seed: seed, hours: arguments.hours, writesJournal: true)
        for line in arguments.verbose ? result.journal[...] : result.journal.suffix(result.failure == nil ? 0 : 40) {
            print(line)
        }
        let hours = Double(result.tally.time) / 3.6e12
        let digest = String(result.digest, radix: 16)
        print("seed \(seed): \(result.tally.events) events, \(Int64(hours * 60)) simulated minutes, digest \(digest)")
        print(result.failure.map { "failed: \($0)" } ?? "every rule held, and the fleet came to rest")
        return result.failure == nil
    }

    // MARK: Many

    private static func runAll(_ arguments: Arguments) async -> Bool {
        let work = Work(arguments)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<arguments.jobs {
                group.addTask { work.run() }
            }
        }
        if work.showsProgress { write("\r\u{1B}[K") }
        let campaign = work.campaign
        if !arguments.quiet { for line in Report(campaign, seconds: work.seconds).lines { print(line) } }
        if let first = campaign.failures.first { tell(first, arguments) }
        for text in arguments.quiet ? campaign.missing : [] { print(text) }
        print(campaign.hasPassed ? "every rule held in \(campaign.seeds) seeds" : "failed")
        return campaign.hasPassed
    }

    /// Seeds, handed out one by one to whoever is free.
    private final class Work: Sendable {
        private let arguments: Arguments
        private let began = ContinuousClock().now
        private let next = Atomic<UInt64>(0)
        private let total = Mutex(Campaign())
        let showsProgress: Bool

        init(_ arguments: Arguments) {
            self.arguments = arguments
            showsProgress = !arguments.quiet && isatty(STDERR_FILENO) == 1
        }

        var campaign: Campaign { total.withLock { $0 } }

        /// Wall time since the beginning.
        var seconds: Double {
            let time = began.duration(to: ContinuousClock().now).components
            return Double(time.seconds) + Double(time.attoseconds) / 1e18
        }

        func run() {
            while arguments.until.map({ seconds < $0 }) ?? true {
                let seed = next.wrappingAdd(1, ordering: .relaxed).oldValue
                if seed >= arguments.seeds { return }
                let result = Campaign.run(seed: seed, hours: arguments.hours)
                let done = total.withLock { campaign in
                    campaign.add(result)
                    return campaign.seeds
                }
                if showsProgress, done % 20 == 0 { write("\r\(done) of \(arguments.seeds) seeds ") }
            }
        }
    }

    /// The end of the story of a seed that failed: it is run once more, with a journal.
    private static func tell(_ failure: SeedResult, _ arguments: Arguments) {
        let again = Campaign.run(seed: failure.seed, hours: arguments.hours, writesJournal: true)
        print("")
        for line in again.journal.suffix(40) { print(line) }
        print("seed \(failure.seed) failed: \(failure.failure ?? "")")
        print("again: eider-sim --seed \(failure.seed)\(arguments.hours == 1 ? "" : " --hours \(arguments.hours)")")
    }

    // MARK: The incident

    private static func runIncident(_ arguments: Arguments) -> Bool {
        var held = true
        for mode in Incident.Mode.allCases {
            let incident = Incident(mode, seed: arguments.seeds)
            print("\(mode.rawValue): at most \(incident.mostLive) processes, \(incident.restarts) restarts for health")
            for failure in incident.failures { print("failed: \(failure)") }
            held = held && incident.failures.isEmpty
        }
        let random = Incident.anything(steps: 1_000_000, seed: arguments.seeds)
        print("random: at most \(random.mostLive) processes in a million random results for 44 instances")
        for failure in random.failures { print("failed: \(failure)") }
        return held && random.failures.isEmpty
    }
}
