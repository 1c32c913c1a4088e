@testable import SupervisorCore

/// Hosts that share one ledger, without a delay: what is asked is answered at once, unless told otherwise.
struct BreakerFleet {
    var hosts: [BreakerMachine] = []
    var store = BreakerLedger()
    var now: Int64 = 1_000_000
    /// The store's clock is another one.
    let storeOffset: Int64 = 1_700_000_000_000
    /// Hosts that do not reach the store.
    var away: Set<Int> = []
    var losesPushes = false
    private(set) var asked: [(host: Int, operation: BreakerOperation)] = []
    let seat = 0

    init(_ count: Int, _ change: (inout ServiceSpec) -> Void = { _ in }) {
        var service = ServiceSpec(name: "a", command: ["/bin/a"])
        change(&service)
        for number in 0..<count {
            var spec = FleetSpec()
            spec.node.name = "h\(number)"
            spec.breaker.store = .redis
            let start = MonotonicInstant(milliseconds: now)
            var host = BreakerMachine(spec: spec, now: start, seed: UInt64(number))
            _ = host.seat(of: service, release: "r1", at: now)
            hosts.append(host)
        }
        for host in hosts.indices { connect(host) }
        advance(by: 16_000)
    }

    var name: String { hosts[0].seats[seat].name }

    func state(_ host: Int) -> BreakerPublicState { hosts[host].publicState(seat) }

    func register() -> BreakerRegister { store.registers[name] ?? BreakerRegister() }

    mutating func connect(_ host: Int) {
        away.remove(host)
        hosts[host].take(.connected, at: now)
        pump()
    }

    mutating func disconnect(_ host: Int) {
        away.insert(host)
        hosts[host].take(.disconnected(StoreFailure(kind: .unreachable, text: "cannot reach Redis")), at: now)
        pump()
    }

    mutating func crash(_ host: Int, _ kind: CrashKind = .ofRelease, times: Int = 1) {
        for _ in 0..<times {
            hosts[host].crashed(seat, kind, "it exited", at: now)
            pump()
        }
    }

    /// A start is wanted on `host`; answers whether it may.
    mutating func wants(_ host: Int) -> GateAnswer {
        let answer = hosts[host].gate(seat, at: now)
        pump()
        return answer
    }

    /// Carries everything to the store and back, until nobody has anything to say.
    mutating func pump() {
        var isQuiet = false
        while !isQuiet {
            isQuiet = true
            for host in hosts.indices {
                let requests = hosts[host].outbox
                hosts[host].outbox = []
                for request in requests {
                    isQuiet = false
                    asked.append((host, request.operation))
                    if away.contains(host) {
                        let failure = StoreFailure(kind: .unreachable, text: "cannot reach Redis")
                        hosts[host].take(.unanswered(number: request.number, failure), at: now)
                        continue
                    }
                    let (reply, told) = store.apply(
                        request.operation,
                        by: hosts[host].caller,
                        at: now + storeOffset
                    )
                    hosts[host].take(.answered(number: request.number, reply), at: now)
                    for other in hosts.indices where !away.contains(other) && !losesPushes {
                        for entry in told { hosts[other].take(.pushed(entry), at: now) }
                    }
                }
            }
        }
    }

    /// Lets time pass, from one deadline to the next.
    mutating func advance(by duration: Int64) {
        let end = now + duration
        while let next = hosts.compactMap(\.deadline).min(), next <= end {
            now = max(now, next)
            for host in hosts.indices { hosts[host].advance(to: now) }
            pump()
        }
        now = end
        for host in hosts.indices { hosts[host].advance(to: now) }
        pump()
    }

    func count(_ isMeant: (BreakerOperation) -> Bool) -> Int { asked.count { isMeant($0.operation) } }

    /// The host that holds the lease; nil when none does.
    var holder: Int? { hosts.firstIndex { $0.seats[seat].claim.hold != nil } }
}
