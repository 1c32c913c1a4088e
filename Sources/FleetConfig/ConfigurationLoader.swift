import SupervisorCore

/// Reads a configuration from files.
public enum ConfigurationLoader {
    /// Reads `path` and `services.d/*.toml` beside it.
    ///
    /// Names of users and groups are resolved on `host`; whether programs and directories exist is left to
    /// `HostCheck`, since they may come and go without the configuration.
    ///
    /// - Parameters:
    ///   - path: The main file.
    ///   - keepingProvenance: Whether to remember where each value stands, for `provenance`, `verboseListing` and the
    ///     lines that `HostCheck` names. A daemon that runs has no use for it and goes without.
    ///   - checkingHost: Whether errors come with what `HostCheck` finds, so that everything is said at once.
    ///   - host: Where files, users and groups are looked up.
    /// - Returns: A configuration in which every value is valid and every default filled in, or everything that is
    ///   wrong, by file and line. Nothing is logged.
    public static func load(
        path: String,
        keepingProvenance: Bool = false,
        checkingHost: Bool = false,
        host: some HostFacts = LinuxHost()
    ) -> Result<Configuration, ConfigurationErrors> {
        do {
            var configuration = try read(path, keepingProvenance, checkingHost, host).get()
            // Now that the trees are gone.
            Compaction.compact(&configuration.spec.services)
            return .success(configuration)
        } catch {
            return .failure(error)
        }
    }

    private static func read(
        _ path: String,
        _ keepingProvenance: Bool,
        _ checkingHost: Bool,
        _ host: some HostFacts
    ) -> Result<Configuration, ConfigurationErrors> {
        var problems = Problems()
        let files = SourceFiles(path: path, host: host, &problems)
        let raw = RawFleet(files.documents, files: files.names, &problems)
        var configuration = Configuration(spec: FleetSpec(), warnings: [], files: files.names)
        if keepingProvenance { configuration.origins = Configuration.Origins() }
        decodeFleet(raw, host, &configuration, &problems)
        decodeDependencies(raw, &configuration, &problems)
        decodeServices(raw, host, isIncomplete: files.isIncomplete, &configuration, &problems)
        if problems.hasErrors {
            var errors = problems.diagnostics(files: files.names, .error)
            // Whoever checks a configuration is told everything at once, what the host lacks too.
            if checkingHost { errors = inOrder(errors + HostCheck.check(configuration, host: host), files.names) }
            return .failure(ConfigurationErrors(errors))
        }
        configuration.warnings = problems.diagnostics(files: files.names, .warning)
        return .success(configuration)
    }

    private static func inOrder(
        _ diagnostics: [ConfigurationDiagnostic],
        _ files: [String]
    ) -> [ConfigurationDiagnostic] {
        let rank = { (diagnostic: ConfigurationDiagnostic) in
            (files.firstIndex(of: diagnostic.file) ?? files.count, diagnostic.line ?? 0)
        }
        return diagnostics.sorted { rank($0) < rank($1) }
    }

    private static func decodeFleet(
        _ raw: RawFleet,
        _ host: some HostFacts,
        _ configuration: inout Configuration,
        _ problems: inout Problems
    ) {
        let name = host.hostName
        if FleetKeys.isNodeName(name) { configuration.spec.node.name = name }
        guard let top = raw.top else { return }
        let origins = FleetKeys.table.decode(top, into: &configuration.spec, &problems)
        configuration.origins?.fleet = origins
        FleetRules.fitAndCheck(&configuration.spec, top, &problems)
    }

    private static func decodeDependencies(
        _ raw: RawFleet,
        _ configuration: inout Configuration,
        _ problems: inout Problems
    ) {
        for dependency in raw.dependencies {
            var spec = DependencySpec(name: dependency.name)
            problems.path = ["dependencies", dependency.name]
            if !DependencyKeys.isName(dependency.name) {
                let name = Quoting.shown(dependency.name)
                let text = "cannot use the name \(name); use 1 to 128 characters without spaces"
                problems.report(text, at: dependency.table.location)
            }
            let origins = DependencyKeys.table.decode(dependency.table, into: &spec, &problems)
            problems.path = []
            configuration.spec.dependencies.append(spec)
            configuration.origins?.dependencies.append(origins)
        }
    }

    private static func decodeServices(
        _ raw: RawFleet,
        _ host: some HostFacts,
        isIncomplete: Bool,
        _ configuration: inout Configuration,
        _ problems: inout Problems
    ) {
        checkDefaults(raw.defaults, &problems)
        let defaults = raw.defaults.map(DefaultsMerge.inherited)
        var identities = Identities(host)
        var services: [DecodedService] = []
        for service in raw.services {
            let decoded = DecodedService(service, defaults: defaults, &problems)
            ServiceRules.check(decoded, &problems)
            services.append(decoded)
        }
        // With a file missing, half of what these rules would say is not so.
        if !isIncomplete { FleetRules.check(services, configuration.spec, &problems) }
        warnOfHealthPorts(services, configuration.spec.health, &problems)
        configuration.spec.services.reserveCapacity(services.count)
        for service in services {
            var spec = service.draft.finished
            spec.credentials = identities.resolve(service, &problems)
            configuration.spec.services.append(spec)
            configuration.origins?.services.append(service.origins)
        }
    }

    /// Complains once about what is wrong in `[defaults]`, with or without a service that inherits it.
    private static func checkDefaults(_ defaults: ConfigurationTable?, _ problems: inout Problems) {
        guard let defaults else { return }
        var draft = ServiceDraft(name: "defaults")
        problems.path = ["defaults"]
        _ = ServiceKeys.table.decode(defaults, into: &draft, &problems)
        problems.path = []
    }

    /// A worker that takes the port of the health listener fails to bind, or makes Eider fail.
    private static func warnOfHealthPorts(
        _ services: [DecodedService],
        _ health: HealthSpec,
        _ problems: inout Problems
    ) {
        for service in services {
            let spec = service.draft.spec
            guard let base = spec.portBase, spec.replicas > 0 else { continue }
            let ports = base...(base + spec.replicas - 1)
            guard let taken = (health.listen + health.agentListen).first(where: { ports.contains($0.port) })
            else { continue }
            let location = service.table.location(of: ["port_base"])
            let text = "takes port \(taken.port), on which Eider answers health checks (\"\(taken)\")"
            problems.add(service.path + ["port_base"], text, at: location, severity: .warning)
        }
    }
}
