import StatusBoard
import SupervisorCore
import Synchronization

@testable import ControlServer

/// Supervision as the control server sees it, with everything in the tests' hands.
final class FakePort: SupervisorPort {
    struct Submitted: Sendable, Equatable {
        var command: Command
        var caller: Caller
        var wait: Bool
    }

    struct Reload: Sendable, Equatable {
        var caller: Caller
        var dryRun: Bool
        var wait: Bool
    }

    private struct State: Sendable {
        var plan = DrainPlan.refused("not in this test")
        var planned: [DrainRequest] = []
        var reloaded = ReloadResult.refused("not in this test")
        var reloads: [Reload] = []
        var submitted: [Submitted] = []
        var answer: OperationResult? = .done
        var held: [@Sendable (OperationResult) -> Void] = []
    }

    private let state = Mutex(State())
    let ring = FakeLogs(capacity: 1_000)
    let history = FakeEvents(capacity: 1_000)
    let spec: FleetSpec

    init(spec: FleetSpec = Fixture.spec) {
        self.spec = spec
    }

    func planDrain(_ request: DrainRequest, reply: @escaping @Sendable (DrainPlan) -> Void) {
        reply(
            state.withLock { state in
                state.planned.append(request)
                return state.plan
            }
        )
    }

    func reload(
        by caller: Caller,
        dryRun: Bool,
        wait: Bool,
        reply: @escaping @Sendable (ReloadResult) -> Void
    ) {
        reply(
            state.withLock { state in
                state.reloads.append(Reload(caller: caller, dryRun: dryRun, wait: wait))
                return state.reloaded
            }
        )
    }

    /// What plans and reloads are answered from now on.
    func plan(_ plan: DrainPlan) { state.withLock { $0.plan = plan } }
    func reloaded(_ result: ReloadResult) { state.withLock { $0.reloaded = result } }

    var planned: [DrainRequest] { state.withLock { $0.planned } }
    var reloads: [Reload] { state.withLock { $0.reloads } }

    var logs: any LogReading { ring }
    var events: any EventReading { history }
    var submitted: [Submitted] { state.withLock { $0.submitted } }

    /// What commands are answered from now on; nil holds the answers back until `release`.
    func answer(_ result: OperationResult?) {
        state.withLock { $0.answer = result }
    }

    /// Answers what was held back; true when there was something.
    func release(_ result: OperationResult) -> Bool {
        let held = state.withLock { state in
            defer { state.held = [] }
            return state.held
        }
        for reply in held { reply(result) }
        return !held.isEmpty
    }

    func submit(
        _ command: Command,
        by caller: Caller,
        wait: Bool,
        reply: @escaping @Sendable (OperationResult) -> Void
    ) {
        let answer = state.withLock { state -> OperationResult? in
            state.submitted.append(Submitted(command: command, caller: caller, wait: wait))
            if state.answer == nil { state.held.append(reply) }
            return state.answer
        }
        if let answer { reply(answer) }
    }

    func upgrade(by caller: Caller, reply: @escaping @Sendable (OperationResult) -> Void) {
        reply(.refused("cannot upgrade: the program on disk is the one that runs"))
    }
}

/// A bounded memory, as the daemon's, with observers.
final class FakeRing<Element: Sendable>: Sendable {
    private struct State: Sendable {
        var elements: [Element] = []
        var observers: [Int: @Sendable () -> Void] = [:]
        var next = 0
        var sequence: UInt64 = 0
    }

    private let state = Mutex(State())
    private let capacity: Int

    init(capacity: Int) {
        self.capacity = capacity
    }

    var elements: [Element] { state.withLock { $0.elements } }
    var observerCount: Int { state.withLock { $0.observers.count } }

    func append(_ count: Int = 1, _ make: (UInt64) -> Element) {
        let observers = state.withLock { state in
            for _ in 0..<count {
                state.sequence += 1
                state.elements.append(make(state.sequence))
            }
            state.elements.removeFirst(max(0, state.elements.count - capacity))
            return Array(state.observers.values)
        }
        for observer in observers { observer() }
    }

    func observe(_ wake: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        let key = state.withLock { state in
            state.next += 1
            state.observers[state.next] = wake
            return state.next
        }
        return { [self] in state.withLock { $0.observers[key] = nil } }
    }
}

final class FakeLogs: LogReading {
    let ring: FakeRing<LogLine>
    /// What only the files have: lines of before the ring, which `tail` gives and `lines` does not.
    private let files = Mutex<[LogLine]>([])

    init(capacity: Int) {
        ring = FakeRing(capacity: capacity)
    }

    func said(_ text: String, sequence: UInt64, _ instance: InstanceID = InstanceID(service: "auth", index: 0)) {
        let line = LogLine(sequence: sequence, instance: instance, wallClock: Fixture.wallClock, text: text)
        files.withLock { $0.append(line) }
    }

    func say(_ text: String, _ instance: InstanceID = InstanceID(service: "auth", index: 0), count: Int = 1) {
        ring.append(count) { LogLine(sequence: $0, instance: instance, wallClock: Fixture.wallClock, text: text) }
    }

    private func matching(_ target: Target?, _ lines: [LogLine]) -> [LogLine] {
        lines.filter { line in
            switch target {
            case nil: true
            case .service(let name)?: line.instance.service == name
            case .instance(let id)?: line.instance == id
            }
        }
    }

    func tail(_ target: Target?, limit: Int) -> [LogLine] {
        Array(matching(target, files.withLock { $0 } + ring.elements).suffix(limit))
    }

    func lines(after sequence: UInt64, _ target: Target?, limit: Int) -> [LogLine] {
        Array(matching(target, ring.elements).filter { $0.sequence > sequence }.prefix(limit))
    }

    func observe(_ wake: @escaping @Sendable () -> Void) -> @Sendable () -> Void { ring.observe(wake) }
}

final class FakeEvents: EventReading {
    let ring: FakeRing<EventRecord>

    init(capacity: Int) {
        ring = FakeRing(capacity: capacity)
    }

    func happen(_ kind: String, _ subject: String?) {
        ring.append {
            EventRecord(
                sequence: $0,
                wallClock: Fixture.wallClock,
                subject: subject,
                kind: kind,
                text: "\(subject ?? "node") \(kind)"
            )
        }
    }

    func events(after sequence: UInt64, subject: String?, limit: Int) -> [EventRecord] {
        let all = ring.elements.filter { event in
            guard event.sequence > sequence else { return false }
            guard let subject else { return true }
            return event.subject == subject || event.subject?.hasPrefix(subject + "/") == true
        }
        return Array(all.suffix(limit))
    }

    func observe(_ wake: @escaping @Sendable () -> Void) -> @Sendable () -> Void { ring.observe(wake) }
}

/// A small fleet: auth with two instances, of which one is in backoff.
enum Fixture {
    /// 2026-11-21T08:13:44.120Z
    static let wallClock: Int64 = 1_795_248_824_120_000_000
    static let now = MonotonicInstant(nanoseconds: 100_000_000_000)

    static var spec: FleetSpec {
        var spec = FleetSpec()
        var auth = ServiceSpec(name: "auth", command: ["/usr/lib/game/auth"])
        auth.replicas = 2
        spec.services = [auth, ServiceSpec(name: "event-bus", command: ["/usr/lib/game/bus"])]
        return spec
    }

    static var fleet: FleetStatus {
        let since = MonotonicInstant(nanoseconds: 40_000_000_000)
        var fleet = FleetStatus(node: NodeStatus(name: "host-a", state: .degraded, since: since))
        var auth = ServiceStatus(name: "auth", state: .degraded, since: since)
        auth.ready = 1
        auth.desired = 2
        var first = InstanceStatus(
            id: InstanceID(service: "auth", index: 0),
            state: .healthy,
            since: since,
            generation: 1
        )
        first.pid = 4711
        first.ready = true
        first.startedAt = since
        var second = InstanceStatus(
            id: InstanceID(service: "auth", index: 1),
            state: .backoff,
            since: now,
            generation: 3
        )
        second.nextStartAt = now.advanced(by: .seconds(4))
        second.lastExit = LastExit(outcome: .status(.code(1)), cause: .exit, at: now)
        auth.instances = [first, second]
        var bus = ServiceStatus(name: "event-bus", state: .healthy, since: since)
        bus.instances = [
            InstanceStatus(id: InstanceID(service: "event-bus", index: 0), state: .healthy, since: since, generation: 1)
        ]
        fleet.services = [auth, bus]
        return fleet
    }

    static func board(_ fleet: FleetStatus = fleet) -> StatusBoard {
        StatusBoard(fleet: fleet, now: now, wallClockOffset: wallClock - now.nanoseconds)
    }
}

/// A user database of three.
struct FakeAccounts: AccountLookup {
    var accounts: [UInt32: Account] = [
        1000: Account(name: "anna", groups: [1000, 50]), 1001: Account(name: "bob", groups: [1001]),
    ]
    var groups: [String: UInt32] = ["eider": 50]

    func account(uid: UInt32) -> Account? { accounts[uid] }
    func gid(ofGroup name: String) -> UInt32? { groups[name] }
}
