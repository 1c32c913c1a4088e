import LinuxPlatform
import SupervisorCore

/// The fleet that real clients look at.
///
/// The rows are those of the table of conformance tests in the design's research (§6): H1 to H3, H6 to H9 and H12 in
/// `HAProxyTests`; N3 and C1 to C3 in `RequestTests`; W1, A1 and L1 in `LoadTests`; P1 to P3, M1 and M2 in
/// `MonitoringTests`; K1 in `RawSocketTests`. Left out: H4 (an acknowledged drain), and the way back in H5 and H6,
/// which need the verb `drain`. Until there is one, the fleet's orderly stop is what drains: it shows the same state.
enum ClientFleet {
    /// Something that others depend on, and something with two replicas that is down for a while when it dies.
    static let services = """
        [services.store]
        command = ["WORKER", "--no-listen"]
        type = "notify"
        critical = true
        [services.orders]
        command = ["WORKER", "--no-listen"]
        type = "notify"
        replicas = 2
        restart.backoff_initial = "1s"
        restart.backoff_jitter = 0.0

        """

    /// A service whose stop takes three seconds, during which the fleet is draining.
    static let slowToStop = """
        [services.slow]
        command = ["WORKER", "--no-listen", "--ignore-sigterm"]
        type = "notify"
        stop.grace_period = "3s"
        restart.backoff_initial = "1s"
        restart.backoff_jitter = 0.0

        """

    /// One of its two replicas cannot live, so that it is degraded for ever.
    static let halves = """
        [services.halves]
        command = ["/bin/sh", "-c", "test $EIDER_INDEX = 0 && exec sleep 1000; exit 1"]
        type = "simple"
        replicas = 2
        restart.backoff_initial = "60s"

        """

    /// A fleet with health and agent on free ports, all of it ready.
    static func started(_ more: String = "") throws -> Fleet {
        let fleet = try Fleet(
            services + more,
            ["health": "listen = [\"127.0.0.1:0\"]\nagent_listen = [\"127.0.0.1:0\"]"]
        )
        try fleet.startAndWait()
        return fleet
    }

    /// Runs eiderctl, which must succeed.
    static func control(_ fleet: Fleet, _ words: String...) throws {
        let answer = try Command.run([Command.programs + "/eiderctl", "--socket", fleet.socket] + words)
        if answer.exitCode != 0 { throw TestFailure("eiderctl \(words): \(answer.errors)\n\(fleet.log.suffix(9000))") }
    }
}
