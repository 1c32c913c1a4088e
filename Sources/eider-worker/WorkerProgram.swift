import NIOPosix

/// A small real service: what the example fleet and the tests run.
enum WorkerProgram {
    /// Runs until it is stopped, crashes or was called wrongly.
    static func run(arguments: [String]) -> Never {
        let options: WorkerOptions
        do throws(UsageError) {
            options = try WorkerOptions(arguments: Array(arguments.dropFirst()), environment: System.environment)
        } catch {
            System.complain("\(error.message); eider-worker --help lists the switches")
            System.exit(64)
        }
        switch options.role {
        case .help:
            System.say(WorkerOptions.help)
            System.exit(0)
        case .child:
            Children.live(ignoringTermination: options.ignoresTermination)
        case .daemonParent:
            Children.startDaemonAndExit(options)
        case .storm(let generation):
            Children.continueStorm(options, generation: generation)
        case .server:
            serve(options)
        }
    }

    private static func serve(_ options: WorkerOptions) -> Never {
        if options.crashesOnStart {
            System.complain("told to crash on start")
            System.crash(options.crash)
        }
        guard let signals = System.openSignals(ignoringTermination: options.ignoresTermination) else {
            System.complain("cannot watch for signals: \(System.errorText())")
            System.exit(1)
        }
        // One thread for everything: a worker of the example fleet should cost a laptop little.
        MultiThreadedEventLoopGroup.withCurrentThreadAsEventLoop { loop in
            let worker = Worker(options: options, loop: loop)
            worker.start(signals: signals)
        }
        System.exit(0)
    }
}
