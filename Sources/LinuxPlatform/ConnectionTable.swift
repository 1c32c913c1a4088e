internal import CLinux
import Glibc

/// A TCP connection as the kernel lists it.
public struct ListedConnection: Sendable, Equatable {
    public enum State: Sendable, CaseIterable {
        case established
        /// The other side has ended its direction, ours is open.
        case closeWait
        /// We ended it, first or last, and the other side has not confirmed all of it yet.
        case finWait, closing, lastAck
        /// It is over, and its numbers are kept from being used again.
        case timeWait

        /// Data may still be sent.
        public var isOpen: Bool { self == .established || self == .closeWait }
    }

    /// The kernel's number for the connection (its socket cookie): the same for all its life, TIME_WAIT included, and
    /// never another's, also where a client uses the same address and port again.
    public var identity: UInt64
    public var localPort: UInt16
    public var remote: RemoteEnd
    public var state: State
    /// Bytes that the other side sent and the kernel has confirmed; nil where the kernel does not tell, as in
    /// TIME_WAIT.
    public var bytesReceived: UInt64?
    /// Whether we ever sent data.
    public var hasSent = true
    /// Time since data was last sent and last received; both count from the connection's beginning where there was
    /// none. To the kernel's tick, some milliseconds.
    public var sinceSent: Duration = .zero
    public var sinceReceived: Duration = .zero
    /// Bytes that were received and not yet read.
    public var receiveQueue: UInt32 = 0
    /// Bytes that were written and are not yet confirmed.
    public var sendQueue: UInt32 = 0

    public init(identity: UInt64, localPort: UInt16, remote: RemoteEnd, state: State, bytesReceived: UInt64?) {
        self.identity = identity
        self.localPort = localPort
        self.remote = remote
        self.state = state
        self.bytesReceived = bytesReceived
    }
}

/// The other end of a connection. An IPv4 address that a socket for IPv6 has mapped is an IPv4 address.
public struct RemoteEnd: Sendable, Hashable, CustomStringConvertible {
    /// The sixteen bytes of the address, the first in the highest bits; IPv4 as `::ffff:a.b.c.d`.
    public var high: UInt64
    public var low: UInt64
    public var port: UInt16

    public init(high: UInt64, low: UInt64, port: UInt16) {
        self.high = high
        self.low = low
        self.port = port
    }

    /// - Parameter v4: the address as a number: 127.0.0.1 is `0x7f00_0001`.
    public init(v4: UInt32, port: UInt16) {
        self.init(high: 0, low: 0xffff_0000_0000 | UInt64(v4), port: port)
    }

    public var isIPv4: Bool { high == 0 && low >> 32 == 0xffff }

    /// `127.0.0.1:40000`, `[::1]:40000`
    public var description: String {
        var bytes = (0..<16).map { place in
            UInt8(truncatingIfNeeded: (place < 8 ? high : low) >> UInt64(56 - place % 8 * 8))
        }
        if isIPv4 { bytes.removeFirst(12) }
        let family = isIPv4 ? AF_INET : AF_INET6
        var room = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let text = room.withUnsafeMutableBufferPointer { room in
            inet_ntop(family, bytes, room.baseAddress, socklen_t(room.count)).map { String(cString: $0) }
        }
        return isIPv4 ? "\(text ?? "?"):\(port)" : "[\(text ?? "?")]:\(port)"
    }
}

/// What one look at the kernel's table of TCP connections found.
public struct ConnectionListing: Sendable {
    /// The same identity may come twice: once open, and once in TIME_WAIT, when it ended while it was looked.
    public var connections: [ListedConnection] = []
    /// False when there are more, or when the table changed faster than it could be read: then there are at least
    /// these.
    public var isComplete = true

    public init() {}
}

/// The kernel's table of TCP connections (sock_diag(7)).
public enum ConnectionTable {
    /// Most connections that one look takes. Those in TIME_WAIT come last: a busy host keeps ten thousands of them.
    public static let mostConnections = 65_536

    /// Lists the connections whose local end is one of these ports, whatever the local address.
    ///
    /// Blocks for as long as the kernel needs to walk its table, which is milliseconds.
    ///
    /// - Returns: nil where the kernel does not tell: it was built without `inet_diag`, or forbids it.
    /// - Throws: `SystemError` for want of descriptors or memory.
    public static func list(
        ports: Set<UInt16>,
        limit: Int = mostConnections
    ) throws(SystemError) -> ConnectionListing? {
        if ports.isEmpty { return ConnectionListing() }
        var listing: ConnectionListing?
        // The table may change faster than it can be read: then it has to be looked at again, but not for ever.
        for _ in 0..<3 {
            listing = try look(ports, limit)
            if listing?.isComplete ?? true { break }
            if let count = listing?.connections.count, count >= limit { break }
        }
        return listing
    }

    private static func look(_ ports: Set<UInt16>, _ limit: Int) throws(SystemError) -> ConnectionListing? {
        let socket = clinux_diag_open()
        if meansUnknown(socket) { return nil }
        var reader = Reader(try SystemError.check(socket, "ask the kernel for connections"), ports, limit)
        // Those that live first: they count even where there are too many that are over.
        for states in [living, over] {
            for family in [AF_INET, AF_INET6] {
                let result = reader.read(family, states)
                // ENOENT: a kernel without IPv6.
                if family == AF_INET6, result == -ENOENT { continue }
                if meansUnknown(result) { return nil }
                try SystemError.check(result, "list the connections")
                if reader.isFull { return reader.listing }
            }
        }
        return reader.listing
    }

    private static func meansUnknown(_ result: Int32) -> Bool {
        [-ENOENT, -EPERM, -EACCES, -EPROTONOSUPPORT, -EAFNOSUPPORT].contains(result)
    }

    // Bits of the kernel's states (tcp_states.h).
    private static let living: UInt32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11
    private static let over: UInt32 = 1 << 6
}

/// Reads the answers of one look.
private struct Reader: ~Copyable {
    private let socket: Descriptor
    private let ports: Set<UInt16>
    private let ranges: [clinux_port_range]
    private let limit: Int
    /// The kernel's parts have 32 KiB at most.
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
    private var sequence: UInt32 = 0
    private(set) var isFull = false
    private(set) var listing = ConnectionListing()

    init(_ socket: Int32, _ ports: Set<UInt16>, _ limit: Int) {
        self.socket = Descriptor(socket)
        self.ports = ports
        self.limit = limit
        ranges = Self.ranges(ports)
    }

    deinit { buffer.deallocate() }

    /// Runs of ports for the kernel to filter by; where they are too many for it, one that holds all of them.
    private static func ranges(_ ports: Set<UInt16>) -> [clinux_port_range] {
        var ranges: [clinux_port_range] = []
        for port in ports.sorted() {
            if let last = ranges.indices.last, Int(ranges[last].last) + 1 == Int(port) {
                ranges[last].last = port
            } else {
                ranges.append(clinux_port_range(first: port, last: port))
            }
        }
        guard ranges.count > Int(CLINUX_MAX_PORT_RANGES), let first = ranges.first, let last = ranges.last
        else { return ranges }
        return [clinux_port_range(first: first.first, last: last.last)]
    }

    /// Takes all connections of a family that are in one of these states; 0, or -errno.
    mutating func read(_ family: Int32, _ states: UInt32) -> Int32 {
        sequence += 1
        let asked = clinux_diag_ask(socket.rawValue, family, states, ranges, ranges.count, sequence)
        if asked < 0 { return asked }
        while true {
            let count = clinux_diag_receive(socket.rawValue, buffer.baseAddress, buffer.count)
            if count < 0 { return Int32(clamping: count) }
            if let result = take(count) { return result }
        }
    }

    /// Takes one part of the answer; the result when it was the last that is wanted.
    private mutating func take(_ count: Int) -> Int32? {
        var place = 0
        var raw = clinux_connection()
        while true {
            let result = clinux_diag_next(buffer.baseAddress, count, &place, sequence, &raw)
            if result < 0 { return result }
            if result == Int32(CLINUX_DIAG_END) { return nil }
            if raw.interrupted { listing.isComplete = false }
            if result == Int32(CLINUX_DIAG_DONE) { return 0 }
            guard ports.contains(raw.local_port), let connection = ListedConnection(raw) else { continue }
            if listing.connections.count >= limit {
                listing.isComplete = false
                isFull = true
                return 0
            }
            listing.connections.append(connection)
        }
    }
}

extension ListedConnection {
    fileprivate init?(_ raw: clinux_connection) {
        let state: State
        switch raw.state {
        case 1: state = .established
        case 4, 5: state = .finWait
        case 6: state = .timeWait
        case 8: state = .closeWait
        case 9: state = .lastAck
        case 11: state = .closing
        default: return nil
        }
        self.init(
            identity: raw.identity,
            localPort: raw.local_port,
            remote: RemoteEnd(raw),
            state: state,
            bytesReceived: nil
        )
        receiveQueue = raw.receive_queue
        sendQueue = raw.send_queue
        guard raw.has_info else { return }
        // The kernel counts the end of the other side's direction as one more byte.
        let hasEnd = state == .closeWait || state == .lastAck || state == .closing
        bytesReceived = hasEnd && raw.bytes_received > 0 ? raw.bytes_received - 1 : raw.bytes_received
        hasSent = raw.has_sent
        sinceSent = .milliseconds(raw.last_sent_ms)
        sinceReceived = .milliseconds(raw.last_received_ms)
    }
}

extension RemoteEnd {
    fileprivate init(_ raw: clinux_connection) {
        let (high, low) = withUnsafeBytes(of: raw.remote) { bytes in
            (bytes.loadUnaligned(as: UInt64.self), bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        }
        self.init(high: UInt64(bigEndian: high), low: UInt64(bigEndian: low), port: raw.remote_port)
    }
}
