import Glibc
import LinuxPlatform
import NIOCore
import SupervisorCore

/// Looks names of hosts up with the C library's resolver: one look-up of a name at a time, each on a thread that lives
/// as long as it does, because nothing ends one that hangs.
struct Lookups {
    enum Answer: Sendable {
        /// Without a port, not empty.
        case addresses([SocketAddress])
        case failed(ProbeObstacle, String)
    }

    struct Finding: Sendable {
        var name: String
        var answer: Answer
    }

    private let limits: ProberLimits
    /// The runs that wait for a name.
    private var waiting: [String: [UInt64]] = [:]

    init(limits: ProberLimits) {
        self.limits = limits
    }

    /// Returns why not, or nil when the answer will come.
    mutating func begin(_ name: String, for run: UInt64, _ inbox: Inbox) -> ProbeOutcome? {
        if waiting[name] != nil {
            waiting[name]?.append(run)
            return nil
        }
        guard waiting.count < limits.lookups else {
            return .unknown(.name, "\(name) was not looked up: \(waiting.count) other look-ups are stuck")
        }
        let limit = limits.addresses
        let thread = try? OwnThread.start("eider-resolve") {
            inbox.post(Finding(name: name, answer: Self.ask(name, limit: limit)))
        }
        guard let thread else { return .unknown(.resources, "no thread could be started to look \(name) up") }
        thread.letGo()
        waiting[name] = [run]
        return nil
    }

    /// The runs that asked.
    mutating func end(_ name: String) -> [UInt64] {
        waiting.removeValue(forKey: name) ?? []
    }

    mutating func forget(_ run: UInt64, _ name: String) {
        waiting[name]?.removeAll { $0 == run }
    }

    /// Blocks for as long as the resolver likes.
    private static func ask(_ name: String, limit: Int) -> Answer {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(name, nil, &hints, &list)
        let reason = errno
        guard code == 0 else { return failure(name, code, reason) }
        defer { freeaddrinfo(list) }
        var addresses: [SocketAddress] = []
        var next = list
        while let entry = next, addresses.count < limit {
            if let address = address(entry.pointee, name), !addresses.contains(address) { addresses.append(address) }
            next = entry.pointee.ai_next
        }
        return addresses.isEmpty ? .failed(.name, "\(name) has no address") : .addresses(addresses)
    }

    private static func address(_ entry: addrinfo, _ name: String) -> SocketAddress? {
        guard let raw = UnsafeRawPointer(entry.ai_addr) else { return nil }
        switch entry.ai_family {
        case AF_INET: return SocketAddress(raw.loadUnaligned(as: sockaddr_in.self), host: name)
        case AF_INET6: return SocketAddress(raw.loadUnaligned(as: sockaddr_in6.self), host: name)
        default: return nil
        }
    }

    private static func failure(_ name: String, _ code: CInt, _ reason: CInt) -> Answer {
        switch code {
        case EAI_MEMORY: .failed(.resources, "\(name) was not looked up: out of memory")
        case EAI_SYSTEM where [EMFILE, ENFILE, ENOMEM, ENOBUFS, EAGAIN].contains(reason):
            .failed(.resources, "\(name) was not looked up: \(Clauses.name(of: reason))")
        case EAI_NONAME: .failed(.name, "there is no host \(name)")
        case EAI_AGAIN: .failed(.name, "\(name) could not be looked up: no name server answered")
        default: .failed(.name, "\(name) could not be looked up: \(String(cString: gai_strerror(code)))")
        }
    }
}
