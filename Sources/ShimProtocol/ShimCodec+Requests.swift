import SupervisorCore

extension ShimRequest {
    private enum Tag: UInt8 {
        case hello = 1
        case start, signal, endTree, release, remember, hold, letGo, exitWhenEmpty, adoptMain, ping
    }

    /// The message as one frame.
    public var frame: [UInt8] {
        var writer = WireWriter()
        writer.framed { encode(into: &$0) }
        return writer.bytes
    }

    private func encode(into writer: inout WireWriter) {
        switch self {
        case .hello(let version, let daemonPid):
            writer.write(Tag.hello.rawValue)
            writer.write(version)
            writer.write(daemonPid)
        case .start(let launch):
            writer.write(Tag.start.rawValue)
            launch.encode(into: &writer)
        case .signal(let id, let generation, let signal, let tree):
            writer.write(Tag.signal.rawValue)
            writer.write(id, generation)
            writer.write(signal.rawValue)
            writer.write(tree)
        case .endTree(let id, let generation):
            writer.write(Tag.endTree.rawValue)
            writer.write(id, generation)
        case .release(let id, let generation):
            writer.write(Tag.release.rawValue)
            writer.write(id, generation)
        case .remember(let key, let value):
            writer.write(Tag.remember.rawValue)
            writer.write(key)
            writer.write(value)
        case .hold(let name):
            writer.write(Tag.hold.rawValue)
            writer.write(name)
        case .letGo(let name):
            writer.write(Tag.letGo.rawValue)
            writer.write(name)
        case .exitWhenEmpty:
            writer.write(Tag.exitWhenEmpty.rawValue)
        case .ping(let number):
            writer.write(Tag.ping.rawValue)
            writer.write(number)
        case .adoptMain(let id, let generation, let pid):
            writer.write(Tag.adoptMain.rawValue)
            writer.write(id, generation)
            writer.write(pid)
        }
    }

    init?(from reader: inout WireReader) {
        guard let number = reader.read(UInt8.self), let tag = Tag(rawValue: number) else { return nil }
        switch tag {
        case .hello:
            guard let version = reader.read(UInt32.self), let pid = reader.read(Int32.self) else { return nil }
            self = .hello(version: version, daemonPid: pid)
        case .start:
            guard let launch = LaunchRequest(from: &reader) else { return nil }
            self = .start(launch)
        case .signal:
            guard let (id, generation) = reader.readID(), let signal = reader.read(Int32.self),
                let tree = reader.readBool()
            else { return nil }
            self = .signal(id, generation, SignalNumber(rawValue: signal), tree: tree)
        case .endTree:
            guard let (id, generation) = reader.readID() else { return nil }
            self = .endTree(id, generation)
        case .release:
            guard let (id, generation) = reader.readID() else { return nil }
            self = .release(id, generation)
        case .remember:
            guard let key = reader.readString(), let value = reader.readBytes() else { return nil }
            self = .remember(key: key, value: Array(value))
        case .hold:
            guard let name = reader.readString() else { return nil }
            self = .hold(name)
        case .letGo:
            guard let name = reader.readString() else { return nil }
            self = .letGo(name)
        case .exitWhenEmpty:
            self = .exitWhenEmpty
        case .ping:
            guard let number = reader.read(UInt64.self) else { return nil }
            self = .ping(number)
        case .adoptMain:
            guard let (id, generation) = reader.readID(), let pid = reader.read(Int32.self) else { return nil }
            self = .adoptMain(id, generation, pid: pid)
        }
    }
}

extension LaunchRequest {
    fileprivate func encode(into writer: inout WireWriter) {
        writer.write(instance, generation)
        writer.write(list: arguments) { $0.write($1) }
        writer.write(list: environment) { $0.write($1) }
        writer.write(workingDirectory)
        writer.write(credentials != nil)
        if let credentials {
            writer.write(credentials.uid)
            writer.write(credentials.gid)
            writer.write(list: credentials.supplementaryGroups) { $0.write($1) }
        }
        writer.write(umask)
        writer.write(list: limits) {
            $0.write($1.resource)
            $0.write($1.soft)
            $0.write($1.hard)
        }
        writer.write(oomScoreAdjust != nil)
        if let oomScoreAdjust { writer.write(oomScoreAdjust) }
        writer.write(output)
        writer.write(list: sockets) { $0.write($1) }
        writer.write(list: cgroup) {
            $0.write($1.file)
            $0.write($1.value)
        }
        writer.write(isDetached)
    }

    fileprivate init?(from reader: inout WireReader) {
        guard let (id, generation) = reader.readID(), let arguments = reader.readStrings(),
            let environment = reader.readStrings(), let directory = reader.readString(),
            let hasCredentials = reader.readBool()
        else { return nil }
        var credentials: ServiceSpec.Credentials?
        if hasCredentials {
            guard let uid = reader.read(UInt32.self), let gid = reader.read(UInt32.self),
                let groups = reader.readList({ $0.read(UInt32.self) })
            else { return nil }
            credentials = ServiceSpec.Credentials(uid: uid, gid: gid, supplementaryGroups: groups)
        }
        guard let umask = reader.read(UInt32.self), let limits = reader.readList(ResourceLimit.init(from:)),
            let hasScore = reader.readBool()
        else { return nil }
        var score: Int32?
        if hasScore {
            guard let value = reader.read(Int32.self) else { return nil }
            score = value
        }
        guard let output = reader.readString(), let sockets = reader.readStrings(),
            let cgroup = reader.readList(CgroupSetting.init(from:))
        else { return nil }
        self.init(instance: id, generation: generation, arguments: arguments, output: output)
        self.environment = environment
        self.workingDirectory = directory
        self.credentials = credentials
        self.umask = umask
        self.limits = limits
        self.oomScoreAdjust = score
        self.sockets = sockets
        self.cgroup = cgroup
        if reader.remaining > 0 {
            guard let isDetached = reader.readBool() else { return nil }
            self.isDetached = isDetached
        }
    }
}

extension LaunchRequest.ResourceLimit {
    fileprivate init?(from reader: inout WireReader) {
        guard let resource = reader.read(Int32.self), let soft = reader.read(UInt64.self),
            let hard = reader.read(UInt64.self)
        else { return nil }
        self.init(resource: resource, soft: soft, hard: hard)
    }
}

extension LaunchRequest.CgroupSetting {
    fileprivate init?(from reader: inout WireReader) {
        guard let file = reader.readString(), let value = reader.readString() else { return nil }
        self.init(file: file, value: value)
    }
}
