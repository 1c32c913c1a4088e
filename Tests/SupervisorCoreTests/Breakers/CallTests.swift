import Testing

@testable import SupervisorCore

/// The breakers of dependencies.
struct CallTests {
    private var machine: BreakerMachine {
        var spec = FleetSpec()
        spec.node.name = "h"
        var payments = DependencySpec(name: "pay")
        payments.minimumNumberOfCalls = 10
        spec.dependencies = [payments]
        return BreakerMachine(spec: spec, now: MonotonicInstant(milliseconds: 1_000_000), seed: 1)
    }

    private func call(
        _ machine: inout BreakerMachine,
        _ outcome: CallOutcome,
        microseconds: Int64 = 1_000,
        at now: Int64
    ) -> CallAnswer? {
        let answer = machine.ask("pay", worker: 1, at: now)
        switch answer {
        case .allowed(let pass)?, .probe(let pass)?:
            machine.report("pay", pass: pass, worker: 1, outcome, microseconds: microseconds, at: now)
        case .denied?, nil: break
        }
        return answer
    }

    @Test func `half of the calls failing opens it, not before there are enough`() {
        var machine = machine
        let now: Int64 = 1_000_000
        for _ in 0..<9 { _ = call(&machine, .failed, at: now) }
        #expect(machine.publicState(0) == .closed)
        _ = call(&machine, .failed, at: now)
        #expect(machine.publicState(0) == .open)
        guard case .denied(let retry, let reason)? = machine.ask("pay", worker: 1, at: now) else {
            return #expect(Bool(false))
        }
        #expect((3_900...6_100).contains(retry))
        #expect(reason == "open")
    }

    @Test func `calls that took too long open it when all of them do`() {
        var machine = machine
        for _ in 0..<9 { _ = call(&machine, .ok, microseconds: 2_500_000, at: 1_000_000) }
        _ = call(&machine, .ok, at: 1_000_000)
        _ = call(&machine, .slow, at: 1_000_000)
        #expect(machine.publicState(0) == .closed, "one was fast")
        for _ in 0..<10 { _ = call(&machine, .slow, at: 1_030_000) }
        #expect(machine.publicState(0) == .open)
    }

    @Test func `five probes one after the other close it, and one that fails opens it for longer`() {
        var machine = machine
        for _ in 0..<10 { _ = call(&machine, .failed, at: 1_000_000) }
        let later: Int64 = 1_007_000
        for _ in 0..<4 {
            guard case .probe? = call(&machine, .ok, at: later) else { return #expect(Bool(false)) }
        }
        guard case .probe? = call(&machine, .failed, at: later) else { return #expect(Bool(false)) }
        #expect(machine.publicState(0) == .open)
        guard case .denied(let retry, _)? = machine.ask("pay", worker: 1, at: later) else {
            return #expect(Bool(false))
        }
        #expect(retry > 7_000)
        let again = later + retry
        for _ in 0..<5 { _ = call(&machine, .ok, at: again) }
        #expect(machine.publicState(0) == .closed)
        guard case .allowed? = machine.ask("pay", worker: 1, at: again) else { return #expect(Bool(false)) }
    }

    @Test func `one probe at a time, and a worker that dies gives its own back`() {
        var machine = machine
        for _ in 0..<10 { _ = call(&machine, .failed, at: 1_000_000) }
        guard case .probe? = machine.ask("pay", worker: 1, at: 1_007_000) else { return #expect(Bool(false)) }
        guard case .denied(_, "half-open")? = machine.ask("pay", worker: 2, at: 1_007_000) else {
            return #expect(Bool(false))
        }
        machine.workerGone(1, at: 1_007_001)
        guard case .probe? = machine.ask("pay", worker: 2, at: 1_007_002) else { return #expect(Bool(false)) }
    }

    @Test func `late and foreign reports count nothing`() {
        var machine = machine
        guard case .allowed(let pass)? = machine.ask("pay", worker: 1, at: 1_000_000) else {
            return #expect(Bool(false))
        }
        for _ in 0..<10 { _ = call(&machine, .failed, at: 1_000_000) }
        machine.report("pay", pass: pass, worker: 1, .ok, microseconds: 1, at: 1_000_001)
        #expect(machine.seats[0].counts.reportsStale == 1)
        guard case .probe(let token)? = machine.ask("pay", worker: 1, at: 1_007_000) else {
            return #expect(Bool(false))
        }
        machine.report("pay", pass: token, worker: 2, .failed, microseconds: 1, at: 1_007_000)
        #expect(machine.publicState(0) == .halfOpen, "another worker's token")
        machine.report("pay", pass: token, worker: 1, .ok, microseconds: 1, at: 1_020_000)
        #expect(machine.seats[0].counts.reportsStale >= 2)
    }

    @Test func `there is room for so many, and the least used makes room`() {
        var machine = machine
        for number in 0..<(BreakerLimits.dependencies + 10) {
            #expect(machine.ask("d\(number)", worker: 1, at: 1_000_000 + Int64(number)) != nil)
        }
        #expect(machine.seats.count == BreakerLimits.dependencies)
        #expect(machine.seatOf["pay"] != nil, "what is configured stays")
        #expect(machine.seatOf["d0"] == nil)
        #expect(!DependencyName.isValid("service:a@r"))
        #expect(!DependencyName.isValid("two words"))
    }

    @Test(arguments: [UInt64(1), 2, 3])
    func `the window is what a list of calls would say`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var window = CallWindow(window: 20_000)
        var calls: [(tick: Int64, failed: Bool, slow: Bool)] = []
        var now: Int64 = 5_000_000
        for _ in 0..<5_000 {
            now += Int64(generator.next() % (generator.unit() < 0.02 ? 60_000 : 400))
            let (failed, slow) = (generator.unit() < 0.3, generator.unit() < 0.2)
            window.record(failed: failed, slow: slow, at: now)
            calls.append((now / window.tick, failed, slow))
            calls.removeAll { now / window.tick - $0.tick >= 20 }
            #expect(Int(window.total.calls) == calls.count)
            #expect(Int(window.total.failed) == calls.count { $0.failed })
            #expect(Int(window.total.slow) == calls.count { $0.slow })
            #expect(window.total == window.recounted)
        }
    }
}
