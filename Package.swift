// swift-tools-version: 6.2
import PackageDescription

/// Every Swift target is compiled with the same rules.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let nioHTTP2 = Target.Dependency.product(name: "NIOHTTP2", package: "swift-nio-http2")
let nioHPACK = Target.Dependency.product(name: "NIOHPACK", package: "swift-nio-http2")
let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
    name: "eider",
    products: [
        .executable(name: "eiderd", targets: ["eiderd"]),
        .executable(name: "eiderctl", targets: ["eiderctl"]),
        .executable(name: "eider-shim", targets: ["eider-shim"]),
        .executable(name: "eider-worker", targets: ["eider-worker"]),
        .executable(name: "eider-sim", targets: ["eider-sim"]),
        .executable(name: "eider-bench", targets: ["eider-bench"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    ],
    targets: [
        // What decides. No I/O, no clock, no randomness of its own.
        .target(name: "SupervisorCore", swiftSettings: strict),

        // The kernel: one system call each in C, typed wrappers above.
        .target(name: "CLinux"),
        .target(name: "LinuxPlatform", dependencies: ["CLinux", "SupervisorCore"], swiftSettings: strict),
        .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
        .target(name: "SystemdBridge", dependencies: ["CSystemd"], swiftSettings: strict),

        // The parent of the workers, and what is said to it.
        .target(name: "ShimProtocol", dependencies: ["SupervisorCore"], swiftSettings: strict),
        .executableTarget(
            name: "eider-shim",
            dependencies: ["ShimProtocol", "LinuxPlatform", "CLinux", "SupervisorCore"],
            swiftSettings: strict
        ),

        // TOML in, a validated fleet out.
        .target(name: "FleetConfig", dependencies: ["SupervisorCore"], swiftSettings: strict),

        // The shell around the core, and what the edges may see of it.
        .target(name: "StatusBoard", dependencies: ["SupervisorCore"], swiftSettings: strict),
        .target(
            name: "SupervisorRuntime",
            dependencies: [
                "SupervisorCore", "FleetConfig", "LinuxPlatform", "CLinux", "ShimProtocol", "StatusBoard",
                "SystemdBridge", "Prober",
            ],
            swiftSettings: strict
        ),

        // Asks the workers how they are, on a thread of its own.
        .target(
            name: "Prober",
            dependencies: [
                "SupervisorCore", "LinuxPlatform", nioCore, nioPosix, nioHTTP1, nioHTTP2, nioHPACK,
            ],
            swiftSettings: strict
        ),

        // Breakers shared in Redis. hiredis' pkg-config asks for a flag that SwiftPM refuses, and gives no other.
        .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .target(
            name: "BreakerStore",
            dependencies: ["SupervisorCore", "CHiredis", "COpenSSL", nioCore, nioPosix],
            swiftSettings: strict
        ),

        // The edges.
        .target(name: "ControlProtocol", dependencies: ["SupervisorCore", "StatusBoard"], swiftSettings: strict),
        .target(name: "Metrics", dependencies: ["SupervisorCore", "StatusBoard"], swiftSettings: strict),
        .target(
            name: "HealthServer",
            dependencies: ["SupervisorCore", "StatusBoard", "Metrics", "ControlProtocol", nioCore, nioPosix],
            swiftSettings: strict
        ),
        .target(
            name: "ControlServer",
            dependencies: [
                "SupervisorCore", "StatusBoard", "ControlProtocol", nioCore, nioPosix, nioHTTP1,
            ],
            swiftSettings: strict
        ),

        .executableTarget(
            name: "eiderd",
            dependencies: [
                "SupervisorCore", "FleetConfig", "SupervisorRuntime", "StatusBoard", "HealthServer", "ControlServer",
                "SystemdBridge", "LinuxPlatform", "BreakerStore", nioCore, nioPosix,
            ],
            swiftSettings: strict
        ),
        .executableTarget(
            name: "eiderctl",
            dependencies: [argumentParser, nioCore, nioPosix, nioHTTP1],
            swiftSettings: strict
        ),
        .executableTarget(
            name: "eider-worker",
            dependencies: ["LinuxPlatform", nioCore, nioPosix, nioHTTP1],
            swiftSettings: strict
        ),

        // Measures what must be quick. Counts allocations by standing in for malloc, in this program only.
        .target(name: "CAllocations"),
        .executableTarget(
            name: "eider-bench",
            dependencies: ["SupervisorCore", "LinuxPlatform", "CAllocations"],
            swiftSettings: strict
        ),

        // A host around the core, all of it models, driven by one seed.
        .target(name: "Simulation", dependencies: ["SupervisorCore"], swiftSettings: strict),
        .executableTarget(name: "eider-sim", dependencies: ["Simulation", "SupervisorCore"], swiftSettings: strict),

        // Tests: rooms of their own for each room above, the real kernel, and the real programs.
        .testTarget(
            name: "SupervisorCoreTests",
            dependencies: ["SupervisorCore", "Simulation"],
            swiftSettings: strict
        ),
        .testTarget(name: "SimulationTests", dependencies: ["Simulation", "SupervisorCore"], swiftSettings: strict),
        .testTarget(name: "FleetConfigTests", dependencies: ["FleetConfig", "SupervisorCore"], swiftSettings: strict),
        .testTarget(
            name: "ShimProtocolTests",
            dependencies: ["ShimProtocol", "SupervisorCore"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "PlatformTests",
            dependencies: ["LinuxPlatform", "ShimProtocol", "SupervisorCore", "eider-shim"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "LogTests",
            dependencies: ["SupervisorRuntime", "StatusBoard", "SupervisorCore", "LinuxPlatform", "CLinux"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "NotifyTests",
            dependencies: ["SupervisorRuntime", "SupervisorCore", "LinuxPlatform", "CLinux"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "RuntimeTests",
            dependencies: ["SupervisorRuntime", "ShimProtocol", "SupervisorCore", "LinuxPlatform"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "MetricsTests",
            dependencies: ["Metrics", "StatusBoard", "SupervisorCore"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "HealthServerTests",
            dependencies: [
                "HealthServer", "Metrics", "StatusBoard", "SupervisorCore", nioCore, nioPosix, nioEmbedded,
            ],
            swiftSettings: strict
        ),
        .testTarget(
            name: "ControlProtocolTests",
            dependencies: ["ControlProtocol", "StatusBoard", "SupervisorCore"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "ControlServerTests",
            dependencies: [
                "ControlServer", "ControlProtocol", "StatusBoard", "SupervisorCore", nioCore, nioPosix, nioHTTP1,
            ],
            swiftSettings: strict
        ),
        .testTarget(
            name: "ProberTests",
            dependencies: [
                "Prober", "SupervisorCore", nioCore, nioPosix, nioHTTP1, nioHTTP2, nioHPACK, nioEmbedded,
            ],
            swiftSettings: strict
        ),
        .testTarget(
            name: "BreakerStoreTests",
            dependencies: ["BreakerStore", "SupervisorCore", "LinuxPlatform", nioCore, nioPosix],
            swiftSettings: strict
        ),
        .testTarget(name: "EiderctlTests", dependencies: ["eiderctl", argumentParser], swiftSettings: strict),
        .testTarget(name: "TidyTests", swiftSettings: strict),
        .testTarget(
            name: "EndToEndTests",
            dependencies: ["LinuxPlatform", "SupervisorCore", "eiderd", "eiderctl", "eider-shim", "eider-worker"],
            swiftSettings: strict
        ),
    ]
)
