import FleetConfig
import ShimProtocol
import SupervisorCore

/// Why an instance cannot be started, known before the shim is asked.
struct StartProblem: Error {
    var failure: SpawnFailure
    /// One sentence for people, with what to do next where that is not plain.
    var text: String
}

/// Turns a service's configuration into the numbers and bytes of a start. Users were looked up when the configuration
/// was read.
struct LaunchBuilder {
    let nodeName: String
    let notifySocket: String
    let breakerSocket: String
    /// The daemon's own environment, for `pass_environment`.
    let inherited: [String: String]
    private let files = EnvironmentFiles()

    init(_ configuration: SupervisorConfiguration) {
        nodeName = configuration.spec.node.name
        notifySocket = configuration.notifySocketPath
        breakerSocket = configuration.breakerSocketPath
        inherited = configuration.environment
    }

    /// `RLIMIT_NOFILE`, of every Linux port that Debian 12 has a Swift for.
    private static let nofile: Int32 = 7

    /// Everything the shim needs to start this instance.
    ///
    /// - Parameter sockets: what it is passed, under the names by which the shim holds it, in the order of the
    ///   configuration.
    func request(
        _ service: ServiceSpec,
        index: Int,
        generation: Generation,
        sockets: [HeldName] = []
    ) throws(StartProblem) -> LaunchRequest {
        let id = InstanceID(service: service.name, index: index)
        let expand = { (text: String) in self.expand(text, service, index: index) }
        var request = LaunchRequest(
            instance: id,
            generation: generation,
            arguments: service.command.map(expand),
            output: HeldNames.outputWriter(id)
        )
        request.environment = try environment(service, index: index, sockets: sockets.count, expand)
        request.sockets = sockets
        request.workingDirectory = expand(service.workingDirectory)
        request.credentials = service.credentials
        request.umask = service.umask
        if let nofile = service.resources.nofile {
            request.limits = [.init(resource: Self.nofile, soft: nofile, hard: nofile)]
        }
        request.oomScoreAdjust = service.resources.oomScoreAdjust.map { Int32(clamping: $0) }
        request.cgroup = cgroupSettings(service.resources)
        return request
    }

    /// Fills in what is known of one instance.
    func expand(_ text: String, _ service: ServiceSpec, index: Int) -> String {
        Placeholders.expand(
            text,
            service: service.name,
            index: index,
            node: nodeName,
            port: service.portBase.map { $0 + index }
        )
    }

    /// A start of an exec probe: as the service's user, in its environment and under its limits. What ties a process
    /// to its supervisor is not the probe's.
    func probe(
        _ service: ServiceSpec,
        index: Int,
        _ place: InstanceID,
        _ generation: Generation,
        output: HeldName
    ) throws(StartProblem) -> LaunchRequest {
        var request = try request(service, index: index, generation: generation)
        request.instance = place
        request.output = output
        // Its program may lie where the service's user can hold up who executes it.
        request.isDetached = true
        let others = ["NOTIFY_SOCKET=", "EIDER_BREAKER_SOCKET=", "WATCHDOG_USEC=", "WATCHDOG_PID="]
        request.environment.removeAll { entry in others.contains { entry.hasPrefix($0) } }
        return request
    }

    /// What is said first is overruled by what is said later: passed-through names, the `environment` table, the
    /// environment files (as with systemd), and Eider's own.
    private func environment(
        _ service: ServiceSpec,
        index: Int,
        sockets: Int,
        _ expand: (String) -> String
    ) throws(StartProblem) -> [String] {
        var values: [String: String] = [:]
        for name in service.passEnvironment { values[name] = inherited[name] }
        for variable in service.environment { values[variable.name] = expand(variable.value) }
        for variable in try files.variables(of: service) { values[variable.name] = variable.value }
        values["EIDER_SERVICE"] = service.name
        values["EIDER_INDEX"] = String(index)
        values["EIDER_NODE"] = nodeName
        values["NOTIFY_SOCKET"] = notifySocket
        values["EIDER_BREAKER_SOCKET"] = breakerSocket
        if let base = service.portBase { values["PORT"] = String(base + index) }
        if let watchdog = service.liveness.watchdog {
            values["WATCHDOG_USEC"] = String(watchdog.clampedNanoseconds / 1_000)
            values["WATCHDOG_PID"] = LaunchRequest.pidPlaceholder
        }
        // sd_listen_fds(3). systemd's name for a socket is that of its unit.
        if sockets > 0 {
            values["LISTEN_FDS"] = String(sockets)
            values["LISTEN_PID"] = LaunchRequest.pidPlaceholder
            values["LISTEN_FDNAMES"] = repeatElement(service.name, count: sockets).joined(separator: ":")
        }
        return values.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
    }

    private func cgroupSettings(_ resources: ServiceSpec.Resources) -> [LaunchRequest.CgroupSetting] {
        var settings: [LaunchRequest.CgroupSetting] = []
        if let bytes = resources.memoryMax { settings.append(.init(file: "memory.max", value: String(bytes))) }
        if let weight = resources.cpuWeight { settings.append(.init(file: "cpu.weight", value: String(weight))) }
        if let tasks = resources.tasksMax { settings.append(.init(file: "pids.max", value: String(tasks))) }
        return settings
    }
}

/// The names under which the shim holds descriptors.
enum HeldNames {
    static let notify = "notify"
    static let breaker = "breaker"

    /// The end that the daemon reads.
    static func outputReader(_ id: InstanceID) -> HeldName { "output/\(id)" }

    /// The end that becomes the worker's standard output and error.
    static func outputWriter(_ id: InstanceID) -> HeldName { "input/\(id)" }

    /// The end that becomes the output of an exec probe, held for the moment of its start.
    static func probeOutput(_ place: InstanceID) -> HeldName { "probe/\(place)" }

    static func isProbeOutput(_ name: HeldName) -> Bool { name.hasPrefix("probe/") }

    /// - Parameter order: how many listeners with the same address come before it: with port 0 each is another.
    static func health(_ address: ListenAddress, _ order: Int = 0) -> HeldName {
        order == 0 ? "health/\(address)" : "health/\(address)#\(order)"
    }

    static func control(_ path: String) -> HeldName { "control:\(path)" }

    static func path(ofControl name: HeldName) -> String? {
        name.hasPrefix("control:") ? String(name.dropFirst("control:".count)) : nil
    }

    /// A socket that is listened on for a service; names of services have no slash.
    static func socket(_ service: String, _ address: String) -> HeldName { "socket/\(service)/\(address)" }

    /// Whose socket it is, and its entry in `sockets`; nil for every other name.
    static func passed(_ name: HeldName) -> (service: String, address: String)? {
        guard name.hasPrefix("socket/") else { return nil }
        let parts = name.dropFirst("socket/".count).split(separator: "/", maxSplits: 1)
        return parts.count == 2 ? (String(parts[0]), String(parts[1])) : nil
    }

    /// The file of a Unix socket that is listened on, for control or for a service.
    static func path(of name: HeldName) -> String? {
        if let path = path(ofControl: name) { return path }
        guard let address = passed(name)?.address, case .unix(let path)? = PassedSocket(address) else { return nil }
        return path
    }

    static func isListener(_ name: HeldName) -> Bool {
        name.hasPrefix("health/") || name.hasPrefix("control:") || passed(name) != nil
    }

    /// The instance whose output this is; nil for every other name.
    static func instance(ofReader name: HeldName) -> InstanceID? {
        name.hasPrefix("output/") ? InstanceID(name.dropFirst("output/".count)) : nil
    }

    static func instance(ofWriter name: HeldName) -> InstanceID? {
        name.hasPrefix("input/") ? InstanceID(name.dropFirst("input/".count)) : nil
    }
}

/// The keys under which the shim remembers.
enum MemoryKeys {
    static let node = "node"
    static let breakers = "breakers"

    static func instance(_ id: InstanceID) -> String { "instance/\(id)" }

    static func instance(ofKey key: String) -> InstanceID? {
        key.hasPrefix("instance/") ? InstanceID(key.dropFirst("instance/".count)) : nil
    }
}
