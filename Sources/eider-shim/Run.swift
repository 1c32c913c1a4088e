import LinuxPlatform
import ShimProtocol
import SupervisorCore

/// One run of an instance, from its start until its exit was acknowledged.
final class Run {
    struct Exit {
        var status: ExitStatus
        var usage: ResourceUsage
        var at: MonotonicInstant
        var outOfMemory: Bool
    }

    /// The tree is being ended.
    struct Ending {
        var nextSweep: MonotonicInstant
        var pause: Duration = .milliseconds(5)
        var nextReport: MonotonicInstant
    }

    let id: InstanceID
    let generation: Generation
    /// The main process.
    var pid: Int32
    /// The process that was started: the leader of the tree's first session.
    let firstPid: Int32
    let startedAt: MonotonicInstant
    let group: InstanceCgroup?
    /// The pipe of its standard output.
    let output: FileIdentity?
    let outOfMemoryKillsBefore: UInt64
    private(set) var ledgerSlots: [Int]
    /// Tells the end of a main process that may not be our child.
    private(set) var adopted: SharedDescriptor?
    /// Of a detached start: tells after its end whether it was ever executed.
    var startReport: StartReport?
    var exit: Exit?
    var treeGone = false
    var ending: Ending?

    init(
        _ launch: LaunchRequest,
        pid: Int32,
        startedAt: MonotonicInstant,
        group: InstanceCgroup?,
        output: FileIdentity?,
        outOfMemoryKillsBefore: UInt64,
        ledgerSlot: Int?
    ) {
        id = launch.instance
        generation = launch.generation
        self.pid = pid
        firstPid = pid
        self.startedAt = startedAt
        self.group = group
        self.output = output
        self.outOfMemoryKillsBefore = outOfMemoryKillsBefore
        ledgerSlots = ledgerSlot.map { [$0] } ?? []
    }

    /// Takes another process of the tree as the main one.
    func adopt(pid: Int32, descriptor: SharedDescriptor, ledgerSlot: Int?) {
        self.pid = pid
        adopted = descriptor
        if let ledgerSlot { ledgerSlots.append(ledgerSlot) }
    }

    var record: ShimRecord {
        let state: ShimRecord.State =
            if let exit {
                .exited(exit.status, exit.usage, at: exit.at, outOfMemory: exit.outOfMemory)
            } else {
                .running
            }
        return ShimRecord(
            instance: id,
            generation: generation,
            pid: pid,
            startedAt: startedAt,
            state: state,
            treeGone: treeGone
        )
    }
}
