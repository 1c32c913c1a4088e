import SupervisorCore
import Testing

@testable import Prober

/// The schedule, with a clock of its own.
@Suite("Schedule")
struct AgendaTests {
    private static let second = Duration.seconds(1)

    /// An agenda and what it has said, in tenths of a second.
    private final class Bench {
        var agenda: Agenda
        var now = MonotonicInstant(nanoseconds: 0)
        var begun: [(key: ProbeKey, run: UInt64, at: Int64)] = []
        var reports: [(text: String, at: Int64)] = []

        init(_ limits: ProberLimits = ProberLimits()) { agenda = Agenda(limits: limits) }

        func watch(_ index: Int, period: Duration, timeout: Duration = .seconds(2), firstAt: Duration = .zero) {
            guard let question = ProbeQuestion(tcpAddress: "127.0.0.1:1") else { return }
            let wish = ProbeWish(
                plan: ProbePlan(question),
                period: period,
                timeout: timeout,
                firstAt: MonotonicInstant(nanoseconds: 0).advanced(by: firstAt)
            )
            _ = agenda.watch(Asker.key(index), wish, at: now)
        }

        /// Goes there in one step, as after a stall.
        func jump(to time: Duration, lateness: Duration = .zero, finish: Bool = true) {
            now = MonotonicInstant(nanoseconds: 0).advanced(by: time)
            var steps: [Agenda.Step] = []
            agenda.advance(to: now, lateness: lateness, &steps)
            while !steps.isEmpty {
                let taken = steps
                steps = []
                for step in taken { follow(step, finish) }
                agenda.begin(now, &steps)
            }
        }

        /// Goes there as a loop would that is never late.
        func run(to time: Duration, finish: Bool = true) {
            let end = MonotonicInstant(nanoseconds: 0).advanced(by: time)
            while let wake = agenda.nextWake(after: now), wake <= end {
                jump(to: wake.since(MonotonicInstant(nanoseconds: 0)), finish: finish)
            }
            jump(to: time, finish: finish)
        }

        private func follow(_ step: Agenda.Step, _ finish: Bool) {
            let tenths = now.nanoseconds / 100_000_000
            switch step {
            case .begin(let order):
                begun.append((order.key, order.run, tenths))
                if finish { _ = agenda.finished(order.run, at: now) }
            case .report(let report): reports.append((Self.text(report.outcome), tenths))
            case .expire(let run, let outcome):
                if agenda.finished(run, at: now) != nil { reports.append((Self.text(outcome), tenths)) }
            }
        }

        private static func text(_ outcome: ProbeOutcome) -> String {
            switch outcome {
            case .success: "success"
            case .failure(let text, _): text
            case .unknown(let obstacle, let text): "\(obstacle): \(text)"
            }
        }

        var times: [Int64] { begun.map(\.at) }
        var texts: [String] { reports.map(\.text) }
    }

    @Test("every period from the first time on, however long a probe takes")
    func noDrift() {
        let bench = Bench()
        bench.watch(0, period: .seconds(5), timeout: .seconds(2), firstAt: .milliseconds(300))
        bench.run(to: .seconds(16), finish: false)
        #expect(bench.times == [3, 53, 103, 153])
        #expect(bench.texts == Array(repeating: "did not answer within 2s", count: 3))
        #expect(bench.reports.map(\.at) == [23, 73, 123])
    }

    @Test("a thousand periods of a third of a second do not drift by a nanosecond")
    func exact() {
        let first = MonotonicInstant(nanoseconds: 17)
        let period = Duration.nanoseconds(333_333_333)
        var due = first
        for count in 1...1000 {
            // Late by up to a period, never by the same.
            let late = Duration.nanoseconds(Int64(count * 331_337 % 333_333_333))
            due = Agenda.next(after: due.advanced(by: late), from: first, every: period)
            #expect(due.nanoseconds == 17 + Int64(count) * 333_333_333)
        }
    }

    @Test("times at the edge of what 64 bits hold")
    func saturation() {
        let last = MonotonicInstant(nanoseconds: .max)
        #expect(Agenda.next(after: last, from: .init(nanoseconds: 0), every: .seconds(1)) == last)
        #expect(Agenda.next(after: last, from: .init(nanoseconds: .min), every: .nanoseconds(1)) == last)
        let never = Agenda.next(after: .init(nanoseconds: 5), from: .init(nanoseconds: 0), every: .seconds(1 << 60))
        #expect(never == last)
        let bench = Bench()
        bench.watch(0, period: .seconds(1 << 60), timeout: .seconds(1 << 60))
        bench.run(to: .seconds(100))
        #expect(bench.times == [0])
        bench.watch(1, period: .zero, timeout: .zero)
        bench.run(to: .milliseconds(100_100))
        #expect(bench.times.count <= 12)
    }

    @Test("after a stall one is reported as not run, and the next comes on its time: no burst")
    func stall() {
        let bench = Bench()
        bench.watch(0, period: .seconds(1))
        bench.run(to: .seconds(2))
        bench.jump(to: .milliseconds(9_500), lateness: .milliseconds(6_500))
        #expect(bench.times == [0, 10, 20])
        #expect(bench.texts == ["busy: the checker was held up for 6.5s"])
        bench.run(to: .seconds(12))
        #expect(bench.times == [0, 10, 20, 100, 110, 120])
    }

    @Test("a little late is run: half a period, at least a second, less than the timeout")
    func tolerated() {
        let bench = Bench()
        bench.watch(0, period: .seconds(10), timeout: .seconds(30))
        bench.watch(1, period: .seconds(1), timeout: .seconds(30))
        bench.watch(2, period: .seconds(10), timeout: .milliseconds(500))
        bench.run(to: .zero)
        bench.jump(to: .milliseconds(10_900))
        #expect(bench.begun.map { $0.key.instance.index }.sorted() == [0, 0, 1, 2])
        let texts = [9.9, 0.9].map { "busy: the checker was held up for \(Duration.seconds($0).brief)" }
        #expect(bench.texts.sorted() == texts)
        bench.jump(to: .milliseconds(24_900))
        #expect(bench.begun.filter { $0.key.instance.index == 0 }.count == 3)
        bench.jump(to: .milliseconds(35_100))
        #expect(bench.begun.filter { $0.key.instance.index == 0 }.count == 3)
    }

    @Test("what was first due long ago is due now, once")
    func past() {
        let bench = Bench()
        bench.now = MonotonicInstant(nanoseconds: 0).advanced(by: .seconds(1000))
        bench.watch(0, period: .seconds(7), firstAt: .seconds(1))
        bench.run(to: .seconds(1010))
        #expect(bench.times == [10_000, 10_020, 10_090])
        #expect(bench.reports.isEmpty)
    }

    @Test("one run of a probe at a time, even where the timeout is longer than the period")
    func oneAtATime() {
        let bench = Bench()
        bench.watch(0, period: .seconds(1), timeout: .milliseconds(3_500))
        bench.run(to: .milliseconds(8_400), finish: false)
        #expect(bench.times == [0, 40, 80])
        #expect(bench.texts == ["did not answer within 3.5s", "did not answer within 3.5s"])
    }

    @Test("a timeout that the prober itself was late for is no failure")
    func lateTimeout() {
        for (late, isFailure) in [(100, true), (480, true), (520, false), (5000, false)] {
            let bench = Bench()
            bench.watch(0, period: .seconds(60), timeout: .seconds(2))
            bench.jump(to: .zero, finish: false)
            bench.jump(to: .milliseconds(2_000 + late), lateness: .milliseconds(late))
            let held = bench.texts.first?.hasPrefix("busy: the checker was held up for") == true
            #expect(bench.texts.count == 1 && held == !isFailure, "\(late): \(bench.texts)")
        }
        // Half of a short timeout is less.
        let bench = Bench()
        bench.watch(0, period: .seconds(60), timeout: .milliseconds(400))
        bench.jump(to: .zero, finish: false)
        bench.jump(to: .milliseconds(650), lateness: .milliseconds(250))
        #expect(bench.texts == ["busy: the checker was held up for 250ms"])
    }

    @Test("nor is one that the prober spent asleep in the middle")
    func stallWithin() {
        let bench = Bench()
        bench.watch(0, period: .seconds(60), timeout: .seconds(2))
        bench.jump(to: .zero, finish: false)
        bench.jump(to: .milliseconds(1_900), lateness: .milliseconds(1_650))
        bench.jump(to: .seconds(2))
        #expect(bench.texts == ["busy: the checker was held up for 1.6s"])
    }

    @Test("beyond the number of probes in flight they wait their turn, the first come first")
    func queue() {
        var limits = ProberLimits()
        limits.probesInFlight = 2
        limits.reservedPlaces = 0
        let bench = Bench(limits)
        for index in 0..<6 { bench.watch(index, period: .seconds(10), firstAt: .milliseconds(Int64(index))) }
        bench.run(to: .milliseconds(500), finish: false)
        #expect(bench.begun.map { $0.key.instance.index } == [0, 1])
        #expect(bench.agenda.inFlight == 2)
        for expected in 2..<6 {
            _ = bench.agenda.finished(bench.begun[expected - 2].run, at: bench.now)
            bench.jump(to: .milliseconds(500 + Int64(expected)), finish: false)
            #expect(bench.begun.map { $0.key.instance.index } == Array(0...expected))
        }
        #expect(bench.reports.isEmpty)
    }

    @Test("one that waits longer than its timeout is not run; next time it goes first, so that none starves")
    func crowded() {
        var limits = ProberLimits()
        limits.probesInFlight = 1
        limits.reservedPlaces = 0
        let bench = Bench(limits)
        for index in 0..<5 { bench.watch(index, period: .seconds(2), timeout: .seconds(1)) }
        bench.run(to: .seconds(60), finish: false)
        for index in 0..<5 {
            #expect(bench.begun.filter { $0.key.instance.index == index }.count > 3, "\(index)")
        }
        #expect(bench.reports.contains { $0.text.hasPrefix("busy: it waited") })
        #expect(bench.texts.allSatisfy { $0.hasPrefix("busy: it waited") || $0 == "did not answer within 1s" })
        // Never more in a row than one slot allows.
        for (one, next) in zip(bench.begun, bench.begun.dropFirst()) { #expect(next.at - one.at >= 10) }
    }

    @Test("workers of one service that hang blind no other service")
    func fairness() {
        var agenda = Agenda(limits: ProberLimits())
        let start = MonotonicInstant(nanoseconds: 0)
        let watch = { (agenda: inout Agenda, service: String, index: Int, period: Duration, timeout: Duration) in
            guard let question = ProbeQuestion(tcpAddress: "127.0.0.1:1") else { return }
            let wish = ProbeWish(plan: ProbePlan(question), period: period, timeout: timeout, firstAt: start)
            let id = InstanceID(service: service, index: index)
            _ = agenda.watch(ProbeKey(instance: id, generation: 1, kind: .readiness), wish, at: start)
        }
        for hog in 0..<8 {
            for index in 0..<40 { watch(&agenda, "hog\(hog)", index, .seconds(5), .seconds(30)) }
        }
        watch(&agenda, "fast", 0, .seconds(1), .seconds(1))
        var begun = 0
        var most = 0
        for second in 0..<60 {
            var steps: [Agenda.Step] = []
            agenda.advance(to: start.advanced(by: .seconds(second)), lateness: .zero, &steps)
            most = max(most, agenda.inFlight)
            for case .begin(let order) in steps where order.key.instance.service == "fast" {
                begun += 1
                _ = agenda.finished(order.run, at: start.advanced(by: .seconds(second)))
            }
            for case .expire(let run, _) in steps {
                _ = agenda.finished(run, at: start.advanced(by: .seconds(second)))
            }
        }
        #expect(begun == 60)
        #expect(most <= 64 + 9)
    }

    @Test("one that is still queued when it is due again is reported once for each")
    func stillQueued() {
        var limits = ProberLimits()
        limits.probesInFlight = 1
        limits.reservedPlaces = 0
        let bench = Bench(limits)
        bench.watch(0, period: .seconds(3600), timeout: .seconds(3600))
        bench.jump(to: .zero, finish: false)
        bench.watch(1, period: .seconds(5), timeout: .seconds(2), firstAt: .seconds(1))
        bench.run(to: .seconds(17), finish: false)
        #expect(bench.reports.map(\.at) == [60, 110, 160])
        #expect(bench.texts.allSatisfy { $0.hasPrefix("busy: it waited 5s for its turn") })
    }

    @Test("what is no longer watched is neither run nor told, and costs nothing")
    func unwatch() {
        var limits = ProberLimits()
        limits.probesInFlight = 1
        limits.reservedPlaces = 0
        let bench = Bench(limits)
        for index in 0..<3 { bench.watch(index, period: .seconds(1)) }
        bench.jump(to: .zero, finish: false)
        guard let run = bench.begun.first else { return }
        #expect(bench.agenda.unwatch(run.key) == run.run)
        #expect(bench.agenda.finished(run.run, at: bench.now) == nil)
        for index in 0..<3 { _ = bench.agenda.unwatch(Asker.key(index)) }
        #expect(bench.agenda.isEmpty && bench.agenda.inFlight == 0)
        #expect(bench.agenda.nextWake(after: bench.now) == nil)
        bench.jump(to: .seconds(100))
        #expect(bench.begun.count == 1 && bench.reports.isEmpty)
    }

    @Test("watching and unwatching for ever takes no more room")
    func churn() {
        let bench = Bench()
        for round in 0..<20_000 {
            bench.watch(round % 7, period: .seconds(3600), firstAt: .seconds(3600))
        }
        #expect(bench.agenda.scheduled <= 2 * 7 + 66)
    }

    @Test("2,000 probes spread over five seconds: each on its time")
    func many() {
        let bench = Bench()
        for index in 0..<2000 {
            bench.watch(index, period: .seconds(5), firstAt: .microseconds(Int64(index * 2500 % 5_000_000)))
        }
        bench.run(to: .milliseconds(14_999))
        #expect(bench.begun.count == 6000)
        #expect(bench.reports.isEmpty)
    }
}
