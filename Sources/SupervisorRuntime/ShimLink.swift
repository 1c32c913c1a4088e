import LinuxPlatform
import ShimProtocol
import SupervisorCore

/// Everything that a shim holds, as it lists it when a daemon connects.
struct ShimListing {
    var shimPid: Int32 = 0
    /// `cgroup PATH` or `session`.
    var containment = ""
    var controllers: [String] = []
    var records: [ShimRecord] = []
    var memory: [String: [UInt8]] = [:]
    var held: [HeldName: SharedDescriptor] = [:]
    /// Processes of a former shim that this one ended before it began.
    var remainsEnded = 0
}

/// The connection to the shim. Requests gather until `flush`, so that what belongs together travels together.
final class ShimLink {
    enum Failure: Error, CustomStringConvertible {
        case system(SystemError)
        case version(UInt32)
        case closed
        case silent

        var description: String {
            switch self {
            case .system(let error): error.description
            case .version(let version):
                "cannot talk to the shim: it speaks version \(version) of the protocol and this program "
                    + "\(shimProtocolVersion); stop the fleet with the program that started it, then start this one"
            case .closed: "cannot talk to the shim: it closed the connection"
            case .silent: "cannot talk to the shim: it does not answer"
            }
        }
    }

    private let socket: Descriptor
    private let reactor: Reactor
    private var builder = ShimPacketBuilder()
    private var attached: [Int32] = []
    /// Kept open until they were sent.
    private var attachedOwners: [SharedDescriptor] = []
    private var queue: [Outgoing] = []
    private var queuedBytes = 0
    /// Bytes that wait for a shim that does not read. Beyond, the connection counts as lost.
    private static let mostQueuedBytes = 32 << 20
    private var watchesWritable = false
    private var closed = false
    /// Used again for every packet: most are a few dozen bytes, and room for the largest is not taken each time.
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: ShimLimits.packetBytes, alignment: 16)
    /// What the shim says, from `open` on.
    var onReport: (ShimReport) -> Void = { _ in }
    var onLost: () -> Void = {}

    private struct Outgoing {
        var bytes: [UInt8]
        var descriptors: [Int32]
        var owners: [SharedDescriptor]
    }

    private init(socket: consuming Descriptor, reactor: Reactor) {
        self.socket = socket
        self.reactor = reactor
    }

    deinit {
        reactor.unwatch(socket.rawValue)
        buffer.deallocate()
    }

    // MARK: Connecting

    /// Connects, says hello, and takes what the shim holds. Waits up to ten seconds for it.
    static func connect(path: String, reactor: Reactor) throws(Failure) -> (ShimLink, ShimListing) {
        let link = ShimLink(socket: try open(path), reactor: reactor)
        link.send(.hello(version: shimProtocolVersion, daemonPid: ProcessTable.ownPid))
        link.flush()
        return (link, try link.readListing())
    }

    private static func open(_ path: String) throws(Failure) -> Descriptor {
        do throws(SystemError) {
            let socket = try UnixSocket.connect(.sequentialPacket, path: path)
            try UnixSocket.setBuffers(socket.rawValue, send: 1 << 20, receive: 1 << 20)
            try SocketWait.limitReceive(socket.rawValue, .seconds(10))
            return socket
        } catch {
            throw .system(error)
        }
    }

    private func readListing() throws(Failure) -> ShimListing {
        var listing = ShimListing()
        while true {
            let received: Packet.Received
            var count = 0
            do throws(SystemError) {
                received = try Packet.receive(on: socket.rawValue, into: buffer, count: &count, nonblocking: false)
            } catch {
                throw .system(error)
            }
            guard case .packet(let packet) = received else {
                if case .nothing = received { throw .silent }
                throw .closed
            }
            guard let reports = ShimCodec.reports(in: Array(buffer[..<count])) else { throw .closed }
            var descriptors = packet.descriptors[...]
            for report in reports {
                if case .welcome(let version, _, _, _) = report, version != shimProtocolVersion {
                    throw .version(version)
                }
                if listing.take(report, &descriptors) { return listing }
            }
        }
    }

    /// Begins to hand on what the shim says.
    func open() throws(SystemError) {
        try FileDescriptors.setNonblocking(socket.rawValue)
        try reactor.watch(socket.rawValue) { [unowned self] event in
            if event.isWritable { drainQueue() }
            receivePending()
        }
    }

    // MARK: Receiving

    /// Hands on everything that has arrived.
    func receivePending() {
        while !closed {
            do throws(SystemError) {
                var count = 0
                switch try Packet.receive(on: socket.rawValue, into: buffer, count: &count) {
                case .nothing: return
                case .closed: return lose()
                case .packet:
                    guard let reports = ShimCodec.reports(in: Array(buffer[..<count])) else { return lose() }
                    for report in reports { onReport(report) }
                }
            } catch {
                return lose()
            }
        }
    }

    private func lose() {
        if closed { return }
        closed = true
        reactor.unwatch(socket.rawValue)
        onLost()
    }

    /// Waits for something to be said, and hands it on.
    func waitForReport(_ patience: Duration) {
        _ = SocketWait.readable(socket.rawValue, patience)
        receivePending()
    }

    // MARK: Sending

    /// Queues a request. False when it is longer than a packet may be: then it is not sent.
    @discardableResult
    func send(_ request: ShimRequest) -> Bool {
        if closed { return true }
        let frame = request.frame
        if frame.count > ShimLimits.packetBytes { return false }
        if builder.append(frame) { return true }
        endPacket()
        return builder.append(frame)
    }

    /// Sends a request to hold a descriptor, which stays open here until it has gone out.
    func send(hold name: HeldName, _ descriptor: SharedDescriptor) {
        if attached.count >= ShimLimits.descriptorsPerPacket { endPacket() }
        send(.hold(name))
        attached.append(descriptor.rawValue)
        attachedOwners.append(descriptor)
    }

    private func endPacket() {
        if builder.isEmpty { return }
        let packet = Outgoing(bytes: builder.take(), descriptors: attached, owners: attachedOwners)
        queuedBytes += packet.bytes.count
        queue.append(packet)
        attached = []
        attachedOwners = []
    }

    /// Sends what has gathered; what the socket does not take now goes out as soon as it does.
    func flush() {
        endPacket()
        if !queue.isEmpty { drainQueue() }
        if queuedBytes > Self.mostQueuedBytes { lose() }
    }

    private func drainQueue() {
        while !closed, let packet = queue.first {
            do throws(SystemError) {
                guard try Packet.send(packet.bytes, descriptors: packet.descriptors, on: socket.rawValue) else {
                    return watchWritable(true)
                }
                queuedBytes -= packet.bytes.count
                queue.removeFirst()
            } catch {
                return lose()
            }
        }
        watchWritable(false)
    }

    private func watchWritable(_ wanted: Bool) {
        if wanted == watchesWritable { return }
        watchesWritable = wanted
        try? reactor.change(socket.rawValue, writable: wanted)
    }
}

extension ShimListing {
    /// How senders are told apart: see `SenderIdentity`.
    var containmentOfTrees: SenderIdentity.Containment {
        containment.hasPrefix("cgroup ") ? .cgroup(root: String(containment.dropFirst("cgroup ".count))) : .session
    }

    /// Takes one report of the listing; true when it was the last.
    fileprivate mutating func take(_ report: ShimReport, _ descriptors: inout ArraySlice<SharedDescriptor>) -> Bool {
        switch report {
        case .welcome(_, let pid, let containment, let controllers):
            shimPid = pid
            self.containment = containment
            self.controllers = controllers
        case .held(let name): held[name] = descriptors.popFirst()
        case .record(let record): records.append(record)
        case .memory(let key, let value): memory[key] = value
        case .strays(let count, _): remainsEnded = count
        case .listed: return true
        // What happens while it lists is in the records already.
        case .started, .startFailed, .exited, .treeGone, .treeRemains, .pong: break
        }
        return false
    }
}
