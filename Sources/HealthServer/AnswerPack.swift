/// The prepared answers of one service, or of one path of the node, in two exactly sized allocations.
///
/// With a thousand services these are a good part of the daemon's memory, so little is stored twice: heads are shared
/// between services, aspects share their beginning, `?verbose` is the plain answer with a tail, and an instance's tail
/// is part of its service's.
struct AnswerPack {
    /// A part of `bytes`.
    struct Piece: Equatable {
        private var start: UInt32
        private var length: UInt32

        static let none = Piece(0..<0)

        init(_ range: Range<Int>) {
            start = UInt32(clamping: range.lowerBound)
            length = UInt32(clamping: range.count)
        }

        var range: Range<Int> { Int(start)..<Int(start) + Int(length) }

        /// Without the last byte.
        var dropLast: Piece { Piece(range.dropLast()) }
    }

    /// The answers of one path.
    struct Entry {
        var head: AnswerHead
        /// The plain body's beginning, which entries of one service share.
        var common: Piece
        /// The rest of the plain body.
        var end: Piece
        /// In a verbose body, instead of the brace that `end` closes with.
        var tail: Piece
        /// What stands before `tail` where it is not the plain body without its brace; empty otherwise.
        var wholeLead = Piece.none
        /// The line for the HAProxy agent.
        var agent = Piece.none
        /// The instance that these are the answers of; -1 when of none.
        var instance: Int32 = -1
    }

    let bytes: [UInt8]
    let entries: [Entry]

    /// - Parameter entry: an index into `entries`.
    func reply(_ entry: Int, to method: ParsedRequest.Method, _ options: RequestOptions) -> Reply {
        let entry = entries[entry]
        let head = options.drainAsNotFound ? entry.head.drainAsNotFound ?? entry.head : entry.head
        let body =
            if !options.verbose {
                (entry.common, entry.end, Piece.none)
            } else if entry.wholeLead == .none {
                (entry.common, entry.end.dropLast, entry.tail)
            } else {
                (entry.wholeLead, Piece.none, entry.tail)
            }
        return Reply(method: method, head: head, store: bytes, body: (body.0.range, body.1.range, body.2.range))
    }

    func agentLine(_ entry: Int) -> ArraySlice<UInt8> { bytes[entries[entry].agent.range] }

    /// The entry of an instance; nil when there is no such instance.
    func entry(ofInstance index: Int) -> Int? {
        // Instances follow the entries of the service, almost always in their order.
        let likely = ServicePart.firstInstance + index
        if entries.indices.contains(likely), Int(entries[likely].instance) == index { return likely }
        return entries.firstIndex { Int($0.instance) == index }
    }
}

/// The entries of a service that are not an instance's, in their order.
enum ServicePart: Int {
    /// Also `/ready`.
    case service, live, startup

    static let firstInstance = 3
}

/// Collects the bytes of a pack.
struct PackBuilder {
    private(set) var bytes: [UInt8] = []
    private var entries: [AnswerPack.Entry] = []

    mutating func add(_ more: some Collection<UInt8>) -> AnswerPack.Piece {
        let start = bytes.count
        bytes.append(contentsOf: more)
        return AnswerPack.Piece(start..<bytes.count)
    }

    /// As `add`, unless one of the entries so far begins so.
    mutating func addCommon(_ beginning: ArraySlice<UInt8>) -> AnswerPack.Piece {
        // The entries of the service alone: instances have bodies of their own, and there may be many.
        for entry in entries.prefix(ServicePart.firstInstance)
        where bytes[entry.common.range].elementsEqual(beginning) { return entry.common }
        return add(beginning)
    }

    mutating func append(_ entry: AnswerPack.Entry) { entries.append(entry) }

    /// Copies, so that neither array is larger than it must be.
    func finish() -> AnswerPack {
        AnswerPack(
            bytes: Array(unsafeUninitializedCapacity: bytes.count) { target, count in
                count = target.initialize(fromContentsOf: bytes)
            },
            entries: entries.count == entries.capacity
                ? entries
                : Array(unsafeUninitializedCapacity: entries.count) { target, count in
                    count = target.initialize(fromContentsOf: entries)
                }
        )
    }
}
