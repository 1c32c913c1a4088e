import Glibc
import SupervisorCore
import Testing

@testable import SupervisorRuntime

private func at(_ milliseconds: Int64) -> MonotonicInstant {
    MonotonicInstant(nanoseconds: 1_000_000_000 + milliseconds * 1_000_000)
}

@Suite struct SenderIdentityTests {
    private let auth = InstanceID(service: "auth", index: 0)
    private let chat = InstanceID(service: "chat", index: 3)

    private let users = WorkerUsers([getuid()])

    /// The process is of our own user.
    private func resolve(
        _ identity: inout SenderIdentity,
        _ pid: Int32,
        mains: SenderIdentity.Mains,
        now: MonotonicInstant
    ) -> SenderIdentity.Answer {
        identity.resolve(pid, uid: getuid(), users: users, mains: mains, now: now)
    }

    @Test func knowsMainProcessesAndTheirDescendants() throws {
        var identity = SenderIdentity(containment: .session)
        let mains: SenderIdentity.Mains = [getppid(): (auth, 7), 4_000_000: (chat, 1)]
        let main = resolve(&identity, getppid(), mains: mains, now: at(0))
        #expect(main == .main(auth, 7))
        let child = resolve(&identity, getpid(), mains: mains, now: at(0))
        #expect(child == .relative(auth, 7))
        #expect(identity.isInTree(getpid(), of: auth, mains: mains))
        #expect(!identity.isInTree(getpid(), of: chat, mains: mains))
        #expect(!identity.isInTree(4_000_001, of: auth, mains: mains))
        #expect(!identity.isInTree(-1, of: auth, mains: mains))
    }

    @Test func knowsTheSession() {
        var identity = SenderIdentity(containment: .session)
        let session = getsid(0)
        guard session != getpid() else { return }
        #expect(resolve(&identity, getpid(), mains: [session: (chat, 2)], now: at(0)) == .relative(chat, 2))
    }

    @Test func answersAreKeptForAMoment() {
        var identity = SenderIdentity(containment: .session)
        #expect(resolve(&identity, getpid(), mains: [:], now: at(0)) == .stranger(parent: getppid()))
        let mains: SenderIdentity.Mains = [getppid(): (auth, 7)]
        // That it belongs to nobody is believed for two seconds.
        #expect(resolve(&identity, getpid(), mains: mains, now: at(1999)) == .stranger(parent: getppid()))
        #expect(resolve(&identity, getpid(), mains: mains, now: at(2001)) == .relative(auth, 7))
        #expect(resolve(&identity, getpid(), mains: [4_000_000: (auth, 8)], now: at(2002)) == .relative(auth, 8))
        // Its instance has no process any more.
        #expect(resolve(&identity, getpid(), mains: [:], now: at(2003)) == .stranger(parent: getppid()))
        #expect(resolve(&identity, 0, mains: mains, now: at(0)) == .stranger(parent: nil))
    }

    @Test func readsCgroups() {
        let root = "/sys/fs/cgroup/system.slice/eider.service/eider-5f3a"
        func instance(_ text: String) -> InstanceID? { SenderIdentity.instance(inCgroups: text, root: root) }
        let path = "/system.slice/eider.service/eider-5f3a"
        #expect(instance("0::\(path)/chat@3\n") == chat)
        #expect(instance("4:memory:/x\n0::\(path)/chat@3/inner/x@9\n") == chat)
        #expect(instance("0::/eider-5f3a/a@b@12\n") == InstanceID(service: "a@b", index: 12))
        for text in [
            "", "0::/", "0::\(path)", "0::\(path)/chat", "0::\(path)/chat@", "0::\(path)/@3", "0::\(path)/chat@-1",
            "0::\(path)/chat@03", "0::/other/chat@3", "1:name=systemd:\(path)/chat@3",
        ] {
            #expect(instance(text) == nil, "\(text)")
        }
        #expect(SenderIdentity.instance(inCgroups: "0::/x", root: "/") == nil)
    }

    @Test func readsProcStat() {
        let text = "4711 (a) b (c)) S 12 4711 99 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 1 1"
        #expect(
            SenderIdentity.stat(text: text) == SenderIdentity.Stat(parent: 12, session: 99, startTime: 123_456)
        )
        #expect(SenderIdentity.stat(text: "") == nil)
        #expect(SenderIdentity.stat(text: "1 (x) S 1 2") == nil)
    }

    @Test func aUserThatNoWorkerCanBeIsNobody() {
        let workers = WorkerUsers([1000, 1000, 1001])
        #expect(workers.share(of: 1000) == .user(1000))
        #expect(workers.share(of: 1001) == .user(1001))
        #expect(workers.share(of: 0) == .others)
        #expect(workers.share(of: 65_534) == nil)
        // A worker of root can become anybody.
        let withRoot = WorkerUsers([0, 1000])
        #expect(withRoot.share(of: 0) == .user(0))
        #expect(withRoot.share(of: 65_534) == .others)
        var identity = SenderIdentity(containment: .session)
        let mains: SenderIdentity.Mains = [getppid(): (auth, 7)]
        // Our own process is of the tree, and not looked for: its user is nobody.
        for _ in 0..<1000 {
            let answer = identity.resolve(getpid(), uid: 65_534, users: workers, mains: mains, now: at(0))
            #expect(answer == .stranger(parent: nil))
        }
        // A main process is known whatever user it became.
        #expect(identity.resolve(getppid(), uid: 65_534, users: workers, mains: mains, now: at(0)) == .main(auth, 7))
        #expect(identity.resolve(getpid(), uid: 1000, users: workers, mains: mains, now: at(0)) == .relative(auth, 7))
    }

    @Test func aStormOfOneUserIsNotLookedUpAndCostsNoOther() {
        var identity = SenderIdentity(containment: .session)
        let users = WorkerUsers([0, 1000, 1001])
        let mains: SenderIdentity.Mains = [getppid(): (auth, 7)]
        func storm(_ uid: UInt32) -> Int {
            (0..<1000).count { _ in
                identity.forgetAnswers()
                return identity.resolve(getpid(), uid: uid, users: users, mains: mains, now: at(0)) != .notLookedUp
            }
        }
        #expect(storm(65_534) == SenderIdentity.Limits.othersBurst)
        #expect(storm(65_533) == 0)
        #expect(storm(1000) == SenderIdentity.Limits.burst)
        // Another user's process, and a main process of the same, are found.
        #expect(identity.resolve(getpid(), uid: 1001, users: users, mains: mains, now: at(0)) == .relative(auth, 7))
        identity.forgetAnswers()
        #expect(identity.resolve(getppid(), uid: 1000, users: users, mains: mains, now: at(0)) == .main(auth, 7))
        #expect(identity.resolve(getpid(), uid: 1000, users: users, mains: mains, now: at(0)) == .notLookedUp)
        #expect(identity.resolve(getpid(), uid: 1000, users: users, mains: mains, now: at(100)) == .relative(auth, 7))
    }

    @Test func aKnownStrangerCostsNothing() {
        var identity = SenderIdentity(containment: .session)
        for _ in 0..<1000 {
            #expect(resolve(&identity, getpid(), mains: [:], now: at(0)) == .stranger(parent: getppid()))
        }
        // Of another user it is another process.
        let all = WorkerUsers([getuid(), 1001])
        let mains: SenderIdentity.Mains = [getppid(): (auth, 7)]
        #expect(identity.resolve(getpid(), uid: 1001, users: all, mains: mains, now: at(0)) == .relative(auth, 7))
    }
}
