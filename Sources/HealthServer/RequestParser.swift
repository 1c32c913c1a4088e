/// The head of one request, as ranges of the bytes it was parsed from.
struct ParsedRequest: Equatable {
    enum Method: Equatable { case get, head, options, other }

    var method: Method
    /// Path and query, as sent.
    var target: Range<Int>
    /// The connection is kept after the answer.
    var persistent: Bool
    /// The answer must say `Connection:` because the version's default is the other way.
    var saysConnection: Bool
    /// Bytes of body that follow; nil when they cannot be told or are not worth reading over.
    var body: Int?
    /// Bytes of the head, empty lines before it included.
    var length: Int
    /// Values of the header fields by which probers are told apart; the first where there are several, and empty where
    /// there is none.
    var prober = ProberFields()
}

/// Where the values of some header fields stand.
struct ProberFields: Equatable {
    var userAgent = 0..<0
    var host = 0..<0
    /// `X-Haproxy-Server-State`.
    var serverState = 0..<0
}

/// Why a request is refused before its target is looked at.
enum Rejection: Int, CaseIterable {
    case requestLine, version, target, headerField, hostMissing, hostRepeated, contentLength, lineTooLong, headTooLong

    var code: Int {
        switch self {
        case .lineTooLong: 414
        case .headTooLong: 431
        case .version: 505
        default: 400
        }
    }

    /// One line for people.
    var explanation: String {
        switch self {
        case .requestLine: "cannot read the request line; send METHOD PATH HTTP/1.1"
        case .version: "cannot speak this version of HTTP; use HTTP/1.1 or HTTP/1.0"
        case .target: "cannot read the request's path"
        case .headerField: "cannot read a header field"
        case .hostMissing: "cannot serve an HTTP/1.1 request without Host; send the header field Host"
        case .hostRepeated: "cannot serve a request with more than one Host"
        case .contentLength: "cannot read Content-Length"
        case .lineTooLong: "cannot take so long a request line"
        case .headTooLong: "cannot take so many header fields or so long a head"
        }
    }
}

/// A protocol that this port does not speak. Closed quietly and counted.
enum ForeignProtocol: Equatable { case tls, http2 }

/// Reads request heads of HTTP/1.0 and 1.1 (RFC 9112), strictly: what it cannot be sure of it refuses.
///
/// It keeps no state. Each decision depends only on the bytes up to the one that settles it, so that how they were
/// split on their way never changes an answer. A lone LF ends a line as well (RFC 9112 §2.2), for probes written by
/// hand; folded fields and white space before a colon do not pass.
struct RequestParser {
    enum Outcome: Equatable {
        /// More bytes are needed.
        case incomplete
        case request(ParsedRequest)
        case rejected(Rejection)
        case foreign(ForeignProtocol)
    }

    private enum Step<Value> {
        case value(Value)
        case stop(Outcome)
    }

    private struct RequestLine {
        var method: ParsedRequest.Method
        var target: Range<Int>
        var minorVersion: UInt8
    }

    private struct Fields {
        var hosts = 0
        var close = false
        var keepAlive = false
        var contentLength: Int?
        var unknownBody = false
        var prober = ProberFields()
    }

    let limits: HealthServerLimits

    /// Parses the request at the start of `bytes`.
    func parse(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        let end = min(bytes.count, limits.headBytes)
        var start = 0
        while start < end, bytes[start] == .carriageReturn || bytes[start] == .lineFeed { start &+= 1 }
        if start == end { return ranOut(bytes) }

        let first = bytes[start]
        if first == 0x16 || first == 0x80 { return .foreign(.tls) }
        if !first.isTokenCharacter { return .rejected(.requestLine) }

        let lineLimit = min(end, start &+ limits.requestLineBytes)
        guard let feed = Self.lineFeed(bytes, start, lineLimit) else {
            return lineLimit &- start >= limits.requestLineBytes ? .rejected(.lineTooLong) : ranOut(bytes)
        }
        switch Self.requestLine(bytes, start..<Self.contentEnd(bytes, start, feed)) {
        case .stop(let outcome): return outcome
        case .value(let line): return headerFields(bytes, line, from: feed &+ 1, end)
        }
    }

    private func ranOut(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        bytes.count >= limits.headBytes ? .rejected(.headTooLong) : .incomplete
    }

    private func headerFields(
        _ bytes: UnsafeRawBufferPointer,
        _ line: RequestLine,
        from start: Int,
        _ end: Int
    ) -> Outcome {
        var fields = Fields()
        var position = start
        var count = 0
        while let feed = Self.lineFeed(bytes, position, end) {
            let content = position..<Self.contentEnd(bytes, position, feed)
            position = feed &+ 1
            if content.isEmpty { return complete(line, fields, length: position) }
            count &+= 1
            if count > limits.headerFields { return .rejected(.headTooLong) }
            if let rejection = Self.field(bytes, content, &fields) { return .rejected(rejection) }
        }
        return ranOut(bytes)
    }

    private func complete(_ line: RequestLine, _ fields: Fields, length: Int) -> Outcome {
        let modern = line.minorVersion >= 1
        if fields.hosts > 1 { return .rejected(.hostRepeated) }
        if modern, fields.hosts == 0 { return .rejected(.hostMissing) }
        var body: Int? = fields.contentLength ?? 0
        if fields.unknownBody || (body ?? 0) > limits.bodyBytes { body = nil }
        let wanted = modern ? !fields.close : fields.keepAlive && !fields.close
        let persistent = wanted && body != nil
        return .request(
            ParsedRequest(
                method: line.method,
                target: line.target,
                persistent: persistent,
                saysConnection: persistent != modern,
                body: body,
                length: length,
                prober: fields.prober
            )
        )
    }

    // MARK: Lines

    private static func lineFeed(_ bytes: UnsafeRawBufferPointer, _ start: Int, _ end: Int) -> Int? {
        var position = start
        while position < end {
            if bytes[position] == .lineFeed { return position }
            position &+= 1
        }
        return nil
    }

    /// Where the line that `feed` ends has its content's end: a CR before the LF belongs to the ending.
    private static func contentEnd(_ bytes: UnsafeRawBufferPointer, _ start: Int, _ feed: Int) -> Int {
        feed > start && bytes[feed &- 1] == .carriageReturn ? feed &- 1 : feed
    }

    private static func requestLine(_ bytes: UnsafeRawBufferPointer, _ line: Range<Int>) -> Step<RequestLine> {
        var position = line.lowerBound
        while position < line.upperBound, bytes[position].isTokenCharacter { position &+= 1 }
        let method = line.lowerBound..<position
        guard position < line.upperBound, bytes[position] == .space else { return .stop(.rejected(.requestLine)) }
        position &+= 1
        let targetStart = position
        while position < line.upperBound, bytes[position] > .space, bytes[position] < 0x7F { position &+= 1 }
        let target = targetStart..<position
        let version = position &+ 1
        guard !target.isEmpty, position < line.upperBound, bytes[position] == .space,
            line.upperBound &- version == 8, matches(bytes, version..<(version &+ 5), "HTTP/"),
            bytes[version &+ 5].isDigit, bytes[version &+ 6] == UInt8(ascii: "."), bytes[version &+ 7].isDigit
        else { return .stop(.rejected(.requestLine)) }
        guard bytes[version &+ 5] == UInt8(ascii: "1") else {
            let isPreface = bytes[version &+ 5] == UInt8(ascii: "2") && matches(bytes, method, "PRI")
            return .stop(isPreface ? .foreign(.http2) : .rejected(.version))
        }
        return .value(
            RequestLine(
                method: self.method(bytes, method),
                target: target,
                minorVersion: bytes[version &+ 7] &- UInt8(ascii: "0")
            )
        )
    }

    private static func method(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) -> ParsedRequest.Method {
        if matches(bytes, range, "GET") { return .get }
        if matches(bytes, range, "HEAD") { return .head }
        if matches(bytes, range, "OPTIONS") { return .options }
        return .other
    }

    private static func matches(
        _ bytes: UnsafeRawBufferPointer,
        _ range: Range<Int>,
        _ text: StaticString
    ) -> Bool {
        guard range.count == text.utf8CodeUnitCount else { return false }
        var offset = 0
        while offset < range.count {
            if bytes[range.lowerBound &+ offset] != text.utf8Start[offset] { return false }
            offset &+= 1
        }
        return true
    }

    // MARK: Header fields

    /// Whether the bytes are `text`, which is in lower case, in any case of letters.
    private static func matchesIgnoringCase(
        _ bytes: UnsafeRawBufferPointer,
        _ range: Range<Int>,
        _ text: StaticString
    ) -> Bool {
        guard range.count == text.utf8CodeUnitCount else { return false }
        var offset = 0
        while offset < range.count {
            if bytes[range.lowerBound &+ offset].lowercased != text.utf8Start[offset] { return false }
            offset &+= 1
        }
        return true
    }

    private static func field(
        _ bytes: UnsafeRawBufferPointer,
        _ line: Range<Int>,
        _ fields: inout Fields
    ) -> Rejection? {
        var position = line.lowerBound
        while position < line.upperBound, bytes[position].isTokenCharacter { position &+= 1 }
        let name = line.lowerBound..<position
        guard !name.isEmpty, position < line.upperBound, bytes[position] == UInt8(ascii: ":") else {
            return .headerField
        }
        var start = position &+ 1
        var end = line.upperBound
        while start < end, bytes[start].isBlank { start &+= 1 }
        while end > start, bytes[end &- 1].isBlank { end &-= 1 }
        position = start
        while position < end {
            let byte = bytes[position]
            if byte < .space && byte != .tab || byte == 0x7F { return .headerField }
            position &+= 1
        }
        return note(bytes, name, start..<end, &fields)
    }

    private static func note(
        _ bytes: UnsafeRawBufferPointer,
        _ name: Range<Int>,
        _ value: Range<Int>,
        _ fields: inout Fields
    ) -> Rejection? {
        switch name.count {
        case 4 where matchesIgnoringCase(bytes, name, "host"):
            fields.hosts &+= 1
            if fields.prober.host.isEmpty { fields.prober.host = value }
        case 6 where matchesIgnoringCase(bytes, name, "expect"):
            fields.unknownBody = true
        case 10 where matchesIgnoringCase(bytes, name, "connection"):
            connection(bytes, value, &fields)
        case 10 where matchesIgnoringCase(bytes, name, "user-agent"):
            if fields.prober.userAgent.isEmpty { fields.prober.userAgent = value }
        case 14 where matchesIgnoringCase(bytes, name, "content-length"):
            guard let length = number(bytes, value), fields.contentLength ?? length == length else {
                return .contentLength
            }
            fields.contentLength = length
        case 17 where matchesIgnoringCase(bytes, name, "transfer-encoding"):
            fields.unknownBody = true
        case 22 where matchesIgnoringCase(bytes, name, "x-haproxy-server-state"):
            if fields.prober.serverState.isEmpty { fields.prober.serverState = value }
        default: break
        }
        return nil
    }

    private static func connection(_ bytes: UnsafeRawBufferPointer, _ value: Range<Int>, _ fields: inout Fields) {
        var position = value.lowerBound
        while position < value.upperBound {
            while position < value.upperBound, bytes[position].isBlank || bytes[position] == UInt8(ascii: ",") {
                position &+= 1
            }
            let start = position
            while position < value.upperBound, bytes[position].isTokenCharacter { position &+= 1 }
            if position == start { return }
            if matchesIgnoringCase(bytes, start..<position, "close") { fields.close = true }
            if matchesIgnoringCase(bytes, start..<position, "keep-alive") { fields.keepAlive = true }
        }
    }

    private static func number(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) -> Int? {
        guard (1...18).contains(range.count) else { return nil }
        var value = 0
        for position in range {
            guard bytes[position].isDigit else { return nil }
            value = value &* 10 &+ Int(bytes[position] &- UInt8(ascii: "0"))
        }
        return value
    }
}

extension UnsafeRawBufferPointer {
    func starts(with text: StaticString) -> Bool {
        guard count >= text.utf8CodeUnitCount else { return false }
        var offset = 0
        while offset < text.utf8CodeUnitCount {
            if self[offset] != text.utf8Start[offset] { return false }
            offset &+= 1
        }
        return true
    }

    func isAll(_ text: StaticString) -> Bool { count == text.utf8CodeUnitCount && starts(with: text) }
}

extension UInt8 {
    static let lineFeed = UInt8(ascii: "\n")
    static let carriageReturn = UInt8(ascii: "\r")
    static let space = UInt8(ascii: " ")
    static let tab = UInt8(ascii: "\t")

    var isBlank: Bool { self == .space || self == .tab }
    var isDigit: Bool { self &- UInt8(ascii: "0") < 10 }
    private var isLetter: Bool { (self | 0x20) &- UInt8(ascii: "a") < 26 }
    var lowercased: UInt8 { self &- UInt8(ascii: "A") < 26 ? self | 0x20 : self }

    /// `tchar` of RFC 9110 §5.6.2.
    var isTokenCharacter: Bool {
        if isLetter || isDigit { return true }
        switch self {
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"),
            UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
            return true
        default: return false
        }
    }
}
