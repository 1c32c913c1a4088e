import Glibc

/// Cuts a stream of bytes into lines. What comes out depends on the stream only, never on how it was cut into windows.
struct LineSplitter {
    /// One line, as it is handed on. The bytes are only valid during the call.
    struct Line {
        /// Without its line end.
        var text: UnsafeRawBufferPointer
        /// Bytes of the stream that it stands for, line end included.
        var consumed: Int
        /// The rest of it is in the next line.
        var cut: Bool
    }

    /// The beginning of a line whose end has not come yet.
    private var unfinished: [UInt8] = []

    var isEmpty: Bool { unfinished.isEmpty }

    /// Hands on the lines of `window`, at most about `maximumLines`. Answers how many bytes are dealt with: the rest
    /// must come again. It leaves an unfinished line of up to `mayLeave` bytes, and keeps a longer one itself.
    mutating func split(
        _ window: UnsafeRawBufferPointer,
        mayLeave: Int,
        maximumLines: Int,
        _ each: (Line) -> Void
    ) -> Int {
        var position = 0
        var lines = 0
        while position < window.count, lines < maximumLines {
            let rest = UnsafeRawBufferPointer(rebasing: window[position...])
            // One byte above the limit may be the CR of a CRLF: whether it is shows the byte after it.
            let scan = min(rest.count, LogLimits.lineBytes &+ 2 &- unfinished.count)
            lines &+= 1
            if let end = Self.newline(in: rest, scan) {
                finishLine(UnsafeRawBufferPointer(rebasing: rest[..<end]), each)
                position &+= end &+ 1
            } else if unfinished.count &+ scan == LogLimits.lineBytes &+ 2 {
                position &+= cutLine(UnsafeRawBufferPointer(rebasing: rest[..<scan]), each)
            } else {
                if unfinished.isEmpty, rest.count <= mayLeave { break }
                unfinished.append(contentsOf: rest)
                position = window.count
            }
        }
        return position
    }

    /// Hands on the unfinished line, as if it had ended here.
    mutating func finish(_ each: (Line) -> Void) {
        if unfinished.isEmpty { return }
        let last = unfinished
        unfinished = []
        last.withUnsafeBytes { Self.emit($0, lineEnd: 0, each) }
    }

    private mutating func finishLine(_ bytes: UnsafeRawBufferPointer, _ each: (Line) -> Void) {
        if unfinished.isEmpty {
            Self.emit(bytes, lineEnd: 1, each)
        } else {
            unfinished.append(contentsOf: bytes)
            let whole = unfinished
            unfinished = []
            whole.withUnsafeBytes { Self.emit($0, lineEnd: 1, each) }
        }
    }

    /// Hands on the beginning of a line that is too long. Answers how much of `bytes` is dealt with.
    private mutating func cutLine(_ bytes: UnsafeRawBufferPointer, _ each: (Line) -> Void) -> Int {
        if unfinished.isEmpty {
            let length = Self.cutLength(bytes)
            each(Line(text: UnsafeRawBufferPointer(rebasing: bytes[..<length]), consumed: length, cut: true))
            return length
        }
        unfinished.append(contentsOf: bytes)
        let length = unfinished.withUnsafeBytes { whole in
            let length = Self.cutLength(whole)
            each(Line(text: UnsafeRawBufferPointer(rebasing: whole[..<length]), consumed: length, cut: true))
            return length
        }
        unfinished.removeFirst(length)
        return bytes.count
    }

    /// Hands on a whole line of at most one byte above the limit.
    private static func emit(_ bytes: UnsafeRawBufferPointer, lineEnd: Int, _ each: (Line) -> Void) {
        var text = bytes
        if lineEnd > 0, text.last == UInt8(ascii: "\r") { text = UnsafeRawBufferPointer(rebasing: text.dropLast()) }
        if text.count <= LogLimits.lineBytes {
            each(Line(text: text, consumed: bytes.count &+ lineEnd, cut: false))
            return
        }
        let length = cutLength(text)
        each(Line(text: UnsafeRawBufferPointer(rebasing: text[..<length]), consumed: length, cut: true))
        each(
            Line(
                text: UnsafeRawBufferPointer(rebasing: text[length...]),
                consumed: bytes.count &+ lineEnd &- length,
                cut: false
            )
        )
    }

    /// The limit, or a little less where that would part a character of UTF-8.
    private static func cutLength(_ bytes: UnsafeRawBufferPointer) -> Int {
        for length in stride(from: LogLimits.lineBytes, to: LogLimits.lineBytes &- 4, by: -1)
        where bytes[length] & 0xC0 != 0x80 {
            return length
        }
        return LogLimits.lineBytes
    }

    private static func newline(in bytes: UnsafeRawBufferPointer, _ count: Int) -> Int? {
        guard let base = bytes.baseAddress, let found = memchr(base, 0x0A, count) else { return nil }
        return UnsafeRawPointer(found) - base
    }
}
