import SupervisorCore

extension ShimReport {
    private enum Tag: UInt8 {
        case welcome = 1
        case held, record, memory, listed, started, startFailed, exited, treeGone, treeRemains, strays, pong
    }

    /// The message as one frame.
    public var frame: [UInt8] {
        var writer = WireWriter()
        writer.framed { encode(into: &$0) }
        return writer.bytes
    }

    private func encode(into writer: inout WireWriter) {
        switch self {
        case .welcome(let version, let pid, let containment, let controllers):
            writer.write(Tag.welcome.rawValue)
            writer.write(version)
            writer.write(pid)
            writer.write(containment)
            writer.write(list: controllers) { $0.write($1) }
        case .held(let name):
            writer.write(Tag.held.rawValue)
            writer.write(name)
        case .record(let record):
            writer.write(Tag.record.rawValue)
            record.encode(into: &writer)
        case .memory(let key, let value):
            writer.write(Tag.memory.rawValue)
            writer.write(key)
            writer.write(value)
        case .listed:
            writer.write(Tag.listed.rawValue)
        case .pong(let number):
            writer.write(Tag.pong.rawValue)
            writer.write(number)
        case .strays(let count, let example):
            writer.write(Tag.strays.rawValue)
            writer.write(Int64(count))
            writer.write(example)
        default:
            encodeRun(into: &writer)
        }
    }

    /// The reports about one run of an instance.
    private func encodeRun(into writer: inout WireWriter) {
        switch self {
        case .started(let id, let generation, let pid, let at, let warnings):
            writer.write(Tag.started.rawValue)
            writer.write(id, generation)
            writer.write(pid)
            writer.write(at.nanoseconds)
            writer.write(list: warnings) { $0.write($1) }
        case .startFailed(let id, let generation, let failure):
            writer.write(Tag.startFailed.rawValue)
            writer.write(id, generation)
            writer.write(failure.stage.rawValue)
            writer.write(failure.errno)
            writer.write(failure.path)
        case .exited(let id, let generation, let status, let usage, let at, let outOfMemory, let treeGone):
            writer.write(Tag.exited.rawValue)
            writer.write(id, generation)
            writer.write(status)
            writer.write(usage)
            writer.write(at.nanoseconds)
            writer.write(outOfMemory)
            writer.write(treeGone)
        case .treeGone(let id, let generation):
            writer.write(Tag.treeGone.rawValue)
            writer.write(id, generation)
        case .treeRemains(let id, let generation, let count, let example):
            writer.write(Tag.treeRemains.rawValue)
            writer.write(id, generation)
            writer.write(Int64(count))
            writer.write(example)
        default:
            break
        }
    }

    init?(from reader: inout WireReader) {
        guard let number = reader.read(UInt8.self), let tag = Tag(rawValue: number) else { return nil }
        switch tag {
        case .welcome:
            guard let version = reader.read(UInt32.self), let pid = reader.read(Int32.self),
                let containment = reader.readString(), let controllers = reader.readStrings()
            else { return nil }
            self = .welcome(version: version, shimPid: pid, containment: containment, controllers: controllers)
        case .held:
            guard let name = reader.readString() else { return nil }
            self = .held(name)
        case .record:
            guard let record = ShimRecord(from: &reader) else { return nil }
            self = .record(record)
        case .memory:
            guard let key = reader.readString(), let value = reader.readBytes() else { return nil }
            self = .memory(key: key, value: Array(value))
        case .listed:
            self = .listed
        case .pong:
            guard let number = reader.read(UInt64.self) else { return nil }
            self = .pong(number)
        case .strays:
            guard let count = reader.read(Int64.self), let example = reader.read(Int32.self) else { return nil }
            self = .strays(count: Int(clamping: count), example: example)
        default:
            self.init(run: tag, from: &reader)
        }
    }

    private init?(run tag: Tag, from reader: inout WireReader) {
        guard let (id, generation) = reader.readID() else { return nil }
        switch tag {
        case .started:
            guard let pid = reader.read(Int32.self), let at = reader.readInstant(),
                let warnings = reader.readStrings()
            else { return nil }
            self = .started(id, generation, pid: pid, at: at, warnings: warnings)
        case .startFailed:
            guard let number = reader.read(UInt8.self), let stage = SpawnStage(rawValue: number),
                let errno = reader.read(Int32.self), let path = reader.readString()
            else { return nil }
            self = .startFailed(id, generation, SpawnFailure(stage: stage, errno: errno, path: path))
        case .exited:
            guard let status = reader.readStatus(), let usage = reader.readUsage(), let at = reader.readInstant(),
                let outOfMemory = reader.readBool(), let treeGone = reader.readBool()
            else { return nil }
            self = .exited(id, generation, status, usage, at: at, outOfMemory: outOfMemory, treeGone: treeGone)
        case .treeGone:
            self = .treeGone(id, generation)
        case .treeRemains:
            guard let count = reader.read(Int64.self), let example = reader.read(Int32.self) else { return nil }
            self = .treeRemains(id, generation, count: Int(clamping: count), example: example)
        default:
            return nil
        }
    }
}

extension ShimRecord {
    fileprivate func encode(into writer: inout WireWriter) {
        writer.write(instance, generation)
        writer.write(pid)
        writer.write(startedAt.nanoseconds)
        writer.write(treeGone)
        switch state {
        case .running:
            writer.write(false)
        case .exited(let status, let usage, let at, let outOfMemory):
            writer.write(true)
            writer.write(status)
            writer.write(usage)
            writer.write(at.nanoseconds)
            writer.write(outOfMemory)
        }
    }

    fileprivate init?(from reader: inout WireReader) {
        guard let (id, generation) = reader.readID(), let pid = reader.read(Int32.self),
            let startedAt = reader.readInstant(), let treeGone = reader.readBool(), let hasExited = reader.readBool()
        else { return nil }
        var state = State.running
        if hasExited {
            guard let status = reader.readStatus(), let usage = reader.readUsage(), let at = reader.readInstant(),
                let outOfMemory = reader.readBool()
            else { return nil }
            state = .exited(status, usage, at: at, outOfMemory: outOfMemory)
        }
        self.init(
            instance: id,
            generation: generation,
            pid: pid,
            startedAt: startedAt,
            state: state,
            treeGone: treeGone
        )
    }
}
