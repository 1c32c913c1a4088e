import FleetConfig
import LinuxPlatform
import Prober
public import StatusBoard
public import SupervisorCore
import Synchronization

/// What reaches the supervision thread from others.
enum SupervisorLetter: Sendable {
    case command(Command, Caller, wait: Bool, reply: @Sendable (OperationResult) -> Void)
    case upgrade(Caller, reply: @Sendable (OperationResult) -> Void)
    /// The edges have answered a round trip: everything that systemd's watchdog stands for works.
    case edgesAnswered
    /// A log file, or the disk, has a problem, or has it no more.
    case logProblem(String)
    /// Something that operators should know of could not be done.
    case warned(String)
    /// Probes have found something.
    case probed([ProbeReport])
    /// Who asks the health ports.
    case probersSeen([ProberSighting])
    case planDrain(DrainRequest, reply: @Sendable (DrainPlan) -> Void)
    case reload(ReloadRequest)
    /// The configuration was read, for the reload that goes on.
    case configurationRead(Result<Configuration, ConfigurationErrors>)
    /// The shared store of breakers has something to say.
    case storeSaid(StoreNews)
    /// Programs are other ones than before.
    case releasesIdentified([String: String])
    /// Connections were counted, or could not be: the problem says why, or why not all were.
    case connectionsCounted([TrafficFigure]?, problem: String?)
}

/// How the edges reach supervision: letters in, replies out.
public final class SupervisorHandle: SupervisorPort {
    private let currentSpec: Mutex<FleetSpec>
    public let logs: any LogReading
    public let events: any EventReading
    let mailbox: Mailbox<SupervisorLetter>

    init(
        spec: FleetSpec,
        logs: any LogReading,
        events: any EventReading,
        mailbox: Mailbox<SupervisorLetter>
    ) {
        currentSpec = Mutex(spec)
        self.logs = logs
        self.events = events
        self.mailbox = mailbox
    }

    public func submit(
        _ command: Command,
        by caller: Caller,
        wait: Bool,
        reply: @escaping @Sendable (OperationResult) -> Void
    ) {
        mailbox.post(.command(command, caller, wait: wait, reply: reply))
    }

    public func upgrade(by caller: Caller, reply: @escaping @Sendable (OperationResult) -> Void) {
        mailbox.post(.upgrade(caller, reply: reply))
    }

    public var spec: FleetSpec { currentSpec.withLock { $0 } }

    func replace(spec: FleetSpec) { currentSpec.withLock { $0 = spec } }

    public func planDrain(_ request: DrainRequest, reply: @escaping @Sendable (DrainPlan) -> Void) {
        mailbox.post(.planDrain(request, reply: reply))
    }

    public func reload(
        by caller: Caller,
        dryRun: Bool,
        wait: Bool,
        reply: @escaping @Sendable (ReloadResult) -> Void
    ) {
        mailbox.post(.reload(ReloadRequest(caller: caller.name, isDryRun: dryRun, waits: wait, reply: reply)))
    }

    /// Says who asks the health ports; see `Supervisor.askProbers`.
    public func probersSeen(_ sightings: [ProberSighting]) {
        mailbox.post(.probersSeen(sightings))
    }

    /// Says what the shared store of breakers has to say; see `Supervisor.askStore`.
    public func storeSaid(_ news: StoreNews) {
        mailbox.post(.storeSaid(news))
    }

    /// Says that health listener and snapshot have answered; see `Supervisor.beat`.
    public func edgesAnswered() {
        mailbox.post(.edgesAnswered)
    }
}

extension Supervisor {
    func received(_ letter: SupervisorLetter) {
        switch letter {
        case .command(let command, let caller, let wait, let reply):
            submit(command, by: caller, wait: wait, reply)
        case .upgrade(let caller, let reply): beginUpgrade(by: caller, reply)
        case .edgesAnswered: edgesAnswered()
        case .logProblem(let text): record(subject: nil, kind: "log-problem", text)
        case .warned(let text): record(subject: nil, kind: "warning", text)
        case .probed(let reports): received(reports)
        case .probersSeen(let sightings): probersSeen(sightings)
        case .planDrain(let request, let reply): plan(DrainPlanRequest(request: request, reply: reply))
        case .reload(let request): begin(request)
        case .configurationRead(let result): configurationRead(result)
        case .storeSaid(let news): receive(.storeSaid(news))
        case .releasesIdentified(let found): receive(.releasesIdentified(found))
        case .connectionsCounted(let figures, let problem):
            received(TrafficCounter.Answer(figures: figures, problem: problem))
        }
    }

    private func submit(
        _ command: Command,
        by caller: Caller,
        wait: Bool,
        _ reply: @escaping @Sendable (OperationResult) -> Void
    ) {
        nextOperation &+= 1
        let operation = nextOperation
        replies[operation] = reply
        receive(.commanded(operation, command, by: caller.name))
        // Accepted, and nobody waits for the end.
        if !wait { finish(operation, .done) }
    }
}
