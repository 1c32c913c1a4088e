import LinuxPlatform
import ShimProtocol
import SupervisorCore

/// The connection of the one daemon.
final class Connection {
    enum Received {
        case requests([ShimRequest], [SharedDescriptor])
        case nothing
        /// It ended, or what came cannot be understood.
        case over(malformed: Bool)
    }

    private struct Outgoing {
        var bytes: [UInt8]
        var descriptors: [SharedDescriptor]
    }

    /// Bytes that wait for a daemon that does not read. Beyond, it is let go: the next one is told everything anew.
    private static let mostQueuedBytes = 32 << 20

    let socket: Descriptor
    /// It has said hello.
    var isGreeted = false
    /// It can take nothing more; what it had said before is still read.
    private var isBroken = false
    private var builder = ShimPacketBuilder()
    private var attached: [SharedDescriptor] = []
    private var queue: [Outgoing] = []
    private var queuedBytes = 0
    private var buffer: [UInt8]

    init(_ socket: consuming Descriptor) {
        self.socket = socket
        buffer = [UInt8](repeating: 0, count: ShimLimits.packetBytes + 1024)
    }

    /// The next packet.
    func receive() -> Received {
        var count = 0
        let result: Packet.Received
        do throws(SystemError) {
            result = try receivePacket(&count)
        } catch {
            return .over(malformed: false)
        }
        switch result {
        case .nothing: return .nothing
        case .closed: return .over(malformed: false)
        case .packet(let packet):
            guard !packet.isTruncated, let requests = ShimCodec.requests(in: Array(buffer[..<count])) else {
                return .over(malformed: true)
            }
            // Away from the low numbers at once: the starts in this packet want them.
            return .requests(requests, packet.descriptors.map { $0.movedUp() })
        }
    }

    private func receivePacket(_ count: inout Int) throws(SystemError) -> Packet.Received {
        var outcome: Result<Packet.Received, SystemError> = .success(.nothing)
        var received = 0
        buffer.withUnsafeMutableBytes { bytes in
            do throws(SystemError) {
                outcome = .success(try Packet.receive(on: socket.rawValue, into: bytes, count: &received))
            } catch {
                outcome = .failure(error)
            }
        }
        count = received
        return try outcome.get()
    }

    func send(_ report: ShimReport) {
        if isBroken { return }
        let frame = report.frame
        if builder.append(frame) { return }
        endPacket()
        _ = builder.append(frame)
    }

    /// Sends a held descriptor with its name.
    func send(_ name: HeldName, _ descriptor: SharedDescriptor) {
        if isBroken { return }
        if attached.count >= ShimLimits.descriptorsPerPacket { endPacket() }
        send(.held(name))
        attached.append(descriptor)
    }

    private func endPacket() {
        if builder.isEmpty { return }
        let packet = Outgoing(bytes: builder.take(), descriptors: attached)
        attached = []
        queue.append(packet)
        queuedBytes += packet.bytes.count
    }

    enum Flushed {
        case done
        /// The daemon does not read: go on when the socket is writable.
        case waiting
        /// Too many descriptors are on their way: go on a little later.
        case busy
        /// It takes nothing more, and ends when all that it had said has been read.
        case failed
    }

    /// Sends what has gathered.
    func flush() -> Flushed {
        endPacket()
        var sent = 0
        defer { queue.removeFirst(min(sent, queue.count)) }
        for packet in queue {
            do throws(SystemError) {
                let numbers = packet.descriptors.map(\.rawValue)
                guard try Packet.send(packet.bytes, descriptors: numbers, on: socket.rawValue) else {
                    if queuedBytes <= Self.mostQueuedBytes { return .waiting }
                    breakOff()
                    return .failed
                }
            } catch {
                // ETOOMANYREFS
                if error.errno == 109 { return .busy }
                breakOff()
                return .failed
            }
            sent += 1
            queuedBytes -= packet.bytes.count
        }
        return isBroken ? .failed : .done
    }

    private func breakOff() {
        isBroken = true
        queue = []
        queuedBytes = 0
        UnixSocket.shutDown(socket.rawValue)
    }
}
