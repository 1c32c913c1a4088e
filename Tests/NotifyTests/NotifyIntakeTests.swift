import CLinux
import Glibc
import SupervisorCore
import Testing

@testable import SupervisorRuntime

extension NotifyIntake {
    /// Whoever speaks is a main process.
    fileprivate mutating func drain(
        budget: Int = Limits.budget,
        now: MonotonicInstant,
        deliver: Delivery
    ) -> Outcome {
        drain(budget: budget, now: now, admit: { _, _ in .main }, deliver: deliver)
    }
}

/// A notify socket in the abstract namespace, and one who speaks to it.
final class Sockets {
    let receiver: Int32
    private let sender: Int32
    private let path: String

    init() throws {
        var random = SystemRandomNumberGenerator()
        path = "@eider-notify-tests-\(getpid())-\(random.next())"
        receiver = clinux_unix_socket(2, false)
        try #require(receiver >= 0)
        try #require(clinux_unix_bind(receiver, path, 0o600) >= 0)
        sender = clinux_unix_socket(2, true)
        try #require(sender >= 0)
    }

    deinit {
        _ = clinux_close(receiver)
        _ = clinux_close(sender)
    }

    func send(_ text: String, descriptors: [Int32] = []) -> Int { send(Array(text.utf8), descriptors: descriptors) }

    func send(_ bytes: [UInt8], descriptors: [Int32] = []) -> Int {
        clinux_send(sender, bytes, bytes.count, descriptors, descriptors.count, path, true)
    }

    /// Has another process send `text`, which is gone when this returns.
    func sendFromAnother(_ text: String) throws -> Int32 {
        let program =
            "import socket,sys; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)"
            + ".sendto(sys.argv[2].encode(), '\\0' + sys.argv[1])"
        let arguments = ["python3", "-c", program, String(path.dropFirst()), text]
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        pointers.append(nil)
        defer { for pointer in pointers { free(pointer) } }
        var pid: pid_t = 0
        let error = posix_spawnp(&pid, "python3", nil, nil, pointers, environ)
        try #require(error == 0)
        var status: Int32 = 0
        let reaped = waitpid(pid, &status, 0)
        try #require(reaped == pid)
        try #require(status == 0)
        return pid
    }

    /// Datagrams that are still in the socket's queue: those that can be received now.
    var isEmpty: Bool {
        var byte: UInt8 = 0
        return recv(receiver, &byte, 1, Int32(MSG_DONTWAIT) | Int32(MSG_PEEK)) < 0
    }
}

private func at(_ milliseconds: Int64) -> MonotonicInstant {
    MonotonicInstant(nanoseconds: 1_000_000_000 + milliseconds * 1_000_000)
}

@Suite struct NotifyIntakeTests {
    /// The sender's queue holds few (net.unix.max_dgram_qlen), so that tests send and drain by turns.
    private func drain(
        _ intake: inout NotifyIntake,
        _ now: MonotonicInstant,
        budget: Int = NotifyIntake.Limits.budget
    ) -> [NotifyMessage] {
        var messages: [NotifyMessage] = []
        _ = intake.drain(budget: budget, now: now) { _, _, message in
            messages.append(message)
            return true
        }
        return messages
    }

    @Test func deliversWithTheKernelsWordForTheSender() throws {
        let sockets = try Sockets()
        var intake = NotifyIntake(descriptor: sockets.receiver)
        #expect(sockets.send("READY=1\nSTATUS=up\nMAINPID=4711") > 0)
        var seen: [(Int32, UInt32, NotifyMessage)] = []
        let outcome = intake.drain(now: at(0)) { pid, uid, message in
            seen.append((pid, uid, message))
            return true
        }
        #expect(outcome == NotifyIntake.Outcome(received: 1, more: false, errno: nil))
        #expect(seen.count == 1)
        #expect(seen.first?.0 == getpid())
        #expect(seen.first?.1 == getuid())
        #expect(seen.first?.2.ready == true)
        #expect(intake.nextDeadline == nil)
        #expect(intake.dropped.isEmpty)
    }

    @Test(arguments: ["READY=1", "STOPPING=1", "RELOADING=1", "MAINPID=99", "EXTEND_TIMEOUT_USEC=5"])
    func whatChangesAStateStaysInTheSocketUntilItWasDelivered(_ text: String) throws {
        let sockets = try Sockets()
        var intake = NotifyIntake(descriptor: sockets.receiver)
        _ = sockets.send(text)
        var wasThere = false
        _ = intake.drain(now: at(0)) { _, _, _ in
            wasThere = !sockets.isEmpty
            return true
        }
        #expect(wasThere)
        #expect(sockets.isEmpty)
    }

    /// The daemon dies while it delivers: the next one finds the message again.
    @Test func aSuccessorIsGivenWhatWasNotTakenOut() throws {
        let sockets = try Sockets()
        let intake = NotifyIntake(descriptor: sockets.receiver)
        _ = sockets.send("READY=1")
        var buffer = [UInt8](repeating: 0, count: 64)
        var message = clinux_message()
        #expect(clinux_receive(intake.descriptor, &buffer, buffer.count, &message, true, true) == 7)
        var successor = NotifyIntake(descriptor: sockets.receiver)
        #expect(drain(&successor, at(0)).map(\.ready) == [true])
    }

    @Test func foldsWhatCanWaitByTurn() throws {
        let sockets = try Sockets()
        var intake = NotifyIntake(descriptor: sockets.receiver)
        for number in 0..<5 { _ = sockets.send("WATCHDOG=1\nX_EIDER_IN_FLIGHT=\(number)") }
        _ = sockets.send("STATUS=busy")
        let messages = drain(&intake, at(0))
        #expect(messages.count == 1)
        #expect(messages.first?.inFlight == 4)
        #expect(messages.first?.status == "busy")
        #expect(messages.first?.watchdog == .alive)
        #expect(intake.dropped.isEmpty)
    }

    @Test func keepsTheOrderOfOneSender() throws {
        let sockets = try Sockets()
        var intake = NotifyIntake(descriptor: sockets.receiver)
        for text in ["STATUS=a", "RELOADING=1", "X_EIDER_IN_FLIGHT=3", "READY=1", "STATUS=b"] { _ = sockets.send(text) }
        let messages = drain(&intake, at(0))
        #expect(messages.count == 3)
        #expect(messages.map(\.status) == ["a", nil, "b"])
        #expect(messages.map(\.reloading) == [true, false, false])
        #expect(messages.map(\.ready) == [false, true, false])
        #expect(messages[1].inFlight == 3)
    }

    @Test func closesWhatComesAlongAndAnswersABarrier() throws {
        let sockets = try Sockets()
        var intake = NotifyIntake(descriptor: sockets.receiver)
        var ends: [Int32] = [-1, -1]
        #expect(clinux_pipe(&ends, false) >= 0)
        defer { _ = clinux_close(ends[0]) }
        _ = sockets.send("STATUS=before")
        _ = sockets.send("BARRIER=1", descriptors: [ends[1]])
        _ = clinux_close(ends[1])
        func isClosed() -> Bool {
            var entry = pollfd(fd: ends[0], events: 0, revents: 0)
            return poll(&entry, 1, 0) == 1 && entry.revents & Int16(POLLHUP) != 0
        }
        #expect(!isClosed())
        var closedEarly = false
        var statuses: [String?] = []
        _ = intake.drain(now: at(0)) { _, _, message in
            closedEarly = closedEarly || isClosed()
            statuses.append(message.status)
            return true
        }
        #expect(!closedEarly)
        #expect(statuses.first == "before")
        #expect(isClosed())
    }

    @Test func descriptorsDoNotPileUp() throws {
        let sockets = try Sockets()
        var intake = NotifyIntake(descriptor: sockets.receiver)
        func lowestFree() -> Int32 {
            let copy = clinux_duplicate(0, 3)
            _ = clinux_close(copy)
            return copy
        }
        let before = lowestFree()
        for _ in 0..<50 {
            _ = sockets.send("FDSTORE=1\nREADY=1", descriptors: [Int32](repeating: 0, count: 100))
            _ = drain(&intake, at(0))
        }
        // Other tests open and close descriptors at the same time; 5,000 would show.
        #expect(lowestFree() < before + 500)
    }

    @Test func countsWhatItCannotUse() throws {
        let sockets = try Sockets()
        var intake = NotifyIntake(descriptor: sockets.receiver)
        _ = sockets.send("nonsense")
        _ = sockets.send("READY=1\0STOPPING=1")
        _ = sockets.send("")
        _ = sockets.send("STATUS=" + String(repeating: "x", count: 5000))
        #expect(drain(&intake, at(0)).isEmpty)
        #expect(intake.dropped == [.malformed: 3, .oversize: 1])
        _ = sockets.send("READY=1")
        _ = intake.drain(now: at(0)) { _, _, _ in false }
        #expect(intake.dropped[.unknownSender] == 1)
        #expect(sockets.isEmpty)
    }

    @Test func aTurnHasABudget() throws {
        let sockets = try Sockets()
        var intake = NotifyIntake(descriptor: sockets.receiver)
        for _ in 0..<5 { _ = sockets.send("READY=1") }
        var count = 0
        let outcome = intake.drain(budget: 3, now: at(0)) { _, _, _ in
            count += 1
            return true
        }
        #expect(outcome == NotifyIntake.Outcome(received: 3, more: true, errno: nil))
        #expect(count == 3)
        #expect(drain(&intake, at(0)).count == 2)
    }

    @Test func aFloodIsHeardAtIntervalsAndItsLastWordIsNotLost() throws {
        let sockets = try Sockets()
        var intake = NotifyIntake(descriptor: sockets.receiver)
        var delivered: [NotifyMessage] = []
        // 5 s of 2,000 messages each second, every tenth a READY.
        for millisecond in 0..<5000 as Range<Int64> {
            for part in 0..<2 {
                let number = millisecond * 2 + Int64(part)
                _ = sockets.send("X_EIDER_IN_FLIGHT=\(number)" + (number % 10 == 0 ? "\nREADY=1" : ""))
            }
            delivered += drain(&intake, at(millisecond))
        }
        let figures = delivered.compactMap(\.inFlight)
        #expect(figures == figures.sorted())
        // 400 at once, 200 each second, and what the pauses allow.
        #expect(delivered.count <= 400 + 5 * 200 + 5 * 10 + 10)
        #expect(delivered.count >= 400)
        #expect((intake.dropped[.flood] ?? 0) > 8000)
        while let deadline = intake.nextDeadline { delivered += drain(&intake, deadline) }
        #expect(delivered.last?.inFlight == 9999)
        #expect(sockets.isEmpty)
    }

    @Test func aFloodDoesNotSilenceAnother() throws {
        let sockets = try Sockets()
        var intake = NotifyIntake(descriptor: sockets.receiver)
        for _ in 0..<200 {
            for _ in 0..<4 { _ = sockets.send("READY=1") }
            _ = drain(&intake, at(0))
        }
        #expect((intake.dropped[.flood] ?? 0) > 300)
        let other = try sockets.sendFromAnother("READY=1\nSTATUS=of another")
        var heard: [Int32] = []
        _ = intake.drain(now: at(1)) { pid, _, message in
            if message.status == "of another" { heard.append(pid) }
            return true
        }
        // It has ended already, and is still known by its number.
        #expect(heard == [other])
    }

    @Test func theTableOfSendersForgetsTheSilent() throws {
        let sockets = try Sockets()
        var intake = NotifyIntake(descriptor: sockets.receiver)
        for _ in 0..<410 {
            _ = sockets.send("STATUS=x")
            _ = drain(&intake, at(0))
        }
        #expect(intake.dropped[.flood] == 10)
        // After a long silence it starts anew with all it may.
        _ = drain(&intake, at(20_000))
        for _ in 0..<400 {
            _ = sockets.send("STATUS=y")
            _ = drain(&intake, at(20_000))
        }
        #expect(intake.dropped[.flood] == 10)
    }

    @Test func whoIsRefusedIsCountedAndNotRemembered() throws {
        let sockets = try Sockets()
        var intake = NotifyIntake(descriptor: sockets.receiver)
        var asked = 0
        for _ in 0..<3 { _ = sockets.send("READY=1") }
        let outcome = intake.drain(now: at(0)) { pid, uid in
            asked += 1
            #expect(pid == getpid())
            #expect(uid == getuid())
            return .refused(asked < 3 ? .unknownSender : .tooManySenders)
        } deliver: { _, _, _ in
            Issue.record("delivered")
            return true
        }
        #expect(outcome == NotifyIntake.Outcome(received: 3, more: false, errno: nil))
        // Nothing is remembered of it, so that each message is asked for.
        #expect(asked == 3)
        #expect(intake.dropped == [.unknownSender: 2, .tooManySenders: 1])
        #expect(intake.nextDeadline == nil)
        #expect(sockets.isEmpty)
        // It is heard once it belongs to an instance.
        _ = sockets.send("READY=1")
        #expect(drain(&intake, at(0)).map(\.ready) == [true])
    }

    @Test func whoIsInTheTableIsNotAskedForUntilItIsRefused() throws {
        let sockets = try Sockets()
        var intake = NotifyIntake(descriptor: sockets.receiver)
        var asked = 0
        var isHeard = true
        for round in 0..<6 {
            _ = sockets.send("READY=1")
            isHeard = round < 3
            _ = intake.drain(now: at(0)) { _, _ in
                asked += 1
                return isHeard ? .relative : .refused(.unknownSender)
            } deliver: { _, _, _ in
                isHeard
            }
        }
        // Once at first, and for the two after the delivery that was refused.
        #expect(asked == 3)
        #expect(intake.dropped == [.unknownSender: 3])
    }

    @Test func aRefusedSendersDescriptorsAreClosed() throws {
        let sockets = try Sockets()
        var intake = NotifyIntake(descriptor: sockets.receiver)
        var ends: [Int32] = [-1, -1]
        #expect(clinux_pipe(&ends, false) >= 0)
        defer { _ = clinux_close(ends[0]) }
        _ = sockets.send("BARRIER=1", descriptors: [ends[1]])
        _ = clinux_close(ends[1])
        _ = intake.drain(now: at(0), admit: { _, _ in .refused(.unknownSender) }, deliver: { _, _, _ in true })
        var entry = pollfd(fd: ends[0], events: 0, revents: 0)
        #expect(poll(&entry, 1, 0) == 1 && entry.revents & Int16(POLLHUP) != 0)
    }

    @Test func aFullTableForgetsTheOldestButNoMainProcess() throws {
        let sockets = try Sockets()
        var intake = NotifyIntake(descriptor: sockets.receiver)
        intake.capacity = 2
        var asked: [Int32] = []
        var heard: [Int32] = []
        func drainAll(_ milliseconds: Int64) {
            _ = intake.drain(now: at(milliseconds)) { pid, _ in
                asked.append(pid)
                return pid == getpid() ? .main : .relative
            } deliver: { pid, _, _ in
                heard.append(pid)
                return true
            }
        }
        _ = sockets.send("READY=1")
        drainAll(0)
        var others: [Int32] = []
        for number in 1...3 as ClosedRange<Int64> {
            others.append(try sockets.sendFromAnother("READY=1"))
            drainAll(number)
        }
        #expect(heard == [getpid()] + others)
        #expect(asked == heard)
        // The main process is the oldest of all and has kept its place.
        _ = sockets.send("READY=1")
        drainAll(4)
        #expect(asked.count == 4)
        #expect(heard.count == 5)
        #expect(intake.dropped.isEmpty)
    }
}
