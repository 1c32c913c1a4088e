import Glibc
import LinuxPlatform
import Testing

/// The kernel's table of connections, on connections of this process's own.
@Suite("Listed connections")
struct ConnectionTests {
    /// A listener and what is connected to it.
    private final class Bench {
        let listener: SharedDescriptor
        let port: UInt16

        init(_ host: String = "127.0.0.1", takesOnlyIPv6: Bool = true) throws {
            listener = try TCPListener.listen(
                host: host,
                port: 0,
                nonblocking: false,
                takesOnlyIPv6: takesOnlyIPv6
            ).shared()
            port = UInt16(try TCPListener.port(of: listener.rawValue))
        }

        /// Connects, and answers the client's end and ours.
        func connect(v6: Bool = false) throws -> (client: SharedDescriptor, server: SharedDescriptor) {
            let client = SharedDescriptor(socket(v6 ? AF_INET6 : AF_INET, Int32(SOCK_STREAM.rawValue), 0))
            if Self.connect(client.rawValue, port, v6: v6) != 0 { throw SystemError(call: "connect", errno: errno) }
            guard let server = try UnixSocket.accept(listener.rawValue, nonblocking: false) else {
                throw SystemError(call: "accept", errno: EAGAIN)
            }
            return (client, server.shared())
        }

        private static func connect(_ descriptor: Int32, _ port: UInt16, v6: Bool) -> Int32 {
            if v6 {
                var address = sockaddr_in6()
                address.sin6_family = sa_family_t(AF_INET6)
                address.sin6_port = port.bigEndian
                address.sin6_addr = in6addr_loopback
                return call(&address) { Glibc.connect(descriptor, $0, $1) }
            }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            return call(&address) { Glibc.connect(descriptor, $0, $1) }
        }

        private static func call<Address>(
            _ address: inout Address,
            _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
        ) -> Int32 {
            withUnsafeBytes(of: &address) { bytes in
                guard let base = bytes.baseAddress else { return -1 }
                return body(base.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
            }
        }

        func list() throws -> [ListedConnection] {
            let listing = try #require(try ConnectionTable.list(ports: [port]), "this kernel does not tell")
            #expect(listing.isComplete)
            return listing.connections
        }

        /// The one connection, once it is as it should be.
        func only(_ isMet: (ListedConnection) -> Bool) throws -> ListedConnection {
            var last: [ListedConnection] = []
            let came = try eventually {
                last = try list()
                return last.count == 1 && isMet(last[0])
            }
            try #require(came, "\(last)")
            return last[0]
        }
    }

    private static func send(_ descriptor: SharedDescriptor, _ text: String) throws {
        var text = text
        let count = try text.withUTF8 { try FileDescriptors.write(descriptor.rawValue, UnsafeRawBufferPointer($0)) }
        #expect(count == text.utf8.count)
    }

    private static func receive(_ descriptor: SharedDescriptor) throws -> Int {
        var buffer = [UInt8](repeating: 0, count: 4096)
        return try buffer.withUnsafeMutableBytes { try FileDescriptors.read(descriptor.rawValue, into: $0) } ?? -1
    }

    @Test("one that carries nothing, a request, its reading and its answer")
    func request() throws {
        let bench = try Bench()
        #expect(try bench.list().isEmpty)
        let (client, server) = try bench.connect()
        let bare = try bench.only { $0.state == .established }
        #expect(bare.bytesReceived == 0 && bare.receiveQueue == 0 && bare.sendQueue == 0)
        #expect(bare.localPort == bench.port && bare.remote.isIPv4)
        #expect(try bare.remote == RemoteEnd(v4: 0x7f00_0001, port: UInt16(TCPListener.port(of: client.rawValue))))
        #expect(bare.remote.description == "127.0.0.1:\(bare.remote.port)")
        #expect(bare.sinceSent < .seconds(10) && bare.sinceReceived < .seconds(10))
        // So that what was sent last can be told by the kernel's tick.
        OwnProcess.pause(milliseconds: 30)
        try Self.send(client, "question")
        let asked = try bench.only { $0.bytesReceived == 8 }
        #expect(asked.receiveQueue == 8 && asked.sinceReceived < asked.sinceSent)
        #expect(asked.identity == bare.identity)
        #expect(try Self.receive(server) == 8)
        let read = try bench.only { $0.receiveQueue == 0 }
        #expect(read.sinceReceived < read.sinceSent && !read.hasSent)
        OwnProcess.pause(milliseconds: 30)
        try Self.send(server, "answer")
        let answered = try bench.only { $0.sinceSent < $0.sinceReceived }
        #expect(answered.bytesReceived == 8 && answered.receiveQueue == 0 && answered.hasSent)
        _ = client
    }

    @Test("what is not read by the other side stays in the send queue")
    func sendQueue() throws {
        let bench = try Bench()
        let (client, server) = try bench.connect()
        try FileDescriptors.setNonblocking(server.rawValue)
        let chunk = [UInt8](repeating: 0, count: 64 << 10)
        while try chunk.withUnsafeBytes({ try FileDescriptors.write(server.rawValue, $0) }) != nil {}
        #expect(try bench.only { $0.sendQueue > 0 }.bytesReceived == 0)
        _ = client
    }

    @Test("a bare check that is ended has carried nothing: the end is not a byte")
    func bareCheck() throws {
        let bench = try Bench()
        var (client, server): (SharedDescriptor?, SharedDescriptor) = try bench.connect()
        _ = client
        client = nil
        let closing = try bench.only { $0.state == .closeWait }
        #expect(closing.bytesReceived == 0)
        _ = server
    }

    @Test("one that we end stays in TIME_WAIT under its identity, without figures")
    func timeWait() throws {
        let bench = try Bench()
        var ends: (client: SharedDescriptor, server: SharedDescriptor)? = try bench.connect()
        if let client = ends?.client { try Self.send(client, "x") }
        let open = try bench.only { $0.bytesReceived == 1 }
        if let server = ends?.server {
            #expect(try Self.receive(server) == 1)
            UnixSocket.shutDown(server.rawValue)
        }
        // Where it ends both directions at once it waits for the client's end.
        #expect(try bench.only { $0.state == .finWait }.identity == open.identity)
        ends = nil
        let over = try bench.only { $0.state == .timeWait }
        #expect(over.identity == open.identity && over.bytesReceived == nil && !over.state.isOpen)
        #expect(over.remote == open.remote)
    }

    @Test("IPv6, and IPv4 that a socket for IPv6 takes", arguments: [true, false])
    func families(v6: Bool) throws {
        let bench = try Bench("::", takesOnlyIPv6: false)
        let (client, server) = try bench.connect(v6: v6)
        let found = try bench.only { $0.state == .established }
        let port = UInt16(try TCPListener.port(of: client.rawValue))
        let remote = v6 ? RemoteEnd(high: 0, low: 1, port: port) : RemoteEnd(v4: 0x7f00_0001, port: port)
        #expect(found.remote == remote)
        #expect(found.remote.description == (v6 ? "[::1]:\(port)" : "127.0.0.1:\(port)"))
        #expect(found.bytesReceived == 0)
        _ = (client, server)
    }

    @Test("a socket for IPv6 alone leaves the port of IPv4 free")
    func onlyIPv6() throws {
        let bench = try Bench("::")
        let other = try TCPListener.listen(host: "0.0.0.0", port: Int(bench.port))
        #expect(other.rawValue > 2)
        let both = try Bench("::", takesOnlyIPv6: false)
        #expect(throws: SystemError.self) { _ = try TCPListener.listen(host: "0.0.0.0", port: Int(both.port)) }
    }

    @Test("only the wanted ports, few or many, side by side or far apart")
    func ports() throws {
        let benches = try (0..<3).map { _ in try Bench() }
        let ends = try benches.map { try $0.connect() }
        let wanted = Set(benches.prefix(2).map(\.port))
        for more in [0, 5, 31, 32, 500] {
            // Every other port, so that none is another's neighbour.
            let others = (0..<more).map { UInt16(2 * $0 + 1) }.filter { port in !benches.contains { $0.port == port } }
            let listing = try #require(try ConnectionTable.list(ports: wanted.union(others)))
            let found = listing.connections.filter { wanted.contains($0.localPort) }
            #expect(listing.isComplete && Set(found.map(\.localPort)) == wanted && found.count == 2, "\(more) more")
            #expect(!listing.connections.contains { $0.localPort == benches[2].port })
        }
        #expect(try ConnectionTable.list(ports: [])?.connections.isEmpty == true)
        #expect(try ConnectionTable.list(ports: [0, 65_535])?.isComplete == true)
        _ = ends
    }

    @Test("many at once, and no more than the limit")
    func limit() throws {
        let bench = try Bench()
        let ends = try (0..<300).map { _ in try bench.connect() }
        #expect(Set(try bench.list().map(\.identity)).count == 300)
        let listing = try #require(try ConnectionTable.list(ports: [bench.port], limit: 100))
        #expect(listing.connections.count == 100 && !listing.isComplete)
        let exact = try #require(try ConnectionTable.list(ports: [bench.port], limit: 300))
        #expect(exact.connections.count == 300 && exact.isComplete)
        _ = ends
    }
}
