import SupervisorCore

/// Decides which probe begins when, which has run out of time, and what is the prober's own fault. No I/O, no clock.
///
/// A probe is due at `firstAt` and at every multiple of its period after it, however long one took and however late the
/// prober came. Of due times that were missed together only the next one counts.
struct Agenda {
    /// A probe that is to begin now.
    struct Order {
        /// Names this run of the probe; no other has it.
        var run: UInt64
        var key: ProbeKey
        var plan: ProbePlan
    }

    enum Step {
        case begin(Order)
        /// A probe that was never begun.
        case report(ProbeReport)
        /// This run has had its time. What it found so far counts more than `outcome`.
        case expire(run: UInt64, ProbeOutcome)
    }

    private enum State {
        case idle
        /// Waits for its turn since it came due.
        case queued(since: MonotonicInstant)
        case inFlight(run: UInt64)
    }

    private struct Watch {
        var serial: UInt64
        var plan: ProbePlan
        var period: Duration
        var timeout: Duration
        var firstAt: MonotonicInstant
        var due: MonotonicInstant
        var state = State.idle
        /// It missed a turn in the queue and goes first next time, so that none starves.
        var isOwed = false
    }

    private struct Flight {
        var key: ProbeKey
        var began: MonotonicInstant
        var timeout: Duration
        /// For how long the prober was not looking.
        var heldUp: Duration = .zero

        var deadline: MonotonicInstant { began.advanced(by: timeout) }
    }

    private let limits: ProberLimits
    private var watches: [ProbeKey: Watch] = [:]
    private var dues = DueHeap()
    private var owed: Queue = Queue()
    private var waiting: Queue = Queue()
    private var flights: [UInt64: Flight] = [:]
    /// How many of `flights` are of each service that has any.
    private var flightsOfService: [String: Int] = [:]
    private var lastSerial: UInt64 = 0

    init(limits: ProberLimits) {
        self.limits = limits
    }

    var isEmpty: Bool { watches.isEmpty }
    var inFlight: Int { flights.count }
    /// Entries of the heap, those that no longer count included.
    var scheduled: Int { dues.count }

    /// Begins to watch, in place of what was watched under `key`.
    ///
    /// - Returns: the run to cancel.
    mutating func watch(_ key: ProbeKey, _ wish: ProbeWish, at now: MonotonicInstant) -> UInt64? {
        let cancelled = unwatch(key)
        lastSerial &+= 1
        let period = max(wish.period, limits.shortestPeriod)
        // Of due times that have passed already only the last counts, and it is not late: nobody was to ask for it.
        let due = max(wish.firstAt, now)
        watches[key] = Watch(
            serial: lastSerial,
            plan: wish.plan,
            period: period,
            timeout: max(wish.timeout, .milliseconds(1)),
            firstAt: wish.firstAt,
            due: due
        )
        dues.insert(DueHeap.Entry(due: due, key: key, serial: lastSerial))
        return cancelled
    }

    /// Watches `key` no longer. Returns the run to cancel.
    mutating func unwatch(_ key: ProbeKey) -> UInt64? {
        guard let watch = watches.removeValue(forKey: key) else { return nil }
        // Churn would fill the heap with what is due in an hour and was dropped long ago.
        if dues.count > 2 * watches.count + 64 {
            dues.keep { watches[$0.key]?.serial == $0.serial }
        }
        guard case .inFlight(let run) = watch.state else { return nil }
        _ = endFlight(run)
        return run
    }

    /// A run has an outcome. Returns how long it took; nil when it was cancelled or has expired.
    mutating func finished(_ run: UInt64, at now: MonotonicInstant) -> (key: ProbeKey, duration: Duration)? {
        guard let flight = endFlight(run) else { return nil }
        if case .inFlight(run)? = watches[flight.key]?.state { watches[flight.key]?.state = .idle }
        return (flight.key, now.since(flight.began))
    }

    /// - Parameters:
    ///   - now: not before any earlier call's.
    ///   - lateness: by how much the prober came later than it had meant to.
    mutating func advance(to now: MonotonicInstant, lateness: Duration, _ steps: inout [Step]) {
        // Every timer is a little late.
        if lateness > .milliseconds(10) {
            flights = flights.mapValues { flight in
                var flight = flight
                flight.heldUp += min(lateness, max(.zero, now.since(flight.began)))
                return flight
            }
        }
        while let entry = dues.first, entry.due <= now {
            _ = dues.popFirst()
            comeDue(entry, now, &steps)
        }
        for (run, flight) in flights where flight.deadline <= now {
            let late = max(flight.heldUp, now.since(flight.deadline))
            let tolerated = min(limits.tolerance, flight.timeout / 2)
            let outcome =
                late > tolerated ? Clauses.heldUp(for: late) : .failure(Clauses.silent(for: flight.timeout))
            steps.append(.expire(run: run, outcome))
        }
        begin(now, &steps)
    }

    private mutating func endFlight(_ run: UInt64) -> Flight? {
        guard let flight = flights.removeValue(forKey: run) else { return nil }
        let service = flight.key.instance.service
        let left = (flightsOfService[service] ?? 1) - 1
        flightsOfService[service] = left > 0 ? left : nil
        return flight
    }

    /// Whether there is a place for a probe of the service.
    private func mayBegin(_ service: String) -> Bool {
        let own = flightsOfService[service] ?? 0
        if own == 0 { return flights.count < limits.probesInFlight + limits.reservedPlaces }
        return own < limits.probesOfService && flights.count < limits.probesInFlight
    }

    /// Gives free places to those that wait for one, in their order; who has to wait for a place of its own service
    /// keeps nobody else. What is free then, a service with many may have.
    mutating func begin(_ now: MonotonicInstant, _ steps: inout [Step]) {
        for isShared in [true, false] {
            var queue = Queue()
            swap(&queue, &owed)
            owed = begin(from: &queue, isShared, now, &steps)
            queue = Queue()
            swap(&queue, &waiting)
            waiting = begin(from: &queue, isShared, now, &steps)
        }
    }

    /// Answers those that wait on.
    private mutating func begin(
        from queue: inout Queue,
        _ isShared: Bool,
        _ now: MonotonicInstant,
        _ steps: inout [Step]
    ) -> Queue {
        var rest = Queue()
        while let next = queue.popFirst() {
            guard var watch = watches[next.key], watch.serial == next.serial, case .queued(let since) = watch.state
            else { continue }
            if isShared ? !mayBegin(next.key.instance.service) : flights.count >= limits.probesInFlight {
                rest.append(next)
                continue
            }
            let waited = now.since(since)
            if waited > patience(watch), !watch.isOwed {
                watch.state = .idle
                watch.isOwed = true
                watches[next.key] = watch
                steps.append(.report(report(next.key, crowded(for: waited), now)))
                continue
            }
            lastSerial &+= 1
            let run = lastSerial
            watch.state = .inFlight(run: run)
            watch.isOwed = false
            watches[next.key] = watch
            flights[run] = Flight(key: next.key, began: now, timeout: watch.timeout)
            flightsOfService[next.key.instance.service, default: 0] += 1
            steps.append(.begin(Order(run: run, key: next.key, plan: watch.plan)))
        }
        return rest
    }

    /// When to advance next; nil when nothing is watched.
    func nextWake(after now: MonotonicInstant) -> MonotonicInstant? {
        guard !isEmpty else { return nil }
        var wake = now.advanced(by: flights.isEmpty ? limits.heartbeat : limits.checkInterval)
        if let due = dues.first?.due { wake = min(wake, due) }
        for flight in flights.values { wake = min(wake, flight.deadline) }
        return wake
    }

    // MARK: -

    private mutating func comeDue(_ entry: DueHeap.Entry, _ now: MonotonicInstant, _ steps: inout [Step]) {
        guard var watch = watches[entry.key], watch.serial == entry.serial, watch.due == entry.due else { return }
        watch.due = Self.next(after: now, from: watch.firstAt, every: watch.period)
        // Saturated: it is never due again.
        if watch.due > now { dues.insert(DueHeap.Entry(due: watch.due, key: entry.key, serial: entry.serial)) }
        let late = now.since(entry.due)
        switch watch.state {
        case .inFlight:
            // One run of a probe at a time; the one under way will tell.
            break
        case .queued(let since):
            steps.append(.report(report(entry.key, crowded(for: now.since(since)), now)))
            watch.state = .queued(since: entry.due)
            watch.isOwed = true
        case .idle where late > patience(watch):
            steps.append(.report(report(entry.key, Clauses.heldUp(for: late), now)))
        case .idle:
            watch.state = .queued(since: entry.due)
            let place = Queue.Place(key: entry.key, serial: entry.serial)
            if watch.isOwed { owed.append(place) } else { waiting.append(place) }
        }
        watches[entry.key] = watch
    }

    /// How late a probe may begin.
    private func patience(_ watch: Watch) -> Duration {
        min(watch.timeout, max(watch.period / 2, limits.leastLateness))
    }

    private func crowded(for wait: Duration) -> ProbeOutcome {
        .unknown(.busy, "it waited \(wait.brief) for its turn behind \(flights.count) others")
    }

    private func report(_ key: ProbeKey, _ outcome: ProbeOutcome, _ now: MonotonicInstant) -> ProbeReport {
        ProbeReport(key: key, outcome: outcome, duration: .zero, finishedAt: now)
    }

    /// The first multiple of `period` since `first` that is after `now`.
    static func next(
        after now: MonotonicInstant,
        from first: MonotonicInstant,
        every period: Duration
    ) -> MonotonicInstant {
        if first > now { return first }
        let step = max(1, period.clampedNanoseconds)
        let passed = max(0, now.since(first).clampedNanoseconds) / step
        let (count, isPast) = passed.addingReportingOverflow(1)
        let (offset, isFar) = step.multipliedReportingOverflow(by: count)
        return isPast || isFar ? MonotonicInstant(nanoseconds: .max) : first.advanced(by: .nanoseconds(offset))
    }
}

/// Those that wait, the first come first. Those that no longer wait stay until they come up.
private struct Queue {
    struct Place {
        var key: ProbeKey
        /// Of the watch.
        var serial: UInt64
    }

    private var places: [Place] = []
    private var head = 0

    mutating func append(_ place: Place) {
        places.append(place)
    }

    mutating func popFirst() -> Place? {
        guard head < places.count else { return nil }
        let place = places[head]
        head += 1
        if head == places.count {
            places.removeAll(keepingCapacity: true)
            head = 0
        } else if head >= 1024, head >= places.count / 2 {
            places.removeFirst(head)
            head = 0
        }
        return place
    }
}
