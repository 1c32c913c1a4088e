package import SupervisorCore

/// The shim and the kernel below it, as a value: obeys the core's effects as the real shim does, and throws when an
/// effect is one that must never be asked of it.
///
/// It uses nothing of the core but its messages, has no clock and no randomness, and never depends on the order of a
/// dictionary; so a run with the same inputs is the same run.
package struct ShadowShim {
    /// One record: a process tree, or the exit of one that was not yet released.
    package struct Process: Equatable {
        package var generation: Generation
        package var pid: Int32
        package var startedAt: MonotonicInstant
        package var state: Adoption.Record.State = .running
        /// Members of the tree besides the main process.
        package var children = 0
        /// Signals to the main process or the tree that have not been acted upon yet.
        package var pendingSignals: [SignalNumber] = []
        /// Every signal the daemon ever sent to this run.
        package var signalsSent = 0
        /// The tree is being killed.
        package var ending = false

        package var mainAlive: Bool { state == .running }
        package var treeGone: Bool { !mainAlive && children == 0 }
    }

    /// A datagram in the notify socket, which outlives the daemon.
    package struct Datagram: Equatable {
        package var instance: InstanceID
        package var generation: Generation
        package var message: NotifyMessage
    }

    package private(set) var processes: [InstanceID: Process] = [:]
    /// What the daemon has the shim remember.
    package private(set) var memory: [InstanceID: RememberedInstance] = [:]
    package private(set) var node: RememberedNode?
    package private(set) var breakers = RememberedBreakers()
    /// Reports that were sent and not yet read; they die with the connection.
    package var outbox: [Event] = []
    /// What workers said, until the daemon has acted upon it.
    package var datagrams: [Datagram] = []
    /// While set, each start fails this way.
    package var startFault: SpawnFailure?
    /// Starts that led to a process.
    package private(set) var starts = 0
    /// Processes of the former shim that were ended before this one began.
    package private(set) var remainsEnded = 0
    private var nextPid: Int32 = 100

    package init() {}

    /// Instances with a record, in order.
    package var ids: [InstanceID] { processes.keys.sorted() }

    // MARK: Obeying

    /// Does what an effect asks. Effects that are not for the shim do nothing.
    package mutating func obey(_ effect: Effect, at now: MonotonicInstant) throws {
        switch effect {
        case .spawn(let id, let generation): try spawn(id, generation, now)
        case .signal(let id, let generation, let signal, _): deliver(signal, to: id, generation)
        case .endTree(let id, let generation): try endTree(id, generation)
        case .release(let id, let generation): try release(id, generation)
        case .remember(let id, let record): try remember(id, record)
        case .rememberNode(let record):
            if node?.shutdownBy != nil, record.shutdownBy == nil {
                throw ShadowViolation("P5: the stop of the fleet was forgotten")
            }
            node = record
        case .rememberBreakers(let record): breakers = record
        default: break
        }
    }

    private mutating func spawn(_ id: InstanceID, _ generation: Generation, _ now: MonotonicInstant) throws {
        if node?.shutdownBy != nil { throw ShadowViolation("P5: \(id) is started after the fleet was to stop") }
        if let process = processes[id] {
            throw ShadowViolation("P1: \(id) #\(generation) is started while #\(process.generation) has a record")
        }
        guard let known = memory[id], known.generation == generation, case .starting = known.state else {
            throw ShadowViolation("\(id) #\(generation) is started before that was remembered")
        }
        if let fault = startFault {
            outbox.append(.startFailed(id, generation, fault))
            return
        }
        processes[id] = Process(generation: generation, pid: nextPid, startedAt: now)
        outbox.append(.started(id, generation, pid: nextPid, at: now))
        nextPid += 1
        starts += 1
    }

    private mutating func deliver(_ signal: SignalNumber, to id: InstanceID, _ generation: Generation) {
        // A stale signal is ignored, and so is one to a start that failed.
        guard processes[id]?.generation == generation else { return }
        processes[id]?.pendingSignals.append(signal)
        processes[id]?.signalsSent += 1
    }

    private mutating func endTree(_ id: InstanceID, _ generation: Generation) throws {
        guard case .stopping(let stop)? = memory[id]?.state, stop.graceEnds == nil else {
            throw ShadowViolation("\(id) #\(generation) is killed before that was remembered")
        }
        guard processes[id]?.generation == generation else { return }
        processes[id]?.ending = true
    }

    private mutating func release(_ id: InstanceID, _ generation: Generation) throws {
        if let known = memory[id], known.state.hasProcess, known.generation == generation {
            throw ShadowViolation("\(id) #\(generation) is released while it is remembered as a process")
        }
        // A start that failed has no record; the daemon need not know that.
        guard let process = processes[id] else { return }
        if process.generation != generation { throw ShadowViolation("\(id): #\(generation) is not what is recorded") }
        if !process.treeGone { throw ShadowViolation("P2: \(id) is released before its tree is gone") }
        processes[id] = nil
        datagrams.removeAll { $0.instance == id }
    }

    private mutating func remember(_ id: InstanceID, _ record: RememberedInstance?) throws {
        if let record, record.state.hasProcess != (record.run != nil) {
            throw ShadowViolation("\(id) is remembered as \(record.state) but its run is \(record.run as Any)")
        }
        memory[id] = record
    }

    // MARK: What the world does to processes

    /// The main process ends, leaving some of its tree.
    package mutating func mainEnds(
        _ id: InstanceID,
        _ status: ExitStatus,
        leaving children: Int = 0,
        outOfMemory: Bool = false,
        at now: MonotonicInstant
    ) {
        guard var process = processes[id], process.mainAlive else { return }
        let usage = ResourceUsage(userMicroseconds: 1, systemMicroseconds: 2, maximumResidentKibibytes: 3)
        process.state = .exited(status, usage, at: now, outOfMemory: outOfMemory)
        process.children = children
        process.pendingSignals = []
        processes[id] = process
        outbox.append(
            .exited(id, process.generation, status, usage, outOfMemory: outOfMemory, treeGone: children == 0)
        )
    }

    /// What is left of the tree, after the main process, ends.
    package mutating func childrenEnd(_ id: InstanceID) {
        guard var process = processes[id], !process.mainAlive, process.children > 0 else { return }
        process.children = 0
        processes[id] = process
        outbox.append(.treeGone(id, process.generation))
    }

    /// The kernel ends the whole tree, as asked.
    package mutating func treeEnds(_ id: InstanceID, at now: MonotonicInstant) {
        mainEnds(id, .signal(.kill, coreDumped: false), at: now)
        childrenEnd(id)
    }

    /// SIGKILL does not help yet.
    package mutating func treeStays(_ id: InstanceID) {
        guard let process = processes[id], process.ending, !process.treeGone else { return }
        outbox.append(.treeRemained(id, process.generation, count: 1 + process.children, example: process.pid))
    }

    /// The worker sends a datagram.
    package mutating func say(_ id: InstanceID, _ message: NotifyMessage) {
        guard let process = processes[id], process.mainAlive else { return }
        datagrams.append(Datagram(instance: id, generation: process.generation, message: message))
    }

    // MARK: Connections

    /// The daemon's end of the socket is closed.
    package mutating func connectionEnds() {
        outbox = []
    }

    /// The shim dies, and another begins by ending the remains. It remembers nothing.
    package mutating func isReplaced() {
        remainsEnded = processes.count
        processes = [:]
        memory = [:]
        node = nil
        breakers = RememberedBreakers()
        outbox = []
        datagrams = []
    }

    /// Everything it holds, as a daemon that connects is told; what is remembered goes through its bytes.
    package func adoption(intents: Intents) throws -> Adoption {
        var adoption = Adoption()
        for id in ids {
            guard let process = processes[id] else { continue }
            adoption.records.append(
                Adoption.Record(
                    instance: id,
                    generation: process.generation,
                    pid: process.pid,
                    startedAt: process.startedAt,
                    state: process.state,
                    treeGone: process.treeGone
                )
            )
        }
        for id in memory.keys.sorted() {
            guard let record = memory[id] else { continue }
            guard let decoded = RememberedInstance(decoding: record.encoded()), decoded == record else {
                throw ShadowViolation("what is remembered of \(id) does not survive its bytes: \(record)")
            }
            adoption.remembered.instances[id] = decoded
        }
        if let node {
            guard let decoded = RememberedNode(decoding: node.encoded()), decoded == node else {
                throw ShadowViolation("what is remembered of the node does not survive its bytes: \(node)")
            }
            adoption.remembered.node = decoded
        }
        guard let decoded = RememberedBreakers(decoding: breakers.encoded()), decoded == breakers else {
            throw ShadowViolation("what is remembered of breakers does not survive its bytes: \(breakers)")
        }
        adoption.remembered.breakers = decoded
        adoption.intents = intents
        adoption.remainsEnded = remainsEnded
        return adoption
    }
}
