import FleetConfig
import LinuxPlatform
import Prober
import ShimProtocol
import SupervisorCore

// Probes: what the core wants watched goes to those who ask, and what they find comes back as events.
extension Supervisor {
    func watch(_ key: ProbeKey, _ policy: ProbePolicy, firstAt: MonotonicInstant) {
        guard let service = service(key.instance.service), let probe = service.probe(key.kind) else { return }
        let expand = { [launches] (text: String) in launches.expand(text, service, index: key.instance.index) }
        let question: ProbeQuestion?
        switch probe.method {
        case .exec(let command):
            return execProbes.watch(key, command.map(expand), policy, firstAt: firstAt)
        case .http(let url): question = ProbeQuestion(httpURL: expand(url))
        case .tcp(let address): question = ProbeQuestion(tcpAddress: expand(address))
        case .grpc(let address): question = ProbeQuestion(grpcAddress: expand(address))
        }
        guard let question else {
            // The configuration was checked with the placeholders filled in; what is left is a port beyond 65535.
            return record(
                subject: key.instance.description,
                kind: "warning",
                "cannot probe \(key.instance): its \(key.kind.name) probe has no usable address"
            )
        }
        prober.watch(key, question, period: policy.period, timeout: policy.timeout, firstAt: firstAt)
    }

    func unwatch(_ key: ProbeKey) {
        prober.unwatch(key)
        execProbes.unwatch(key)
    }

    func received(_ reports: [ProbeReport]) {
        for report in reports { receive(.probed(report.key, report.outcome)) }
    }

    /// What exec probes need done. Results come in turns of their own: a start may fail within the turn that asked.
    func execHands() -> ExecProbes.Hands {
        ExecProbes.Hands(
            start: { [unowned self] (key, command, place, generation, output) throws(ExecProbes.Obstacle) in
                try startProbe(key, command, place, generation, output)
            },
            endTree: { [unowned self] in
                link?.send(.endTree($0, $1))
                link?.flush()
            },
            release: { [unowned self] in
                link?.send(.release($0, $1))
                link?.flush()
            },
            report: { [unowned self] key, outcome in
                reactor.schedule(at: MonotonicClock.now()) { [unowned self] in receive(.probed(key, outcome)) }
            },
            cannotEnd: { [unowned self] id, count, example in
                let text =
                    "cannot end \(count) process(es) of a probe of \(id), such as pid \(example): still there after "
                    + "SIGKILL; it is not probed by this before they are gone"
                record(subject: id.description, kind: "cannot-end", text)
            },
            emptied: { [unowned self] in if finishesWhenProbesAreGone { finishShutdown() } }
        )
    }

    private func startProbe(
        _ key: ProbeKey,
        _ command: [String],
        _ place: InstanceID,
        _ generation: Generation,
        _ output: SharedDescriptor
    ) throws(ExecProbes.Obstacle) {
        guard let link, let service = service(key.instance.service) else {
            throw ExecProbes.Obstacle(kind: .spawn, text: "the shim is away")
        }
        let name = HeldNames.probeOutput(place)
        var request: LaunchRequest
        do throws(StartProblem) {
            request = try launches.probe(service, index: key.instance.index, place, generation, output: name)
        } catch {
            throw ExecProbes.Obstacle(kind: .spawn, text: error.text)
        }
        request.arguments = command
        OutputPipe.prepare(output.rawValue, owner: service.credentials)
        link.send(hold: name, output)
        let fits = link.send(.start(request))
        link.send(.letGo(name))
        link.flush()
        if !fits { throw ExecProbes.Obstacle(kind: .spawn, text: "its arguments and environment are too long") }
    }

    /// A report of the shim about a probe; false when it is about a worker.
    func probeReported(_ report: ShimReport) -> Bool {
        switch report {
        case .started(let id, let generation, _, _, _) where ExecProbes.isProbe(id):
            execProbes.started(id, generation)
        case .startFailed(let id, let generation, let failure) where ExecProbes.isProbe(id):
            execProbes.startFailed(id, generation, failure)
        case .exited(let id, let generation, let status, _, _, _, let treeGone) where ExecProbes.isProbe(id):
            execProbes.exited(id, generation, status, treeGone: treeGone)
        case .treeGone(let id, let generation) where ExecProbes.isProbe(id):
            execProbes.gone(id, generation)
        case .treeRemains(let id, let generation, let count, let example) where ExecProbes.isProbe(id):
            execProbes.remains(id, generation, count: count, example: example)
        default: return false
        }
        return true
    }

    // MARK: Looking at the host

    func measurePressure() {
        let reading = HostPressure.read()
        if reading == nil, !saidPressureIsUnknown {
            saidPressureIsUnknown = true
            let text = "cannot read the host's pressure: the kernel does not tell; restarts for health go without it"
            record(subject: nil, kind: "warning", text)
        }
        reactor.schedule(at: MonotonicClock.now()) { [unowned self] in receive(.pressureMeasured(reading)) }
    }

    /// Rule I9: what was measured while the clock was set, the host slept or the checker stood still is not believed.
    func noteDisturbances(wallClockOffset: Int64) {
        if let before = lastWallClockOffset {
            let jump = Duration.nanoseconds(wallClockOffset &- before)
            if jump > HealthLimits.disturbance || jump < .zero - HealthLimits.disturbance {
                receive(.disturbed(.clockJumped(by: jump)))
            }
        }
        lastWallClockOffset = wallClockOffset
        // It shows every second that it runs.
        if let shown = prober.lastActivity, case let stalled = MonotonicClock.now().since(shown),
            stalled > HealthLimits.disturbance + .seconds(1)
        {
            receive(.disturbed(.checkerStalled(stalled)))
        }
    }
}

extension ServiceSpec {
    /// The probe of a kind; nil where none is configured.
    func probe(_ kind: ProbeKind) -> Probe? {
        switch kind {
        case .startup: startupProbe
        case .readiness: readiness
        case .liveness: liveness.probe
        }
    }
}
