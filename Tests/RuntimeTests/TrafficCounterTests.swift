import Glibc
import LinuxPlatform
import SupervisorCore
import Synchronization
import Testing

@testable import SupervisorRuntime

/// Questions and answers of the thread that counts connections.
@Suite struct TrafficCounterTests {
    private final class Answers: Sendable {
        private let answers = Mutex<[TrafficCounter.Answer]>([])
        private let wake: WakeDescriptor

        init() throws { wake = try WakeDescriptor() }

        func take(_ answer: TrafficCounter.Answer) {
            answers.withLock { $0.append(answer) }
            wake.signal()
        }

        /// All answers, once there are so many.
        func wait(for count: Int) throws -> [TrafficCounter.Answer] {
            let deadline = MonotonicClock.now().advanced(by: .seconds(10)).nanoseconds
            while answers.withLock({ $0.count }) < count {
                try #require(wake.wait(until: deadline), "no answer")
                wake.clear()
            }
            return answers.withLock { $0 }
        }
    }

    @Test func aQuestionIsAnsweredWithFigures() throws {
        let listener = try TCPListener.listen(host: "127.0.0.1", port: 0)
        let port = UInt16(try TCPListener.port(of: listener.rawValue))
        let target = TrafficTarget(target: .service("web"), ports: [port])
        let answers = try Answers()
        let counter = TrafficCounter { answers.take($0) }
        let question = TrafficCounter.Question(services: ["web"], targets: [target])
        counter.ask(question)
        let first = try answers.wait(for: 1)
        #expect(first[0].problem == nil)
        #expect(first[0].figures == [TrafficFigure(target: .service("web"), open: 0, busy: 0, arrived: 0)])
        // Asked the moment that the last one was answered, each is one of its own.
        for count in 2..<200 {
            counter.ask(question)
            #expect(try answers.wait(for: count).count == count)
        }
    }

    @Test func manyQuestionsAtOnceAreAllAnsweredByFew() throws {
        let answers = try Answers()
        let counter = TrafficCounter { answers.take($0) }
        for number in 0..<200 {
            let name = "service\(number % 2)"
            let target = TrafficTarget(target: .service(name), ports: [1])
            counter.ask(TrafficCounter.Question(services: [name], targets: [target]))
        }
        // Whatever was asked last is answered, and there are never more answers than questions.
        var count = 1
        while true {
            let last = try answers.wait(for: count)
            if last.last?.figures?.first?.target == .service("service1") { break }
            count = last.count + 1
        }
        #expect(count <= 200)
    }
}
