import LinuxPlatform
import Prober
import ShimProtocol
import SupervisorCore

/// Runs exec probes on time, through the shim: it starts each as the service's user in its environment, in a place of
/// its own, and ends it as a tree. Lives on the supervision thread, which waits for none of them.
///
/// To the shim a probe is an instance of its own, named so that no service can be (`auth@readiness/0`): what it has
/// for workers serves here, and a probe that outlives its daemon is found and ended by the next one.
final class ExecProbes {
    /// Named limits (rule P7).
    enum Limits {
        /// Probes that run at one time; more wait, the first come first.
        static let running = 16
        /// Of one service; so that one whose probes hang does not keep those of the others waiting,
        static let runningOfService = 4
        /// a service of which none runs may start one up to here.
        static let runningOfMany = 64
        /// Of its output, what is kept to say why it failed, bytes. The rest is read and dropped.
        static let output = 512
        /// Of that, what goes into the clause, bytes.
        static let text = 120
        /// Of its output, what is read at once, bytes; who has more to say waits for a moment each time, so that a
        /// flood costs the supervision thread next to nothing.
        static let share = 32 << 10
        static let pause: Duration = .milliseconds(10)
        /// A time that came this much late says nothing about the probe.
        static let lateness: Duration = .milliseconds(500)
    }

    /// What is done for the probes by those who can.
    struct Hands {
        /// Asks the shim to start the command; the text says why that cannot even be asked.
        var start: (ProbeKey, [String], InstanceID, Generation, SharedDescriptor) throws(Obstacle) -> Void
        var endTree: (InstanceID, Generation) -> Void
        var release: (InstanceID, Generation) -> Void
        var report: (ProbeKey, ProbeOutcome) -> Void
        /// SIGKILL does not end a probe of this instance; said once for each run, with how many are left and a pid.
        var cannotEnd: (InstanceID, Int, Int32) -> Void
        /// The last probe is gone.
        var emptied: () -> Void
    }

    struct Obstacle: Error {
        var kind: ProbeObstacle
        var text: String
    }

    private struct Watch {
        var command: [String]
        var period: Duration
        var timeout: Duration
        var next: MonotonicInstant
        var timer: UInt64
        var isQueued = false
    }

    private struct Run {
        var key: ProbeKey
        var generation: Generation
        var timeout: Duration
        var timer: UInt64?
        var output: SharedDescriptor?
        var text: [UInt8] = []
        /// Reads on when it is due.
        var pause: UInt64?
        let askedAt = MonotonicClock.now()
        var hasStarted = false
        /// A result was reported, or nobody waits for one.
        var isSettled = false
        var timedOut = false
    }

    private let reactor: Reactor
    private let hands: Hands
    /// Used again for every read.
    private var buffer = [UInt8](repeating: 0, count: Limits.share)
    private var watches: [ProbeKey: Watch] = [:]
    private var runs: [InstanceID: Run] = [:]
    private var queue: [ProbeKey] = []
    /// How many run of each service, where any does.
    private var running: [String: Int] = [:]
    /// Runs of which it was said that they cannot be ended, an earlier daemon's among them.
    private var unending: [InstanceID: Generation] = [:]
    /// Never one that an earlier daemon used.
    private var nextGeneration: Generation

    init(reactor: Reactor, hands: Hands) {
        self.reactor = reactor
        self.hands = hands
        nextGeneration = Generation(clamping: MonotonicClock.now().nanoseconds)
    }

    var isEmpty: Bool { runs.isEmpty }

    /// The shim's name for a probe.
    static func place(of key: ProbeKey) -> InstanceID {
        InstanceID(service: "\(key.instance.service)@\(key.kind.name)", index: key.instance.index)
    }

    /// Whether the shim's instance is a probe: the name of a service holds no `@`.
    static func isProbe(_ id: InstanceID) -> Bool { id.service.utf8.contains(UInt8(ascii: "@")) }

    /// The instance that the probe in a place is about.
    private static func probed(in place: InstanceID) -> InstanceID {
        InstanceID(service: String(place.service.prefix { $0 != "@" }), index: place.index)
    }

    // MARK: On time

    func watch(_ key: ProbeKey, _ command: [String], _ policy: ProbePolicy, firstAt: MonotonicInstant) {
        unwatch(key)
        let timer = schedule(key, at: firstAt)
        watches[key] = Watch(
            command: command,
            period: policy.period,
            timeout: policy.timeout,
            next: firstAt,
            timer: timer
        )
    }

    func unwatch(_ key: ProbeKey) {
        guard let watch = watches.removeValue(forKey: key) else { return }
        reactor.cancel(watch.timer)
        queue.removeAll { $0 == key }
        let place = Self.place(of: key)
        guard runs[place]?.key == key else { return }
        // Nobody waits for what it finds.
        runs[place]?.isSettled = true
        end(place)
    }

    private func schedule(_ key: ProbeKey, at moment: MonotonicInstant) -> UInt64 {
        reactor.schedule(at: moment) { [unowned self] in due(key) }
    }

    private func due(_ key: ProbeKey) {
        guard var watch = watches[key] else { return }
        let now = MonotonicClock.now()
        let late = now.since(watch.next)
        // Neither a drift nor, after a pause, one after the other.
        let missed = max(0, late.clampedNanoseconds / max(1, watch.period.clampedNanoseconds))
        watch.next = watch.next.advanced(by: watch.period * (missed + 1))
        watch.timer = schedule(key, at: watch.next)
        let run = runs[Self.place(of: key)]
        let wasQueued = watch.isQueued
        watch.isQueued = run == nil
        watches[key] = watch
        if wasQueued {
            hands.report(key, .unknown(.busy, "other probes have been running since it was due"))
        } else if let run {
            noteOverdue(key, run, now)
        } else {
            queue.append(key)
            startQueued()
        }
    }

    /// It is due while an earlier run is there. One that is still to be judged says how it is by that.
    private func noteOverdue(_ key: ProbeKey, _ run: Run, _ now: MonotonicInstant) {
        if run.isSettled {
            hands.report(key, .unknown(.busy, "the one before it has not ended yet"))
        } else if !run.hasStarted, now.since(run.askedAt) > Limits.lateness {
            hands.report(key, .unknown(.busy, "the shim has not started it yet"))
        }
    }

    /// Starts those that may: first come, first served among them. Places that nobody else waits for, a service with
    /// many may have.
    private func startQueued() {
        startQueued { mayStart($0) }
        startQueued { isFree($0) && runs.count < Limits.running }
    }

    private func startQueued(where mayStart: (ProbeKey) -> Bool) {
        if queue.isEmpty || runs.count >= Limits.runningOfMany { return }
        var waiting: [ProbeKey] = []
        for key in queue {
            guard let watch = watches[key] else { continue }
            if mayStart(key) {
                watches[key]?.isQueued = false
                start(key, watch)
            } else {
                waiting.append(key)
            }
        }
        queue = waiting
    }

    /// Of one that was given up and is watched anew the earlier run may still be there (rule P1).
    private func isFree(_ key: ProbeKey) -> Bool { runs[Self.place(of: key)] == nil }

    private func mayStart(_ key: ProbeKey) -> Bool {
        if !isFree(key) { return false }
        let ofService = running[key.instance.service] ?? 0
        return runs.count < Limits.running && ofService < Limits.runningOfService
            || runs.count < Limits.runningOfMany && ofService == 0
    }

    // MARK: A run

    private func start(_ key: ProbeKey, _ watch: Watch) {
        let place = Self.place(of: key)
        nextGeneration &+= 1
        do throws(Obstacle) {
            let (reader, writer) = try pipe()
            try hands.start(key, watch.command, place, nextGeneration, writer)
            runs[place] = Run(key: key, generation: nextGeneration, timeout: watch.timeout, output: reader)
            running[key.instance.service, default: 0] += 1
            collect(reader, place)
        } catch {
            hands.report(key, .unknown(error.kind, error.text))
        }
    }

    private func pipe() throws(Obstacle) -> (read: SharedDescriptor, write: SharedDescriptor) {
        do throws(SystemError) {
            let pair = try FileDescriptors.pipe()
            try FileDescriptors.setNonblocking(pair.read.rawValue)
            return pair
        } catch {
            throw Obstacle(kind: .resources, text: "\(error)")
        }
    }

    /// The beginning of what it says is kept; all of it is read, so that it need not wait.
    private func collect(_ reader: SharedDescriptor, _ place: InstanceID) {
        do throws(SystemError) {
            try reactor.watch(reader.rawValue) { [unowned self] _ in readOutput(place) }
        } catch {
            // It is judged by its end alone; once the pipe is full it waits, and its time runs out.
            runs[place]?.output = nil
        }
    }

    private func readOutput(_ place: InstanceID) {
        guard let output = runs[place]?.output else { return }
        let count = buffer.withUnsafeMutableBytes { bytes in
            try? FileDescriptors.read(output.rawValue, into: bytes)
        }
        guard let count = count ?? nil else { return }
        if count == 0 { return closeOutput(place) }
        let room = Limits.output - (runs[place]?.text.count ?? 0)
        if room > 0 { runs[place]?.text.append(contentsOf: buffer[..<min(count, room)]) }
        if count < Limits.share || runs[place]?.pause != nil { return }
        reactor.unwatch(output.rawValue)
        let due = MonotonicClock.now().advanced(by: Limits.pause)
        runs[place]?.pause = reactor.schedule(at: due) { [unowned self] in
            runs[place]?.pause = nil
            collect(output, place)
        }
    }

    private func closeOutput(_ place: InstanceID) {
        guard let output = runs[place]?.output else { return }
        reactor.unwatch(output.rawValue)
        if let pause = runs[place]?.pause { reactor.cancel(pause) }
        runs[place]?.pause = nil
        runs[place]?.output = nil
    }

    // MARK: What the shim says

    func started(_ place: InstanceID, _ generation: Generation) {
        guard let run = runs[place], run.generation == generation else { return hands.endTree(place, generation) }
        runs[place]?.hasStarted = true
        // Its time begins when it runs: how long a start takes says nothing about the worker.
        let deadline = MonotonicClock.now().advanced(by: run.timeout)
        runs[place]?.timer = reactor.schedule(at: deadline) { [unowned self] in timedOut(place, generation, deadline) }
    }

    /// At once, or in place of its end when it has never executed: no process and no record is left.
    func startFailed(_ place: InstanceID, _ generation: Generation, _ failure: SpawnFailure) {
        guard let run = runs[place], run.generation == generation else { return }
        settle(place, .unknown(.spawn, "\(failure)"))
        remove(place, run)
    }

    private func timedOut(_ place: InstanceID, _ generation: Generation, _ deadline: MonotonicInstant) {
        guard let run = runs[place], run.generation == generation else { return }
        runs[place]?.timer = nil
        runs[place]?.timedOut = true
        let late = MonotonicClock.now().since(deadline)
        settle(
            place,
            late > Limits.lateness
                ? .unknown(.busy, "the supervisor was held up for \(late.brief) meanwhile")
                : .failure("did not end within \(run.timeout.brief)")
        )
        hands.endTree(place, generation)
    }

    func exited(_ place: InstanceID, _ generation: Generation, _ status: ExitStatus, treeGone: Bool) {
        if let run = runs[place], run.generation == generation {
            readOutput(place)
            settle(place, outcome(place, status))
            if let timer = run.timer { reactor.cancel(timer) }
            runs[place]?.timer = nil
        }
        if treeGone { gone(place, generation) } else { hands.endTree(place, generation) }
    }

    private func outcome(_ place: InstanceID, _ status: ExitStatus) -> ProbeOutcome {
        if status == .code(0) { return .success }
        let said = Printable.firstLine(of: runs[place]?.text ?? [], limit: Limits.text)
        return .failure(status.inWords, said: said)
    }

    /// Nothing of it is left, whether it is one of ours or one that an earlier daemon began.
    func gone(_ place: InstanceID, _ generation: Generation) {
        hands.release(place, generation)
        if unending[place] == generation { unending[place] = nil }
        guard let run = runs[place], run.generation == generation else { return }
        remove(place, run)
    }

    /// SIGKILL is tried on. Where an orderly stop waits for it, this says why (rule P3).
    func remains(_ place: InstanceID, _ generation: Generation, count: Int, example: Int32) {
        if unending.updateValue(generation, forKey: place) == generation { return }
        hands.cannotEnd(Self.probed(in: place), count, example)
    }

    /// What an earlier daemon left.
    func found(_ record: ShimRecord) {
        if record.treeGone {
            hands.release(record.instance, record.generation)
        } else {
            hands.endTree(record.instance, record.generation)
        }
    }

    /// The shim is gone, and every probe with it.
    func shimLost() {
        unending = [:]
        for place in runs.keys.sorted() {
            settle(place, .unknown(.spawn, "the shim was replaced meanwhile"))
            if let run = runs[place] { remove(place, run) }
        }
    }

    // MARK: Ends

    private func settle(_ place: InstanceID, _ outcome: ProbeOutcome) {
        guard let run = runs[place], !run.isSettled else { return }
        runs[place]?.isSettled = true
        hands.report(run.key, outcome)
    }

    private func end(_ place: InstanceID) {
        guard let run = runs[place] else { return }
        if let timer = run.timer { reactor.cancel(timer) }
        runs[place]?.timer = nil
        hands.endTree(place, run.generation)
    }

    private func remove(_ place: InstanceID, _ run: Run) {
        if let timer = run.timer { reactor.cancel(timer) }
        closeOutput(place)
        runs[place] = nil
        let left = (running[run.key.instance.service] ?? 1) - 1
        running[run.key.instance.service] = left > 0 ? left : nil
        startQueued()
        if runs.isEmpty { hands.emptied() }
    }
}
