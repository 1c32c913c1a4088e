import SupervisorCore

/// Looks for what the services need on this host.
///
/// What it finds are warnings: a program that is missing now may be there when the service is started, and if it is
/// not, that start fails by the service's own policy and the others run.
public enum HostCheck {
    /// Programs, working directories and environment files of every service, and the files for Redis.
    ///
    /// Lines are named when the configuration was loaded with `keepingProvenance`.
    public static func check(
        _ configuration: Configuration,
        host: some HostFacts = LinuxHost()
    ) -> [ConfigurationDiagnostic] {
        var checker = Checker(configuration: configuration, host: host)
        for number in configuration.spec.services.indices { checker.check(number) }
        checker.checkRedis()
        return checker.found
    }

    private struct Checker<Host: HostFacts> {
        let configuration: Configuration
        let host: Host
        var found: [ConfigurationDiagnostic] = []
        /// What was already looked at: services share programs.
        var files: [String: Result<FileFacts, FileProblem>] = [:]

        mutating func check(_ number: Int) {
            let service = configuration.spec.services[number]
            if let program = service.command.first { checkProgram(filled(program, service), ["command"], number) }
            for (key, probe) in [
                ("startup", service.startupProbe), ("readiness", service.readiness),
                ("liveness", service.liveness.probe),
            ] {
                guard case .exec(let command)? = probe?.method, let program = command.first else { continue }
                checkProgram(filled(program, service), [key, "exec"], number)
            }
            checkDirectory(filled(service.workingDirectory, service), number)
            for file in service.environmentFiles { checkEnvironmentFile(file, number) }
            for socket in service.sockets {
                if case .unix(let path)? = PassedSocket(socket) { checkSocketDirectory(path, number) }
            }
        }

        private func filled(_ text: String, _ service: ServiceSpec) -> String {
            let node = configuration.spec.node.name
            return Placeholders.expand(text, service: service.name, index: 0, node: node, port: service.portBase)
        }

        private mutating func facts(_ path: String) -> Result<FileFacts, FileProblem> {
            if let known = files[path] { return known }
            let facts = host.facts(of: path)
            files[path] = facts
            return facts
        }

        private mutating func checkProgram(_ path: String, _ key: [String], _ number: Int) {
            switch facts(path) {
            case .failure(let problem):
                let name = key.last ?? "command"
                add(number, key, "cannot find \(Quoting.shown(path)): \(problem); install it or change \(name)")
            case .success(let facts) where facts.isDirectory:
                add(number, key, "cannot execute \(Quoting.shown(path)): it is a directory; name a program")
            case .success(let facts) where !facts.isExecutable:
                add(number, key, "cannot execute \(Quoting.shown(path)): it is not executable; chmod +x it")
            case .success: break
            }
        }

        private mutating func checkDirectory(_ path: String, _ number: Int) {
            let key = ["working_directory"]
            switch facts(path) {
            case .failure(let problem): add(number, key, "cannot enter \(Quoting.shown(path)): \(problem); create it")
            case .success(let facts) where !facts.isDirectory:
                add(number, key, "cannot enter \(Quoting.shown(path)): it is not a directory")
            case .success: break
            }
        }

        private mutating func checkSocketDirectory(_ path: String, _ number: Int) {
            guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return }
            let directory = String(path[..<slash])
            switch facts(directory) {
            case .success(let facts) where facts.isDirectory: break
            case .failure(let problem):
                add(number, ["sockets"], "cannot listen in \(Quoting.shown(directory)): \(problem); create it")
            case .success:
                add(number, ["sockets"], "cannot listen in \(Quoting.shown(directory)): it is not a directory")
            }
        }

        private mutating func checkEnvironmentFile(_ path: String, _ number: Int) {
            let key = ["environment_files"]
            switch host.read(path, limit: EnvironmentFile.sizeLimit) {
            case .failure(let problem): add(number, key, "cannot read \(Quoting.shown(path)): \(problem)")
            case .success(let bytes):
                do {
                    _ = try EnvironmentFile.parse(bytes)
                } catch {
                    add(number, key, "cannot use \(path):\(error.line): \(error.text)")
                }
            }
        }

        /// Also these may come later: each attempt to connect reads them anew.
        mutating func checkRedis() {
            let breaker = configuration.spec.breaker
            guard breaker.store == .redis else { return }
            let files = [
                ("password_file", breaker.redis.passwordFile), ("tls_ca_file", breaker.redis.tlsCAFile),
                ("tls_certificate_file", breaker.redis.tlsCertificateFile), ("tls_key_file", breaker.redis.tlsKeyFile),
            ]
            for (key, path) in files where !path.isEmpty {
                let isSecret = key == "password_file" || key == "tls_key_file"
                switch facts(path) {
                case .failure(let problem): addRedis(key, "cannot read \(Quoting.shown(path)): \(problem)")
                case .success(let facts) where facts.isDirectory:
                    addRedis(key, "cannot read \(Quoting.shown(path)): it is a directory; name a file")
                case .success(let facts) where isSecret && facts.isPublic:
                    addRedis(key, "cannot keep \(Quoting.shown(path)) secret: everybody may read it; chmod o-r it")
                case .success: break
                }
            }
        }

        private mutating func addRedis(_ key: String, _ text: String) {
            let file = configuration.files.first ?? ""
            let path = Quoting.path(["breaker", "redis", key])
            found.append(ConfigurationDiagnostic(severity: .warning, file: file, line: nil, key: path, text: text))
        }

        private mutating func add(_ number: Int, _ key: [String], _ text: String) {
            let (file, line) = configuration.place(ofService: number, key)
            let path = Quoting.path(["services", configuration.spec.services[number].name] + key)
            found.append(ConfigurationDiagnostic(severity: .warning, file: file, line: line, key: path, text: text))
        }
    }
}
