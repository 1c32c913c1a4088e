import SupervisorCore

/// What a prober was told, as it is kept.
enum ProberAnswer: Equatable {
    /// What decides in a line of the agent's.
    enum Word: String {
        case up, drain, down, stopped
    }

    case code(Int)
    case agent(Word)

    /// It takes the target out of service.
    var isOut: Bool {
        switch self {
        case .code(let code): code >= 400
        case .agent(let word): word != .up
        }
    }

    var text: String {
        switch self {
        case .code(let code): "\(code)"
        case .agent(let word): word.rawValue
        }
    }
}

/// Who asks the health ports whether to route: the load balancers that a drain has to wait for.
///
/// A prober is known again by the bytes it sends, without a string being made or memory being allocated: this is done
/// for every probe. Confined to the health ports' loop, like its owner.
struct ProberRegister {
    /// By what a prober is known again.
    struct Caller {
        var peer: PeerAddress
        /// Empty where it sends none.
        var userAgent: UnsafeRawBufferPointer
        /// With the query, as sent; for the agent the name.
        var path: UnsafeRawBufferPointer
        var host: UnsafeRawBufferPointer
        var isAgent = false
    }

    private struct Prober {
        var hash: UInt64
        /// The next one in its chain; -1: none.
        var next: Int32
        var peer: PeerAddress
        /// The caller's texts one after the other, each cut to `HealthServerLimits.proberTextBytes`.
        var texts: [UInt8]
        /// Bytes of the whole texts.
        var lengths: (userAgent: Int, path: Int, host: Int)
        var isAgent: Bool
        var target: Target?
        /// Grows with each new prober.
        var serial: UInt64
        var lastAt: MonotonicInstant
        var requests: UInt64 = 1
        var told: ProberAnswer
        var outInARow = 0
        var haproxy: HAProxyReport
        /// When the present burst began; requests that come so close together are one for the period.
        var burstBegan: MonotonicInstant
        /// The last intervals, nanoseconds, each in the place of the oldest.
        var intervals = InlineArray<5, Int64>(repeating: 0)
        var intervalCount = 0
        /// Their median, nanoseconds; 0 while there is none.
        var period: Int64 = 0

        mutating func note(_ answer: ProberAnswer, _ report: HAProxyReport, at now: MonotonicInstant) {
            lastAt = now
            told = answer
            outInARow = answer.isOut ? outInARow &+ 1 : 0
            haproxy = report
        }

        /// Takes note of the time since the last burst, unless this belongs to it.
        mutating func measure(at now: MonotonicInstant, burst: Int64) {
            let interval = now.nanoseconds &- burstBegan.nanoseconds
            if interval < burst { return }
            burstBegan = now
            intervals[intervalCount % intervals.count] = interval
            intervalCount &+= 1
            var sorted = intervals
            let count = min(intervalCount, intervals.count)
            for end in 1..<max(count, 1) {
                var place = end
                while place > 0, sorted[place - 1] > sorted[place] {
                    sorted.swapAt(place - 1, place)
                    place -= 1
                }
            }
            // The upper one of an even number: waiting too long for a prober costs time, too short costs requests.
            period = sorted[count / 2]
        }
    }

    private let limit: Int
    private let textBytes: Int
    /// Nanoseconds.
    private let burst: Int64
    private let seed: UInt64
    private var probers: [Prober] = []
    /// The first prober of each chain; -1: none.
    private var chains: [Int32]
    private var nextSerial: UInt64 = 0

    /// - Parameter seed: what no client knows; one that did could make chains long.
    init(_ limits: HealthServerLimits, seed: UInt64) {
        self.seed = seed
        limit = min(max(1, limits.probers), Int(Int32.max))
        textBytes = max(0, limits.proberTextBytes)
        burst = max(1, limits.proberBurst.clampedNanoseconds)
        var capacity = 16
        while capacity < limit { capacity *= 2 }
        chains = Array(repeating: -1, count: capacity)
    }

    var count: Int { probers.count }

    /// Bytes that are kept of texts, for tests of the bound.
    var storedBytes: Int { probers.reduce(0) { $0 + $1.texts.capacity } }

    /// - Parameters:
    ///   - report: what HAProxy says with it.
    ///   - target: what it asks about, taken when it is new; nil for the node.
    mutating func note(
        _ caller: Caller,
        told answer: ProberAnswer,
        _ report: HAProxyReport,
        at now: MonotonicInstant,
        target: @autoclosure () -> Target?
    ) {
        let hash = hash(caller)
        if let place = find(caller, hash) {
            probers[place].requests &+= 1
            probers[place].measure(at: now, burst: burst)
            probers[place].note(answer, report, at: now)
        } else {
            add(caller, hash, answer, report, at: now, target())
        }
    }

    // MARK: Known ones

    private func find(_ caller: Caller, _ hash: UInt64) -> Int? {
        var place = Int(chains[chain(hash)])
        while place >= 0 {
            if probers[place].hash == hash, isSame(place, caller) { return place }
            place = Int(probers[place].next)
        }
        return nil
    }

    private func chain(_ hash: UInt64) -> Int { Int(truncatingIfNeeded: hash) & (chains.count &- 1) }

    /// What was cut off the texts is compared by their hash alone.
    private func isSame(_ place: Int, _ caller: Caller) -> Bool {
        let lengths = probers[place].lengths
        guard probers[place].peer == caller.peer, lengths.userAgent == caller.userAgent.count,
            lengths.path == caller.path.count, lengths.host == caller.host.count
        else { return false }
        return probers[place].texts.withUnsafeBytes { texts in
            var start = 0
            return Self.isNext(caller.userAgent, textBytes, texts, &start)
                && Self.isNext(caller.path, textBytes, texts, &start)
                && Self.isNext(caller.host, textBytes, texts, &start)
        }
    }

    private static func isNext(
        _ text: UnsafeRawBufferPointer,
        _ limit: Int,
        _ texts: UnsafeRawBufferPointer,
        _ start: inout Int
    ) -> Bool {
        let count = min(text.count, limit)
        guard texts.count &- start >= count else { return false }
        var offset = 0
        while offset &+ 8 <= count {
            let left = text.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            if left != texts.loadUnaligned(fromByteOffset: start &+ offset, as: UInt64.self) { return false }
            offset &+= 8
        }
        while offset < count {
            if text[offset] != texts[start &+ offset] { return false }
            offset &+= 1
        }
        start &+= count
        return true
    }

    /// FNV-1a's steps (Fowler, Noll and Vo), over eight bytes at once and with the high half folded in, since
    /// multiplication carries upwards only.
    private struct Hash {
        private(set) var value: UInt64

        init(seed: UInt64) { value = seed }

        mutating func add(_ word: UInt64) {
            value = (value ^ word) &* 0x9e37_79b9_7f4a_7c15
            value ^= value >> 32
        }

        mutating func add(_ text: UnsafeRawBufferPointer) {
            add(UInt64(truncatingIfNeeded: text.count))
            var offset = 0
            while offset &+ 8 <= text.count {
                add(text.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
                offset &+= 8
            }
            var rest: UInt64 = 0
            while offset < text.count {
                rest = rest << 8 | UInt64(text[offset])
                offset &+= 1
            }
            add(rest)
        }
    }

    private func hash(_ caller: Caller) -> UInt64 {
        var hash = Hash(seed: seed)
        hash.add(caller.peer.high)
        hash.add(caller.peer.low)
        hash.add(caller.userAgent)
        hash.add(caller.path)
        hash.add(caller.host)
        return hash.value
    }

    // MARK: New ones

    private mutating func add(
        _ caller: Caller,
        _ hash: UInt64,
        _ answer: ProberAnswer,
        _ report: HAProxyReport,
        at now: MonotonicInstant,
        _ target: Target?
    ) {
        var texts: [UInt8] = []
        let victim = probers.count < limit ? nil : victim(for: caller.peer, at: now)
        if let victim {
            unlink(victim)
            // Its memory goes on being used: new ones may come fast.
            swap(&texts, &probers[victim].texts)
            texts.removeAll(keepingCapacity: true)
        }
        texts.append(contentsOf: caller.userAgent.prefix(textBytes))
        texts.append(contentsOf: caller.path.prefix(textBytes))
        texts.append(contentsOf: caller.host.prefix(textBytes))
        var prober = Prober(
            hash: hash,
            next: chains[chain(hash)],
            peer: caller.peer,
            texts: texts,
            lengths: (caller.userAgent.count, caller.path.count, caller.host.count),
            isAgent: caller.isAgent,
            target: target,
            serial: nextSerial,
            lastAt: now,
            told: answer,
            haproxy: report,
            burstBegan: now
        )
        prober.note(answer, report, at: now)
        nextSerial &+= 1
        if let victim {
            probers[victim] = prober
        } else {
            probers.append(prober)
        }
        chains[chain(hash)] = Int32(truncatingIfNeeded: victim ?? probers.count &- 1)
    }

    private mutating func unlink(_ place: Int) {
        let chain = chain(probers[place].hash)
        let next = probers[place].next
        if chains[chain] == place {
            chains[chain] = next
            return
        }
        var before = Int(chains[chain])
        while before >= 0 {
            if probers[before].next == place {
                probers[before].next = next
                return
            }
            before = Int(probers[before].next)
        }
    }

    /// Who is forgotten for a new one from `peer`.
    ///
    /// First those that came once and never again, the one seen longest ago before others: a client that makes up a
    /// new User-Agent or query for each request fills the register with these, and pushes out its own. Where one
    /// address holds more than half of the places, its own go before others', so that others have time to come back.
    /// Where all have come back, the one that is most overdue by its own period goes: a prober that asks each period
    /// never is, while what asked twice and stopped soon becomes so.
    private func victim(for peer: PeerAddress, at now: MonotonicInstant) -> Int {
        var own = 0
        var oldestOwn: Int?
        var oldest: Int?
        var mostOverdue = 0
        var most = -1.0
        for place in probers.indices {
            let isOwn = probers[place].peer == peer
            if isOwn { own &+= 1 }
            let lastAt = probers[place].lastAt
            if probers[place].intervalCount == 0 {
                if oldest.map({ lastAt < probers[$0].lastAt }) ?? true { oldest = place }
                if isOwn, oldestOwn.map({ lastAt < probers[$0].lastAt }) ?? true { oldestOwn = place }
            } else {
                let overdue = Double(now.nanoseconds &- lastAt.nanoseconds) / Double(max(1, probers[place].period))
                if overdue > most { (mostOverdue, most) = (place, overdue) }
            }
        }
        if let oldestOwn, own > limit / 2 { return oldestOwn }
        return oldest ?? mostOverdue
    }

    // MARK: Looking

    /// All that are known, in the order of their first request.
    ///
    /// Those whose texts are the same once they are cut are told as one: the one that is further from being out.
    func sightings() -> [ProberSighting] {
        var sightings: [ProberSighting] = []
        var places: [ProberSighting.Identity: Int] = [:]
        for prober in probers.sorted(by: { $0.serial < $1.serial }) {
            var sighting = sighting(prober)
            guard let place = places[sighting.identity] else {
                places[sighting.identity] = sightings.count
                sightings.append(sighting)
                continue
            }
            // Nobody may be taken for gone or out because another is.
            sighting.requests &+= sightings[place].requests
            sighting.lastAt = max(sighting.lastAt, sightings[place].lastAt)
            if sightings[place].outInARow < sighting.outInARow {
                sighting.outInARow = sightings[place].outInARow
                sighting.told = sightings[place].told
                sighting.haproxyState = sightings[place].haproxyState
                sighting.haproxySessions = sightings[place].haproxySessions
            }
            sightings[place] = sighting
        }
        return sightings
    }

    private func sighting(_ prober: Prober) -> ProberSighting {
        var rest = prober.texts[...]
        func next(_ length: Int) -> String {
            let part = rest.prefix(min(length, textBytes))
            rest = rest.dropFirst(part.count)
            return String(decoding: part, as: UTF8.self).singleLine(bytes: textBytes)
        }
        let userAgent = next(prober.lengths.userAgent)
        let path = next(prober.lengths.path)
        let host = next(prober.lengths.host)
        var sighting = ProberSighting(
            identity: ProberSighting.Identity(address: prober.peer.text, userAgent: userAgent, path: path, host: host),
            target: prober.target,
            lastAt: prober.lastAt,
            told: prober.told.text
        )
        sighting.isAgent = prober.isAgent
        sighting.period = prober.intervalCount > 0 ? .nanoseconds(prober.period) : nil
        sighting.requests = prober.requests
        sighting.outInARow = prober.outInARow
        sighting.haproxyState = prober.haproxy.state?.rawValue
        sighting.haproxySessions = prober.haproxy.sessions
        return sighting
    }
}
