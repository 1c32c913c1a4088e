import SupervisorCore

/// A service's policies and an instance's last end, in the words of `why`.
struct PolicyWords {
    let spec: ServiceSpec

    /// `always, backoff 500ms ×2 up to 60s ±20 %, forgotten after 60s; gives up: never`
    var restart: String {
        let restart = spec.restart
        if restart.policy == .never { return "never: it is not started again by itself" }
        let jitter = restart.backoffJitter > 0 ? " ±\(Self.percent(restart.backoffJitter)) %" : ""
        var text = "\(restart.policy.rawValue), backoff \(restart.backoffInitial.brief) "
        text += "×\(Self.number(restart.backoffMultiplier)) up to \(restart.backoffMax.brief)\(jitter), "
        text += "forgotten after \(restart.stableAfter.brief); gives up: never"
        if restart.policy == .onFailure { text += "; exit codes that are no failure: \(Self.list(restart)) " }
        return text.last == " " ? String(text.dropLast()) : text
    }

    /// `readiness: http every 5s, 3 failures take it out, 2 successes bring it back`; nil without probes and heartbeat.
    var health: String? {
        var parts: [String] = []
        if let probe = spec.startupProbe { parts.append("startup: \(Self.asks(probe)), once is enough") }
        if let probe = spec.readiness {
            parts.append(
                "readiness: \(Self.asks(probe)); "
                    + "\(Self.times(probe.failureThreshold, "failure")) in a row take it out, "
                    + "\(Self.times(probe.successThreshold, "success")) bring it back"
            )
        }
        let action = spec.liveness.action == .restart ? "may be restarted (I3 to I5)" : "is only reported"
        if let probe = spec.liveness.probe {
            let failures = Self.times(probe.failureThreshold, "failure")
            parts.append("liveness: \(Self.asks(probe)); after \(failures) in a row it \(action)")
        }
        if let period = spec.liveness.watchdog {
            parts.append("heartbeat: WATCHDOG=1 at least every \(period.brief), else it \(action)")
        }
        return parts.isEmpty ? nil : parts.joined(separator: "; ")
    }

    private static func asks(_ probe: ServiceSpec.Probe) -> String {
        let method =
            switch probe.method {
            case .http: "http"
            case .tcp: "tcp"
            case .exec: "exec"
            case .grpc: "grpc"
            }
        return "\(method) every \(probe.period.brief)"
    }

    private static func times(_ count: Int, _ word: String) -> String {
        count == 1 ? "1 \(word)" : "\(count) \(word)\(word.hasSuffix("s") ? "es" : "s")"
    }

    /// How the last run ended, and by whose doing.
    func cause(of exit: LastExit) -> String {
        let status: String
        switch exit.outcome {
        case .spawnFailed(let failure): return failure.description
        case .status(let ended): status = ended.inWords
        }
        switch exit.cause {
        case .exit, .spawn: return status
        case .signal: return "\(status), which was not part of a stop"
        case .oom:
            let limit = spec.resources.memoryMax.map { " (memory_max \(Self.size($0)))" } ?? ""
            return "killed by the kernel for lack of memory\(limit)"
        case .startupTimeout: return "was not ready within \(spec.startupTimeout.brief), so it \(status)"
        case .liveness: return "its liveness probe failed, so it \(status)"
        case .watchdog:
            let period = spec.liveness.watchdog.map { " for \($0.brief)" } ?? ""
            return "gave no heartbeat\(period), so it \(status)"
        case .operator: return "\(status), as it was asked to"
        }
    }

    /// What to look at after such an end; nil where the text of the cause says it all.
    func remedy(for exit: LastExit) -> String? {
        let key = "services.\(spec.name)"
        switch exit.outcome {
        case .spawnFailed(let failure):
            switch (failure.stage, failure.errno) {
            case (.execute, 2): return "install \(failure.path), or correct \(key).command"
            case (.execute, 13): return "make \(failure.path) executable for \(spec.user ?? "the daemon's user")"
            case (.execute, 8): return "\(failure.path) is no program for this machine, or lacks its #! line"
            case (.workingDirectory, _): return "create \(failure.path), or correct \(key).working_directory"
            case (.user, _), (.group, _), (.groups, _): return "run eiderd as root, or remove \(key).user and .group"
            case (.descriptors, 98): return "end what listens on \(failure.path), or correct \(key).sockets"
            case (.descriptors, 99): return "this host does not have that address: correct \(key).sockets"
            case (.descriptors, 2): return "create the directory of \(failure.path), or correct \(key).sockets"
            case (.descriptors, 13): return "run eiderd as root, or correct \(key).sockets"
            case (_, 11), (_, 12), (_, 23), (_, 24): return "the host has run out of processes, memory or descriptors"
            default: return nil
            }
        case .status:
            switch exit.cause {
            case .oom:
                return "raise \(key).resources.memory_max, or find what takes the memory"
            case .startupTimeout where spec.kind == .notify:
                return "the worker must send READY=1 to $NOTIFY_SOCKET; or raise \(key).startup.timeout"
            case .startupTimeout: return "raise \(key).startup.timeout, or find what takes so long"
            case .watchdog: return "the worker must send WATCHDOG=1 more often; or raise \(key).liveness.watchdog"
            case .exit, .signal, .liveness, .spawn, .operator: return nil
            }
        }
    }

    /// `512MiB`, or bytes where it is no round number.
    static func size(_ bytes: UInt64) -> String {
        for (unit, shift) in [("GiB", UInt64(30)), ("MiB", 20), ("KiB", 10)]
        where bytes >= 1 << shift && bytes & ((1 << shift) - 1) == 0 {
            return "\(bytes >> shift)\(unit)"
        }
        return "\(bytes) bytes"
    }

    private static func list(_ restart: ServiceSpec.Restart) -> String {
        restart.successExitCodes.map(String.init).joined(separator: ", ")
    }

    private static func percent(_ fraction: Double) -> String {
        number(min(max(fraction, 0), 1) * 100)
    }

    /// At most two decimals, none where there are none.
    static func number(_ value: Double) -> String {
        guard value.isFinite, abs(value) < 1e9 else { return "\(value)" }
        let hundredths = Int64((value * 100).rounded())
        let (whole, rest) = hundredths.magnitude.quotientAndRemainder(dividingBy: 100)
        let sign = hundredths < 0 ? "-" : ""
        if rest == 0 { return "\(sign)\(whole)" }
        return rest % 10 == 0 ? "\(sign)\(whole).\(rest / 10)" : "\(sign)\(whole).\(rest < 10 ? "0" : "")\(rest)"
    }
}
