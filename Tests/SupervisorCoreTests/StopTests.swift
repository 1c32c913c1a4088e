import Simulation
import Testing

@testable import SupervisorCore

/// Ending by wish: of one instance, of a service, of the fleet.
struct StopTests {
    private func ended(_ signal: SignalNumber) -> SupervisorCore.ExitStatus { .signal(signal, coreDumped: false) }

    @Test func `a stop asks, waits for the grace period, then kills the tree`() throws {
        var world = try World.running(service("a") { $0.stopGracePeriod = .seconds(30) })
        let operation = try world.ask(stop: "a", reason: "rest")
        #expect(world.pending("a/0") == [.terminate])
        try world.advance(by: .milliseconds(29_999))
        #expect(world.process("a/0")?.ending == false)
        try world.advance(by: .milliseconds(1))
        #expect(world.process("a/0")?.ending == true)
        #expect(world.instanceStatus("a/0")?.reason == "is being killed")
        #expect(world.results[operation] == nil, "it is not stopped before the tree is gone")
        try world.treeEnds("a/0")
        #expect(world.state(World.id("a/0")) == .stopped(.intent))
        #expect(world.results[operation] == .done)
        #expect(world.instanceStatus("a/0")?.reason == "by ada: rest")
        #expect(world.record("a/0")?.lastExit?.cause == .operator)
        #expect(world.record("a/0")?.restarts == 0)
        #expect(world.disk.stops == [StopIntent(instance: World.id("a/0"), by: "ada", reason: "rest")])
    }

    @Test func `children get the stop signal, and what is left of the grace period, after the main process`() throws {
        var world = try World.running(
            service("a") {
                $0.stopSignal = .interrupt
                $0.stopGracePeriod = .seconds(30)
            }
        )
        try world.ask(stop: "a")
        #expect(world.pending("a/0") == [.interrupt])
        try world.advance(by: .seconds(10))
        try world.end("a/0", .code(0), leaving: 2)
        #expect(world.pending("a/0") == [.interrupt], "to the tree this time")
        #expect(world.effects.contains(.signal(World.id("a/0"), 1, .interrupt, tree: true)))
        try world.advance(by: .seconds(20))
        #expect(world.process("a/0")?.ending == true)
        try world.childrenEnd("a/0")
        #expect(world.kind("a/0") == .stopped)
    }

    @Test func `a worker may ask for a longer grace period`() throws {
        var world = try World.running(service("a") { $0.stopGracePeriod = .seconds(10) })
        try world.ask(stop: "a")
        try world.advance(by: .seconds(5))
        try world.say("a/0") { $0.extendTimeout = .seconds(60) }
        try world.advance(by: .seconds(59))
        #expect(world.process("a/0")?.ending == false)
        try world.advance(by: .seconds(1))
        #expect(world.process("a/0")?.ending == true)
    }

    @Test func `a stop before the shim has answered follows behind the start`() throws {
        var world = World(.of([service("a")]))
        try world.start()
        try world.ask(stop: "a")
        #expect(world.kind("a/0") == .stopping)
        #expect(world.record("a/0")?.run?.pid == nil)
        #expect(world.pending("a/0") == [.terminate])
        try world.settle()
        #expect(world.kind("a/0") == .stopping, "the answer does not make it ready")
        #expect(world.record("a/0")?.run?.pid != nil)
        try world.end("a/0", ended(.terminate))
        #expect(world.kind("a/0") == .stopped)
    }

    @Test func `a start while it is stopping waits for the end, then starts`() throws {
        var world = try World.running(service("a"))
        let stop = try world.ask(stop: "a")
        let start = try world.ask(start: "a")
        #expect(world.results[stop] == .failed("a/0 was started again meanwhile"))
        #expect(world.shim.starts == 1)
        try world.end("a/0", .code(0))
        #expect(world.kind("a/0") == .ready)
        #expect(world.shim.starts == 2)
        #expect(world.results[start] == .done)
        #expect(world.disk.stops.isEmpty)
    }

    @Test func `a stop while a restart is going on wins`() throws {
        var world = try World.running(service("a"))
        let restart = try world.ask(restart: "a")
        let stop = try world.ask(stop: "a")
        #expect(world.results[restart] == .failed("a/0 was stopped meanwhile"))
        try world.end("a/0", .code(0))
        #expect(world.kind("a/0") == .stopped)
        #expect(world.results[stop] == .done)
    }

    @Test func `a stop of what waits or backs off is done at once`() throws {
        var world = try World.running(service("a"), service("b", .notify), service("c", after: ["b"]))
        try world.end("a/0")
        for name in ["a", "c"] {
            let operation = try world.ask(stop: name)
            #expect(world.results[operation] == .done)
            #expect(world.kind(name) == .stopped)
            #expect(world.timer(name) == nil)
        }
    }

    @Test func `a worker that says it is stopping takes no more work, and may change its mind`() throws {
        var world = try World.running(service("a", .notify))
        try world.sayReady("a/0")
        try world.say("a/0") { $0.stopping = true }
        #expect(world.status("a")?.ready == 0)
        #expect(world.status("a")?.state == .unhealthy)
        try world.sayReady("a/0")
        #expect(world.status("a")?.state == .healthy)
    }

    @Test func `what SIGKILL does not end is named, and the command that waits for it fails`() throws {
        var world = try World.running(service("a") { $0.stopGracePeriod = .seconds(1) })
        let operation = try world.ask(stop: "a")
        try world.advance(by: .seconds(1))
        world.shim.treeStays(World.id("a/0"))
        try world.settle()
        guard case .failed(let text)? = world.results[operation] else {
            Issue.record("\(world.results)")
            return
        }
        #expect(text.hasPrefix("cannot end 1 process(es) of a/0, such as pid 100"))
        let said = world.notes.count { $0.contains("cannot-end") }
        world.shim.treeStays(World.id("a/0"))
        try world.settle()
        #expect(world.notes.count { $0.contains("cannot-end") } == said, "it is said once")
        try world.treeEnds("a/0")
        #expect(world.kind("a/0") == .stopped)
    }

    // MARK: Restart

    @Test func `a restart replaces the process once, and is done when the new one is ready`() throws {
        var world = try World.running(service("a", .notify))
        try world.sayReady("a/0")
        let operation = try world.ask(restart: "a")
        try world.end("a/0", .code(1))
        #expect(world.kind("a/0") == .starting, "no backoff")
        #expect(world.results[operation] == nil)
        try world.sayReady("a/0")
        #expect(world.results[operation] == .done)
        #expect(world.record("a/0")?.restarts == 0, "asked restarts are not counted")
        #expect(world.record("a/0")?.generation == 2)
    }

    @Test func `a restart runs a oneshot again`() throws {
        var world = try World.running(service("a", .oneshot))
        try world.end("a/0", .code(0))
        let operation = try world.ask(restart: "a")
        #expect(world.kind("a/0") == .starting)
        try world.settle()
        try world.end("a/0", .code(0))
        #expect(world.results[operation] == .done)
    }

    @Test func `a start of what runs changes nothing and is done when it is ready`() throws {
        var world = try World.running(service("a", .notify), service("b"))
        let waiting = try world.ask(start: "a")
        let done = try world.ask(start: "b")
        #expect(world.results[done] == .done)
        #expect(world.results[waiting] == nil)
        try world.sayReady("a/0")
        #expect(world.results[waiting] == .done)
        #expect(world.shim.starts == 2)
    }

    @Test func `a start that crashes fails, and says that it is tried again`() throws {
        var world = try World.running(service("a", .notify))
        let operation = try world.ask(restart: "a")
        try world.end("a/0", .code(0))
        try world.end("a/0", .code(9))
        #expect(
            world.results[operation]
                == .failed("a/0 exited with code 9 and is tried again; see: eiderctl why a/0")
        )
    }

    // MARK: Commands

    @Test func `an unknown target changes nothing`() throws {
        var world = try World.running(service("a", replicas: 2))
        let commands: [Command] = [
            .stop([.service("a"), .service("b")], reason: nil), .signal(.service("b"), .hangup),
            .restart([.instance(InstanceID(service: "a", index: 2))], reason: nil),
        ]
        for command in commands {
            let operation = try world.command(command)
            guard case .unknownTarget = world.results[operation] else {
                Issue.record("\(command): \(world.results[operation] as Any)")
                continue
            }
        }
        #expect(world.kind("a/0") == .ready && world.kind("a/1") == .ready)
    }

    @Test func `a signal goes to every process of the target`() throws {
        var world = try World.running(service("a", replicas: 2), service("b", .oneshot))
        let operation = try world.command(.signal(.service("a"), .hangup))
        #expect(world.pending("a/0") == [.hangup] && world.pending("a/1") == [.hangup] && world.pending("b/0") == [])
        #expect(world.results[operation] == .done)
        try world.end("b/0", .code(0))
        let none = try world.command(.signal(.service("b"), .hangup))
        #expect(world.results[none] == .refused("b has no process to signal"))
    }

    @Test func `commands are refused until the shim is there, and signals while it is away`() throws {
        var world = World(.of([service("a")]))
        let early = try world.ask(stop: "a")
        guard case .refused = world.results[early] else {
            Issue.record("\(world.results)")
            return
        }
        try world.start()
        try world.settle()
        #expect(world.kind("a/0") == .ready)
        try world.shimIsLost(replaced: true)
        let late = try world.command(.signal(.service("a"), .hangup))
        guard case .refused = world.results[late] else {
            Issue.record("\(world.results)")
            return
        }
    }

    @Test func `waiting commands are limited`() throws {
        var world = try World.running(service("a", .notify))
        let oldest = try world.ask(start: "a")
        for _ in 1..<CoreLimits.operations { try world.ask(start: "a") }
        #expect(world.results[oldest] == nil)
        let newest = try world.ask(start: "a")
        // The newest takes the place of the oldest, which is told that nobody waits for it any more.
        guard case .failed = world.results[oldest] else {
            Issue.record("\(world.results[oldest] as Any)")
            return
        }
        #expect(world.results[newest] == nil)
        try world.sayReady("a/0")
        #expect(world.openOperations.isEmpty)
    }

    // MARK: The fleet

    @Test func `the stop of the fleet ends everything, and nothing is started after it`() throws {
        var world = try World.running(
            service("a", .notify),
            service("b"),
            service("c", after: ["a"]),
            service("d", replicas: 2),
            concurrentStarts: 1
        )
        let waiting = try world.ask(start: "c")
        try world.send(.shutdownRequested(by: "SIGTERM"))
        #expect(world.results[waiting] == .failed("c/0: the fleet is being stopped"))
        #expect(world.nodeStatus().state == .draining)
        #expect(world.nodeStatus().intent == .stop)
        let refused = try world.ask(start: "b")
        guard case .refused = world.results[refused] else {
            Issue.record("\(world.results)")
            return
        }
        for id in world.shim.ids {
            #expect(!world.finished)
            try world.end(id.description, .code(0))
        }
        #expect(world.finished)
        #expect(world.nodeStatus().state == .stopped)
    }

    @Test func `asking twice for the stop of the fleet changes nothing`() throws {
        var world = try World.running(service("a"))
        try world.send(.shutdownRequested(by: "SIGTERM"))
        let before = world.machine
        for by in ["SIGTERM", "SIGINT"] {
            try world.advance(by: .seconds(5))
            try world.send(.shutdownRequested(by: by))
            #expect(world.effects.isEmpty)
            #expect(world.machine == before)
        }
        #expect(world.pending("a/0") == [.terminate])
    }

    @Test func `a hastened stop kills at once, whether or not one was going on`() throws {
        for before in [true, false] {
            var world = try World.running(service("a", replicas: 2), service("b", .notify))
            if before { try world.send(.shutdownRequested(by: "SIGTERM")) }
            try world.send(.shutdownHastened)
            for id in world.shim.ids {
                #expect(world.shim.processes[id]?.ending == true)
                try world.treeEnds(id.description)
            }
            #expect(world.finished)
        }
    }

    @Test func `a stop that is asked for before the shim is there counts`() throws {
        for hastened in [false, true] {
            var world = try World.running(service("a"))
            world.connected = false
            try world.daemonDies()
            try world.send(hastened ? .shutdownHastened : .shutdownRequested(by: "SIGTERM"))
            #expect(!world.finished)
            try world.shimConnects()
            #expect(world.kind("a/0") == .stopping)
            #expect(world.process("a/0")?.ending == hastened)
            try world.treeEnds("a/0")
            #expect(world.finished)
        }
    }
}
