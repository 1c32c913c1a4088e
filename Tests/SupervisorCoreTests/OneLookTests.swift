import Testing

@testable import SupervisorCore

/// Somebody who looks by hand holds no drain up.
struct OneLookTests {
    @Test func whoAskedInOneBurstIsNoProber() {
        let now = MonotonicInstant(nanoseconds: 1_000_000_000_000)
        var sighting = ProberSighting(
            identity: .init(address: "127.0.0.1", userAgent: "curl/7.88.1", path: "/readyz", host: "localhost:8080"),
            target: nil,
            lastAt: now,
            told: "200"
        )
        sighting.requests = 20
        #expect(!NoticePolicy.concerns(sighting, nil, takesServiceOut: true, now))
        sighting.period = .seconds(5)
        #expect(NoticePolicy.concerns(sighting, nil, takesServiceOut: true, now))
    }
}
