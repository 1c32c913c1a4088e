import SupervisorCore

/// The form of messages in a packet: a run of frames, each a length, a tag and the fields in order.
///
/// Fields are only ever appended: a reader takes those that it knows and leaves the rest of the frame. A tag that it
/// does not know makes the packet malformed; both sides agree on the version first.
public enum ShimCodec {
    /// Reads the frames of one packet; nil when any of it is malformed. Never traps, whatever the bytes.
    public static func requests(in packet: [UInt8]) -> [ShimRequest]? {
        messages(in: packet, ShimRequest.init(from:))
    }

    /// Reads the frames of one packet; nil when any of it is malformed. Never traps, whatever the bytes.
    public static func reports(in packet: [UInt8]) -> [ShimReport]? {
        messages(in: packet, ShimReport.init(from:))
    }

    private static func messages<Message>(
        in packet: [UInt8],
        _ decode: (inout WireReader) -> Message?
    ) -> [Message]? {
        var reader = WireReader(packet)
        var messages: [Message] = []
        while reader.remaining > 0 {
            guard let frame = reader.readBytes() else { return nil }
            var fields = WireReader(frame)
            guard let message = decode(&fields) else { return nil }
            messages.append(message)
        }
        return messages
    }
}

/// Puts messages together into packets that the socket takes.
public struct ShimPacketBuilder: Sendable {
    private var bytes: [UInt8] = []

    public init() {}

    public var isEmpty: Bool { bytes.isEmpty }

    /// Takes one more frame, unless the packet would become too long: then it answers false, and the caller takes
    /// this packet first. An empty packet takes any frame.
    public mutating func append(_ frame: [UInt8]) -> Bool {
        if !isEmpty, bytes.count + frame.count > ShimLimits.packetBytes { return false }
        bytes.append(contentsOf: frame)
        return true
    }

    /// The packet so far; the next one begins.
    public mutating func take() -> [UInt8] {
        defer { bytes = [] }
        return bytes
    }
}

extension WireWriter {
    mutating func write(_ id: InstanceID, _ generation: Generation) {
        write(id.service)
        write(Int64(id.index))
        write(generation)
    }

    mutating func write(_ status: ExitStatus) {
        switch status {
        case .code(let code):
            write(UInt8(0))
            write(code)
            write(false)
        case .signal(let signal, let coreDumped):
            write(UInt8(1))
            write(signal.rawValue)
            write(coreDumped)
        }
    }

    mutating func write(_ usage: ResourceUsage) {
        write(usage.userMicroseconds)
        write(usage.systemMicroseconds)
        write(usage.maximumResidentKibibytes)
    }
}

extension WireReader {
    mutating func readID() -> (InstanceID, Generation)? {
        guard let service = readString(), let number = read(Int64.self), let index = Int(exactly: number), index >= 0,
            let generation = read(Generation.self)
        else { return nil }
        return (InstanceID(service: service, index: index), generation)
    }

    mutating func readStatus() -> ExitStatus? {
        guard let tag = read(UInt8.self), let value = read(Int32.self), let coreDumped = readBool() else { return nil }
        switch tag {
        case 0: return .code(value)
        case 1: return .signal(SignalNumber(rawValue: value), coreDumped: coreDumped)
        default: return nil
        }
    }

    mutating func readUsage() -> ResourceUsage? {
        guard let user = read(Int64.self), let system = read(Int64.self), let resident = read(Int64.self) else {
            return nil
        }
        return ResourceUsage(
            userMicroseconds: user,
            systemMicroseconds: system,
            maximumResidentKibibytes: resident
        )
    }

    mutating func readInstant() -> MonotonicInstant? {
        read(Int64.self).map { MonotonicInstant(nanoseconds: $0) }
    }

    mutating func readStrings() -> [String]? {
        readList { $0.readString() }
    }
}
