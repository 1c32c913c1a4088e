import SupervisorCore

/// Turns method, path and query into a request. Pure; the only place that knows the paths.
public enum RequestRouter {
    /// - Parameter uri: path and query, as in the request line.
    /// - Throws: `ControlError`: `badRequest`, `notFound`, `methodNotAllowed`, `tooLarge`.
    public static func route(method: String, uri: String) throws(ControlError) -> ControlRequest {
        guard uri.utf8.count <= RequestLimits.uriBytes else {
            throw ControlError(.tooLarge, "cannot take more than \(RequestLimits.uriBytes) bytes of path and query")
        }
        let parts = uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        var path: [String] = []
        for segment in parts[0].split(separator: "/") { path.append(try PercentCoding.decode(segment)) }
        let query = try Query(parts.count > 1 ? parts[1] : "")
        guard path.first == "v1", path.count > 1 else { throw unknownPath(String(parts[0])) }
        path.removeFirst()
        // HEAD is answered as GET is, without the body.
        let method = method == "HEAD" ? "GET" : method
        let request = try Route(method: method, path: path, query: query).request()
        guard let request else { throw unknownPath(String(parts[0])) }
        return request
    }

    private static func unknownPath(_ path: String) -> ControlError {
        ControlError(
            .notFound,
            "cannot find \(path.clipped(80)); paths are /v1/status, /v1/why, /v1/services/NAME[/INDEX][/VERB], "
                + "/v1/start, /v1/stop, /v1/restart, /v1/drain, /v1/undrain, "
                + "/v1/reload, /v1/logs, /v1/events, /v1/breakers, /v1/version and /v1/upgrade"
        )
    }

    static func methodNotAllowed(_ method: String, allow: [String]) -> ControlError {
        ControlError(
            .methodNotAllowed,
            "cannot \(method.clipped(20)) this path; it takes \(allow.joined(separator: ", "))",
            allow: allow
        )
    }
}

/// One request, while it is being read.
struct Route {
    let method: String
    let path: [String]
    let query: Query

    /// nil: no such path.
    func request() throws(ControlError) -> ControlRequest? {
        let rest = Array(path.dropFirst())
        switch path[0] {
        case "status": return try look(rest) { .status($0) }
        case "why": return try look(rest) { .why($0) }
        case "logs": return try stream(rest, pastOfFollower: RequestLimits.defaultLines).map { .logs($0) }
        case "events": return try stream(rest, pastOfFollower: 0).map { .events($0) }
        case "services": return try service(rest)
        case "version" where rest.isEmpty:
            try get()
            return .version
        case "breakers": return try breakers(rest)
        case "upgrade" where rest.isEmpty:
            try only("POST")
            try query.allow(only: [])
            return .upgrade
        case "drain": return rest.isEmpty ? try drain(queryTargets(atMost: 1).first, ["target"]) : nil
        case "undrain": return rest.isEmpty ? try undrain("POST", queryTargets(atMost: 1).first, ["target"]) : nil
        case "reload": return rest.isEmpty ? try reload() : nil
        case "start", "stop", "restart":
            guard rest.isEmpty else { return nil }
            try only("POST")
            return try command(path[0], try queryTargets(atLeastOne: true), extra: ["target"])
        default: return nil
        }
    }

    // MARK: Paths

    /// `breakers[/NAME[/VERB]]`
    private func breakers(_ rest: [String]) throws(ControlError) -> ControlRequest? {
        if rest.count > 2 { return nil }
        guard rest.count == 2 else {
            try get()
            return .breakers(rest.first)
        }
        guard let action = BreakerAction(rawValue: rest[1]) else { return nil }
        try only("POST")
        try query.allow(only: ["reason", "wait", "no_wait"])
        return .command(.breaker(rest[0], action, reason: try reason()), wait: try wait())
    }

    /// `services[/NAME[/INDEX]][/VERB]`
    private func service(_ rest: [String]) throws(ControlError) -> ControlRequest? {
        var rest = rest
        var verb: String?
        if rest.count > 1, let last = rest.last, Int(last) == nil {
            verb = last
            rest.removeLast()
        }
        guard let verb else { return try look(rest) { .status($0) } }
        guard rest.count <= 2, let target = try target(rest) else { return nil }
        switch verb {
        case "status": return try look(rest) { .status($0) }
        case "why": return try look(rest) { .why($0) }
        case "logs": return try stream(rest, pastOfFollower: RequestLimits.defaultLines).map { .logs($0) }
        case "events": return try stream(rest, pastOfFollower: 0).map { .events($0) }
        case "start", "stop", "restart", "signal":
            try only("POST")
            return try command(verb, [target], extra: [])
        case "drain": return try drain(target, [])
        case "undrain": return try undrain("POST", target, [])
        case "scale": return try scale(target)
        default: return nil
        }
    }

    /// A request that only looks, at the target in the path or in `?target=`, or at the node.
    private func look(
        _ rest: [String],
        _ make: (Target?) -> ControlRequest
    ) throws(ControlError) -> ControlRequest? {
        if rest.count > 2 { return nil }
        try only("GET")
        try query.allow(only: ["target"])
        return make(try lookTarget(rest))
    }

    private func lookTarget(_ rest: [String]) throws(ControlError) -> Target? {
        let named = try queryTargets(atLeastOne: false)
        if !rest.isEmpty, !named.isEmpty {
            throw ControlError(.badRequest, "cannot take a target both in the path and in the query; use one")
        }
        if named.count > 1 { throw ControlError(.badRequest, "cannot look at several targets at once; ask for each") }
        return try target(rest) ?? named.first
    }

    private func stream(
        _ rest: [String],
        pastOfFollower: Int
    ) throws(ControlError) -> ControlRequest.Stream? {
        if rest.count > 2 { return nil }
        try only("GET")
        try query.allow(only: ["lines", "n", "follow", "after", "target"])
        try query.only(oneOf: "lines", "n")
        let follow = try query.flag("follow", default: false)
        let past = follow ? pastOfFollower : RequestLimits.defaultLines
        let after = try query.single("after") == nil ? nil : query.number("after", in: 0...UInt64.max, default: 0)
        let lines = try query.number(
            // As the option: `-n`, or `--lines`.
            query.values("n").isEmpty ? "lines" : "n",
            in: 0...RequestLimits.lines,
            default: after == nil ? past : RequestLimits.lines
        )
        return ControlRequest.Stream(target: try lookTarget(rest), lines: lines, after: after, follow: follow)
    }

    private func command(
        _ verb: String,
        _ targets: [Target],
        extra: [String]
    ) throws(ControlError) -> ControlRequest {
        if verb == "signal" {
            try query.allow(only: ["signal", "wait", "no_wait"] + extra)
            guard let target = targets.first else { throw noTarget }
            return .command(.signal(target, try signal()), wait: try wait())
        }
        try query.allow(only: ["reason", "wait", "no_wait"] + (verb == "restart" ? ["rolling"] : []) + extra)
        let wait = try wait()
        let reason = try reason()
        switch verb {
        case "start": return .command(.start(targets, reason: reason), wait: wait)
        case "stop": return .command(.stop(targets, reason: reason), wait: wait)
        default:
            if try query.flag("rolling", default: false) {
                return .command(.roll(try services(targets), reason: reason), wait: wait)
            }
            return .command(.restart(targets, reason: reason), wait: wait)
        }
    }

    // MARK: Parts

    private func get() throws(ControlError) {
        try only("GET")
        try query.allow(only: [])
    }

    func only(_ allowed: String) throws(ControlError) {
        if method == allowed { return }
        throw RequestRouter.methodNotAllowed(method, allow: allowed == "GET" ? ["GET", "HEAD"] : [allowed])
    }

    private func target(_ rest: [String]) throws(ControlError) -> Target? {
        if rest.isEmpty { return nil }
        return try Self.parse(rest.joined(separator: "/"))
    }

    private static func parse(_ text: String) throws(ControlError) -> Target {
        if let target = Target(text) { return target }
        throw ControlError(
            .badRequest,
            "cannot use \"\(text.clipped(80))\" as a target; use SERVICE or SERVICE/INDEX, index from 0"
        )
    }

    private var noTarget: ControlError {
        ControlError(.badRequest, "cannot \(path[0]) nothing; name what with target=SERVICE or target=SERVICE/INDEX")
    }

    private func queryTargets(atMost most: Int) throws(ControlError) -> [Target] {
        let targets = try queryTargets(atLeastOne: false)
        if targets.count <= most { return targets }
        throw ControlError(.badRequest, "cannot \(path[0]) several targets at once; ask for each")
    }

    private func queryTargets(atLeastOne: Bool) throws(ControlError) -> [Target] {
        var targets: [Target] = []
        for text in query.values("target") {
            let target = try Self.parse(text)
            if !targets.contains(target) { targets.append(target) }
        }
        if atLeastOne, targets.isEmpty { throw noTarget }
        guard targets.count <= RequestLimits.targets else {
            throw ControlError(.badRequest, "cannot take more than \(RequestLimits.targets) targets at once")
        }
        return targets
    }

    /// `wait=false`, or `no_wait=true` and `detach=true` as the options are called.
    func wait() throws(ControlError) -> Bool {
        try query.only(oneOf: "wait", "no_wait")
        try query.only(oneOf: "wait", "detach")
        try query.only(oneOf: "no_wait", "detach")
        let detached = try query.flag("detach", default: false)
        let noWait = try query.flag("no_wait", default: detached)
        return try query.flag("wait", default: !noWait)
    }

    func reason() throws(ControlError) -> String? {
        guard let text = try query.single("reason"), !text.isEmpty else { return nil }
        guard text.utf8.count <= RequestLimits.reasonBytes else {
            throw ControlError(.badRequest, "cannot take a reason of more than \(RequestLimits.reasonBytes) bytes")
        }
        // It ends up in one line of text on terminals and in logs.
        return String(String.UnicodeScalarView(text.unicodeScalars.map { $0.isControl ? " " : $0 }))
    }

    private func signal() throws(ControlError) -> SignalNumber {
        guard let text = try query.single("signal"), !text.isEmpty else {
            throw ControlError(.badRequest, "cannot send no signal; name it with signal=SIGHUP")
        }
        // SIGRTMIN+3 in a query that was not encoded arrives with a space.
        let name = String(text.map { $0 == " " ? "+" : $0 })
        if let signal = SignalNumber(name: name) { return signal }
        throw ControlError(
            .badRequest,
            "cannot send \"\(text.clipped(40))\": there is no such signal; use a name such as SIGHUP"
        )
    }
}

extension Unicode.Scalar {
    /// C0, DEL or C1: what may move the cursor or change the colours of a terminal.
    var isControl: Bool { value < 0x20 || (0x7F...0x9F).contains(value) }
}
