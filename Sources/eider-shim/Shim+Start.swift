import LinuxPlatform
import ShimProtocol
import SupervisorCore

// Starting processes.
extension Shim {
    private static let mostWarnings = 32

    func start(_ launch: LaunchRequest) {
        switch attempt(launch) {
        case .success(let started):
            runs[launch.instance] = started.run
            mains[started.run.pid] = started.run
            report(
                .started(
                    launch.instance,
                    launch.generation,
                    pid: started.run.pid,
                    at: started.run.startedAt,
                    warnings: Array(started.warnings.prefix(Self.mostWarnings))
                )
            )
        case .failure(let refusal):
            report(.startFailed(launch.instance, launch.generation, refusal.failure))
        }
    }

    private struct Started {
        var run: Run
        var warnings: [String]
    }

    private struct Refusal: Error {
        var failure: SpawnFailure

        init(_ stage: SpawnStage, _ errno: Int32, _ path: String = "") {
            failure = SpawnFailure(stage: stage, errno: errno, path: path)
        }

        init(_ stage: SpawnStage, _ error: SystemError) {
            self.init(stage, error.errno, error.path ?? "")
        }
    }

    private func attempt(_ launch: LaunchRequest) -> Result<Started, Refusal> {
        do throws(Refusal) {
            // EEXIST: no twin while the old tree lives. ESHUTDOWN: no start while we empty.
            if runs[launch.instance] != nil { throw Refusal(.prepare, 17) }
            if isEmptying || stop != nil { throw Refusal(.prepare, 108) }
            let output = try openOutput(launch.output)
            let sockets = try launch.sockets.map { (name) throws(Refusal) in
                guard let socket = held[name] else { throw Refusal(.descriptors, 9, name) }
                return socket.rawValue
            }
            var start = program(launch)
            start.descriptors = [setup.nullDevice.rawValue, output.rawValue, output.rawValue] + sockets
            var (group, warnings) = try prepareGroup(launch)
            start.cgroup = group?.directory.rawValue
            if launch.isDetached { warnings += lowerLimitsAgain(&start, of: launch.instance) }
            var earliest = MonotonicClock.bootMilliseconds()
            var (outcome, report) = try begin(start, launch)
            if case .failed(let failure) = outcome, Self.groupIsGone(failure),
                case .cgroup(let containment) = setup.containment
            {
                containment.forget(launch.instance)
                (group, warnings) = try prepareGroup(launch)
                start.cgroup = group?.directory.rawValue
                earliest = MonotonicClock.bootMilliseconds()
                (outcome, report) = try begin(start, launch)
            }
            if case .failed(let failure) = outcome, failure.stage == .limits, failure.errno == 1 {
                // EPERM: without the privilege to go beyond the host's limit, as much as there is.
                warnings += lowerLimits(&start, of: launch.instance)
                (outcome, report) = try begin(start, launch)
            }
            switch outcome {
            case .failed(var failure):
                if failure.stage == .cgroup { failure.path = group?.cgroup.path ?? "" }
                throw Refusal(failure.stage, failure.errno, failure.path)
            case .running(let pid):
                let pipe = FileIdentity(descriptor: output.rawValue)
                let started = began(launch, pid, earliest, group, pipe, warnings)
                started.run.startReport = report
                return .success(started)
            }
        } catch {
            return .failure(error)
        }
    }

    /// Has the process made; the report is there where nobody waits until it executes.
    private func begin(
        _ start: ProgramStart,
        _ launch: LaunchRequest
    ) throws(Refusal) -> (ProgramStart.Outcome, StartReport?) {
        guard launch.isDetached else { return (start.start(), nil) }
        do throws(SystemError) {
            let (outcome, report) = try start.startDetached()
            return (outcome, report)
        } catch {
            throw Refusal(.prepare, error)
        }
    }

    /// ENODEV, ENOENT: somebody removed the group's directory.
    private static func groupIsGone(_ failure: SpawnFailure) -> Bool {
        (failure.stage == .cgroup || failure.stage == .clone) && (failure.errno == 19 || failure.errno == 2)
    }

    /// A detached start has failed before its program was executed: nothing is left of it, and no record.
    func neverExecuted(_ run: Run, _ failure: SpawnFailure) {
        var failure = failure
        if failure.stage == .cgroup { failure.path = run.group?.cgroup.path ?? "" }
        // The next start makes the group anew.
        if Self.groupIsGone(failure), case .cgroup(let containment) = setup.containment { containment.forget(run.id) }
        report(.startFailed(run.id, run.generation, failure))
        release(run)
    }

    /// What this host has refused once is not asked of it by a start whose refusal comes too late to try again.
    private func lowerLimitsAgain(_ start: inout ProgramStart, of id: InstanceID) -> [String] {
        guard let refusedLimit, start.limits.contains(where: { $0.hard >= refusedLimit }) else { return [] }
        return lowerLimits(&start, of: id)
    }

    /// Lowers what a launch asks for to what this host allows us, and says so.
    private func lowerLimits(_ start: inout ProgramStart, of id: InstanceID) -> [String] {
        guard let hard = setup.originalLimit?.hard else { return [] }
        var warnings: [String] = []
        for index in start.limits.indices {
            let limit = start.limits[index]
            guard limit.resource == OwnProcess.descriptorLimitResource, limit.hard > hard else { continue }
            warnings.append(
                "cannot allow \(id) \(limit.hard) open descriptors: this host's limit is \(hard), which it gets"
            )
            refusedLimit = min(refusedLimit ?? limit.hard, limit.hard)
            start.limits[index].soft = min(limit.soft, hard)
            start.limits[index].hard = hard
        }
        return warnings
    }

    /// Writes down what has just been started.
    private func began(
        _ launch: LaunchRequest,
        _ pid: Int32,
        _ earliest: Int64,
        _ group: InstanceCgroup?,
        _ output: FileIdentity?,
        _ warnings: [String]
    ) -> Started {
        let slot = setup.ledger.add(pid: pid, startedBetween: earliest, and: MonotonicClock.bootMilliseconds())
        var warnings = warnings
        if slot == nil {
            warnings.append(
                "cannot write \(launch.instance) down in the ledger: it holds \(Ledger.slots) processes already"
            )
        }
        let kills = setup.containment.controllers.contains("memory") ? group?.outOfMemoryKills ?? 0 : 0
        let run = Run(
            launch,
            pid: pid,
            startedAt: MonotonicClock.now(),
            group: group,
            output: output,
            outOfMemoryKillsBefore: kills,
            ledgerSlot: slot
        )
        return Started(run: run, warnings: warnings)
    }

    /// A new open file of the held pipe for each run: a worker that makes its standard output non-blocking does so for
    /// itself alone.
    private func openOutput(_ name: HeldName) throws(Refusal) -> Descriptor {
        guard let pipe = held[name] else { throw Refusal(.output, 9, name) }
        do throws(SystemError) {
            // O_WRONLY
            return try FileDescriptors.open("/proc/self/fd/\(pipe.rawValue)", flags: 1)
        } catch {
            // EMFILE, ENFILE and ENOMEM are what they are; a socket cannot be opened anew (ENXIO).
            if [24, 23, 12].contains(error.errno) { throw Refusal(.output, error.errno, name) }
        }
        do throws(SystemError) {
            return try FileDescriptors.duplicate(pipe.rawValue)
        } catch {
            throw Refusal(.output, error.errno, name)
        }
    }

    private func program(_ launch: LaunchRequest) -> ProgramStart {
        var start = ProgramStart(arguments: launch.arguments)
        start.environment =
            launch.environment + ["\(FleetToken.variable)=\(setup.fleet.mark(launch.instance, launch.generation))"]
        start.workingDirectory = launch.workingDirectory.isEmpty ? nil : launch.workingDirectory
        start.credentials = launch.credentials
        start.umask = launch.umask
        start.limits = launch.limits.map { ProgramStart.Limit(resource: $0.resource, soft: $0.soft, hard: $0.hard) }
        let resource = OwnProcess.descriptorLimitResource
        if let limit = setup.originalLimit, !launch.limits.contains(where: { $0.resource == resource }) {
            start.limits.append(ProgramStart.Limit(resource: resource, soft: limit.soft, hard: limit.hard))
        }
        start.oomScoreAdjust = launch.oomScoreAdjust ?? setup.childOOMScore
        start.oomScoreRequired = launch.oomScoreAdjust != nil
        start.resetPriority = true
        start.pidPlaceholder = LaunchRequest.pidPlaceholder
        return start
    }

    /// The instance's group with the launch's settings, and a sentence for each setting that could not be applied.
    private func prepareGroup(
        _ launch: LaunchRequest
    ) throws(Refusal) -> (group: InstanceCgroup?, warnings: [String]) {
        guard case .cgroup(let containment) = setup.containment else {
            let warnings = launch.cgroup.map {
                "cannot apply \($0.file) = \($0.value) to \(launch.instance): no cgroup v2 tree can be written here"
            }
            return (nil, warnings)
        }
        let group: InstanceCgroup
        do throws(SystemError) {
            group = try containment.group(of: launch.instance)
        } catch {
            throw Refusal(.cgroup, error)
        }
        if group.isPopulated {
            // Nothing of ours: it came from elsewhere, or survived SIGKILL when a former shim's remains were ended.
            group.kill()
            throw Refusal(.prepare, 17, group.cgroup.path)
        }
        return (group, group.apply(launch.cgroup, of: launch.instance, controllers: containment.controllers))
    }
}
