import Glibc
import LinuxPlatform
import ShimProtocol
import SupervisorCore
import Testing

/// Rule P8: the daemon's death changes nothing.
@Suite("Deaths of the daemon and of the shim", .serialized)
struct TakeoverTests {
    private func record(_ listing: [ShimReport], _ id: InstanceID) -> ShimRecord? {
        listing.lazy.compactMap { report -> ShimRecord? in
            if case .record(let record) = report, record.instance == id { record } else { nil }
        }.first
    }

    @Test("the next daemon is given everything back", arguments: [false, true])
    func everythingBack(session: Bool) throws {
        let shim = try ShimHarness(session: session)
        let running = shim.shell("exec sleep 1000", "auth/0", 5)
        let ended = shim.shell("exit 7", "auth/1", 6)
        let pid = try shim.start(running)
        try shim.start(ended)
        _ = try shim.exit(of: ended)
        shim.send(.remember(key: "node", value: [1, 2, 3]), .remember(key: "gone", value: [9]))
        shim.send(.remember(key: "gone", value: []), .letGo("unknown"))
        shim.hold("output/read", shim.output.read)
        shim.disconnect()
        let listing = try shim.connect()
        guard case .welcome(let version, let shimPid, let containment, _) = listing.first else {
            Issue.record("no welcome: \(listing)")
            return
        }
        #expect(version == shimProtocolVersion && shimPid == shim.pid)
        #expect(containment.hasPrefix(session ? "session" : "cgroup /") || geteuid() != 0)
        #expect(listing.contains(.held("output")) && listing.contains(.held("output/read")))
        let identity = FileIdentity(descriptor: shim.output.write.rawValue)
        #expect(shim.descriptors.first.flatMap { FileIdentity(descriptor: $0.rawValue) } == identity)
        #expect(listing.contains(.memory(key: "node", value: [1, 2, 3])))
        #expect(!listing.contains { if case .memory("gone", _) = $0 { true } else { false } })
        #expect(record(listing, running.instance)?.pid == pid)
        #expect(record(listing, running.instance)?.state == .running)
        guard case .exited(let status, _, _, _) = record(listing, ended.instance)?.state else {
            Issue.record("the exit is lost: \(listing)")
            return
        }
        #expect(status == .code(7))
        #expect(record(listing, ended.instance)?.treeGone == true)
    }

    @Test("an exit while nobody is connected is kept until it is released")
    func exitKept() throws {
        let shim = try ShimHarness()
        let launch = shim.shell("exec sleep 1000")
        let pid = try shim.start(launch)
        shim.disconnect()
        kill(pid, SIGKILL)
        #expect(eventually { ProcessTable.entry(pid) == nil })
        for _ in 0..<2 {
            let kept = record(try shim.connect(), launch.instance)
            guard case .exited(.signal(.kill, _), _, _, _) = kept?.state else {
                Issue.record("the exit is lost: \(String(describing: kept))")
                return
            }
        }
        shim.send(.release(launch.instance, 1))
        #expect(record(try shim.connect(), launch.instance) == nil)
    }

    @Test("what a killed daemon had said is obeyed before the next one is answered")
    func lastWords() throws {
        let shim = try ShimHarness()
        for round in 1...50 as ClosedRange<UInt64> {
            // Reports stay unread, as with a daemon that is killed: the kernel then resets the connection.
            let launch = shim.shell("exec sleep 1000", "auth/\(round)", round)
            for key in 0..<20 { shim.send(.remember(key: "\(key)", value: [UInt8(round)])) }
            shim.send(.start(shim.shell("exit 0", "short/\(round)", 1)))
            shim.send(.start(launch))
            let listing = try shim.connect()
            #expect(record(listing, launch.instance)?.state == .running)
            #expect(listing.contains(.memory(key: "19", value: [UInt8(round)])))
        }
    }

    @Test("2,000 held descriptors come back in order")
    func manyDescriptors() throws {
        let shim = try ShimHarness()
        let count = 2_000
        for number in 0..<count {
            shim.hold("n/\(number)", number.isMultiple(of: 2) ? shim.output.read : shim.output.write)
        }
        let names = try shim.connect().compactMap { if case .held(let name) = $0 { name } else { nil } }
        #expect(names.count == count + 1 && shim.descriptors.count == names.count)
        let reader = try #require(FileIdentity(descriptor: shim.output.read.rawValue))
        for (name, descriptor) in zip(names, shim.descriptors) where name != "output" {
            #expect(FileIdentity(descriptor: descriptor.rawValue) == reader)
        }
    }

    @Test("a daemon that does not read is let go, and the next one told everything")
    func deafDaemon() throws {
        let shim = try ShimHarness()
        let value = [UInt8](repeating: 1, count: 100_000)
        for key in 0..<70 { shim.send(.remember(key: "\(key)", value: value)) }
        let before = try #require(ProcessTable.entry(shim.pid))
        let count = try shim.connect().count { if case .memory = $0 { true } else { false } }
        #expect(count == 70)
        #expect(ProcessTable.entry(shim.pid)?.startMilliseconds == before.startMilliseconds)
    }

    @Test("after kill -9 of the shim the next one ends what was left", arguments: [false, true])
    func shimKilled(session: Bool) throws {
        let directory = try TemporaryDirectory()
        let shim = try ShimHarness(session: session, in: directory)
        try shim.start(shim.shell("exec sleep 1000", "auth/0"))
        try shim.start(shim.shell("setsid sleep 1000 & exec sleep 1000", "auth/1"))
        // Nothing of the mark is left here: only ledger and descent, or the group, tell whose it is.
        try shim.start(shim.shell("exec env -i /bin/sh -c 'sleep 1000 & wait'", "auth/2"))
        #expect(try eventually { try descendants(of: shim.pid).count == 5 })
        let left = try descendants(of: shim.pid)
        shim.kill(SIGKILL)
        #expect(shim.reap() == .signal(.kill, coreDumped: false))
        #expect(left.allSatisfy(lives))
        try shim.launch()
        let listing = try shim.connect()
        #expect(!left.contains(where: lives))
        let strays: Int? = listing.lazy.compactMap { report -> Int? in
            if case .strays(let count, _) = report { count } else { nil }
        }.first
        #expect(strays == left.count)
        #expect(record(listing, InstanceID(service: "auth", index: 0)) == nil)
        let launch = shim.shell("exit 0", "auth/0", 2)
        try shim.start(launch)
        #expect(try shim.exit(of: launch).treeGone)
    }

    @Test("a process of somebody else with the same words in its environment is left alone")
    func innocent() throws {
        var start = ProgramStart(arguments: ["/bin/sleep", "1000"])
        start.environment = ["EIDER_TREE=0000000000000000:auth/0:1"]
        guard case .running(let pid) = start.start() else {
            Issue.record("cannot start")
            return
        }
        let shim = try ShimHarness()
        _ = try shim.connect()
        #expect(lives(pid))
        kill(pid, SIGKILL)
        #expect(eventually { ChildProcess.reap(pid) != nil })
    }
}
