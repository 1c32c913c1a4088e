import Glibc
import LinuxPlatform
import ShimProtocol
import SupervisorCore
import Testing

/// Rule P2: stopped means that the whole tree is gone.
@Suite("Trees", .serialized)
struct TreeTests {
    /// Has the script say pids, and waits for `count` of them.
    private func pids(_ shim: ShimHarness, _ count: Int) throws -> [Int32] {
        let text = try read(shim.output.read.rawValue) { $0.split(separator: "\n").count >= count }
        return text.split(separator: "\n").compactMap { Int32($0) }
    }

    @Test("a child in a session of its own goes with the tree", arguments: [false, true])
    func ownSession(session: Bool) throws {
        let shim = try ShimHarness(session: session)
        let launch = shim.shell("setsid sh -c 'echo $$; exec sleep 1000' & exec sleep 1000")
        let main = try shim.start(launch)
        let left = try pids(shim, 1)
        #expect(left.count == 1)
        shim.send(.signal(launch.instance, 1, .kill, tree: false))
        #expect(try shim.exit(of: launch).treeGone == false)
        #expect(left.allSatisfy(lives))
        // Too early: something is left (rule P1).
        shim.send(.release(launch.instance, 1))
        #expect(try shim.failure(of: shim.shell("exit 0", "auth/0", 2)).errno == EEXIST)
        shim.send(.endTree(launch.instance, 1))
        try shim.waitForTreeGone(launch)
        #expect(!left.contains(where: lives) && !lives(main))
    }

    @Test("a daemon that forked twice and cleared its environment goes with the tree", arguments: [false, true])
    func doubleFork(session: Bool) throws {
        let shim = try ShimHarness(session: session)
        let launch = shim.shell(
            "(setsid env -i /bin/sh -c '(echo $$; exec sleep 1000) &' &) ; exec sleep 1000"
        )
        try shim.start(launch)
        _ = try pids(shim, 1)
        shim.send(.endTree(launch.instance, 1))
        let exit = try shim.exit(of: launch)
        if !exit.treeGone { try shim.waitForTreeGone(launch) }
        #expect(try descendants(of: shim.pid).isEmpty)
    }

    @Test("a tree that goes by itself is noticed, without anybody asking", arguments: [false, true])
    func goesByItself(session: Bool) throws {
        let shim = try ShimHarness(session: session)
        let gate = try FileDescriptors.pipe()
        shim.hold("gate", gate.read)
        var launch = shim.shell("(read line <&3; exit 0) & exit 0")
        launch.sockets = ["gate"]
        try shim.start(launch)
        #expect(try shim.exit(of: launch).treeGone == false)
        let line: [UInt8] = [10]
        _ = try line.withUnsafeBytes { try FileDescriptors.write(gate.write.rawValue, $0) }
        try shim.waitForTreeGone(launch)
    }

    @Test("the orphans of one instance do not hold up another", arguments: [false, true])
    func neighbours(session: Bool) throws {
        let shim = try ShimHarness(session: session)
        let first = shim.shell("sleep 1000 & exit 0", "auth/0")
        let second = shim.shell("exec sleep 1000", "auth/1")
        try shim.start(first)
        let survivor = try shim.start(second)
        #expect(try shim.exit(of: first).treeGone == false)
        shim.send(.endTree(first.instance, 1))
        try shim.waitForTreeGone(first)
        #expect(lives(survivor))
        shim.send(.signal(second.instance, 1, .kill, tree: false))
        #expect(try shim.exit(of: second).treeGone)
    }

    @Test("a signal for the tree reaches all of it", arguments: [false, true])
    func treeSignal(session: Bool) throws {
        let shim = try ShimHarness(session: session)
        let launch = shim.shell("setsid sleep 1000 & echo $$; exec sleep 1000")
        try shim.start(launch)
        _ = try pids(shim, 1)
        #expect(try eventually { try descendants(of: shim.pid).count == 2 })
        shim.send(.signal(launch.instance, 1, .terminate, tree: true))
        let exit = try shim.exit(of: launch)
        if !exit.treeGone { try shim.waitForTreeGone(launch) }
    }

    @Test("a fork bomb loses", .timeLimit(.minutes(1)), arguments: [false, true])
    func forkBomb(session: Bool) throws {
        let shim = try ShimHarness(session: session)
        var launch = shim.shell("f() { while :; do command eval '(f) &'; done; }; f 2>/dev/null")
        // The bound that keeps the host safe: processes of this user.
        let resource: Int32 = 6
        if geteuid() == 0 {
            launch.credentials = ServiceSpec.Credentials(uid: 65_511, gid: 65_511, supplementaryGroups: [])
            launch.limits = [LaunchRequest.ResourceLimit(resource: resource, soft: 120, hard: 120)]
        } else {
            let own = UInt64(try ProcessTable.pids().count + 120)
            launch.limits = [LaunchRequest.ResourceLimit(resource: resource, soft: own, hard: own)]
        }
        try shim.start(launch)
        #expect(try eventually { try descendants(of: shim.pid).count > 60 })
        let asked = MonotonicClock.now()
        shim.send(.endTree(launch.instance, 1))
        let exit = try shim.exit(of: launch)
        if !exit.treeGone { try shim.waitForTreeGone(launch) }
        #expect(try descendants(of: shim.pid).isEmpty)
        print("fork bomb ended (session: \(session)) in \(MonotonicClock.now().since(asked))")
    }

    @Test("SIGTERM to the shim alone ends everything first", arguments: [false, true])
    func stoppedAlone(session: Bool) throws {
        let shim = try ShimHarness(session: session)
        try shim.start(shim.shell("exec sleep 1000", "auth/0"))
        let script = "setsid sleep 1000 & trap 'exit 0' TERM; echo $$; while :; do sleep 1; done"
        try shim.start(shim.shell(script, "auth/1"))
        _ = try pids(shim, 1)
        let all = try descendants(of: shim.pid)
        #expect(all.count >= 3)
        shim.kill(SIGTERM)
        #expect(shim.reap() == .code(0))
        #expect(!all.contains(where: lives))
    }
}

/// Living descendants of a process.
func descendants(of root: Int32) throws -> [Int32] {
    var children: [Int32: [ProcessTable.Entry]] = [:]
    for entry in try ProcessTable.entries() { children[entry.parent, default: []].append(entry) }
    var found: [Int32] = []
    var pending = [root]
    while let pid = pending.popLast() {
        for child in children[pid] ?? [] {
            if !child.isDead { found.append(child.pid) }
            pending.append(child.pid)
        }
    }
    return found
}
