public import StatusBoard
public import SupervisorCore

/// The JSON of `breaker list --json` and `breaker show --json` (INTERFACE.md §1).
public struct BreakerDocument: Sendable {
    let snapshot: StatusBoard.Snapshot
    let now: MonotonicInstant

    public init(_ snapshot: StatusBoard.Snapshot, now: MonotonicInstant) {
        self.snapshot = snapshot
        self.now = now
    }

    /// All breakers, and where they are shared.
    public var json: [UInt8] {
        let all = snapshot.fleet.breakers
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("store", all.store.rawValue)
            writer.member("store_problem", ifPresent: all.storeProblem)
            if all.store == .redis { writer.member("live_hosts", all.liveHosts) }
            writer.member(
                "breakers",
                array: { list in
                    for breaker in all.breakers { list.object { write(breaker, &$0) } }
                }
            )
        }
        return writer.bytes
    }

    /// One breaker: by its full name, or a service's (`auth`, `service:auth`) for its present release.
    ///
    /// - Throws: `ControlError` `notFound`, with what was probably meant.
    public func json(of name: String) throws(ControlError) -> [UInt8] {
        guard let breaker = find(name) else { throw Self.unknown(name, snapshot.fleet.breakers) }
        var writer = JSONWriter()
        writer.object { writer in
            write(breaker, &writer)
            writer.member("store", snapshot.fleet.breakers.store.rawValue)
        }
        return writer.bytes
    }

    func find(_ name: String) -> BreakerStatus? {
        let all = snapshot.fleet.breakers.breakers
        return all.first { $0.name == name }
            ?? all.first {
                $0.kind == .service && ($0.name.hasPrefix("service:\(name)@") || $0.name.hasPrefix("\(name)@"))
            }
    }

    /// What to answer where there is no such breaker.
    public static func unknown(_ name: String, _ all: BreakersStatus) -> ControlError {
        var text = "cannot find a breaker named \"\(name.clipped(80))\""
        let names = all.breakers.map(\.name) + all.breakers.compactMap(\.service)
        if let near = NearestName.find(name, among: names) {
            text += "; did you mean \"\(near)\"?"
        } else {
            text +=
                "; a dependency's is known once it is configured or a worker has asked for it "
                + "(eiderctl breaker list)"
        }
        return ControlError(.notFound, text)
    }

    private func write(_ breaker: BreakerStatus, _ writer: inout JSONWriter) {
        writer.member("name", breaker.name)
        writer.member("kind", breaker.kind.rawValue)
        writer.member("state", breaker.state.rawValue)
        writer.member("since", Timestamp.rfc3339(snapshot.wallClock(breaker.since)))
        writer.member("reason", ifPresent: breaker.reason)
        if let retryAt = breaker.retryAt {
            writer.member("retry_in_seconds", rounded: max(0, retryAt.since(now).inSeconds))
        }
        writer.member("opened_by", ifPresent: breaker.openedBy)
        if breaker.quorum > 0 {
            writer.member("votes", breaker.votes.count)
            writer.member("quorum", breaker.quorum)
        }
        writer.member("probe_holder", ifPresent: breaker.probeHolder)
        writeDetails(breaker, &writer)
    }

    private func writeDetails(_ breaker: BreakerStatus, _ writer: inout JSONWriter) {
        if breaker.isOfHostAlone { writer.member("scope", "host") }
        if !breaker.votes.isEmpty { writer.member("voters", array: { for host in breaker.votes { $0.value(host) } }) }
        if !breaker.suspects.isEmpty {
            writer.member("suspects", array: { for host in breaker.suspects { $0.value(host) } })
        }
        if breaker.openings > 0 { writer.member("openings", breaker.openings) }
        if breaker.kind == .service {
            writer.member("crashes", breaker.crashes)
        } else {
            writer.member("calls", breaker.bufferedCalls)
            if let rate = breaker.failureRate { writer.member("failure_rate", rounded: rate) }
            if let rate = breaker.slowCallRate { writer.member("slow_call_rate", rounded: rate) }
        }
        writer.member("not_permitted", breaker.counts.notPermitted)
    }
}

extension BreakerStatus {
    /// Of a service's breaker: the service. nil for a dependency's.
    public var service: String? {
        guard kind == .service else { return nil }
        let rest = name.dropFirst("service:".count)
        return rest.lastIndex(of: "@").map { String(rest[..<$0]) }
    }
}

extension BreakerCounts {
    /// Starts or calls that were not let through, for whatever reason.
    public var notPermitted: UInt64 { notPermittedOpen &+ notPermittedHalfOpen &+ notPermittedForced }
}
