import SupervisorCore
import Testing

@testable import BreakerStore

extension WithRedis {
    /// What the script does with what is in Redis that it did not put there, and what it leaves (rules R1 and R2).
    @Suite struct ScriptTests {
        private let bench: ScriptBench
        private let now: Int64 = 1_790_000_000_000
        private let caller = LedgerCaller(host: "host-a", incarnation: .min)

        init() throws {
            bench = try ScriptBench(server: RedisServer())
        }

        /// One of each, such that something is held everywhere.
        private func fill() throws {
            let policy = LedgerPolicy()
            for age in [20_000, 10_000, 0] as [Int64] {
                _ = try bench.apply(.sync(known: 0), by: caller, at: now - age)
            }
            _ = try bench.apply(.vote(name: "db", .tripped, reason: "down", policy, draw: 0), by: caller, at: now)
            _ = try bench.apply(.lease(name: "db", policy, draw: 0), by: caller, at: now + 20_000)
            _ = try bench.apply(.force(name: "web", .disabled, actor: "Ann", reason: "x"), by: caller, at: now)
            _ = try bench.apply(.vote(name: "web", .suspect, reason: "", policy, draw: 0), by: caller, at: now)
        }

        private var operations: [BreakerOperation] {
            let policy = LedgerPolicy()
            return [
                .sync(known: 0), .vote(name: "db", .tripped, reason: "r", policy, draw: 1),
                .vote(name: "web", .none, reason: "", policy, draw: 1), .lease(name: "db", policy, draw: 1),
                .renew(name: "db", token: 5), .result(name: "db", token: 5, .failed, reason: "r", policy, draw: 2),
                .force(name: "db", .auto, actor: "Ann", reason: ""), .reset(name: "web", actor: "Ann", reason: ""),
                .restore(name: "db", BreakerRegister(), BreakerOverride()), .leave,
            ]
        }

        private func dump() throws -> [String: RESPValue] {
            var all: [String: RESPValue] = [:]
            for key in bench.keys { all[key] = try bench.client.call("DUMP", key) }
            return all
        }

        @Test func aKeyOfAnotherTypeLeavesAllAsItIs() throws {
            for key in bench.keys {
                for operation in operations {
                    try bench.clear()
                    try fill()
                    _ = try bench.client.call("DEL", key)
                    _ = try bench.client.call("RPUSH", key, "foreign")
                    let before = try dump()
                    let answer = try bench.raw(operation, by: caller, at: now + 30_000)
                    guard case .error(let bytes) = answer else {
                        throw TestFailure("\(key), \(operation): \(answer)")
                    }
                    #expect(String(decoding: bytes, as: UTF8.self).hasPrefix("WRONGTYPE"))
                    #expect(try dump() == before, "\(key), \(operation)")
                }
            }
        }

        @Test func keysOfALaterVersionAreLeftAsTheyAre() throws {
            try fill()
            _ = try bench.client.call("HSET", bench.keys[5], "v", "2")
            let before = try dump()
            for operation in operations {
                guard case .error(let bytes) = try bench.raw(operation, by: caller, at: now) else {
                    throw TestFailure("\(operation) was carried out")
                }
                #expect(String(decoding: bytes, as: UTF8.self).hasPrefix("EIDER the keys"))
            }
            #expect(try dump() == before)
        }

        /// Values that were cut, changed or are of another version count as absent; nothing breaks.
        @Test func damagedValuesCountAsAbsent() throws {
            var generator = SeededGenerator(seed: 4)
            for round in 0..<1_500 {
                try bench.clear()
                try fill()
                try damage(&generator)
                let operation = operations[round % operations.count]
                let reply = try bench.apply(operation, by: caller, at: now + 30_000)
                #expect(reply.live >= 0)
                let told = try bench.apply(.sync(known: 0), by: caller, at: now + 30_001)
                // What is held afterwards can be read by the next one.
                #expect(told.verdict == .done || told.verdict == .stale)
                #expect(try bench.apply(.sync(known: told.sequence), by: caller, at: now + 30_002).verdict == .done)
            }
        }

        /// One value of one key: cut, a byte changed, a number too long, another version.
        private func damage(_ generator: inout SeededGenerator) throws {
            let key = bench.keys[Int(generator.next() % 6)]
            guard let fields = try bench.client.call("HGETALL", key).array, fields.count >= 2 else { return }
            let index = Int(generator.next() % UInt64(fields.count / 2)) * 2
            guard let name = fields[index].bytes, var value = fields[index + 1].bytes else { return }
            // Another version of all the keys is another test.
            if name == Array("v".utf8) { return }
            let place = value.isEmpty ? 0 : Int(generator.next() % UInt64(value.count))
            switch generator.next() % 6 {
            case 0: value = Array(value[..<place])
            case 1 where !value.isEmpty: value[place] = UInt8(truncatingIfNeeded: generator.next())
            case 2: value.insert(contentsOf: Array("99999999999999999".utf8), at: place)
            case 3: value = Array("2".utf8) + value.dropFirst()
            case 4: value = (0..<40).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
            default: value.insert(contentsOf: [31, 30, 29].shuffled(using: &generator), at: place)
            }
            _ = try bench.client.call([Array("HSET".utf8), Array(key.utf8), name, value])
        }

        @Test func lostKeysAreToldAnew() throws {
            for key in bench.keys {
                try bench.clear()
                try fill()
                _ = try bench.client.call("DEL", key)
                let told = try bench.apply(.sync(known: 0), by: caller, at: now + 21_000)
                #expect(!told.entries.isEmpty, "\(key)")
                if key.hasSuffix("changes") { #expect(told.entries.map(\.name) == ["db", "web"]) }
            }
        }

        @Test func everyKeyHasATimeToLive() throws {
            for operation in operations {
                try bench.clear()
                try fill()
                _ = try bench.apply(operation, by: caller, at: now + 30_000)
                for key in bench.keys {
                    let left = Int64(try bench.client.text("PTTL", key)) ?? 0
                    #expect(left == -2 || left > 86_400_000, "\(key) after \(operation): \(left)")
                }
            }
            // Whatever else has become of it, a host that is there keeps it.
            try bench.clear()
            try fill()
            for key in bench.keys { _ = try bench.client.call("PEXPIRE", key, "60000") }
            _ = try bench.client.call("PERSIST", bench.keys[1])
            _ = try bench.apply(.sync(known: 0), by: caller, at: now + 30_000)
            for key in bench.keys {
                let left = Int64(try bench.client.text("PTTL", key)) ?? 0
                #expect(left == -2 || left > 86_400_000, "\(key): \(left)")
            }
        }

        @Test func aBreakerTakesLessThanAKibibyte() throws {
            let policy = LedgerPolicy()
            let breakers = 200
            for host in 0..<10 {
                let caller = LedgerCaller(host: "host-\(host).example.net", incarnation: Int64.max - Int64(host))
                _ = try bench.apply(.sync(known: 0), by: caller, at: now)
            }
            for number in 0..<breakers {
                for host in 0..<10 {
                    let caller = LedgerCaller(host: "host-\(host).example.net", incarnation: Int64.max - Int64(host))
                    let name = "service:worker-\(number)@0123456789abcdef"
                    let reason = "exited with code 1 five times within 60 s"
                    _ = try bench.apply(
                        .vote(name: name, .tripped, reason: reason, policy, draw: 5),
                        by: caller,
                        at: now
                    )
                }
            }
            var bytes = 0
            for key in bench.keys { bytes += Int(try bench.client.text("MEMORY", "USAGE", key, "SAMPLES", "0")) ?? 0 }
            Report.line("a breaker that is open by the votes of ten hosts takes \(bytes / breakers) bytes")
            #expect(bytes / breakers < 1_024)
        }

        @Test func theScriptTakesLittleTime() throws {
            let policy = LedgerPolicy()
            for host in 0..<10 {
                _ = try bench.apply(.sync(known: 0), by: LedgerCaller(host: "host-\(host)", incarnation: 1), at: now)
            }
            for number in 0..<20 {
                _ = try bench.apply(
                    .force(name: "db-\(number)", .disabled, actor: "A", reason: ""),
                    by: caller,
                    at: now
                )
            }
            let known = try bench.apply(.sync(known: 0), by: caller, at: now).sequence
            for operation in [
                BreakerOperation.sync(known: known), .vote(name: "db-1", .tripped, reason: "down", policy, draw: 0),
                .reset(name: "db-1", actor: "Ann", reason: ""),
            ] {
                _ = try bench.client.call("CONFIG", "RESETSTAT")
                for step in 0..<500 { _ = try bench.apply(operation, by: caller, at: now + Int64(step)) }
                let lines = try bench.client.text("INFO", "commandstats").split(whereSeparator: \.isNewline)
                let line = lines.first { $0.hasPrefix("cmdstat_evalsha:") } ?? ""
                let words = "\(operation)".prefix(8)
                Report.line("script, 10 hosts and 20 breakers, \(words): \(line)")
            }
        }

        @Test func requestsThatCannotBeReadChangeNothing() throws {
            try fill()
            let before = try dump()
            let script = try bench.client.text("SCRIPT", "LOAD", LedgerScript.textWithClock)
            let requests: [[String]] = [
                [], ["sync"], ["sync", "h", "1", "c", "x"], ["vote", "h", "1", "c", "db"],
                ["force", "h", "1", "c", "db", "9", "Ann", ""], ["restore", "h", "1", "c", "db", "1", "1"],
                ["dance", "h", "1", "c", "db"], ["renew", "h", "1", "c", ""], ["sync", "h", "one", "c", "0"],
            ]
            for request in requests {
                let words = ["EVALSHA", script, "6"] + bench.keys + request + ["\(now)"]
                guard case .error = try bench.client.call(words.map { Array($0.utf8) }) else {
                    throw TestFailure("\(request) was carried out")
                }
            }
            #expect(try dump() == before)
        }
    }
}
