import SupervisorCore
import Testing

@testable import ShimProtocol

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
struct Seeded: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

enum Samples {
    static let id = InstanceID(service: "größe", index: 7)

    static var launch: LaunchRequest {
        var launch = LaunchRequest(
            instance: id,
            generation: .max,
            arguments: ["/bin/x", "", "a b\n"],
            output: "output/größe/7"
        )
        launch.environment = ["A=1", "LISTEN_PID=" + LaunchRequest.pidPlaceholder]
        launch.workingDirectory = "/var"
        launch.credentials = ServiceSpec.Credentials(uid: 1, gid: .max, supplementaryGroups: [4, 5])
        launch.umask = 0o077
        launch.limits = [LaunchRequest.ResourceLimit(resource: 7, soft: 1, hard: .max)]
        launch.oomScoreAdjust = -17
        launch.sockets = ["listen/a", "listen/b"]
        launch.cgroup = [LaunchRequest.CgroupSetting(file: "memory.max", value: "max")]
        launch.isDetached = true
        return launch
    }

    static var requests: [ShimRequest] {
        [
            .hello(version: 1, daemonPid: 99), .start(launch),
            .start(LaunchRequest(instance: id, generation: 0, arguments: [], output: "")),
            .signal(id, 3, .terminate, tree: true), .signal(id, 3, SignalNumber(rawValue: -5), tree: false),
            .endTree(id, 4), .adoptMain(id, 4, pid: 12), .release(id, 5), .remember(key: "k", value: [0, 255]),
            .remember(key: "", value: []), .hold("notify"), .letGo("notify"), .exitWhenEmpty,
        ]
    }

    static var reports: [ShimReport] {
        let usage = ResourceUsage(userMicroseconds: 1, systemMicroseconds: -2, maximumResidentKibibytes: .max)
        let at = MonotonicInstant(nanoseconds: 123)
        let exited = ShimRecord.State.exited(
            .signal(.kill, coreDumped: true),
            usage,
            at: at,
            outOfMemory: true
        )
        var reports: [ShimReport] = [
            .welcome(version: 2, shimPid: 5, containment: "cgroup /x", controllers: ["memory", "pids"]),
            .held("output/größe/7"), .memory(key: "node", value: [1, 2, 3]), .listed,
            .started(id, 1, pid: 77, at: at, warnings: ["cannot a", ""]),
            .exited(id, 1, .code(-1), usage, at: at, outOfMemory: false, treeGone: true),
            .treeGone(id, 1), .treeRemains(id, 1, count: 3, example: 9), .strays(count: 2, example: 8),
        ]
        for state in [ShimRecord.State.running, exited] {
            reports.append(
                .record(
                    ShimRecord(instance: id, generation: 1, pid: 2, startedAt: at, state: state, treeGone: false)
                )
            )
        }
        for stage in SpawnStage.allCases {
            reports.append(.startFailed(id, 2, SpawnFailure(stage: stage, errno: 2, path: "/x")))
        }
        return reports
    }
}

@Suite("Messages between daemon and shim")
struct CodecTests {
    @Test("every request survives the way there")
    func requestsSurvive() {
        for request in Samples.requests { #expect(ShimCodec.requests(in: request.frame) == [request]) }
        #expect(ShimCodec.requests(in: Samples.requests.flatMap(\.frame)) == Samples.requests)
    }

    @Test("every report survives the way back")
    func reportsSurvive() {
        for report in Samples.reports { #expect(ShimCodec.reports(in: report.frame) == [report]) }
        #expect(ShimCodec.reports(in: Samples.reports.flatMap(\.frame)) == Samples.reports)
    }

    @Test("fields that a later version appends are passed over")
    func laterFields() {
        for request in Samples.requests {
            var writer = WireWriter()
            writer.framed { later in
                for byte in request.frame.dropFirst(4) { later.write(byte) }
                later.write("of a later version")
            }
            #expect(ShimCodec.requests(in: writer.bytes) == [request])
        }
    }

    @Test("a start of a daemon that does not know isDetached is waited for")
    func beforeIsDetached() {
        var launch = Samples.launch
        var writer = WireWriter()
        writer.framed { earlier in
            for byte in ShimRequest.start(launch).frame.dropFirst(4).dropLast() { earlier.write(byte) }
        }
        launch.isDetached = false
        #expect(ShimCodec.requests(in: writer.bytes) == [.start(launch)])
    }

    @Test("a packet cut anywhere is malformed, never half a message")
    func cutShort() {
        for request in Samples.requests {
            let frame = request.frame
            for length in 1..<frame.count { #expect(ShimCodec.requests(in: Array(frame[..<length])) == nil) }
        }
        for report in Samples.reports {
            let frame = report.frame
            for length in 1..<frame.count { #expect(ShimCodec.reports(in: Array(frame[..<length])) == nil) }
        }
    }

    @Test("no tag that does not exist, no empty frame")
    func strangeTags() {
        #expect(ShimCodec.requests(in: [1, 0, 0, 0, 200]) == nil)
        #expect(ShimCodec.requests(in: [0, 0, 0, 0]) == nil)
        #expect(ShimCodec.reports(in: [1, 0, 0, 0, 0]) == nil)
        #expect(ShimCodec.requests(in: [255, 255, 255, 255, 1]) == nil)
        #expect(ShimCodec.requests(in: []) == [])
    }

    @Test("changed and random bytes never trap", arguments: [1, 2, 3, 4] as [UInt64])
    func fuzz(seed: UInt64) {
        var generator = Seeded(state: seed)
        let frames = Samples.requests.map(\.frame) + Samples.reports.map(\.frame)
        var bytes = 0
        while bytes < 1_000_000 {
            var packet: [UInt8] = []
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                packet += frames.randomElement(using: &generator) ?? []
            }
            for _ in 0..<Int.random(in: 0...6, using: &generator) where !packet.isEmpty {
                let place = Int.random(in: 0..<packet.count, using: &generator)
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: packet[place] = UInt8.random(in: 0...255, using: &generator)
                case 1: packet[place] = [0, 1, 127, 128, 255].randomElement(using: &generator) ?? 0
                case 2: packet.remove(at: place)
                default: packet.insert(UInt8.random(in: 0...255, using: &generator), at: place)
                }
            }
            bytes += packet.count
            // What is understood is understood the same way again.
            if let requests = ShimCodec.requests(in: packet) {
                #expect(ShimCodec.requests(in: requests.flatMap(\.frame)) == requests)
            }
            if let reports = ShimCodec.reports(in: packet) {
                #expect(ShimCodec.reports(in: reports.flatMap(\.frame)) == reports)
            }
        }
    }

    @Test("packets stay below what the socket takes")
    func packets() {
        var builder = ShimPacketBuilder()
        let frame = ShimRequest.remember(key: "k", value: [UInt8](repeating: 7, count: 60_000)).frame
        let fits = (0..<3).map { _ in builder.append(frame) }
        #expect(fits == [true, true, false])
        let packet = builder.take()
        #expect(packet.count == 2 * frame.count)
        #expect(builder.isEmpty)
        let takesTooLong = builder.append([UInt8](repeating: 0, count: ShimLimits.packetBytes + 1))
        #expect(takesTooLong)
    }
}
