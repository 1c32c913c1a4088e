import SupervisorCore

/// Turns the names of users and groups into numbers, each pair once.
struct Identities<Host: HostFacts> {
    private struct Pair: Hashable {
        var user: String?
        var group: String?
    }

    private enum Answer {
        case credentials(ServiceSpec.Credentials?)
        case refused(key: String, text: String)
    }

    private let host: Host
    private var answers: [Pair: Answer] = [:]

    init(_ host: Host) {
        self.host = host
    }

    /// Who the service's instances run as.
    ///
    /// - Returns: nil when they run as the daemon does, or when that was refused.
    mutating func resolve(_ service: DecodedService, _ problems: inout Problems) -> ServiceSpec.Credentials? {
        let pair = Pair(user: service.draft.spec.user, group: service.draft.spec.group)
        if pair.user == nil, pair.group == nil { return nil }
        let answer = answers[pair] ?? look(up: pair)
        answers[pair] = answer
        switch answer {
        case .credentials(let credentials): return credentials
        case .refused(let key, let text):
            ServiceRules.add(service, [key], text, &problems)
            return nil
        }
    }

    private func look(up pair: Pair) -> Answer {
        var user: UserAccount?
        var uid = host.effectiveUser
        var gid: UInt32?
        if let name = pair.user {
            switch host.user(name) {
            case .failure(let problem): return .refused(key: "user", text: "cannot look up \"\(name)\": \(problem)")
            case .success(let account?): (user, uid, gid) = (account, account.uid, account.gid)
            case .success(nil):
                // A number needs no account, but then nothing tells its group.
                guard let number = UInt32(name), pair.group != nil else {
                    let advice = UInt32(name) == nil ? "create the user or name another" : "set group too"
                    return .refused(key: "user", text: "cannot find the user \"\(name)\" on this host; \(advice)")
                }
                uid = number
            }
        }
        if let name = pair.group {
            switch host.group(name) {
            case .failure(let problem): return .refused(key: "group", text: "cannot look up \"\(name)\": \(problem)")
            case .success(let number?): gid = number
            case .success(nil):
                let text = "cannot find the group \"\(name)\" on this host; create the group or name another"
                return .refused(key: "group", text: text)
            }
        }
        let primary = gid ?? host.effectiveGroup
        if host.effectiveUser != 0 { return unprivileged(pair, uid: uid, gid: primary) }
        let groups = user.map { host.groups(of: $0, primary: primary) } ?? [primary]
        return .credentials(ServiceSpec.Credentials(uid: uid, gid: primary, supplementaryGroups: groups))
    }

    /// Only root may become somebody else; to ask for what one is already is no request.
    private func unprivileged(_ pair: Pair, uid: UInt32, gid: UInt32) -> Answer {
        let own = host.effectiveUser
        let reason = "eiderd runs as uid \(own), not as root; run it as root"
        if uid != own, let user = pair.user {
            return .refused(key: "user", text: "cannot run as \"\(user)\": \(reason) or remove user")
        }
        if gid != host.effectiveGroup, let group = pair.group {
            return .refused(key: "group", text: "cannot run as group \"\(group)\": \(reason) or remove group")
        }
        return .credentials(nil)
    }
}
