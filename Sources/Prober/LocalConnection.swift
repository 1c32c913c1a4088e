import Glibc
import NIOCore

/// The short way to a worker beside us: most probes ask one, its kernel accepts within the call, and it answers within
/// a moment. Plain system calls, a quarter of those that a channel takes; whatever does not go as usual is left to the
/// channel, which is given the socket as it is.
struct LocalConnection {
    let descriptor: CInt
    /// The question is on its way.
    private(set) var isAsked = false

    enum Answer {
        case success
        /// Not within the moment, or not a plain one: it is still to be read.
        case open
    }

    /// Longest wait for an answer, milliseconds. Nobody else is asked meanwhile.
    static let patience: CInt = 1
    /// Longest head that is looked at here, bytes.
    private static let headBytes = 2048

    /// A connected socket that does not block; nil where that takes more than a moment or does not succeed.
    init?(to address: SocketAddress) {
        guard case .v4(let local) = address, Self.isLoopback(local.address) else { return nil }
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_NONBLOCK.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        descriptor = socket(AF_INET, type, 0)
        guard descriptor >= 0 else { return nil }
        let result = local.address.withSocketAddress { connect(descriptor, $0, $1) }
        if result == 0 || (errno == EINPROGRESS && isConnected), !isOwnPort(local.address.sin_port) { return }
        close()
        return nil
    }

    private static func isLoopback(_ address: sockaddr_in) -> Bool {
        UInt32(bigEndian: address.sin_addr.s_addr) >> 24 == 127
    }

    private var isConnected: Bool {
        var entry = pollfd(fd: descriptor, events: CShort(POLLOUT), revents: 0)
        guard poll(&entry, 1, 0) == 1 else { return false }
        var problem: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &problem, &size) == 0 && problem == 0
    }

    /// A port that nobody listens on may be given to the very connection that is made to it.
    private func isOwnPort(_ port: in_port_t) -> Bool {
        var own = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &own) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
        }
        return result != 0 || own.sin_port == port
    }

    /// Asks, and waits a moment for the head of an answer. False when the question could not be sent as a whole.
    mutating func ask(_ request: ByteBuffer, waits: Bool) -> Answer? {
        let sent = request.withUnsafeReadableBytes {
            send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
        }
        guard sent == request.readableBytes else { return nil }
        isAsked = true
        guard waits else { return .open }
        var entry = pollfd(fd: descriptor, events: CShort(POLLIN), revents: 0)
        guard poll(&entry, 1, Self.patience) == 1 else { return .open }
        // Only looked at: what is not a plain success the channel reads for itself.
        let flags = CInt(MSG_PEEK) | CInt(MSG_DONTWAIT)
        return withUnsafeTemporaryAllocation(byteCount: Self.headBytes, alignment: 1) { buffer in
            let count = recv(descriptor, buffer.baseAddress, buffer.count, flags)
            guard count > 0 else { return .open }
            return PlainSuccess.isOne(UnsafeRawBufferPointer(rebasing: buffer[..<count])) ? .success : .open
        }
    }

    func close() {
        _ = Glibc.close(descriptor)
    }
}

extension sockaddr_in {
    fileprivate func withSocketAddress<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        withUnsafePointer(to: self) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}

/// Whether bytes begin with the whole head of an HTTP answer that is a success beyond doubt: 200 to 399, and nothing in
/// it that a parser may take in two ways. Stricter than RFC 9112 asks; what it does not know is not refused, but left
/// to the parser.
enum PlainSuccess {
    static func isOne(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var rest = bytes[...]
        guard let line = takeLine(&rest), isStatus(line) else { return false }
        var lengths = 0
        var codings = 0
        while let line = takeLine(&rest) {
            if line.isEmpty { return lengths + codings <= 1 }
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex,
                line[..<colon].allSatisfy(isToken)
            else { return false }
            let value = line[(colon + 1)...].drop { $0 == 0x20 }
            if isName(line[..<colon], "content-length") {
                lengths += 1
                if value.isEmpty || value.count > 9 || !value.allSatisfy({ (0x30...0x39).contains($0) }) {
                    return false
                }
            } else if isName(line[..<colon], "transfer-encoding") {
                codings += 1
                if !value.elementsEqual("chunked".utf8) { return false }
            } else if isName(line[..<colon], "upgrade") || isName(line[..<colon], "connection") {
                let isClose = value.elementsEqual("close".utf8) || value.elementsEqual("keep-alive".utf8)
                if !isClose { return false }
            }
        }
        return false
    }

    /// Up to CR LF, with nothing in it but printable ASCII; nil when there is no such line.
    private static func takeLine(_ rest: inout Slice<UnsafeRawBufferPointer>) -> Slice<UnsafeRawBufferPointer>? {
        guard let end = rest.firstIndex(where: { $0 < 0x20 || $0 > 0x7e }), rest[end] == 0x0d,
            end + 1 < rest.endIndex, rest[end + 1] == 0x0a
        else { return nil }
        let line = rest[..<end]
        rest = rest[(end + 2)...]
        return line
    }

    /// `HTTP/1.1 200 …`
    private static func isStatus(_ line: Slice<UnsafeRawBufferPointer>) -> Bool {
        guard line.count >= 13, line.starts(with: "HTTP/1.".utf8) else { return false }
        let bytes = line.dropFirst(7).prefix(6).map { $0 }
        guard bytes[0] == UInt8(ascii: "1") || bytes[0] == UInt8(ascii: "0"), bytes[1] == 0x20, bytes[5] == 0x20 else {
            return false
        }
        return bytes[2] == UInt8(ascii: "2") || bytes[2] == UInt8(ascii: "3")
            ? (0x30...0x39).contains(bytes[3]) && (0x30...0x39).contains(bytes[4]) : false
    }

    /// RFC 9110 §5.6.2.
    private static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    private static func isName(_ bytes: Slice<UnsafeRawBufferPointer>, _ name: StaticString) -> Bool {
        guard bytes.count == name.utf8CodeUnitCount else { return false }
        return zip(bytes, UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
            .allSatisfy { ($0 | 0x20) == $1 }
    }
}
