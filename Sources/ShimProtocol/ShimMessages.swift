public import SupervisorCore

/// The version of the messages below. The shim names its own in `welcome`; a daemon that cannot speak it refuses to
/// take over (`eiderctl upgrade` asks before it lets go). Fields are only ever appended, within framed messages.
public let shimProtocolVersion: UInt32 = 1

/// Limits of the connection between daemon and shim.
public enum ShimLimits {
    /// Bytes in one packet: below the kernel's default socket buffer, so that a packet is never refused for its size.
    public static let packetBytes = 160 << 10
    /// Descriptors passed with one packet (the kernel takes 253).
    public static let descriptorsPerPacket = 200
    /// Bytes that the daemon may have the shim remember, all keys together.
    public static let memoryBytes = 8 << 20
    /// Descriptors that the shim holds by name.
    public static let heldDescriptors = 16_384
}

/// Says which descriptor is held: `notify`, `output/auth/0`, `health/0`, …
public typealias HeldName = String

/// All that a start needs, in numbers and bytes: the shim looks nothing up.
public struct LaunchRequest: Sendable, Equatable {
    public struct ResourceLimit: Sendable, Equatable {
        /// `RLIMIT_…` of the platform.
        public var resource: Int32
        public var soft: UInt64
        public var hard: UInt64

        public init(resource: Int32, soft: UInt64, hard: UInt64) {
            self.resource = resource
            self.soft = soft
            self.hard = hard
        }
    }

    /// A file in the instance's cgroup and what to write to it, such as `memory.max`.
    public struct CgroupSetting: Sendable, Equatable {
        public var file: String
        public var value: String

        public init(file: String, value: String) {
            self.file = file
            self.value = value
        }
    }

    public var instance: InstanceID
    public var generation: Generation
    /// Program and arguments; the first is an absolute path.
    public var arguments: [String]
    /// `NAME=value`. The value of `LISTEN_PID` and of `WATCHDOG_PID` is replaced by the new process's pid when it is
    /// `LaunchRequest.pidPlaceholder`.
    public var environment: [String]
    public var workingDirectory: String
    /// nil keeps the shim's own identity.
    public var credentials: ServiceSpec.Credentials?
    public var umask: UInt32
    public var limits: [ResourceLimit]
    /// nil keeps 0, whatever the shim's own is.
    public var oomScoreAdjust: Int32?
    /// The held write end of the pipe that becomes standard output and error.
    public var output: HeldName
    /// Held listening sockets, passed from descriptor 3 on.
    public var sockets: [HeldName]
    public var cgroup: [CgroupSetting]
    /// The start is not waited for, because its paths may be somebody else's: `started` comes before the program
    /// executes, and where it never does `startFailed` comes in place of `exited`, with no record left. A shim that
    /// does not know the field waits.
    public var isDetached: Bool

    /// Ten digits: room for any pid.
    public static let pidPlaceholder = "0000000000"

    public init(instance: InstanceID, generation: Generation, arguments: [String], output: HeldName) {
        self.instance = instance
        self.generation = generation
        self.arguments = arguments
        self.output = output
        environment = []
        workingDirectory = "/"
        credentials = nil
        umask = 0o022
        limits = []
        oomScoreAdjust = nil
        sockets = []
        cgroup = []
        isDetached = false
    }
}

/// What the daemon tells the shim. Several may share one packet; they are obeyed in order, each at once.
public enum ShimRequest: Sendable, Equatable {
    /// First on each connection. The shim answers with everything it has: `welcome`, the held descriptors, the
    /// records and the memory, then `listed`.
    case hello(version: UInt32, daemonPid: Int32)
    /// Start a process. Answered by `started` or `startFailed`. Refused as `startFailed(.prepare, EEXIST)` when the
    /// instance has a record (rule P1: no twin while the old tree lives).
    case start(LaunchRequest)
    /// Signal the main process; with `tree` every process of the instance's tree. A stale generation is ignored.
    case signal(InstanceID, Generation, SignalNumber, tree: Bool)
    /// SIGKILL the whole tree, again and again until none of it is left. Answered by `treeGone`; `treeRemains` is
    /// said once a second while something stays.
    case endTree(InstanceID, Generation)
    /// The worker named another process of its tree as its main process (`MAINPID=`): its end is the run's end from
    /// now on. Ignored when the process is not of the instance's tree.
    case adoptMain(InstanceID, Generation, pid: Int32)
    /// The exit is remembered: forget the record. Only obeyed when the tree is gone.
    case release(InstanceID, Generation)
    /// Keep these bytes under this key, over the daemon's death; an empty value removes the key.
    case remember(key: String, value: [UInt8])
    /// Keep the descriptor that comes with this packet, the next in order.
    case hold(HeldName)
    /// Close a held descriptor.
    case letGo(HeldName)
    /// Show that you serve. Answered by `pong` with the same number.
    case ping(UInt64)
    /// Exit as soon as no record is left.
    case exitWhenEmpty
}

/// A process that the shim started, or the exit of one that nobody has acknowledged yet: as the core takes it over.
public typealias ShimRecord = Adoption.Record

/// What the shim tells the daemon.
public enum ShimReport: Sendable, Equatable {
    /// `containment` is `cgroup` (with the path of the tree's root) or `session`.
    case welcome(version: UInt32, shimPid: Int32, containment: String, controllers: [String])
    /// The descriptor that comes with this packet, the next in order.
    case held(HeldName)
    case record(ShimRecord)
    case memory(key: String, value: [UInt8])
    /// All has been said.
    case listed
    /// `warnings` are settings that could not be applied, each a sentence.
    case started(InstanceID, Generation, pid: Int32, at: MonotonicInstant, warnings: [String])
    /// No process and no record is left. Of a detached start it may come after `started`.
    case startFailed(InstanceID, Generation, SpawnFailure)
    /// The main process ended. `treeGone`: nothing of its tree is left.
    case exited(
        InstanceID,
        Generation,
        ExitStatus,
        ResourceUsage,
        at: MonotonicInstant,
        outOfMemory: Bool,
        treeGone: Bool
    )
    case treeGone(InstanceID, Generation)
    /// Some of the tree could not be ended yet: how many, and the pid of one of them.
    case treeRemains(InstanceID, Generation, count: Int, example: Int32)
    case pong(UInt64)
    /// Orphans were found that belong to no instance that is known; they are ended with the last tree.
    case strays(count: Int, example: Int32)
}
