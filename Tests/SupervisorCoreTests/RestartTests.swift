import Simulation
import Testing

@testable import SupervisorCore

/// What follows when a worker ends by itself.
struct RestartTests {
    @Test func `delays double from half a second, and a stable run makes the next restart immediate`() throws {
        var world = try World.running(service("a"))
        for expected in [0.5, 1, 2, 4, 8, 16, 32, 60, 60] {
            try world.end("a/0")
            #expect(world.untilNextStart("a/0")?.inSeconds == expected)
            try world.advance(by: .seconds(expected))
            #expect(world.kind("a/0") == .ready)
        }
        #expect(world.record("a/0")?.crashes == 9)
        try world.advance(by: .seconds(60))
        try world.end("a/0")
        #expect(world.kind("a/0") == .ready, "immediate")
        #expect(world.record("a/0")?.crashes == 0)
        try world.end("a/0")
        #expect(world.untilNextStart("a/0")?.inSeconds == 0.5)
        #expect(world.record("a/0")?.restarts == 11)
    }

    @Test func `jitter keeps each delay within its bounds, and differs between instances`() throws {
        var world = try World.running(service("a", replicas: 20) { $0.restart.backoffJitter = 0.2 })
        var delays: [Double] = []
        for index in 0..<20 {
            try world.end("a/\(index)")
            delays.append(try #require(world.untilNextStart("a/\(index)")).inSeconds)
        }
        #expect(delays.allSatisfy { $0 >= 0.4 && $0 <= 0.6 })
        #expect(Set(delays).count > 15)
    }

    @Test func `time spent on ending the tree is not a stable run`() throws {
        var world = try World.running(service("a"))
        try world.advance(by: .seconds(50))
        try world.end("a/0", leaving: 1)
        try world.advance(by: .seconds(50))
        try world.treeEnds("a/0")
        #expect(world.kind("a/0") == .backoff)
    }

    @Test func `siblings are left alone`() throws {
        var world = try World.running(service("a", replicas: 3))
        let before = [world.process("a/0"), world.process("a/2")]
        try world.end("a/1", .signal(.kill, coreDumped: false))
        try world.advance(by: .seconds(1))
        #expect([world.process("a/0"), world.process("a/2")] == before)
    }

    @Test(arguments: ServiceSpec.Restart.Policy.allCases)
    func `the policy decides after success and after failure`(policy: ServiceSpec.Restart.Policy) throws {
        let spec = service("a") {
            $0.restart.policy = policy
            $0.restart.successExitCodes = [0, 3]
        }
        for success in [0, 3] as [Int32] {
            var world = try World.running(spec)
            try world.end("a/0", .code(success))
            let expected: InstanceState? = policy == .always ? nil : .stopped(.finished)
            #expect(world.kind("a/0") == (policy == .always ? .backoff : .stopped))
            if let expected { #expect(world.state(World.id("a/0")) == expected) }
        }
        let failures: [SupervisorCore.ExitStatus] = [
            .code(1), .signal(.terminate, coreDumped: false), .signal(.abort, coreDumped: true),
        ]
        for failure in failures {
            var world = try World.running(spec)
            try world.end("a/0", failure)
            #expect(world.kind("a/0") == (policy == .never ? .failed : .backoff), "\(failure)")
        }
    }

    @Test func `the cause tells exit, signal and lack of memory apart`() throws {
        var world = try World.running(service("a"))
        try world.end("a/0", .code(7))
        #expect(world.record("a/0")?.lastExit?.cause == .exit)
        try world.advance(by: .seconds(1))
        try world.end("a/0", .signal(.kill, coreDumped: false))
        #expect(world.record("a/0")?.lastExit?.cause == .signal)
        try world.advance(by: .seconds(2))
        try world.end("a/0", .signal(.kill, coreDumped: false), outOfMemory: true)
        #expect(world.record("a/0")?.lastExit?.cause == .oom)
        #expect(world.record("a/0")?.restartsByCause == [.exit: 1, .signal: 1, .oom: 1])
    }

    @Test func `a twin is never started while some of the old tree lives`() throws {
        var world = try World.running(service("a"))
        try world.end("a/0", leaving: 2)
        #expect(world.kind("a/0") == .stopping)
        #expect(world.process("a/0")?.ending == true)
        world.shim.treeStays(World.id("a/0"))
        try world.advance(by: .seconds(3_600))
        #expect(world.shim.starts == 1)
        #expect(world.instanceStatus("a/0")?.reason?.contains("cannot end 3 process(es)") == true)
        try world.treeEnds("a/0")
        try world.advance(by: .seconds(1))
        #expect(world.shim.starts == 2)
    }

    @Test func `an operator's start cuts a backoff short and forgets the crashes`() throws {
        var world = try World.running(service("a", replicas: 2))
        for _ in 0..<3 {
            try world.end("a/0")
            try world.advance(by: .seconds(2))
        }
        try world.end("a/0")
        #expect(world.kind("a/0") == .backoff)
        let operation = try world.ask(start: "a/0")
        try world.settle()
        #expect(world.kind("a/0") == .ready)
        #expect(world.record("a/0")?.crashes == 0)
        #expect(world.results[operation] == .done)
    }

    @Test func `a failed instance is started by an operator only`() throws {
        var world = try World.running(service("a") { $0.restart.policy = .never })
        try world.end("a/0")
        try world.advance(by: .seconds(3_600))
        #expect(world.kind("a/0") == .failed)
        let operation = try world.ask(start: "a")
        try world.settle()
        #expect(world.kind("a/0") == .ready)
        #expect(world.results[operation] == .done)
    }
}
