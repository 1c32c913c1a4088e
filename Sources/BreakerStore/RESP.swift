import CHiredis
import NIOCore

/// A value of the protocol of Redis, version 2.
enum RESPValue: Equatable, Sendable {
    case text([UInt8])
    case status([UInt8])
    case error([UInt8])
    case integer(Int64)
    case array([RESPValue])
    case null

    /// The bytes of a text or status.
    var bytes: [UInt8]? {
        switch self {
        case .text(let bytes), .status(let bytes): bytes
        default: nil
        }
    }

    var array: [RESPValue]? {
        if case .array(let values) = self { return values }
        return nil
    }
}

/// What keeps a stream of replies from being read on.
struct RESPFault: Error, Equatable {
    var text: String
}

/// Bounds of what a server may send (rule P7).
enum RESPLimits {
    /// Elements of all arrays of one reply.
    static let elements = 64 << 10
    /// Bytes of one string.
    static let stringBytes = 1 << 20
    /// Bytes that may have come without being a whole reply.
    static let replyBytes = 4 << 20
}

/// Replies out of a stream of bytes: hiredis' reader, with bounds in front of it.
final class RESPReader {
    private let reader: UnsafeMutablePointer<eider_reader>?
    /// Bytes since the last whole reply.
    private var waiting = 0
    private var fault: RESPFault?

    init() {
        reader = eider_reader_create(RESPLimits.elements, RESPLimits.stringBytes)
        if reader == nil { fault = RESPFault(text: "there is no memory for its replies") }
    }

    deinit {
        if let reader { eider_reader_free(reader) }
    }

    /// Takes bytes, and hands out every reply that they complete. After a fault nothing more is read.
    func read(_ bytes: UnsafeRawBufferPointer, _ take: (RESPValue) -> Void) throws(RESPFault) {
        if let fault { throw fault }
        guard let reader, let start = bytes.baseAddress, bytes.count > 0 else { return }
        // In parts, so that what hiredis buffers is bounded however much comes at once.
        var offset = 0
        while offset < bytes.count {
            let length = min(64 << 10, bytes.count - offset)
            if eider_reader_feed(reader, start + offset, length) != REDIS_OK { throw fail("there is no memory for it") }
            offset += length
            waiting += length
            try drain(reader, take)
            if waiting > RESPLimits.replyBytes { throw fail("it has more than \(RESPLimits.replyBytes) bytes") }
        }
    }

    private func drain(
        _ reader: UnsafeMutablePointer<eider_reader>,
        _ take: (RESPValue) -> Void
    ) throws(RESPFault) {
        while true {
            var reply: UnsafeMutablePointer<redisReply>?
            if eider_reader_next(reader, &reply) != 0 {
                throw fail(String(cString: eider_reader_fault(reader)))
            }
            guard let reply else { return }
            let value = Self.value(reply)
            freeReplyObject(reply)
            waiting = eider_reader_rest(reader)
            take(value)
        }
    }

    private func fail(_ text: String) -> RESPFault {
        let fault = RESPFault(text: text)
        self.fault = fault
        return fault
    }

    /// hiredis refuses what is nested deeper than 7, so that this does not go deeper either.
    private static func value(_ reply: UnsafeMutablePointer<redisReply>) -> RESPValue {
        let reply = reply.pointee
        switch reply.type {
        case REDIS_REPLY_STRING: return .text(bytes(reply))
        case REDIS_REPLY_STATUS: return .status(bytes(reply))
        case REDIS_REPLY_ERROR: return .error(bytes(reply))
        case REDIS_REPLY_INTEGER: return .integer(reply.integer)
        case REDIS_REPLY_ARRAY:
            let elements = UnsafeBufferPointer(start: reply.element, count: reply.element == nil ? 0 : reply.elements)
            return .array(elements.map { $0.map { value($0) } ?? .null })
        default: return .null
        }
    }

    private static func bytes(_ reply: redisReply) -> [UInt8] {
        guard let text = reply.str else { return [] }
        return Array(UnsafeRawBufferPointer(start: text, count: reply.len))
    }
}

/// Commands as they travel, formatted by hiredis.
enum RESPWriter {
    /// nil only where there is no memory.
    static func command(_ arguments: [[UInt8]], _ allocator: ByteBufferAllocator) -> ByteBuffer? {
        var lengths = arguments.map(\.count)
        let joined = arguments.flatMap { $0 }
        var formatted: UnsafeMutablePointer<CChar>?
        let length = joined.withUnsafeBytes { bytes -> CInt in
            // An argument may be empty, and so may all of them: the pointer must be one anyway.
            let start = bytes.bindMemory(to: CChar.self).baseAddress ?? UnsafePointer(bitPattern: 1)
            var offset = 0
            var pointers = lengths.map { length -> UnsafePointer<CChar>? in
                defer { offset += length }
                return start.map { $0 + offset }
            }
            return redisFormatCommandArgv(&formatted, CInt(arguments.count), &pointers, &lengths)
        }
        guard length > 0, let formatted else { return nil }
        defer { redisFreeCommand(formatted) }
        var buffer = allocator.buffer(capacity: Int(length))
        buffer.writeBytes(UnsafeRawBufferPointer(start: formatted, count: Int(length)))
        return buffer
    }
}
