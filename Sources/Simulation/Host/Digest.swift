import SupervisorCore

/// A hash of everything that happened, to see whether two runs are the same: FNV-1a, 64 bits, over words.
///
/// Source: Fowler, Noll, Vo; draft-eastlake-fnv. Swift's own hashes differ from process to process.
package struct Digest: Sendable, Equatable {
    package private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    mutating func add(_ word: UInt64) {
        value = (value ^ word) &* 0x0000_0100_0000_01B3
        value ^= value >> 29
    }

    mutating func add(_ word: Int64) { add(UInt64(bitPattern: word)) }

    mutating func add(_ text: String) {
        for byte in text.utf8 { value = (value ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
    }

    mutating func add(_ effect: Effect) {
        switch effect {
        case .spawn(let id, let generation): add(1, id, generation)
        case .signal(let id, let generation, let signal, let tree):
            add(2, id, generation)
            add(Int64(signal.rawValue) * 2 + (tree ? 1 : 0))
        case .endTree(let id, let generation): add(3, id, generation)
        case .release(let id, let generation): add(4, id, generation)
        case .startTimer(let token, let at):
            add(5, token)
            add(at.nanoseconds)
        case .cancelTimer(let token): add(6, token)
        case .watch(let key, _, let firstAt):
            add(7, key.instance, key.generation)
            add(firstAt.nanoseconds)
        case .unwatch(let key): add(8, key.instance, key.generation)
        case .measurePressure: add(9 as UInt64)
        case .remember(let id, let record):
            add(10, id, record?.generation ?? 0)
            if let record {
                add(UInt64(StateKind(record.state).rawValue))
                add(record.since.nanoseconds)
                add(Int64(record.crashes))
                add(record.run?.servingAt?.nanoseconds ?? 0)
            }
        case .rememberNode(let node):
            add(11 as UInt64)
            add(Int64(node.healthRestarts.count))
            add(node.hold?.since.nanoseconds ?? 0)
        case .saveIntents(let intents): add(Int64(intents.stops.count + intents.drains.count) + 12)
        case .record(let subject, let kind, let text):
            add(subject ?? "")
            add(kind)
            add(text)
        case .finishOperation(let operation, _): add(operation)
        case .lookAtProbers: add(16 as UInt64)
        case .countConnections: add(17 as UInt64)
        case .rememberBreakers(let breakers): add(Int64(breakers.encoded().count) + 18)
        case .askStore(let request): add(request.number &+ 19)
        case .identifyReleases(let names): add(Int64(names.count) + 20)
        case .announceFirstStart: add(14 as UInt64)
        case .finishShutdown: add(15 as UInt64)
        }
    }

    private mutating func add(_ tag: UInt64, _ id: InstanceID, _ number: UInt64) {
        add(tag)
        add(id.service)
        add(Int64(id.index))
        add(number)
    }

    private mutating func add(_ tag: UInt64, _ token: TimerToken) {
        add(tag)
        if let id = token.instance { add(id.service) }
        add(Int64(token.instance?.index ?? -1))
        add(token.number)
    }
}
