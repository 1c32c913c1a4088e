/// Reads the body of an answer to `grpc.health.v1.Health/Check`, in whatever pieces it arrives.
///
/// The body is one length-prefixed message (gRPC over HTTP/2, "Length-Prefixed-Message"), and the message one field:
/// `ServingStatus status = 1`. Other fields are skipped, as protobuf asks for.
struct HealthCheckReply {
    /// As `HealthCheckResponse.ServingStatus` numbers them.
    enum Status: Equatable {
        case unknown, serving, notServing, serviceUnknown
        case other(UInt64)

        init(_ number: UInt64) {
            switch number {
            case 0: self = .unknown
            case 1: self = .serving
            case 2: self = .notServing
            case 3: self = .serviceUnknown
            default: self = .other(number)
            }
        }

        var name: String {
            switch self {
            case .unknown: "UNKNOWN"
            case .serving: "SERVING"
            case .notServing: "NOT_SERVING"
            case .serviceUnknown: "SERVICE_UNKNOWN"
            case .other(let number): "in the unknown state \(number)"
            }
        }
    }

    enum Problem: Error, Equatable {
        case compressed
        /// The message has so many bytes, more than are read.
        case tooLong(UInt32)
        case malformed
    }

    private enum Phase {
        case prefix
        case message
        case done(Status)
    }

    private static let prefixBytes = 5
    private let limit: Int
    private var phase = Phase.prefix
    /// Of the prefix, then of the message.
    private var bytes: [UInt8] = []
    private var length = 0

    /// - Parameter limit: bytes that the message may have.
    init(limit: Int) {
        self.limit = limit
    }

    /// Nil until the message is whole.
    var status: Status? {
        if case .done(let status) = phase { status } else { nil }
    }

    /// Whether nothing came at all.
    var isEmpty: Bool {
        if case .prefix = phase { bytes.isEmpty } else { false }
    }

    /// Takes what came next. After an error it takes no more.
    mutating func consume(_ piece: some Sequence<UInt8>) throws(Problem) {
        for byte in piece {
            switch phase {
            case .prefix:
                bytes.append(byte)
                if bytes.count == Self.prefixBytes { try readPrefix() }
            case .message:
                bytes.append(byte)
                if bytes.count == length { phase = .done(try Self.status(in: bytes)) }
            case .done:
                // A unary call has one answer.
                throw .malformed
            }
        }
    }

    private mutating func readPrefix() throws(Problem) {
        switch bytes[0] {
        case 0: break
        case 1: throw .compressed
        default: throw .malformed
        }
        let count = bytes[1...].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        guard count <= UInt32(clamping: limit) else { throw .tooLong(count) }
        length = Int(count)
        bytes.removeAll(keepingCapacity: true)
        phase = length == 0 ? .done(.unknown) : .message
    }

    // MARK: Protobuf

    /// Of several values of the field the last counts, and none stands for 0, as protobuf asks for.
    private static func status(in message: [UInt8]) throws(Problem) -> Status {
        var rest = message[...]
        var status = Status.unknown
        while !rest.isEmpty {
            let tag = try varint(&rest)
            guard tag >> 3 > 0, tag >> 3 <= 0x1fff_ffff else { throw .malformed }
            switch (tag >> 3, tag & 7) {
            case (1, 0): status = Status(try varint(&rest))
            case (1, _): throw .malformed
            case (_, 0): _ = try varint(&rest)
            case (_, 1): try skip(8, &rest)
            case (_, 2): try skip(varint(&rest), &rest)
            case (_, 5): try skip(4, &rest)
            default: throw .malformed
            }
        }
        return status
    }

    private static func skip(_ count: UInt64, _ rest: inout ArraySlice<UInt8>) throws(Problem) {
        guard count <= UInt64(rest.count) else { throw .malformed }
        rest = rest.dropFirst(Int(count))
    }

    private static func varint(_ rest: inout ArraySlice<UInt8>) throws(Problem) -> UInt64 {
        var value: UInt64 = 0
        for place in 0..<10 {
            guard let byte = rest.popFirst() else { throw .malformed }
            // Ten groups of seven bits are more than 64.
            if place == 9, byte > 1 { throw .malformed }
            value |= UInt64(byte & 0x7f) << UInt64(7 * place)
            if byte & 0x80 == 0 { return value }
        }
        throw .malformed
    }
}
