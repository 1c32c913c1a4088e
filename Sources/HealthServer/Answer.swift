import NIOCore
import SupervisorCore

/// A prepared answer: head and body in one buffer, for every method that asks for it.
struct Answer {
    let code: Int
    /// Head and body, for GET.
    let full: ByteBuffer
    /// Bytes of the head in `full`, the empty line included: the answer to HEAD.
    let headLength: Int
    /// For OPTIONS: the same code and fields, with `Allow` and no body.
    let options: ByteBuffer

    init(_ head: AnswerHead, body: [UInt8]) {
        code = head.code
        let fields = head.bytes(contentLength: body.count, allow: head.code == 405)
        headLength = fields.count
        var buffer = ByteBufferAllocator().buffer(capacity: fields.count + body.count)
        buffer.writeBytes(fields)
        buffer.writeBytes(body)
        full = buffer
        options = ByteBuffer(bytes: head.bytes(contentLength: 0, allow: true))
    }

    init(_ head: AnswerHead, text: String) {
        self.init(head, body: Array(text.utf8))
    }

    func reply(to method: ParsedRequest.Method) -> Reply {
        switch method {
        case .head:
            let head = full.getSlice(at: full.readerIndex, length: headLength) ?? full
            return Reply(code: code, buffer: head, headLength: headLength)
        case .options: return Reply(code: code, buffer: options, headLength: options.readableBytes)
        case .get, .other: return Reply(code: code, buffer: full, headLength: headLength)
        }
    }
}

/// What goes to one client.
struct Reply {
    var code: Int
    var buffer: ByteBuffer
    /// The empty line that ends the head ends here; further fields go before it.
    var headLength: Int
}

/// The fields of an answer's head.
struct AnswerHead {
    static let json = "application/health+json"
    static let text = "text/plain; charset=utf-8"

    var code: Int
    var contentType: String
    var state: PublicState
    /// Sends the fields by which Envoy learns the verdict.
    var verdict: Status?
    /// The state in which the thing itself is draining.
    var draining = false
    /// Seconds.
    var retryAfter: Int?

    init(code: Int, contentType: String, state: PublicState, verdict: Status? = nil) {
        self.code = code
        self.contentType = contentType
        self.state = state
        self.verdict = verdict
        draining = verdict != nil && state == .draining
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

    func bytes(contentLength: Int, allow: Bool) -> [UInt8] {
        var text = "HTTP/1.1 \(code) \(Self.reason(code))\r\n"
        text += "Content-Type: \(contentType)\r\n"
        text += "Content-Length: \(contentLength)\r\n"
        text += "Cache-Control: no-store\r\n"
        text += "X-Content-Type-Options: nosniff\r\n"
        text += "X-Eider-State: \(state.rawValue)\r\n"
        if allow { text += "Allow: GET, HEAD, OPTIONS\r\n" }
        if let retryAfter { text += "Retry-After: \(retryAfter)\r\n" }
        if verdict == .warn { text += "X-Envoy-Degraded: true\r\n" }
        if draining { text += "X-Envoy-Immediate-Health-Check-Fail: true\r\n" }
        return Array(text.utf8) + [.carriageReturn, .lineFeed]
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

/// All the answers of one path.
struct AnswerSet {
    var plain: Answer
    var verbose: Answer
    /// In place of the two above when the client asked for `drain=404`; present while draining.
    var drainPlain: Answer?
    var drainVerbose: Answer?

    func reply(to method: ParsedRequest.Method, _ options: RequestOptions) -> Reply {
        if options.verbose {
            return (options.drainAsNotFound ? drainVerbose ?? verbose : verbose).reply(to: method)
        }
        return (options.drainAsNotFound ? drainPlain ?? plain : plain).reply(to: method)
    }
}
