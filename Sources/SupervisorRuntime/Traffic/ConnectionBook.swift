import FleetConfig
import LinuxPlatform
import SupervisorCore

/// What is counted together, and the local ports that it is counted by.
struct TrafficTarget: Sendable, Hashable {
    var target: Target
    var ports: Set<UInt16>
}

extension ServiceSpec {
    /// The service's instances, each by its port, and the service by its passed TCP sockets. Unix sockets are left out:
    /// the kernel lists them elsewhere and says nothing about what they carry.
    ///
    /// - Parameter indices: of the instances that there are.
    func trafficTargets(indices: some Sequence<Int>) -> [TrafficTarget] {
        var targets: [TrafficTarget] = []
        if let portBase {
            for index in indices {
                guard let port = UInt16(exactly: portBase + index), port > 0 else { continue }
                let id = InstanceID(service: name, index: index)
                targets.append(TrafficTarget(target: .instance(id), ports: [port]))
            }
        }
        let passed = sockets.compactMap { PassedSocket($0)?.port }.compactMap { UInt16(exactly: $0) }
        if !passed.isEmpty { targets.append(TrafficTarget(target: .service(name), ports: Set(passed))) }
        return targets
    }
}

/// Turns looks at the kernel's connections, one after the other, into figures: what is open and busy, and what came
/// since the last look.
struct ConnectionBook {
    /// A look that comes later than this after the one before says nothing about what came meanwhile: those that came
    /// and went are not known. It is the first of a new series.
    static let longestPause: Duration = .seconds(2)
    /// Something that moved more recently than this is busy.
    static let quiet: Duration = .seconds(1)
    /// Most identities that are remembered, where a listing was cut off and the next one may have the rest.
    static let mostRemembered = 2 * ConnectionTable.mostConnections

    /// Connections that had carried something at an earlier look.
    private var counted: Set<UInt64> = []
    /// Ports that the last look was about.
    private var watched: Set<UInt16> = []
    private var lastLook: MonotonicInstant?

    init() {}

    /// Takes one listing of the connections on the targets' ports.
    ///
    /// - Returns: One figure for each target, in their order. Where the listing is not complete there are at least as
    ///   many.
    mutating func look(
        _ listing: ConnectionListing,
        at now: MonotonicInstant,
        for targets: [TrafficTarget]
    ) -> [TrafficFigure] {
        if let lastLook, now.since(lastLook) > Self.longestPause { watched = [] }
        var figures = targets.map { TrafficFigure(target: $0.target, open: 0, busy: 0, arrived: 0) }
        var places: [UInt16: [Int]] = [:]
        for (place, target) in targets.enumerated() {
            for port in target.ports { places[port, default: []].append(place) }
        }
        var seenOpen: Set<UInt64> = []
        var carrying: Set<UInt64> = []
        for connection in listing.connections {
            guard let places = places[connection.localPort] else { continue }
            // The kernel's table changes while it is read: one connection may come twice.
            let isOpen = connection.state.isOpen && seenOpen.insert(connection.identity).inserted
            let carries = connection.hasCarried && carrying.insert(connection.identity).inserted
            let isNew = carries && watched.contains(connection.localPort) && !counted.contains(connection.identity)
            for place in places {
                if isOpen { figures[place].open += 1 }
                if isOpen, connection.isBusy { figures[place].busy += 1 }
                if isNew { figures[place].arrived += 1 }
            }
        }
        remember(carrying, isComplete: listing.isComplete)
        watched = Set(places.keys)
        lastLook = now
        return figures
    }

    /// What a complete listing does not have is over. What one that was cut off does not have may only not have been
    /// listed, and shall not count again when it is.
    private mutating func remember(_ carrying: Set<UInt64>, isComplete: Bool) {
        if isComplete || counted.count + carrying.count > Self.mostRemembered {
            counted = carrying
        } else {
            counted.formUnion(carrying)
        }
    }
}

extension ListedConnection {
    /// Something was sent to us over it. Where the kernel does not say how much, one that we ended is taken to have had
    /// its work: a bare check of a load balancer is ended by the load balancer.
    fileprivate var hasCarried: Bool { bytesReceived.map { $0 > 0 } ?? !state.isOpen }

    /// Not idle. Idle is one that never carried a byte (a bare check, or a connection kept for later), and one on which
    /// everything was read, everything that was written has arrived, the last word was ours, and all has been quiet.
    fileprivate var isBusy: Bool {
        // Not to know is not to be idle.
        guard let bytesReceived else { return true }
        if bytesReceived == 0 { return false }
        if receiveQueue > 0 || sendQueue > 0 { return true }
        // A first request that came within a tick of the connection's beginning is as old as the answer that was not
        // given: then both count from the beginning.
        if !hasSent || sinceSent > sinceReceived { return true }
        return sinceSent < ConnectionBook.quiet || sinceReceived < ConnectionBook.quiet
    }
}
