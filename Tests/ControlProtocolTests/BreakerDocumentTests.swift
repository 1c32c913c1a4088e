import ControlProtocol
import StatusBoard
import SupervisorCore
import Testing

/// What is said of breakers.
@Suite struct BreakerDocumentTests {
    private static let now = MonotonicInstant(nanoseconds: 100_000_000_000)
    private static let offset: Int64 = 1_795_248_724_120_000_000 - 100_000_000_000

    private func snapshot(_ change: (inout BreakersStatus) -> Void) -> StatusBoard.Snapshot {
        var fleet = FleetStatus(node: NodeStatus(name: "host-a", state: .healthy, since: Self.now))
        change(&fleet.breakers)
        return StatusBoard(fleet: fleet, now: Self.now, wallClockOffset: Self.offset).snapshot
    }

    private func open(_ name: String) -> BreakerStatus {
        var breaker = BreakerStatus(
            name: name,
            kind: .service,
            state: .open,
            since: Self.now.advanced(by: .seconds(-4))
        )
        breaker.reason = "5 crashes within 1m"
        breaker.openedBy = "host-b"
        breaker.retryAt = Self.now.advanced(by: .milliseconds(6_500))
        (breaker.votes, breaker.suspects, breaker.quorum) = (["host-a", "host-b"], ["host-c"], 2)
        breaker.openings = 1
        breaker.crashes = 5
        breaker.counts.notPermittedOpen = 3
        return breaker
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    @Test func sharedAndOpen() throws {
        let snapshot = snapshot {
            ($0.store, $0.liveHosts) = (.redis, 3)
            $0.breakers = [open("service:auth@r7")]
        }
        let document = BreakerDocument(snapshot, now: Self.now)
        let one =
            #""name":"service:auth@r7","kind":"service","state":"open","since":"2026-11-21T08:12:00.120Z","#
            + #""reason":"5 crashes within 1m","retry_in_seconds":6.5,"opened_by":"host-b","votes":2,"quorum":2,"#
            + #""voters":["host-a","host-b"],"suspects":["host-c"],"openings":1,"crashes":5,"not_permitted":3"#
        #expect(text(document.json) == #"{"store":"redis","live_hosts":3,"breakers":[{"# + one + "}]}")
        for name in ["auth", "service:auth", "service:auth@r7"] {
            #expect(try text(document.json(of: name)) == "{" + one + #","store":"redis"}"#)
        }
    }

    @Test func aDependencyTellsItsRates() throws {
        let snapshot = snapshot {
            ($0.store, $0.storeProblem) = (.island, "cannot reach Redis")
            var breaker = BreakerStatus(name: "pay", kind: .dependency, state: .closed, since: Self.now)
            (breaker.bufferedCalls, breaker.failureRate, breaker.slowCallRate) = (40, 12.5, 0)
            $0.breakers = [breaker]
        }
        let text = text(BreakerDocument(snapshot, now: Self.now).json)
        #expect(text.hasPrefix(#"{"store":"island","store_problem":"cannot reach Redis","breakers":[{"name":"pay""#))
        #expect(text.contains(#""calls":40,"failure_rate":12.5,"slow_call_rate":0"#))
    }

    @Test func whatIsNotThereIsNamedWithWhatIs() {
        let snapshot = snapshot { $0.breakers = [open("service:auth@r7")] }
        #expect {
            try BreakerDocument(snapshot, now: Self.now).json(of: "auht")
        } throws: { error in
            (error as? ControlError)?.message == "cannot find a breaker named \"auht\"; did you mean \"auth\"?"
        }
    }
}
