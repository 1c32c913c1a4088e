import LinuxPlatform
import ShimProtocol
import SupervisorCore
import Testing

@testable import SupervisorRuntime

/// Exec probes on a real loop, with a shim that does what the test says.
private final class Bench {
    struct Asked {
        var key: ProbeKey
        var place: InstanceID
        var generation: Generation
    }

    let reactor: Reactor
    private(set) var asked: [Asked] = []
    private(set) var outcomes: [ProbeKey: [ProbeOutcome]] = [:]
    private(set) var cannotEnd: [InstanceID] = []
    private(set) var released = 0
    /// What comes of a start, in a turn of its own; nothing where it is nil: the probe hangs.
    var answer: (ExecProbes, Asked) -> Void = { $0.started($1.place, $1.generation) }
    /// What comes of an end.
    var end: (ExecProbes, InstanceID, Generation) -> Void = { _, _, _ in }
    private(set) lazy var probes = ExecProbes(reactor: reactor, hands: hands())

    init() throws {
        reactor = try Reactor()
    }

    private func hands() -> ExecProbes.Hands {
        ExecProbes.Hands(
            start: { [unowned self] (key, _, place, generation, _) throws(ExecProbes.Obstacle) in
                let start = Asked(key: key, place: place, generation: generation)
                asked.append(start)
                soon { bench in bench.answer(bench.probes, start) }
            },
            endTree: { [unowned self] place, generation in soon { bench in bench.end(bench.probes, place, generation) }
            },
            release: { [unowned self] _, _ in released += 1 },
            report: { [unowned self] key, outcome in outcomes[key, default: []].append(outcome) },
            cannotEnd: { [unowned self] id, _, _ in cannotEnd.append(id) },
            emptied: {}
        )
    }

    private func soon(_ body: @escaping (Bench) -> Void) {
        reactor.schedule(at: MonotonicClock.now()) { [unowned self] in body(self) }
    }

    /// Turns until it is so; false when that takes too long.
    func run(within patience: Duration = .seconds(10), until isMet: @escaping () -> Bool) throws -> Bool {
        let timer = reactor.schedule(at: MonotonicClock.now().advanced(by: patience)) { [unowned self] in reactor.stop()
        }
        reactor.endOfTurn = { [unowned self] in if isMet() { reactor.stop() } }
        try reactor.run()
        reactor.cancel(timer)
        return isMet()
    }

    func watch(_ service: String, _ index: Int = 0, period: Duration, timeout: Duration) -> ProbeKey {
        let id = InstanceID(service: service, index: index)
        let key = ProbeKey(instance: id, generation: 1, kind: .readiness)
        var probe = ServiceSpec.Probe(method: .exec(command: ["/bin/true"]))
        probe.period = period
        probe.timeout = timeout
        probes.watch(key, ["/bin/true"], ProbePolicy(probe), firstAt: MonotonicClock.now())
        return key
    }

    func asked(of service: String) -> Int { asked.filter { $0.key.instance.service == service }.count }
}

extension ExecProbes {
    fileprivate func succeed(_ start: Bench.Asked) {
        started(start.place, start.generation)
        exited(start.place, start.generation, .code(0), treeGone: true)
    }
}

@Suite("Exec probes") struct ExecProbesTests {
    @Test("a service whose probes hang does not keep others from being judged")
    func fairness() throws {
        let bench = try Bench()
        bench.answer = { probes, start in
            if start.key.instance.service == "fast" { return probes.succeed(start) }
            probes.started(start.place, start.generation)
        }
        for index in 0..<20 { _ = bench.watch("hog", index, period: .milliseconds(10), timeout: .seconds(60)) }
        let fast = bench.watch("fast", period: .milliseconds(20), timeout: .seconds(1))
        let isJudged = try bench.run { bench.outcomes[fast, default: []].count >= 20 }
        #expect(isJudged)
        #expect(bench.outcomes[fast, default: []].allSatisfy { $0 == .success })
        // What nobody waited for it may have.
        #expect(bench.asked(of: "hog") == ExecProbes.Limits.running)
    }

    @Test("beyond the usual number each service may have one, up to a limit; then first come, first served")
    func manyServices() throws {
        let bench = try Bench()
        let most = ExecProbes.Limits.runningOfMany
        let names = (0..<(most + 3)).map { "s\($0)" }
        for name in names { _ = bench.watch(name, period: .seconds(60), timeout: .seconds(60)) }
        let areFull = try bench.run { bench.asked.count == most }
        #expect(areFull)
        #expect(bench.asked.map(\.key.instance.service) == Array(names.prefix(most)))
        // A second one of a service that has one waits for the usual number.
        _ = bench.watch("s0", 1, period: .seconds(60), timeout: .seconds(60))
        let first = try #require(bench.asked.first)
        bench.probes.exited(first.place, first.generation, .code(0), treeGone: true)
        let goesOn = try bench.run { bench.asked.count == most + 1 }
        #expect(goesOn)
        #expect(bench.asked.last?.key.instance.service == names[most])
        #expect(bench.released == 1)
    }

    @Test("a run that takes longer than its period is no obstacle; one that cannot be ended is, and is said once")
    func longRuns() throws {
        let bench = try Bench()
        let key = bench.watch("a", period: .milliseconds(10), timeout: .milliseconds(150))
        let isSettled = try bench.run { bench.outcomes[key] != nil }
        #expect(isSettled)
        #expect(bench.outcomes[key] == [.failure("did not end within 150ms")])
        let run = try #require(bench.asked.first)
        for count in 1...3 { bench.probes.remains(run.place, run.generation, count: count, example: 7) }
        #expect(bench.cannotEnd == [key.instance])
        let isBusy = try bench.run { bench.outcomes[key, default: []].count >= 3 }
        #expect(isBusy)
        let busy = ProbeOutcome.unknown(.busy, "the one before it has not ended yet")
        #expect(bench.outcomes[key, default: []].dropFirst().allSatisfy { $0 == busy })
        #expect(bench.asked.count == 1)
        bench.probes.exited(run.place, run.generation, .signal(.kill, coreDumped: false), treeGone: true)
        let goesOn = try bench.run { bench.asked.count == 2 }
        #expect(goesOn)
    }

    @Test("a start that fails after it was begun is unknown, and the next one is asked for")
    func lateFailures() throws {
        let bench = try Bench()
        bench.answer = { probes, start in
            probes.started(start.place, start.generation)
            let failure = SpawnFailure(stage: .execute, errno: 2, path: "/p")
            probes.startFailed(start.place, start.generation, failure)
        }
        let key = bench.watch("a", period: .milliseconds(10), timeout: .milliseconds(20))
        let isAsked = try bench.run { bench.outcomes[key, default: []].count >= 5 }
        #expect(isAsked)
        for outcome in bench.outcomes[key, default: []] {
            guard case .unknown(.spawn, let text) = outcome else {
                Issue.record("\(outcome)")
                continue
            }
            #expect(text.contains("/p"))
        }
        bench.probes.unwatch(key)
        #expect(bench.probes.isEmpty)
        // No record is left of it to be released.
        #expect(bench.released == 0)
    }

    @Test("a start that the shim does not answer is not passed over in silence")
    func silentShim() throws {
        let bench = try Bench()
        bench.answer = { _, _ in }
        let key = bench.watch("a", period: .milliseconds(100), timeout: .seconds(60))
        let isSaid = try bench.run { bench.outcomes[key] != nil }
        #expect(isSaid)
        #expect(bench.outcomes[key]?.first == .unknown(.busy, "the shim has not started it yet"))
    }
}
