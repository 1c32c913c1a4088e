import Testing

@testable import SupervisorCore

/// The parts of health that are arithmetic: damping, windows, pressure.
struct HealthPolicyTests {
    private func at(_ seconds: Double) -> MonotonicInstant { MonotonicInstant(nanoseconds: Int64(seconds * 1e9)) }

    // MARK: Flaps

    @Test func `a penalty halves in each half-life`() {
        let flaps = FlapDamper(penalty: 1_000, updatedAt: at(0))
        #expect(abs(flaps.penalty(at: at(300)) - 500) < 0.001)
        #expect(abs(flaps.penalty(at: at(150)) - 707.1068) < 0.001)
        #expect(abs(flaps.penalty(at: at(3_000)) - 1_000 / 1_024) < 0.001)
        #expect(flaps.penalty(at: at(1e6)) == 0)
        #expect(flaps.penalty(at: at(-5)) == 1_000, "a moment before it was taken")
    }

    @Test func `three flaps at once hold, two do not`() {
        var flaps = FlapDamper(updatedAt: at(0))
        flaps.flapped(at: at(0))
        flaps.flapped(at: at(1))
        #expect(!flaps.isHeld && flaps.releaseAt == nil)
        flaps.flapped(at: at(2))
        #expect(flaps.isHeld)
    }

    @Test func `what is held is released below the threshold, and not before`() throws {
        var flaps = FlapDamper(updatedAt: at(0))
        for _ in 0..<3 { flaps.flapped(at: at(0)) }
        let release = try #require(flaps.releaseAt)
        // 3000 to 750 are two half-lives.
        #expect(abs(release.since(at(0)).inSeconds - 600) < 0.1)
        var early = flaps
        early.settle(at: release.advanced(by: .milliseconds(-100)))
        #expect(early.isHeld)
        flaps.settle(at: release)
        #expect(!flaps.isHeld)
        #expect(flaps.penalty < HealthLimits.flapReleaseBelow)
    }

    @Test func `however often it flaps, a quarter of an hour of quiet releases it`() throws {
        var flaps = FlapDamper(updatedAt: at(0))
        for second in 0..<1_000 { flaps.flapped(at: at(Double(second))) }
        #expect(flaps.penalty <= HealthLimits.flapPenaltyMost)
        let release = try #require(flaps.releaseAt)
        #expect(release.since(at(999)) <= .seconds(901))
    }

    @Test func `the logarithm is one`() {
        #expect(FlapDamper.binaryLogarithm(8) == 3)
        #expect(abs(FlapDamper.binaryLogarithm(10) - 3.321928) < 1e-6)
        #expect(FlapDamper.binaryLogarithm(1) == 0)
        #expect(FlapDamper.binaryLogarithm(0.2) == 0)
        #expect(FlapDamper.binaryLogarithm(.infinity) == 0)
        #expect(FlapDamper.binaryLogarithm(.nan) == 0)
    }

    // MARK: Rows

    @Test func `an unknown neither breaks a row nor makes it longer`() {
        var row = ProbeTracker()
        row.take(.failure("a"), at: at(1))
        row.take(.unknown(.busy, "b"), at: at(2))
        #expect(row.failures == 1 && row.unknowns == 1 && row.obstacleText == "b")
        row.take(.failure("c"), at: at(3))
        #expect(row.failures == 2 && row.unknowns == 0)
        #expect(row.failingSince == at(1))
        row.take(.unknown(.spawn, "d"), at: at(4))
        row.take(.success, at: at(5))
        #expect(row.failures == 0 && row.successes == 1 && row.unknowns == 0 && row.failingSince == nil)
    }

    @Test func `a window is what it takes to fail, within bounds`() {
        var probe = ServiceSpec.Probe(method: .tcp(address: "h:1"))
        #expect(ProbePolicy(probe).window == .seconds(17))
        probe.period = .seconds(3_600)
        #expect(ProbePolicy(probe).window == HealthLimits.windowMost)
        probe.period = .milliseconds(1)
        probe.failureThreshold = .max
        probe.timeout = .seconds(Int64.max / 2)
        #expect(ProbePolicy(probe).window == HealthLimits.windowMost)
    }

    // MARK: Pressure

    @Test func `pressure is read from the kernel's lines`() {
        let text = """
            some avg10=81.26 avg60=40.53 avg300=26.63 total=114026786
            full avg10=3.50 avg60=0.00 avg300=0.00 total=0
            """
        #expect(PressureReading.averageOfTenSeconds("some", in: text) == 81.26)
        #expect(PressureReading.averageOfTenSeconds("full", in: text) == 3.5)
        for damaged in ["", "some", "some avg10=", "some avg10=x", "some avg10=nan", "some avg10=inf", "full avg1=3"] {
            #expect(PressureReading.averageOfTenSeconds("some", in: damaged) == nil, "\(damaged)")
        }
    }

    @Test func `a shortage of the whole host is named`() {
        var reading = PressureReading()
        reading.cpuSome = 79.9
        #expect(reading.shortage == nil)
        reading.cpuSome = 80
        #expect(reading.shortage == "the whole host is short of processor (pressure 80%)")
        reading.memoryFull = 12
        #expect(reading.shortage == "the whole host is short of memory (pressure 12%)")
        reading = PressureReading()
        reading.ioFull = 1e300
        #expect(reading.shortage == "the whole host is short of disk (pressure 100%)")
    }
}
