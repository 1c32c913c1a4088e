import StatusBoard
import SupervisorCore

/// What probes found, what is not done and by which rule, and how far readiness is damped: members that `status` and
/// `why` share.
struct HealthDocument {
    let instance: InstanceStatus
    let snapshot: StatusBoard.Snapshot
    let now: MonotonicInstant

    func write(_ writer: inout JSONWriter) {
        if !instance.checks.isEmpty {
            writer.member(
                "probes",
                array: { list in
                    for check in instance.checks { list.object { write(check, &$0) } }
                }
            )
        }
        if !instance.suppressions.isEmpty {
            writer.member(
                "suppressed",
                array: { list in
                    for suppression in instance.suppressions { list.object { write(suppression, &$0) } }
                }
            )
        }
        if let flaps = instance.flaps {
            writer.member("flap_penalty", Int(flaps.penalty(at: now)))
            writer.member("flapping", flaps.isHeld)
        }
    }

    private func write(_ check: CheckStatus, _ writer: inout JSONWriter) {
        writer.member("kind", check.kind.name)
        writer.member("state", check.state.rawValue)
        if check.failures > 0 {
            writer.member("failures_in_a_row", check.failures)
            if let since = check.failingSince { writer.member("failing_since", time(since)) }
            writer.member("text", check.text)
        }
        // Could not be run: never a failure, and the state stays what it was.
        writer.member("unknown", ifPresent: check.obstacle)
    }

    private func write(_ suppression: Suppression, _ writer: inout JSONWriter) {
        writer.member("rule", suppression.rule.rawValue)
        writer.member("text", suppression.text)
        writer.member("since", time(suppression.since))
    }

    private func time(_ instant: MonotonicInstant) -> String { Timestamp.rfc3339(snapshot.wallClock(instant)) }
}
