import LinuxPlatform
import SupervisorCore

/// The fleet that real clients look at.
///
/// The rows are those of the table of conformance tests in the design's research (§6):
///
/// | rows | of what | in |
/// |---|---|---|
/// | H1 to H3, H8, H9, H12 | HAProxy's checks | `HAProxyTests` |
/// | H5 to H7 | a stop, and what fails, as HAProxy sees it | `HAProxyTests` |
/// | H4 to H7 | a drain and its end, as HAProxy sees them | `DrainClientTests` |
/// | H10, H11, N1 | nodes drained in turn under load | `DrainLoadTests` |
/// | N2 | rolling restarts under load | `RollClientTests` |
/// | N3, C1 to C3 | who asks and looks at the answer | `RequestTests`; C2 of a drain in `DrainClientTests` |
/// | W1, A1, L1 | who asks as fast as possible | `LoadTests` |
/// | P1 to P3, M1, M2 | what watches | `MonitoringTests`; P1 of a drain in `DrainClientTests` |
/// | K1 | what speaks oddly | `RawSocketTests` |
///
/// Left out: H13 and X5, which are about Redis. How long drains take, and what becomes of them when the daemon dies, is
/// in `DrainLifeTests`.
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
