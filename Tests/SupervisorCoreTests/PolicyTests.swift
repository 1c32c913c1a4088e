import Simulation
import Testing

@testable import SupervisorCore

struct PolicyTests {
    private let schedule = BackoffSchedule(
        initial: .milliseconds(500),
        multiplier: 2,
        maximum: .seconds(60),
        jitter: 0.2
    )

    // MARK: Backoff

    @Test func `the first restart after a stable run is immediate, then delays double up to the maximum`() {
        let delays = (0...9).map { schedule.delay(afterCrashes: $0) }
        #expect(delays.first == .zero)
        let seconds = [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
        #expect(delays.dropFirst().map(\.inSeconds) == seconds)
    }

    @Test func `jitter spreads each delay by its fraction to both sides`() {
        var generator = SeededGenerator(seed: 1)
        var lowest = 1e9
        var highest = 0.0
        for _ in 0..<10_000 {
            let delay = schedule.delay(afterCrashes: 2, drawnFrom: &generator).inSeconds
            lowest = min(lowest, delay)
            highest = max(highest, delay)
        }
        #expect(lowest >= 0.8 && lowest < 0.805)
        #expect(highest <= 1.2 && highest > 1.195)
    }

    @Test func `it never gives up, and no number makes it overflow`() {
        var generator = SeededGenerator(seed: 1)
        #expect(schedule.delay(afterCrashes: .max) == .seconds(60))
        #expect(schedule.delay(afterCrashes: .min) == .zero)
        for multiplier in [0, 1, 1e300, .infinity, .nan, -1] {
            for jitter in [0, 1, 5, -1, Double.infinity, .nan] {
                for maximum in [Duration.zero, .seconds(60), .seconds(Int64.max), .seconds(-5)] {
                    let schedule = BackoffSchedule(
                        initial: .seconds(1),
                        multiplier: multiplier,
                        maximum: maximum,
                        jitter: jitter
                    )
                    for crashes in [1, 2, 100, 100_000] {
                        #expect(schedule.delay(afterCrashes: crashes, drawnFrom: &generator) >= .zero)
                    }
                }
            }
        }
    }

    @Test func `without an initial delay there is none`() {
        var schedule = schedule
        schedule.initial = .zero
        #expect(schedule.delay(afterCrashes: 10) == .zero)
    }

    // MARK: The generator

    @Test func `the generator gives the published numbers of SplitMix64`() {
        var generator = SeededGenerator(seed: 1_234_567)
        let numbers = (0..<5).map { _ in generator.next() }
        let published: [UInt64] = [
            6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
            4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
        ]
        #expect(numbers == published)
    }

    @Test func `units lie from 0 up to, not including, 1, and are spread evenly`() {
        var generator = SeededGenerator(seed: 7)
        var sum = 0.0
        for _ in 0..<10_000 {
            let unit = generator.unit()
            #expect(unit >= 0 && unit < 1)
            sum += unit
        }
        #expect(abs(sum / 10_000 - 0.5) < 0.02)
    }

    // MARK: Time

    @Test func `durations are short in sentences`() {
        let texts: [(Duration, String)] = [
            (.zero, "0ms"), (.microseconds(400), "0ms"), (.milliseconds(250), "250ms"), (.milliseconds(999), "999ms"),
            (.milliseconds(1_500), "1.5s"), (.seconds(2), "2s"), (.milliseconds(12_900), "12s"), (.seconds(60), "1m"),
            (.seconds(95), "1m 35s"), (.seconds(3_600), "1h"), (.seconds(3_900), "1h 5m"), (.seconds(86_400), "1d"),
            (.seconds(90_000), "1d 1h"), (.seconds(-5), "-5s"),
        ]
        for (duration, text) in texts { #expect(duration.brief == text) }
        #expect(!Duration.seconds(Int64.max).brief.isEmpty)
        #expect(Duration.nanoseconds(Int64.min).brief.hasPrefix("-"))
    }

    @Test func `instants saturate instead of overflowing`() {
        let zero = MonotonicInstant(nanoseconds: 0)
        let last = MonotonicInstant(nanoseconds: .max)
        let first = MonotonicInstant(nanoseconds: .min)
        #expect(last.advanced(by: .seconds(1)) == last)
        #expect(first.advanced(by: .seconds(-1)) == first)
        #expect(zero.advanced(by: .seconds(Int64.max)) == last)
        #expect(last.since(first) == .nanoseconds(Int64.max))
        #expect(first.since(last) == .nanoseconds(Int64.min))
        #expect(Duration.seconds(Int64.max).clampedNanoseconds == .max)
        #expect(Duration.seconds(Int64.min).clampedNanoseconds == .min)
    }
}
