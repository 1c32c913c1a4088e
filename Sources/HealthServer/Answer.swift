import NIOCore
import SupervisorCore

/// An answer of its own: one head, one body.
struct Answer {
    let head: AnswerHead
    let body: [UInt8]

    init(_ head: HeadFields, body: [UInt8]) {
        self.head = AnswerHead(head)
        self.body = body
    }

    init(_ head: HeadFields, text: String) {
        self.init(head, body: Array(text.utf8))
    }

    func reply(to method: ParsedRequest.Method) -> Reply {
        Reply(method: method, head: head, store: body, body: (0..<body.count, 0..<0, 0..<0))
    }
}

/// What goes to one client: prepared pieces, put together as they are copied out.
struct Reply {
    let method: ParsedRequest.Method
    let head: AnswerHead
    /// Holds the body.
    let store: [UInt8]
    /// Parts of `store`, in the order in which they are sent.
    let body: (Range<Int>, Range<Int>, Range<Int>)

    var code: Int { head.code }

    /// - Parameter field: a further line of the head.
    func write(to output: inout ByteBuffer, field: [UInt8]?) {
        if method == .options {
            output.writeBytes(head.options)
            endHead(&output, field)
            return
        }
        let length = body.0.count + body.1.count + body.2.count
        let needed = head.beforeLength.count + head.afterLength.count + length + Self.framingBytes
        output.reserveCapacity(minimumWritableBytes: needed)
        output.writeBytes(head.beforeLength)
        Self.writeDecimal(length, &output)
        output.writeBytes(head.afterLength)
        endHead(&output, field)
        if method == .head { return }
        output.writeBytes(store[body.0])
        if !body.1.isEmpty { output.writeBytes(store[body.1]) }
        if !body.2.isEmpty { output.writeBytes(store[body.2]) }
    }

    /// Room for the length's digits, a further field and the empty line.
    private static let framingBytes = 64

    private func endHead(_ output: inout ByteBuffer, _ field: [UInt8]?) {
        if let field { output.writeBytes(field) }
        output.writeInteger(UInt16(0x0D0A))
    }

    private static func writeDecimal(_ value: Int, _ output: inout ByteBuffer) {
        var divisor = 1
        while divisor <= value / 10 { divisor *= 10 }
        while divisor > 0 {
            output.writeInteger(UInt8(truncatingIfNeeded: value / divisor % 10) + UInt8(ascii: "0"))
            divisor /= 10
        }
    }
}

/// The head of an answer as bytes, without `Content-Length`'s value and the empty line.
///
/// Answers differ little in their heads and much in their bodies, so heads are shared (`HeadCache`).
final class AnswerHead {
    let code: Int
    /// Up to the value of `Content-Length`.
    let beforeLength: [UInt8]
    /// From there to the last field's end.
    let afterLength: [UInt8]
    /// For OPTIONS: the same code and fields, with `Allow` and no body.
    let options: [UInt8]
    /// In place of this head when the client asked for `drain=404`; nil unless the thing itself is draining
    /// or drained.
    let drainAsNotFound: AnswerHead?

    init(_ fields: HeadFields) {
        code = fields.code
        beforeLength = Array(fields.beforeLength.utf8)
        afterLength = Array(fields.afterLength(allow: fields.code == 405).utf8)
        options = Array((fields.beforeLength + "0" + fields.afterLength(allow: true)).utf8)
        if fields.draining, fields.code != 404 {
            var notFound = fields
            notFound.code = 404
            notFound.retryAfter = nil
            drainAsNotFound = AnswerHead(notFound)
        } else {
            drainAsNotFound = nil
        }
    }
}

/// What an answer's head says.
struct HeadFields: Hashable {
    static let json = "application/health+json"
    static let text = "text/plain; charset=utf-8"

    var code: Int
    var contentType: String
    var state: PublicState
    /// Sends the fields by which Envoy learns the verdict.
    var verdict: Status?
    /// The thing itself is draining or drained.
    var draining = false
    /// Seconds.
    var retryAfter: Int?

    init(code: Int, contentType: String, state: PublicState, verdict: Status? = nil) {
        self.code = code
        self.contentType = contentType
        self.state = state
        self.verdict = verdict
        draining = verdict != nil && (state == .draining || state == .drained)
        retryAfter = code == 503 ? Self.retryAfter(state) : nil
    }

    /// How long a client does well to wait, seconds.
    private static func retryAfter(_ state: PublicState) -> Int {
        switch state {
        case .starting, .backoff: 1
        case .stopped, .drained, .draining: 30
        default: 5
        }
    }

    var beforeLength: String {
        "HTTP/1.1 \(code) \(Self.reason(code))\r\nContent-Type: \(contentType)\r\nContent-Length: "
    }

    func afterLength(allow: Bool) -> String {
        var text = "\r\nCache-Control: no-store\r\n"
        text += "X-Content-Type-Options: nosniff\r\n"
        text += "X-Eider-State: \(state.rawValue)\r\n"
        if allow { text += "Allow: GET, HEAD, OPTIONS\r\n" }
        if let retryAfter { text += "Retry-After: \(retryAfter)\r\n" }
        if verdict == .warn || state == .degraded { text += "X-Envoy-Degraded: true\r\n" }
        if draining { text += "X-Envoy-Immediate-Health-Check-Fail: true\r\n" }
        return text
    }

    private static func reason(_ code: Int) -> String {
        switch code {
        case 200: "OK"
        case 400: "Bad Request"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 414: "URI Too Long"
        case 431: "Request Header Fields Too Large"
        case 503: "Service Unavailable"
        case 505: "HTTP Version Not Supported"
        default: "Unknown"
        }
    }
}

/// `status` of draft-inadarei-api-health-check.
enum Status: String {
    case pass, warn, fail
}

/// Heads that several answers share.
struct HeadCache {
    /// Heads kept. Codes, states and verdicts are few, so that a daemon uses some dozens of them; beyond this the
    /// cache starts anew, and answers keep the heads they have.
    static let limit = 256

    private(set) var heads: [HeadFields: AnswerHead] = [:]

    mutating func head(_ fields: HeadFields) -> AnswerHead {
        if let present = heads[fields] { return present }
        if heads.count >= Self.limit { heads = [:] }
        let head = AnswerHead(fields)
        heads[fields] = head
        return head
    }
}
