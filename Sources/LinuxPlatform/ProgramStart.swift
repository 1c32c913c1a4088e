import CLinux
public import SupervisorCore

/// Starting a program with nothing of this process left in it but what is named here.
public struct ProgramStart: Sendable {
    public struct Limit: Sendable, Hashable {
        public var resource: Int32
        public var soft: UInt64
        public var hard: UInt64

        public init(resource: Int32, soft: UInt64, hard: UInt64) {
            self.resource = resource
            self.soft = soft
            self.hard = hard
        }
    }

    public enum Outcome: Sendable, Hashable {
        /// It is executing.
        case running(pid: Int32)
        /// No process is left. The path is filled in for the stages that are about a file.
        case failed(SpawnFailure)
    }

    /// Program (an absolute path) and arguments.
    public var arguments: [String]
    /// `NAME=value`.
    public var environment: [String] = []
    /// The Nth becomes descriptor N; all others are closed. They stay the caller's.
    public var descriptors: [Int32] = []
    /// nil: unchanged.
    public var workingDirectory: String?
    /// nil: unchanged.
    public var credentials: ServiceSpec.Credentials?
    /// nil: unchanged.
    public var umask: UInt32?
    public var limits: [Limit] = []
    /// nil: unchanged.
    public var oomScoreAdjust: Int32?
    /// Whether a refusal of `oomScoreAdjust` fails the start.
    public var oomScoreRequired = true
    /// An open directory of cgroup v2 to start in.
    public var cgroup: Int32?
    public var newSession = true
    /// Back to priority (nice) 0.
    public var resetPriority = false
    /// Entries of the environment that are one of `pidNames`, `=` and this text get the new pid as their value. Ten
    /// bytes at least; nil for none.
    public var pidPlaceholder: String?
    public var pidNames = ["LISTEN_PID", "WATCHDOG_PID"]

    public init(arguments: [String]) {
        self.arguments = arguments
    }

    /// Starts it and waits until it executes. Signal dispositions are the default ones and no signal is blocked in
    /// the new program. The calling thread sleeps meanwhile; descriptors that other threads open must be
    /// close-on-exec.
    public func start() -> Outcome { start(failurePipe: -1) }

    /// Starts it and waits for nothing: a path of somebody else's can hold up chdir and execve for as long as it likes.
    /// What fails in the new process is known after its end, from the report; the rest is told at once.
    ///
    /// - Throws: when there is no descriptor for the report.
    public func startDetached() throws(SystemError) -> (outcome: Outcome, report: StartReport) {
        let pipe = try FileDescriptors.pipe(nonblocking: true)
        let outcome = start(failurePipe: pipe.write.rawValue)
        return (outcome, StartReport(of: self, pipe: pipe.read.movedUp()))
    }

    private func start(failurePipe: Int32) -> Outcome {
        guard let program = arguments.first, !program.isEmpty else { return failed(.execute, 2) }
        guard var strings = CStringTable(arguments, environment, directory: workingDirectory ?? "") else {
            return failed(.prepare, 22)
        }
        var descriptors = descriptors
        var failure = clinux_spawn_failure()
        let limits = limits.map { clinux_limit(resource: $0.resource, soft: $0.soft, hard: $0.hard) }
        let groups = credentials?.supplementaryGroups ?? []
        let places = pidPlaces()
        let pid = descriptors.withUnsafeMutableBufferPointer { descriptors in
            limits.withUnsafeBufferPointer { limits in
                groups.withUnsafeBufferPointer { groups in
                    strings.withPointers(pidPlaces: places) { pointers in
                        var request = plainRequest()
                        request.failure_pipe = failurePipe
                        pointers.fill(&request)
                        request.descriptors = descriptors.baseAddress
                        request.descriptor_count = descriptors.count
                        request.limits = limits.baseAddress
                        request.limit_count = limits.count
                        request.groups = groups.baseAddress
                        request.group_count = groups.count
                        return clinux_spawn(&request, &failure)
                    }
                }
            }
        }
        if pid > 0 { return .running(pid: pid) }
        return failed(SpawnStage(cValue: failure.stage), failure.error)
    }

    /// All but the pointers.
    private func plainRequest() -> clinux_spawn {
        var request = clinux_spawn()
        request.cgroup = cgroup ?? -1
        request.uid = credentials?.uid ?? 0
        request.gid = credentials?.gid ?? 0
        request.set_identity = needsIdentity
        request.umask = umask ?? 0
        request.set_umask = umask != nil
        request.oom_score_adjust = oomScoreAdjust ?? 0
        request.set_oom_score = oomScoreAdjust != nil
        request.oom_score_required = oomScoreRequired
        request.new_session = newSession
        request.reset_priority = resetPriority
        return request
    }

    /// Without privileges nothing need be set, and setgroups would be refused, when it is the identity we have.
    private var needsIdentity: Bool {
        guard let credentials else { return false }
        let own = Accounts.ownUserID
        return own == 0 || credentials.uid != own || credentials.gid != Accounts.ownGroupID
    }

    /// Which entries of the environment get the pid, and how many bytes into each.
    private func pidPlaces() -> [(entry: Int, offset: Int)] {
        guard let pidPlaceholder, pidPlaceholder.utf8.count >= 10 else { return [] }
        var places: [(entry: Int, offset: Int)] = []
        for (entry, text) in environment.enumerated() {
            for name in pidNames where text.hasPrefix(name) && text == name + "=" + pidPlaceholder {
                places.append((entry, name.utf8.count + 1))
            }
        }
        return places
    }

    private func failed(_ stage: SpawnStage, _ errno: Int32) -> Outcome {
        .failed(SpawnFailure(stage, errno, program: arguments.first, directory: workingDirectory))
    }
}

/// What a start that nobody waited for has to say once its process has ended.
public final class StartReport: Sendable {
    private let pipe: SharedDescriptor
    private let program: String?
    private let directory: String?

    fileprivate init(of start: ProgramStart, pipe: SharedDescriptor) {
        self.pipe = pipe
        program = start.arguments.first
        directory = start.workingDirectory
    }

    /// Why the program was never executed; nil when it was, and when the process was killed before. To be asked once.
    public func takeFailure() -> SpawnFailure? {
        var words: [Int32] = [0, 0]
        let count = words.withUnsafeMutableBytes { bytes in try? FileDescriptors.read(pipe.rawValue, into: bytes) }
        guard count == MemoryLayout<Int32>.size * words.count else { return nil }
        return SpawnFailure(SpawnStage(cValue: words[0]), words[1], program: program, directory: directory)
    }
}

extension SpawnStage {
    fileprivate init(cValue: Int32) {
        self = SpawnStage(rawValue: UInt8(truncatingIfNeeded: cValue)) ?? .prepare
    }
}

extension SpawnFailure {
    /// With the path of the stages that are about a file.
    fileprivate init(_ stage: SpawnStage, _ errno: Int32, program: String?, directory: String?) {
        let path =
            switch stage {
            case .workingDirectory: directory ?? ""
            case .execute: program ?? ""
            case .oomScore: "/proc/self/oom_score_adj"
            default: ""
            }
        self.init(stage: stage, errno: errno, path: path)
    }
}

/// Strings laid out one after the other, each with its NUL, as the C code wants them.
private struct CStringTable {
    struct Pointers {
        var arguments: UnsafePointer<UnsafeMutablePointer<CChar>?>
        var environment: UnsafePointer<UnsafeMutablePointer<CChar>?>
        var pidPlaces: UnsafePointer<UnsafeMutablePointer<CChar>?>
        var pidPlaceCount: Int
        var directory: UnsafePointer<CChar>?

        func fill(_ request: inout clinux_spawn) {
            request.arguments = arguments
            request.environment = environment
            request.pid_places = pidPlaces
            request.pid_place_count = pidPlaceCount
            request.working_directory = directory
        }
    }

    private var bytes: [CChar] = []
    /// Where each string begins: arguments, environment, directory.
    private var starts: [Int] = []
    private let argumentCount: Int
    private let environmentCount: Int

    /// nil when a string holds a NUL, which would silently end it.
    init?(_ arguments: [String], _ environment: [String], directory: String) {
        argumentCount = arguments.count
        environmentCount = environment.count
        for text in arguments { guard append(text) else { return nil } }
        for text in environment { guard append(text) else { return nil } }
        guard append(directory) else { return nil }
    }

    private mutating func append(_ text: String) -> Bool {
        starts.append(bytes.count)
        for byte in text.utf8 {
            if byte == 0 { return false }
            bytes.append(CChar(bitPattern: byte))
        }
        bytes.append(0)
        return true
    }

    mutating func withPointers(pidPlaces: [(entry: Int, offset: Int)], _ body: (Pointers) -> Int32) -> Int32 {
        let (starts, arguments, variables) = (starts, argumentCount, environmentCount)
        return bytes.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return -22 }
            var table: [UnsafeMutablePointer<CChar>?] = []
            table.reserveCapacity(starts.count + pidPlaces.count + 2)
            for start in starts[..<arguments] { table.append(base + start) }
            table.append(nil)
            for start in starts[arguments..<(arguments + variables)] { table.append(base + start) }
            table.append(nil)
            for place in pidPlaces { table.append(base + starts[arguments + place.entry] + place.offset) }
            let directory = base + starts[arguments + variables]
            return table.withUnsafeBufferPointer { table in
                guard let first = table.baseAddress else { return -22 }
                return body(
                    Pointers(
                        arguments: first,
                        environment: first + arguments + 1,
                        pidPlaces: first + arguments + variables + 2,
                        pidPlaceCount: pidPlaces.count,
                        directory: directory.pointee == 0 ? nil : UnsafePointer(directory)
                    )
                )
            }
        }
    }
}
