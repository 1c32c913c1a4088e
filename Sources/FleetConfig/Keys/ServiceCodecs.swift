import SupervisorCore

/// Kinds of value that only services have.
enum ServiceCodecs {
    /// A program and its arguments.
    static let command = ValueCodec<[String]>(
        decode: { node, problems in
            let example = "[\"/usr/bin/program\", \"argument\"]"
            if case .string(let text) = node.value {
                let advice = "use an array of program and arguments, such as \(example); there is no shell"
                problems.report("cannot use \(Quoting.shown(text)); \(advice)", at: node.location)
                return nil
            }
            let argument = ValueCodec<String>.text(wanted: "a text, such as \"--verbose\"")
            guard let words = argument.list(example: example).decode(node, &problems) else { return nil }
            guard let program = words.first else {
                problems.report("cannot use []; name a program, such as \(example)", at: node.location)
                return nil
            }
            guard program.hasPrefix("/") else {
                let advice = "use the program's absolute path, such as \"/usr/bin/program\""
                problems.report("cannot use \(Quoting.shown(program)); \(advice)", at: node.location)
                return nil
            }
            return words
        },
        render: { "[" + $0.map(Quoting.string).joined(separator: ", ") + "]" }
    )

    /// A user or group by name or number; "" is none.
    static func account(_ kind: String, example: String) -> ValueCodec<String?> {
        ValueCodec.scalar(
            wanted: "the name of a \(kind), such as \"\(example)\"",
            render: { Quoting.string($0 ?? "") },
            read: { value in
                guard case .string(let text) = value else { return .unsuitable }
                if text.isEmpty { return .value(nil) }
                let isWord = text.utf8.allSatisfy { byte in
                    byte > 32 && byte != 127 && byte != UInt8(ascii: ":") && byte != UInt8(ascii: "/")
                }
                return isWord && text.utf8.count <= 256 && !text.hasPrefix("-") ? .value(text) : .unsuitable
            }
        )
    }

    static let variableNames = ValueCodec<String>.text(
        wanted: "the name of an environment variable, such as \"LANG\"",
        where: isVariableName
    ).list(example: "[\"LANG\"]")

    /// What POSIX calls a name.
    static func isVariableName(_ text: String) -> Bool {
        guard let first = text.utf8.first, !(48...57).contains(first) else { return false }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
    }

    static let serviceNames = ValueCodec<String>.text(wanted: "the name of a service, such as \"event-bus\"")
        .list(example: "[\"event-bus\"]")

    /// A service's name: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`.
    static func isServiceName(_ text: String) -> Bool {
        guard let first = text.utf8.first, text.utf8.count <= 63 else { return false }
        func isLetterOrDigit(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: false
            }
        }
        return isLetterOrDigit(first)
            && text.utf8.allSatisfy {
                isLetterOrDigit($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-")
            }
    }

    static let release = ValueCodec<String>.text(
        wanted: "a text of at most 128 letters, digits and any of . _ + : @ -, such as \"2026-11-21\""
    ) { text in
        text.utf8.count <= 128
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: ":"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "+"),
                    UInt8(ascii: "@"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }

    /// "0s" is none, as in systemd's `WatchdogSec=`.
    static let watchdog: ValueCodec<Duration?> = {
        let duration = ValueCodec<Duration>.duration(example: "30s")
        return ValueCodec<Duration?>(
            decode: { node, problems in
                guard let value = duration.decode(node, &problems) else { return nil }
                return .some(value == .zero ? nil : value)
            },
            render: { value in value.map(duration.render) ?? "\"0s\"" }
        )
    }()

    /// What a probe asks over HTTP; the host may hold placeholders, so it is checked when they are known.
    static let url = ValueCodec<String>.text(
        wanted: "a URL that begins with http://, such as \"http://127.0.0.1:{port}/ready\""
    ) { text in
        text.hasPrefix("http://") && text.utf8.count > 7 && text.utf8.allSatisfy { $0 > 32 && $0 != 127 }
    }

    static let probeAddress = ValueCodec<String>.text(wanted: "host:port, such as \"127.0.0.1:{port}\"") {
        $0.contains(":")
    }

    /// `environment`, whose keys are the users' own.
    static let environment = KeyDescription<ServiceDraft>(
        path: ["environment"],
        effect: .restart,
        decode: { node, draft, problems in
            guard case .table(let table) = node.value else {
                let text = "cannot use \(node.value.shown); use a table of texts, such as { LOG_LEVEL = \"info\" }"
                problems.report(text, at: node.location)
                return
            }
            var variables: [EnvironmentVariable] = []
            for entry in table.entries {
                if let value = variable(entry, &problems) {
                    variables.append(EnvironmentVariable(name: entry.key, value: value))
                }
            }
            draft.spec.environment = variables.sorted { $0.name < $1.name }
        },
        render: { draft in
            if draft.spec.environment.isEmpty { return [(nil, "{}")] }
            return draft.spec.environment.map { ($0.name, Secrets.shown($0)) }
        },
        isEqual: { $0.spec.environment == $1.spec.environment },
        hasFreeKeys: true
    )

    private static func variable(_ entry: ConfigurationTable.Entry, _ problems: inout Problems) -> String? {
        problems.within(entry.key) { problems in
            guard isVariableName(entry.key) else {
                let wanted = "letters, digits and _, not beginning with a digit"
                let text = "cannot use \(Quoting.shown(entry.key)) as a variable's name; use \(wanted)"
                problems.report(text, at: entry.node.location)
                return nil
            }
            if reserved.contains(entry.key) {
                let text = "cannot set \(entry.key); Eider sets it for each instance, remove it"
                problems.report(text, at: entry.node.location)
                return nil
            }
            if case .string(let text) = entry.node.value { return text }
            let advice: String
            switch entry.node.value {
            case .integer, .float, .boolean: advice = "a text: \"\(entry.node.value.shown)\""
            default: advice = "a text, such as \"info\""
            }
            problems.report("cannot use \(entry.node.value.shown); use \(advice)", at: entry.node.location)
            return nil
        }
    }

    /// Variables of the worker's protocols (INTERFACE.md §5).
    static let reserved: Set<String> = [
        "EIDER_SERVICE", "EIDER_INDEX", "EIDER_NODE", "EIDER_BREAKER_SOCKET", "NOTIFY_SOCKET", "WATCHDOG_USEC",
        "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
    ]
}

/// What listings do not show.
enum Secrets {
    private static let markers = ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "CREDENTIAL", "PRIVATE", "APIKEY", "_KEY"]

    /// A variable's value, unless its name says that it is secret or it holds a URL with a password.
    static func shown(_ variable: EnvironmentVariable) -> String {
        let name = variable.name.uppercased()
        let isSecret = markers.contains { name.contains($0) } && !name.hasSuffix("_FILE") || name == "KEY"
        return isSecret || hasPassword(variable.value) ? "(hidden)" : Quoting.string(variable.value)
    }

    /// `scheme://user:password@host`.
    private static func hasPassword(_ text: String) -> Bool {
        guard let scheme = text.firstRange(of: "://") else { return false }
        let authority = text[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        guard let at = authority.lastIndex(of: "@") else { return false }
        return authority[..<at].contains(":")
    }
}
