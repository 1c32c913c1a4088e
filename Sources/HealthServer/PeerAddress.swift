import NIOCore

/// The other end of a connection without its port, in a form that is compared without being looked at closely.
///
/// An IPv4 address is kept as IPv6 maps it (RFC 4291 §2.5.5.2), so that a prober is the same on a listener of either
/// kind.
struct PeerAddress: Hashable {
    /// In the order of the wire; both 0 where the other end has no IP address.
    private(set) var high: UInt64 = 0
    private(set) var low: UInt64 = 0

    private static let mapped: UInt64 = 0xFFFF_0000_0000

    /// Of a socket that has no IP address.
    static let none = PeerAddress(nil)

    init(_ address: SocketAddress?) {
        guard let address else { return }
        // By offsets into sockaddr_in and sockaddr_in6 (ip(7), ipv6(7)): their members are the C library's to name.
        address.withSockAddr { pointer, size in
            let bytes = UnsafeRawBufferPointer(start: pointer, count: size)
            switch address {
            case .v4 where size >= 8:
                low = Self.mapped | UInt64(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
            case .v6 where size >= 24:
                high = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
                low = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
            default: break
            }
        }
    }

    /// As users write it; empty where there is none.
    var text: String {
        if self == .none { return "" }
        var packed = ByteBuffer()
        if high == 0, low >> 32 == Self.mapped >> 32 {
            packed.writeInteger(UInt32(truncatingIfNeeded: low))
        } else {
            packed.writeInteger(high)
            packed.writeInteger(low)
        }
        return (try? SocketAddress(packedIPAddress: packed, port: 0))?.ipAddress ?? ""
    }
}
