public import StatusBoard
import SupervisorCore

/// The lines of `/v1/logs` and `/v1/events`: one JSON object each, with its newline.
public enum StreamLine {
    /// `{"sequence","at","instance","text"}`
    public static func log(_ line: LogLine) -> [UInt8] {
        terminated { write(line, &$0) }
    }

    /// `{"sequence","at","subject"?,"kind","text"}`
    public static func event(_ event: EventRecord) -> [UInt8] {
        terminated { write(event, &$0) }
    }

    /// `{"snapshot":STATUS,"sequence":N}`: the state after event N, the first line for one who follows events.
    public static func snapshot(_ status: StatusDocument, sequence: UInt64) -> [UInt8] {
        terminated { writer in
            writer.member("snapshot", object: status.write)
            writer.member("sequence", sequence)
        }
    }

    /// `{"dropped":N}`: N lines were gone before this reader came to them. With `of` they are lines of the whole host,
    /// of which some may have been the reader's.
    public static func dropped(_ count: UInt64, of scope: String? = nil) -> [UInt8] {
        terminated { writer in
            writer.member("dropped", count)
            writer.member("of", ifPresent: scope)
        }
    }

    static func write(_ line: LogLine, _ writer: inout JSONWriter) {
        writer.member("sequence", line.sequence)
        writer.member("at", Timestamp.rfc3339(line.wallClock))
        writer.member("instance", line.instance.description)
        writer.member("text", line.text)
    }

    static func write(_ event: EventRecord, _ writer: inout JSONWriter) {
        writer.member("sequence", event.sequence)
        writer.member("at", Timestamp.rfc3339(event.wallClock))
        writer.member("subject", ifPresent: event.subject)
        writer.member("kind", event.kind)
        writer.member("text", event.text)
    }

    private static func terminated(_ body: (inout JSONWriter) -> Void) -> [UInt8] {
        var writer = JSONWriter()
        writer.object(body)
        return writer.bytes + [UInt8(ascii: "\n")]
    }
}
