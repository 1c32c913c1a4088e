import CAllocations
import LinuxPlatform
import SupervisorCore

/// What breakers cost.
enum BreakerBench {
    private static let services = 40
    private static let dependency = "payments-api.internal:443"
    private static let now = MonotonicInstant(nanoseconds: 3_600_000_000_000)

    static func run() -> Table {
        var table = Table()
        gate(&table)
        calls(&table)
        memory(&table)
        roundTrips(&table)
        RedisBench.run(&table)
        return table
    }

    private static func machine() -> FleetMachine {
        var spec = FleetSpec()
        for index in 0..<services {
            var service = ServiceSpec(name: "service-with-a-name-\(index)", command: ["/bin/true"])
            service.release = "build-2026-11-26-\(index)"
            spec.services.append(service)
        }
        var machine = FleetMachine(spec: spec, now: now, seed: 1)
        _ = machine.handle(.shimConnected(Adoption()), at: now)
        return machine
    }

    /// Mean duration of one of `count` calls in each of many batches: what the clock itself takes has no part in it.
    /// A batch is short, so that its percentiles are the calls' as nearly as a clock of 20 ns can tell.
    private static func measure(batches: Int = 20_000, of count: Int = 50, _ body: (Int) -> Void) -> Series {
        var values = [Double](repeating: 0, count: batches)
        for batch in -1_000..<batches {
            let start = MonotonicClock.now().nanoseconds
            for index in 0..<count { body(batch &* count &+ index) }
            let end = MonotonicClock.now().nanoseconds
            if batch >= 0 { values[batch] = Double(end - start) / Double(count) }
        }
        return Series(values)
    }

    /// Allocations in a million calls.
    private static func allocations(_ body: (Int) -> Void) -> Double {
        let before = callocations_count()
        for index in 0..<1_000_000 { body(index) }
        return Double(callocations_count() - before)
    }

    private static func gate(_ table: inout Table) {
        var machine = machine()
        var passed = 0
        let body = { (index: Int) in
            if machine.gate(ofService: (index & Int.max) % services, at: now) == .pass {
                passed += 1
            }
        }
        table.add("gate before a start", measure(body), "ns", p50: 50, p99: 200)
        table.add("gate, allocations in 1,000,000", allocations(body), "", target: 0)
    }

    private static func calls(_ table: inout Table) {
        var machine = machine()
        var allowed = 0
        let body = { (index: Int) in
            guard case .allowed(let generation)? = machine.ask(dependency: dependency, worker: 1, at: now) else {
                return
            }
            allowed &+= 1
            machine.report(dependency: dependency, pass: generation, worker: 1, .ok, microseconds: 900, at: now)
        }
        table.add("ask and report in the core", measure(body), "ns")
        table.add("ask and report, allocations in 1,000,000", allocations(body), "", target: 0)
        for _ in 0..<10_000_000 where allowed > 0 {
            // All fail from here on, until it opens.
            guard case .allowed(let generation)? = machine.ask(dependency: dependency, worker: 1, at: now) else {
                break
            }
            machine.report(dependency: dependency, pass: generation, worker: 1, .failed, microseconds: 9, at: now)
        }
        _ = machine.handle(.callsSettled, at: now)
        var denied = 0
        let denial = { (index: Int) in
            if case .denied? = machine.ask(dependency: dependency, worker: 1, at: now) { denied += 1 }
        }
        table.add("a denial in the core", measure(denial), "ns")
        table.add("a denial, allocations in 1,000,000", denied == 0 ? nil : allocations(denial), "", target: 0)
        table.add("a denial, turns of supervision it asks for", machine.hasCallsToSettle ? 1 : 0, "", target: 0)
    }

    private static func memory(_ table: inout Table) {
        let count = 1_000
        let names = (0..<count).map { "dependency-number-\($0).internal:443" }
        var machine = machine()
        let before = callocations_bytes_in_use()
        for name in names { _ = machine.ask(dependency: name, worker: 1, at: now) }
        let after = callocations_bytes_in_use()
        table.add(
            "memory of a breaker, by 1,000 dependencies",
            Double(after - before) / Double(count),
            "bytes",
            target: 1_024
        )
        _ = machine.hasCallsToSettle
    }

    private static func roundTrips(_ table: inout Table) {
        do {
            let series = try RoundTrips.measure(calls: 50_000).scaled(by: 0.001)
            table.add("worker asks over the socket, round trip", series, "us", p50: 20)
        } catch {
            table.add("worker asks over the socket, round trip", nil, "us", target: 20, "\(error)")
        }
    }
}
