import Testing

@testable import SupervisorCore

/// Whether a load balancer has understood.
struct NoticeTests {
    private static let start = MonotonicInstant(nanoseconds: 1_000_000_000_000)
    private static let now = start.advanced(by: .seconds(10))

    private static func sighting(_ agent: String = "x", _ change: (inout ProberSighting) -> Void = { _ in })
        -> ProberSighting
    {
        var sighting = ProberSighting(
            identity: .init(address: "10.0.0.1", userAgent: agent, path: "/", host: ""),
            target: nil,
            lastAt: now,
            told: "503"
        )
        (sighting.requests, sighting.period) = (10, .seconds(5))
        change(&sighting)
        return sighting
    }

    private static func isGiven(_ sighting: ProberSighting) -> Bool {
        NoticePolicy.acknowledgement(of: sighting, since: start, now).isGiven
    }

    @Test(arguments: [("x", 3), ("Envoy/HC", 1), ("ELB-HealthChecker/2.0", 2), ("", 3), ("GoogleHC/1.0", 3)])
    func `answers in a row until one counts as told`(agent: String, needed: Int) {
        for count in 0...5 {
            #expect(
                Self.isGiven(Self.sighting(agent) { $0.outInARow = count }) == (count >= needed),
                "\(agent) \(count)"
            )
        }
    }

    @Test(arguments: ["NOLB", "DOWN", "DRAIN", "MAINT", "UP", "", "NOPE"])
    func `HAProxy says itself what it makes of us`(state: String) {
        let isOut = ["NOLB", "DOWN", "DRAIN", "MAINT"].contains(state)
        // However often it was told: it may want more answers than others.
        let told = Self.sighting { ($0.haproxyState, $0.haproxySessions, $0.outInARow) = (state, 0, 50) }
        #expect(Self.isGiven(told) == isOut)
        let busy = Self.sighting { ($0.haproxyState, $0.haproxySessions) = (state, 1) }
        #expect(!Self.isGiven(busy))
        let early = Self.sighting {
            ($0.haproxyState, $0.haproxySessions, $0.lastAt) = (state, 0, Self.start.advanced(by: .milliseconds(-1)))
        }
        #expect(!Self.isGiven(early))
    }

    @Test func `the agent's word counts at once`() {
        #expect(Self.isGiven(Self.sighting { ($0.isAgent, $0.outInARow, $0.told) = (true, 1, "drain") }))
        #expect(!Self.isGiven(Self.sighting { ($0.isAgent, $0.outInARow, $0.told) = (true, 0, "up") }))
    }

    @Test func `one that has stopped asking is not waited for`() {
        for (ago, isGiven) in [(14, false), (16, true)] {
            let sighting = Self.sighting { $0.lastAt = Self.now.advanced(by: .seconds(-ago)) }
            #expect(Self.isGiven(sighting) == isGiven)
        }
        let noPeriod = Self.sighting { ($0.lastAt, $0.period) = (Self.start, nil) }
        #expect(!Self.isGiven(noPeriod))
    }

    @Test func `whose business a drain is`() throws {
        let (auth, first) = (Target.service("auth"), Target.instance(InstanceID(service: "auth", index: 0)))
        let second = Target.instance(InstanceID(service: "auth", index: 1))
        func concerns(_ asked: Target?, _ drained: Target?, takesOut: Bool = false) -> Bool {
            NoticePolicy.concerns(Self.sighting { $0.target = asked }, drained, takesServiceOut: takesOut, Self.now)
        }
        for asked in [nil, auth, first, .service("db")] { #expect(concerns(asked, nil)) }
        #expect(
            concerns(auth, auth) && concerns(first, auth) && !concerns(nil, auth) && !concerns(.service("db"), auth)
        )
        #expect(concerns(first, first) && !concerns(second, first) && !concerns(auth, first))
        #expect(concerns(auth, first, takesOut: true))
    }

    @Test func `who is no prober`() {
        func concerns(_ sighting: ProberSighting) -> Bool {
            NoticePolicy.concerns(sighting, nil, takesServiceOut: true, Self.now)
        }
        #expect(concerns(Self.sighting()))
        #expect(concerns(Self.sighting { $0.requests = 3 }))
        #expect(!concerns(Self.sighting { $0.requests = 2 }))
        #expect(!concerns(Self.sighting { $0.lastAt = Self.now.advanced(by: .seconds(-121)) }))
        for agent in ["Prometheus/2.42", "Blackbox Exporter/0.23", "Monit/5.33"] {
            #expect(!concerns(Self.sighting(agent)))
        }
    }
}
