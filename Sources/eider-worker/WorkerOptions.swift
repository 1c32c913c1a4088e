/// What is wrong with the command line, in one clause.
struct UsageError: Error {
    var message: String

    init(_ message: String) {
        self.message = message
    }
}

/// How the process ends when it is told to crash.
enum Crash: Equatable {
    case exit(Int32)
    case signal(Int32)
}

/// The command line and what the supervisor passed in the environment.
struct WorkerOptions {
    /// Which of the program's processes this is; the user only ever starts `server`.
    enum Role: Equatable {
        case server
        case help
        /// Started by `--fork`: sits there.
        case child
        /// Started by `--fork-daemon`: starts a child in a session of its own and exits.
        case daemonParent
        /// Started by `--fork-storm`: starts its successor and exits.
        case storm(generation: Int)
    }

    var role = Role.server
    var host = "127.0.0.1"
    var port: Int?
    var listens = true
    /// Descriptors passed by the supervisor, from 3 on.
    var passedSockets = 0

    var crash = Crash.exit(1)
    var crashesOnStart = false
    var crashAfter: Duration?
    var hangAfter: Duration?
    var startDelay: Duration = .zero
    var neverReady = false
    var ignoresTermination = false
    /// How long idle connections are kept after the stop signal.
    var linger: Duration = .seconds(1)
    var leakBytesPerSecond = 0
    var logLinesPerSecond = 0
    var children = 0
    var storms = 0
    var childrenLeaveSession = false
    var childrenAreDaemons = false
    var dependency = Dependency()

    /// What is called through the breaker socket.
    struct Dependency {
        /// Empty: none.
        var name = ""
        var outcomeFile: String?
        /// Calls each second.
        var rate = 10
        /// Connections that ask without end.
        var floods = 0
    }

    /// `auth/0`, or the program's name when nobody supervises it.
    var name = "eider-worker/0"
    var notifySocket: String?
    var breakerSocket: String?
    /// How often to say that the loop turns; nil when nobody wants to hear it.
    var heartbeat: Duration?

    static let help = """
        usage: eider-worker --port N [switches]
          --host ADDRESS         address to listen on (127.0.0.1)
          --port N               port to listen on; otherwise $PORT, or the sockets passed by LISTEN_FDS
          --no-listen            serve nothing
          --start-slowly D       listen and be ready only after D
          --never-ready          never say READY=1; GET /ready answers 503
          --crash-on-start       end before anything else
          --crash-after D        end after D
          --crash-code N         end with this exit code (1)
          --crash-signal S       end by this signal instead
          --hang-after D         stop doing anything after D, the heartbeat included
          --leak SIZE            take this much memory each second
          --log-flood N          write N lines each second
          --fork N               start N children that sit there
          --fork-setsid          the children have sessions of their own
          --fork-daemon          the children are daemons: of another parent, in sessions of their own
          --fork-storm N         N chains of short-lived processes, each starting its successor
          --ignore-sigterm       ignore SIGTERM, in children too
          --dependency NAME      ask the breaker socket for NAME before each of its calls, and report them
          --dependency-rate N    calls each second (10)
          --dependency-outcome-file FILE  how calls end: ok, failed, slow or ignored; ok without it
          --dependency-flood N   N connections to the breaker socket that ask without end
          --linger D             keep idle connections this long after SIGTERM (1s)
        Durations: 250ms 5s 2m 1h. Sizes: 4096 64KiB 1MiB.
        Requests: GET / /ready /live /slow?ms=N /crash[?code=N|?signal=S] /hang /status?text=TEXT
          /dependency tells how calls went; /breaker?say=PACKET sends a packet to the breaker socket
          /set?ready=CODE&live=CODE&beats=no changes what /ready and /live answer, and ends heartbeats
        """

    init(arguments: [String], environment: (String) -> String?) throws(UsageError) {
        try readEnvironment(environment)
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            let (name, inline) = Self.split(argument)
            if try readFlag(name, hasValue: inline != nil) { continue }
            try readValue(name) { () throws(UsageError) -> String in
                guard let value = inline ?? rest.popFirst() else { throw UsageError("\(name) needs a value") }
                return value
            }
        }
        let needsPort = role == .server && listens && !crashesOnStart
        if needsPort, port == nil, passedSockets == 0 {
            throw UsageError("no port: give --port N, set PORT, or say --no-listen")
        }
    }

    private mutating func readEnvironment(_ environment: (String) -> String?) throws(UsageError) {
        if let service = environment("EIDER_SERVICE") {
            name = "\(service)/\(environment("EIDER_INDEX") ?? "0")"
        }
        notifySocket = environment("NOTIFY_SOCKET")
        breakerSocket = environment("EIDER_BREAKER_SOCKET")
        let pid = String(System.pid)
        if environment("LISTEN_PID") == pid, let count = environment("LISTEN_FDS").flatMap({ Int($0) }) {
            passedSockets = min(max(0, count), 1_000)
        }
        let watched = environment("WATCHDOG_PID") ?? pid
        if watched == pid, let limit = environment("WATCHDOG_USEC").flatMap({ Int64($0) }), limit > 1 {
            heartbeat = .microseconds(limit / 2)
        }
        if let text = environment("PORT") { port = try Self.number(text, "PORT", 0...65_535) }
    }

    private mutating func readFlag(_ name: String, hasValue: Bool) throws(UsageError) -> Bool {
        switch name {
        case "--help", "-h": role = .help
        case "--no-listen": listens = false
        case "--never-ready": neverReady = true
        case "--crash-on-start": crashesOnStart = true
        case "--ignore-sigterm": ignoresTermination = true
        case "--fork-setsid": childrenLeaveSession = true
        case "--fork-daemon": childrenAreDaemons = true
        case "--as-child": role = .child
        case "--as-daemon-parent": role = .daemonParent
        default: return false
        }
        if hasValue { throw UsageError("\(name) takes no value") }
        return true
    }

    private mutating func readValue(
        _ name: String,
        _ value: () throws(UsageError) -> String
    ) throws(UsageError) {
        switch name {
        case "--host": host = try value()
        case "--port": port = try Self.number(value(), name, 0...65_535)
        case "--crash-after": crashAfter = try Self.duration(value(), name)
        case "--crash-code": crash = .exit(Int32(try Self.number(value(), name, 0...255)))
        case "--crash-signal": crash = .signal(try Self.signal(value(), name))
        case "--hang-after": hangAfter = try Self.duration(value(), name)
        case "--start-slowly": startDelay = try Self.duration(value(), name)
        case "--linger": linger = try Self.duration(value(), name)
        case "--leak": leakBytesPerSecond = try Self.size(value(), name)
        case "--log-flood": logLinesPerSecond = try Self.number(value(), name, 0...10_000_000)
        case "--fork": children = try Self.number(value(), name, 0...1_000)
        case "--fork-storm": storms = try Self.number(value(), name, 0...64)
        case "--dependency": dependency.name = try value()
        case "--dependency-rate": dependency.rate = try Self.number(value(), name, 1...1_000)
        case "--dependency-outcome-file": dependency.outcomeFile = try value()
        case "--dependency-flood": dependency.floods = try Self.number(value(), name, 0...1_000)
        case "--as-storm": role = .storm(generation: try Self.number(value(), name, 0...1_000_000))
        default: throw UsageError("cannot use \(name): unknown switch")
        }
    }
}

// Readers of single values.
extension WorkerOptions {
    private static func split(_ argument: String) -> (name: String, value: String?) {
        guard argument.hasPrefix("--"), let equals = argument.firstIndex(of: "=") else { return (argument, nil) }
        return (String(argument[..<equals]), String(argument[argument.index(after: equals)...]))
    }

    static func number(_ text: String, _ name: String, _ range: ClosedRange<Int>) throws(UsageError) -> Int {
        guard let number = Int(text), range.contains(number) else {
            throw UsageError(
                "cannot use \(name) \(text): use a number from \(range.lowerBound) to \(range.upperBound)"
            )
        }
        return number
    }

    static func duration(_ text: String, _ name: String) throws(UsageError) -> Duration {
        let units: [(String, Duration)] = [
            ("ms", .milliseconds(1)), ("s", .seconds(1)), ("m", .seconds(60)), ("h", .seconds(3_600)),
        ]
        for (suffix, unit) in units where text.hasSuffix(suffix) {
            if let count = Int(text.dropLast(suffix.count)), (0...1_000_000_000).contains(count) { return unit * count }
        }
        throw UsageError("cannot use \(name) \(text): use a duration such as 250ms, 5s, 2m or 1h")
    }

    static func size(_ text: String, _ name: String) throws(UsageError) -> Int {
        let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1), ("", 1)]
        for (suffix, unit) in units where text.hasSuffix(suffix) {
            if let count = Int(text.dropLast(suffix.count)), (0...1_000_000_000_000 / unit).contains(count) {
                return count * unit
            }
        }
        throw UsageError("cannot use \(name) \(text): use a size such as 4096, 64KiB or 1MiB")
    }

    static func signal(_ text: String, _ name: String) throws(UsageError) -> Int32 {
        let names: [String: Int32] = [
            "HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8, "KILL": 9, "USR1": 10,
            "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STOP": 19,
        ]
        if let number = Int32(text), (1...64).contains(number) { return number }
        let upper = text.uppercased()
        let bare = upper.hasPrefix("SIG") ? String(upper.dropFirst(3)) : upper
        guard let number = names[bare] else { throw UsageError("cannot use \(name) \(text): use a name as SIGSEGV") }
        return number
    }
}
