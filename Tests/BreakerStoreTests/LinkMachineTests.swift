import SupervisorCore
import Testing

@testable import BreakerStore

@Suite struct LinkMachineTests {
    private let one = RedisAddress(host: "one", port: 1)
    private let two = RedisAddress(host: "two", port: 2)
    private let three = RedisAddress(host: "three", port: 3)
    private let lost = StoreFailure(kind: .unreachable, text: "lost")

    private func machine(_ seeds: [RedisAddress]) -> LinkMachine {
        LinkMachine(seeds: seeds, limits: LinkLimits(), seed: 1)
    }

    private func delay(_ effects: [LinkMachine.Effect]) -> Int64? {
        for case .wait(let delay) in effects { return delay }
        return nil
    }

    @Test func itConnectsAndTells() {
        var link = machine([one])
        #expect(link.handle(.start, at: 0) == [.connect(one)])
        #expect(link.handle(.start, at: 0) == [])
        #expect(!link.isUp)
        #expect(link.handle(.ready, at: 1) == [.tellConnected])
        #expect(link.isUp && link.address == one)
    }

    @Test func aReasonIsToldOnce() {
        var link = machine([one])
        _ = link.handle(.start, at: 0)
        let first = link.handle(.failed(lost), at: 0)
        #expect(first.starts(with: [.close(lost), .tellDisconnected(lost)]))
        _ = link.handle(.timer, at: 100)
        let second = link.handle(.failed(lost), at: 100)
        #expect(!second.contains(.tellDisconnected(lost)) && delay(second) != nil)
        _ = link.handle(.timer, at: 200)
        let other = StoreFailure(kind: .tls, text: "tls")
        #expect(link.handle(.failed(other), at: 200).contains(.tellDisconnected(other)))
        // After a connection the old reason is news again.
        _ = link.handle(.timer, at: 300)
        _ = link.handle(.ready, at: 300)
        #expect(link.handle(.failed(other), at: 301).contains(.tellDisconnected(other)))
    }

    @Test func waitsGrowToTheirBoundWithFullJitter() {
        var longest: [Int64] = Array(repeating: 0, count: 12)
        for seed in 0..<300 {
            var link = LinkMachine(seeds: [one], limits: LinkLimits(), seed: UInt64(seed))
            _ = link.handle(.start, at: 0)
            for attempt in 0..<12 {
                let wait = delay(link.handle(.failed(lost), at: 0)) ?? -1
                let ceiling = min(10_000, Int64(100) << Int64(attempt))
                #expect(wait >= 1 && wait <= ceiling)
                longest[attempt] = max(longest[attempt], wait * 100 / ceiling)
                _ = link.handle(.timer, at: 0)
            }
        }
        #expect(longest.allSatisfy { $0 > 90 }, "\(longest)")
    }

    @Test func whoIsNotLetInWaitsLong() {
        var link = machine([one])
        _ = link.handle(.start, at: 0)
        let wait = delay(link.handle(.failed(StoreFailure(kind: .auth, text: "no")), at: 0)) ?? 0
        #expect(wait >= 30_000)
    }

    @Test func aGoodConnectionForgetsFailures() {
        var link = machine([one])
        _ = link.handle(.start, at: 0)
        for _ in 0..<10 {
            _ = link.handle(.failed(lost), at: 0)
            _ = link.handle(.timer, at: 0)
        }
        _ = link.handle(.ready, at: 0)
        #expect((delay(link.handle(.failed(lost), at: 10_000)) ?? 0) <= 100)
    }

    @Test func everyAddressIsTried() {
        var link = machine([one, two])
        _ = link.handle(.start, at: 0)
        _ = link.handle(.view(owner: one, nodes: [one, two, three]), at: 0)
        var tried: [RedisAddress] = []
        for _ in 0..<3 {
            _ = link.handle(.failed(lost), at: 0)
            for case .connect(let address) in link.handle(.timer, at: 0) { tried.append(address) }
        }
        #expect(Set(tried) == [one, two, three])
    }

    @Test func theOwnerIsFollowedSoFar() {
        var link = machine([one])
        _ = link.handle(.start, at: 0)
        #expect(link.handle(.view(owner: one, nodes: [one, two]), at: 0) == [])
        for hop in 0..<4 {
            let next = hop % 2 == 0 ? two : one
            #expect(link.handle(.view(owner: next, nodes: [one, two]), at: 0) == [.connect(next)])
        }
        #expect(delay(link.handle(.view(owner: two, nodes: []), at: 0)) != nil)
        _ = link.handle(.timer, at: 0)
        #expect(delay(link.handle(.view(owner: nil, nodes: []), at: 0)) != nil)
    }

    @Test func aSlotThatMovesIsNoLoss() {
        var link = machine([one])
        _ = link.handle(.start, at: 0)
        _ = link.handle(.ready, at: 0)
        #expect(link.handle(.moved(two), at: 5) == [.connect(two)])
        #expect(link.handle(.ready, at: 6) == [.tellConnected])
        #expect(link.handle(.view(owner: two, nodes: [one, two]), at: 7) == [])
        #expect(link.handle(.view(owner: nil, nodes: [one, two]), at: 7) == [])
        #expect(link.handle(.view(owner: one, nodes: [one, two]), at: 8) == [.connect(one)])
    }

    @Test func slowIsNotDownUntilItLasts() {
        var link = machine([one])
        let slow = StoreFailure(kind: .timeout, text: "slow")
        _ = link.handle(.start, at: 0)
        _ = link.handle(.ready, at: 0)
        for moment in 0..<4 { #expect(link.handle(.timedOut(slow), at: Int64(moment) * 1_000) == []) }
        _ = link.handle(.answered, at: 4_000)
        for moment in 0..<9 { #expect(link.handle(.timedOut(slow), at: 5_000 + Int64(moment)) == []) }
        #expect(link.handle(.timedOut(slow), at: 7_000).contains(.tellDisconnected(slow)))
    }

    @Test func everyStateAnswersEveryEvent() {
        let events: [LinkMachine.Event] = [
            .start, .view(owner: two, nodes: [two]), .view(owner: nil, nodes: []), .ready, .failed(lost), .moved(three),
            .answered, .timedOut(lost), .timer,
        ]
        for first in events {
            for second in events {
                for third in events {
                    var link = machine([one, two])
                    for event in [.start, first, second, third] {
                        let effects = link.handle(event, at: 1)
                        // Waiting always has a timer, connecting always an attempt: it is never stuck.
                        if link.state == .waiting, event != .start, !effects.isEmpty { #expect(delay(effects) != nil) }
                    }
                    #expect(link.handle(.stop, at: 2).count == 1)
                    for event in events { #expect(link.handle(event, at: 3) == []) }
                }
            }
        }
    }

    @Test func withoutAddressesItOnlyWaits() {
        var link = machine([])
        #expect(delay(link.handle(.start, at: 0)) != nil)
        #expect(delay(link.handle(.timer, at: 1)) != nil)
    }
}
