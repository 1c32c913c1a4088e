public import SupervisorCore

/// A configuration that can be used, with what was learnt on the way.
public struct Configuration: Sendable {
    public var spec: FleetSpec
    /// What the author should know although it stops nothing; by file and line.
    public var warnings: [ConfigurationDiagnostic]
    /// The files that were read, the main one first.
    public var files: [String]

    /// Where each value that was set stands; the values themselves are taken from `spec` when they are asked for.
    struct Origins: Sendable {
        var fleet: [KeyOrigin] = []
        var services: [[KeyOrigin]] = []
        var dependencies: [[KeyOrigin]] = []
    }

    /// nil when nobody wanted them: they take more room than the values.
    var origins: Origins?

    init(spec: FleetSpec, warnings: [ConfigurationDiagnostic], files: [String]) {
        self.spec = spec
        self.warnings = warnings
        self.files = files
    }

    /// Every effective value and where it comes from, in the order of the configuration. Made anew on each call;
    /// empty unless the configuration was loaded with `keepingProvenance`.
    ///
    /// Values of variables whose names say that they are secret are left out.
    public var provenance: [ProvenanceEntry] {
        var entries: [ProvenanceEntry] = []
        guard let origins else { return [] }
        list(FleetKeys.table, spec, [], origins.fleet, into: &entries)
        for (service, origins) in zip(spec.services, origins.services) {
            list(ServiceKeys.table, ServiceDraft(service), ["services", service.name], origins, into: &entries)
        }
        for (dependency, origins) in zip(spec.dependencies, origins.dependencies) {
            list(DependencyKeys.table, dependency, ["dependencies", dependency.name], origins, into: &entries)
        }
        return entries
    }

    private func list<Root>(
        _ table: KeyTable<Root>,
        _ root: Root,
        _ prefix: [String],
        _ origins: [KeyOrigin],
        into entries: inout [ProvenanceEntry]
    ) {
        for (number, key) in table.keys.enumerated() {
            for (subkey, text) in key.render(root) {
                let origin = origins.last { $0.key == number && $0.subkey == subkey }
                let path = prefix + key.path + (subkey.map { [$0] } ?? [])
                let entry = ProvenanceEntry(key: Quoting.path(path), value: text, origin: self.origin(origin))
                entries.append(entry)
            }
        }
    }

    private func origin(_ origin: KeyOrigin?) -> ProvenanceEntry.Origin {
        guard let origin, files.indices.contains(origin.location.file) else { return .builtIn }
        let (file, line) = (files[origin.location.file], origin.location.line)
        return origin.location.inherited ? .defaults(file: file, line: line) : .file(file, line: line)
    }

    /// Where a key of a service stands, for `HostCheck`.
    func place(ofService number: Int, _ path: [String]) -> (file: String, line: Int?) {
        // The key says enough; which of several files it stands in is not known here.
        guard let services = origins?.services else { return ("", nil) }
        let origins = services.indices.contains(number) ? services[number] : []
        let origin = origins.last { ServiceKeys.table.keys[$0.key].path == path } ?? origins.first
        guard let origin, files.indices.contains(origin.location.file) else { return (files.first ?? "", nil) }
        return (files[origin.location.file], origin.location.line)
    }
}

/// One effective value.
public struct ProvenanceEntry: Sendable, Hashable, CustomStringConvertible {
    public enum Origin: Sendable, Hashable, CustomStringConvertible {
        case file(String, line: Int)
        /// Set in `[defaults]` for every service.
        case defaults(file: String, line: Int)
        /// Nobody set it.
        case builtIn

        public var description: String {
            switch self {
            case .file(let file, let line): "\(file):\(line)"
            case .defaults(let file, let line): "[defaults] \(file):\(line)"
            case .builtIn: "default"
            }
        }
    }

    /// Such as `services.auth.replicas`.
    public var key: String
    /// As TOML would write it.
    public var value: String
    public var origin: Origin

    /// `services.auth.replicas = 2   # /etc/eider/eider.toml:12`
    public var description: String { "\(key) = \(value)   # \(origin)" }
}

extension Configuration {
    /// What `eiderd --check` prints of a configuration that can be used; no newline at the end.
    public func summary() -> String {
        let processes = spec.services.reduce(0) { $0 + $1.replicas }
        var lines = [
            "\(Self.count(spec.services.count, "service")), \(Self.count(processes, "process", "processes")), "
                + Self.count(warnings.count, "warning")
        ]
        lines += files.map { "read \($0)" }
        lines += warnings.map { "warning: \($0)" }
        return lines.joined(separator: "\n")
    }

    /// What `eiderd --check --verbose` prints: one line for each effective value; no newline at the end.
    /// Empty unless the configuration was loaded with `keepingProvenance`.
    public func verboseListing() -> String {
        provenance.map(\.description).joined(separator: "\n")
    }

    private static func count(_ number: Int, _ one: String, _ many: String? = nil) -> String {
        "\(number) \(number == 1 ? one : many ?? one + "s")"
    }
}
