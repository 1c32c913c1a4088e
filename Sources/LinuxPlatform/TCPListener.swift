import CLinux

/// Listening TCP sockets.
public enum TCPListener {
    /// A listening socket for a numeric host; port 0 takes a free one. SO_REUSEADDR, close-on-exec.
    ///
    /// - Parameters:
    ///   - backlog: connections that may wait; the kernel takes no more than `net.core.somaxconn`.
    ///   - takesOnlyIPv6: whether a socket for an IPv6 address takes IPv6 alone. Otherwise the host's default counts
    ///     (`net.ipv6.bindv6only`), by which `::` takes IPv4 too.
    public static func listen(
        host: String,
        port: Int,
        backlog: Int32 = 1024,
        nonblocking: Bool = true,
        takesOnlyIPv6: Bool = true
    ) throws(SystemError) -> Descriptor {
        let place = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        guard (0...65535).contains(port) else {
            throw SystemError(call: "listen on", errno: 22, path: place)
        }
        var failed: UnsafePointer<CChar>?
        let result = clinux_tcp_listen(host, Int32(port), backlog, nonblocking, takesOnlyIPv6, &failed)
        return Descriptor(
            try SystemError.check(result, failed.map { String(cString: $0) } ?? "listen on", place)
        )
    }

    /// The port a listening socket got.
    public static func port(of socket: Int32) throws(SystemError) -> Int {
        Int(try SystemError.check(clinux_socket_port(socket), "ask for the port of a socket"))
    }
}
