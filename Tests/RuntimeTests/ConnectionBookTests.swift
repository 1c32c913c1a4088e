import LinuxPlatform
import SupervisorCore
import Testing

@testable import SupervisorRuntime

/// From looks at the kernel's connections to figures.
@Suite struct ConnectionBookTests {
    private static let port: UInt16 = 9100
    private static let auth = TrafficTarget(target: .instance(InstanceID(service: "auth", index: 0)), ports: [port])

    /// A connection that carried `bytes`, with a request that was answered long ago unless it is said otherwise.
    private static func connection(
        _ identity: UInt64,
        _ state: ListedConnection.State = .established,
        bytes: UInt64? = 10,
        sent: Duration = .seconds(5),
        received: Duration = .seconds(5),
        queues: (UInt32, UInt32) = (0, 0),
        hasSent: Bool = true,
        port: UInt16 = port
    ) -> ListedConnection {
        var connection = ListedConnection(
            identity: identity,
            localPort: port,
            remote: RemoteEnd(v4: 0x0a00_0001, port: 40_000),
            state: state,
            bytesReceived: bytes
        )
        connection.sinceSent = sent
        connection.hasSent = hasSent
        connection.sinceReceived = received
        (connection.receiveQueue, connection.sendQueue) = queues
        return connection
    }

    private static func listing(_ connections: [ListedConnection], isComplete: Bool = true) -> ConnectionListing {
        var listing = ConnectionListing()
        listing.connections = connections
        listing.isComplete = isComplete
        return listing
    }

    /// Looks one after the other, each with its second; what each says of the one target: open, busy, arrived.
    private static func figures(_ looks: [(Double, [ListedConnection])]) -> [[Int]] {
        var book = ConnectionBook()
        return looks.map { seconds, connections in
            let now = MonotonicInstant(nanoseconds: Int64(seconds * 1e9) + 1_000_000_000_000)
            let figure = book.look(listing(connections), at: now, for: [auth])[0]
            return [figure.open, figure.busy, figure.arrived]
        }
    }

    /// A connection, and whether it is open and busy.
    static let states: [(String, ListedConnection, Int, Int)] = [
        ("answered long ago", connection(1), 1, 0),
        ("the answer came after the request", connection(1, sent: .seconds(5), received: .seconds(6)), 1, 0),
        ("not answered yet", connection(1, sent: .seconds(6), received: .seconds(5)), 1, 1),
        ("never answered, asked with the first packet", connection(1, hasSent: false), 1, 1),
        ("not read yet", connection(1, queues: (3, 0)), 1, 1),
        ("not taken by the client yet", connection(1, queues: (0, 3)), 1, 1),
        ("answered just now", connection(1, sent: .milliseconds(999), received: .seconds(2)), 1, 1),
        ("quiet for a second", connection(1, sent: .seconds(1), received: .seconds(1)), 1, 0),
        ("a bare check", connection(1, bytes: 0, sent: .zero, received: .zero), 1, 0),
        ("a bare check that ends", connection(1, .closeWait, bytes: 0, queues: (1, 0)), 1, 0),
        ("a client that wants no more", connection(1, .closeWait), 1, 0),
        ("a client that asks and wants no more", connection(1, .closeWait, sent: .seconds(6)), 1, 1),
        ("nothing is known of it", connection(1, bytes: nil), 1, 1),
        ("being ended", connection(1, .finWait, queues: (0, 3)), 0, 0),
        ("over", connection(1, .timeWait, bytes: nil), 0, 0),
        ("somebody else's", connection(1, port: 9101), 0, 0),
    ]

    @Test(arguments: states.indices)
    func openAndBusy(row: Int) {
        let (name, connection, open, busy) = Self.states[row]
        #expect(Self.figures([(0, [connection])]) == [[open, busy, 0]], "\(name)")
    }

    /// Looks at one connection, and what has arrived with each.
    static let arrivals: [(String, [(Double, [ListedConnection])], [Int])] = [
        ("the first look counts none", [(0, [connection(1)]), (1, [connection(1)])], [0, 0]),
        ("one that is new", [(0, []), (1, [connection(1)]), (2, [connection(1)])], [0, 1, 0]),
        (
            "bytes later", [(0, [connection(1, bytes: 0)]), (1, [connection(1, bytes: 0)]), (2, [connection(1)])],
            [0, 0, 1]
        ),
        ("came and went", [(0, []), (1, [connection(1, .timeWait, bytes: nil)])], [0, 1]),
        ("came and goes", [(0, []), (1, [connection(1, .lastAck, bytes: 7)])], [0, 1]),
        ("a bare check that goes", [(0, []), (1, [connection(1, .lastAck, bytes: 0)])], [0, 0]),
        ("counted once", [(0, []), (1, [connection(1)]), (2, [connection(1, .timeWait, bytes: nil)])], [0, 1, 0]),
        (
            "twice in one look",
            [(0, []), (1, [connection(1), connection(1, .timeWait, bytes: nil)])], [0, 1]
        ),
        (
            "two of the same client",
            [(0, []), (1, [connection(1, .timeWait, bytes: nil), connection(2)])], [0, 2]
        ),
        (
            "after a pause it begins anew", [(0, []), (2.1, [connection(1)]), (3, [connection(1), connection(2)])],
            [0, 0, 1]
        ),
        ("two seconds are no pause", [(0, []), (2, [connection(1)])], [0, 1]),
        ("each look counts from the last", [(0, []), (1.5, []), (3, [connection(1)])], [0, 0, 1]),
    ]

    @Test(arguments: arrivals.indices)
    func arrived(row: Int) {
        let (name, looks, expected) = Self.arrivals[row]
        #expect(Self.figures(looks).map { $0[2] } == expected, "\(name)")
    }

    @Test func onePerConnectionHoweverOftenItIsListed() {
        #expect(Self.figures([(0, [Self.connection(1), Self.connection(1)])]) == [[1, 0, 0]])
    }

    @Test func aPortThatIsAskedForLaterHasALookOfItsOwnFirst() {
        var book = ConnectionBook()
        let other = TrafficTarget(target: .service("web"), ports: [80, 81])
        let all = [Self.connection(1), Self.connection(2, port: 80), Self.connection(3, port: 81)]
        let start = MonotonicInstant(nanoseconds: 0)
        _ = book.look(Self.listing([]), at: start, for: [Self.auth])
        let second = book.look(Self.listing(all), at: start.advanced(by: .seconds(1)), for: [other, Self.auth])
        #expect(second.map(\.target) == [other.target, Self.auth.target])
        #expect(second.map(\.open) == [2, 1] && second.map(\.arrived) == [0, 1])
        let third = all + [Self.connection(4, port: 80)]
        let figures = book.look(Self.listing(third), at: start.advanced(by: .seconds(2)), for: [other, Self.auth])
        #expect(figures.map(\.open) == [3, 1] && figures.map(\.arrived) == [1, 0])
    }

    @Test func whatAListingLeavesOutIsNotCountedAgain() {
        var book = ConnectionBook()
        let start = MonotonicInstant(nanoseconds: 0)
        let half = { (range: Range<UInt64>) in Self.listing(range.map { Self.connection($0) }, isComplete: false) }
        var arrived: [Int] = []
        let ranges: [Range<UInt64>] = [0..<0, 0..<10, 5..<15, 0..<10]
        for (second, range) in ranges.enumerated() {
            let now = start.advanced(by: .seconds(second))
            arrived.append(book.look(half(range), at: now, for: [Self.auth])[0].arrived)
        }
        #expect(arrived == [0, 10, 5, 0])
    }

    @Test func targetsOfAService() {
        var service = ServiceSpec(name: "auth", command: ["/a"])
        #expect(service.trafficTargets(indices: 0..<2).isEmpty)
        service.portBase = 9100
        service.sockets = ["0.0.0.0:80", "unix:/run/x", "[::]:81"]
        let targets = service.trafficTargets(indices: [0, 3, 60_000])
        #expect(
            targets == [
                TrafficTarget(target: .instance(InstanceID(service: "auth", index: 0)), ports: [9100]),
                TrafficTarget(target: .instance(InstanceID(service: "auth", index: 3)), ports: [9103]),
                TrafficTarget(target: .service("auth"), ports: [80, 81]),
            ]
        )
        service.sockets = ["unix:/run/x"]
        #expect(service.trafficTargets(indices: [0]).count == 1)
    }
}
