import StatusBoard
import SupervisorCore

// What a breaker has to do with it: who opened it, with what evidence, when the next probe is, and who makes it.
extension WhyDocument {
    /// The breaker of a service's present release; nil where none is known.
    func breaker(ofService name: String) -> BreakerStatus? {
        snapshot.fleet.breakers.breakers.first { $0.service == name }
    }

    func writeBreaker(ofService name: String, _ writer: inout JSONWriter) {
        guard let breaker = breaker(ofService: name), breaker.state != .closed else { return }
        writer.member("breaker", breaker.name)
        writer.member("breaker_text", inWords(breaker))
    }

    /// One sentence.
    private func inWords(_ breaker: BreakerStatus) -> String {
        let reason = breaker.reason.map { ": \($0)" } ?? ""
        switch breaker.state {
        case .closed: return "closed"
        case .disabled, .metricsOnly: return "\(breaker.state.rawValue): it lets every start through"
        case .forcedOpen, .forcedClosed: return "\(breaker.state.rawValue) by \(breaker.reason ?? "an operator")"
        case .halfOpen:
            let who = breaker.probeHolder.map { "; the probe is made by \($0)" } ?? ""
            return "half-open\(who)\(reason)"
        case .open:
            let who = breaker.isOfHostAlone ? "open on this host alone" : "open"
            let by = breaker.openedBy.map { ", last moved by \($0)" } ?? ""
            return "\(who)\(by)\(reason)\(votes(breaker))\(next(breaker))"
        }
    }

    private func votes(_ breaker: BreakerStatus) -> String {
        breaker.quorum > 0 ? "; \(breaker.votes.count) of \(breaker.quorum) votes" : ""
    }

    private func next(_ breaker: BreakerStatus) -> String {
        guard let retryAt = breaker.retryAt else { return "" }
        return retryAt > now ? "; the next probe is at \(time(retryAt))" : "; the next probe is due"
    }

    /// For an instance that its breaker holds.
    func waysOutOfBreaker(_ service: String) -> [String] {
        guard let breaker = breaker(ofService: service) else { return [] }
        switch breaker.state {
        case .forcedOpen: return ["hand it back: eiderctl breaker auto \(breaker.name)"]
        case .open, .halfOpen:
            return [
                "run another release: its breaker is closed, and it starts at once",
                "wait for a probe to succeed: eiderctl breaker show \(breaker.name)",
                "start it all the same: eiderctl breaker force-closed \(breaker.name)",
            ]
        case .closed, .forcedClosed, .disabled, .metricsOnly: return []
        }
    }
}
