import LinuxPlatform
import ShimProtocol
import SupervisorCore

/// How the processes of an instance are kept together.
enum Containment {
    /// A group of cgroup v2 for each instance: exact, whatever the processes do.
    case cgroup(CgroupContainment)
    /// By session, parentage and a mark in the environment, where no cgroup can be made.
    case session

    var base: Cgroup? {
        if case .cgroup(let containment) = self { containment.base } else { nil }
    }

    /// As `welcome` says it.
    var description: String {
        if case .cgroup(let containment) = self { "cgroup \(containment.base.path)" } else { "session" }
    }

    var controllers: [String] {
        if case .cgroup(let containment) = self { containment.controllers } else { [] }
    }

    /// The best that this place allows. `EIDER_CONTAINMENT=session` asks for the second, for tests.
    static func choose(fleet: FleetToken) -> Containment {
        if OwnProcess.environment("EIDER_CONTAINMENT") == "session" { return .session }
        guard let tree = CgroupTree.find() else { return .session }
        do throws(SystemError) {
            return .cgroup(try CgroupContainment(own: tree.own, fleet: fleet))
        } catch {
            return .session
        }
    }

    /// Says in a file where the groups are: the next shim may be started elsewhere.
    func writeNote(in directory: String) {
        let path = directory + "/shim.cgroup"
        guard let base else { return FileSystem.remove(path) }
        // Without it the mark and the ledger still find what is left.
        try? FileSystem.replace(path, with: base.path + "\n", mode: 0o600)
    }
}

/// The groups of this fleet: `BASE/SERVICE@INDEX`.
final class CgroupContainment {
    let base: Cgroup
    /// Controllers that settings may be written for.
    let controllers: [String]
    private var groups: [InstanceID: InstanceCgroup] = [:]

    /// - Throws: when no group can be made here, or processes could not be put into it.
    init(own: Cgroup, fleet: FleetToken) throws(SystemError) {
        let base = own.child("eider-\(fleet)")
        try base.create()
        let probe = base.child("probe")
        try probe.create()
        defer { try? probe.remove() }
        // Starting a process in a group needs the right to write to it and to the group above both.
        try FileKind.requireWritable(own.path + "/cgroup.procs")
        try FileKind.requireWritable(probe.path + "/cgroup.procs")
        guard SmallFile.text(probe.path + "/cgroup.type").map({ $0 == "domain" }) ?? true else {
            throw SystemError(call: "use the cgroup", errno: 95, path: probe.path)
        }
        self.base = base
        controllers = Self.enableControllers(own: own, base: base)
    }

    /// Has the controllers that are there work in our groups. A group with processes of its own cannot pass them on
    /// (cgroups(7), "no internal processes"), so that in a service's delegated group we move aside first.
    private static func enableControllers(own: Cgroup, base: Cgroup) -> [String] {
        let wanted = ["memory", "cpu", "pids"].filter(own.availableControllers().contains)
        if wanted.isEmpty { return [] }
        if own.path.hasSuffix(".service") {
            let leaf = own.child("shim")
            do throws(SystemError) {
                try leaf.create()
                try leaf.add(0)
            } catch {
                StandardError.line("eider-shim: resource limits will not be applied: \(error)")
            }
        }
        for controller in wanted {
            do throws(SystemError) {
                try own.write("cgroup.subtree_control", "+" + controller)
                try base.write("cgroup.subtree_control", "+" + controller)
            } catch {
                StandardError.line("eider-shim: limits of \(controller) will not be applied: \(error)")
            }
        }
        let enabled = base.enabledControllers()
        return wanted.filter(enabled.contains)
    }

    /// The instance's group, made when it is missing.
    func group(of id: InstanceID) throws(SystemError) -> InstanceCgroup {
        if let group = groups[id], !group.wasKilled || group.isPopulated { return group }
        groups[id] = nil
        let group = try InstanceCgroup(base.child(Self.name(of: id)))
        groups[id] = group
        return group
    }

    /// Lets go of a group whose directory somebody has removed.
    func forget(_ id: InstanceID) {
        groups[id] = nil
    }

    /// Removes groups that nothing runs in when they have become many: replicas that were scaled away.
    func trim(runs: Int, keeping inUse: (InstanceID) -> Bool) {
        if groups.count <= 2 * runs + 64 { return }
        for id in groups.keys.filter({ !inUse($0) }) {
            guard let group = groups.removeValue(forKey: id) else { continue }
            try? group.cgroup.remove()
        }
    }

    /// Removes all groups; those that something still lives in stay.
    func removeAll() {
        groups = [:]
        for group in base.subtree().reversed() { try? group.remove() }
    }

    /// A name that is a directory name, whatever the service is called; `@` keeps it apart from the kernel's files.
    private static func name(of id: InstanceID) -> String {
        let plain = !id.service.utf8.contains(UInt8(ascii: "/")) && !id.service.utf8.contains(0)
        if plain, id.service.utf8.count <= 200 { return "\(id.service)@\(id.index)" }
        var hash = FNV1a()
        hash.add(id.service)
        return "\(String(hash.value, radix: 16))@\(id.index)"
    }
}

/// The group of one instance, kept between its runs.
final class InstanceCgroup {
    let cgroup: Cgroup
    /// The open directory, to start processes in.
    let directory: Descriptor
    private let events: Descriptor
    private var applied: [String: String] = [:]
    /// `cgroup.kill` was used: from then on the kernel (6.14 and later, by its kill sequence) ends every process
    /// that is cloned into this group. The next run needs a group of its own.
    private(set) var wasKilled = false

    init(_ cgroup: Cgroup) throws(SystemError) {
        // One that a former run or a former shim left may have been killed, or frozen: it is made anew where empty.
        try? cgroup.remove()
        try cgroup.create()
        self.cgroup = cgroup
        // O_RDONLY | O_DIRECTORY
        directory = try FileDescriptors.open(cgroup.path, flags: 0o200000).movedUp()
        events = try FileDescriptors.open(cgroup.path + "/cgroup.events", flags: 0).movedUp()
    }

    /// Whether anything lives in it; true when that cannot be known.
    var isPopulated: Bool {
        (try? Cgroup.isPopulated(events: events.rawValue, path: cgroup.path)) ?? true
    }

    /// Processes that the kernel's out-of-memory killer has ended here so far.
    var outOfMemoryKills: UInt64 {
        cgroup.counter("oom_kill", in: "memory.events") ?? 0
    }

    /// Ends every process in it.
    func kill() {
        wasKilled = true
        try? cgroup.kill()
    }

    func processes() -> [Int32] {
        cgroup.subtree().flatMap { (try? $0.processes()) ?? [] }
    }

    /// Applies the settings of a launch, puts those of former runs that it does not have back to their defaults, and
    /// answers a sentence for each that could not be applied.
    func apply(_ settings: [LaunchRequest.CgroupSetting], of id: InstanceID, controllers: [String]) -> [String] {
        var warnings: [String] = []
        // A frozen group would hold the new process, and us with it, before its first instruction.
        try? cgroup.write("cgroup.freeze", "0")
        var wanted: [String: String] = [:]
        for setting in settings { wanted[setting.file] = setting.value }
        for file in applied.keys where wanted[file] == nil {
            wanted[file] = file == "cpu.weight" ? "100" : "max"
        }
        for (file, value) in wanted.sorted(by: { $0.key < $1.key }) where applied[file] != value {
            do throws(SystemError) {
                guard !file.utf8.contains(UInt8(ascii: "/")) else {
                    throw SystemError(call: "write to", errno: 22, path: file)
                }
                try cgroup.write(file, value)
                applied[file] = value
            } catch {
                let controller = String(file.prefix { $0 != "." })
                let reason =
                    controllers.contains(controller)
                    ? "\(error)" : "the \(controller) controller is not available in \(cgroup.path)"
                warnings.append("cannot apply \(file) = \(value) to \(id): \(reason)")
            }
        }
        return warnings
    }
}
