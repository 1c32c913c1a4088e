/// Processes beside the server, for trying what a supervisor does with a worker's whole tree.
enum Children {
    /// A chain of processes ends after so many, should nobody end it.
    static let stormLimit = 20_000

    static func start(_ options: WorkerOptions) {
        for _ in 0..<options.children {
            if options.childrenAreDaemons {
                launch(["--as-daemon-parent"], options, newSession: false)
            } else {
                launch(["--as-child"], options, newSession: options.childrenLeaveSession)
            }
        }
        for _ in 0..<options.storms {
            launch(["--as-storm", "0"], options, newSession: options.childrenLeaveSession)
        }
    }

    /// Sits there until a signal ends it.
    static func live(ignoringTermination: Bool) -> Never {
        if ignoringTermination { System.ignoreTermination() }
        System.hang()
    }

    /// The middle process of a double fork: its child outlives it, so that its parent is whoever adopts orphans.
    static func startDaemonAndExit(_ options: WorkerOptions) -> Never {
        launch(["--as-child"], options, newSession: true)
        System.exit(0)
    }

    static func continueStorm(_ options: WorkerOptions, generation: Int) -> Never {
        if generation < stormLimit {
            launch(["--as-storm", String(generation + 1)], options, newSession: options.childrenLeaveSession)
        }
        System.exit(0)
    }

    private static func launch(_ role: [String], _ options: WorkerOptions, newSession: Bool) {
        var arguments = role
        if options.ignoresTermination { arguments.append("--ignore-sigterm") }
        if options.childrenLeaveSession { arguments.append("--fork-setsid") }
        let code = System.startSelf(arguments, newSession: newSession)
        if code != 0 { System.complain("cannot start a child: \(System.errorText(code))") }
    }
}
