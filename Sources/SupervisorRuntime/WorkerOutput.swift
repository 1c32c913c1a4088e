import SupervisorCore

/// What workers and the daemon itself say, and the threads that take it to memory and disk.
struct WorkerOutput {
    let writer: LogWriter
    let collector: LogCollector
    let history: EventHistory
    let log: DaemonLog

    init(stateDirectory: String, log: DaemonLog, onProblem: @escaping @Sendable (LogProblem) -> Void) throws(LogError) {
        writer = try LogWriter(stateDirectory: stateDirectory, report: onProblem)
        collector = try LogCollector(writer: writer)
        history = EventHistory(writer: writer)
        self.log = log
        try writer.start()
        try collector.start()
        log.attach(writer)
    }

    /// Takes what is left to memory and disk and ends the threads: before the process ends.
    func stop() {
        _ = collector.stop()
        log.detach()
        _ = writer.stop()
    }
}
