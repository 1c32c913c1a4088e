import CLinux

/// One message of a Unix socket, with what the kernel delivered beside it.
public struct Packet: Sendable {
    public var bytes: [UInt8]
    /// In the order they were sent in; closed with the last reference.
    public var descriptors: [SharedDescriptor]
    /// The sender, where the socket asks for it (`UnixSocket.passCredentials`).
    public var sender: PeerCredentials?
    /// It was longer than the buffer; the rest is lost.
    public var isTruncated: Bool
    /// Descriptors came that could not be taken (no room for more in this process).
    public var lostDescriptors: Bool

    public enum Received: Sendable {
        case packet(Packet)
        /// Nothing is there now.
        case nothing
        /// The other end has closed its socket.
        case closed
    }

    /// Most descriptors that one message carries.
    public static let mostDescriptors = Int(CLINUX_MAX_DESCRIPTORS)

    /// Sends one message. False when the socket is full (EAGAIN): nothing was sent.
    ///
    /// - Parameter path: the receiver, for a datagram socket that is not connected.
    public static func send(
        _ bytes: [UInt8],
        descriptors: [Int32] = [],
        on socket: Int32,
        to path: String? = nil,
        nonblocking: Bool = true
    ) throws(SystemError) -> Bool {
        let result: Int
        if let path {
            result = clinux_send(socket, bytes, bytes.count, descriptors, descriptors.count, path, nonblocking)
        } else {
            result = clinux_send(socket, bytes, bytes.count, descriptors, descriptors.count, nil, nonblocking)
        }
        if result == -11 { return false }
        try SystemError.check(result, "send", path)
        return true
    }

    /// Receives one message of at most `limit` bytes. With `peek` it stays where it is, and no descriptors are given.
    public static func receive(
        on socket: Int32,
        limit: Int,
        peek: Bool = false,
        nonblocking: Bool = true
    ) throws(SystemError) -> Received {
        var message = clinux_message()
        var result = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: max(limit, 1)) { buffer, count in
            result = clinux_receive(socket, buffer.baseAddress, buffer.count, &message, peek, nonblocking)
            count = max(0, min(result, buffer.count))
        }
        return try take(bytes, result, &message)
    }

    /// The same into a buffer that is used again and again: the packet's `bytes` stay empty, `count` says how many.
    public static func receive(
        on socket: Int32,
        into buffer: UnsafeMutableRawBufferPointer,
        count: inout Int,
        peek: Bool = false,
        nonblocking: Bool = true
    ) throws(SystemError) -> Received {
        var message = clinux_message()
        let result = clinux_receive(socket, buffer.baseAddress, buffer.count, &message, peek, nonblocking)
        count = max(0, min(result, buffer.count))
        return try take([], result, &message)
    }

    private static func take(
        _ bytes: [UInt8],
        _ result: Int,
        _ message: inout clinux_message
    ) throws(SystemError) -> Received {
        if result == -11 { return .nothing }
        if result == -104 { return .closed }
        try SystemError.check(result, "receive")
        let count = Int(message.descriptor_count)
        var descriptors: [SharedDescriptor] = []
        if count > 0 {
            withUnsafeBytes(of: &message.descriptors) { raw in
                descriptors = raw.bindMemory(to: Int32.self).prefix(count).map { SharedDescriptor($0) }
            }
        }
        let sender =
            message.has_credentials ? PeerCredentials(pid: message.pid, uid: message.uid, gid: message.gid) : nil
        // A sender's empty message looks like the end on a socket with connections; only credentials tell.
        if result == 0, descriptors.isEmpty, sender == nil { return .closed }
        return .packet(
            Packet(
                bytes: bytes,
                descriptors: descriptors,
                sender: sender,
                isTruncated: message.truncated,
                lostDescriptors: message.descriptors_lost
            )
        )
    }
}
