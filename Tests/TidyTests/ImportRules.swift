/// Who may import whom: arrows point one way, towards the core (DESIGN.md).
enum ImportRules {
    /// By target, the only modules its files may import.
    static let allowed: [String: Set<String>] = [
        "SupervisorCore": [],
        "LinuxPlatform": ["CLinux", "SupervisorCore", "Glibc", "Synchronization"],
        "SystemdBridge": ["CSystemd", "Glibc"],
        "ShimProtocol": ["SupervisorCore"],
        "eider-shim": ["ShimProtocol", "LinuxPlatform", "CLinux", "SupervisorCore", "Glibc"],
        "FleetConfig": ["SupervisorCore", "Glibc"],
        "StatusBoard": ["SupervisorCore", "Synchronization"],
        "SupervisorRuntime": [
            "SupervisorCore", "FleetConfig", "LinuxPlatform", "CLinux", "ShimProtocol", "StatusBoard", "SystemdBridge",
            "Prober", "Glibc", "Synchronization",
        ],
        "ControlProtocol": ["SupervisorCore", "StatusBoard"],
        "Metrics": ["SupervisorCore", "StatusBoard"],
        "Prober": [
            "SupervisorCore", "LinuxPlatform", "NIOCore", "NIOPosix", "NIOHTTP1", "NIOHTTP2", "NIOHPACK", "Glibc",
            "Synchronization",
        ],
        "BreakerStore": [
            "SupervisorCore", "CHiredis", "COpenSSL", "NIOCore", "NIOPosix", "Glibc", "Synchronization",
        ],
        "HealthServer": [
            "SupervisorCore", "StatusBoard", "Metrics", "ControlProtocol", "NIOCore", "NIOPosix", "Synchronization",
        ],
        "ControlServer": [
            "SupervisorCore", "StatusBoard", "ControlProtocol", "CLinux", "NIOCore", "NIOPosix", "NIOHTTP1", "Glibc",
            "Synchronization",
        ],
        "eiderd": [
            "SupervisorCore", "FleetConfig", "SupervisorRuntime", "StatusBoard", "HealthServer", "ControlServer",
            "BreakerStore", "ControlProtocol", "Metrics", "SystemdBridge", "LinuxPlatform", "NIOCore", "NIOPosix",
            "Glibc",
            "Synchronization",
        ],
        "eiderctl": [
            "ArgumentParser", "NIOCore", "NIOPosix", "NIOHTTP1", "FoundationEssentials", "Glibc", "Synchronization",
        ],
        "Simulation": ["SupervisorCore"],
        "eider-sim": ["Simulation", "SupervisorCore", "Glibc", "Synchronization"],
        "eider-bench": [
            "SupervisorCore", "LinuxPlatform", "BreakerStore", "CAllocations", "Glibc", "Synchronization",
        ],
        "eider-worker": ["LinuxPlatform", "NIOCore", "NIOPosix", "NIOHTTP1", "Glibc", "Synchronization"],
    ]

    /// Targets in C: what they include is the kernel's and the library's own.
    static let inC: Set<String> = ["CAllocations", "CLinux", "CSystemd", "CHiredis", "COpenSSL"]

    /// Tests may use what they test; these two stay out everywhere.
    static let forbiddenInTests: Set<String> = ["Foundation", "XCTest"]

    /// The modules that a file imports, with their lines from 1.
    static func imports(of source: SourceText) -> [(module: String, line: Int)] {
        source.code.enumerated().compactMap { index, line in
            let words = line.split(separator: " ").map { String($0) }
            guard let place = words.firstIndex(of: "import"), place + 1 < words.count else { return nil }
            let access: Set<String> = ["public", "internal", "package", "fileprivate", "private"]
            guard words[..<place].allSatisfy({ access.contains($0) || $0.hasPrefix("@") }) else { return nil }
            let kinds: Set<String> = ["struct", "class", "enum", "protocol", "typealias", "func", "let", "var"]
            let rest = words[(place + 1)...].drop { kinds.contains($0) }
            guard let name = rest.first?.split(separator: ".").first else { return nil }
            return (String(name), index + 1)
        }
    }

    static func check(_ source: SourceText) -> [Violation] {
        let folders = source.path.split(separator: "/").map { String($0) }
        guard folders.count > 2 else { return [] }
        let target = folders[1]
        return imports(of: source).compactMap { module, line in
            let isAllowed: Bool
            if folders[0] == "Tests" {
                isAllowed = !forbiddenInTests.contains(module)
            } else {
                isAllowed = allowed[target]?.contains(module) ?? false
            }
            if isAllowed { return nil }
            return Violation(path: source.path, line: line, text: "\(target) may not import \(module)")
        }
    }

    /// A module that only one file may know, so that it can be replaced there.
    static func inOneFile(_ module: String, _ sources: [SourceText]) -> [Violation] {
        let users = sources.filter { source in
            source.path.hasPrefix("Sources/") && imports(of: source).contains { $0.module == module }
        }
        return users.dropFirst().map { source in
            Violation(
                path: source.path,
                line: 0,
                text: "imports \(module), as \(users[0].path) does; only one file may"
            )
        }
    }
}
