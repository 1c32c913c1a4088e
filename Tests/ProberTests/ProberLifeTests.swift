import SupervisorCore
import Synchronization
import Testing

@testable import Prober

/// The thread, its descriptors and its clock: one test at a time, because they count them for the whole process.
@Suite("Life of the prober", .serialized)
struct ProberLifeTests {
    private static let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

    @Test("without a watch there is no thread; with one there is one, with a name; after the end none")
    func thread() async throws {
        let server = try await FakeServer.start([.readRequest, .send(Self.ok), .close])
        let name = "eider-prober"
        let question = try #require(server.http)
        let asker = Asker()
        #expect(asker.prober.lastActivity == nil)
        asker.prober.unwatch(Asker.key())
        #expect(asker.prober.lastActivity == nil)
        let before = monotonicNow()
        let firstAt = before
        asker.prober.watch(Asker.key(), question, period: .seconds(60), timeout: .seconds(5), firstAt: firstAt)
        _ = try await asker.reports(1)
        #expect(OwnProcess.threads(named: name) >= 1)
        #expect(try #require(asker.prober.lastActivity) >= before)
        asker.prober.stop()
        asker.prober.stop()
        #expect(asker.prober.lastActivity == nil)
        asker.prober.watch(Asker.key(), question, period: .seconds(60), timeout: .seconds(5), firstAt: firstAt)
        #expect(asker.prober.lastActivity == nil)
    }

    @Test("activity is shown every second while something is watched, and not at all while nothing is")
    func activity() async throws {
        let asker = Asker()
        let question = try #require(ProbeQuestion(tcpAddress: "127.0.0.1:1"))
        let far = monotonicNow().advanced(by: .seconds(3600))
        asker.prober.watch(Asker.key(), question, period: .seconds(3600), timeout: .seconds(5), firstAt: far)
        var last = try #require(asker.prober.lastActivity)
        for _ in 0..<2 {
            last = try await eventually("another sign of life") { [last] in
                asker.prober.lastActivity.flatMap { $0 > last ? $0 : nil }
            }
        }
        asker.prober.unwatch(Asker.key())
        _ = try await eventually("the end of activity") { asker.prober.lastActivity == nil ? true : nil }
        #expect(asker.all.isEmpty)
    }

    @Test("the schedule on a real clock: neither drift nor burst")
    func schedule() async throws {
        let server = try await FakeServer.start([.readRequest, .send(Self.ok), .close])
        let asker = Asker()
        let first = monotonicNow().advanced(by: .milliseconds(50))
        let question = try #require(server.http)
        asker.prober.watch(Asker.key(), question, period: .milliseconds(100), timeout: .seconds(2), firstAt: first)
        let reports = try await asker.reports(15)
        for report in reports where report.outcome == .success {
            let began = report.finishedAt.since(first) - report.duration
            let offset = began.clampedNanoseconds % 100_000_000
            // A machine with much to do is late, never early.
            #expect(began >= .zero && offset < 95_000_000)
        }
        let span = reports[14].finishedAt.since(reports[0].finishedAt)
        #expect(span > .milliseconds(1200))
    }

    @Test("a loop that was held up does not blame the worker")
    func heldUp() async throws {
        let silent = try await FakeServer.start([])
        let server = try await FakeServer.start([.readRequest, .send(Self.ok), .close])
        // The first report holds the loop up while the silent one is under way.
        let asker = Asker { batch in
            if batch.contains(where: { $0.key == Asker.key(1) }) { stall(.seconds(2)) }
        }
        let now = monotonicNow()
        let mute = try #require(silent.http)
        asker.prober.watch(Asker.key(0), mute, period: .seconds(60), timeout: .seconds(1), firstAt: now)
        let good = try #require(server.http)
        let later = now.advanced(by: .milliseconds(200))
        asker.prober.watch(Asker.key(1), good, period: .seconds(60), timeout: .seconds(1), firstAt: later)
        let reports = try await asker.reports(2)
        let report = try #require(reports.first { $0.key == Asker.key(0) })
        guard case .unknown(.busy, let text) = report.outcome else {
            Issue.record("\(report)")
            return
        }
        #expect(text.hasPrefix("the checker was held up for "))
    }

    @Test("a full house: those that find no place in time are unknown")
    func busy() async throws {
        let silent = try await FakeServer.start([])
        var limits = ProberLimits()
        limits.probesInFlight = 2
        limits.reservedPlaces = 0
        let asker = Asker(limits)
        let question = try #require(silent.tcp)
        let mute = try #require(silent.http)
        let now = monotonicNow()
        for index in 0..<2 {
            asker.prober.watch(Asker.key(index), mute, period: .seconds(60), timeout: .seconds(30), firstAt: now)
        }
        _ = try await eventually("two connections") { silent.accepted == 2 ? true : nil }
        let soon = monotonicNow()
        asker.prober.watch(Asker.key(2), question, period: .milliseconds(500), timeout: .seconds(2), firstAt: soon)
        let reports = try await asker.reports(2)
        for report in reports {
            guard case .unknown(.busy, let text) = report.outcome, report.key == Asker.key(2) else {
                Issue.record("\(report)")
                continue
            }
            #expect(text.hasPrefix("it waited ") && text.hasSuffix(" for its turn behind 2 others"))
        }
        // A place becomes free.
        asker.prober.unwatch(Asker.key(0))
        _ = try await eventually("an answer") { asker.all.contains { $0.outcome == .success } ? true : nil }
        _ = try await eventually("a third connection") { silent.accepted >= 3 ? true : nil }
    }

    @Test("unwatch ends what is under way, and a new watch takes the place of the old")
    func unwatch() async throws {
        let silent = try await FakeServer.start([])
        let asker = Asker()
        let question = try #require(silent.http)
        let now = monotonicNow()
        asker.prober.watch(Asker.key(), question, period: .milliseconds(50), timeout: .seconds(60), firstAt: now)
        _ = try await eventually("a connection") { silent.open == 1 ? true : nil }
        asker.prober.watch(Asker.key(), question, period: .milliseconds(50), timeout: .seconds(60), firstAt: now)
        _ = try await eventually("another connection") { silent.open == 1 && silent.accepted == 2 ? true : nil }
        asker.prober.unwatch(Asker.key())
        _ = try await eventually("the end of the connection") { silent.open == 0 ? true : nil }
        try await pause(.milliseconds(200))
        #expect(silent.accepted == 2 && asker.all.isEmpty)
    }

    @Test("stop closes what is under way, and nothing is told afterwards")
    func stop() async throws {
        let silent = try await FakeServer.start([])
        let asker = Asker()
        let question = try #require(silent.http)
        for index in 0..<12 {
            let now = monotonicNow()
            asker.prober.watch(Asker.key(index), question, period: .seconds(1), timeout: .seconds(60), firstAt: now)
        }
        let name = try #require(ProbeQuestion(tcpAddress: "no-such-host.invalid:80"))
        asker.prober.watch(Asker.key(20), name, period: .seconds(1), timeout: .seconds(60), firstAt: monotonicNow())
        _ = try await eventually("twelve connections") { silent.open == 12 ? true : nil }
        asker.prober.stop()
        let told = asker.all.count
        _ = try await eventually("the end of the connections") { silent.open == 0 ? true : nil }
        try await pause(.milliseconds(100))
        #expect(asker.all.count == told)
    }

    @Test("stop from within a report, and at once after the first watch")
    func stopAnywhere() async throws {
        let server = try await FakeServer.start([])
        let question = try #require(server.tcp)
        for _ in 0..<50 {
            let asker = Asker()
            let now = monotonicNow()
            asker.prober.watch(Asker.key(), question, period: .seconds(1), timeout: .seconds(1), firstAt: now)
            asker.prober.stop()
        }
        let box = ProberBox()
        let prober = Prober(clock: { monotonicNow() }) { _ in
            box.count.withLock { $0 += 1 }
            box.prober.withLock { $0 }?.stop()
        }
        box.prober.withLock { $0 = prober }
        prober.watch(Asker.key(), question, period: .milliseconds(20), timeout: .seconds(1), firstAt: monotonicNow())
        _ = try await eventually("a report") { box.count.withLock { $0 } > 0 ? true : nil }
        try await pause(.milliseconds(100))
        #expect(box.count.withLock { $0 } == 1)
        box.prober.withLock { $0 = nil }
    }

    private final class ProberBox: Sendable {
        let prober = Mutex<Prober?>(nil)
        let count = Mutex(0)
    }

    @Test("10,000 probes leave no descriptor and no memory behind")
    func descriptors() async throws {
        let server = try await FakeServer.start([.readRequest, .send(Self.ok), .close])
        let grpc = try await FakeServer.grpc([
            Frames.head, Frames.data(CallProbeTests.servingMessage), Frames.trailers("0"),
        ])
        let refused = try await FakeServer.unusedPort()
        let questions = [
            server.http, server.http, server.tcp, grpc.grpc, ProbeQuestion(tcpAddress: "localhost:\(refused)"),
        ].compactMap { $0 }
        let asker = Asker()
        for index in 0..<40 {
            let now = monotonicNow()
            asker.prober.watch(
                Asker.key(index),
                questions[index % questions.count],
                period: .milliseconds(10),
                timeout: .seconds(5),
                firstAt: now
            )
        }
        _ = try await asker.reports(2_000, within: .seconds(60))
        let memory = OwnProcess.residentMemory
        let descriptors = OwnProcess.descriptors
        let reports = try await asker.reports(12_000, within: .seconds(120))
        let grown = OwnProcess.residentMemory - memory
        let open = OwnProcess.descriptors
        // At most what is under way, at both ends.
        #expect(open < descriptors + 130, "\(open) descriptors, \(descriptors) before")
        #expect(grown < 32 << 20, "\(grown) bytes more")
        for report in reports {
            let isRefused = questions[report.key.instance.index % questions.count] == questions.last
            let expected = isRefused ? ProbeOutcome.failure("refused the connection") : .success
            if case .unknown(.busy, _) = report.outcome { continue }
            #expect(report.outcome == expected)
        }
        asker.prober.stop()
        _ = try await eventually("the end of the connections") { server.open + grpc.open == 0 ? true : nil }
        #expect(OwnProcess.descriptors < descriptors + 64)
    }
}
