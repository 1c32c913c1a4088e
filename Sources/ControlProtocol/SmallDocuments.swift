import StatusBoard
public import SupervisorCore

/// Answers that need no file of their own.
public enum SmallDocuments {
    /// `{"version","program":"eiderd"}`
    public static func version(_ version: String) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("program", "eiderd")
            writer.member("version", version)
        }
        return writer.bytes
    }

    /// `{"result":"done"|"accepted","action","targets":[…]}`: a command that was carried out, or taken on.
    public static func commanded(_ command: Command, waited: Bool) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("result", waited ? "done" : "accepted")
            writer.member("action", command.verb)
            if case .breaker(let name, _, _) = command { writer.member("breaker", name) }
            if case .scale(_, let replicas, _) = command { writer.member("replicas", replicas) }
            if case .signal(_, let signal) = command { writer.member("signal", signal.description) }
            writer.member(
                "targets",
                array: { list in
                    for target in command.targets { list.value(target.description) }
                }
            )
        }
        return writer.bytes
    }

    /// `{"result":"done"|"accepted"|"deadline-reached"|"planned","action":"drain","targets":[…],"text"?,"drain":{…}}`
    public static func drained(_ request: DrainRequest, result: String, text: String?, _ drain: DrainDocument)
        -> [UInt8]
    {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("result", result)
            writer.member("action", "drain")
            writer.member(
                "targets",
                array: { list in if let target = request.target { list.value(target.description) } }
            )
            writer.member("text", ifPresent: text)
            writer.member("drain", object: drain.write)
        }
        return writer.bytes
    }

    /// `{"result":"done","action":"upgrade"}`
    public static func upgraded() -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("result", "done")
            writer.member("action", "upgrade")
        }
        return writer.bytes
    }
}
