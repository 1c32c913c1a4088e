import Simulation
import Testing

@testable import SupervisorCore

/// What is remembered over a death, as bytes.
struct CodecTests {
    private static func at(_ nanoseconds: Int64) -> MonotonicInstant { MonotonicInstant(nanoseconds: nanoseconds) }

    private static func stops() -> [InstanceState.Stop] {
        ExitCause.allCases.flatMap { cause in
            var full = InstanceState.Stop(cause: cause, graceEnds: at(9))
            full.mainGone = true
            full.signalled = true
            full.remaining = 3
            full.remainingExample = 77
            return [InstanceState.Stop(cause: cause, graceEnds: nil), full]
        }
    }

    private static func states() -> [InstanceState] {
        let plain: [InstanceState] = [
            .waiting, .queued, .starting(deadline: at(.max)), .ready, .running, .backoff(until: at(.min)), .completed,
            .failed,
        ]
        return plain + InstanceState.StopReason.allCases.map { .stopped($0) } + stops().map { .stopping($0) }
    }

    private static func exits() -> [LastExit] {
        let failures = SpawnStage.allCases.map {
            LastExit.Outcome.spawnFailed(SpawnFailure(stage: $0, errno: 13, path: "/é"))
        }
        let outcomes: [LastExit.Outcome] =
            [
                .status(.code(.min)), .status(.code(255)), .status(.signal(.kill, coreDumped: false)),
                .status(.signal(.abort, coreDumped: true)),
            ] + failures
        let usage = ResourceUsage(userMicroseconds: 1, systemMicroseconds: .max, maximumResidentKibibytes: -1)
        return outcomes.flatMap { outcome in
            ExitCause.allCases.map { LastExit(outcome: outcome, cause: $0, at: at(5), usage: usage) }
        }
    }

    private static func full(_ state: InstanceState, _ exit: LastExit?) -> RememberedInstance {
        var memory = RememberedInstance(state: state, since: at(123))
        memory.generation = .max
        memory.stopIntent = StopIntent(instance: InstanceID(service: "a", index: 3), by: "ada", reason: "tea \"☕\"\n")
        memory.crashes = 12
        memory.restarts = 99
        for (index, cause) in ExitCause.allCases.enumerated() { memory.restartsByCause[cause] = UInt64(index) }
        memory.lastExit = exit
        memory.startedOnce = true
        memory.firstAttemptOver = true
        memory.flaps = FlapDamper(penalty: 2_500.25, updatedAt: at(11), isHeld: true)
        memory.lastTroubleAt = at(.max)
        if state.hasProcess {
            var run = RememberedInstance.Run(startedAt: at(4))
            run.pid = .max
            run.readyAt = at(6)
            run.statusText = "well"
            run.inFlight = 0
            run.reloading = true
            run.heartbeatLate = true
            run.watchdog = .milliseconds(1)
            run.servingAt = at(8)
            run.readiness = .failing
            run.readinessOverdue = true
            run.livenessFailing = true
            memory.run = run
        }
        return memory
    }

    private static func bare(_ state: InstanceState) -> RememberedInstance {
        var memory = RememberedInstance(state: state, since: at(0))
        if state.hasProcess { memory.run = RememberedInstance.Run(startedAt: at(0)) }
        return memory
    }

    @Test func `every state and every field survives its bytes`() {
        var records = Self.states().flatMap { [Self.bare($0), Self.full($0, nil)] }
        records += Self.exits().map { Self.full(.failed, $0) }
        var noReason = Self.full(.stopped(.intent), nil)
        noReason.stopIntent?.reason = nil
        records.append(noReason)
        for record in records {
            #expect(RememberedInstance(decoding: record.encoded()) == record)
        }
    }

    @Test func `each field is kept by itself`() throws {
        typealias Change = (inout RememberedInstance) -> Void
        let changes: [Change] = [
            { $0.generation = 1 }, { $0.crashes = 1 }, { $0.restarts = 1 }, { $0.startedOnce = true },
            { $0.firstAttemptOver = true }, { $0.since = Self.at(1) }, { $0.restartsByCause = [.oom: 2] },
            { $0.run?.pid = 1 }, { $0.run?.readyAt = Self.at(1) }, { $0.run?.statusText = "" },
            { $0.run?.inFlight = 1 }, { $0.run?.reloading = true }, { $0.run?.heartbeatLate = true },
            { $0.run?.servingAt = Self.at(1) }, { $0.run?.readinessOverdue = true },
            { $0.run?.livenessFailing = true }, { $0.lastTroubleAt = Self.at(0) },
            { $0.flaps = FlapDamper(updatedAt: Self.at(1)) },
            { $0.flaps = FlapDamper(penalty: 1e-300, updatedAt: Self.at(0), isHeld: true) },
            { $0.run?.watchdog = .zero }, { $0.run?.startedAt = Self.at(1) },
            { $0.stopIntent = StopIntent(instance: InstanceID(service: "", index: 0), by: "", reason: "") },
        ]
        let readiness = RememberedInstance.Readiness.allCases
        for change in changes + readiness.map({ value in { $0.run?.readiness = value } }) {
            var record = Self.bare(.ready)
            let before = record
            change(&record)
            #expect(record != before)
            #expect(RememberedInstance(decoding: record.encoded()) == record)
        }
    }

    @Test func `the node survives its bytes`() {
        var node = RememberedNode()
        #expect(RememberedNode(decoding: node.encoded()) == node)
        node.firstStartFinished = true
        node.shutdownBy = "SIGTERM"
        node.since = Self.at(17)
        node.healthRestarts = [HealthRestart(service: "a", at: Self.at(1)), HealthRestart(service: "", at: Self.at(2))]
        #expect(RememberedNode(decoding: node.encoded()) == node)
        for full in [false, true] {
            var hold = CorrelatedHold(since: Self.at(3))
            if full {
                hold.calmSince = Self.at(.min)
                hold.experiment = InstanceID(service: "a", index: 2)
                hold.experimentAt = Self.at(5)
            }
            node.hold = hold
            #expect(RememberedNode(decoding: node.encoded()) == node)
        }
    }

    @Test func `a penalty that is no number is not believed`() {
        for penalty in [Double.nan, .infinity, -1] {
            var record = Self.bare(.ready)
            record.flaps = FlapDamper(penalty: penalty, updatedAt: Self.at(1), isHeld: true)
            #expect(RememberedInstance(decoding: record.encoded())?.flaps == nil)
        }
    }

    @Test func `intents survive their bytes`() {
        let intents = Self.intents()
        #expect(Intents(decoding: intents.encoded()) == intents)
        #expect(Intents(decoding: Intents().encoded()) == Intents())
        #expect(Intents(decoding: []) == nil)
        // As the first version wrote them: the stops alone.
        var first = WireWriter()
        first.write(list: intents.stops) { $1.write(to: &$0) }
        var stops = Intents()
        stops.stops = intents.stops
        #expect(Intents(decoding: first.bytes) == stops)
    }

    static func intents() -> Intents {
        var intents = Intents()
        intents.stops = [
            StopIntent(instance: InstanceID(service: "a", index: 0), by: "ada", reason: nil),
            StopIntent(instance: InstanceID(service: "b", index: 9), by: "", reason: "because"),
        ]
        intents.drains = drains()
        intents.scales = [
            ScaleIntent(service: "a", replicas: 3, configured: 2, by: "ada", reason: nil),
            ScaleIntent(service: "b", replicas: 0, configured: 1, by: "", reason: "night"),
        ]
        return intents
    }

    static func drains() -> [Drain] {
        let start = MonotonicInstant(nanoseconds: 5)
        var full = Drain(
            .maintenance,
            of: .service("a"),
            by: "ada",
            reason: "kernel",
            since: start,
            deadline: start.advanced(by: .seconds(120))
        )
        full.notice = .fixed(.seconds(3))
        full.phase = .enforce
        full.phaseSince = start.advanced(by: .seconds(9))
        full.deadlineReached = true
        full.lost = [
            LostWork(instance: InstanceID(service: "a", index: 1), inFlight: 7),
            LostWork(instance: InstanceID(service: "a", index: 2), inFlight: nil),
        ]
        let id = InstanceID(service: "b", index: 0)
        return [full]
            + Drain.Purpose.allCases.map { Drain($0, of: nil, by: "x", since: start, deadline: start) }
            + [Drain(.roll, of: .instance(id), by: "x", since: start, deadline: start)]
    }

    @Test func `drains, rolls and scales of a node survive their bytes`() {
        let start = MonotonicInstant(nanoseconds: 5)
        let steps: [Roll.Step] = [
            .waiting, .addingExtra(after: 3), .leaving(index: 1), .returning(index: 0, after: 9),
            .proving(index: 2, until: start), .removingExtra, .holding,
        ]
        var node = RememberedNode()
        node.drains = Self.drains()
        node.scales = Self.intents().scales
        node.rolls = steps.map { step in
            var roll = Roll(
                service: "a",
                by: "ada",
                reason: nil,
                since: start,
                indexes: [0, 1],
                usesExtra: step == .holding
            )
            roll.step = step
            roll.left = [1]
            roll.failure = step == .holding ? "it crashed" : nil
            roll.reason = step == .waiting ? "release 7" : nil
            return roll
        }
        #expect(RememberedNode(decoding: node.encoded()) == node)
    }

    @Test func `whatever is drained and lost, it fits one packet of the shim`() throws {
        let start = MonotonicInstant(nanoseconds: 5)
        var node = RememberedNode()
        node.drains = (0..<DrainLimits.drains).map { number in
            let name = String(repeating: "x", count: 60) + "\(number)"
            let reason = String(repeating: "r", count: 1_024)
            var drain = Drain(.maintenance, of: .service(name), by: "x", reason: reason, since: start, deadline: start)
            drain.lost = (0..<10_000).map { LostWork(instance: InstanceID(service: name, index: $0), inFlight: 1) }
            return drain
        }
        let bytes = node.encoded()
        #expect(bytes.count < 150 << 10)
        let decoded = try #require(RememberedNode(decoding: bytes))
        #expect(decoded.drains.count == DrainLimits.drains)
        #expect(decoded.drains.reduce(0) { $0 + $1.lost.count } == DrainLimits.lostRemembered)
    }

    @Test func `fields of another version are skipped`() {
        var foreign = WireWriter()
        foreign.write(UInt8(200))
        foreign.write([1, 2, 3] as [UInt8])
        foreign.write(UInt8(201))
        foreign.write([] as [UInt8])
        let record = Self.full(.ready, Self.exits()[0])
        #expect(RememberedInstance(decoding: record.encoded() + foreign.bytes) == record)
        #expect(RememberedInstance(decoding: foreign.bytes + record.encoded()) == record)
        var node = RememberedNode()
        node.shutdownBy = "x"
        #expect(RememberedNode(decoding: foreign.bytes + node.encoded() + foreign.bytes) == node)
    }

    @Test func `a state of a later version is not guessed`() {
        var writer = WireWriter()
        writer.write(UInt8(1))
        writer.write([99] as [UInt8])
        #expect(RememberedInstance(decoding: writer.bytes) == nil)
        #expect(RememberedInstance(decoding: []) == nil)
    }

    @Test func `no truncation traps, and none inside a field is believed`() {
        let records = [Self.full(.stopping(Self.stops()[1]), Self.exits()[20]), Self.bare(.queued)]
        for record in records {
            let bytes = record.encoded()
            let ends = Self.fieldEnds(bytes)
            for count in 0..<bytes.count {
                let decoded = RememberedInstance(decoding: Array(bytes[..<count]))
                if !ends.contains(count) { #expect(decoded == nil, "cut at \(count)") }
            }
        }
        let intents = Self.intents()
        let bytes = intents.encoded()
        for count in 0..<bytes.count {
            // Cut between two fields it is what another version would have written.
            let decoded = Intents(decoding: Array(bytes[..<count]))
            #expect(decoded == nil || decoded?.stops == intents.stops && decoded?.scales == [], "cut at \(count)")
        }
    }

    private static func fieldEnds(_ bytes: [UInt8]) -> Set<Int> {
        var reader = WireReader(bytes)
        var ends: Set<Int> = [0]
        while reader.read(UInt8.self) != nil, reader.readBytes() != nil { ends.insert(bytes.count - reader.remaining) }
        return ends
    }

    @Test func `no bytes trap, and what is understood can be lived with`() throws {
        var generator = SeededGenerator(seed: 42)
        let seeds = Self.states().map { Self.full($0, Self.exits()[7]).encoded() }
        var understood = 0
        for round in 0..<200_000 {
            var bytes: [UInt8]
            if round % 2 == 0 {
                bytes = (0..<generator.pick(0...40)).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
            } else {
                bytes = generator.pick(seeds) ?? []
                for _ in 0..<generator.pick(1...3) {
                    bytes[generator.pick(0...bytes.count - 1)] = UInt8(truncatingIfNeeded: generator.next())
                }
            }
            _ = RememberedNode(decoding: bytes)
            _ = Intents(decoding: bytes)
            guard let record = RememberedInstance(decoding: bytes) else { continue }
            understood += 1
            if understood % 50 == 0 { Self.live(with: record) }
        }
        #expect(understood > 10_000)
    }

    /// A daemon that was told such a thing must not trap on it, whatever comes next.
    private static func live(with record: RememberedInstance) {
        var spec = FleetSpec()
        var service = ServiceSpec(name: "a", command: ["/a"])
        service.liveness.watchdog = .seconds(1)
        service.readiness = ServiceSpec.Probe(method: .tcp(address: ""))
        service.liveness.probe = service.readiness
        spec.services = [service]
        let id = InstanceID(service: "a", index: 0)
        let now = at(1_000)
        for running in [false, true] {
            var machine = FleetMachine(spec: spec, now: now, seed: 1)
            var adoption = Adoption()
            adoption.remembered.instances[id] = record
            if running {
                adoption.records = [
                    Adoption.Record(
                        instance: id,
                        generation: record.generation,
                        pid: 1,
                        startedAt: now,
                        state: .running,
                        treeGone: false
                    )
                ]
            }
            _ = machine.handle(.shimConnected(adoption), at: now)
            let generation = machine.instances[0].generation
            _ = machine.handle(
                .exited(id, generation, .code(1), ResourceUsage(), outOfMemory: false, treeGone: true),
                at: now
            )
            for key in machine.instances.flatMap(\.watched) {
                _ = machine.handle(.probed(key, .failure("x")), at: now)
            }
            for timer in machine.instances.compactMap(\.timer) {
                _ = machine.handle(.timerFired(timer.token), at: max(now, timer.deadline))
            }
            _ = machine.handle(.commanded(1, .restart([.service("a")], reason: nil), by: "ada"), at: now)
            _ = machine.status(ofService: 0, at: now)
            _ = machine.nodeStatus(at: now)
            _ = machine.handle(.shutdownHastened, at: now)
        }
    }

    // MARK: Wire

    @Test func `numbers, texts, lists and frames survive the wire`() throws {
        var writer = WireWriter()
        writer.write(UInt8.max)
        writer.write(Int64.min)
        writer.write(true)
        writer.write("grün\0")
        writer.write([1, 2] as [UInt8])
        writer.write(list: [1, 2, 3] as [Int32]) { $0.write($1) }
        writer.framed { $0.write("inside") }
        var reader = WireReader(writer.bytes)
        #expect(reader.read(UInt8.self) == .max)
        #expect(reader.read(Int64.self) == .min)
        #expect(reader.readBool() == true)
        #expect(reader.readString() == "grün\0")
        #expect(reader.readBytes().map { Array($0) } == [1, 2])
        #expect(reader.readList { $0.read(Int32.self) } == [1, 2, 3])
        let inside = reader.readBytes()
        var frame = WireReader(try #require(inside))
        #expect(frame.readString() == "inside")
        #expect(frame.remaining == 0 && reader.remaining == 0)
    }

    @Test func `numbers are little-endian`() {
        var writer = WireWriter()
        writer.write(UInt32(0x0102_0304))
        #expect(writer.bytes == [4, 3, 2, 1])
    }

    @Test func `past the end, and at impossible lengths, a reader answers nil and from then on always`() {
        var reader = WireReader([1, 2, 3])
        #expect(reader.read(UInt32.self) == nil)
        #expect(reader.read(UInt8.self) == nil)
        var text = WireReader([255, 255, 255, 255, 65])
        #expect(text.readString() == nil)
        #expect(text.remaining == 0)
        var list = WireReader([255, 255, 255, 255, 65])
        #expect(list.readList { $0.read(UInt8.self) } == nil)
        #expect(list.read(UInt8.self) == nil)
        var slice = WireReader([9, 9, 7, 9][2..<3])
        #expect(slice.read(UInt8.self) == 7)
        #expect(slice.read(UInt8.self) == nil)
    }
}
