import BreakerStore
import ControlServer
import HealthServer
import LinuxPlatform
import Metrics
import NIOCore
import NIOPosix
import StatusBoard
import SupervisorCore
import SupervisorRuntime
import Synchronization

/// Health and control: one event loop on a thread of its own, which reads the board and posts letters.
struct Edges {
    private let group: MultiThreadedEventLoopGroup
    private let health: HealthServer
    private let control: ControlServers
    /// nil where breakers are not shared.
    private let store: RedisStore?

    /// The listening sockets. Had first: nothing of the fleet is started where one of them cannot be had.
    struct Listeners {
        let health: [Int32]
        let agent: [Int32]
        let control: Int32

        init(_ supervisor: Supervisor, _ spec: FleetSpec) throws {
            health = try spec.health.listen.map { try supervisor.healthListener($0) }
            agent = try spec.health.agentListen.map { try supervisor.healthListener($0) }
            control = try supervisor.controlListener()
            supervisor.dropUnusedListeners()
        }
    }

    static func start(_ supervisor: Supervisor, _ spec: FleetSpec, _ listeners: Listeners) throws -> Edges {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let health = try HealthServer.start(
            listeners: listeners.health,
            agentListeners: listeners.agent,
            board: supervisor.board,
            version: Eiderd.version,
            loop: loop,
            clock: { MonotonicClock.now() },
            processFigures: { ProcessFigures.current() }
        ).wait()
        let access = Access(spec.control)
        let startControl = { [board = supervisor.board, port = supervisor.handle] (listener: Int32) in
            ControlServer.start(
                listener: listener,
                board: board,
                port: port,
                access: { access.policy },
                version: Eiderd.version,
                loop: loop,
                clock: { MonotonicClock.now() }
            )
        }
        let control = ControlServers(try startControl(listeners.control).wait())
        supervisor.controlRenewed = { listener in startControl(listener).whenSuccess { control.add($0) } }
        let handle = supervisor.handle
        supervisor.accessChanged = { access.replace($0) }
        supervisor.askProbers = { health.lookAtProbers { handle.probersSeen($0) } }
        supervisor.askEdges = { health.selfCheck().whenSuccess { if $0 { handle.edgesAnswered() } } }
        let store = openStore(supervisor, spec, loop)
        let served = [("health", health.boundAddresses), ("the HAProxy agent", health.agentAddresses)]
        for (what, addresses) in served {
            for address in addresses {
                let place = ListenAddress(host: address.ipAddress ?? "", port: address.port ?? 0)
                supervisor.announceListening("\(what) is served on \(place)")
            }
        }
        return Edges(group: group, health: health, control: control, store: store)
    }

    private static func openStore(_ supervisor: Supervisor, _ spec: FleetSpec, _ loop: any EventLoop) -> RedisStore? {
        guard spec.breaker.store == .redis else { return nil }
        let handle = supervisor.handle
        let store = RedisStore(spec: spec.breaker, caller: supervisor.ledgerCaller, loop: loop) {
            handle.storeSaid($0)
        }
        supervisor.askStore = { store.submit($0) }
        store.start()
        return store
    }

    /// Ends the edges, as the last act but a few of this process: what was being answered has a moment to be sent.
    ///
    /// The loop and the threads are left to the end of the process, or to the program that replaces it: to end them NIO
    /// goes through libdispatch, which traps where it gets no descriptors (`_dispatch_workq_monitor_pools`).
    func stop() {
        control.stop()
        try? health.stop().wait()
        try? store?.stop().wait()
        // Never released: what is released while it runs ends itself, by the same way.
        _ = Unmanaged.passRetained(group)
        _ = Unmanaged.passRetained(control)
    }
}

/// The control server, and those whose socket files were removed: whoever is connected to them stays so.
private final class ControlServers: Sendable {
    private let servers: Mutex<[ControlServer]>

    init(_ first: ControlServer) {
        servers = Mutex([first])
    }

    func add(_ server: ControlServer) {
        servers.withLock { $0.append(server) }
    }

    func stop() {
        for server in servers.withLock({ $0 }) { try? server.stop(leavingThreads: true).wait() }
    }
}

/// Who may use the control socket, by the configuration in force.
private final class Access: Sendable {
    private let current: Mutex<AccessPolicy>

    init(_ spec: ControlSpec) {
        current = Mutex(Self.policy(spec))
    }

    var policy: AccessPolicy { current.withLock { $0 } }

    func replace(_ spec: ControlSpec) {
        let policy = Self.policy(spec)
        current.withLock { $0 = policy }
    }

    private static func policy(_ spec: ControlSpec) -> AccessPolicy {
        AccessPolicy(
            admins: spec.admins,
            readers: spec.readers,
            lookup: SystemAccounts(),
            ownUser: Accounts.ownUserID
        )
    }
}
