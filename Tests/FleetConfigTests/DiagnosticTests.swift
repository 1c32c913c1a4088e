import Testing

@testable import FleetConfig

/// What users read when they got something wrong: exact text and line.
@Suite struct DiagnosticTests {
    /// A line of `[services.a]`, on line 3 of the file, and what is said about it.
    static let values: [(String, String)] = [
        ("restart.policy = \"sometimes\"", "restart.policy: cannot use \"sometimes\"; use always, on-failure or never"),
        ("type = 1", "type: cannot use 1; use simple, notify or oneshot"),
        ("replicas = \"two\"", "replicas: cannot use \"two\"; use a whole number from 0 to 10000, such as 2"),
        ("replicas = 2.5", "replicas: cannot use 2.5; use a whole number from 0 to 10000, such as 2"),
        ("replicas = -1", "replicas: cannot use -1; use a whole number from 0 to 10000, such as 2"),
        ("replicas = 10001", "replicas: cannot use 10001; use a whole number from 0 to 10000, such as 2"),
        ("replicas = 2020-01-01", "replicas: cannot use a date or time; use a whole number from 0 to 10000, such as 2"),
        ("critical = \"yes\"", "critical: cannot use \"yes\"; use true or false"),
        ("umask = 22", "umask: cannot use 22; use an octal text from \"0000\" to \"0777\", such as \"0022\""),
        (
            "umask = \"0922\"",
            "umask: cannot use \"0922\"; use an octal text from \"0000\" to \"0777\", such as \"0022\""
        ),
        (
            "umask = \"7777\"",
            "umask: cannot use \"7777\"; use an octal text from \"0000\" to \"0777\", such as \"0022\""
        ),
        (
            "stop.signal = \"SIGFOO\"",
            "stop.signal: cannot use \"SIGFOO\"; use the name of a signal, such as \"SIGTERM\""
        ),
        ("stop.signal = \"15\"", "stop.signal: cannot use \"15\"; use the name of a signal, such as \"SIGTERM\""),
        (
            "stop.grace_period = 30",
            "stop.grace_period: cannot use 30; a duration needs a unit, such as \"30s\""
        ),
        (
            "stop.grace_period = \"30\"",
            "stop.grace_period: cannot use \"30\"; a duration needs a unit, such as \"30s\""
        ),
        (
            "stop.grace_period = \"soon\"",
            "stop.grace_period: cannot use \"soon\"; use a duration with a unit (us, ms, s, m, h), such as \"30s\""
        ),
        ("startup.timeout = \"0s\"", "startup.timeout: cannot use \"0s\"; use at least \"1ms\""),
        (
            "startup = { tcp = \"h:1\", period = \"9ms\" }",
            "startup.period: cannot use \"9ms\"; use at least \"10ms\""
        ),
        (
            "readiness = { tcp = \"h:1\", period = \"9ms\" }",
            "readiness.period: cannot use \"9ms\"; use at least \"10ms\""
        ),
        (
            "liveness = { tcp = \"h:1\", period = \"9ms\" }",
            "liveness.period: cannot use \"9ms\"; use at least \"10ms\""
        ),
        (
            "logs.max_size = 4096",
            "logs.max_size: cannot use 4096; a size needs a unit, such as \"4096B\" or \"64MiB\""
        ),
        (
            "logs.max_size = \"4096\"",
            "logs.max_size: cannot use \"4096\"; a size needs a unit, such as \"4096B\" or \"64MiB\""
        ),
        (
            "logs.max_size = \"1 gig\"",
            "logs.max_size: cannot use \"1 gig\"; use a size with a unit (B, KiB, MiB, GiB, KB, MB, GB), "
                + "such as \"64MiB\""
        ),
        ("resources.memory_max = \"1KiB\"", "resources.memory_max: cannot use \"1KiB\"; use at least \"1MiB\""),
        (
            "resources.cpu_weight = 0",
            "resources.cpu_weight: cannot use 0; use a whole number from 1 to 10000, such as 100"
        ),
        (
            "resources.oom_score_adjust = 1001",
            "resources.oom_score_adjust: cannot use 1001; use a whole number from -1000 to 1000, such as 300"
        ),
        (
            "restart.backoff_jitter = 1.5",
            "restart.backoff_jitter: cannot use 1.5; use a number from 0.0 to 1.0, such as 0.2"
        ),
        (
            "restart.backoff_multiplier = 0.5",
            "restart.backoff_multiplier: cannot use 0.5; use a number from 1.0 to 100.0, such as 2.0"
        ),
        (
            "restart.backoff_jitter = nan",
            "restart.backoff_jitter: cannot use nan; use a number from 0.0 to 1.0, such as 0.2"
        ),
        (
            "restart.success_exit_codes = [0, 256]",
            "restart.success_exit_codes: cannot use 256; use a whole number from 0 to 255, such as 0"
        ),
        ("after = \"b\"", "after: cannot use \"b\"; use an array, such as [\"event-bus\"]"),
        ("restart = \"always\"", "restart: cannot use \"always\"; use a table, such as [services.a.restart]"),
        (
            "environment = [\"A=b\"]",
            "environment: cannot use [\"A=b\"]; use a table of texts, such as { LOG_LEVEL = \"info\" }"
        ),
        ("environment = { A = 1 }", "environment.A: cannot use 1; use a text: \"1\""),
        (
            "environment = { NOTIFY_SOCKET = \"x\" }",
            "environment.NOTIFY_SOCKET: cannot set NOTIFY_SOCKET; Eider sets it for each instance, remove it"
        ),
        (
            "environment = { \"a b\" = \"x\" }",
            "environment.\"a b\": cannot use \"a b\" as a variable's name; "
                + "use letters, digits and _, not beginning with a digit"
        ),
        (
            "sockets = [\"9100\"]",
            "sockets: cannot use \"9100\"; use \"host:port\" or \"unix:/path\", such as \"0.0.0.0:9100\""
        ),
        (
            "sockets = [\"web:9100\"]",
            "sockets: cannot use \"web:9100\"; no name is looked up to listen on: use a numeric host, "
                + "such as \"0.0.0.0:9100\""
        ),
        ("working_directory = \"tmp\"", "working_directory: cannot use \"tmp\"; use an absolute path, such as \"/\""),
        ("replica = 1", "replica: cannot use the key \"replica\"; did you mean \"replicas\"?"),
        ("policy = \"never\"", "policy: cannot use the key \"policy\"; did you mean \"restart.policy\"?"),
        ("stop.colour = 1", "stop.colour: cannot use the key \"colour\"; use signal or grace_period"),
    ]

    @Test(arguments: values)
    func value(line: String, text: String) {
        #expect(loadService(line).errors == "3: services.a." + text)
    }

    /// Lines of `[services.a]` from line 3 on, and the whole of what is said.
    static let combinations: [(String, String)] = [
        (
            "type = \"oneshot\"\nrestart.policy = \"always\"",
            "4: services.a.restart.policy: cannot use \"always\" with type = \"oneshot\"; use on-failure or never"
        ),
        (
            "liveness.watchdog = \"30s\"",
            "3: services.a.liveness.watchdog: cannot be used with type = \"simple\"; "
                + "set type = \"notify\", or \"0s\" for no watchdog"
        ),
        (
            "restart.backoff_max = \"1s\"\nrestart.backoff_initial = \"2s\"",
            "3: services.a.restart.backoff_max: cannot use \"1s\"; use at least backoff_initial, which is \"2s\""
        ),
        (
            "port_base = 65535\nreplicas = 2",
            "3: services.a.port_base: cannot use 65535 with 2 replicas; use at most 65534"
        ),
        (
            "port_base = 9000\nenvironment.PORT = \"1\"",
            "4: services.a.environment.PORT: cannot set PORT when port_base is set; "
                + "Eider sets it for each instance, remove one of them"
        ),
        (
            "environment.A = \"{port}\"",
            "3: services.a.environment.A: cannot fill in {port}; set port_base, or write {{port}} for the text {port}"
        ),
        (
            "working_directory = \"/x/{name}\"",
            "3: services.a.working_directory: cannot fill in {name}; use {service}, {index}, {node} or {port}, "
                + "or write {{name}} for the text {name}"
        ),
        (
            "readiness.http = \"http://h/\"\nreadiness.tcp = \"h:1\"",
            "4: services.a.readiness: cannot use http and tcp together; use exactly one of http, tcp, exec or grpc"
        ),
        (
            "readiness.period = \"1s\"",
            "3: services.a.readiness: cannot probe without a way to ask; use exactly one of http, tcp, exec or grpc"
        ),
        (
            "type = \"notify\"\nliveness.watchdog = \"9s\"\nliveness.timeout = \"1s\"",
            "5: services.a.liveness: cannot probe without a way to ask; use exactly one of http, tcp, exec or grpc"
        ),
        (
            "startup.period = \"1s\"",
            "3: services.a.startup: cannot probe without a way to ask; use exactly one of http, tcp, exec or grpc"
        ),
        (
            "type = \"notify\"\nstartup.tcp = \"h:1\"",
            "4: services.a.startup.tcp: cannot be used with type = \"notify\", which says READY=1 itself; "
                + "use \"simple\", or remove it"
        ),
        (
            "type = \"oneshot\"\nreadiness.tcp = \"h:1\"",
            "4: services.a.readiness.tcp: cannot be used with type = \"oneshot\", which does not stay; remove it"
        ),
        (
            "startup.http = \"http://h/{x}\"",
            "3: services.a.startup.http: cannot fill in {x}; use {service}, {index}, {node} or {port}, "
                + "or write {{x}} for the text {x}"
        ),
        ("readiness.tcp = \"h:x\"", "3: services.a.readiness.tcp: cannot use \"h:x\"; use host:port"),
        (
            "after = [\"a\"]",
            "3: services.a.after: cannot start in a circle: a after a; remove one of them"
        ),
        (
            "after = [\n  \"rooter\",\n  \"c\"]\n[services.router]\ncommand = [\"/b\"]",
            """
            4: services.a.after: cannot start after "rooter", which is not a service; did you mean "router"?
            5: services.a.after: cannot start after "c", which is not a service; define it or remove the name
            """
        ),
        (
            "sockets = [\"1.2.3.4:1\"]\n[services.b]\ncommand = [\"/b\"]\nsockets = [\"1.2.3.4:1\"]",
            "6: services.b.sockets: cannot listen on \"1.2.3.4:1\" again; service \"a\" already does"
        ),
        (
            "sockets = [\"unix:/run/x\", \"unix:/run/x\"]",
            "3: services.a.sockets: cannot listen on \"unix:/run/x\" again; service \"a\" already does"
        ),
        (
            "sockets = [\"0.0.0.0:1\"]\n[services.b]\ncommand = [\"/b\"]\nsockets = [\"localhost:1\", \"[::]:1\"]",
            """
            6: services.b.sockets: cannot listen on "localhost:1"; "0.0.0.0:1" of service "a" takes the same port
            6: services.b.sockets: cannot listen on "[::]:1"; "0.0.0.0:1" of service "a" takes the same port
            """
        ),
        (
            "sockets = [\"127.0.0.1:1\", \"127.0.0.2:1\", \"[::1]:1\", \"[::2]:1\"]",
            ""
        ),
        (
            "sockets = [\"10.0.0.1:8080\"]",
            "3: services.a.sockets: cannot listen on \"10.0.0.1:8080\"; Eider answers health checks on "
                + "\"0.0.0.0:8080\""
        ),
        (
            "sockets = [\"unix:/run/eider/control.sock\", \"unix:/run/eider/notify\"]",
            """
            3: services.a.sockets: cannot listen on "unix:/run/eider/control.sock"; it is control.socket
            3: services.a.sockets: cannot listen on "unix:/run/eider/notify"; it is the notify socket of workers
            """
        ),
        (
            "sockets = [\"0.0.0.0:9101\"]\n[services.b]\ncommand = [\"/b\"]\nreplicas = 2\nport_base = 9100",
            "3: services.a.sockets: cannot listen on \"0.0.0.0:9101\"; service \"b\" has ports 9100 to 9101"
        ),
        // Its own workers know which of the two they use.
        ("sockets = [\"0.0.0.0:9100\"]\nport_base = 9100", ""),
    ]

    @Test(arguments: combinations)
    func combination(lines: String, text: String) {
        #expect(loadService(lines).errors == text)
    }

    /// Whole files.
    static let fleets: [(String, String)] = [
        (
            "[services.a]",
            "1: services.a.command: cannot do without it; name program and arguments, "
                + "such as [\"/usr/bin/program\", \"argument\"]"
        ),
        (
            "[services.a]\ncommand = \"/bin/sleep 60\"",
            "2: services.a.command: cannot use \"/bin/sleep 60\"; use an array of program and arguments, "
                + "such as [\"/usr/bin/program\", \"argument\"]; there is no shell"
        ),
        (
            "[services.a]\ncommand = [\"sleep\"]",
            "2: services.a.command: cannot use \"sleep\"; use the program's absolute path, such as \"/usr/bin/program\""
        ),
        (
            "[services.a]\ncommand = []",
            "2: services.a.command: cannot use []; name a program, such as [\"/usr/bin/program\", \"argument\"]"
        ),
        (
            "[services.\"a/b\"]\ncommand = [\"/b\"]",
            "1: services.\"a/b\": cannot use the name \"a/b\"; "
                + "use 1 to 63 letters, digits and any of . _ -, beginning with a letter or digit"
        ),
        ("[services]\na = 1", "2: services.a: cannot use 1; use a table, such as [services.a]"),
        ("services = 1", "1: services: cannot use 1; use tables, such as [services.auth]"),
        ("[service.a]", "1: service: cannot use the key \"service\"; did you mean \"services\"?"),
        (
            "[drain]\ndeadline = \"10s\"\nnotice_max = \"20s\"",
            "2: drain.deadline: cannot use \"10s\"; use at least notice_max, which is \"20s\""
        ),
        (
            "[health]\nlisten = [\":8080\"]",
            "2: health.listen: cannot use \":8080\"; for every address use \"0.0.0.0:8080\""
        ),
        (
            "[health]\nlisten = [\"h:70000\"]",
            "2: health.listen: cannot use \"h:70000\"; use host:port, such as \"127.0.0.1:8080\" or \"[::1]:8080\""
        ),
        (
            "[health]\nlisten = [\"h:1\", \"h:1\"]",
            "2: health.listen: cannot listen on \"h:1\" twice; remove one"
        ),
        (
            "[breaker]\nstore = \"redis\"\n[breaker.redis]\ntls_ca_file = \"/x\"",
            """
            3: breaker.redis.addresses: cannot be empty when store = "redis"; name a server, such as ["redis-0:6379"]
            4: breaker.redis.tls_ca_file: cannot be used without TLS; set tls = true
            """
        ),
        (
            "[dependencies.\"svc.payment.v1\"]\nfailure_rate_threshold = 101",
            "2: dependencies.\"svc.payment.v1\".failure_rate_threshold: cannot use 101; "
                + "use a percentage from 0 to 100, such as 50"
        ),
        (
            "[defaults]\nreplicas = \"x\"\n[services.a]\ncommand = [\"/a\"]\n[services.b]\ncommand = [\"/b\"]",
            "2: defaults.replicas: cannot use \"x\"; use a whole number from 0 to 10000, such as 2"
        ),
        (
            """
            [services.b]
            command = ["/b"]
            port_base = 9101
            [services.a]
            command = ["/a"]
            port_base = 9100
            replicas = 2
            """,
            "6: services.a.port_base: cannot use ports 9100 to 9101; service \"b\" has port 9101"
        ),
        (
            """
            [services.a]
            command = ["/a"]
            after = ["b"]
            [services.b]
            command = ["/b"]
            after = ["c"]
            [services.c]
            command = ["/c"]
            after = ["b"]
            """,
            "6: services.b.after: cannot start in a circle: b after c after b; remove one of them"
        ),
    ]

    @Test(arguments: fleets)
    func fleet(text: String, errors: String) {
        #expect(load(text).errors == errors)
    }

    @Test func everyErrorIsReportedAtOnceInOrder() {
        let text = """
            [node]
            nam = "x"
            [services.a]
            replicas = "x"
            command = ["/a", "{x}"]
            [control]
            socket = "run"
            """
        let lines = load(text).errors.split(separator: "\n").map { String($0.prefix { $0 != ":" }) }
        #expect(lines == ["2", "4", "5", "7"])
    }

    @Test func errorsAreBounded() {
        let text = "[services.a]\n" + (0..<3000).map { "key\($0) = 1\n" }.joined()
        guard case .failure(let errors) = load(text) else {
            Issue.record("unknown keys were accepted")
            return
        }
        #expect(errors.diagnostics.count == ConfigurationErrors.limit + 1)
        #expect(errors.diagnostics.last?.text == "there are more errors; only the first 1000 are shown")
    }

    @Test func diagnosticsStayOnOneLine() {
        let errors = loadService("type = \"a\\nb\\u001b[2J\"").errors
        #expect(errors == "3: services.a.type: cannot use \"a\\nb\\u001B[2J\"; use simple, notify or oneshot")
    }
}
