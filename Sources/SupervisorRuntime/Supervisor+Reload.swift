import FleetConfig
import LinuxPlatform
import StatusBoard
import SupervisorCore

/// Somebody wants the configuration read again.
struct ReloadRequest: Sendable {
    var caller: String
    var isDryRun: Bool
    var waits: Bool
    var reply: @Sendable (ReloadResult) -> Void
}

// Reading the configuration again while the fleet runs. Files, and the names of users, may take their time: they are
// read on a thread of their own.
extension Supervisor {
    func begin(_ request: ReloadRequest) {
        if let refusal = machine.refusalOfReload { return request.reply(.refused(refusal)) }
        if reload != nil { return request.reply(.refused("another reload is going on; try again in a moment")) }
        reload = request
        let mailbox = handle.mailbox
        let path = configuration.configurationPath
        do {
            try BackgroundThread.start("eider-reload") {
                mailbox.post(.configurationRead(ConfigurationLoader.load(path: path)))
            }
        } catch {
            reload = nil
            request.reply(.refused("\(error); the configuration in force stays"))
        }
    }

    /// SIGHUP: what an operator would be answered goes to the log.
    func reloadBySignal() {
        let mailbox = handle.mailbox
        let request = ReloadRequest(caller: "SIGHUP", isDryRun: false, waits: true) { result in
            switch result {
            case .planned, .applied(_, .done): break
            case .applied(_, .failed(let text)): mailbox.post(.logProblem("the reload is done, but: \(text)"))
            case .applied: break
            case .invalid(let lines):
                for line in lines { mailbox.post(.logProblem("cannot reload: \(line)")) }
            case .refused(let text): mailbox.post(.logProblem("cannot reload: \(text)"))
            }
        }
        begin(request)
    }

    func configurationRead(_ result: Result<Configuration, ConfigurationErrors>) {
        guard let request = reload else { return }
        reload = nil
        switch result {
        case .failure(let errors):
            let lines = errors.description.split(separator: "\n").map { String($0) }
            record(subject: nil, kind: "warning", "cannot reload: the configuration has \(lines.count) error(s)")
            request.reply(.invalid(lines))
        case .success(let configuration):
            let new = inForce(configuration.spec)
            let plan = ReloadPlan(from: self.configuration.spec, to: configuration.spec, running: machine.replicas)
            if request.isDryRun { return request.reply(.planned(plan)) }
            if let refusal = machine.refusalOfReload { return request.reply(.refused(refusal)) }
            for warning in configuration.warnings { record(subject: nil, kind: "warning", warning.description) }
            for key in plan.needsDaemonRestart {
                let text = "\(key) has changed; the daemon follows it once it is started anew: eiderctl upgrade"
                record(subject: nil, kind: "warning", text)
            }
            apply(new, plan, for: request)
        }
    }

    /// Of a new configuration, what the daemon follows while it runs.
    private func inForce(_ spec: FleetSpec) -> FleetSpec {
        var spec = spec
        spec.node = configuration.spec.node
        spec.health = configuration.spec.health
        spec.control.socket = configuration.spec.control.socket
        spec.breaker = configuration.spec.breaker
        return spec
    }

    private func apply(_ new: FleetSpec, _ plan: ReloadPlan, for request: ReloadRequest) {
        let old = configuration.spec
        let restarting = FleetDiff(from: old, to: new).restarting
        configuration.spec = new
        for service in new.services {
            serviceSpecs[service.name] = service
            output.collector.configure(service: service.name, logs: service.logs)
        }
        // Of those that have other sockets now. What another service has taken over stays open for it.
        let addresses = new.services.flatMap(\.sockets)
        for service in new.services { dropSockets(of: service.name, keeping: addresses) }
        handle.replace(spec: new)
        if new.control != old.control { accessChanged(new.control) }
        // Workers of services that went may still speak, until they are gone.
        notify?.users = WorkerUsers(serviceSpecs.values.lazy.map { $0.credentials?.uid ?? Accounts.ownUserID })
        nextOperation &+= 1
        let operation = nextOperation
        if request.waits { replies[operation] = { request.reply(.applied(plan, $0)) } }
        receive(.reconfigured(operation, new, restarting: restarting, by: request.caller))
        if request.waits { return }
        publish()
        request.reply(.applied(plan, .done))
    }
}
