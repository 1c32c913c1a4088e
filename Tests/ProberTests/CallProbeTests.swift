import NIOCore
import NIOHPACK
import NIOHTTP2
import SupervisorCore
import Testing

@testable import Prober

/// Frames of a gRPC server.
enum Frames {
    static let stream = HTTP2StreamID(1)

    static func headers(_ fields: [(String, String)], end: Bool = false) -> HTTP2Frame {
        HTTP2Frame(streamID: stream, payload: .headers(.init(headers: HPACKHeaders(fields), endStream: end)))
    }

    static let head = headers([(":status", "200"), ("content-type", "application/grpc")])

    static func data(_ bytes: [UInt8], end: Bool = false) -> HTTP2Frame {
        HTTP2Frame(streamID: stream, payload: .data(.init(data: .byteBuffer(ByteBuffer(bytes: bytes)), endStream: end)))
    }

    static func trailers(_ status: String, _ message: String? = nil) -> HTTP2Frame {
        headers([("grpc-status", status)] + (message.map { [("grpc-message", $0)] } ?? []), end: true)
    }

    static func trailersOnly(_ status: String, _ message: String? = nil) -> HTTP2Frame {
        let fields = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", status)]
        return headers(fields + (message.map { [("grpc-message", $0)] } ?? []), end: true)
    }

    static func goAway(_ last: Int, _ code: HTTP2ErrorCode) -> HTTP2Frame {
        let payload = HTTP2Frame.FramePayload.goAway(
            lastStreamID: HTTP2StreamID(last),
            errorCode: code,
            opaqueData: nil
        )
        return HTTP2Frame(streamID: .rootStream, payload: payload)
    }

    static func reset(_ code: HTTP2ErrorCode) -> HTTP2Frame {
        HTTP2Frame(streamID: stream, payload: .rstStream(code))
    }
}

@Suite("gRPC probes")
struct CallProbeTests {
    static let servingMessage: [UInt8] = [0, 0, 0, 0, 2, 8, 1]

    private func outcome(
        _ frames: [HTTP2Frame],
        thenClose: Bool = false,
        timeout: Duration = .seconds(10)
    ) async throws -> ProbeOutcome {
        let server = try await FakeServer.grpc(frames, thenClose: thenClose)
        let outcome = try await Asker.outcome(server.grpc, timeout: timeout)
        _ = try await eventually("the end of the connection") {
            server.open == 0 && server.accepted == 1 ? true : nil
        }
        return outcome.inFull
    }

    @Test("serving, and what is asked")
    func serving() async throws {
        let server = try await FakeServer.grpc([Frames.head, Frames.data(Self.servingMessage), Frames.trailers("0")])
        #expect(try await Asker.outcome(server.grpc) == .success)
        let expected =
            ":method: POST\n:scheme: http\n:path: /grpc.health.v1.Health/Check\n:authority: 127.0.0.1:\(server.port)\n"
            + "te: trailers\ncontent-type: application/grpc\nuser-agent: eider-probe\n[0, 0, 0, 0, 0]"
        #expect(server.requests == [expected])
    }

    @Test("split into frames of one byte")
    func split() async throws {
        let frames = Self.servingMessage.map { Frames.data([$0]) }
        #expect(try await outcome([Frames.head] + frames + [Frames.trailers("0")]) == .success)
    }

    @Test(
        "other states",
        arguments: [
            ([0, 0, 0, 0, 2, 8, 2], "is NOT_SERVING"), ([0, 0, 0, 0, 2, 8, 0], "is UNKNOWN"),
            ([0, 0, 0, 0, 0], "is UNKNOWN"), ([0, 0, 0, 0, 2, 8, 3], "is SERVICE_UNKNOWN"),
            ([0, 0, 0, 0, 2, 8, 9], "is in the unknown state 9"),
            ([1, 0, 0, 0, 2, 8, 1], "answered with a compressed message"),
            ([2, 0, 0, 0, 2, 8, 1], "answered with a malformed message"),
            ([0, 0, 0, 0, 1, 8], "answered with a malformed message"),
            ([0, 0, 0, 0, 2, 8, 1, 0], "answered with a malformed message"),
            ([0, 0, 1, 0, 0], "answered with a message of 65536 bytes"), ([0, 0, 0], "broke off its message"),
            ([0, 0, 0, 0, 2, 8], "broke off its message"), ([], "answered without a message"),
        ] as [([UInt8], String)]
    )
    func states(bytes: [UInt8], clause: String) async throws {
        let frames = [Frames.head] + (bytes.isEmpty ? [] : [Frames.data(bytes)]) + [Frames.trailers("0")]
        #expect(try await outcome(frames) == .failure(clause))
    }

    @Test(
        "statuses",
        arguments: [
            (
                [Frames.trailersOnly("12", "no such \u{1b}method")],
                "answered grpc-status 12 (UNIMPLEMENTED): no such \u{fffd}method"
            ),
            ([Frames.trailersOnly("12")], "answered grpc-status 12 (UNIMPLEMENTED)"),
            ([Frames.trailersOnly("0")], "answered without a message"),
            (
                [Frames.head, Frames.data(servingMessage), Frames.trailers("14", "later")],
                "answered grpc-status 14 (UNAVAILABLE): later"
            ),
            ([Frames.trailersOnly("77")], "answered an unknown grpc-status: 77"),
            ([Frames.trailersOnly("x y")], "answered an unknown grpc-status: x y"),
            ([Frames.head, Frames.data(servingMessage, end: true)], "ended its answer without a grpc-status"),
            (
                [Frames.head, Frames.data(servingMessage), Frames.headers([("x", "y")], end: true)],
                "ended its answer without a grpc-status"
            ),
            ([Frames.headers([(":status", "404")], end: true)], "answered HTTP 404 Not Found"),
            (
                [Frames.headers([(":status", "200"), ("content-type", "text/html")], end: true)],
                "answered something that is not gRPC"
            ),
        ]
    )
    func statuses(frames: [HTTP2Frame], clause: String) async throws {
        #expect(try await outcome(frames) == .failure(clause))
    }

    @Test("a server that goes away, with and without answering")
    func goAway() async throws {
        #expect(try await outcome([Frames.goAway(0, .noError)]) == .failure("is going away (NO_ERROR)"))
        let calm = try await outcome([Frames.goAway(0, .enhanceYourCalm)], thenClose: true)
        #expect(calm == .failure("is going away (ENHANCE_YOUR_CALM)"))
        let answer = [Frames.head, Frames.data(Self.servingMessage), Frames.trailers("0")]
        #expect(try await outcome([Frames.goAway(1, .noError)] + answer) == .success)
    }

    @Test("calls and connections that end early")
    func earlyEnds() async throws {
        #expect(try await outcome([Frames.reset(.cancel)]) == .failure("reset the call (CANCEL)"))
        let later = try await outcome([Frames.head, Frames.reset(.refusedStream)])
        #expect(later == .failure("reset the call (REFUSED_STREAM)"))
        let closed = try await outcome([], thenClose: true)
        // The kernel resets a connection that is closed before everything was read.
        let reset = ProbeOutcome.failure(Clauses.reset)
        #expect(closed == .failure("closed the connection before it answered") || closed == reset)
        let half = try await outcome([Frames.head, Frames.data([0, 0])], thenClose: true)
        #expect(half == .failure("closed the connection in the middle of its answer") || half == reset)
        let server = try await FakeServer.start([.close])
        let never = try await Asker.outcome(server.grpc)
        #expect(never == .failure("closed the connection before it answered") || never == reset)
    }

    @Test("too many header fields")
    func headerList() async throws {
        let fields = (0..<200).map { ("x-\($0)", String(repeating: "a", count: 100)) }
        let found = try await outcome([Frames.headers([(":status", "200")] + fields, end: true)])
        #expect(found == .failure("answered with too many header fields"))
    }

    @Test("more bytes than anybody needs for this")
    func flood() async throws {
        let big = Frames.headers([(":status", "200"), ("content-type", "application/grpc"), ("x", "y")])
        // Frames on other streams are none of ours, and pings are answered: only their number is bounded.
        let ping = HTTP2Frame(streamID: .rootStream, payload: .ping(HTTP2PingData(withInteger: 1), ack: false))
        let pings = Array(repeating: ping, count: 5000)
        let found = try await outcome([big] + pings)
        #expect(
            found == .failure("answered with more than 65536 bytes") || found == .failure("broke the rules of HTTP/2")
        )
    }

    @Test("what is not HTTP/2", arguments: ["HTTP/1.1 400 Bad Request\r\n\r\n", "garbage garbage garbage"])
    func garbage(text: String) async throws {
        let server = try await FakeServer.start([.readRequest, .send(text)])
        let found = try await Asker.outcome(server.grpc)
        #expect(found == .failure("answered something that is not HTTP/2"))
    }

    @Test("silence before and within the answer")
    func silence() async throws {
        let server = try await FakeServer.start([])
        let mute = try await Asker.outcome(server.grpc, timeout: .seconds(1))
        #expect(mute == .failure("did not answer within 1s"))
        let half = try await outcome([Frames.head], timeout: .seconds(1))
        #expect(half == .failure("did not answer within 1s"))
    }
}

@Suite("The message of a gRPC answer")
struct HealthCheckReplyTests {
    private func status(_ message: [UInt8]) throws -> HealthCheckReply.Status? {
        var reply = HealthCheckReply(limit: 1024)
        try reply.consume([0, 0, 0, UInt8(message.count >> 8), UInt8(message.count & 0xff)] + message)
        return reply.status
    }

    @Test("fields: the last counts, others are skipped")
    func fields() throws {
        #expect(try status([8, 1]) == .serving)
        #expect(try status([8, 2, 8, 1]) == .serving)
        #expect(try status([0x10, 0xff, 1, 8, 1]) == .serving)
        #expect(try status([0x12, 2, 8, 2, 8, 1]) == .serving)
        #expect(try status([0x11, 1, 2, 3, 4, 5, 6, 7, 8, 8, 1]) == .serving)
        #expect(try status([0x15, 1, 2, 3, 4, 8, 1]) == .serving)
        #expect(try status([0x10, 5]) == .unknown)
        #expect(try status([8, 0x81, 0x80, 0]) == .serving)
        let negative: [UInt8] = [8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]
        #expect(try status(negative) == .other(.max))
    }

    @Test(
        "what is malformed",
        arguments: [
            [8], [8, 0x80], [0], [9, 1], [0x12, 5, 1], [0x11, 1], [0x15, 1, 2, 3], [0x13], [0x14], [0x16], [0x17, 1],
            [8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
            [8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ] as [[UInt8]]
    )
    func malformed(message: [UInt8]) {
        #expect(throws: HealthCheckReply.Problem.malformed) { try status(message) }
    }

    @Test("the bound is exact")
    func bound() throws {
        // A field of 1020 bytes and its tag and length make 1023; with one more tag and value it is too much.
        let filler = [0x12, 0xfa, 7] + [UInt8](repeating: 0, count: 1018)
        #expect(try status(filler + [8, 1]) == nil || status(filler + [8, 1]) == .serving)
        var reply = HealthCheckReply(limit: 1024)
        #expect(throws: HealthCheckReply.Problem.tooLong(1025)) { try reply.consume([0, 0, 0, 4, 1]) }
        var largest = HealthCheckReply(limit: 1024)
        #expect(throws: HealthCheckReply.Problem.tooLong(.max)) { try largest.consume([0, 255, 255, 255, 255]) }
    }
}
