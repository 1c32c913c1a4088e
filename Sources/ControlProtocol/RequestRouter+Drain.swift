import SupervisorCore

// Requests about drains, scale and reload.
extension Route {
    /// `GET`, `POST` or `DELETE` of a drain; no target is the node.
    ///
    /// - Parameter extra: `target`, where it is not in the path.
    func drain(_ target: Target?, _ extra: [String]) throws(ControlError) -> ControlRequest {
        switch method {
        case "GET":
            try query.allow(only: extra)
            return .drainStatus(target)
        case "POST": return try beginDrain(target, extra)
        case "DELETE": return try undrain("DELETE", target, extra)
        default: throw RequestRouter.methodNotAllowed(method, allow: ["GET", "HEAD", "POST", "DELETE"])
        }
    }

    private func beginDrain(_ target: Target?, _ extra: [String]) throws(ControlError) -> ControlRequest {
        try query.allow(
            only: ["deadline", "notice", "reason", "force", "dry_run", "wait", "no_wait", "detach"] + extra
        )
        var request = DrainRequest(target: target)
        request.deadline = try deadline()
        request.notice = try notice()
        request.reason = try reason()
        request.isForced = try query.flag("force", default: false)
        if try query.flag("dry_run", default: false) { return .planDrain(request) }
        return .command(.drain(request), wait: try wait())
    }

    func undrain(_ allowed: String, _ target: Target?, _ extra: [String]) throws(ControlError) -> ControlRequest {
        try only(allowed)
        try query.allow(only: ["reason", "wait", "no_wait"] + extra)
        return .command(.undrain(target, reason: try reason()), wait: try wait())
    }

    func scale(_ target: Target) throws(ControlError) -> ControlRequest {
        try only("POST")
        try query.allow(only: ["replicas", "reason", "wait", "no_wait"])
        guard case .service(let service) = target else {
            throw ControlError(
                .badRequest,
                "cannot scale \(target): an instance is one; say how many \(target.service) is to have"
            )
        }
        guard try query.single("replicas") != nil else {
            throw ControlError(.badRequest, "cannot scale \(target) to nothing said; say how many with replicas=2")
        }
        let replicas = try query.number("replicas", in: 0...CoreLimits.replicas, default: 0)
        return .command(.scale(service: service, replicas: replicas, reason: try reason()), wait: try wait())
    }

    func reload() throws(ControlError) -> ControlRequest {
        try only("POST")
        try query.allow(only: ["dry_run", "wait", "no_wait"])
        return .reload(dryRun: try query.flag("dry_run", default: false), wait: try wait())
    }

    /// A rolling restart is of services.
    func services(_ targets: [Target]) throws(ControlError) -> [String] {
        var names: [String] = []
        for target in targets {
            guard case .service(let name) = target else {
                throw ControlError(
                    .badRequest,
                    "cannot restart \(target) in turns: that takes services; leave out rolling, or the index"
                )
            }
            names.append(name)
        }
        return names
    }

    // MARK: Durations

    private func deadline() throws(ControlError) -> Duration? {
        guard let text = try query.single("deadline") else { return nil }
        let time = try duration("deadline", text)
        if time > .zero, time <= DrainLimits.deadlineMost { return time }
        throw ControlError(.badRequest, "cannot use deadline=\"\(text.clipped(40))\"; use more than 0s and at most 24h")
    }

    private func notice() throws(ControlError) -> DrainNotice? {
        guard let text = try query.single("notice") else { return nil }
        if text == "auto" { return .auto }
        let time = try duration("notice", text)
        if time <= DrainLimits.deadlineMost { return .fixed(time) }
        throw ControlError(.badRequest, "cannot use notice=\"\(text.clipped(40))\"; use auto, or at most 24h")
    }

    private func duration(_ name: String, _ text: String) throws(ControlError) -> Duration {
        if let time = DurationText.parse(text) { return time }
        let also = name == "notice" ? "auto, or " : ""
        throw ControlError(
            .badRequest,
            "cannot use \(name)=\"\(text.clipped(40))\"; use \(also)a duration with a unit, such as 60s or 2m"
        )
    }
}
