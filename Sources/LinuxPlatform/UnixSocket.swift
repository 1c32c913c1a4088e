import CLinux

/// Who is at the other end of a Unix socket, as the kernel vouches for it.
public struct PeerCredentials: Hashable, Sendable {
    /// 0 when the process is in a pid namespace that is not visible from here.
    public var pid: Int32
    public var uid: UInt32
    public var gid: UInt32

    public init(pid: Int32, uid: UInt32, gid: UInt32) {
        self.pid = pid
        self.uid = uid
        self.gid = gid
    }
}

/// Unix sockets. Each is close-on-exec; a path that begins with `@` is in the abstract namespace.
public enum UnixSocket {
    public enum Kind: Int32, Sendable {
        case stream = 1
        case datagram = 2
        case sequentialPacket = 5
    }

    /// Longest path that fits into an address, in bytes.
    public static let longestPath = 107

    /// A socket bound to `path`. A socket file that is there is removed first when nobody listens on it; a live one
    /// is an error (EADDRINUSE). `mode` is the file's mode from its first moment on.
    public static func bind(
        _ kind: Kind,
        path: String,
        mode: UInt32 = 0o600,
        nonblocking: Bool = true
    ) throws(SystemError) -> Descriptor {
        let socket = try create(kind, path: path, nonblocking: nonblocking)
        var result = clinux_unix_bind(socket.rawValue, path, mode)
        if result == -98, !path.hasPrefix("@"), isStale(kind, path: path) {
            try SystemError.check(clinux_unlink(path), "remove the old socket", path)
            result = clinux_unix_bind(socket.rawValue, path, mode)
        }
        try SystemError.check(result, "bind", path)
        return socket
    }

    /// A listening socket at `path`; see `bind`.
    public static func listen(
        _ kind: Kind,
        path: String,
        mode: UInt32 = 0o600,
        backlog: Int32 = 1024,
        nonblocking: Bool = true
    ) throws(SystemError) -> Descriptor {
        let socket = try bind(kind, path: path, mode: mode, nonblocking: nonblocking)
        try SystemError.check(clinux_listen(socket.rawValue, backlog), "listen on", path)
        return socket
    }

    /// A socket connected to the one that listens at `path`.
    public static func connect(
        _ kind: Kind,
        path: String,
        nonblocking: Bool = false
    ) throws(SystemError) -> Descriptor {
        let socket = try create(kind, path: path, nonblocking: nonblocking)
        try SystemError.check(clinux_unix_connect(socket.rawValue, path), "connect to", path)
        return socket
    }

    /// A socket without a name, to send datagrams from.
    public static func unconnected(_ kind: Kind, nonblocking: Bool = true) throws(SystemError) -> Descriptor {
        Descriptor(try SystemError.check(clinux_unix_socket(kind.rawValue, nonblocking), "create a socket"))
    }

    /// Ends both directions; what has arrived can still be read.
    public static func shutDown(_ socket: Int32) {
        _ = clinux_shutdown(socket, true, true)
    }

    /// The next connection; nil when there is none (a socket that does not block).
    public static func accept(_ listener: Int32, nonblocking: Bool = true) throws(SystemError) -> Descriptor? {
        let result = clinux_accept(listener, nonblocking)
        if result == -11 { return nil }
        return Descriptor(try SystemError.check(result, "accept a connection"))
    }

    /// Two sockets that are connected to each other.
    public static func pair(_ kind: Kind) throws(SystemError) -> (SharedDescriptor, SharedDescriptor) {
        var ends: [Int32] = [-1, -1]
        try SystemError.check(clinux_socket_pair(kind.rawValue, &ends), "create a pair of sockets")
        return (SharedDescriptor(ends[0]), SharedDescriptor(ends[1]))
    }

    /// Who connected, at the time of the connect.
    public static func peer(of socket: Int32) throws(SystemError) -> PeerCredentials {
        var peer = PeerCredentials(pid: 0, uid: 0, gid: 0)
        try SystemError.check(
            clinux_peer_credentials(socket, &peer.pid, &peer.uid, &peer.gid),
            "ask who is connected"
        )
        return peer
    }

    /// Has the sender's credentials come with each message (`Packet.sender`).
    public static func passCredentials(_ socket: Int32) throws(SystemError) {
        try SystemError.check(clinux_pass_credentials(socket), "ask for credentials")
    }

    /// Sets the buffers, in bytes; 0 leaves one. Beyond the host's limits where we may.
    public static func setBuffers(_ socket: Int32, send: Int32 = 0, receive: Int32 = 0) throws(SystemError) {
        try SystemError.check(clinux_set_buffers(socket, send, receive), "set the size of a socket's buffers")
    }

    private static func create(_ kind: Kind, path: String, nonblocking: Bool) throws(SystemError) -> Descriptor {
        if path.utf8.count > longestPath || path.isEmpty {
            throw SystemError(call: "use the socket path", errno: path.isEmpty ? 22 : 36, path: path)
        }
        return Descriptor(
            try SystemError.check(clinux_unix_socket(kind.rawValue, nonblocking), "create a socket for", path)
        )
    }

    /// Whether the file is a socket that nobody serves any more.
    private static func isStale(_ kind: Kind, path: String) -> Bool {
        let probe = clinux_unix_socket(kind.rawValue, true)
        if probe < 0 { return false }
        defer { _ = clinux_close(probe) }
        // ECONNREFUSED is also what a file gives that is no socket at all: that one is not ours to remove.
        return clinux_unix_connect(probe, path) == -111 && FileKind.isSocket(path)
    }
}
