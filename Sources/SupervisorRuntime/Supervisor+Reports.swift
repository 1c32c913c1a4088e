import LinuxPlatform
import ShimProtocol
import StatusBoard
import SupervisorCore

// What the shim says, and what is remembered through it.
extension Supervisor {
    /// Starts supervision: the shim has listed everything it holds.
    func begin(_ listing: ShimListing) {
        takeOver(listing)
        identifyReleases(for: listing)
        receive(.shimConnected(adoption(of: listing, intents: storedIntents())))
    }

    func received(_ report: ShimReport) {
        if probeReported(report) { return }
        switch report {
        case .started(let id, let generation, let pid, let at, let warnings):
            forgetPid(of: id, generation)
            mains[pid] = (id, generation)
            for warning in warnings { record(subject: id.description, kind: "warning", "\(id): \(warning)") }
            receive(.started(id, generation, pid: pid, at: at))
        case .startFailed(let id, let generation, let failure):
            if failure.stage == .descriptors { holdAgain(failure.path) }
            receive(.startFailed(id, generation, failure))
        case .exited(let id, let generation, let status, let usage, _, let outOfMemory, let treeGone):
            forgetPid(of: id, generation)
            receive(
                .exited(id, generation, status, usage, outOfMemory: outOfMemory, treeGone: treeGone)
            )
        case .treeGone(let id, let generation):
            receive(.treeGone(id, generation))
        case .treeRemains(let id, let generation, let count, let example):
            receive(.treeRemained(id, generation, count: count, example: example))
        case .pong: shimAnswered()
        case .strays(let count, let example):
            record(
                subject: nil,
                kind: "strays",
                "\(count) process(es), such as pid \(example), left their worker's tree and belong to no instance; "
                    + "they are ended when the fleet is stopped"
            )
        case .welcome, .held, .record, .memory, .listed:
            // Only answers to `hello`, which `ShimLink.connect` has taken.
            break
        }
    }

    private func forgetPid(of id: InstanceID, _ generation: Generation) {
        if let pid = machine.pid(of: id, generation) { mains[pid] = nil }
    }

    /// Takes the descriptors and pids of a listing into use.
    func takeOver(_ listing: ShimListing) {
        mains = [:]
        shimProcess = listing.shimPid
        identity = SenderIdentity(containment: listing.containmentOfTrees)
        for record in listing.records where ExecProbes.isProbe(record.instance) { execProbes.found(record) }
        for name in listing.held.keys.sorted() where HeldNames.isProbeOutput(name) { link?.send(.letGo(name)) }
        for record in listing.records where record.state == .running && !ExecProbes.isProbe(record.instance) {
            mains[record.pid] = (record.instance, record.generation)
        }
        pipesHeld = []
        for (name, descriptor) in listing.held {
            guard let id = HeldNames.instance(ofReader: name), listing.held[HeldNames.outputWriter(id)] != nil,
                let logs = service(id.service)?.logs
            else { continue }
            if collect(id, descriptor, logs) { pipesHeld.insert(id) }
        }
    }

    private func collect(_ id: InstanceID, _ reader: SharedDescriptor, _ logs: ServiceSpec.Logs) -> Bool {
        do throws(SystemError) {
            let copy = try FileDescriptors.duplicate(reader.rawValue)
            try FileDescriptors.setNonblocking(copy.rawValue)
            output.collector.add(instance: id, descriptor: copy.release(), logs: logs)
            return true
        } catch {
            record(subject: id.description, kind: "warning", "cannot collect the output of \(id): \(error)")
            return false
        }
    }

    func adoption(of listing: ShimListing, intents: Intents) -> Adoption {
        var adoption = Adoption()
        adoption.intents = intents
        adoption.remainsEnded = listing.remainsEnded
        adoption.records = listing.records.filter { !ExecProbes.isProbe($0.instance) }
        for (key, value) in listing.memory {
            if key == MemoryKeys.node {
                adoption.remembered.node = RememberedNode(decoding: value) ?? RememberedNode()
            } else if key == MemoryKeys.breakers {
                adoption.remembered.breakers = RememberedBreakers(decoding: value) ?? RememberedBreakers()
            } else if let id = MemoryKeys.instance(ofKey: key) {
                adoption.remembered.instances[id] = RememberedInstance(decoding: value)
            }
        }
        return adoption
    }

    private func storedIntents() -> Intents {
        if let intents = diskWorker.store.load() { return intents }
        record(
            subject: nil,
            kind: "warning",
            "cannot read \(diskWorker.store.path): it is damaged or unreadable; "
                + "nothing counts as stopped by an operator"
        )
        return Intents()
    }

    /// Makes sure that the shim holds the pipe which becomes the instance's standard output, over all its runs.
    func holdPipe(of id: InstanceID, _ service: ServiceSpec) {
        guard !pipesHeld.contains(id), let link else { return }
        do throws(SystemError) {
            let (reader, writer) = try FileDescriptors.pipe()
            OutputPipe.prepare(writer.rawValue, owner: service.credentials)
            guard collect(id, reader, service.logs) else { return }
            link.send(hold: HeldNames.outputReader(id), reader)
            link.send(hold: HeldNames.outputWriter(id), writer)
            pipesHeld.insert(id)
        } catch {
            // Without the pipe the shim refuses the start, and that goes the way of every failed start (rule P3).
            record(subject: id.description, kind: "warning", "cannot collect the output of \(id): \(error)")
        }
    }
}
