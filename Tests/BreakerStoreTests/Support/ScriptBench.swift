import SupervisorCore
import Testing

@testable import BreakerStore

/// The script in a real server, run with a clock of the test's, and what it publishes.
struct ScriptBench {
    let server: RedisServer
    let client: RawClient
    let subscriber: RawClient
    let fleet = "bench"
    private let script: String

    init(server: RedisServer) throws {
        self.server = server
        client = try server.client()
        subscriber = try server.client()
        _ = try subscriber.call("SUBSCRIBE", LedgerScript.channel(fleet: fleet))
        script = String(
            decoding: try client.call("SCRIPT", "LOAD", LedgerScript.textWithClock).bytes ?? [],
            as: UTF8.self
        )
    }

    var keys: [String] { LedgerScript.keys(fleet: fleet) }

    func clear() throws { try client.call("FLUSHALL") }

    /// The script's answer as it is.
    func raw(_ operation: BreakerOperation, by caller: LedgerCaller, at now: Int64) throws -> RESPValue {
        let arguments = LedgerCodec.arguments(operation, by: caller, channel: LedgerScript.channel(fleet: fleet))
        let words = ["EVALSHA", script, "6"] + keys
        return try client.call(words.map { Array($0.utf8) } + arguments + [Array("\(now)".utf8)])
    }

    func apply(_ operation: BreakerOperation, by caller: LedgerCaller, at now: Int64) throws -> LedgerReply {
        let value = try raw(operation, by: caller, at: now)
        guard let reply = LedgerCodec.reply(value) else {
            if case .error(let bytes) = value { throw TestFailure(String(decoding: bytes, as: UTF8.self)) }
            throw TestFailure("\(value)")
        }
        return reply
    }

    /// The next entry that was published.
    func published() throws -> BreakerEntry {
        guard let fields = try subscriber.receive(.seconds(5)).array, fields.count == 3,
            let entry = fields[2].bytes.flatMap(LedgerCodec.entry)
        else { throw TestFailure("this is no entry") }
        return entry
    }

    /// Whether nothing more was published than has been taken.
    func nothingElseWasPublished() throws -> Bool {
        try subscriber.call("PING") == .array([.text(Array("pong".utf8)), .text([])])
    }
}
