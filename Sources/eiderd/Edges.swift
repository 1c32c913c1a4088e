import ControlServer
import HealthServer
import LinuxPlatform
import Metrics
import NIOCore
import NIOPosix
import StatusBoard
import SupervisorCore
import SupervisorRuntime

/// Health and control: one event loop on a thread of its own, which reads the board and posts letters.
struct Edges {
    private let group: MultiThreadedEventLoopGroup
    private let health: HealthServer
    private let control: ControlServer

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
        let access = AccessPolicy(
            admins: spec.control.admins,
            readers: spec.control.readers,
            lookup: SystemAccounts(),
            ownUser: Accounts.ownUserID
        )
        let control = try ControlServer.start(
            listener: listeners.control,
            board: supervisor.board,
            port: supervisor.handle,
            access: access,
            version: Eiderd.version,
            loop: loop,
            clock: { MonotonicClock.now() }
        ).wait()
        let handle = supervisor.handle
        supervisor.askEdges = { health.selfCheck().whenSuccess { if $0 { handle.edgesAnswered() } } }
        for address in health.boundAddresses {
            supervisor.announceListening(
                ListenAddress(host: address.ipAddress ?? "", port: address.port ?? 0).description
            )
        }
        return Edges(group: group, health: health, control: control)
    }

    /// Ends the edges: what was being answered has a moment to be sent.
    func stop() {
        try? control.stop().wait()
        try? health.stop().wait()
        try? group.syncShutdownGracefully()
    }
}
