import SupervisorCore

/// A service whose values are read, before they are judged together.
struct DecodedService {
    var draft: ServiceDraft
    /// With the defaults laid under it.
    var table: ConfigurationTable
    var origins: [KeyOrigin]

    var name: String { draft.spec.name }
    var path: [String] { ["services", name] }

    init(_ raw: RawFleet.Named, defaults: ConfigurationTable?, _ problems: inout Problems) {
        table = defaults.map { DefaultsMerge.merge($0, under: raw.table) } ?? raw.table
        draft = ServiceDraft(name: raw.name)
        origins = []
        if !ServiceCodecs.isServiceName(raw.name) {
            let wanted = "1 to 63 letters, digits and any of . _ -, beginning with a letter or digit"
            problems.add(path, "cannot use the name \(Quoting.shown(raw.name)); use \(wanted)", at: table.location)
        }
        problems.path = path
        origins = ServiceKeys.table.decode(table, into: &draft, &problems)
        problems.path = []
        fitDefaults()
    }

    /// Whether the service's own table or `[defaults]` sets a key.
    func isSet(_ keys: String...) -> Bool { table.node(at: keys) != nil }

    /// Defaults that nobody chose give way to values that somebody did.
    private mutating func fitDefaults() {
        let policy = table.node(at: ["restart", "policy"])
        if draft.spec.kind == .oneshot, draft.spec.restart.policy == .always, policy?.location.inherited ?? true {
            draft.spec.restart.policy = .onFailure
            origins.removeAll { ServiceKeys.table.keys[$0.key].path == ["restart", "policy"] }
        }
        if !isSet("restart", "backoff_max") {
            draft.spec.restart.backoffMax = max(draft.spec.restart.backoffMax, draft.spec.restart.backoffInitial)
        }
        if !isSet("restart", "backoff_initial") {
            draft.spec.restart.backoffInitial = min(draft.spec.restart.backoffMax, draft.spec.restart.backoffInitial)
        }
        var breaker = draft.spec.breaker
        if !isSet("breaker", "max_wait_duration_in_open_state") {
            let wait = breaker.waitDurationInOpenState
            breaker.maxWaitDurationInOpenState = max(breaker.maxWaitDurationInOpenState, wait)
        }
        if !isSet("breaker", "wait_duration_in_open_state") {
            let longest = breaker.maxWaitDurationInOpenState
            breaker.waitDurationInOpenState = min(longest, breaker.waitDurationInOpenState)
        }
        draft.spec.breaker = breaker
    }
}
