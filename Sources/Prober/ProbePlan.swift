import NIOCore
import NIOHPACK
import NIOHTTP1
import SupervisorCore

/// What a watch asks for.
struct ProbeWish: Sendable {
    var plan: ProbePlan
    var period: Duration
    var timeout: Duration
    var firstAt: MonotonicInstant
}

/// A question with everything that asking again needs made once.
final class ProbePlan: Sendable {
    enum Target: Equatable {
        /// To be tried one after the other.
        case addresses([SocketAddress])
        case name(String)
    }

    let question: ProbeQuestion
    let target: Target
    /// What an HTTP probe sends, and what the decoder must be told of it.
    let request: ByteBuffer
    let head: HTTPRequestHead
    /// What a gRPC probe sends.
    let callHeaders: HPACKHeaders

    init(_ question: ProbeQuestion) {
        self.question = question
        target = Self.target(question.host, question.port)
        var request = ByteBuffer()
        var path = "/"
        if case .http(_, _, let wanted, let authority) = question {
            path = wanted
            request.writeString(
                "GET \(path) HTTP/1.1\r\nHost: \(authority)\r\nUser-Agent: eider-probe\r\nAccept: */*\r\n"
                    + "Connection: close\r\n\r\n"
            )
        }
        self.request = request
        head = HTTPRequestHead(version: .http1_1, method: .GET, uri: path)
        guard case .grpc = question else {
            callHeaders = HPACKHeaders()
            return
        }
        let host = question.host.contains(":") ? "[\(question.host.prefix { $0 != "%" })]" : question.host
        callHeaders = HPACKHeaders([
            (":method", "POST"), (":scheme", "http"), (":path", "/grpc.health.v1.Health/Check"),
            (":authority", "\(host):\(question.port)"), ("te", "trailers"), ("content-type", "application/grpc"),
            ("user-agent", "eider-probe"),
        ])
    }

    private static func target(_ host: String, _ port: Int) -> Target {
        if host.lowercased() == "localhost" {
            return .addresses(["127.0.0.1", "::1"].compactMap { try? SocketAddress(ipAddress: $0, port: port) })
        }
        if let address = try? SocketAddress(ipAddress: host, port: port) { return .addresses([address]) }
        return .name(host)
    }
}
